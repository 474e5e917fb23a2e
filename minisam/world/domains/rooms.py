"""Domains of rooms and tables: interior, kitchen, hands."""

from __future__ import annotations

from minisam.world.domains.everyday import HELD
from minisam.world.domains.stage import Makers, Stage, View
from minisam.world.render.materials import colour, shifted, tone
from minisam.world.render.objects import Node
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import box, path, superellipse
from minisam.world.render.surfaces import rounded, solid, surface
from minisam.world.things.bodies import cloth, figure, hand
from minisam.world.things.creatures import animal, fruit, potted
from minisam.world.things.dishes import cutlery, pan, pizza, plate, sandwich
from minisam.world.things.large_objects import crate, furniture, screen
from minisam.world.things.small_objects import cup, tool, vessel, wheel


def _sofa(rng: Rng) -> Node:
    """A sofa from the front: cushions, backs, arms, pillows."""
    base = colour(rng) if rng.chance(0.5) else tone(rng, "earth")
    material = rounded(surface(rng, "cloth", base), 0.5, 0.2)
    node = Node("sofa", box(-1.0, -0.5, 1.0, 0.5, 0.12), material)
    count = rng.integer(1, 3)
    for i in range(count):
        x0, x1 = -0.8 + 1.6 * i / count, -0.8 + 1.6 * (i + 1) / count - 0.02
        node.on(
            "cushion",
            box(x0, 0.0, x1, 0.28, 0.08),
            rounded(surface(rng, "cloth", shifted(rng, base, 0.05, 0.01)), 0.8, 0.3),
        )
        node.on(
            "back",
            box(x0, -0.42, x1, 0.02, 0.08),
            rounded(surface(rng, "cloth", shifted(rng, base, 0.05, 0.01)), 0.6, 0.3),
        )
    for side in (-1, 1):
        node.attach("arm", box(min(side * 0.78, side * 1.08), -0.15, max(side * 0.78, side * 1.08), 0.5, 0.1), material)
    for _ in range(rng.integer(0, 3)):
        node.attach("pillow", superellipse(4.0).at(rng.uniform(-0.6, 0.6), -0.1, 0.22, rng.signed(0.3)), cloth(rng))
    return node


def _bed(rng: Rng) -> Node:
    """A bed from the side: headboard, blanket, pillows."""
    node = Node("bed", path((-1, -0.1), (0.8, -0.1), (1.1, 0.5), (-1.0, 0.5)), rounded(surface(rng, "cloth"), 0.5, 0.2))
    node.attach("headboard", box(-1.12, -0.7, -0.95, 0.5, 0.04), surface(rng, "board"), True)
    node.on("blanket", path((-0.4, -0.3), (1.2, -0.3), (1.3, 0.7), (-0.25, 0.7)), cloth(rng))
    for i in range(rng.integer(1, 2)):
        node.attach(
            "pillow",
            superellipse(3.5).at(-0.7, -0.12 + 0.2 * i, 0.22, 0.1, 1.3),
            rounded(surface(rng, "cloth", tone(rng, "white")), 0.8),
        )
    return node


def _shelf(rng: Rng) -> Node:
    """A shelf with compartments of books and boxes."""
    wood = tone(rng, rng.pick(("wood", "white", "dark")))
    node = Node("shelf", box(-0.7, -1.0, 0.7, 1.0), surface(rng, "board", wood))
    rows = rng.integer(2, 4)
    for j in range(rows):
        y0, y1 = -0.93 + 1.9 * j / rows, -0.93 + 1.9 * (j + 1) / rows - 0.06
        inside = node.on(
            "compartment", box(-0.63, y0, 0.63, y1), solid(rng, (wood[0] * 0.45, wood[1] * 0.45, wood[2] * 0.45), -0.3)
        )
        x = -0.6
        while x < 0.5:
            w, h = rng.uniform(0.05, 0.2), (y1 - y0) * rng.uniform(0.5, 0.95)
            if rng.chance(0.85):
                inside.on(
                    rng.pick(("book", "book", "box")), box(x, y1 - h, x + w, y1, 0.01), solid(rng, colour(rng), 0.4)
                )
            x += w + (0.0 if rng.chance(0.8) else 0.15)
    return node


FURNITURE: Makers = (
    (3, furniture), (2, _sofa), (1.5, _bed), (1.5, _shelf), (1.5, potted), (0.7, figure), (0.4, animal),
    (0.5, crate),
)  # fmt: skip


