"""Settings: the learning rate, files, and what no training can do."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minisam.training import loop
from minisam.training.settings import Settings, read_settings
from minisam.world.domains.catalogue import DOMAINS
from minisam_kernels import InputError
from small_trainings import SETTINGS

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "a warm-up from zero": (
        "minisam/training/settings.py",
        "self.lr * (step + 1) / self.warmup",
        "self.lr * step / self.warmup",
    ),
    "a drop one step late": ("minisam/training/settings.py", "step >= drop for drop", "step > drop for drop"),
    "a decay that begins at step 0": (
        "minisam/training/settings.py",
        "(step - self.warmup) / max(1, self.steps - self.warmup)",
        "step / self.steps",
    ),
}


@example(0, "linear")
@example(100, "cosine")
@example(200, "steps")
@given(st.integers(0, 399), st.sampled_from(["linear", "cosine", "steps"]))
def test_learning_rate(step, decay):
    """Kills: a warm-up from zero, a drop one step late, a decay that begins at step 0."""
    drops = (200, 350) if decay == "steps" else ()
    settings = Settings(steps=400, warmup=100, lr=1.0, final_lr=0.2, decay=decay, drops=drops)
    rate = settings.learning_rate(step)
    assert 0 < rate <= 1 and (step >= 100 or rate == (step + 1) / 100)
    assert step != 100 or rate == 1
    if decay == "steps" and step >= 100:
        assert rate == pytest.approx(0.1 ** ((step >= 200) + (step >= 350)))
    elif step >= 100:
        assert rate >= 0.2 - 1e-9 and rate >= settings.learning_rate(step + 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"stepz": 3}', "got stepz"),
        ("[1]", "expected a table of settings"),
        ("{", "expected settings as JSON"),
        ('{"steps": "3"}', "expected steps in"),
        ('{"mask_feedback": 1}', "expected mask_feedback in"),
    ],
)
def test_bad_settings_files(tmp_path, text, message):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_settings(tmp_path / "c.json", loop.Settings)


def test_settings_files_hold_what_a_log_says(tmp_path):
    settings = dataclasses.replace(SETTINGS, drops=(3, 4), decay="steps", data=("a",), lr=1.0)
    (tmp_path / "c.json").write_text(json.dumps({**settings.plain(), "lr": 1}))
    assert loop.Settings(**read_settings(tmp_path / "c.json", loop.Settings)) == settings


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "half"}, {"decay": "fast"}, {"drops": (3,)}, {"world": 0.5}, {"lr": float("nan")}, {"rounds": 0},
        {"multimask": "worst"}, {"leave_out": ("moon",)}, {"leave_out": DOMAINS},
        {"focal": -1.0}, {"clip": 0.0}, {"drop_path": 2.0}, {"model": "huge"},
    ],
)  # fmt: skip
def test_settings_that_cannot_be(changes):
    with pytest.raises(InputError, match="expected"):
        dataclasses.replace(SETTINGS, **changes).check()


def test_lists_in_a_file_of_settings(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"drops": ["a"]}')
    with pytest.raises(InputError, match=r"expected drops in .* as a list of int, got \['a'\]"):
        read_settings(path, loop.Settings)
