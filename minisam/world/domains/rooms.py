"""Domains of rooms and tables: interior, kitchen, hands."""

from __future__ import annotations

from . import goods, living, made
from .bodies import cloth, figure, hand
from .dice import Dice
from .dishes import cutlery, pan, pizza, plate, sandwich
from .everyday import HELD, Makers
from .materials import colour, shifted, tone
from .objects import Node
from .shapes import box, path, superellipse
from .stage import Stage, View
from .surfaces import rounded, solid, surface


def _sofa(dice: Dice) -> Node:
    base = colour(dice) if dice.chance(0.5) else tone(dice, "earth")
    stuff = rounded(surface(dice, "cloth", base), 0.5, 0.2)
    node = Node("sofa", box(-1.0, -0.5, 1.0, 0.5, 0.12), stuff)
    count = dice.integer(1, 3)
    for i in range(count):
        x0, x1 = -0.8 + 1.6 * i / count, -0.8 + 1.6 * (i + 1) / count - 0.02
        node.on(
            "cushion",
            box(x0, 0.0, x1, 0.28, 0.08),
            rounded(surface(dice, "cloth", shifted(dice, base, 0.05, 0.01)), 0.8, 0.3),
        )
        node.on(
            "back",
            box(x0, -0.42, x1, 0.02, 0.08),
            rounded(surface(dice, "cloth", shifted(dice, base, 0.05, 0.01)), 0.6, 0.3),
        )
    for side in (-1, 1):
        node.attach("arm", box(min(side * 0.78, side * 1.08), -0.15, max(side * 0.78, side * 1.08), 0.5, 0.1), stuff)
    for _ in range(dice.integer(0, 3)):
        node.attach("pillow", superellipse(4.0).at(dice.uniform(-0.6, 0.6), -0.1, 0.22, dice.signed(0.3)), cloth(dice))
    return node


def _bed(dice: Dice) -> Node:
    node = Node(
        "bed", path((-1, -0.1), (0.8, -0.1), (1.1, 0.5), (-1.0, 0.5)), rounded(surface(dice, "cloth"), 0.5, 0.2)
    )
    node.attach("headboard", box(-1.12, -0.7, -0.95, 0.5, 0.04), surface(dice, "board"), True)
    node.on("blanket", path((-0.4, -0.3), (1.2, -0.3), (1.3, 0.7), (-0.25, 0.7)), cloth(dice))
    for i in range(dice.integer(1, 2)):
        node.attach(
            "pillow",
            superellipse(3.5).at(-0.7, -0.12 + 0.2 * i, 0.22, 0.1, 1.3),
            rounded(surface(dice, "cloth", tone(dice, "white")), 0.8),
        )
    return node


def _shelf(dice: Dice) -> Node:
    wood = tone(dice, dice.pick(("wood", "white", "dark")))
    node = Node("shelf", box(-0.7, -1.0, 0.7, 1.0), surface(dice, "board", wood))
    rows = dice.integer(2, 4)
    for j in range(rows):
        y0, y1 = -0.93 + 1.9 * j / rows, -0.93 + 1.9 * (j + 1) / rows - 0.06
        inside = node.on(
            "compartment", box(-0.63, y0, 0.63, y1), solid(dice, (wood[0] * 0.45, wood[1] * 0.45, wood[2] * 0.45), -0.3)
        )
        x = -0.6
        while x < 0.5:
            w, h = dice.uniform(0.05, 0.2), (y1 - y0) * dice.uniform(0.5, 0.95)
            if dice.chance(0.85):
                inside.on(
                    dice.pick(("book", "book", "box")), box(x, y1 - h, x + w, y1, 0.01), solid(dice, colour(dice), 0.4)
                )
            x += w + (0.0 if dice.chance(0.8) else 0.15)
    return node


FURNITURE: Makers = (
    (3, made.furniture),
    (2, _sofa),
    (1.5, _bed),
    (1.5, _shelf),
    (1.5, living.potted),
    (0.7, figure),
    (0.4, living.animal),
    (0.5, made.crate),
)


