"""Domains seen from above: parking, aerial, plants."""

from __future__ import annotations

import numpy as np

from .bodies import figure
from .dice import Dice
from .materials import Colour, shifted, tone
from .objects import Node
from .shapes import (
    affine,
    blob,
    box,
    capsule,
    composed,
    curve,
    ellipse,
    leaf,
    mapped,
    path,
    shaggy,
    superellipse,
    union,
)
from .stage import Stage
from .surfaces import rounded, solid, surface
from .traffic import car_above, lorry_above, roof, tree_above


def _turned(angle: float, scale: float, x: float, y: float, squash: float = 1.0) -> np.ndarray:
    """Frame of a plan whose unit is ``scale`` of the picture, turned, seen a little from the side."""
    matrix = affine(0.0, 0.0, scale, angle)
    matrix[1] *= squash
    cx, cy = mapped(matrix, x, y)
    matrix[:, 2] = cx + 0.5, cy + 0.5
    return matrix


def _inside(frame: np.ndarray, x: float, y: float, margin: float) -> bool:
    px, py = mapped(frame, x, y)
    return -margin < px < 1 + margin and -margin < py < 1 + margin


def parking(stage: Stage) -> None:
    """Rows of bays with cars, lanes with arrows, islands with trees, lamp posts' shadows; straight down or oblique."""
    dice = stage.dice
    stage.fill(
        "ground", surface(dice, dice.pick(("asphalt", "asphalt", "concrete", "gravel")), scale=dice.uniform(1.5, 3.0))
    )
    for _ in range(dice.integer(2, 8)):
        spot = blob(dice, 0.9).at(dice.uniform(-1, 1), dice.uniform(-1, 1), dice.log_uniform(0.05, 0.4))
        stage.stain(spot, tone(dice, "dark"), dice.uniform(0.1, 0.4), blurred=0.008)
    long = dice.log_uniform(0.1, 0.32)  # of a car
    angle, squash = dice.uniform(0, 6.2832), dice.uniform(0.55, 1.0)
    plan = _turned(angle, long, dice.uniform(-1, 1), dice.uniform(-1, 1), squash)
    reach = int(0.9 / long) + 2
    lean, line = dice.pick((0.0, 0.0, 0.3)), solid(dice, tone(dice, "white"), 0.0, 0.0, 0.2)
    line.opacity = dice.uniform(0.3, 0.9)
    full, wide = dice.uniform(0.25, 0.95), dice.uniform(0.52, 0.62)
    rows: list[float] = []
    y = -reach * 1.0
    while y < reach:
        rows += [y, y + 1.1]
        y += 1.1 + dice.uniform(2.0, 2.6)
    places = []
    for row, y in enumerate(rows):
        marks = []
        for i in range(-2 * reach, 2 * reach):
            x = i * wide
            if not _inside(plan, x, y, long):
                continue
            marks.append(
                path(
                    (x - 0.02, y - 0.55), (x + 0.02, y - 0.55), (x + 0.02 + lean, y + 0.55), (x - 0.02 + lean, y + 0.55)
                )
            )
            if dice.chance(full):
                places.append((x + wide / 2 + lean / 2, y, row))
        if marks:
            node = Node("marking", union(*marks), line, labelled=False, ghost=True)
            stage.painter.draw(node, plan)
    for _ in range(dice.integer(0, 3)):  # driving in the lanes
        places.append((dice.uniform(-reach, reach), dice.pick(rows) + 2.0, -1))
    for x, y, row in places[:70]:
        node = car_above(dice) if dice.chance(0.95) or row >= 0 else lorry_above(dice)
        a = (1.5708 if row < 0 else 0.0) + (3.1416 if dice.chance(0.5) else 0.0) + dice.signed(0.03) + lean * 0.9
        own = affine(x + dice.signed(0.03), y + dice.signed(0.04), 0.46 * dice.uniform(0.92, 1.08), a)
        stage.at(node, composed(plan, own), max(stage.shadow, 0.3), reach=0.1 * long)
    for _ in range(dice.weighted(((2, 0), (1, 3), (1, 7)))):
        x, y = dice.random(), dice.random()
        stage.put(tree_above(dice), x, y, long * dice.uniform(0.7, 2.0), dice.uniform(0, 6.28))
    for _ in range(dice.weighted(((2, 0), (1, 4)))):
        stage.put(figure(dice), dice.random(), dice.random(), long * 0.35, 0.0, True)


