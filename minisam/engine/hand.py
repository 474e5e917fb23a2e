"""What a hand can do with pixels: fill a polygon, drag a brush, and point well inside of something."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def iou_of(mask: np.ndarray, truth: np.ndarray) -> float:
    """The IoU of two masks (H, W) bool; 0 for two empty ones."""
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def pieces_of(mask: np.ndarray, truth: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What is missing and what is too much: numbered connected pieces (h, w), and their sizes in pixels."""
    from scipy.ndimage import label

    pieces = [label(wrong)[0] for wrong in (truth & ~mask, mask & ~truth)]
    return pieces, [np.bincount(piece.ravel())[1:] for piece in pieces]


def core(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask (H, W) that are at least half as deep inside as the deepest one."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    inner: np.ndarray = depth >= max(0.5 * depth.max(), 0.5)
    return inner


def painted(region: np.ndarray) -> np.ndarray:
    """What a disk covers that is dragged through a region (H, W) without leaving it: the region's opening.

    The disk is two thirds as large as the largest that fits.
    """
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    radius = max(1.0, depth.max() * 2 / 3)
    covered: np.ndarray = distance_transform_edt(depth < radius) < radius
    return covered


def moved(mask: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """A mask moved by (x, y) pixels; what leaves the view is gone."""
    (x, y), (height, width) = shift, mask.shape
    result = np.zeros_like(mask)
    rows, columns = np.nonzero(mask)
    rows, columns = rows + y, columns + x
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    result[rows[inside], columns[inside]] = True
    return result


def fill(lines: Sequence[np.ndarray], size: tuple[int, ...]) -> np.ndarray:
    """The pixels (H, W) bool whose centres lie inside of any of the closed lines (K, 2), corners (x, y) in pixels.

    Every row is crossed by edges; a pixel with an odd number of crossings to its left is inside.
    """
    height, width = size
    inside = np.zeros((height, width), bool)
    for line in lines:
        toggles = np.zeros((height, width + 1), np.int32)
        for (ax, ay), (bx, by) in zip(line, np.roll(line, -1, 0)):
            if ay == by:
                continue
            # centres of rows, y + ½, from the upper end on and before the lower one
            first, last = np.ceil(np.array([min(ay, by), max(ay, by)]) - 0.5).astype(int)
            rows = np.arange(max(first, 0), min(last, height))
            x = ax + (rows + 0.5 - ay) * (bx - ax) / (by - ay)
            np.add.at(toggles, (rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)), 1)
        inside |= (toggles.cumsum(1)[:, :-1] % 2).astype(bool)
    return inside
