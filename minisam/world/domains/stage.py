"""The stage: what a domain paints with. Backgrounds in one call, objects placed, all in one light."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minisam.world.domains.backgrounds import FRAME, OVER, Background
from minisam.world.render.materials import Colour, Material, similar
from minisam.world.render.objects import Node
from minisam.world.render.painter import Painter
from minisam.world.render.raster import rasterise
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import Shape, affine, box, ellipse, path
from minisam.world.render.surfaces import solid, surface

Maker = Callable[[Rng], Node]
Makers = Sequence[tuple[float, Maker]]  # each with its weight


def frame_at(rng: Rng, node: Node, x: float, y: float, size: float, turn: float, standing: bool) -> np.ndarray:
    """The map that puts ``node`` at (x, y) with its longer side about ``size`` (shares of the image).

    standing: (x, y) is the middle of its lower edge; otherwise its centre. Half are mirrored, all stretched a little.
    """
    left, top, right, bottom = node.bounds()
    scale = size / max(right - left, bottom - top, 0.1)
    matrix = affine(0.0, 0.0, scale, turn, rng.log_uniform(0.85, 1.18))
    if rng.chance(0.5):
        matrix[:, 0] = -matrix[:, 0]
    anchor_x, anchor_y = (left + right) / 2, bottom if standing else (top + bottom) / 2
    matrix[:, 2] = (x, y) - (matrix[:, 0] * anchor_x + matrix[:, 1] * anchor_y)
    return matrix


class Stage:
    """A canvas with its light: one direction, strength, length and softness of shadows for all that is put on it."""

    def __init__(self, rng: Rng, painter: Painter) -> None:
        self.rng = rng
        self.painter = painter
        self.canvas = painter.canvas
        self.shadow = rng.uniform(0.15, 0.6) if rng.chance(0.75) else 0.0
        self.reach = rng.log_uniform(0.01, 0.25)  # of an object's size
        self.soft = rng.log_uniform(0.05, 0.4)  # of the reach
        self.ground: Material = Material(np.full((64, 3), 0.5, np.float32))
        self.horizon: float | None = None

    def use(self, background: Callable[[Rng, Painter], Background]) -> None:
        """Paint one of the ready backgrounds."""
        painted = background(self.rng, self.painter)
        self.ground, self.horizon = painted.material, painted.horizon

    def fill(
        self, name: str, material: str | Material, shape: Shape | None = None,
        horizon: float | None = None, scale: float = 1.0,
    ) -> Node:  # fmt: skip
        """Paint a region of the background: all of the frame, or ``shape`` in frame coordinates [-1, 1]².

        material: a ``Material``, or the name of a surface, ``scale`` times as fine.
        """
        if isinstance(material, str):
            material = surface(self.rng, material, scale=scale)
        node = Node(name, box(-OVER, -OVER, OVER, OVER) if shape is None else shape, material)
        self.painter.draw(node, FRAME, horizon=horizon)
        if name in ("background", "ground", "floor", "table", "road", "soil", "belt"):
            self.ground = material
        return node

    def fill_node(self, node: Node) -> None:
        """Paint something built in frame coordinates [-1, 1]² (a house front with its windows)."""
        self.painter.draw(node, FRAME)

    def put(
        self, node: Node, x: float, y: float, size: float, turn: float = 0.0, standing: bool = False,
        shadow: float | None = None, blurred: float = 0.0,
    ) -> None:  # fmt: skip
        """Paint one object with its shadow; ``standing``: (x, y) is the middle of its foot, and it is dark there."""
        frame = frame_at(self.rng, node, x, y, size, turn, standing)
        strength = self.shadow if shadow is None else shadow
        if standing and strength > 0.0:
            left, _, right, _ = node.bounds()
            self.contact(x, y, 0.5 * (right - left) * abs(frame[0, 0]), strength)
            strength *= 0.4
        reach = self.reach * size
        self.painter.draw(node, frame, strength, blurred, reach=reach, soft=self.soft * reach + 0.003)

    def at(
        self, node: Node, frame: np.ndarray, shadow: float | None = None, blurred: float = 0.0, reach: float = 0.02
    ) -> None:
        """Paint one object by a frame of its own."""
        self.painter.draw(
            node, frame, self.shadow if shadow is None else shadow, blurred, reach=reach, soft=0.5 * reach
        )

    def contact(self, x: float, y: float, half: float, strength: float) -> None:
        """The dark, soft patch under what stands at (x, y) and is 2 · half wide."""
        patch = ellipse(half * 1.1, max(half * 0.25, 0.006), 20).at(x + 0.3 * half * -self.canvas.light[0], y)
        window = rasterise(patch.points, patch.starts, self.canvas.size)
        if window is not None:
            self.canvas.shadow(window, 0.0, 0.0, max(half * 0.2, 0.004), min(1.3 * strength, 0.9))

    def veil(self, colour: Colour, amount: float) -> None:
        """Haze, water, dusk: everything painted so far moves towards ``colour``."""
        canvas = self.canvas.colour
        canvas *= np.float32(1.0 - amount)
        canvas += np.array(colour, np.float32) * np.float32(amount)

    def stain(
        self, shape: Shape, colour: Colour, opacity: float, frame: np.ndarray = FRAME, blurred: float = 0.0
    ) -> None:
        """Something on the ground that is not a thing: a patch of light, oil, dust. No mask, no owner."""
        material = solid(self.rng, colour, 0.0, 0.0, 0.1)
        material.opacity = opacity
        self.painter.draw(Node("stain", shape, material, ghost=True, labelled=False), frame, blurred=blurred)

    def clutter(self, shape: Shape, material: Material, frame: np.ndarray = FRAME, blurred: float = 0.0) -> None:
        """Something in front that hides, but is no thing of its own: blades of grass, twigs, confetti."""
        self.painter.draw(Node("clutter", shape, material, labelled=False), frame, blurred=blurred)

    def turn(self) -> float:
        """Mostly upright, sometimes any angle."""
        return self.rng.signed(0.15) if self.rng.chance(0.65) else self.rng.uniform(0, 6.2832)

    def camouflaged(self, node: Node, shift: float = 0.06) -> Node:
        """The same thing in the ground's own material."""
        if node.material is not None:
            node.material = similar(self.rng, self.ground, shift)
            node.material.relief = self.rng.uniform(0.1, 0.8)
        return node

    def spread(self, count: int, apart: float) -> list[tuple[float, float]]:
        """Up to ``count`` points (x, y) in the frame, at least ``apart`` from each other."""
        points: list[tuple[float, float]] = []
        least = apart * apart
        for _ in range(3 * count):
            x, y = self.rng.uniform(-0.03, 1.03), self.rng.uniform(-0.03, 1.03)
            if all((x - u) ** 2 + (y - v) ** 2 > least for u, v in points):
                points.append((x, y))
                if len(points) >= count:
                    break
        return points

    def standing(self, makers: Makers, count: int, far: float, tall: tuple[float, float]) -> None:
        """``count`` things on the ground from far to near; ``tall``: how large they are at the lower edge."""
        rng = self.rng
        depths = sorted(rng.log_uniform(0.25, 1.0) for _ in range(count))
        if rng.chance(0.8):
            depths[-1] = max(depths[-1], rng.uniform(0.7, 1.05))  # mostly somebody is near
        for near in depths:
            y = far + (1.08 - far) * near
            self.put(
                rng.weighted(makers)(rng), rng.random(), y, rng.uniform(*tall) * near + 0.03, rng.signed(0.04), True
            )


class View:
    """A camera above a flat ground: ``point`` takes metres (right, up, ahead) to frame coordinates in [-1, 1]²."""

    def __init__(self, rng: Rng, height: float) -> None:
        self.x, self.y = rng.signed(0.15), rng.uniform(-0.35, 0.1)
        self.focal, self.height = rng.uniform(0.9, 1.8), height

    def point(self, right: float, up: float, ahead: float) -> tuple[float, float]:
        """Where a point is seen; ahead > 0."""
        return self.x + self.focal * right / ahead, self.y + self.focal * (self.height - up) / ahead

    def quad(self, *corners: tuple[float, float, float]) -> Shape:
        """The polygon through points (right, up, ahead)."""
        return path(*(self.point(*corner) for corner in corners))
