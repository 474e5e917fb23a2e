"""Settings and batches of trainings that are small enough for a test."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from minisam.training.data import Pictures
from minisam.training.rounds import Interaction
from minisam.training.settings import PretrainSettings, Settings

SETTINGS = Settings(size=64, steps=4, batch=2, masks=2, rounds=3, warmup=2)
PRETRAIN = PretrainSettings(size=64, steps=3, batch=2, warmup=1)


def batch_of(size: int = 64, masks: int = 2) -> dict[str, torch.Tensor]:
    items = [Pictures(size, masks, (), 1.0, 0, 2)[i] for i in range(2)]
    return {key: torch.from_numpy(np.stack([item[key] for item in items])) for key in items[0]}


def begin(**changes) -> Interaction:
    torch.manual_seed(0)
    return Interaction.begin(dataclasses.replace(SETTINGS, **changes))


def blobs(seed: int, count: int = 4, size: int = 24) -> torch.Tensor:
    """Random rectangles (count, size, size) bool, none empty."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, size, size), bool)
    for mask in masks:
        (y0, x0), (h, w) = rng.integers(0, size - 1, 2), rng.integers(1, size, 2)
        mask[y0 : y0 + h, x0 : x0 + w] = True
    return torch.from_numpy(masks)
