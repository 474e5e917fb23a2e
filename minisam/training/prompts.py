"""The annotator, simulated (paper, appendix A): where would a person click next?

All functions work on a batch of M masks at once, on any device, without a loop over masks and without a wait for the
device. Coordinates are (x, y) in pixels of the model's input, and a pixel (row, column) is clicked at (column, row),
the convention of the official code (the half pixel comes later, in the position encoding).

Chance comes from ``draw``: a handful of numbers a mask, drawn on the CPU from (seed, step). So the clicks are the same
on every device, and a process that plays a share of a batch takes its share of the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from minisam.annotator import new_points

BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT, NO_POINT = 0, 1, 2, 3, -1


@dataclass(frozen=True)
class Draws:
    """The chances of a step: ``box`` (M,), ``noise`` (M, 4), ``points`` (M, rounds), all but ``noise`` uniform in
    [0, 1); ``pause`` is the place among the later points before which a round without a new point comes."""

    box: Tensor
    noise: Tensor
    points: Tensor
    pause: int

    def part(self, start: int, stop: int) -> Draws:
        """Those of the masks from ``start`` to ``stop``."""
        return Draws(self.box[start:stop], self.noise[start:stop], self.points[start:stop], self.pause)

    def to(self, device: torch.device) -> Draws:
        """The same numbers on a device."""

        def move(x: Tensor) -> Tensor:
            return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)

        return Draws(move(self.box), move(self.noise), move(self.points), self.pause)


def draw(seed: int, step: int, count: int, rounds: int) -> Draws:
    """The chances of one step for ``count`` masks. ``pause`` is drawn for all of them at once, so that they stay a
    batch with equal numbers of points."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    box = torch.rand(count, generator=generator)
    noise = torch.randn(count, 4, generator=generator)
    points = torch.rand(count, rounds, generator=generator)
    places = sum(new_points(rounds, rounds))
    return Draws(box, noise, points, int(torch.randint(max(1, places), (), generator=generator)))


def sample_pixels(region: Tensor, chance: Tensor) -> Tensor:
    """One pixel of each region (M, H, W) bool, uniformly → (M, 2) as (x, y); chance (M,) uniform in [0, 1).

    The pixel is number ⌊chance · pixels⌋ of the region in reading order: its row by the rows' cumulative counts, then
    its column by that row's. An empty region gives some pixel of the picture.
    """
    height, width = region.shape[1:]
    counts = region.sum(dim=2)  # (M, H)
    up_to = counts.cumsum(dim=1)
    number = (chance.double() * up_to[:, -1]).long()[:, None]
    row = torch.searchsorted(up_to, number, right=True).clamp(max=height - 1)
    within = number - (up_to - counts).gather(1, row)
    line = region.gather(1, row[:, :, None].expand(-1, -1, width))[:, 0].cumsum(dim=1)  # (M, W)
    column = torch.searchsorted(line, within, right=True).clamp(max=width - 1)
    return torch.cat([column, row], dim=1).float()


def noisy_boxes(masks: Tensor, noise: Tensor) -> Tensor:
    """The masks' boxes (M, 4) xyxy, every corner moved by Gaussian noise: σ = 10 % of the side, at most 20 pixels.

    The 20 pixels are of the official 1024; here they shrink with the picture. noise (M, 4) is standard normal.
    """
    size = masks.shape[-1]
    columns, rows = masks.any(dim=1), masks.any(dim=2)  # (M, W), (M, H)
    x0, y0 = columns.float().argmax(1), rows.float().argmax(1)
    x1 = size - 1 - columns.flip(1).float().argmax(1)
    y1 = masks.shape[-2] - 1 - rows.flip(1).float().argmax(1)
    boxes = torch.stack([x0, y0, x1, y1], dim=1).float()
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    limit = 20 * size / 1024
    return (boxes + (noise * 0.1 * sides).clamp(-limit, limit)).clamp(0, size - 1)


def initial_prompts(masks: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """A point or a noisy box for each mask (M, S, S) bool, with equal chance.

    Returns coords (M, 2, 2), labels (M, 2) and which are boxes (M,). Two places each: a point and a "no point", or the
    two corners, so that both kinds share a batch.
    """
    is_box = draws.box < 0.5
    point = sample_pixels(masks, draws.points[:, 0])
    points = torch.stack([point, torch.zeros_like(point)], dim=1)
    corners = noisy_boxes(masks, draws.noise).view(-1, 2, 2)
    coords = torch.where(is_box[:, None, None], corners, points)
    first = torch.where(is_box, TOP_LEFT, FOREGROUND)
    second = torch.where(is_box, BOTTOM_RIGHT, NO_POINT)
    return coords, torch.stack([first, second], dim=1), is_box


def correction(predicted: Tensor, truth: Tensor, chance: Tensor) -> tuple[Tensor, Tensor]:
    """A click where prediction and truth (M, S, S) bool differ: coords (M, 1, 2), labels (M, 1).

    A missed pixel becomes a foreground point, a wrongly covered one a background point. Where nothing differs any
    more, the click confirms a pixel of the truth.
    """
    wrong = predicted ^ truth
    region = torch.where(wrong.flatten(1).any(1)[:, None, None], wrong, truth)
    pixel = sample_pixels(region, chance)
    x, y = pixel.long().unbind(1)
    labels = truth.flatten(1).gather(1, (y * truth.shape[2] + x)[:, None]).long()
    return pixel[:, None], labels
