"""Surfaces with a name: grass, asphalt, water, fur, skin … each a family of materials with its own colours and grain.

``random_material`` may be anything; a surface is what the world has most of: quiet, of one colour, with a texture whose
spectrum is a photograph's. Lengths are for a surface that fills a frame of side 2 (see ``backgrounds.FRAME``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .dice import Dice
from .materials import BRICKS, CHECKS, FLAT, GRADIENT, NOISE, STRIPES, Colour, Material, ramp, shifted, tone
from .shapes import affine
from .tiles import FOLDS, LEAVES

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


def surface(dice: Dice, name: str, base: Colour | None = None, scale: float = 1.0) -> Material:
    """A flat surface of the kind ``name``, about the colour ``base``; ``scale`` > 1: finer, seen from further away."""
    if name == "sky":
        return sky(dice)
    if name in ("planks", "tiles", "bricks", "weave"):
        return _built(dice, name, base, scale)
    tones, kinds, periods, contrasts, grains, stretch = _CLOUDED[name]
    base = tone(dice, dice.pick(tones)) if base is None else base
    contrast = dice.log_uniform(*contrasts)
    colours = [shifted(dice, base, contrast, 0.15 * contrast) for _ in range(dice.integer(2, 4))]
    size, angle = dice.log_uniform(*periods) * scale, dice.uniform(0.0, 6.2832) if name != "water" else 1.5708
    place = affine(dice.random(), dice.random(), size, angle, 1.0)
    place[0] /= stretch
    finest = affine(dice.random(), dice.random(), size, angle)
    finest[0] /= stretch
    return Material(
        ramp(colours), NOISE, place, finest, tile=dice.pick(kinds), grain=dice.log_uniform(*grains),
        hue=dice.uniform(0.0, 0.02) if dice.chance(0.4) else 0.0, relief=0.0,
    )  # fmt: skip


def _built(dice: Dice, name: str, base: Colour | None, scale: float) -> Material:
    """Boards, tiles, bricks, woven stripes: a pattern of one colour, joints in another."""
    base = base or tone(
        dice, {"planks": "wood", "bricks": "earth", "tiles": "white"}.get(name, dice.pick(("sky", "fruit")))
    )
    step = dice.log_uniform(1.5, 5.0) * scale
    angle = dice.signed(0.1) + (1.5708 if dice.chance(0.3) else 0.0)
    joint = shifted(dice, base, 0.12, 0.02)
    colours = [joint, shifted(dice, base, 0.05, 0.015), shifted(dice, base, 0.05, 0.015)]
    pattern = {"planks": BRICKS, "bricks": BRICKS, "tiles": dice.pick((BRICKS, CHECKS))}.get(name, STRIPES)
    place = affine(dice.random(), dice.random(), step, angle)
    if pattern == BRICKS:
        place[0] *= {"planks": 0.12, "bricks": 0.45}.get(name, 0.9)
    fine = affine(dice.random(), dice.random(), 0.3 * scale, angle)
    fine[0] /= 6.0 if name == "planks" else 1.0
    return Material(
        ramp(colours), pattern, place, fine, tile=dice.integer(0, 2), edge=dice.uniform(0.03, 0.15),
        duty=dice.uniform(0.08, 0.3), grain=dice.uniform(0.03, 0.2), relief=0.0,
    )  # fmt: skip


def sky(dice: Dice) -> Material:
    """Clear gradient, clouds, dusk, overcast or night."""
    base = tone(dice, "sky")
    if dice.chance(0.5):
        place = affine(dice.random(), dice.random(), dice.uniform(0.05, 0.2), 0, 0.5)
        cloud = tone(dice, "white")
        colours = (
            [base, shifted(dice, base, 0.03, 0.01), cloud]
            if dice.chance(0.6)
            else [base, shifted(dice, base, 0.1, 0.02)]
        )
        return Material(ramp(colours), NOISE, place, tile=dice.integer(1, 3), grain=dice.uniform(0.0, 0.03), relief=0.0)
    colours = [base, shifted(dice, base, 0.12, 0.03), tone(dice, "sky")]
    place = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5]])
    return Material(ramp(colours), GRADIENT, place, tile=3, grain=dice.uniform(0.0, 0.03), relief=0.0)


def solid(dice: Dice, base: Colour, relief: float = 0.5, gloss: float = 0.0, grain: float = 0.06) -> Material:
    """A body of one colour with a little natural noise: paint, plastic, glazing."""
    place = affine(dice.random(), dice.random(), dice.log_uniform(0.05, 0.4), dice.uniform(0, 6.2832))
    colours = [shifted(dice, base, 0.03, 0.006), shifted(dice, base, 0.03, 0.006)]
    return Material(
        ramp(colours), NOISE if dice.chance(0.7) else FLAT, place, place, tile=dice.integer(1, 3),
        grain=grain * dice.random(), relief=relief, gloss=gloss, bulge=dice.log_uniform(0.08, 0.45),
    )  # fmt: skip


def rounded(material: Material, relief: float, bulge: float = 0.4, gloss: float = 0.0) -> Material:
    """The same surface on something round: shaded from its outline."""
    return replace(material, relief=relief, bulge=bulge, gloss=gloss)
