"""Objects: trees of shapes. The root is a whole, its children are parts, their children subparts.

A child with ``clip`` is painted *on* its parent (a window on a house) and cut off at the parent's outline; one without
is attached (a leg), and belongs to the parent all the same: the mask of a node is what is visible of it and of all
below it. Object coordinates are about [-1, 1]², x to the right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from minisam.world.render.materials import Material
from minisam.world.render.shapes import Shape, extent


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
