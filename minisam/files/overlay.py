"""Masks and prompts drawn over an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from minisam.files.images import STRIP

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart
COLOURS = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66))
FOREGROUND, BACKGROUND = (0, 158, 115), (213, 94, 0)


def _erode_columns(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels whose ``width`` neighbours above and below are all in the mask (H, W); the border counts as mask.

    A run of 2·width + 1 rows is the meeting of two runs that are a power of two long, and those are made by doubling.
    """
    padded = np.pad(mask, ((width, width), (0, 0)), constant_values=True)
    length = 1
    while 2 * length <= 2 * width + 1:
        padded = padded[:-length] & padded[length:]
        length *= 2
    return padded[: mask.shape[0]] & padded[padded.shape[0] - mask.shape[0] :]


def outline(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a mask (H, W) bool that lie within ``width`` rows and columns of its outside."""
    return mask & ~_erode_columns(_erode_columns(mask, width).T, width).T


def overlay(
    image: np.ndarray,
    masks: np.ndarray,
    points: Sequence[tuple[float, float]] | np.ndarray = (),
    labels: Sequence[int] | np.ndarray = (),
    box: Sequence[float] | np.ndarray | None = None,
    strength: float = 0.5,
) -> np.ndarray:
    """A copy of the image, uint8 (H, W, 3), with masks (M, H, W) bool in colours of their own and the prompts on top.

    points (P, 2) as (x, y) in pixels with labels (P,): a green disc with a plus is foreground, a red one with a minus
    background; ``box`` is x0, y0, x1, y1. Where masks overlap, the later one is on top.
    """
    out = image.copy()
    height, width = out.shape[:2]
    line = max(1, round(max(height, width) / 400))
    rows = max(1, STRIP // width)
    for number, mask in enumerate(masks):
        colour = np.array(COLOURS[number % len(COLOURS)], np.float32)
        edge = outline(mask, line)
        for top in range(0, height, rows):
            part, inside = out[top : top + rows], mask[top : top + rows]
            mixed = part[inside] * np.float32(1 - strength) + colour * np.float32(strength)
            part[inside] = np.rint(mixed).astype(np.uint8)
            part[edge[top : top + rows]] = colour.astype(np.uint8)
    if box is not None:
        x0, y0, x1, y1 = (round(float(value)) for value in box)
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
        frame = np.zeros((height, width), bool)
        frame[y0:y1, x0:x1] = True
        frame[y0 + line : y1 - line, x0 + line : x1 - line] = False
        out[frame] = (255, 255, 255)
    for (x, y), label in zip(points, labels):
        _mark(out, float(x), float(y), bool(label))
    return out


def _mark(image: np.ndarray, x: float, y: float, foreground: bool) -> None:
    """Draw a prompt point into the image: only the patch around it goes through Pillow."""
    height, width = image.shape[:2]
    radius = max(4, round(max(height, width) / 90))
    left, top = max(0, int(x) - 2 * radius), max(0, int(y) - 2 * radius)
    patch = image[top : int(y) + 2 * radius, left : int(x) + 2 * radius]
    if not patch.size:
        return
    picture = Image.fromarray(patch)
    draw = ImageDraw.Draw(picture)
    x, y, line = x - left, y - top, max(1, radius // 4)
    disc = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse(disc, fill=FOREGROUND if foreground else BACKGROUND, outline="white", width=line)
    draw.line((x - radius / 2, y, x + radius / 2, y), fill="white", width=line)
    if foreground:
        draw.line((x, y - radius / 2, x, y + radius / 2), fill="white", width=line)
    patch[...] = np.asarray(picture)
