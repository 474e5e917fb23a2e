"""Things without a name: any outline with parts and limbs; and thin ones: twigs, cables, lattices."""

from __future__ import annotations

import numpy as np

from minisam.world.render.materials import Colour, colour, plain, random_material, shifted
from minisam.world.render.objects import Node
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import box, branches, capsule, curve, ellipse, random_shape, union


def _decal(rng: Rng, depth: int, base: Colour, x: float, y: float, reach: float) -> Node:
    """A part lying on its parent at about (x, y), within ``reach``; possibly with subparts on it."""
    radius = rng.log_uniform(0.15, 0.55) * reach
    x, y = x + rng.signed(0.35) * reach, y + rng.signed(0.35) * reach
    tone = colour(rng) if rng.chance(0.6) else shifted(rng, base, 0.2, 0.04)
    material = random_material(rng, tone, None, (x, y, radius))
    node = Node("patch", random_shape(rng).at(x, y, radius), material, clip=True)
    if depth > 0 and rng.chance(0.6):
        for _ in range(rng.integer(1, 3)):
            node.add(_decal(rng, depth - 1, tone, x, y, radius))
    return node


def abstract(rng: Rng) -> Node:
    """A thing without a name: any outline, any material, parts on it and limbs attached."""
    base = colour(rng)
    node = Node("thing", random_shape(rng), random_material(rng, base))
    for _ in range(rng.weighted(((3, 0), (2, 1), (2, 2), (1, 4)))):
        node.add(_decal(rng, 1, base, 0.0, 0.0, 1.0))
    if rng.chance(0.3):
        skin = random_material(rng, shifted(rng, base, 0.15, 0.04))
        for _ in range(rng.integer(1, 5)):
            x, y = rng.direction()
            end = rng.uniform(1.2, 1.9)
            limb = capsule(0.5 * x, 0.5 * y, end * x, end * y, rng.uniform(0.08, 0.25), rng.uniform(0.04, 0.2))
            node.attach("limb", limb, skin, behind=rng.chance(0.7))
    return node


def thin(rng: Rng) -> Node:
    """Something long or branching: twig, cable, lattice."""
    base = colour(rng)
    kind = rng.pick(("twig", "cable", "lattice"))
    if kind == "twig":
        shape = branches(rng, rng.integer(2, 3), rng.uniform(0.4, 0.9), rng.uniform(0.03, 0.09))
        node = Node("twig", shape, plain(rng, base))
        if rng.chance(0.5):
            leaf = plain(rng, colour(rng))
            for i in rng.array(rng.integer(2, 7)):
                x, y = shape.points[int(i * len(shape.points))].tolist()
                node.attach("leaf", ellipse(0.16, 0.08, 20).at(x, y, rng.uniform(0.6, 1.3), rng.uniform(0, 6.3)), leaf)
        return node
    if kind == "cable":
        thickness = rng.log_uniform(0.02, 0.1)
        end = thickness * rng.uniform(0.4, 1.0)
        shape = curve(rng, -1, 0, rng.signed(0.6), 2.4, thickness, end, rng.signed(2.0))
        return Node("cable", shape, plain(rng, base))
    count, thickness = rng.integer(3, 7), rng.log_uniform(0.015, 0.06)
    bars = [box(x - thickness, -1, x + thickness, 1) for x in np.linspace(-1, 1, count).tolist()]
    rails = [box(-1.1, y - thickness, 1.1, y + thickness) for y in ((-0.6, 0.5) if rng.chance(0.7) else (0.0,))]
    return Node("lattice", union(*bars, *rails), plain(rng, base))
