"""Domains of living nature: wildlife, underwater."""

from __future__ import annotations

import numpy as np

from .dice import Dice
from .goods import rope, vessel
from .lens import bend
from .living import animal, bird, fish, insect
from .materials import Colour, colour, shifted, tone
from .objects import Node, thin
from .shapes import Shape, blob, box, branches, curve, ellipse, leaf, path, polygon, shaggy, union
from .stage import Maker, Stage
from .surfaces import rounded, solid, surface


def _blades(dice: Dice, count: int, y: float, tall: float, lean: float) -> Shape:
    """A tuft of grass as one shape, frame coordinates."""
    x, wide = dice.uniform(-1.1, 1.1), dice.uniform(0.1, 0.6)
    parts = []
    for _ in range(count):
        foot = x + dice.signed(wide)
        parts.append(
            leaf(dice, 0.06, 12).at(
                foot, y + dice.signed(0.05), tall * dice.uniform(0.5, 1.2), -1.57 + lean + dice.signed(0.25)
            )
        )
    return union(*parts)


def wildlife(stage: Stage) -> None:
    """Animals among grass, leaves, stones and trunks, in their own colours; by day, by night, or by their warmth."""
    dice = stage.dice
    kind = dice.weighted(((4, "day"), (2, "night"), (1.5, "thermal")))
    ground = dice.pick(("grass", "soil", "foliage", "snow", "rock", "gravel", "bark", "sand"))
    horizon = dice.uniform(0.1, 0.5) if dice.chance(0.6) else None
    if horizon is not None:
        stage.fill("background", dice.pick(("foliage", "foliage", "sky", "rock")), scale=1.5)
        stage.fill("ground", surface(dice, ground), box(-1.1, 2 * horizon - 1, 1.1, 1.1), horizon=horizon)
    else:
        stage.fill("ground", surface(dice, ground, scale=dice.uniform(0.8, 2.0)))
    if dice.chance(0.5):
        stage.canvas.defocus(dice.uniform(0.002, 0.012))
    bark = rounded(surface(dice, "bark"), 0.8, 0.4)
    for _ in range(dice.integer(0, 3)):
        x = dice.uniform(-1, 1)
        w = dice.log_uniform(0.02, 0.15)
        stage.fill(
            "trunk",
            bark,
            path(
                (x - w, -1.1),
                (x + w, -1.1),
                (x + 1.2 * w + dice.signed(0.1), 1.1),
                (x - 1.3 * w + dice.signed(0.1), 1.1),
            ),
        )
    far = 0.2 if horizon is None else horizon
    makers: tuple[tuple[float, Maker], ...] = ((5, animal), (2, bird), (0.7, insect), (0.5, fish))
    count = dice.weighted(((4, 1), (2, 2), (2, 5), (0.5, 10)))
    stage.shadow *= 0.7
    for y in sorted(dice.uniform(far + 0.1, 1.05) for _ in range(count)):
        node = dice.weighted(makers)(dice)
        if kind == "thermal":
            warm = dice.uniform(0.75, 1.0)
            _recolour(dice, node, (warm, warm, warm))
        elif dice.chance(0.45):
            base: Colour = (
                float(stage.ground.ramp[32, 0]),
                float(stage.ground.ramp[32, 1]),
                float(stage.ground.ramp[32, 2]),
            )
            _recolour(dice, node, base, 0.08)
        size = dice.uniform(0.25, 0.7) * (0.4 + 0.6 * y) * (0.5 if count > 4 else 1.0)
        stage.put(node, dice.uniform(0.05, 0.95), y, size, dice.signed(0.06), True)
    for _ in range(dice.integer(0, 5)):  # what grows before them
        stuff = surface(dice, "cloth", shifted(dice, tone(dice, "leaf"), 0.08, 0.02))
        if dice.chance(0.7):
            stage.clutter(
                _blades(dice, dice.integer(5, 20), dice.uniform(0.4, 1.2), dice.uniform(0.2, 0.7), dice.signed(0.2)),
                stuff,
                blurred=dice.pick((0.0, 0.0, 0.006)),
            )
        else:
            twig = branches(dice, 2, 0.6, 0.02).at(
                dice.uniform(-1, 1), dice.uniform(-1, 1), dice.uniform(0.3, 0.9), dice.uniform(0, 6.28)
            )
            stage.clutter(twig, bark)
    if kind == "thermal":
        stage.veil((0.35, 0.35, 0.35), dice.uniform(0.1, 0.4))


def _recolour(dice: Dice, node: Node, base: Colour, vary: float = 0.06) -> None:
    """Give a thing and all its parts surfaces about one colour: fur like the ground, or warmth."""
    for part in (node, *node.children):
        if part.material is not None:
            stuff = surface(dice, "fur", shifted(dice, base, vary, vary * 0.2))
            part.material = rounded(stuff, dice.uniform(0.1, 0.7), 0.3)
        if part is not node:
            _recolour(dice, part, base, vary)