def interior(stage: Stage) -> None:
    """A room as a box in perspective: walls, floor, ceiling, windows, pictures, rug; furniture, plants, people."""
    dice = stage.dice
    view = View(dice, dice.uniform(1.2, 1.7))
    view.y = dice.uniform(-0.25, 0.15)
    wide, tall, deep, near = dice.uniform(1.6, 3.5), dice.uniform(2.4, 3.0), dice.uniform(3.5, 6.5), 0.7
    base = tone(dice, dice.pick(("white", "earth", "skin", "sky"))) if dice.chance(0.8) else colour(dice)
    kind = dice.weighted(((5, "plaster"), (1, "tiles"), (0.7, "weave"), (1, "planks")))
    for side, dim in ((-1.0, dice.uniform(0.7, 1.0)), (1.0, dice.uniform(0.7, 1.0))):
        x = side * wide
        wall = Node(
            "wall",
            view.quad((x, 0, near), (x, tall, near), (x, tall, deep), (x, 0, deep)),
            surface(dice, kind, (base[0] * dim, base[1] * dim, base[2] * dim)),
        )
        if dice.chance(0.5):
            z0, z1 = dice.uniform(1.5, 2.5), dice.uniform(2.6, deep)
            opening = wall.on(
                dice.pick(("window", "door", "picture")),
                view.quad((x, 0.9, z0), (x, 2.1, z0), (x, 2.1, z1), (x, 0.9, z1)),
                solid(dice, tone(dice, "white")),
            )
            opening.on(
                "pane",
                view.quad((x, 1.0, z0 + 0.1), (x, 2.0, z0 + 0.1), (x, 2.0, z1 - 0.1), (x, 1.0, z1 - 0.1)),
                surface(dice, dice.pick(("sky", "foliage"))),
            )
        stage.fill_node(wall)
    stage.fill(
        "ceiling",
        surface(dice, "plaster", tone(dice, "white")),
        view.quad((-wide, tall, near), (-wide, tall, deep), (wide, tall, deep), (wide, tall, near)),
    )
    stage.fill(
        "floor",
        dice.pick(("planks", "carpet", "tiles", "concrete")),
        view.quad((-wide, 0, near), (-wide, 0, deep), (wide, 0, deep), (wide, 0, near)),
        horizon=(view.y + 1) / 2,
    )
    stage.fill(
        "wall",
        surface(dice, kind, base),
        view.quad((-wide, 0, deep), (-wide, tall, deep), (wide, tall, deep), (wide, 0, deep)),
    )
    for _ in range(dice.integer(0, 3)):  # on the far wall
        x, y = view.point(dice.uniform(-wide * 0.8, wide * 0.8), dice.uniform(1.4, 1.9), deep)
        size = 0.5 * view.focal * dice.uniform(0.5, 1.4) / deep
        stage.put(
            dice.pick((made.screen, _window_of, goods.wheel))(dice), (x + 1) / 2, (y + 1) / 2, size, 0.0, shadow=0.3
        )
    if dice.chance(0.4):
        z, w = dice.uniform(1.8, 3.0), dice.uniform(0.5, 1.2)
        stage.fill("rug", cloth(dice), view.quad((-w, 0, z), (-w, 0, z + 1), (w, 0, z + 1), (w, 0, z)))
    stage.reach = 0.05
    places = sorted((dice.uniform(1.4, deep - 0.2) for _ in range(dice.integer(2, 7))), reverse=True)
    for z in places:
        node = dice.weighted(FURNITURE)(dice)
        size = {"sofa": 1.9, "bed": 2.0, "person": 1.7, "shelf": 1.8, "animal": 0.7, "box": 0.5}.get(node.name, 1.0)
        x, y = view.point(dice.uniform(-wide * 0.85, wide * 0.85), 0.0, z)
        stage.put(
            node,
            (x + 1) / 2,
            (y + 1) / 2,
            0.5 * view.focal * size / z * dice.uniform(0.85, 1.15),
            dice.signed(0.02),
            True,
        )
    if dice.chance(0.35):
        x, y = view.point(dice.signed(0.5), tall, dice.uniform(1.5, 3.0))
        lamp = Node(
            "lamp", path((-0.3, 0.2), (0.3, 0.2), (0.6, 0.8), (-0.6, 0.8)), solid(dice, tone(dice, "white"), 0.4)
        )
        lamp.attach("cord", box(-0.02, -1.5, 0.02, 0.2), solid(dice, tone(dice, "dark")), True)
        stage.put(lamp, (x + 1) / 2, (y + 1) / 2 + 0.08, 0.25, 0.0, shadow=0.0)


def _window_of(dice: Dice) -> Node:
    node = Node("window", box(-0.8, -1, 0.8, 1), solid(dice, tone(dice, "white"), 0.5))
    for side in (-1, 1):
        node.on(
            "pane",
            box(min(side * 0.05, side * 0.7), -0.9, max(side * 0.05, side * 0.7), 0.9),
            surface(dice, dice.pick(("sky", "foliage"))),
        )
        if dice.chance(0.4):
            node.attach(
                "curtain", box(min(side * 0.5, side * 1.1), -1.1, max(side * 0.5, side * 1.1), 1.3), cloth(dice)
            )
    return node


