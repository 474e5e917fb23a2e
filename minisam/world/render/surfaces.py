"""Surfaces with a name: grass, asphalt, water, fur, skin … each a family of materials with its own colours and grain.

``random_material`` may be anything; a surface is what the world has most of: quiet, of one colour, with a texture whose
spectrum is a photograph's. Lengths are for a surface that fills a frame of side 2 (see ``backgrounds.FRAME``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minisam.world.render.materials import (
    BRICKS,
    CHECKS,
    FLAT,
    GRADIENT,
    NOISE,
    STRIPES,
    Colour,
    Material,
    ramp,
    shifted,
    tone,
)
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import affine
from minisam.world.render.tiles import FOLDS, LEAVES

# name: tones, tile, periods a unit (low, high), contrast (low, high), grain (low, high), stretch along one direction
_CLOUDED: dict[str, tuple[tuple[str, ...], tuple[int, ...], tuple[float, float], tuple[float, float],
                          tuple[float, float], float]] = {
    "grass": (("leaf",), (LEAVES, 0, 1), (0.3, 1.2), (0.03, 0.12), (0.06, 0.22), 1.0),
    "foliage": (("leaf",), (LEAVES,), (0.12, 0.6), (0.08, 0.25), (0.1, 0.35), 1.0),
    "soil": (("earth", "wood"), (LEAVES, 1, 0), (0.2, 1.0), (0.02, 0.1), (0.08, 0.3), 1.0),
    "sand": (("earth", "white"), (0, 1, FOLDS), (0.2, 0.8), (0.02, 0.08), (0.03, 0.15), 1.5),
    "snow": (("white",), (2, 3), (0.05, 0.3), (0.01, 0.05), (0.01, 0.05), 1.0),
    "gravel": (("stone", "earth"), (LEAVES,), (0.3, 1.0), (0.06, 0.2), (0.1, 0.3), 1.0),
    "rock": (("stone", "earth"), (FOLDS, LEAVES, 1), (0.1, 0.5), (0.05, 0.2), (0.05, 0.25), 1.0),
    "asphalt": (("stone", "dark"), (0, 1), (0.2, 1.0), (0.01, 0.05), (0.03, 0.12), 1.0),
    "concrete": (("stone", "white"), (1, 2, 0), (0.1, 0.5), (0.01, 0.06), (0.02, 0.1), 1.0),
    "plaster": (("white", "earth", "skin"), (1, 2, 3), (0.05, 0.4), (0.01, 0.06), (0.005, 0.05), 1.0),
    "water": (("sky", "dark", "leaf"), (FOLDS, 1, 2), (0.2, 0.8), (0.03, 0.15), (0.02, 0.1), 4.0),
    "cloth": (("white", "dark", "sky", "fruit", "earth"), (1, 2, 3), (0.1, 0.4), (0.01, 0.07), (0.02, 0.12), 2.0),
    "carpet": (("earth", "fruit", "stone", "sky"), (0, 1), (0.3, 1.0), (0.02, 0.08), (0.1, 0.3), 1.0),
    "metal": (("metal",), (1, 2), (0.1, 0.5), (0.02, 0.1), (0.01, 0.08), 8.0),
    "board": (("wood", "earth"), (1, 2), (0.1, 0.5), (0.02, 0.07), (0.02, 0.08), 2.0),
    "bark": (("wood", "dark"), (FOLDS, LEAVES, 0), (0.2, 0.7), (0.06, 0.2), (0.1, 0.3), 4.0),
    "fur": (("fur",), (0, 1), (0.2, 0.7), (0.03, 0.15), (0.08, 0.3), 6.0),
    "skin": (("skin",), (2, 3), (0.1, 0.3), (0.02, 0.07), (0.01, 0.05), 1.0),
    "crumpled": (("white", "earth", "sky"), (FOLDS,), (0.08, 0.3), (0.04, 0.16), (0.01, 0.06), 1.0),
}  # fmt: skip


def surface(rng: Rng, name: str, base: Colour | None = None, scale: float = 1.0) -> Material:
    """A flat surface of the kind ``name``, about the colour ``base``; ``scale`` > 1: finer, seen from further away."""
    if name == "sky":
        return sky(rng)
    if name in ("planks", "tiles", "bricks", "weave"):
        return _built(rng, name, base, scale)
    tones, kinds, periods, contrasts, grains, stretch = _CLOUDED[name]
    base = tone(rng, rng.pick(tones)) if base is None else base
    contrast = rng.log_uniform(*contrasts)
    colours = [shifted(rng, base, contrast, 0.15 * contrast) for _ in range(rng.integer(2, 4))]
    size, angle = rng.log_uniform(*periods) * scale, rng.uniform(0.0, 6.2832) if name != "water" else 1.5708
    pattern_map = affine(rng.random(), rng.random(), size, angle, 1.0)
    pattern_map[0] /= stretch
    noise_map = affine(rng.random(), rng.random(), size, angle)
    noise_map[0] /= stretch
    return Material(
        ramp(colours), NOISE, pattern_map, noise_map, tile=rng.pick(kinds), grain=rng.log_uniform(*grains),
        hue=rng.uniform(0.0, 0.02) if rng.chance(0.4) else 0.0, relief=0.0,
    )  # fmt: skip


def _built(rng: Rng, name: str, base: Colour | None, scale: float) -> Material:
    """Boards, tiles, bricks, woven stripes: a pattern of one colour, joints in another."""
    base = base or tone(
        rng, {"planks": "wood", "bricks": "earth", "tiles": "white"}.get(name, rng.pick(("sky", "fruit")))
    )
    step = rng.log_uniform(1.5, 5.0) * scale
    angle = rng.signed(0.1) + (1.5708 if rng.chance(0.3) else 0.0)
    joint = shifted(rng, base, 0.12, 0.02)
    colours = [joint, shifted(rng, base, 0.05, 0.015), shifted(rng, base, 0.05, 0.015)]
    pattern = {"planks": BRICKS, "bricks": BRICKS, "tiles": rng.pick((BRICKS, CHECKS))}.get(name, STRIPES)
    pattern_map = affine(rng.random(), rng.random(), step, angle)
    if pattern == BRICKS:
        pattern_map[0] *= {"planks": 0.12, "bricks": 0.45}.get(name, 0.9)
    noise_map = affine(rng.random(), rng.random(), 0.3 * scale, angle)
    noise_map[0] /= 6.0 if name == "planks" else 1.0
    return Material(
        ramp(colours), pattern, pattern_map, noise_map, tile=rng.integer(0, 2), edge=rng.uniform(0.03, 0.15),
        duty=rng.uniform(0.08, 0.3), grain=rng.uniform(0.03, 0.2), relief=0.0,
    )  # fmt: skip


def sky(rng: Rng) -> Material:
    """Clear gradient, clouds, dusk, overcast or night."""
    base = tone(rng, "sky")
    if rng.chance(0.5):
        pattern_map = affine(rng.random(), rng.random(), rng.uniform(0.05, 0.2), 0, 0.5)
        cloud = tone(rng, "white")
        colours = (
            [base, shifted(rng, base, 0.03, 0.01), cloud] if rng.chance(0.6) else [base, shifted(rng, base, 0.1, 0.02)]
        )
        return Material(
            ramp(colours), NOISE, pattern_map, tile=rng.integer(1, 3), grain=rng.uniform(0.0, 0.03), relief=0.0
        )
    colours = [base, shifted(rng, base, 0.12, 0.03), tone(rng, "sky")]
    pattern_map = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5]])
    return Material(ramp(colours), GRADIENT, pattern_map, tile=3, grain=rng.uniform(0.0, 0.03), relief=0.0)


def solid(rng: Rng, base: Colour, relief: float = 0.5, gloss: float = 0.0, grain: float = 0.06) -> Material:
    """A body of one colour with a little natural noise: paint, plastic, glazing."""
    pattern_map = affine(rng.random(), rng.random(), rng.log_uniform(0.05, 0.4), rng.uniform(0, 6.2832))
    colours = [shifted(rng, base, 0.03, 0.006), shifted(rng, base, 0.03, 0.006)]
    return Material(
        ramp(colours), NOISE if rng.chance(0.7) else FLAT, pattern_map, pattern_map, tile=rng.integer(1, 3),
        grain=grain * rng.random(), relief=relief, gloss=gloss, bulge=rng.log_uniform(0.08, 0.45),
    )  # fmt: skip


def rounded(material: Material, relief: float, bulge: float = 0.4, gloss: float = 0.0) -> Material:
    """The same surface on something round: shaded from its outline."""
    return replace(material, relief=relief, bulge=bulge, gloss=gloss)
