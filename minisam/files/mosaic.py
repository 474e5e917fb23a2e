"""An image with every mask in it drawn: neighbours in other colours, outlines, small masks on top of large ones."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from minisam.files.overlay import COLOURS, outline


def mosaic(image: np.ndarray, masks: Iterable[np.ndarray], strength: float = 0.5) -> np.ndarray:
    """A copy of the image, uint8 (H, W, 3), with masks, each bool (H, W), painted in the order in which they come.

    There are seven colours, which people with any kind of colour vision can tell apart. Each mask takes the one that
    the pixels around it show least, and of several such the one that was taken least often: so masks that touch or lie
    in each other differ as long as a mask has fewer than seven neighbours. One mask is looked at at a time.
    """
    out = image.copy()
    height, width = out.shape[:2]
    line = max(1, round(max(height, width) / 500))
    shown = np.full((height, width), len(COLOURS), np.uint8)  # the number of the colour on top; 7 where there is none
    taken = np.zeros(len(COLOURS), np.int64)
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            continue
        window = (
            slice(max(0, rows[0] - line), rows[-1] + 1 + line),
            slice(max(0, columns[0] - line), columns[-1] + 1 + line),
        )
        inside = mask[window]
        around = shown[window][outline(~inside, line)]
        met = np.bincount(around, minlength=len(COLOURS) + 1)[: len(COLOURS)]
        number = int(np.lexsort((taken, met))[0])
        taken[number] += 1
        shown[window][inside] = number
        colour = np.array(COLOURS[number], np.float32)
        part = out[window]
        pixels = image[window][inside]
        part[inside] = np.rint(pixels * np.float32(1 - strength) + colour * np.float32(strength)).astype(np.uint8)
        part[outline(inside, line)] = COLOURS[number]
    return out
