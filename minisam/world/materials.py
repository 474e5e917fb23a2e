"""Materials: what the surface of an object looks like.

A material is a *pattern* (a number t in [0, 1] at every point: flat, gradient, stripes, checks, spots, noise, wood,
bricks, cells), a *ramp* (64 colours that t is looked up in; a ramp with jumps makes a cow out of smooth noise), and
finer variation on top: brightness and hue modulated by natural noise. Photographs have a spectrum that falls like 1/f;
so has the noise here, prepared once per process as periodic tiles in several resolutions (a mip pyramid), from which
every material cuts a piece by a random affine map.

Materials live in the coordinates of their object, so a pattern shrinks with it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace

import numpy as np

from .dice import Dice
from .shapes import affine

TILE = 256
EXPONENTS = (0.9, 1.4, 1.9, 2.6)
FLAT, GRADIENT, STRIPES, CHECKS, SPOTS, NOISE, WOOD, BRICKS, CELLS = range(9)


@functools.cache
def tiles() -> tuple[tuple[np.ndarray, ...], ...]:
    """Periodic noise, ``tiles()[k][level]`` float32 of side 256 >> level, spectrum 1/f^EXPONENTS[k], variance 1.

    Values are multiples of 1/1024, so a last-bit difference between two Fourier transforms leaves no trace.
    """
    generator = np.random.Generator(np.random.PCG64(20230405))
    frequency = np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None, :]
    radius = np.sqrt(frequency[0] ** 2 + frequency[1] ** 2)
    radius[0, 0] = 1.0
    family = []
    for exponent in EXPONENTS:
        spectrum = np.fft.rfft2(generator.random((TILE, TILE)) - 0.5) * radius**-exponent
        spectrum[0, 0] = 0.0
        tile = np.fft.irfft2(spectrum, s=(TILE, TILE))
        levels = [np.rint(tile / tile.std() * 1024.0) / 1024.0]
        while levels[-1].shape[0] > 16:
            last = levels[-1]
            levels.append((last[::2, ::2] + last[1::2, ::2] + last[::2, 1::2] + last[1::2, 1::2]) / 4.0)
        family.append(tuple(np.ascontiguousarray(level, dtype=np.float32) for level in levels))
    return tuple(family)


@dataclass
class Material:
    """A surface.

    ramp (64, 3) float32 sRGB in [0, 1]; pattern one of the constants above; ``pattern_map`` (2, 3) object coordinates →
    pattern coordinates (one period is 1); ``noise_map`` object coordinates → periods of a noise tile.
    """

    ramp: np.ndarray
    pattern: int = FLAT
    pattern_map: np.ndarray = field(default_factory=lambda: affine(0.5, 0.5, 0.5))
    noise_map: np.ndarray = field(default_factory=lambda: affine(0.0, 0.0, 0.2))
    tile: int = 1  # which exponent
    warp: float = 0.0  # how far noise bends the pattern
    edge: float = 0.1  # softness of the pattern's edges, in periods
    duty: float = 0.5  # share of a stripe, radius of a spot, thickness of mortar
    grain: float = 0.0  # brightness noise
    hue: float = 0.0  # colour noise
    relief: float = 0.5  # strength of shading
    gloss: float = 0.0  # strength of the highlight


def colour(dice: Dice) -> np.ndarray:
    """One colour (3,): mostly dull, warm or cold more often than green or magenta, sometimes vivid."""
    light = dice.uniform(0.06, 0.94)
    vivid = dice.weighted(((5, 0.06), (4, 0.16), (2, 0.35), (1, 0.6))) * dice.uniform(0.3, 1.3)
    warm, green = dice.signed(1.0), dice.signed(0.7)
    chroma = np.array([warm - 0.5 * green, 0.15 * warm + 0.6 * green, -warm - 0.5 * green])
    return np.clip(light + vivid * chroma * min(1.0, 0.4 + 2.0 * light * (1.0 - light)), 0.01, 0.99)


def ramp(colours: list[np.ndarray], jumps: bool = False) -> np.ndarray:
    """64 colours through ``colours`` at equal distances: in a smooth line, or in steps."""
    at = np.linspace(0.0, len(colours) - (0 if jumps else 1), 64)
    low = np.minimum(at.astype(np.int64), len(colours) - 1)
    table = np.stack(colours)
    if jumps:
        return table[low].astype(np.float32)
    high = np.minimum(low + 1, len(colours) - 1)
    part = (at - low)[:, None]
    return (table[low] * (1.0 - part) + table[high] * part).astype(np.float32)


def random_ramp(dice: Dice, base: np.ndarray | None = None, contrast: float | None = None) -> np.ndarray:
    """A ramp about ``base``; ``contrast`` is how far its colours lie apart (about 0.02 weak, 0.5 strong)."""
    base = colour(dice) if base is None else base
    contrast = dice.log_uniform(0.03, 0.5) if contrast is None else contrast
    colours = []
    for _ in range(dice.integer(2, 4)):
        if dice.chance(0.12) and contrast > 0.15:
            colours.append(colour(dice))
        else:
            shift = np.array([dice.signed(0.25), dice.signed(0.2), dice.signed(0.25)]) + dice.signed(1.0)
            colours.append(np.clip(base + contrast * shift, 0.0, 1.0))
    return ramp(colours, jumps=dice.chance(0.25))


_PATTERNS = (
    (5, FLAT), (3, GRADIENT), (3, STRIPES), (1, CHECKS), (1.5, SPOTS), (6, NOISE), (1.5, WOOD), (0.7, BRICKS),
    (0.8, CELLS),
)  # fmt: skip


def random_material(dice: Dice, base: np.ndarray | None = None, contrast: float | None = None) -> Material:
    """A material of a random kind about the colour ``base``."""
    pattern = dice.weighted(_PATTERNS)
    angle = dice.uniform(0, 6.28)
    scale = dice.log_uniform(0.8, 6.0)
    if pattern == GRADIENT:
        pattern_map = affine(0.5, 0.5, dice.uniform(0.3, 0.6), angle)
    elif pattern == NOISE:
        pattern_map = affine(dice.random(), dice.random(), dice.log_uniform(0.03, 0.4), angle, dice.log_uniform(0.5, 3))
    elif pattern == WOOD:
        pattern_map = affine(dice.random(), dice.random(), dice.log_uniform(1.0, 5.0), angle, 0.15)
    else:
        pattern_map = affine(dice.random(), dice.random(), scale, angle, dice.log_uniform(0.6, 1.6))
    textured = dice.chance(0.8)
    return Material(
        ramp=random_ramp(dice, base, contrast),
        pattern=pattern,
        pattern_map=pattern_map,
        noise_map=affine(
            dice.random(), dice.random(), dice.log_uniform(0.05, 1.2), dice.uniform(0, 6.28), dice.log_uniform(0.5, 2)
        ),
        tile=dice.integer(0, 3),
        warp=dice.weighted(((2, 0.0), (1, 0.06), (1, 0.2), (0.5, 0.5))) + (0.15 if pattern == WOOD else 0.0),
        edge=dice.log_uniform(0.02, 0.4),
        duty=dice.uniform(0.15, 0.6),
        grain=dice.log_uniform(0.02, 0.35) if textured else 0.0,
        hue=dice.log_uniform(0.005, 0.08) if textured and dice.chance(0.5) else 0.0,
        relief=dice.uniform(0.0, 1.2),
        gloss=dice.uniform(0.1, 0.8) if dice.chance(0.25) else 0.0,
    )


def similar(dice: Dice, material: Material, shift: float = 0.06) -> Material:
    """The same kind of material, elsewhere on the roll: other offsets, colours moved by about ``shift``."""
    change = np.array([dice.signed(0.4), dice.signed(0.4), dice.signed(0.4)]) * shift + dice.signed(shift)
    offset = np.array([[0, 0, dice.random()], [0, 0, dice.random()]])
    return replace(
        material,
        ramp=np.clip(material.ramp + change, 0.0, 1.0).astype(np.float32),
        pattern_map=material.pattern_map + (0 if material.pattern == GRADIENT else offset),
        noise_map=material.noise_map + offset,
    )