def interior(stage: Stage) -> None:
    """A room as a box in perspective: walls, floor, ceiling, windows, pictures, rug; furniture, plants, people."""
    rng = stage.rng
    view = View(rng, rng.uniform(1.2, 1.7))
    view.y = rng.uniform(-0.25, 0.15)
    wide, tall, deep, near = rng.uniform(1.6, 3.5), rng.uniform(2.4, 3.0), rng.uniform(3.5, 6.5), 0.7
    base = tone(rng, rng.pick(("white", "earth", "skin", "sky"))) if rng.chance(0.8) else colour(rng)
    kind = rng.weighted(((5, "plaster"), (1, "tiles"), (0.7, "weave"), (1, "planks")))
    for side, dim in ((-1.0, rng.uniform(0.7, 1.0)), (1.0, rng.uniform(0.7, 1.0))):
        x = side * wide
        wall = Node(
            "wall",
            view.quad((x, 0, near), (x, tall, near), (x, tall, deep), (x, 0, deep)),
            surface(rng, kind, (base[0] * dim, base[1] * dim, base[2] * dim)),
        )
        if rng.chance(0.5):
            z0, z1 = rng.uniform(1.5, 2.5), rng.uniform(2.6, deep)
            opening = wall.on(
                rng.pick(("window", "door", "picture")),
                view.quad((x, 0.9, z0), (x, 2.1, z0), (x, 2.1, z1), (x, 0.9, z1)),
                solid(rng, tone(rng, "white")),
            )
            opening.on(
                "pane",
                view.quad((x, 1.0, z0 + 0.1), (x, 2.0, z0 + 0.1), (x, 2.0, z1 - 0.1), (x, 1.0, z1 - 0.1)),
                surface(rng, rng.pick(("sky", "foliage"))),
            )
        stage.fill_node(wall)
    stage.fill(
        "ceiling",
        surface(rng, "plaster", tone(rng, "white")),
        view.quad((-wide, tall, near), (-wide, tall, deep), (wide, tall, deep), (wide, tall, near)),
    )
    stage.fill(
        "floor",
        rng.pick(("planks", "carpet", "tiles", "concrete")),
        view.quad((-wide, 0, near), (-wide, 0, deep), (wide, 0, deep), (wide, 0, near)),
        horizon=(view.y + 1) / 2,
    )
    stage.fill(
        "wall",
        surface(rng, kind, base),
        view.quad((-wide, 0, deep), (-wide, tall, deep), (wide, tall, deep), (wide, 0, deep)),
    )
    for _ in range(rng.integer(0, 3)):  # on the far wall
        x, y = view.point(rng.uniform(-wide * 0.8, wide * 0.8), rng.uniform(1.4, 1.9), deep)
        size = 0.5 * view.focal * rng.uniform(0.5, 1.4) / deep
        stage.put(
            rng.pick((screen, _window_with_curtains, wheel))(rng), (x + 1) / 2, (y + 1) / 2, size, 0.0, shadow=0.3
        )
    if rng.chance(0.4):
        z, w = rng.uniform(1.8, 3.0), rng.uniform(0.5, 1.2)
        stage.fill("rug", cloth(rng), view.quad((-w, 0, z), (-w, 0, z + 1), (w, 0, z + 1), (w, 0, z)))
    stage.reach = 0.05
    depths = sorted((rng.uniform(1.4, deep - 0.2) for _ in range(rng.integer(2, 7))), reverse=True)
    for z in depths:
        node = rng.weighted(FURNITURE)(rng)
        size = {"sofa": 1.9, "bed": 2.0, "person": 1.7, "shelf": 1.8, "animal": 0.7, "box": 0.5}.get(node.name, 1.0)
        x, y = view.point(rng.uniform(-wide * 0.85, wide * 0.85), 0.0, z)
        stage.put(
            node,
            (x + 1) / 2,
            (y + 1) / 2,
            0.5 * view.focal * size / z * rng.uniform(0.85, 1.15),
            rng.signed(0.02),
            True,
        )
    if rng.chance(0.35):
        x, y = view.point(rng.signed(0.5), tall, rng.uniform(1.5, 3.0))
        lamp = Node("lamp", path((-0.3, 0.2), (0.3, 0.2), (0.6, 0.8), (-0.6, 0.8)), solid(rng, tone(rng, "white"), 0.4))
        lamp.attach("cord", box(-0.02, -1.5, 0.02, 0.2), solid(rng, tone(rng, "dark")), True)
        stage.put(lamp, (x + 1) / 2, (y + 1) / 2 + 0.08, 0.25, 0.0, shadow=0.0)


