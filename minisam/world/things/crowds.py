"""Crowds: many small similar things, as under a microscope, on a conveyor, in a bowl, in a field.

One prototype is built and then placed many times with its own size, angle and brightness, on a grid, in a row, in a
cluster or scattered with a least distance. Half of the crowds are bright on dark, half dark on bright.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .dice import Dice
from .materials import Colour, Material, ball, colour, plain, random_material, shifted, similar
from .objects import Node, abstract
from .shapes import affine, blob, box, capsule, convex, ellipse, leaf, ring, star


def prototypes(dice: Dice, base: Colour) -> list[Node]:
    """One to five look-alikes: cells with nuclei, coins, fruit, pills, pebbles, leaves, buttons, tiles, things."""
    kind = dice.weighted(
        [(4, "cell"), (2, "coin"), (2, "berry"), (1, "pill"), (2, "pebble"), (1, "leaf"), (1, "button"), (1, "tile"),
         (1, "star"), (2, "thing")]
    )  # fmt: skip
    if kind == "thing":
        return [abstract(dice)]
    nodes = []
    for _ in range(dice.integer(1, 5)):
        if kind == "cell":
            stuff = random_material(dice, base, 0.12)
            stuff.relief = dice.uniform(0.0, 0.6)
            node = Node("cell", blob(dice, dice.uniform(0.1, 0.9), 32), stuff)
            if dice.chance(0.3):
                x, y = dice.signed(0.2), dice.signed(0.2)
                node.on("nucleus", blob(dice, 0.3, 20).at(x, y, 0.4), plain(dice, shifted(dice, base, 0.25, 0.05)))
        elif kind == "coin":
            stuff = random_material(dice, base, 0.08)
            stuff.relief = dice.uniform(0.4, 1.2)
            node = Node("coin", ellipse(), stuff)
            if dice.chance(0.7):
                inner = node.on("relief", blob(dice, 0.9).at(0, 0, 0.6), random_material(dice, base, 0.1))
                inner.labelled = dice.chance(0.5)
        elif kind == "berry":
            node = Node("berry", blob(dice, 0.1, 32), ball(dice, base, 0, 0, 1))
            if dice.chance(0.3):
                node.on("eye", star(dice, 5, 0.5).at(0, -0.5, 0.25), plain(dice, shifted(dice, base, 0.3, 0.05)))
        elif kind == "pill":
            node = Node("pill", capsule(-0.6, 0, 0.6, 0, 0.4, 0.4), ball(dice, base, 0, 0, 1))
            if dice.chance(0.6):
                node.on("half", box(0, -1, 2, 1), ball(dice, colour(dice), 0, 0, 1))
        elif kind == "pebble":
            node = Node(
                "pebble", convex(dice, dice.integer(5, 9)), random_material(dice, shifted(dice, base, 0.15, 0.03))
            )
        elif kind == "leaf":
            node = Node("leaf", leaf(dice).at(-1, 0, 2.0), random_material(dice, base))
        elif kind == "button":
            node = Node("button", ring(ellipse(), dice.uniform(0.2, 0.6)), random_material(dice, base, 0.1))
        elif kind == "tile":
            node = Node("tile", box(-1, -0.8, 1, 0.8, dice.pick((0.0, 0.2))), random_material(dice, base, 0.15))
        else:
            node = Node("star", star(dice, dice.integer(4, 8), dice.uniform(0.4, 0.8)), random_material(dice, base))
        nodes.append(node)
    return nodes


def places(dice: Dice, radius: float, count: int, touching: float) -> list[tuple[float, float]]:
    """Up to ``count`` centres (x, y) in [0, 1]², mostly at least ``touching`` · 2 · radius apart."""
    kind = dice.weighted([(5, "scatter"), (2, "grid"), (2, "cluster")])
    found: list[tuple[float, float]] = []
    if kind == "grid":
        step = max(2.1 * radius * dice.uniform(1.0, 1.6), count**-0.5)
        jitter = dice.pick((0.0, 0.05, 0.3)) * step
        side = int(1.0 / step) + 1
        x0, y0, shear = dice.random() * step, dice.random() * step, dice.pick((0.0, 0.5))
        grid = [(x0 + step * (i + shear * (j % 2)), y0 + step * j) for j in range(side) for i in range(side)]
        return [(x + dice.signed(jitter), y + dice.signed(jitter)) for x, y in grid if dice.chance(0.93)]
    cx, cy, spread = dice.uniform(0.3, 0.7), dice.uniform(0.3, 0.7), dice.uniform(0.12, 0.25)
    least = (2.0 * radius * touching) ** 2
    for _ in range(3 * count):
        if kind == "cluster":
            x, y = cx + dice.signed(spread), cy + dice.signed(spread)
        else:
            x, y = dice.uniform(-0.02, 1.02), dice.uniform(-0.02, 1.02)
        if all((x - u) ** 2 + (y - v) ** 2 > least for u, v in found):
            found.append((x, y))
            if len(found) >= count:
                break
    return found


def crowd(dice: Dice, ground: Material) -> list[tuple[Node, np.ndarray]]:
    """The things of a crowd with their places in the scene, on a ground of material ``ground``."""
    level = float(ground.ramp.mean())
    offset = dice.log_uniform(0.06, 0.5) * (1 if level < 0.5 else -1) * (1 if dice.chance(0.85) else -1)
    r, g, b = ground.ramp[32].tolist() if dice.chance(0.4) else colour(dice)
    change = level + offset - (r + g + b) / 3.0
    r, g, b = (min(max(c + change, 0.02), 0.98) for c in (r, g, b))
    nodes = prototypes(dice, (r, g, b))
    radius = dice.log_uniform(0.02, 0.11)
    count = int(min(90, dice.uniform(0.3, 1.0) * 0.5 / (radius * radius)))
    aligned, stretch = dice.chance(0.3), dice.log_uniform(0.6, 1.6)
    vary = dice.uniform(1.05, 1.7)
    placed = []
    for x, y in places(dice, radius, count, dice.uniform(0.5, 1.2)):
        node = dice.pick(nodes)
        if node.material is not None:
            node = replace(node, material=similar(dice, node.material, 0.05))
        scale = radius * dice.log_uniform(1.0 / vary, vary)
        angle = dice.signed(0.05) if aligned else dice.uniform(0, 6.2832)
        placed.append((node, affine(x, y, scale, angle, stretch)))
    return placed
