"""A small image with two objects that are plain to see."""

from __future__ import annotations

import numpy as np


def scene() -> tuple[np.ndarray, list[np.ndarray]]:
    """A red square and a blue disc on a noisy grey ground, 60 × 80."""
    image = np.full((60, 80, 3), 120, np.uint8) + np.random.default_rng(0).integers(0, 8, (60, 80, 3), dtype=np.uint8)
    square = np.zeros((60, 80), bool)
    square[10:30, 8:30] = True
    rows, columns = np.mgrid[:60, :80]
    disc = (rows - 40) ** 2 + (columns - 55) ** 2 < 15**2
    image[square], image[disc] = (220, 30, 30), (20, 40, 220)
    return image, [square, disc]