def aerial(stage: Stage) -> None:
    """Town and country from the air: roads, lots with roofs of all forms, gardens, trees, pools, cars, fields."""
    dice = stage.dice
    stage.fill("ground", surface(dice, dice.pick(("grass", "soil", "grass", "sand", "concrete")), scale=3.0))
    house = dice.log_uniform(0.06, 0.35)
    angle = dice.uniform(0, 6.2832)
    plan = _turned(angle, house, dice.uniform(-1, 1), dice.uniform(-1, 1))
    reach = int(1.0 / house) + 2
    for _ in range(dice.integer(0, 6)):  # fields, lawns, yards
        x, y = dice.uniform(-reach, reach), dice.uniform(-reach, reach)
        if _inside(plan, x, y, 0.2):
            w, h = dice.uniform(0.5, 2.5), dice.uniform(0.5, 2.5)
            kind = dice.pick(("grass", "soil", "foliage", "sand", "concrete"))
            stage.painter.draw(
                Node(
                    "field" if house < 0.15 else "yard",
                    box(x - w, y - h, x + w, y + h),
                    surface(dice, kind, scale=0.3 / house),
                ),
                plan,
            )
    if dice.chance(0.3):
        shore = shaggy(dice, 1.0, 0.03).at(dice.signed(0.6), dice.signed(0.6), dice.uniform(0.3, 0.8))
        stage.fill("water", surface(dice, "water", scale=2.0), shore)
    step = dice.uniform(1.7, 2.6)
    wide = dice.uniform(0.25, 0.5)
    roads = []
    for y in np.arange(-reach, reach, step * 2).tolist():
        if dice.chance(0.8):
            roads.append(box(-2.0 * reach, y - wide, 2.0 * reach, y + wide))
    if dice.chance(0.6):
        x = dice.uniform(-1, 1)
        roads.append(box(x - wide, -2.0 * reach, x + wide, 2.0 * reach))
    if dice.chance(0.2):
        roads = [curve(dice, -reach, 0, dice.signed(0.4), 2.2 * reach, wide, wide, dice.signed(1.0))]
    if roads:
        stage.painter.draw(
            Node("road", union(*roads), surface(dice, dice.pick(("asphalt", "concrete")), scale=3.0)), plan
        )
    made = 0
    for y in np.arange(-reach + 0.5 * step, reach, step).tolist():
        for x in np.arange(-reach, reach, dice.uniform(1.7, 2.5)).tolist():
            if not _inside(plan, x, y, house) or not dice.chance(0.8) or made > 45:
                continue
            made += 1
            own = affine(
                x + dice.signed(0.15),
                y + dice.signed(0.15),
                dice.uniform(0.45, 0.75),
                dice.pick((0.0, 1.5708)) + dice.signed(0.05),
                dice.uniform(0.8, 1.4),
            )
            stage.at(roof(dice), composed(plan, own), max(stage.shadow, 0.25), reach=0.12 * house)
            if dice.chance(0.15):
                pool = Node("pool", superellipse(4.0).at(0, 0, 0.25, 0, 1.5), solid(dice, (0.3, 0.65, 0.75), 0.2))
                stage.put(pool, *mapped(plan, x + 0.9, y + 0.4), house * 0.4, angle, shadow=0.1)
    for _ in range(dice.integer(0, 25)):
        stage.put(
            tree_above(dice), dice.random(), dice.random(), house * dice.log_uniform(0.25, 1.0), dice.uniform(0, 6.28)
        )
    for _ in range(dice.integer(0, 8)):
        stage.put(car_above(dice), dice.random(), dice.random(), house * 0.35, angle + dice.pick((0.0, 1.5708)))


def _rosette(dice: Dice, base: Colour) -> Node:
    """A young plant from above: leaves on stalks around a middle, older ones outside and below."""
    node = Node("plant", None)
    count = dice.integer(4, 14)
    width, long_stalk = dice.uniform(0.18, 0.5), dice.uniform(0.05, 0.4)
    shape = leaf(dice, width, 24)
    turn = dice.uniform(0, 6.28)
    for i in range(count):
        size = (1.0 - 0.6 * i / count) * dice.uniform(0.75, 1.1)
        angle = turn + 2.39996 * i + dice.signed(0.12)  # the golden angle
        tint = shifted(dice, base, 0.06, 0.02)
        stuff = rounded(surface(dice, "cloth", tint, 0.5), dice.uniform(0.2, 0.9), 0.3, 0.1)
        blade = shape.at(long_stalk, 0, 1.0 - long_stalk).at(0, 0, size, angle)
        green = node.attach("leaf", blade, stuff)
        stalk = capsule(0, 0, (long_stalk + 0.1), 0, 0.035, 0.03, 8).at(0, 0, size, angle)
        green.attach("stalk", stalk, solid(dice, shifted(dice, tint, 0.08, 0.02)), True)
        if dice.chance(0.6):
            vein = capsule(long_stalk, 0, 0.95, 0, 0.02, 0.008, 8).at(0, 0, size, angle)
            rib = green.on("vein", vein, solid(dice, shifted(dice, tint, 0.1, 0.03), 0.0))
            rib.ghost, rib.labelled = True, False
    return node


def plants(stage: Stage) -> None:
    """Seedlings and rosettes in pots, trays or beds, from above: leaves of one green that hide each other."""
    dice = stage.dice
    stage.fill("soil", surface(dice, dice.pick(("soil", "soil", "gravel", "cloth")), scale=dice.uniform(1.0, 2.5)))
    base = tone(dice, "leaf")
    if dice.chance(0.35):
        for _ in range(dice.integer(10, 40)):  # moss and crumbs
            stage.stain(
                blob(dice, 1.0, 20).at(dice.uniform(-1, 1), dice.uniform(-1, 1), dice.log_uniform(0.01, 0.08)),
                tone(dice, "leaf"),
                0.6,
            )
    size = dice.log_uniform(0.3, 1.5)
    side = max(1, int(1.0 / size))
    tray = dice.chance(0.4)
    for j in range(side):
        for i in range(side):
            x, y = (i + 0.5) / side + dice.signed(0.2 / side), (j + 0.5) / side + dice.signed(0.2 / side)
            if tray:
                pot = Node(
                    "pot",
                    superellipse(dice.pick((2.0, 6.0))),
                    solid(dice, tone(dice, dice.pick(("dark", "earth", "white"))), 0.6),
                )
                pot.on("soil", pot.shape.at(0, 0, 0.86) if pot.shape else ellipse(), surface(dice, "soil", scale=0.5))
                stage.put(pot, x, y, 0.9 / side, 0.0)
            if dice.chance(0.92):
                stage.put(
                    _rosette(dice, base), x, y, min(size, 1.3 / side) * dice.uniform(0.75, 1.2), dice.uniform(0, 6.28)
                )
    for _ in range(dice.weighted(((3, 0), (1, 3)))):
        stage.put(_rosette(dice, tone(dice, "leaf")), dice.random(), dice.random(), 0.2 * size, 0.0)
