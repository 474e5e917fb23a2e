"""The camera: what happens between the scene and the file.

In the order of the light: uneven light (a soft gradient, sometimes the dappled shadow of something outside of the
image), lens blur, vignetting, exposure and colour cast, a tone curve, sensor noise, rounding to bytes, and sometimes
a lossy 8 × 8 block code as in JPEG. The light matters most: because of it the colours of one object differ from place
to place, while its outline stays, which is what tells an object from a colour.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minisam.world.render.exact import exact, snap
from minisam.world.render.raster import blur
from minisam.world.render.rng import Rng
from minisam.world.render.shading import sample_row
from minisam.world.render.shapes import affine, map_point
from minisam.world.render.tiles import tiles


class Exposure(NamedTuple):
    """What is chosen for one image out of the ranges of a ``Camera``."""

    uneven: float  # strength of the soft gradient of light
    dapple: float  # strength of the shadow of leaves
    vignette: float
    contrast: float
    lift: float  # brightness added
    grain: float  # strength of the sensor's noise
    grey: bool


@exact
def _develop(image, light, to_light, noise, shift, exposure, gain, out):
    """Develop image (S, S, 3) float32 into out, uint8; light: a noise tile; noise (256, n) float32, n ≥ 3 S + 512.

    The sensor's noise of a row is the sum of two pieces of rows of ``noise``: another pair for each of 256 rows.
    """
    size = image.shape[0]
    zero, half, one = np.float32(0.0), np.float32(0.5), np.float32(1.0)
    uneven, dapple, vignette = np.float32(exposure.uneven), np.float32(exposure.dapple), exposure.vignette
    contrast, grain, offset = np.float32(exposure.contrast), np.float32(exposure.grain), np.float32(exposure.lift - 0.5)
    # One row of: the light's noise, colours, what they are multiplied by, the sensor's noise (−1 to 1).
    lit, row, bright = np.zeros(size, np.float32), np.empty(3 * size, np.float32), np.empty(3 * size, np.float32)
    speckle = np.empty(3 * size, np.float32)
    # Vignetting: 1 − 2 vignette (x² + y²), (x, y) from the centre; ``across`` is the part of x, the same in all rows.
    across = np.empty(size, np.float32)
    for x in range(size):
        across[x] = np.float32(vignette * 2.0 * ((x + 0.5) / size - 0.5) * ((x + 0.5) / size - 0.5))
    for y in range(size):
        # Light: uneven · n, the shadow of leaves where n is high, the vignette, exposure and cast (``gain``).
        px, py = 0.5 / size, (y + 0.5) / size
        if uneven > 0.0 or dapple > 0.0:
            u, v = map_point(to_light, px, py)
            sample_row(light, u, v, to_light[0, 0] / size, to_light[1, 0] / size, 0, size, lit)
        inside = np.float32(1.0 - vignette * 2.0 * (py - 0.5) * (py - 0.5))
        for x in range(size):
            shade = max(one + uneven * lit[x], np.float32(0.2))
            shade *= one - dapple * min(max(np.float32(4.0) * lit[x] - one, zero), one)
            shade *= inside - across[x]
            for c in range(3):
                bright[3 * x + c] = shade * gain[c]
                row[3 * x + c] = image[y, x, c]

        # The sum of two uniform numbers: noise with a triangular density.
        first, second = noise[y & 255], noise[(7 * y + shift) & 255]
        start = (shift * 5 + 91 * y) & 255
        for i in range(3 * size):
            row[i] *= bright[i]
            speckle[i] = first[i + start] + second[i + 255 - start] - one
        if exposure.grey:
            for x in range(size):
                value = (
                    np.float32(0.3) * row[3 * x] + np.float32(0.59) * row[3 * x + 1] + np.float32(0.11) * row[3 * x + 2]
                )
                for c in range(3):
                    row[3 * x + c], speckle[3 * x + c] = value, speckle[3 * x]

        # The tone curve: contrast about 1/2, then a shoulder above 3/4, not a cut: highlights keep some drawing.
        for i in range(3 * size):
            value = (row[i] + offset) * contrast + half
            over = max(value - np.float32(0.75), zero)
            value = value - over + over / (one + np.float32(1.6) * over) + grain * speckle[i]
            row[i] = min(max(value, zero), one) * np.float32(255.0) + half
        flat = out[y].reshape(3 * size)
        for i in range(3 * size):
            flat[i] = np.uint8(np.int32(row[i]))


@functools.cache
def _sensor_noise(width: int) -> np.ndarray:
    """Uniform noise (256, width) float32, the same 1024 columns again and again."""
    once = np.random.Generator(np.random.PCG64(7)).random((256, 1024)).astype(np.float32)
    return np.ascontiguousarray(np.tile(once, (1, -(-width // 1024))))


@functools.cache
def _cosines() -> np.ndarray:
    """The 8-point cosine transform, rows are frequencies, orthonormal (8, 8)."""
    k, n = np.arange(8)[:, None], np.arange(8)[None, :]
    table = np.cos(math.pi * k * (2 * n + 1) / 16.0) * 0.5
    table[0] *= math.sqrt(0.5)
    return snap(table).astype(np.float32)


@exact
def _block_code(image, cosines, quality):
    """Round the cosine coefficients of every 8 × 8 block (luma finer than chroma) and go back; in place, uint8."""
    size = image.shape[0]
    block = np.empty((3, 8, 8), np.float32)
    half = np.empty((8, 8), np.float32)
    for top in range(0, size - 7, 8):
        for left in range(0, size - 7, 8):
            # (r, g, b) → (luma, r − g, b − g): exact to invert, and the differences are mostly small.
            for i in range(8):
                for j in range(8):
                    r = np.float32(image[top + i, left + j, 0])
                    g = np.float32(image[top + i, left + j, 1])
                    b = np.float32(image[top + i, left + j, 2])
                    luma = np.float32(0.25) * r + np.float32(0.5) * g + np.float32(0.25) * b
                    block[0, i, j], block[1, i, j], block[2, i, j] = luma, r - g, b - g
            for channel in range(3):
                for direction in range(2):  # forward: C · block · Cᵀ; back, after rounding: Cᵀ · block · C
                    # half = C · block (back: Cᵀ · block)
                    for i in range(8):
                        for j in range(8):
                            half[i, j] = 0.0
                        for k in range(8):
                            weight = cosines[i, k] if direction == 0 else cosines[k, i]
                            for j in range(8):
                                half[i, j] += weight * block[channel, k, j]
                    # block = half · Cᵀ (back: half · C)
                    for i in range(8):
                        for j in range(8):
                            block[channel, i, j] = 0.0
                        for k in range(8):
                            weight = half[i, k]
                            for j in range(8):
                                block[channel, i, j] += weight * (cosines[j, k] if direction == 0 else cosines[k, j])
                    # The loss: multiples of a step that grows with the frequency i + j.
                    if direction == 0:
                        for i in range(8):
                            for j in range(8):
                                step = np.float32((3.0 + 1.6 * (i + j)) * quality * (1.0 if channel == 0 else 2.2))
                                block[channel, i, j] = np.rint(block[channel, i, j] / step) * step
            # (luma, r − g, b − g) → (r, g, b), rounded to bytes.
            for i in range(8):
                for j in range(8):
                    g = block[0, i, j] - np.float32(0.25) * (block[1, i, j] + block[2, i, j])
                    for channel in range(3):
                        value = g if channel == 1 else (g + block[1, i, j] if channel == 0 else g + block[2, i, j])
                        image[top + i, left + j, channel] = np.uint8(min(max(value + np.float32(0.5), 0.0), 255.0))


@dataclass(frozen=True)
class Camera:
    """What a domain's images are taken with: shares of images, and ranges (low, high)."""

    grey: float = 0.08  # share of images without colour
    noise: tuple[float, float] = (0.004, 0.03)
    noisy: float = 0.15  # share with up to four times as much
    blur: float = 0.006  # greatest lens blur, of the image's side
    gain: tuple[float, float] = (0.75, 1.2)
    uneven: float = 0.6  # share lit unevenly
    dapple: float = 0.1  # share under the broken shadow of leaves
    cast: float = 0.08  # how far colours lean to warm or cold
    vignette: float = 0.4
    contrast: tuple[float, float] = (0.75, 1.2)
    lift: tuple[float, float] = (-0.04, 0.08)  # brightness added: haze, glare
    code: float = 0.35  # share that went through a lossy block code


