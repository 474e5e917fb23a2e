"""The painter: draws trees of shapes onto the canvas and cuts out the exact mask of everything that can be seen.

While painting, every pixel remembers the last shape that covered at least half of it (``Canvas.owner``). Shapes are
numbered so that a node and all below it form one range of numbers; the visible mask of a node is therefore
``first ≤ owner ≤ last``: after all occlusion, contained in its parent's mask, and disjoint from its siblings'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .dice import Dice
from .objects import Node
from .paint import Canvas
from .raster import Window, rasterise

LEVELS = ("whole", "part", "subpart")
MIN_AREA = 20.0 / 256.0**2  # of the picture; what is smaller is no mask


@dataclass
class SceneMask:
    """The visible pixels of one node: segmentation (S, S) bool; ``parent`` is an index into ``Scene.masks`` or None."""

    segmentation: np.ndarray
    level: str
    parent: int | None
    name: str


class Painter:
    """Numbers, paints and finally cuts out the nodes of a scene."""

    def __init__(self, canvas: Canvas, dice: Dice) -> None:
        self.canvas = canvas
        self.dice = dice
        self.entries: list[list] = []  # [node, depth, parent entry, last index]

    def number(self, node: Node, depth: int = 0, parent: int | None = None) -> int:
        """Give ``node`` and all below it consecutive numbers; returns the node's own."""
        index = len(self.entries)
        self.entries.append([node, depth, parent, index])
        for child in node.children:
            self.number(child, depth + 1, index)
        self.entries[index][3] = len(self.entries) - 1
        return index

    def draw(
        self, node: Node, frame: np.ndarray, shadow: float = 0.0, blurred: float = 0.0, horizon: float | None = None
    ) -> None:
        """Paint an object whose shapes are in object coordinates; ``frame`` maps them to the scene.

        shadow: strength of its cast shadow in [0, 1]; blurred: defocus of its outlines as a share of the picture's side;
        horizon: see ``Canvas.paint``.
        """
        index = self.number(node)
        windows: dict[int, Window] = {}
        order: list[int] = []
        self._prepare(node, index, frame, windows, None, order)
        if shadow > 0.0:
            dx, dy = -self.canvas.light[0], -self.canvas.light[1]
            reach = self.dice.uniform(0.0, 0.05)
            soft = self.dice.log_uniform(0.003, 0.03)
            for i in order:
                if not self.entries[i][0].clip:
                    self.canvas.shadow(windows[i], dx * reach, dy * reach, soft, shadow)
        radius = int(blurred * self.canvas.size + 0.5)
        for i in order:
            if radius > 0:
                windows[i].soften(radius)
            material = self.entries[i][0].material
            if material is not None:
                self.canvas.paint(windows[i], material, frame, i, horizon)

    def _prepare(self, node, index, frame, windows, parent, order) -> None:
        window = None
        if node.shape is not None:
            shape = node.shape.moved(frame)
            window = rasterise(shape.points, shape.starts, self.canvas.size)
            if window is not None and node.clip and parent is not None:
                window.clip(parent)
        children, at = [], index + 1
        for child in node.children:
            children.append((child, at))
            at = self.entries[at][3] + 1
        for child, i in children:
            if child.behind:
                self._prepare(child, i, frame, windows, window, order)
        if window is not None:
            windows[index] = window
            order.append(index)
        if node.shape is not None and window is None:
            children = [pair for pair in children if not pair[0].clip]
        for child, i in children:
            if not child.behind:
                self._prepare(child, i, frame, windows, window, order)

    def masks(self) -> list[SceneMask]:
        """The visible masks, small ones dropped."""
        owner = self.canvas.owner
        least = MIN_AREA * owner.size
        counts = np.bincount((owner + 1).ravel(), minlength=len(self.entries) + 1)
        areas = np.concatenate([[0], np.cumsum(counts[1:])])
        found: list[SceneMask] = []
        place: dict[int, int] = {}
        for index, (node, depth, parent, last) in enumerate(self.entries):
            area = areas[last + 1] - areas[index]
            if depth > 2 or not node.labelled or area < least:
                continue
            above = place.get(parent) if parent is not None else None
            if depth > 0 and (above is None or area > 0.95 * found[above].segmentation.sum()):
                continue
            place[index] = len(found)
            found.append(SceneMask((owner >= index) & (owner <= last), LEVELS[depth], above, node.name))
        return found
