"""Objects: trees of shapes. The root is a whole, its children are parts, their children subparts.

A child with ``clip`` is painted *on* its parent (a window on a house) and cut off at the parent's outline; one without
is attached (a leg), and belongs to the parent all the same: the mask of a node is what is visible of it and of all
below it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .dice import Dice
from .materials import Material, colour, random_material
from .shapes import Shape, capsule, random_shape


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

    def add(self, *nodes: Node) -> Node:
        """Append children; returns the node itself."""
        self.children.extend(nodes)
        return self


def move(node: Node, matrix: np.ndarray) -> Node:
    """The object after the affine map ``matrix`` (2, 3): the shapes move, materials follow at painting time."""
    shape = None if node.shape is None else node.shape.moved(matrix)
    children = [move(child, matrix) for child in node.children]
    return Node(node.name, shape, node.material, children, node.clip, node.behind, node.labelled)


def decal(dice: Dice, depth: int, base: np.ndarray) -> Node:
    """A part lying on its parent, possibly with subparts on it."""
    radius = dice.log_uniform(0.12, 0.5)
    x, y = dice.signed(0.4), dice.signed(0.4)
    tone = colour(dice) if dice.chance(0.6) else np.clip(base + dice.signed(0.2), 0, 1)
    node = Node("patch", random_shape(dice).at(x, y, radius), random_material(dice, tone), clip=True)
    if depth > 0 and dice.chance(0.6):
        for _ in range(dice.integer(1, 3)):
            inner = decal(dice, depth - 1, tone)
            node.add(move(inner, np.array([[radius, 0, x], [0, radius, y]])))
    return node


def abstract(dice: Dice) -> Node:
    """A thing without a name: any outline, any material, parts on it and limbs attached."""
    base = colour(dice)
    node = Node("thing", random_shape(dice), random_material(dice, base))
    for _ in range(dice.weighted(((3, 0), (2, 1), (2, 2), (1, 4)))):
        node.add(decal(dice, 1, base))
    if dice.chance(0.3):
        for _ in range(dice.integer(1, 5)):
            x, y = dice.direction()
            end = dice.uniform(1.2, 1.9)
            limb = capsule(0.5 * x, 0.5 * y, end * x, end * y, dice.uniform(0.08, 0.25), dice.uniform(0.04, 0.2))
            node.add(Node("limb", limb, random_material(dice, base), behind=dice.chance(0.7)))
    return node
