"""``minisam train`` and ``pretrain``: what options and files make of the settings, and what is said about them."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from command_line import refused, run
from minisam.checkpoints.checkpoint import save_checkpoint
from minisam.sam import build
from sa1b import sa1b_folder
from small_models import SMALL

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "the world beside the data": ("minisam/commands/train.py", 'given.setdefault("world", 0.0)', "pass"),
    "1000 steps, whatever the time": ("minisam/commands/train.py", 'given.setdefault("steps", 0)', "pass"),
    "a default written by hand": (
        "minisam/commands/train.py",
        "value, flag = getattr(defaults, name)",
        "value, flag = 7",
    ),
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, about NumPy 2


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with weights of a very small model; commands run in it."""
    monkeypatch.chdir(tmp_path)
    save_checkpoint("small.safetensors", build(SMALL, seed=1).state_dict(), SMALL)
    return tmp_path


def handed_over(monkeypatch):
    """What ``minisam train`` gives to a trainer, which does nothing: the settings, one after the other."""
    from minisam.training import loop

    seen: list[loop.Settings] = []

    class Trainer:
        def __init__(self, settings, folder, *others):
            seen.append(settings)
            self.settings, self.folder, self.step = settings, folder, 0

        def run(self, workers, minutes):
            return ""

    monkeypatch.setattr(loop, "Trainer", Trainer)
    return seen


@pytest.mark.parametrize(
    ("arguments", "config", "world", "line"),
    [
        ([], {}, 1.0, "100% of the procedural world"),
        (["--data", "one"], {}, 0.0, "100% of one (2)"),
        (["--data", "one", "--data", "two"], {}, 0.0, "100% of one (2), two (1), each set as often"),
        (["--data", "one", "--world", "0.4"], {}, 0.4, "40% of the procedural world; 60% of one (2)"),
        (["--data", "one", "--world", "0"], {}, 0.0, "100% of one (2)"),
        (["--data", "one", "--init", "tiny"], {}, 0.0, "100% of one (2)"),
        (["--data", "one"], {"world": 0.25}, 0.25, "25% of the procedural world; 75% of one (2)"),
        (["--data", "one", "--world", "0"], {"world": 0.25}, 0.0, "100% of one (2)"),
        ([], {"data": ["two"]}, 0.0, "100% of two (1)"),
        ([], {"data": ["two"], "world": 0.5}, 0.5, "50% of the procedural world; 50% of two (1)"),
        (["--world", "0.5"], {"data": ["two"]}, 0.5, "50% of the procedural world; 50% of two (1)"),
        ([], {"lr": 0.5}, 1.0, "100% of the procedural world"),
    ],
)
def test_data_without_a_share_of_the_world_is_all_there_is(place, capsys, monkeypatch, arguments, config, world, line):
    """Unless option or file name the share; what is mixed is said in one line. Kills: the world beside the data."""
    seen = handed_over(monkeypatch)
    sa1b_folder(place / "one", 2)
    sa1b_folder(place / "two", 1)
    (place / "c.json").write_text(json.dumps(config))
    code, _, err = run(capsys, "train", "run", *arguments, "--config", "c.json")
    assert code == 0 and seen[0].world == world
    assert err.startswith(f"images: {line}") and err.count("\n") == 1


def test_data_and_nothing_but_the_world_is_refused(place, capsys):
    sa1b_folder(place / "one", 1)
    assert "none of its images" in refused(capsys, "train", "run", "--data", "one", "--world", "1")


