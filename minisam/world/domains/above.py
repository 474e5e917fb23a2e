"""Domains seen from above: parking, aerial, plants."""

from __future__ import annotations

import numpy as np

from minisam.world.domains.stage import Stage
from minisam.world.render.materials import Colour, shifted, tone
from minisam.world.render.objects import Node
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import (
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
from minisam.world.render.surfaces import rounded, solid, surface
from minisam.world.things.bodies import figure
from minisam.world.things.traffic import car_above, lorry_above, roof, tree_above


def _turned(angle: float, scale: float, x: float, y: float, squash: float = 1.0) -> np.ndarray:
    """Frame of a plan whose unit is ``scale`` of the image, turned; squash < 1: seen a little from the side."""
    matrix = affine(0.0, 0.0, scale, angle)
    matrix[1] *= squash
    cx, cy = mapped(matrix, x, y)
    matrix[:, 2] = cx + 0.5, cy + 0.5
    return matrix


def _inside(frame: np.ndarray, x: float, y: float, margin: float) -> bool:
    """Is (x, y) of the plan in the image, or at most ``margin`` outside of it?"""
    px, py = mapped(frame, x, y)
    return -margin < px < 1 + margin and -margin < py < 1 + margin


def parking(stage: Stage) -> None:
    """Rows of bays with cars, lanes with arrows, islands with trees, lamp posts' shadows; straight down or oblique."""
    rng = stage.rng
    stage.fill(
        "ground", surface(rng, rng.pick(("asphalt", "asphalt", "concrete", "gravel")), scale=rng.uniform(1.5, 3.0))
    )
    for _ in range(rng.integer(2, 8)):
        spot = blob(rng, 0.9).at(rng.uniform(-1, 1), rng.uniform(-1, 1), rng.log_uniform(0.05, 0.4))
        stage.stain(spot, tone(rng, "dark"), rng.uniform(0.1, 0.4), blurred=0.008)
    long = rng.log_uniform(0.1, 0.32)  # of a car
    angle, squash = rng.uniform(0, 6.2832), rng.uniform(0.55, 1.0)
    plan = _turned(angle, long, rng.uniform(-1, 1), rng.uniform(-1, 1), squash)
    reach = int(0.9 / long) + 2
    lean, line = rng.pick((0.0, 0.0, 0.3)), solid(rng, tone(rng, "white"), 0.0, 0.0, 0.2)
    line.opacity = rng.uniform(0.3, 0.9)
    full, wide = rng.uniform(0.25, 0.95), rng.uniform(0.52, 0.62)
    rows: list[float] = []
    y = -reach * 1.0
    while y < reach:
        rows += [y, y + 1.1]
        y += 1.1 + rng.uniform(2.0, 2.6)
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
            if rng.chance(full):
                places.append((x + wide / 2 + lean / 2, y, row))
        if marks:
            node = Node("marking", union(*marks), line, labelled=False, ghost=True)
            stage.painter.draw(node, plan)
    for _ in range(rng.integer(0, 3)):  # driving in the lanes
        places.append((rng.uniform(-reach, reach), rng.pick(rows) + 2.0, -1))
    for x, y, row in places[:70]:
        node = car_above(rng) if rng.chance(0.95) or row >= 0 else lorry_above(rng)
        a = (1.5708 if row < 0 else 0.0) + (3.1416 if rng.chance(0.5) else 0.0) + rng.signed(0.03) + lean * 0.9
        own = affine(x + rng.signed(0.03), y + rng.signed(0.04), 0.46 * rng.uniform(0.92, 1.08), a)
        stage.at(node, composed(plan, own), max(stage.shadow, 0.3), reach=0.1 * long)
    for _ in range(rng.weighted(((2, 0), (1, 3), (1, 7)))):
        x, y = rng.random(), rng.random()
        stage.put(tree_above(rng), x, y, long * rng.uniform(0.7, 2.0), rng.uniform(0, 6.28))
    for _ in range(rng.weighted(((2, 0), (1, 4)))):
        stage.put(figure(rng), rng.random(), rng.random(), long * 0.35, 0.0, True)


def aerial(stage: Stage) -> None:
    """Town and country from the air: roads, lots with roofs of all forms, gardens, trees, pools, cars, fields."""
    rng = stage.rng
    stage.fill("ground", surface(rng, rng.pick(("grass", "soil", "grass", "sand", "concrete")), scale=3.0))
    house = rng.log_uniform(0.06, 0.35)
    angle = rng.uniform(0, 6.2832)
    plan = _turned(angle, house, rng.uniform(-1, 1), rng.uniform(-1, 1))
    reach = int(1.0 / house) + 2
    for _ in range(rng.integer(0, 6)):  # fields, lawns, yards
        x, y = rng.uniform(-reach, reach), rng.uniform(-reach, reach)
        if _inside(plan, x, y, 0.2):
            w, h = rng.uniform(0.5, 2.5), rng.uniform(0.5, 2.5)
            kind = rng.pick(("grass", "soil", "foliage", "sand", "concrete"))
            stage.painter.draw(
                Node(
                    "field" if house < 0.15 else "yard",
                    box(x - w, y - h, x + w, y + h),
                    surface(rng, kind, scale=0.3 / house),
                ),
                plan,
            )
    if rng.chance(0.3):
        shore = shaggy(rng, 1.0, 0.03).at(rng.signed(0.6), rng.signed(0.6), rng.uniform(0.3, 0.8))
        stage.fill("water", surface(rng, "water", scale=2.0), shore)
    step = rng.uniform(1.7, 2.6)
    wide = rng.uniform(0.25, 0.5)
    roads = []
    for y in np.arange(-reach, reach, step * 2).tolist():
        if rng.chance(0.8):
            roads.append(box(-2.0 * reach, y - wide, 2.0 * reach, y + wide))
    if rng.chance(0.6):
        x = rng.uniform(-1, 1)
        roads.append(box(x - wide, -2.0 * reach, x + wide, 2.0 * reach))
    if rng.chance(0.2):
        roads = [curve(rng, -reach, 0, rng.signed(0.4), 2.2 * reach, wide, wide, rng.signed(1.0))]
    if roads:
        stage.painter.draw(
            Node("road", union(*roads), surface(rng, rng.pick(("asphalt", "concrete")), scale=3.0)), plan
        )
    houses = 0
    for y in np.arange(-reach + 0.5 * step, reach, step).tolist():
        for x in np.arange(-reach, reach, rng.uniform(1.7, 2.5)).tolist():
            if not _inside(plan, x, y, house) or not rng.chance(0.8) or houses > 45:
                continue
            houses += 1
            own = affine(
                x + rng.signed(0.15),
                y + rng.signed(0.15),
                rng.uniform(0.45, 0.75),
                rng.pick((0.0, 1.5708)) + rng.signed(0.05),
                rng.uniform(0.8, 1.4),
            )
            stage.at(roof(rng), composed(plan, own), max(stage.shadow, 0.25), reach=0.12 * house)
            if rng.chance(0.15):
                pool = Node("pool", superellipse(4.0).at(0, 0, 0.25, 0, 1.5), solid(rng, (0.3, 0.65, 0.75), 0.2))
                stage.put(pool, *mapped(plan, x + 0.9, y + 0.4), house * 0.4, angle, shadow=0.1)
    for _ in range(rng.integer(0, 25)):
        stage.put(tree_above(rng), rng.random(), rng.random(), house * rng.log_uniform(0.25, 1.0), rng.uniform(0, 6.28))
    for _ in range(rng.integer(0, 8)):
        stage.put(car_above(rng), rng.random(), rng.random(), house * 0.35, angle + rng.pick((0.0, 1.5708)))


def _rosette(rng: Rng, base: Colour) -> Node:
    """A young plant from above: leaves on stalks around a middle, older ones outside and below."""
    node = Node("plant", None)
    count = rng.integer(4, 14)
    width, long_stalk = rng.uniform(0.18, 0.5), rng.uniform(0.05, 0.4)
    shape = leaf(rng, width, 24)
    turn = rng.uniform(0, 6.28)
    for i in range(count):
        size = (1.0 - 0.6 * i / count) * rng.uniform(0.75, 1.1)
        angle = turn + 2.39996 * i + rng.signed(0.12)  # the golden angle
        tint = shifted(rng, base, 0.06, 0.02)
        material = rounded(surface(rng, "cloth", tint, 0.5), rng.uniform(0.2, 0.9), 0.3, 0.1)
        blade = shape.at(long_stalk, 0, 1.0 - long_stalk).at(0, 0, size, angle)
        green = node.attach("leaf", blade, material)
        stalk = capsule(0, 0, (long_stalk + 0.1), 0, 0.035, 0.03, 8).at(0, 0, size, angle)
        green.attach("stalk", stalk, solid(rng, shifted(rng, tint, 0.08, 0.02)), True)
        if rng.chance(0.6):
            vein = capsule(long_stalk, 0, 0.95, 0, 0.02, 0.008, 8).at(0, 0, size, angle)
            rib = green.on("vein", vein, solid(rng, shifted(rng, tint, 0.1, 0.03), 0.0))
            rib.ghost, rib.labelled = True, False
    return node


def plants(stage: Stage) -> None:
    """Seedlings and rosettes in pots, trays or beds, from above: leaves of one green that hide each other."""
    rng = stage.rng
    stage.fill("soil", surface(rng, rng.pick(("soil", "soil", "gravel", "cloth")), scale=rng.uniform(1.0, 2.5)))
    base = tone(rng, "leaf")
    if rng.chance(0.35):
        for _ in range(rng.integer(10, 40)):  # moss and crumbs
            stage.stain(
                blob(rng, 1.0, 20).at(rng.uniform(-1, 1), rng.uniform(-1, 1), rng.log_uniform(0.01, 0.08)),
                tone(rng, "leaf"),
                0.6,
            )
    size = rng.log_uniform(0.3, 1.5)
    side = max(1, int(1.0 / size))
    tray = rng.chance(0.4)
    for j in range(side):
        for i in range(side):
            x, y = (i + 0.5) / side + rng.signed(0.2 / side), (j + 0.5) / side + rng.signed(0.2 / side)
            if tray:
                pot = Node(
                    "pot",
                    superellipse(rng.pick((2.0, 6.0))),
                    solid(rng, tone(rng, rng.pick(("dark", "earth", "white"))), 0.6),
                )
                pot.on("soil", pot.shape.at(0, 0, 0.86) if pot.shape else ellipse(), surface(rng, "soil", scale=0.5))
                stage.put(pot, x, y, 0.9 / side, 0.0)
            if rng.chance(0.92):
                stage.put(
                    _rosette(rng, base), x, y, min(size, 1.3 / side) * rng.uniform(0.75, 1.2), rng.uniform(0, 6.28)
                )
    for _ in range(rng.weighted(((3, 0), (1, 3)))):
        stage.put(_rosette(rng, tone(rng, "leaf")), rng.random(), rng.random(), 0.2 * size, 0.0)
