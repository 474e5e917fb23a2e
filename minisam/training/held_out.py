"""How good is a training on scenes that it never sees? The same rounds, played with the running average."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from minisam.training import prompts
from minisam.training.data import Pictures, smallest_mask
from minisam.training.loop import Trainer
from minisam.training.rounds import Interaction, play
from minisam.training.settings import Settings


@torch.no_grad()
def play_held_out(trainer: Trainer, scenes: int, rounds: int = 1, batch: int = 16) -> dict[str, float]:
    """Return mean figures of ``rounds`` rounds on the world's first ``scenes`` held-out scenes, at the training's size.

    ``iou_n``: after round n, of the most confident mask; ``oracle_1``: the best of three. Half of the first prompts are
    points and half boxes; the same ones every time.
    """
    assert isinstance(trainer.settings, Settings)
    s = dataclasses.replace(trainer.settings, rounds=rounds)
    pictures = Pictures(s.size, s.masks, (), 1.0, 0, scenes, smallest_mask(s.config().patch_size), held_out=True)
    sums: dict[str, float] = {}
    with trainer.averaged() as model:
        task = Interaction(model, s)  # type: ignore[arg-type]
        for first in range(0, scenes, batch):
            items = [pictures[i] for i in range(first, min(first + batch, scenes))]
            stacked = {key: torch.from_numpy(np.stack([item[key] for item in items])) for key in items[0]}
            stacked = {key: value.to(trainer.processes.device) for key, value in stacked.items()}
            draws = prompts.draw(0, first, len(items) * s.masks, rounds).to(trainer.processes.device)
            for _, figures, _ in play(task.model, task.embed(stacked), stacked["masks"], draws, s):
                for key, value in figures.items():
                    sums[key] = sums.get(key, 0.0) + float(value) * len(items)
    return {key: value / scenes for key, value in sums.items()}
