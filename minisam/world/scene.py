"""A scene: a background, a layout that places objects on it, a camera.

Layouts differ in what they teach: *studio* one to three large objects; *scatter* anything anywhere; *standing* things
on a ground, smaller and higher in the picture when far; *crowd* many small similar things; *heap* strong occlusion;
*close-up* an object larger than the frame, so that its parts fill the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import backgrounds, goods, living, made
from .backgrounds import Background
from .camera import photograph
from .crowds import crowd
from .dice import Dice
from .materials import similar
from .objects import Node, abstract, thin
from .paint import Canvas
from .painter import Painter, SceneMask
from .shapes import affine


@dataclass
class Scene:
    """image (S, S, 3) uint8 and its masks, parents before children."""

    image: np.ndarray
    masks: list[SceneMask]


KINDS: tuple[tuple[float, Callable[[Dice], Node]], ...] = (
    (9, abstract), (1, thin), (2, living.animal), (1, living.fish), (1.2, living.bird), (1, living.insect),
    (1.5, living.face), (2.5, living.person), (1.2, living.flower), (1.2, living.tree), (0.8, living.plant_leaf),
    (1.2, living.fruit), (1.5, made.house), (2, made.vehicle), (1.5, goods.vessel), (1.5, goods.cup), (1.2, made.crate),
    (1, made.books), (1.2, made.screen), (1, goods.sign), (1.5, made.furniture), (1, goods.tool), (1, goods.wheel),
    (1, goods.garment), (0.8, goods.rope),
)  # fmt: skip
STANDING = tuple(pair for pair in KINDS if pair[1] not in (living.fish, living.insect, living.plant_leaf, goods.tool))

Kinds = tuple[tuple[float, Callable[[Dice], Node]], ...]
Grounds = tuple[tuple[float, Callable[[Dice, Painter], Background]], ...]
ANYWHERE: Grounds = (
    (4, backgrounds.plain_wall), (1.5, backgrounds.landscape), (2, backgrounds.room),
    (1.5, backgrounds.patchwork), (1, backgrounds.thicket),
)  # fmt: skip
GROUNDS: dict[str, Grounds] = {
    "standing": ((3, backgrounds.landscape), (3, backgrounds.room)),
    "crowd": ((5, backgrounds.plain_wall), (0.5, backgrounds.patchwork), (0.5, backgrounds.thicket)),
}


def frame_at(dice: Dice, node: Node, x: float, y: float, size: float, turn: float, standing: bool) -> np.ndarray:
    """The map that puts ``node`` at (x, y) with its longer side about ``size`` (shares of the picture).

    standing: (x, y) is the middle of its lower edge; otherwise its centre. Some are mirrored, most stretched a little.
    """
    left, top, right, bottom = node.bounds()
    scale = size / max(right - left, bottom - top, 0.1)
    matrix = affine(0.0, 0.0, scale, turn, dice.log_uniform(0.8, 1.25))
    if dice.chance(0.5):
        matrix[:, 0] = -matrix[:, 0]
    anchor_x, anchor_y = (left + right) / 2, bottom if standing else (top + bottom) / 2
    matrix[:, 2] = (x, y) - (matrix[:, 0] * anchor_x + matrix[:, 1] * anchor_y)
    return matrix


class Layouts:
    """Ways to place objects; each method paints onto the background that it is given."""

    def __init__(self, dice: Dice, painter: Painter, background: Background) -> None:
        self.dice = dice
        self.painter = painter
        self.background = background
        self.shadow = dice.uniform(0.15, 0.6) if dice.chance(0.7) else 0.0

    def object(self, kinds: Kinds = KINDS) -> Node:
        """Something; now and then in the background's own material (camouflage)."""
        node = self.dice.weighted(kinds)(self.dice)
        if node.material is not None and self.dice.chance(0.12):
            node.material = similar(self.dice, self.background.material, 0.08)
            node.material.relief = self.dice.uniform(0.2, 1.0)
        return node

    def put(self, node: Node, x: float, y: float, size: float, turn: float, standing: bool = False) -> None:
        """Paint one object, now and then out of focus."""
        frame = frame_at(self.dice, node, x, y, size, turn, standing)
        soft = self.dice.uniform(0.002, 0.012) if self.dice.chance(0.08) else 0.0
        self.painter.draw(node, frame, self.shadow, soft)

    def turn(self) -> float:
        """Mostly upright, sometimes any angle."""
        return self.dice.signed(0.15) if self.dice.chance(0.65) else self.dice.uniform(0, 6.2832)

    def studio(self) -> None:
        """One to three large objects near the middle."""
        for _ in range(self.dice.weighted(((3, 1), (2, 2), (1, 3)))):
            x, y = 0.5 + self.dice.signed(0.15), 0.5 + self.dice.signed(0.12)
            self.put(self.object(), x, y, self.dice.uniform(0.35, 0.9), self.turn())

    def scatter(self) -> None:
        """Three to twenty-two objects of all sizes anywhere."""
        largest = self.dice.log_uniform(0.3, 0.85)
        for _ in range(self.dice.weighted(((2, 3), (3, 6), (2, 11), (1, 22)))):
            size = self.dice.log_uniform(0.25, 1.0) * largest
            self.put(self.object(), self.dice.random(), self.dice.random(), size, self.turn())

    def standing(self) -> None:
        """Objects on a ground, painted from far to near."""
        horizon = self.background.horizon
        far = 0.5 if horizon is None else horizon
        tall = self.dice.uniform(0.3, 0.8)
        feet = sorted(self.dice.uniform(far + 0.02, 1.02) for _ in range(self.dice.integer(1, 9)))
        for y in feet:
            near = (y - far + 0.1) / (1.1 - far)
            size = tall * near * self.dice.uniform(0.6, 1.4) + 0.04
            self.put(self.object(STANDING), self.dice.random(), y, size, self.dice.signed(0.04), True)

    def crowd(self) -> None:
        """Many small similar things, perhaps with something else among them."""
        soft = self.dice.uniform(0.002, 0.008) if self.dice.chance(0.25) else 0.0
        for node, frame in crowd(self.dice, self.background.material):
            self.painter.draw(node, frame, self.shadow, soft)
        if self.dice.chance(0.2):
            self.put(self.object(), self.dice.random(), self.dice.random(), self.dice.uniform(0.1, 0.4), self.turn())

    def heap(self) -> None:
        """Ten to twenty-five objects over one another."""
        x, y, spread = 0.5 + self.dice.signed(0.1), 0.5 + self.dice.signed(0.1), self.dice.uniform(0.12, 0.3)
        kinds: Kinds = KINDS if self.dice.chance(0.5) else ((1.0, self.dice.weighted(KINDS)),)
        for _ in range(self.dice.integer(10, 25)):
            size = self.dice.uniform(0.15, 0.45)
            self.put(self.object(kinds), x + self.dice.signed(spread), y + self.dice.signed(spread), size, self.turn())

    def close_up(self) -> None:
        """One object cut by the frame, a small one before it or beside it."""
        x, y = self.dice.uniform(0.2, 0.8), self.dice.uniform(0.2, 0.8)
        self.put(self.object(), x, y, self.dice.uniform(0.9, 2.0), self.turn())
        for _ in range(self.dice.integer(0, 2)):
            size = self.dice.uniform(0.1, 0.5)
            self.put(self.object(), self.dice.random(), self.dice.random(), size, self.turn())


def render(seed: int, size: int = 256) -> Scene:
    """The scene of ``seed`` as a picture of ``size`` × ``size`` pixels with its masks.

    The same seed gives the same scene at every size, and the same bytes at the same size on every machine.
    """
    dice = Dice(seed)
    light_x, light_y = dice.direction()
    canvas = Canvas(size, (light_x, -abs(light_y) if dice.chance(0.7) else light_y))  # mostly from above
    painter = Painter(canvas, dice)
    layout = dice.weighted(
        ((3, "studio"), (4, "scatter"), (3, "standing"), (2.5, "crowd"), (1.5, "heap"), (2, "close_up"))
    )
    background = dice.weighted(GROUNDS.get(layout, ANYWHERE))(dice, painter)
    if dice.chance(0.3):
        canvas.defocus(dice.uniform(0.003, 0.025))
    layouts = Layouts(dice, painter, background)
    getattr(layouts, layout)()
    if dice.chance(0.06):
        layouts.put(thin(dice), dice.random(), dice.random(), dice.uniform(0.6, 1.4), dice.uniform(0, 6.3))
    return Scene(photograph(dice, canvas.colour), painter.masks())