TABLE: Makers = (
    (4, plate),
    (1, pizza),
    (1, pan),
    (1.5, cutlery),
    (1.5, living.fruit),
    (1, goods.cup),
    (0.6, sandwich),
    (0.5, goods.tool),
)


COUNTER: Makers = (
    (3, goods.vessel),
    (2.5, goods.cup),
    (1.5, living.fruit),
    (1, sandwich),
    (1, made.crate),
    (1, made.screen),
    (0.7, living.potted),
    (0.5, goods.tool),
)


def kitchen(stage: Stage) -> None:
    """A laid table from above, or a worktop before a tiled wall: food, dishes, pans, bottles, a hand at work."""
    dice = stage.dice
    if dice.chance(0.6):
        stage.fill("table", surface(dice, dice.pick(("planks", "cloth", "weave", "board", "plaster", "metal"))))
        size = dice.log_uniform(0.25, 1.1)
        for x, y in stage.spread(int(min(14, 2 + 0.6 / (size * size))), size * dice.uniform(0.5, 0.95)):
            node = dice.weighted(TABLE)(dice)
            upright = node.name in ("cup", "sandwich")
            scale = size * {"fork": 0.7, "knife": 0.8, "spoon": 0.7, "fruit": 0.5, "cup": 0.5, "pan": 1.3}.get(
                node.name, 1.0
            )
            stage.put(
                node, x, y, scale * dice.uniform(0.85, 1.15), dice.signed(0.2) if upright else dice.uniform(0, 6.28)
            )
    else:
        edge = dice.uniform(0.35, 0.65)
        stage.fill("wall", dice.pick(("tiles", "plaster", "tiles", "planks")))
        for _ in range(dice.integer(0, 4)):
            x, w = dice.uniform(-1, 1), dice.uniform(0.2, 0.5)
            door = Node(
                "cupboard",
                box(x - w, -1.2, x + w, dice.uniform(-0.6, 2 * edge - 1.3)),
                surface(dice, "board", tone(dice, dice.pick(("white", "wood")))),
            )
            door.on("handle", box(x + 0.7 * w, -0.8, x + 0.78 * w, -0.6), solid(dice, tone(dice, "metal"), 0.8))
            stage.fill_node(door)
        stage.fill(
            "table",
            dice.pick(("board", "concrete", "planks", "metal")),
            box(-1.1, 2 * edge - 1, 1.1, 1.1),
            horizon=edge - 0.25,
        )
        stage.standing(COUNTER, dice.integer(3, 10), edge, (0.25, 0.6))
    for _ in range(dice.weighted(((2, 0), (1, 1), (1, 2)))):
        stage.put(hand(dice), dice.uniform(0.1, 0.9), dice.uniform(0.6, 1.0), dice.uniform(0.5, 1.0), dice.signed(0.4))


def hands(stage: Stage) -> None:
    """What someone sees who works: one or two hands from below, holding or touching a thing, a bench full of others."""
    dice = stage.dice
    stage.fill(
        "table", surface(dice, dice.pick(("planks", "cloth", "board", "concrete", "metal", "carpet", "grass", "soil")))
    )
    for _ in range(dice.integer(0, 7)):
        stage.put(
            dice.weighted(HELD)(dice), dice.random(), dice.uniform(0, 0.8), dice.uniform(0.12, 0.45), stage.turn()
        )
    if dice.chance(0.4):
        stage.canvas.defocus(dice.uniform(0.002, 0.012))
    for side in (-1, 1) if dice.chance(0.6) else (dice.pick((-1, 1)),):
        x, y = 0.5 + side * dice.uniform(0.05, 0.35), dice.uniform(0.45, 0.85)
        size, angle = dice.uniform(0.7, 1.3), -side * dice.uniform(0.0, 0.7)
        over = dice.chance(0.5)
        if dice.chance(0.75) and over:
            stage.put(
                dice.weighted(HELD)(dice),
                x + dice.signed(0.03),
                y - 0.35 * size + dice.signed(0.05),
                dice.uniform(0.25, 0.6),
                stage.turn(),
            )
        stage.put(hand(dice), x, y, size, angle)
        if dice.chance(0.6) and not over:
            stage.put(dice.weighted(HELD)(dice), x, y - 0.3 * size, dice.uniform(0.2, 0.45), stage.turn(), shadow=0.1)
