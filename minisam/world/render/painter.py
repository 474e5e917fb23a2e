"""The painter: draws trees of shapes onto the canvas and cuts out the exact mask of everything that can be seen.

While painting, every pixel remembers the last shape that covered at least half of it (``Canvas.owner``). Shapes are
numbered so that a node and all below it form one range of numbers; the visible mask of a node is therefore
``first ≤ owner ≤ last``: after all occlusion, contained in its parent's mask, and disjoint from its siblings'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minisam.world.render.exact import exact
from minisam.world.render.objects import Node
from minisam.world.render.raster import Window, rasterise
from minisam.world.render.rng import Rng
from minisam.world.render.shading import Canvas

LEVELS = ("whole", "part", "subpart")
MIN_AREA = 20.0 / 256.0**2  # of the image; what is smaller is no mask
MAX_SHARE = 0.95  # of its parent's area; a part that is nearly all of it is no mask of its own


@dataclass
class SceneMask:
    """The visible pixels of one node.

    Attributes
    ----------
    segmentation : ndarray, shape (S, S), bool
    level : str
        One of ``LEVELS``.
    parent : int or None
        An index into ``Scene.masks``; None for a whole.
    name : str
    area : int
        The number of its pixels.
    """

    segmentation: np.ndarray
    level: str
    parent: int | None
    name: str
    area: int


@dataclass
class Entry:
    """A numbered node; all below it have the numbers up to ``last``; ``parent`` is the number above it."""

    node: Node
    depth: int
    parent: int | None
    last: int


@exact
def _cut_out(owner, slots, masks):
    """Set every pixel in the masks ``slots[owner + 1]`` (one a level; −1: none); masks (M, S, S) bool, False before."""
    size = owner.shape[0]
    for y in range(size):
        for x in range(size):
            for level in range(3):
                mask = slots[owner[y, x] + 1, level]
                if mask >= 0:
                    masks[mask, y, x] = True


class Painter:
    """Numbers, paints and finally cuts out the nodes of a scene."""

    def __init__(self, canvas: Canvas, rng: Rng) -> None:
        self.canvas = canvas
        self.rng = rng
        self.entries: list[Entry] = []

    def number(self, node: Node, depth: int = 0, parent: int | None = None) -> int:
        """Give ``node`` and all below it consecutive numbers; returns the node's own."""
        index = len(self.entries)
        self.entries.append(Entry(node, depth, parent, index))
        for child in node.children:
            self.number(child, depth + 1, index)
        self.entries[index].last = len(self.entries) - 1
        return index

    def draw(
        self, node: Node, frame: np.ndarray, shadow: float = 0.0, blurred: float = 0.0, horizon: float | None = None,
        reach: float = 0.02, soft: float = 0.01,
    ) -> None:  # fmt: skip
        """Paint an object whose shapes are in object coordinates; ``frame`` maps them to the scene.

        shadow: strength of its cast shadow in [0, 1], ``reach`` how far it falls, ``soft`` how blurred it is; blurred:
        defocus of its outlines (all three as shares of the image's side); horizon: see ``Canvas.paint``.
        """
        # Numbers and coverage of the node and all below it; out of focus, coverage needs room to spread.
        index = self.number(node)
        windows: dict[int, Window] = {}
        order: list[int] = []
        radius = int(blurred * self.canvas.size + 0.5)
        self._prepare(node, index, frame, windows, None, order, 2 * radius + 1)
        # All shadows first: they fall on what is behind the object, not on the object.
        if shadow > 0.0:
            dx, dy = -self.canvas.light[0], -self.canvas.light[1]
            for i in order:
                if not self.entries[i].node.clip and not self.entries[i].node.ghost:
                    self.canvas.shadow(windows[i], dx * reach, dy * reach, soft, shadow)
        for i in order:
            if radius > 0:
                windows[i].soften(radius)
            part = self.entries[i].node
            if part.material is not None:
                self.canvas.paint(windows[i], part.material, frame, -1 if part.ghost else i, horizon)

    def _prepare(
        self, node: Node, index: int, frame: np.ndarray,
        windows: dict[int, Window], parent: Window | None, order: list[int], margin: int,
    ) -> None:  # fmt: skip
        """Rasterise ``node`` and all below it: coverage into ``windows``, indices into ``order`` from back to front."""
        window = None
        if node.shape is not None:
            shape = node.shape.moved(frame)
            window = rasterise(shape.points, shape.starts, self.canvas.size, margin)
            if window is not None and node.clip and parent is not None:
                window.clip(parent)
        # A child's number follows the last number below the child before it.
        children, number = [], index + 1
        for child in node.children:
            children.append((child, number))
            number = self.entries[number].last + 1
        # From back to front: children behind the node, the node, the other children.
        for child, i in children:
            if child.behind:
                self._prepare(child, i, frame, windows, window, order, margin)
        if window is not None:
            windows[index] = window
            order.append(index)
        if node.shape is not None and window is None:  # outside of the image, and so is what is clipped to it
            children = [pair for pair in children if not pair[0].clip]
        for child, i in children:
            if not child.behind:
                self._prepare(child, i, frame, windows, window, order, margin)

    def masks(self) -> list[SceneMask]:
        """The visible masks, small ones dropped, and parts that are all that can be seen of their parent."""
        owner = self.canvas.owner
        least = MIN_AREA * owner.size
        # Pixels owned by entries 0 … i, so that the area of a range of numbers is one difference.
        counts = np.bincount((owner + 1).ravel(), minlength=len(self.entries) + 1)
        owned = np.cumsum(counts[1:]).tolist()
        masks: list[SceneMask] = []
        kept: dict[int, int] = {}  # entry → index of its mask
        slots = np.full((len(self.entries) + 1, 3), -1, np.int32)  # owner + 1 → masks that it belongs to
        for index, entry in enumerate(self.entries):
            node, depth, last = entry.node, entry.depth, entry.last
            area = owned[last] - (owned[index - 1] if index else 0)
            if depth > 2 or not node.labelled or area < least:
                continue
            parent = None
            if entry.parent is not None:
                parent = kept.get(entry.parent)
                if parent is None or area > MAX_SHARE * masks[parent].area:
                    continue
            kept[index] = len(masks)
            slots[index + 1 : last + 2, depth] = len(masks)
            masks.append(SceneMask(np.empty(0), LEVELS[depth], parent, node.name, area))
        stack = np.zeros((len(masks), *owner.shape), np.bool_)
        _cut_out(owner, slots, stack)
        for mask, segmentation in zip(masks, stack):
            mask.segmentation = segmentation
        return masks