def _dolphin(dice: Dice) -> Node:
    """A dolphin, shark or whale: one smooth body with fins and a flat tail, dark above, pale below."""
    base = tone(dice, dice.pick(("stone", "dark", "sky")))
    shape = leaf(dice, dice.uniform(0.16, 0.24), 32).at(-1, 0, 2.0)
    node = Node("dolphin", shape, solid(dice, base, 0.9))
    pale = solid(dice, shifted(dice, (0.8, 0.8, 0.8), 0.1, 0.02), 0.2)
    node.on("belly", ellipse(0.9, 0.2).at(0.1, 0.22), pale).labelled = dice.chance(0.5)
    node.attach("fin", path((-0.1, -0.15), (-0.35, -0.5), (0.2, -0.18)), solid(dice, base))
    node.attach("fin", path((0.3, 0.1), (0.05, 0.5), (0.5, 0.12)), solid(dice, base))
    node.attach("tail", path((-0.9, 0), (-1.35, -0.3), (-1.2, 0.0), (-1.35, 0.3)), solid(dice, base))
    return node


def _weed(dice: Dice) -> Node:
    blades = [
        curve(
            dice, dice.signed(0.2), 1.0, -1.57 + dice.signed(0.3), dice.uniform(1.0, 2.0), 0.07, 0.02, dice.signed(1.0)
        )
        for _ in range(dice.integer(2, 6))
    ]
    return Node("seaweed", union(*blades), rounded(surface(dice, "cloth", tone(dice, "leaf")), 0.3))


def _coral(dice: Dice) -> Node:
    if dice.chance(0.5):
        return Node(
            "coral", branches(dice, 3, dice.uniform(0.5, 0.9), 0.1), rounded(surface(dice, "gravel", colour(dice)), 0.6)
        )
    return Node("coral", shaggy(dice, 0.7, 0.1), rounded(surface(dice, "rock", colour(dice)), 0.9))


def _jelly(dice: Dice) -> Node:
    bell = solid(dice, shifted(dice, (0.8, 0.8, 0.9), 0.1, 0.1), 0.8, 0.4)
    bell.opacity = dice.uniform(0.4, 0.8)
    node = Node(
        "jellyfish", path((-0.7, 0.1), (-0.6, -0.4), (-0.25, -0.7), (0.25, -0.7), (0.6, -0.4), (0.7, 0.1)), bell
    )
    for i in range(dice.integer(3, 7)):
        node.attach(
            "arm",
            curve(dice, -0.5 + 0.17 * i, 0.1, 1.57, dice.uniform(0.6, 1.4), 0.04, 0.02, dice.signed(0.8)),
            bell,
            True,
        )
    return node


def underwater(stage: Stage) -> None:
    """Fish, dolphins, corals, weed, wrecked goods on sand; everything further away is more blue, dim and soft."""
    dice = stage.dice
    water = shifted(
        dice,
        dice.pick(((0.1, 0.35, 0.45), (0.05, 0.2, 0.4), (0.2, 0.4, 0.3), (0.25, 0.35, 0.35), (0.3, 0.5, 0.6))),
        0.08,
        0.03,
    )
    stage.fill("water", surface(dice, "sky", water) if dice.chance(0.0) else surface(dice, "plaster", water, 1.0))
    stage.shadow *= 0.5
    bed = dice.uniform(0.3, 1.0)
    if dice.chance(0.7):
        x = np.linspace(-1.1, 1.1, 30)
        line = bed - 0.3 + 0.15 * np.interp(x, np.linspace(-1.1, 1.1, 6), dice.array(6))
        floor = polygon(np.concatenate([np.stack([x, line], axis=1), [[1.1, 1.1], [-1.1, 1.1]]]))
        stage.fill("ground", surface(dice, dice.pick(("sand", "rock", "gravel")), scale=1.5), floor, horizon=None)
    stage.veil(water, dice.uniform(0.1, 0.5))
    still: tuple[tuple[float, Maker], ...] = (
        (2, _coral),
        (2, _weed),
        (1, _stone),
        (1, vessel),
        (0.5, rope),
        (0.5, thin),
    )
    swims: tuple[tuple[float, Maker], ...] = ((4, fish), (1, _dolphin), (0.6, _jelly))
    school, one = dice.chance(0.3), dice.weighted(swims)
    for layer in range(3):
        for _ in range(dice.integer(0, 3)):
            stage.put(
                dice.weighted(still)(dice),
                dice.random(),
                (1 + bed) / 2 + 0.08 * layer,
                dice.uniform(0.1, 0.35) * (1 + 0.5 * layer),
                dice.signed(0.3),
                True,
            )
        count = dice.integer(0, 2) if not school else dice.integer(2, 9)
        for _ in range(count):
            maker = one if school else dice.weighted(swims)
            size = dice.log_uniform(0.06, 0.2) * (1 + layer) * (0.6 if school else 1.0)
            stage.put(
                maker(dice),
                dice.random(),
                dice.random(),
                size,
                dice.signed(0.3),
                shadow=0.0,
                blurred=0.003 * (2 - layer),
            )
        if layer < 2:
            stage.veil(water, dice.uniform(0.1, 0.4))
    if dice.chance(0.5):
        bend(stage.canvas, ripple=dice.uniform(0.001, 0.006), periods=dice.uniform(0.3, 1.5), shift=dice.random())
    for _ in range(dice.weighted(((2, 0), (1, 6)))):  # bubbles and drifting dirt
        bubble = ellipse(corners=12).at(dice.uniform(-1, 1), dice.uniform(-1, 1), dice.log_uniform(0.005, 0.03))
        stage.stain(bubble, (0.85, 0.9, 0.92), 0.5)


def _stone(dice: Dice) -> Node:
    return Node("stone", blob(dice, 0.7), rounded(surface(dice, "rock"), 1.2, 0.4))