@pytest.mark.parametrize(
    ("arguments", "config", "begun", "steps"),
    [
        ([], {}, False, 1000),
        (["--steps", "7"], {}, False, 7),
        (["--minutes", "9"], {}, False, 0),
        (["--minutes", "9", "--steps", "7"], {}, False, 7),
        (["--minutes", "9"], {"steps": 5}, False, 5),
        ([], {"steps": 5}, False, 5),
        ([], {}, True, 0),
        (["--minutes", "9"], {}, True, 0),
        (["--steps", "7"], {}, True, 7),
        ([], {"steps": 5}, True, 5),
    ],
)
def test_steps_that_are_not_given(place, capsys, monkeypatch, arguments, config, begun, steps):
    """0 stands for those of the folder, or those that there is time for. Kills: 1000 steps, whatever the time."""
    seen = handed_over(monkeypatch)
    (place / "c.json").write_text(json.dumps(config))
    (place / "run").mkdir()
    if begun:
        (place / "run" / "checkpoint.pt").write_bytes(b"")
    assert run(capsys, "train", "run", *arguments, "--config", "c.json")[0] == 0
    assert seen[0].steps == steps


@pytest.mark.parametrize(
    ("given", "init"),
    [
        (["tiny"], "tiny"),
        (["tiny", "--init-raw"], "tiny"),
        (["small.safetensors"], "small.safetensors"),
        (["./tiny"], "tiny/weights.safetensors"),
        (["./tiny", "--init-raw"], "tiny/raw.safetensors"),
    ],
)
def test_weights_to_begin_with(place, capsys, monkeypatch, given, init):
    """The model's name is kept, so that a training goes on wherever minisam is installed."""
    seen = handed_over(monkeypatch)
    (place / "tiny").mkdir()
    for name in ("weights", "raw"):
        shutil.copy("small.safetensors", f"tiny/{name}.safetensors")
    assert run(capsys, "train", "run", "--init", *given)[0] == 0
    assert seen[0].init == init


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_weights_that_do_not_come_with_it(place, capsys, name):
    line = refused(capsys, "train", "run", "--init", name)
    assert f"expected a checkpoint for {name}, whose weights do not come with minisam" in line


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_help_has_every_default_and_choice(capsys, monkeypatch, command):
    """Of every setting, from the settings themselves. Kills: a default written by hand."""
    from minisam.training import settings

    kind = settings.Settings if command == "train" else settings.PretrainSettings
    for changes in ({}, {"lr": 0.125, "batch": 77}):
        changed = dataclasses.make_dataclass(
            "Changed",
            [(k, type(v), dataclasses.field(default=v)) for k, v in changes.items()],
            bases=(kind,),
            frozen=True,
        )
        monkeypatch.setattr(f"minisam.commands.train.{kind.__name__}", changed)
        monkeypatch.setenv("COLUMNS", "1000")
        _, out, _ = run(capsys, command, "--help")
        blocks = [" ".join(block.split()) for block in out.split("\n  --")[1:]]
        lines = {f"--{block.split()[0]}": block for block in blocks}
        for name, value in dataclasses.asdict(changed()).items():
            line = lines[settings.option(name) if value is not True else f"--no-{name.replace('_', '-')}"]
            shown = f"(default {'none' if value in ('', ()) else value})"
            shown = "(default: they are shown)" if value is True else shown
            assert name == "data" or shown in line, line
            assert all(choice in line for choice in settings.CHOICES.get(name, ())), line


@pytest.mark.slow
def test_lines_where_no_terminal_is(place, capsys):
    """The first step, the last and what is left; the log has both, for --plot, and the end says the final loss."""
    small = ["--size", "64", "--steps", "3", "--batch", "1", "--warmup", "1", "--workers", "0", "--depth", "1"]
    code, out, err = run(capsys, "train", "run", *small, "--masks", "1", "--rounds", "1")
    lines = err.splitlines()
    assert code == 0 and lines[0].startswith("images: 100% of the procedural world")
    assert lines[1].startswith("train: step 1 of 3, loss ") and lines[-1].startswith("train: step 3 of 3, loss ")
    assert lines[1].endswith(" minutes left")
    from minisam.training.log import read_log

    log = read_log(place / "run")
    assert [entry["step"] for entry in log] == [1, 3]
    assert f"trained 3 steps, loss {log[-1]['loss']:.4g}; the weights are in" in out
