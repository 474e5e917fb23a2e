"""Materials: what the surface of an object looks like.

A material is a *pattern* (a number t in [0, 1] at every point: flat, gradient, stripes, checks, spots, noise, wood,
bricks, cells, rings), a *ramp* (64 colours that t is looked up in; a ramp with jumps makes a cow out of smooth noise),
and finer variation on top: brightness and hue modulated by natural noise, cut out of a periodic tile (``tiles``) by a
random affine map.

Materials live in the coordinates of their object, so a pattern shrinks with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from minisam.world.render.exact import exact
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import affine

FLAT, GRADIENT, STRIPES, CHECKS, SPOTS, NOISE, WOOD, BRICKS, CELLS, RINGS = range(10)


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
    tile: int = 1  # which noise, see ``tiles``
    warp: float = 0.0  # how far noise bends the pattern
    edge: float = 0.1  # softness of the pattern's edges, in periods
    duty: float = 0.5  # share of a stripe, radius of a spot, thickness of mortar
    grain: float = 0.0  # brightness noise
    hue: float = 0.0  # colour noise
    relief: float = 0.5  # strength of shading
    gloss: float = 0.0  # strength of the highlight
    bulge: float = 0.2  # how far from the rim the shading reaches, as a share of the smaller side
    opacity: float = 1.0  # below 1: glass, smoke; the mask is the same
    through: bool = False  # what lies behind shines through and is darkened, as in an X-ray image


Colour = tuple[float, float, float]

TONES: dict[str, tuple[Colour, ...]] = {
    "leaf": (
        (0.2, 0.35, 0.1),
        (0.35, 0.5, 0.15),
        (0.12, 0.22, 0.08),
        (0.5, 0.5, 0.2),
        (0.6, 0.4, 0.12),
        (0.25, 0.4, 0.25),
    ),
    "wood": ((0.45, 0.3, 0.18), (0.6, 0.45, 0.28), (0.3, 0.2, 0.12), (0.75, 0.6, 0.42), (0.4, 0.36, 0.32)),
    "earth": ((0.5, 0.42, 0.3), (0.4, 0.33, 0.25), (0.7, 0.62, 0.48), (0.35, 0.35, 0.33), (0.55, 0.5, 0.45)),
    "sky": (
        (0.55, 0.7, 0.9),
        (0.75, 0.82, 0.9),
        (0.35, 0.5, 0.75),
        (0.85, 0.85, 0.85),
        (0.85, 0.65, 0.5),
        (0.2, 0.25, 0.35),
    ),
    "skin": ((0.9, 0.75, 0.65), (0.8, 0.6, 0.48), (0.6, 0.42, 0.3), (0.4, 0.27, 0.2), (0.85, 0.68, 0.55)),
    "fur": (
        (0.5, 0.36, 0.22),
        (0.3, 0.22, 0.16),
        (0.85, 0.8, 0.72),
        (0.12, 0.11, 0.1),
        (0.55, 0.53, 0.5),
        (0.75, 0.55, 0.3),
    ),
    "fruit": (
        (0.8, 0.2, 0.12),
        (0.9, 0.55, 0.12),
        (0.85, 0.75, 0.2),
        (0.45, 0.6, 0.15),
        (0.4, 0.1, 0.25),
        (0.25, 0.2, 0.4),
    ),
    "metal": ((0.6, 0.6, 0.62), (0.35, 0.36, 0.38), (0.75, 0.68, 0.5), (0.65, 0.42, 0.28), (0.85, 0.85, 0.86)),
    "stone": ((0.55, 0.53, 0.5), (0.7, 0.68, 0.63), (0.38, 0.37, 0.37), (0.6, 0.4, 0.32), (0.8, 0.78, 0.74)),
    "white": ((0.9, 0.9, 0.88), (0.82, 0.82, 0.82), (0.95, 0.93, 0.88)),
    "dark": ((0.08, 0.08, 0.09), (0.15, 0.13, 0.12), (0.1, 0.12, 0.16)),
}


def shifted(rng: Rng, base: Colour, light: float, hue: float) -> Colour:
    """``base`` moved by about ``light`` in brightness and ``hue`` in each channel, kept within [0, 1]."""
    move = rng.signed(light)
    r, g, b = base
    return (
        min(max(r + move + rng.signed(hue), 0.0), 1.0),
        min(max(g + move + rng.signed(hue), 0.0), 1.0),
        min(max(b + move + rng.signed(hue), 0.0), 1.0),
    )


def tone(rng: Rng, name: str) -> Colour:
    """A colour of a family in ``TONES``, varied."""
    return shifted(rng, rng.pick(TONES[name]), 0.07, 0.025)


def colour(rng: Rng) -> Colour:
    """Any colour: mostly dull, warm or cold more often than green or magenta, sometimes vivid."""
    if rng.chance(0.3):
        return tone(rng, rng.pick(tuple(TONES)))
    light = rng.uniform(0.06, 0.94)
    vivid = rng.weighted(((5, 0.06), (4, 0.16), (2, 0.35), (1, 0.6))) * rng.uniform(0.3, 1.3)
    vivid *= min(1.0, 0.4 + 2.0 * light * (1.0 - light))
    warm, green = rng.signed(1.0), rng.signed(0.7)
    chroma = (warm - 0.5 * green, 0.15 * warm + 0.6 * green, -warm - 0.5 * green)
    r, g, b = (min(max(light + vivid * part, 0.01), 0.99) for part in chroma)
    return r, g, b


@exact
def _ramp(table, jumps):
    """64 colours through ``table`` (n, 3)."""
    count = len(table)
    result = np.empty((64, 3), np.float32)
    for i in range(64):
        position = i * ((count if jumps else count - 1) / 63.0)
        low = min(int(position), count - 1)
        high, part = min(low + 1, count - 1), 0.0 if jumps else position - low
        for c in range(3):
            result[i, c] = np.float32(table[low, c] * (1.0 - part) + table[high, c] * part)
    return result


def ramp(colours: list[Colour], jumps: bool = False) -> np.ndarray:
    """64 colours (64, 3) float32 through ``colours`` at equal distances: in a smooth line, or in steps."""
    return _ramp(np.array(colours), jumps)


def random_ramp(rng: Rng, base: Colour, contrast: float) -> np.ndarray:
    """A ramp about ``base``; ``contrast`` is how far its colours lie apart (about 0.02 weak, 0.5 strong)."""
    colours = []
    for _ in range(rng.integer(2, 4)):
        if contrast > 0.2 and rng.chance(0.12):
            colours.append(colour(rng))
        else:
            colours.append(shifted(rng, base, contrast, 0.2 * contrast))
    return ramp(colours, jumps=rng.chance(0.25))


_PATTERNS = (
    (5, FLAT), (3, GRADIENT), (3, STRIPES), (1, CHECKS), (1.5, SPOTS), (6, NOISE), (1.5, WOOD), (0.7, BRICKS),
    (0.8, CELLS),
)  # fmt: skip


def random_material(
    rng: Rng, base: Colour | None = None, contrast: float | None = None, circle: tuple[float, float, float] = (0, 0, 1)
) -> Material:
    """A material of a random kind about the colour ``base``, for a shape in the ``circle`` (x, y, radius)."""
    base = colour(rng) if base is None else base
    contrast = rng.log_uniform(0.03, 0.45) if contrast is None else contrast
    pattern = rng.weighted(_PATTERNS)
    angle = rng.uniform(0, 6.28)
    if pattern == GRADIENT:
        pattern_map = affine(0.5, 0.5, rng.uniform(0.3, 0.6), angle)
    elif pattern == NOISE:
        pattern_map = affine(rng.random(), rng.random(), rng.log_uniform(0.02, 0.3), angle, rng.log_uniform(0.5, 2))
    elif pattern == WOOD:
        pattern_map = affine(rng.random(), rng.random(), rng.log_uniform(1.0, 5.0), angle, 0.15)
    else:
        stretch = rng.log_uniform(0.6, 1.6)
        pattern_map = affine(rng.random(), rng.random(), rng.log_uniform(0.8, 6.0), angle, stretch)
    fine = rng.log_uniform(0.05, 0.9)
    streaks = rng.log_uniform(0.6, 1.6) if rng.chance(0.75) else rng.log_uniform(4.0, 14.0)  # fur, grass, metal
    noise_map = affine(rng.random(), rng.random(), fine / min(streaks, 3.0), rng.uniform(0, 6.28))
    noise_map[0] *= streaks
    x, y, radius = circle
    if radius != 1.0 or x != 0.0 or y != 0.0:
        pattern_map, noise_map = _placed(pattern_map, x, y, radius), _placed(noise_map, x, y, radius)
    textured = rng.chance(0.85)
    return Material(
        ramp=random_ramp(rng, base, contrast),
        pattern=pattern,
        pattern_map=pattern_map,
        noise_map=noise_map,
        tile=rng.integer(0, 2),
        warp=rng.weighted(((2, 0.0), (1, 0.06), (1, 0.2), (0.5, 0.5))) + (0.15 if pattern == WOOD else 0.0),
        edge=rng.log_uniform(0.02, 0.4),
        duty=rng.uniform(0.15, 0.6),
        grain=rng.log_uniform(0.02, 0.3) if textured else 0.0,
        hue=rng.log_uniform(0.005, 0.06) if textured and rng.chance(0.3) else 0.0,
        relief=rng.uniform(0.0, 1.1) if rng.chance(0.8) else 0.0,
        gloss=rng.uniform(0.1, 0.6) if rng.chance(0.2) else 0.0,
        bulge=rng.log_uniform(0.08, 0.45),
        opacity=rng.uniform(0.55, 0.9) if rng.chance(0.03) else 1.0,
    )


def plain(rng: Rng, base: Colour, contrast: float = 0.1, circle: tuple[float, float, float] = (0, 0, 1)) -> Material:
    """A quiet surface about the colour ``base``: for the parts of things, whose colours should tell them apart."""
    return random_material(rng, base, contrast * rng.uniform(0.2, 1.5), circle)


def ball(rng: Rng, base: Colour, x: float, y: float, radius: float) -> Material:
    """A round thing's surface: shading from the outline, a highlight, little pattern."""
    material = plain(rng, base, 0.06, (x, y, radius))
    material.relief = rng.uniform(0.6, 1.4)
    material.gloss = rng.uniform(0.2, 0.8) if rng.chance(0.5) else 0.0
    return material


@exact
def _placed(matrix, x, y, radius):
    """The affine map ``matrix`` (2, 3) after (x, y) has been moved to the origin and ``radius`` scaled to 1."""
    result = matrix / radius
    for i in range(2):
        result[i, 2] = matrix[i, 2] - result[i, 0] * x - result[i, 1] * y
    return result


def similar(rng: Rng, material: Material, shift: float = 0.06) -> Material:
    """The same kind of material, elsewhere on the roll: other offsets, colours moved by about ``shift``."""
    light = rng.signed(shift)
    change = np.array([light + rng.signed(0.4 * shift), light + rng.signed(0.4 * shift), light])
    offset = np.array([[0, 0, rng.random()], [0, 0, rng.random()]])
    return replace(
        material,
        ramp=np.clip(material.ramp + change, 0.0, 1.0).astype(np.float32),
        pattern_map=material.pattern_map + (0 if material.pattern == GRADIENT else offset),
        noise_map=material.noise_map + offset,
    )
