"""The camera: what happens between the scene and the file.

Exposure and contrast, a colour cast, vignetting, blur, sensor noise, a lossy 8 × 8 block code, sometimes greyscale.
"""

from __future__ import annotations

import numpy as np

from .dice import Dice
from .exact import exact
from .raster import blur


@exact
def _develop(image, noise, gain, offset, vignette, noise_level, grey, out):
    """image (S, S, 3) float32 → out uint8; noise (n, n) uniform in [0, 1), tiled."""
    size = image.shape[0]
    side = noise.shape[0]
    for y in range(size):
        for x in range(size):
            dx, dy = (x + 0.5) / size - 0.5, (y + 0.5) / size - 0.5
            dark = 1.0 - vignette * (dx * dx + dy * dy) * 2.0
            r, g, b = image[y, x, 0] * gain[0], image[y, x, 1] * gain[1], image[y, x, 2] * gain[2]
            if grey:
                r = g = b = 0.3 * r + 0.59 * g + 0.11 * b
            for channel in range(3):
                value = (r if channel == 0 else (g if channel == 1 else b)) * dark + offset
                c = 0 if grey else channel
                n = noise[(y + 37 * c) % side, (x + 91 * c) % side] + noise[(y + 53) % side, (x + 11 * c + 7) % side]
                value += noise_level * (n - 1.0)
                value = min(max(value, 0.0), 1.0)
                out[y, x, channel] = np.uint8(value * 255.0 + 0.5)


_NOISE = np.random.Generator(np.random.PCG64(7)).random((128, 128)).astype(np.float32)


def photograph(dice: Dice, colour: np.ndarray) -> np.ndarray:
    """The scene's colours (S, S, 3) float32 as the camera stores them: uint8 (S, S, 3)."""
    size = colour.shape[0]
    if dice.chance(0.35):
        colour = blur(colour, int(dice.uniform(0.0, 0.006) * size + 0.5))
    gain = np.array([1.0, 1.0, 1.0]) * dice.uniform(0.7, 1.25)
    if dice.chance(0.6):
        warm = dice.signed(0.08)
        gain = gain * np.array([1.0 + warm, 1.0 + dice.signed(0.02), 1.0 - warm])
    offset = dice.uniform(-0.05, 0.1)
    vignette = dice.uniform(0.0, 0.8) if dice.chance(0.4) else 0.0
    noise = dice.log_uniform(0.004, 0.08)
    out = np.empty((size, size, 3), np.uint8)
    _develop(colour, _NOISE, gain, offset, vignette, noise, dice.chance(0.1), out)
    return out
