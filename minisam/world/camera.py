"""The camera: what happens between the scene and the file.

In the order of the light: uneven light (a soft gradient, sometimes the dappled shadow of something outside of the
picture), lens blur, vignetting, exposure and colour cast, a tone curve, sensor noise, rounding to bytes, and sometimes
a lossy 8 × 8 block code as in JPEG. The light matters most: because of it the colours of one object differ from place
to place, while its outline stays, which is what tells an object from a colour.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from .dice import Dice
from .exact import exact, snap
from .materials import affine, tiles
from .paint import sample
from .raster import blur


@exact
def _develop(image, light, to_light, noise, corner, numbers, gain, out):
    """image (S, S, 3) float32 → out uint8; light: a noise tile; noise (n, n) uniform in [0, 1), n a power of two."""
    uneven, dapple, vignette, contrast, offset, grain, grey = numbers
    size = image.shape[0]
    last = noise.shape[0] - 1
    for y in range(size):
        for x in range(size):
            px, py = (x + 0.5) / size, (y + 0.5) / size
            bright = 1.0 - vignette * 2.0 * ((px - 0.5) * (px - 0.5) + (py - 0.5) * (py - 0.5))
            if uneven > 0.0 or dapple > 0.0:
                n = sample(
                    light,
                    to_light[0, 0] * px + to_light[0, 1] * py + to_light[0, 2],
                    to_light[1, 0] * px + to_light[1, 1] * py + to_light[1, 2],
                )
                bright *= max(1.0 + uneven * n, 0.2) * (1.0 - dapple * min(max(4.0 * n - 1.0, 0.0), 1.0))
            r, g, b = image[y, x, 0] * gain[0], image[y, x, 1] * gain[1], image[y, x, 2] * gain[2]
            if grey > 0.0:
                r = 0.3 * r + 0.59 * g + 0.11 * b
                g, b = r, r
            rgb = (r, g, b)
            for channel in range(3):
                value = (rgb[channel] * bright + offset - 0.5) * contrast + 0.5
                if value > 0.75:  # a shoulder instead of a cut: highlights keep some drawing
                    value = 0.75 + (value - 0.75) / (1.0 + 1.6 * (value - 0.75))
                c = 0 if grey > 0.0 else channel
                n = noise[(y + corner + 37 * c) & last, (x + 91 * c) & last]
                n += noise[(y + 53) & last, (x + 2 * corner + 11 * c + 7) & last]
                value = min(max(value + grain * (n - 1.0), 0.0), 1.0)
                out[y, x, channel] = np.uint8(value * 255.0 + 0.5)


@functools.cache
def _sensor_noise() -> np.ndarray:
    return np.random.Generator(np.random.PCG64(7)).random((256, 256)).astype(np.float32)


@functools.cache
def _cosines() -> np.ndarray:
    """The 8-point cosine transform, rows are frequencies, orthonormal (8, 8)."""
    k, n = np.arange(8)[:, None], np.arange(8)[None, :]
    table = np.cos(math.pi * k * (2 * n + 1) / 16.0) * 0.5
    table[0] *= math.sqrt(0.5)
    return snap(table).astype(np.float32)


@exact
def _block_code(picture, cosines, quality):
    """Round the cosine coefficients of every 8 × 8 block (luma finer than chroma) and go back; in place, uint8."""
    size = picture.shape[0]
    block = np.empty((3, 8, 8), np.float32)
    half = np.empty((8, 8), np.float32)
    for top in range(0, size - 7, 8):
        for left in range(0, size - 7, 8):
            for i in range(8):
                for j in range(8):
                    r = np.float32(picture[top + i, left + j, 0])
                    g = np.float32(picture[top + i, left + j, 1])
                    b = np.float32(picture[top + i, left + j, 2])
                    luma = np.float32(0.25) * r + np.float32(0.5) * g + np.float32(0.25) * b
                    block[0, i, j], block[1, i, j], block[2, i, j] = luma, r - g, b - g
            for channel in range(3):
                for direction in range(2):  # forward, rounding, back
                    for i in range(8):
                        for j in range(8):
                            half[i, j] = 0.0
                        for k in range(8):
                            weight = cosines[i, k] if direction == 0 else cosines[k, i]
                            for j in range(8):
                                half[i, j] += weight * block[channel, k, j]
                    for i in range(8):
                        for j in range(8):
                            block[channel, i, j] = 0.0
                        for k in range(8):
                            weight = half[i, k]
                            for j in range(8):
                                block[channel, i, j] += weight * (cosines[j, k] if direction == 0 else cosines[k, j])
                    if direction == 0:
                        for i in range(8):
                            for j in range(8):
                                step = np.float32((3.0 + 1.6 * (i + j)) * quality * (1.0 if channel == 0 else 2.2))
                                block[channel, i, j] = np.rint(block[channel, i, j] / step) * step
            for i in range(8):
                for j in range(8):
                    g = block[0, i, j] - np.float32(0.25) * (block[1, i, j] + block[2, i, j])
                    for channel in range(3):
                        value = g if channel == 1 else (g + block[1, i, j] if channel == 0 else g + block[2, i, j])
                        picture[top + i, left + j, channel] = np.uint8(min(max(value + np.float32(0.5), 0.0), 255.0))


def photograph(dice: Dice, colour: np.ndarray) -> np.ndarray:
    """The scene's colours (S, S, 3) float32 as the camera stores them: uint8 (S, S, 3)."""
    size = colour.shape[0]
    if dice.chance(0.35):
        colour = blur(colour, int(dice.uniform(0.0, 0.006) * size + 0.5))
    gain = np.array([1.0, 1.0, 1.0]) * dice.uniform(0.75, 1.2)
    if dice.chance(0.6):
        warm = dice.signed(0.08)
        gain = gain * np.array([1.0 + warm, 1.0 + dice.signed(0.02), 1.0 - warm])
    uneven = dice.uniform(0.03, 0.25) if dice.chance(0.6) else 0.0
    dapple = dice.uniform(0.2, 0.6) if dice.chance(0.1) else 0.0
    to_light = affine(dice.random(), dice.random(), dice.log_uniform(0.1, 0.5), dice.uniform(0, 6.2832))
    vignette = dice.uniform(0.0, 0.7) if dice.chance(0.4) else 0.0
    grain = dice.log_uniform(0.004, 0.03) if dice.chance(0.8) else dice.log_uniform(0.03, 0.12)
    grey = 1.0 if dice.chance(0.1) else 0.0
    numbers = np.array([uneven, dapple, vignette, dice.uniform(0.75, 1.2), dice.uniform(-0.04, 0.08), grain, grey])
    out = np.empty((size, size, 3), np.uint8)
    light = tiles()[3 if dapple == 0.0 else 2][2]
    _develop(colour, light, to_light, _sensor_noise(), dice.integer(0, 255), numbers, gain, out)
    if dice.chance(0.35):
        _block_code(out, _cosines(), dice.log_uniform(0.4, 6.0))
    return out
