"""Domains of heaps and stacks: boulders, timber, waste."""

from __future__ import annotations

import math

import numpy as np

from .dice import Dice
from .goods import garment, rope, vessel
from .materials import RINGS, Colour, Material, colour, ramp, random_material, shifted, tone
from .objects import Node
from .shapes import (
    affine,
    blob,
    box,
    capsule,
    convex,
    curve,
    ellipse,
    path,
    polygon,
    shaggy,
    superellipse,
)
from .stage import Stage
from .surfaces import rounded, solid, surface


def boulders(stage: Stage) -> None:
    """Stones of all sizes on dust or gravel of their own colour; hard light, long shadows, craters; often grey."""
    dice = stage.dice
    base = tone(dice, dice.pick(("stone", "stone", "earth")))
    ground = surface(dice, dice.pick(("rock", "sand", "gravel", "soil")), base, dice.uniform(0.7, 2.0))
    stage.fill("ground", ground)
    stage.shadow, stage.reach, stage.soft = dice.uniform(0.4, 0.95), dice.uniform(0.1, 0.45), dice.uniform(0.05, 0.3)
    for _ in range(dice.integer(0, 12)):
        crater = solid(dice, base, dice.uniform(-1.5, -0.5), 0.0, 0.1)
        crater.opacity = dice.uniform(0.4, 0.8)
        stage.painter.draw(
            Node("crater", ellipse(), crater, ghost=True, labelled=False),
            affine(dice.random(), dice.random(), dice.log_uniform(0.01, 0.1)),
        )
    largest = dice.log_uniform(0.15, 0.9)
    count = int(min(45, 1.0 + dice.uniform(0.5, 3.0) / (largest * math.sqrt(math.sqrt(largest)))))
    for _ in range(count):
        size = largest * dice.log_uniform(0.15, 1.0)
        outline = convex(dice, dice.integer(6, 12)) if dice.chance(0.5) else shaggy(dice, 0.6, 0.05)
        stuff = rounded(
            surface(dice, "rock", shifted(dice, base, 0.08, 0.015)), dice.uniform(0.8, 2.2), dice.uniform(0.25, 0.5)
        )
        node = Node("stone", outline.at(0, 0, 1.0, 0, dice.uniform(0.6, 1.0)), stuff)
        if dice.chance(0.5):  # a broken face
            facet = convex(dice, dice.integer(4, 6)).at(dice.signed(0.25), dice.signed(0.25), 0.5)
            stuff = surface(dice, "rock", shifted(dice, base, 0.15, 0.01))
            stuff.opacity = dice.uniform(0.3, 0.9)
            node.on("facet", facet, stuff).labelled = dice.chance(0.3)
        stage.put(node, dice.random(), dice.random(), size, dice.uniform(0, 6.28))


def _log_end(dice: Dice, wood: Colour, bark: Colour) -> Node:
    """The cut end of a log: bark around pale wood with rings, cracks."""
    outline = blob(dice, 0.15, 32)
    node = Node("log", outline, rounded(surface(dice, "bark", bark), 0.5, 0.15))
    cut = shifted(dice, wood, 0.06, 0.02)
    place = affine(dice.signed(0.3), dice.signed(0.3), dice.uniform(3.0, 9.0))
    rings = Material(
        ramp([shifted(dice, cut, 0.08, 0.02), cut]), RINGS, place, affine(dice.random(), dice.random(), 0.3),
        tile=1, warp=0.3, grain=dice.uniform(0.05, 0.25), relief=0.1,
    )  # fmt: skip
    face = node.on("cut", outline.at(0, 0, dice.uniform(0.82, 0.95)), rings)
    if dice.chance(0.4):
        ux, uy = dice.direction()
        crack = face.on(
            "crack", capsule(0, 0, 0.7 * ux, 0.7 * uy, 0.03, 0.005, 8), solid(dice, tone(dice, "dark"), 0.0)
        )
        crack.labelled = False
    return node


def _log_along(dice: Dice, bark: Colour) -> Node:
    """A log lying along x with one cut end."""
    r = dice.uniform(0.06, 0.14)
    shape = path((-1, -r), (1, -r * dice.uniform(0.7, 1.0)), (1, r * dice.uniform(0.7, 1.0)), (-1, r))
    stuff = rounded(surface(dice, "bark", bark, 2.0), dice.uniform(0.5, 1.2), 0.5)
    node = Node("log", shape, stuff)
    node.attach(
        "cut", ellipse(r * 0.5, r, 20).at(-1, 0), surface(dice, "board", shifted(dice, tone(dice, "wood"), 0.1, 0.03))
    )
    if dice.chance(0.3):
        node.on(
            "patch", blob(dice, 1.0, 32).at(dice.signed(0.4), 0, r, 0, 3.0), surface(dice, "board")
        ).labelled = False
    return node


