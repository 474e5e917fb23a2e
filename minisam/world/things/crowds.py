"""Crowds: many small similar things, as under a microscope, on a conveyor, in a bowl, in a field.

One prototype is built and then placed many times with its own size, angle and brightness, on a grid, in a row, in a
cluster or scattered with a least distance. Half of the crowds are bright on dark, half dark on bright.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minisam.world.render.materials import Colour, Material, ball, colour, plain, random_material, shifted, similar
from minisam.world.render.objects import Node
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import affine, blob, box, capsule, convex, ellipse, leaf, ring, star
from minisam.world.things.nameless import abstract


def prototypes(rng: Rng, base: Colour) -> list[Node]:
    """One to five look-alikes: cells with nuclei, coins, fruit, pills, pebbles, leaves, buttons, tiles, things."""
    kind = rng.weighted(
        [(4, "cell"), (2, "coin"), (2, "berry"), (1, "pill"), (2, "pebble"), (1, "leaf"), (1, "button"), (1, "tile"),
         (1, "star"), (2, "thing")]
    )  # fmt: skip
    if kind == "thing":
        return [abstract(rng)]
    nodes = []
    for _ in range(rng.integer(1, 5)):
        if kind == "cell":
            material = random_material(rng, base, 0.12)
            material.relief = rng.uniform(0.0, 0.6)
            node = Node("cell", blob(rng, rng.uniform(0.1, 0.9), 32), material)
            if rng.chance(0.3):
                x, y = rng.signed(0.2), rng.signed(0.2)
                node.on("nucleus", blob(rng, 0.3, 20).at(x, y, 0.4), plain(rng, shifted(rng, base, 0.25, 0.05)))
        elif kind == "coin":
            material = random_material(rng, base, 0.08)
            material.relief = rng.uniform(0.4, 1.2)
            node = Node("coin", ellipse(), material)
            if rng.chance(0.7):
                inner = node.on("relief", blob(rng, 0.9).at(0, 0, 0.6), random_material(rng, base, 0.1))
                inner.labelled = rng.chance(0.5)
        elif kind == "berry":
            node = Node("berry", blob(rng, 0.1, 32), ball(rng, base, 0, 0, 1))
            if rng.chance(0.3):
                node.on("eye", star(rng, 5, 0.5).at(0, -0.5, 0.25), plain(rng, shifted(rng, base, 0.3, 0.05)))
        elif kind == "pill":
            node = Node("pill", capsule(-0.6, 0, 0.6, 0, 0.4, 0.4), ball(rng, base, 0, 0, 1))
            if rng.chance(0.6):
                node.on("half", box(0, -1, 2, 1), ball(rng, colour(rng), 0, 0, 1))
        elif kind == "pebble":
            node = Node("pebble", convex(rng, rng.integer(5, 9)), random_material(rng, shifted(rng, base, 0.15, 0.03)))
        elif kind == "leaf":
            node = Node("leaf", leaf(rng).at(-1, 0, 2.0), random_material(rng, base))
        elif kind == "button":
            node = Node("button", ring(ellipse(), rng.uniform(0.2, 0.6)), random_material(rng, base, 0.1))
        elif kind == "tile":
            node = Node("tile", box(-1, -0.8, 1, 0.8, rng.pick((0.0, 0.2))), random_material(rng, base, 0.15))
        else:
            node = Node("star", star(rng, rng.integer(4, 8), rng.uniform(0.4, 0.8)), random_material(rng, base))
        nodes.append(node)
    return nodes


def points(rng: Rng, radius: float, count: int, touching: float) -> list[tuple[float, float]]:
    """Up to ``count`` centres (x, y) in [0, 1]², mostly at least ``touching`` · 2 · radius apart."""
    kind = rng.weighted([(5, "scatter"), (2, "grid"), (2, "cluster")])
    chosen: list[tuple[float, float]] = []
    if kind == "grid":
        step = max(2.1 * radius * rng.uniform(1.0, 1.6), count**-0.5)
        jitter = rng.pick((0.0, 0.05, 0.3)) * step
        side = int(1.0 / step) + 1
        x0, y0, shear = rng.random() * step, rng.random() * step, rng.pick((0.0, 0.5))
        grid = [(x0 + step * (i + shear * (j % 2)), y0 + step * j) for j in range(side) for i in range(side)]
        return [(x + rng.signed(jitter), y + rng.signed(jitter)) for x, y in grid if rng.chance(0.93)]
    cx, cy, spread = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), rng.uniform(0.12, 0.25)
    least = (2.0 * radius * touching) ** 2
    for _ in range(3 * count):
        if kind == "cluster":
            x, y = cx + rng.signed(spread), cy + rng.signed(spread)
        else:
            x, y = rng.uniform(-0.02, 1.02), rng.uniform(-0.02, 1.02)
        if all((x - u) ** 2 + (y - v) ** 2 > least for u, v in chosen):
            chosen.append((x, y))
            if len(chosen) >= count:
                break
    return chosen


def crowd(rng: Rng, ground: Material) -> list[tuple[Node, np.ndarray]]:
    """The things of a crowd with their places in the scene, on a ground of material ``ground``."""
    level = float(ground.ramp.mean())
    offset = rng.log_uniform(0.06, 0.5) * (1 if level < 0.5 else -1) * (1 if rng.chance(0.85) else -1)
    r, g, b = ground.ramp[32].tolist() if rng.chance(0.4) else colour(rng)
    change = level + offset - (r + g + b) / 3.0
    r, g, b = (min(max(c + change, 0.02), 0.98) for c in (r, g, b))
    nodes = prototypes(rng, (r, g, b))
    radius = rng.log_uniform(0.02, 0.11)
    count = int(min(90, rng.uniform(0.3, 1.0) * 0.5 / (radius * radius)))
    aligned, stretch = rng.chance(0.3), rng.log_uniform(0.6, 1.6)
    vary = rng.uniform(1.05, 1.7)
    placed = []
    for x, y in points(rng, radius, count, rng.uniform(0.5, 1.2)):
        node = rng.pick(nodes)
        if node.material is not None:
            node = replace(node, material=similar(rng, node.material, 0.05))
        scale = radius * rng.log_uniform(1.0 / vary, vary)
        angle = rng.signed(0.05) if aligned else rng.uniform(0, 6.2832)
        placed.append((node, affine(x, y, scale, angle, stretch)))
    return placed