def _window_with_curtains(rng: Rng) -> Node:
    """A window seen from inside: two panes, perhaps curtains."""
    node = Node("window", box(-0.8, -1, 0.8, 1), solid(rng, tone(rng, "white"), 0.5))
    for side in (-1, 1):
        node.on(
            "pane",
            box(min(side * 0.05, side * 0.7), -0.9, max(side * 0.05, side * 0.7), 0.9),
            surface(rng, rng.pick(("sky", "foliage"))),
        )
        if rng.chance(0.4):
            node.attach("curtain", box(min(side * 0.5, side * 1.1), -1.1, max(side * 0.5, side * 1.1), 1.3), cloth(rng))
    return node


TABLE: Makers = ((4, plate), (1, pizza), (1, pan), (1.5, cutlery), (1.5, fruit), (1, cup), (0.6, sandwich), (0.5, tool))
COUNTER: Makers = (
    (3, vessel), (2.5, cup), (1.5, fruit), (1, sandwich), (1, crate), (1, screen), (0.7, potted), (0.5, tool),
)  # fmt: skip


def kitchen(stage: Stage) -> None:
    """A laid table from above, or a worktop before a tiled wall: food, dishes, pans, bottles, a hand at work."""
    rng = stage.rng
    if rng.chance(0.6):
        stage.fill("table", surface(rng, rng.pick(("planks", "cloth", "weave", "board", "plaster", "metal"))))
        size = rng.log_uniform(0.25, 1.1)
        for x, y in stage.spread(int(min(14, 2 + 0.6 / (size * size))), size * rng.uniform(0.5, 0.95)):
            node = rng.weighted(TABLE)(rng)
            upright = node.name in ("cup", "sandwich")
            scale = size * {"fork": 0.7, "knife": 0.8, "spoon": 0.7, "fruit": 0.5, "cup": 0.5, "pan": 1.3}.get(
                node.name, 1.0
            )
            stage.put(node, x, y, scale * rng.uniform(0.85, 1.15), rng.signed(0.2) if upright else rng.uniform(0, 6.28))
    else:
        edge = rng.uniform(0.35, 0.65)
        stage.fill("wall", rng.pick(("tiles", "plaster", "tiles", "planks")))
        for _ in range(rng.integer(0, 4)):
            x, w = rng.uniform(-1, 1), rng.uniform(0.2, 0.5)
            door = Node(
                "cupboard",
                box(x - w, -1.2, x + w, rng.uniform(-0.6, 2 * edge - 1.3)),
                surface(rng, "board", tone(rng, rng.pick(("white", "wood")))),
            )
            door.on("handle", box(x + 0.7 * w, -0.8, x + 0.78 * w, -0.6), solid(rng, tone(rng, "metal"), 0.8))
            stage.fill_node(door)
        stage.fill(
            "table",
            rng.pick(("board", "concrete", "planks", "metal")),
            box(-1.1, 2 * edge - 1, 1.1, 1.1),
            horizon=edge - 0.25,
        )
        stage.standing(COUNTER, rng.integer(3, 10), edge, (0.25, 0.6))
    for _ in range(rng.weighted(((2, 0), (1, 1), (1, 2)))):
        stage.put(hand(rng), rng.uniform(0.1, 0.9), rng.uniform(0.6, 1.0), rng.uniform(0.5, 1.0), rng.signed(0.4))


def hands(stage: Stage) -> None:
    """What someone sees who works: one or two hands from below, holding or touching a thing, a bench full of others."""
    rng = stage.rng
    stage.fill(
        "table", surface(rng, rng.pick(("planks", "cloth", "board", "concrete", "metal", "carpet", "grass", "soil")))
    )
    for _ in range(rng.integer(0, 7)):
        stage.put(rng.weighted(HELD)(rng), rng.random(), rng.uniform(0, 0.8), rng.uniform(0.12, 0.45), stage.turn())
    if rng.chance(0.4):
        stage.canvas.defocus(rng.uniform(0.002, 0.012))
    for side in (-1, 1) if rng.chance(0.6) else (rng.pick((-1, 1)),):
        x, y = 0.5 + side * rng.uniform(0.05, 0.35), rng.uniform(0.45, 0.85)
        size, angle = rng.uniform(0.7, 1.3), -side * rng.uniform(0.0, 0.7)
        over = rng.chance(0.5)
        if rng.chance(0.75) and over:
            stage.put(
                rng.weighted(HELD)(rng),
                x + rng.signed(0.03),
                y - 0.35 * size + rng.signed(0.05),
                rng.uniform(0.25, 0.6),
                stage.turn(),
            )
        stage.put(hand(rng), x, y, size, angle)
        if rng.chance(0.6) and not over:
            stage.put(rng.weighted(HELD)(rng), x, y - 0.3 * size, rng.uniform(0.2, 0.45), stage.turn(), shadow=0.1)
