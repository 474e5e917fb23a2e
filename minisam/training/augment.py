"""More images out of few: other colours, and objects of one image pasted into another (Ghiasi et al. 2021)."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

LARGEST = 0.5  # share of the image that a pasted object may cover
LEFT = 0.5  # share of a mask that must stay uncovered, or it goes
EDGE = 0.7  # pixels of blur between a pasted object and its new surroundings

WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green, blue in a grey


def other_colours(pixels: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Change contrast, saturation, brightness and each channel's gain of pixels uint8 (H, W, 3) at random.

    Each changes by up to about ``strength`` (0 to 1) of itself.
    """
    x = pixels.astype(np.float32)
    contrast, saturation = 1 + strength * rng.uniform(-1, 1, 2)
    gain = 1 + strength / 2 * rng.uniform(-1, 1) + strength / 4 * rng.uniform(-1, 1, 3)
    x = x.mean() + (x - x.mean()) * np.float32(contrast)
    grey = (x @ WEIGHTS)[..., None]
    x = (grey + (x - grey) * np.float32(saturation)) * gain.astype(np.float32)
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def paste(
    pixels: np.ndarray, masks: np.ndarray, other: np.ndarray, objects: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Paste one of the ``objects`` (N, h, w) of an image ``other`` (h, w, 3) anywhere into ``pixels`` (H, W, 3).

    Returns the image and its masks (M' , H, W): those of ``masks`` of which enough is left, without what is covered
    now, and the object's. Where no object has a fitting size, both come back unchanged.
    """
    height, width = pixels.shape[:2]
    areas = objects.sum(axis=(1, 2)) if len(objects) else np.zeros(0)
    fit = np.flatnonzero((areas > 0) & (areas <= LARGEST * height * width))
    if not len(fit):
        return pixels, masks
    chosen = objects[rng.choice(fit)]
    rows, columns = np.flatnonzero(chosen.any(axis=1)), np.flatnonzero(chosen.any(axis=0))
    # the object's middle goes to a random pixel; what lies outside is cut off
    down = int(rng.integers(height)) - int(rows[0] + rows[-1]) // 2
    right = int(rng.integers(width)) - int(columns[0] + columns[-1]) // 2
    soft = np.asarray(Image.fromarray(chosen.view(np.uint8) * 255).filter(ImageFilter.GaussianBlur(EDGE)), np.float32)
    to, since = _overlap(pixels.shape, other.shape, down, right)
    moved = np.zeros((height, width), bool)
    moved[to] = chosen[since]
    alpha = soft[since][..., None] / 255
    result = pixels.copy()
    result[to] = np.rint(pixels[to] * (1 - alpha) + other[since] * alpha).astype(np.uint8)
    left = masks & ~moved
    stays = left.sum(axis=(1, 2)) >= LEFT * masks.sum(axis=(1, 2))
    return result, np.concatenate([left[stays], moved[None]])


def _overlap(shape: tuple[int, ...], other: tuple[int, ...], down: int, right: int) -> tuple[tuple, tuple]:
    """Return the windows, in an array of ``shape`` and in another moved by (down, right), where the two overlap."""
    to, since = [], []
    for length, its, move in zip(shape, other, (down, right)):
        first, last = max(0, move), max(0, min(length, its + move))
        to.append(slice(min(first, last), last))
        since.append(slice(min(first, last) - move, last - move))
    return tuple(to), tuple(since)
