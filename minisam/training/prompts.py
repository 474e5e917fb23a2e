"""The annotator of ``minisam.annotator`` in torch, for a batch of M masks at once (paper, appendix A).

The functions work on any device, without a loop over masks and without a wait for the device. Coordinates are (x, y) in
pixels of the model's input, and a pixel (row, column) is clicked at (column, row).

Chance comes from ``draw``: a handful of numbers per mask, drawn on the CPU from (seed, step). So the clicks are the
same on every device, and a process that plays a share of a batch takes its share of the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from minisam.annotator import new_points

BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT, NO_POINT = 0, 1, 2, 3, -1


@dataclass(frozen=True)
class Draws:
    """The chances of a step: ``annotator.Chances`` for each of M masks, with one ``pause`` for all of them.

    ``box`` (M,) and ``points`` (M, rounds) are uniform in [0, 1), ``noise`` (M, 4) is standard normal.
    """

    box: Tensor
    noise: Tensor
    points: Tensor
    pause: int

    def part(self, start: int, stop: int) -> Draws:
        """Take the chances of the masks from ``start`` to ``stop``."""
        return Draws(self.box[start:stop], self.noise[start:stop], self.points[start:stop], self.pause)

    def to(self, device: torch.device) -> Draws:
        """Copy the numbers to a device."""

        def move(x: Tensor) -> Tensor:
            return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)

        return Draws(move(self.box), move(self.noise), move(self.points), self.pause)


def draw(seed: int, step: int, count: int, rounds: int) -> Draws:
    """Draw the chances of one step for ``count`` masks.

    ``pause`` is drawn once for all of them, so that they stay a batch with equal numbers of points.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    box = torch.rand(count, generator=generator)
    noise = torch.randn(count, 4, generator=generator)
    points = torch.rand(count, rounds, generator=generator)
    later_points = sum(new_points(rounds, rounds))
    return Draws(box, noise, points, int(torch.randint(max(1, later_points), (), generator=generator)))


def sample_pixels(region: Tensor, chance: Tensor) -> Tensor:
    """Choose a pixel of each region (M, H, W) bool → (M, 2) as (x, y); uniform if chance (M,) is uniform in [0, 1).

    It is pixel number ⌊chance · pixels⌋ of the region in reading order. An empty region gives some pixel of the image.
    """
    height, width = region.shape[1:]
    # count the region's pixels in each row, (M, H), and in all rows down to it
    counts = region.sum(dim=2)
    up_to = counts.cumsum(dim=1)
    number = (chance.double() * up_to[:, -1]).long()[:, None]
    # the pixel's row is the first one down to which there are more than ``number`` pixels
    row = torch.searchsorted(up_to, number, right=True).clamp(max=height - 1)
    # its column is found in the same way among the pixels of that row, (M, W)
    within = number - (up_to - counts).gather(1, row)
    line = region.gather(1, row[:, :, None].expand(-1, -1, width))[:, 0].cumsum(dim=1)
    column = torch.searchsorted(line, within, right=True).clamp(max=width - 1)
    return torch.cat([column, row], dim=1).float()


def noisy_boxes(masks: Tensor, noise: Tensor) -> Tensor:
    """The masks' boxes (M, 4) xyxy, every corner moved by Gaussian noise: σ = 10 % of the side, at most 20 pixels.

    The 20 pixels are those of the official 1024; they shrink with the image. noise (M, 4) is standard normal.
    """
    size = masks.shape[-1]
    # the first and the last column and row that hold a pixel: argmax gives the first True, from either end
    columns, rows = masks.any(dim=1), masks.any(dim=2)  # (M, W), (M, H)
    x0, y0 = columns.float().argmax(1), rows.float().argmax(1)
    x1 = size - 1 - columns.flip(1).float().argmax(1)
    y1 = masks.shape[-2] - 1 - rows.flip(1).float().argmax(1)
    boxes = torch.stack([x0, y0, x1, y1], dim=1).float()
    # move each coordinate by 10 % of its side times its noise, within the limit, and keep it in the image
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    limit = 20 * size / 1024
    return (boxes + (noise * 0.1 * sides).clamp(-limit, limit)).clamp(0, size - 1)


def initial_prompts(masks: Tensor, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """Give each mask (M, S, S) bool a point or a noisy box, with equal chance.

    Returns coords (M, 2, 2), labels (M, 2) and which are boxes (M,). Each mask has two coordinates, so that both kinds
    share a batch: a point and a "no point", or the two corners.
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
    """Click where prediction and truth (M, S, S) bool differ, as ``annotator.correction`` does.

    Returns coords (M, 1, 2) and labels (M, 1).
    """
    wrong = predicted ^ truth
    region = torch.where(wrong.flatten(1).any(1)[:, None, None], wrong, truth)
    pixel = sample_pixels(region, chance)
    x, y = pixel.long().unbind(1)
    labels = truth.flatten(1).gather(1, (y * truth.shape[2] + x)[:, None]).long()
    return pixel[:, None], labels
