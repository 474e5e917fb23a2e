"""From nothing to a model that answers to a point: the shortened recipe that CI runs, in about two minutes."""

from __future__ import annotations

import json
import re

import pytest
import torch
from torch.utils.data import default_collate

from minisam.checkpoints.checkpoint import read_checkpoint
from minisam.checkpoints.loading import WEIGHTS
from minisam.training import loop, prompts
from minisam.training.data import Pictures, smallest_mask
from minisam.training.rounds import Interaction, play
from minisam.training.settings import Settings, read_settings

RECIPE = loop.Settings(
    size=48, depth=2, steps=600, batch=8, masks=4, rounds=1, lr=1.5e-3, final_lr=1e-4, warmup=30, average=0.98
)
FLOOR = 0.30  # measured: 0.39; filling the whole image has 0.22 on these masks


@torch.no_grad()
def best_of_three(trainer: loop.Trainer, scenes: int, batch: int = 16) -> float:
    """Mean IoU of the best of three masks after one prompt, on the world's first held-out scenes, with the average.

    Half of the prompts are points and half boxes; the same ones every time.
    """
    s, total = RECIPE, 0.0
    pictures = Pictures(s.size, s.masks, (), 1.0, 0, scenes, smallest_mask(s.config().patch_size), held_out=True)
    with trainer.averaged() as model:
        task = Interaction(model, s)
        for first in range(0, scenes, batch):
            stacked = default_collate([pictures[i] for i in range(first, first + batch)])
            draws = prompts.draw(0, first, batch * s.masks, 1)
            ((_, figures, _),) = play(model, task.embed(stacked), stacked["masks"], draws, s)
            total += float(figures["oracle_1"]) * batch
    return total / scenes


@pytest.mark.slow
def test_the_short_recipe_reaches_its_floor(tmp_path):
    """The best of three masks from one prompt, on 64 held-out scenes."""
    trainer = loop.Trainer(RECIPE, tmp_path)
    trainer.run(workers=1)
    assert best_of_three(trainer, 64) > FLOOR


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