def photograph(rng: Rng, colour: np.ndarray, camera: Camera) -> np.ndarray:
    """The scene's colours (S, S, 3) float32 as the camera stores them: uint8 (S, S, 3)."""
    size = colour.shape[0]
    if rng.chance(0.5):
        colour = blur(colour, int(rng.uniform(0.0, camera.blur) * size + 0.5))
    gain = np.array([1.0, 1.0, 1.0]) * rng.uniform(*camera.gain)
    if rng.chance(0.6):
        warm = rng.signed(camera.cast)
        gain = gain * np.array([1.0 + warm, 1.0 + rng.signed(0.02), 1.0 - warm])
    uneven = rng.uniform(0.03, 0.25) if rng.chance(camera.uneven) else 0.0
    dapple = rng.uniform(0.2, 0.6) if rng.chance(camera.dapple) else 0.0
    to_light = affine(rng.random(), rng.random(), rng.log_uniform(0.1, 0.5), rng.uniform(0, 6.2832))
    vignette = rng.uniform(0.0, 0.7) if rng.chance(camera.vignette) else 0.0
    low, high = camera.noise
    grain = rng.log_uniform(high, 4.0 * high) if rng.chance(camera.noisy) else rng.log_uniform(low, high)
    grey = rng.chance(camera.grey)
    contrast, lift = rng.uniform(*camera.contrast), rng.uniform(*camera.lift)
    exposure = Exposure(uneven, dapple, vignette, contrast, lift, grain, grey)
    out = np.empty((size, size, 3), np.uint8)
    light = tiles()[3 if dapple == 0.0 else 2][2]
    noise = _sensor_noise(3 * size + 512)
    _develop(colour, light, to_light, noise, rng.integer(0, 255), exposure, gain.astype(np.float32), out)
    if rng.chance(camera.code):
        _block_code(out, _cosines(), rng.log_uniform(0.4, 5.0))
    return out
