"""Natural noise: periodic tiles, prepared once per process, from which every texture is cut.

Photographs have a spectrum that falls like 1/f, and so have these tiles. *Clouds*: random phases under a falling
spectrum, in four slopes. *Leaves*: discs of all sizes over one another, nearest first, radii with a density ∝ 1/r³, as
in the dead-leaves model of natural images: the same spectrum, but made of edges (gravel, foliage, a crowd far away).
*Folds*: the sharp ridges of ``|clouds|`` (bark, rock, crumpled paper, ripples).

Every tile comes in several resolutions (a mip pyramid), so that a texture seen from afar does not sparkle.
"""

from __future__ import annotations

import functools

import numpy as np

from minisam.world.render.exact import exact

TILE = 256
EXPONENTS = (0.9, 1.4, 1.9, 2.6)
LEAVES, FOLDS = len(EXPONENTS), len(EXPONENTS) + 1


@exact
def _dead_leaves(numbers, smallest, largest, noise):
    """A periodic tile of leaves, from front to back: the first that covers a pixel gives it its brightness.

    numbers (n, 6) uniform in [0, 1): centre (x, y), radius, brightness, long axis (two); ``noise`` (TILE, TILE) bends
    the outlines.
    """
    tile = np.full((TILE, TILE), np.nan)
    last = TILE - 1
    for i in range(len(numbers)):
        # The radius r has the density 1/r³ between smallest and largest: the inverse of its distribution at a number.
        cx, cy = numbers[i, 0] * TILE, numbers[i, 1] * TILE
        share = (smallest / largest) * (smallest / largest)
        radius = smallest / np.sqrt(1.0 - numbers[i, 2] * (1.0 - share))
        # (a, b) / length: the direction of the long axis. An ellipse with half axes of 1.5 and 0.7 radii.
        a, b = numbers[i, 4] - 0.5, numbers[i, 5] - 0.5
        length = np.sqrt(a * a + b * b) + 1e-9
        reach = int(2.0 * radius) + 1
        for y in range(int(cy) - reach, int(cy) + reach + 1):
            for x in range(int(cx) - reach, int(cx) + reach + 1):
                if not np.isnan(tile[y & last, x & last]):
                    continue
                # The pixel's centre seen from the leaf's, bent by noise; (u, v): along its axes, in half axes.
                n = noise[y & last, x & last]
                dx, dy = x + 0.5 - cx + 1.2 * n, y + 0.5 - cy + 1.2 * noise[x & last, y & last]
                u, v = (a * dx + b * dy) / (1.5 * radius * length), (a * dy - b * dx) / (0.7 * radius * length)
                if u * u + v * v <= 1.0:
                    dim = 0.15 * (dx + dy) / radius  # the light comes from the top left
                    tile[y & last, x & last] = numbers[i, 3] - dim + 0.05 * n
    for y in range(TILE):
        for x in range(TILE):
            if np.isnan(tile[y, x]):
                tile[y, x] = 0.0
    return tile


@functools.cache
def tiles() -> tuple[tuple[np.ndarray, ...], ...]:
    """``tiles()[k][level]`` float32 of side 256 >> level, variance 1: clouds of slope EXPONENTS[k], leaves, folds.

    Values are multiples of 1/1024, so a last-bit difference between two Fourier transforms leaves no trace.
    """
    generator = np.random.Generator(np.random.PCG64(20230405))
    frequency_y, frequency_x = np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None, :]
    frequency = np.sqrt(frequency_y**2 + frequency_x**2)
    frequency[0, 0] = 1.0  # the mean, which is set to 0 below
    family = []
    # Clouds: white noise whose spectrum is multiplied by f^−exponent.
    for exponent in EXPONENTS:
        spectrum = np.fft.rfft2(generator.random((TILE, TILE)) - 0.5) * frequency**-exponent
        spectrum[0, 0] = 0.0
        family.append(np.fft.irfft2(spectrum, s=(TILE, TILE)))
    clouds = [np.rint(tile / tile.std() * 1024.0) / 1024.0 for tile in family]
    family.append(_dead_leaves(generator.random((12000, 6)), 1.2, 40.0, clouds[0]))
    # Folds: ridges of all sizes, where clouds without their lowest frequencies cross zero.
    family.append(np.zeros((TILE, TILE)))
    for k in range(5):
        spectrum = np.fft.rfft2(generator.random((TILE, TILE)) - 0.5) * frequency**-2.6 * (frequency * TILE >= 2**k)
        spectrum[0, 0] = 0.0
        finer = np.fft.irfft2(spectrum, s=(TILE, TILE))
        family[FOLDS] -= np.abs(np.rint(finer / finer.std() * 1024.0) / 1024.0) * 0.65**k
    return tuple(_pyramid((tile - tile.mean()) / tile.std()) for tile in family)


def _pyramid(tile: np.ndarray) -> tuple[np.ndarray, ...]:
    """The tile and its means over 2 × 2, 4 × 4 … pixels, down to a side of 16."""
    levels = [np.rint(tile * 1024.0) / 1024.0]
    while levels[-1].shape[0] > 16:
        last = levels[-1]
        levels.append((last[::2, ::2] + last[1::2, ::2] + last[::2, 1::2] + last[1::2, 1::2]) / 4.0)
    return tuple(np.ascontiguousarray(level, dtype=np.float32) for level in levels)
