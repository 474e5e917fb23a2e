"""Objects: trees of shapes. The root is a whole, its children are parts, their children subparts.

A child with ``clip`` is painted *on* its parent (a window on a house) and cut off at the parent's outline; one without
is attached (a leg), and belongs to the parent all the same: the mask of a node is what is visible of it and of all
below it. Object coordinates are about [-1, 1]², x to the right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from minisam.world.render.materials import Colour, Material, ball, colour, plain, random_material, shifted
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import (
    Shape,
    affine,
    box,
    branches,
    capsule,
    curve,
    ellipse,
    extent,
    random_shape,
    union,
)


@dataclass
class Node:
    """One shape of an object. ``shape`` None makes a group: its mask is the union of its children."""

    name: str
    shape: Shape | None
    material: Material | None = None
    children: list[Node] = field(default_factory=list)
    clip: bool = False
    behind: bool = False  # painted before its parent
    labelled: bool = True  # False: painted, but not a mask of its own
    ghost: bool = False  # painted, but every pixel stays what it was: stains, reflections, light, haze

    def add(self, *nodes: Node) -> Node:
        """Append children; returns the node itself."""
        self.children.extend(nodes)
        return self

    def on(self, name: str, shape: Shape, material: Material, *children: Node) -> Node:
        """Append a child painted on this node and clipped to it; returns the child."""
        child = Node(name, shape, material, list(children), clip=True)
        self.children.append(child)
        return child

    def attach(self, name: str, shape: Shape, material: Material, behind: bool = False) -> Node:
        """Append a child that may stick out of this node; returns the child."""
        child = Node(name, shape, material, [], behind=behind)
        self.children.append(child)
        return child

    def bounds(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of all shapes, clipped ones aside."""
        boxes = [child.bounds() for child in self.children if not child.clip]
        if self.shape is not None:
            boxes.append(extent(self.shape.points))
        left, top, right, bottom = zip(*boxes)
        return min(left), min(top), max(right), max(bottom)


def move(node: Node, matrix: np.ndarray) -> Node:
    """The object after the affine map ``matrix`` (2, 3). Materials keep their place in object coordinates."""
    shape = None if node.shape is None else node.shape.moved(matrix)
    return replace(node, shape=shape, children=[move(child, matrix) for child in node.children])


def decal(rng: Rng, depth: int, base: Colour, x: float, y: float, reach: float) -> Node:
    """A part lying on its parent at about (x, y), within ``reach``; possibly with subparts on it."""
    radius = rng.log_uniform(0.15, 0.55) * reach
    x, y = x + rng.signed(0.35) * reach, y + rng.signed(0.35) * reach
    tone = colour(rng) if rng.chance(0.6) else shifted(rng, base, 0.2, 0.04)
    material = random_material(rng, tone, None, (x, y, radius))
    node = Node("patch", random_shape(rng).at(x, y, radius), material, clip=True)
    if depth > 0 and rng.chance(0.6):
        for _ in range(rng.integer(1, 3)):
            node.add(decal(rng, depth - 1, tone, x, y, radius))
    return node


def abstract(rng: Rng) -> Node:
    """A thing without a name: any outline, any material, parts on it and limbs attached."""
    base = colour(rng)
    node = Node("thing", random_shape(rng), random_material(rng, base))
    for _ in range(rng.weighted(((3, 0), (2, 1), (2, 2), (1, 4)))):
        node.add(decal(rng, 1, base, 0.0, 0.0, 1.0))
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
    bars = [box(at - thickness, -1, at + thickness, 1) for at in np.linspace(-1, 1, count).tolist()]
    rails = [box(-1.1, at - thickness, 1.1, at + thickness) for at in ((-0.6, 0.5) if rng.chance(0.7) else (0.0,))]
    return Node("lattice", union(*bars, *rails), plain(rng, base))


def heap(rng: Rng, name: str, item: Node, count: int, spread: float, size: float) -> Node:
    """A group (bunch, pile): copies of ``item`` as parts of one whole."""
    group = Node(name, None)
    for _ in range(count):
        x, y = rng.direction()
        far = spread * rng.random() ** 0.5
        copy = move(item, affine(x * far, y * far, size * rng.uniform(0.8, 1.2), rng.uniform(0, 6.3)))
        if copy.material is not None:
            radius = size
            copy.material = ball(rng, tuple(copy.material.ramp[32].tolist()), x * far, y * far, radius)
        group.add(copy)
    return group