def timber(stage: Stage) -> None:
    """Stacked logs: cut ends packed like circles, or trunks crossing on the ground; a grapple, snow, woods."""
    dice = stage.dice
    wood, bark = (
        shifted(dice, dice.pick(((0.78, 0.62, 0.42), (0.85, 0.72, 0.52), (0.65, 0.48, 0.32))), 0.05, 0.02),
        tone(dice, "wood"),
    )
    if dice.chance(0.5):
        stage.fill("background", surface(dice, dice.pick(("foliage", "snow", "soil", "sky"))))
        radius = dice.log_uniform(0.03, 0.13)
        vary, top = dice.uniform(1.05, 1.5), dice.uniform(-0.1, 0.4)
        stage.shadow, stage.reach = dice.uniform(0.3, 0.8), 0.1
        step_y, row = 1.75 * radius, 0
        y = 1.0 + radius
        while y > top and row * (1.0 / radius) < 160:
            x = -radius + (row % 2) * radius
            while x < 1.0 + radius:
                r = radius * dice.log_uniform(1.0 / vary, vary)
                if dice.chance(0.96):
                    stage.at(
                        _log_end(dice, wood, bark),
                        affine(
                            x + dice.signed(0.15) * radius, y + dice.signed(0.15) * radius, r, dice.uniform(0, 6.28)
                        ),
                        reach=0.2 * r,
                    )
                x += 2.0 * radius
            y -= step_y
            row += 1
        return
    ground = dice.pick(("soil", "snow", "grass", "gravel"))
    stage.fill("ground", surface(dice, ground, scale=1.5))
    angle = dice.uniform(0, 6.28)
    size = dice.uniform(0.5, 1.4)
    for _ in range(dice.integer(4, 18)):
        turn = angle + dice.signed(0.12) if dice.chance(0.75) else dice.uniform(0, 6.28)
        stage.put(
            _log_along(dice, bark), dice.uniform(0.1, 0.9), dice.uniform(0.1, 0.9), size * dice.uniform(0.7, 1.2), turn
        )
    if dice.chance(0.25):
        steel = solid(dice, dice.pick(((0.75, 0.6, 0.1), (0.6, 0.15, 0.1), (0.3, 0.3, 0.32))), 0.8, 0.2)
        node = Node("grapple", capsule(0, -1.5, 0, -0.2, 0.15, 0.2), steel)
        for side in (-1, 1):
            node.attach("claw", curve(dice, side * 0.15, -0.2, 1.57 - side * 0.9, 1.0, 0.15, 0.06, side * 1.8), steel)
        stage.put(node, dice.uniform(0.2, 0.8), dice.uniform(0.1, 0.5), dice.uniform(0.4, 0.8), dice.signed(0.2))


def _crushed(dice: Dice) -> Node:
    """Something thrown away: torn board, crumpled paper, bag, foil, a flattened bottle or can."""
    kind = dice.weighted(
        ((3, "cardboard"), (3, "paper"), (2, "plastic bag"), (1.5, "foil"), (1.5, "bottle"), (1, "can"), (1, "rag"))
    )
    if kind == "bottle":
        node = vessel(dice)
        node.name = "bottle"
        return node
    if kind == "cardboard":
        base = shifted(dice, dice.pick(((0.62, 0.47, 0.32), (0.7, 0.56, 0.4), (0.5, 0.38, 0.27))), 0.06, 0.02)
        node = Node(kind, convex(dice, dice.integer(4, 6)), surface(dice, "board", base))
        crease = node.on(
            "flap",
            path((-2, dice.signed(0.3)), (2, dice.signed(0.3)), (2, 2), (-2, 2)),
            surface(dice, "board", shifted(dice, base, 0.1, 0.01)),
        )
        if dice.chance(0.5):
            crease.on("print", box(-0.3, 0.1, dice.uniform(0.0, 0.5), 0.35), solid(dice, colour(dice), 0.0))
        return node
    if kind in ("paper", "foil", "rag"):
        base = tone(dice, "white") if kind == "paper" else tone(dice, "metal") if kind == "foil" else colour(dice)
        stuff = rounded(surface(dice, "crumpled", base), dice.uniform(0.2, 0.9), 0.2, 0.5 if kind == "foil" else 0.0)
        node = Node(kind, shaggy(dice, 1.0, 0.06) if dice.chance(0.6) else convex(dice, 7), stuff)
        if dice.chance(0.4):
            node.on(
                "print",
                dice.pick((box(-0.5, -0.2, 0.4, 0.2), blob(dice, 0.6).at(0, 0, 0.4))),
                surface(dice, "crumpled", colour(dice)),
            )
        return node
    if kind == "plastic bag":
        stuff = rounded(
            surface(dice, "crumpled", colour(dice) if dice.chance(0.5) else (0.9, 0.9, 0.92)), 0.5, 0.3, 0.4
        )
        stuff.opacity = dice.uniform(0.45, 0.95)
        node = Node(kind, shaggy(dice, 1.1, 0.05), stuff)
        node.attach("handle", ellipse(0.3, 0.15).at(0.6, -0.8, 1.0, 0.5), stuff, True)
        return node
    node = Node("can", superellipse(4.0).at(0, 0, 0.6, 0, 1.6), solid(dice, colour(dice), 1.0, 0.6))
    node.on("band", box(-0.3, -1, 0.4, 1), random_material(dice, None, 0.2))
    node.attach("lid", ellipse(0.2, 0.55).at(-0.95, 0), solid(dice, tone(dice, "metal"), 0.8, 0.4))
    return node


def waste(stage: Stage) -> None:
    """A conveyor belt under a heap of crushed things, no two alike, mostly brown and white, hiding each other."""
    dice = stage.dice
    stage.fill(
        "belt",
        surface(dice, dice.pick(("asphalt", "carpet", "metal")), tone(dice, "dark") if dice.chance(0.7) else None),
    )
    if dice.chance(0.5):
        rim = solid(dice, tone(dice, "metal"), 0.5)
        edge = dice.uniform(0.7, 0.95)
        stage.fill("rail", rim, polygon(np.array([[-1.1, -1.1], [1.1, -1.1], [1.1, -edge], [-1.1, -edge + 0.1]])))
    size = dice.log_uniform(0.15, 0.55)
    for _ in range(int(dice.uniform(2.0, 7.0) / size)):
        node = _crushed(dice) if dice.chance(0.92) else dice.pick((rope, garment))(dice)
        stage.put(node, dice.random(), dice.random(), size * dice.log_uniform(0.5, 1.8), dice.uniform(0, 6.28))
