"""From nothing to a model that answers to a point: the shortened recipe that CI runs, in about two minutes."""

from __future__ import annotations

import json
import re

import pytest

from minisam.checkpoints.checkpoint import read_checkpoint
from minisam.checkpoints.loading import WEIGHTS
from minisam.training import loop
from minisam.training.held_out import play_held_out
from minisam.training.settings import Settings, read_settings

RECIPE = loop.Settings(
    size=48, depth=2, steps=600, batch=8, masks=4, rounds=1, lr=1.5e-3, final_lr=1e-4, warmup=30, average=0.98
)
FLOOR = 0.30  # measured: 0.39; filling the whole picture has 0.22 on these masks


@pytest.mark.slow
def test_the_short_recipe_reaches_its_floor(tmp_path):
    """The best of three masks from one prompt, on 64 held-out scenes."""
    trainer = loop.Trainer(RECIPE, tmp_path)
    trainer.run(workers=1)
    figures = play_held_out(trainer, 64)
    assert figures["oracle_1"] > FLOOR, figures


def test_the_shipped_weights_say_how_they_were_trained():
    """The settings in the file are those of the last stage of ``make weights``; each stage is one that can be trained.
    Kills: a stage file that is not what was run."""
    files = sorted(WEIGHTS.glob("stage-*.json"), key=lambda path: int(path.stem.split("-")[1]))
    named = re.search(r"^STAGES = (.*)$", (WEIGHTS.parents[1] / "Makefile").read_text(), re.MULTILINE)
    assert named and [f"stage-{stage.split(':')[0]}.json" for stage in named[1].split()] == [
        path.name for path in files
    ]
    stages = [Settings(**read_settings(path, Settings)) for path in files]
    for stage in stages:
        Settings(**{**stage.plain(), "data": ("pictures.safetensors",)}).check()
    notes = read_checkpoint(WEIGHTS / "tiny.safetensors").metadata
    settings = json.loads(notes["settings"])
    settings = Settings().plain() | settings  # what came later stands at its default
    assert {key for key, value in stages[-1].plain().items() if settings[key] != value} <= {"data", "init"}
    assert int(notes["step"]) == stages[-1].steps
