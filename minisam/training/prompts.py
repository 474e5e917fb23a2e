"""The annotator, simulated (paper, appendix A): where would a person click next?

All functions work on a batch of M masks at once; coordinates are (x, y) in pixels of the model's input, and a pixel
(row, column) is clicked at (column, row), the convention of the official code (the half pixel comes later, in the
position encoding). ``generator`` makes the draws repeatable.
"""

from __future__ import annotations

import torch
from torch import Tensor

BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT, NO_POINT = 0, 1, 2, 3, -1


def sample_pixels(region: Tensor, generator: torch.Generator) -> Tensor:
    """One pixel of each region (M, H, W) bool, uniformly → (M, 2) as (x, y). An empty region gives a random pixel."""
    chance = torch.rand(region.shape, generator=generator) + region
    index = chance.flatten(1).argmax(dim=1)
    return torch.stack([index % region.shape[2], index // region.shape[2]], dim=1).float()


def noisy_boxes(masks: Tensor, generator: torch.Generator) -> Tensor:
    """The masks' boxes (M, 4) xyxy, every corner moved by Gaussian noise: σ = 10 % of the side, at most 20 pixels.

    The 20 pixels are of the official 1024; here they shrink with the picture.
    """
    size = masks.shape[-1]
    columns, rows = masks.any(dim=1), masks.any(dim=2)  # (M, W), (M, H)
    x0, y0 = columns.float().argmax(1), rows.float().argmax(1)
    x1 = size - 1 - columns.flip(1).float().argmax(1)
    y1 = masks.shape[-2] - 1 - rows.flip(1).float().argmax(1)
    boxes = torch.stack([x0, y0, x1, y1], dim=1).float()
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    limit = 20 * size / 1024
    noise = (torch.randn(boxes.shape, generator=generator) * 0.1 * sides).clamp(-limit, limit)
    return (boxes + noise).clamp(0, size - 1)


def initial_prompts(masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A point or a noisy box for each mask (M, S, S) bool, with equal chance.

    Returns coords (M, 2, 2), labels (M, 2) and which are boxes (M,). Two places each: a point and a "no point", or the
    two corners, so that both kinds share a batch.
    """
    count = len(masks)
    is_box = torch.rand(count, generator=generator) < 0.5
    points = torch.stack([sample_pixels(masks, generator), torch.zeros(count, 2)], dim=1)
    corners = noisy_boxes(masks, generator).view(count, 2, 2)
    coords = torch.where(is_box[:, None, None], corners, points)
    labels = torch.where(is_box[:, None], torch.tensor([TOP_LEFT, BOTTOM_RIGHT]), torch.tensor([FOREGROUND, NO_POINT]))
    return coords, labels, is_box


def correction(predicted: Tensor, truth: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A click where prediction and truth (M, S, S) bool differ: coords (M, 1, 2), labels (M, 1).

    A missed pixel becomes a foreground point, a wrongly covered one a background point. Where nothing differs any
    more, the click confirms a pixel of the truth.
    """
    wrong = predicted ^ truth
    region = torch.where(wrong.flatten(1).any(1)[:, None, None], wrong, truth)
    pixel = sample_pixels(region, generator)
    x, y = pixel.long().T
    labels = truth[torch.arange(len(truth)), y, x].long()
    return pixel[:, None], labels[:, None]
