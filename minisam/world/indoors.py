"""Domains of rooms, tables and paper: interior, kitchen, hands, people, documents, painting, everyday, crowd."""

from __future__ import annotations

from . import backgrounds, goods, living, made
from .bodies import cloth, figure, hand, portrait
from .crowds import crowd as crowd_of
from .dice import Dice
from .dishes import cutlery, pan, pizza, plate, sandwich
from .lens import bend
from .materials import Colour, colour, random_material, shifted, tone
from .objects import Node, abstract, thin
from .shapes import blob, box, capsule, leaf, path, polygon, superellipse, union
from .stage import Maker, Stage, View
from .surfaces import rounded, solid, surface
from .traffic import bicycle

Makers = tuple[tuple[float, Maker], ...]
ANYTHING: Makers = (
    (5, abstract), (1, thin), (2, living.animal), (0.7, living.fish), (1.2, living.bird), (0.7, living.insect),
    (1, living.face), (2, figure), (1, portrait), (1.2, living.flower), (1.2, living.tree), (0.8, living.plant_leaf),
    (1.2, living.fruit), (1, made.house), (1.5, made.vehicle), (1.5, goods.vessel), (1.5, goods.cup), (1.2, made.crate),
    (1, made.books), (1.2, made.screen), (0.8, goods.sign), (1.5, made.furniture), (1, goods.tool), (0.8, goods.wheel),
    (1, goods.garment), (0.8, goods.rope), (1, plate), (0.7, bicycle), (0.5, sandwich),
)  # fmt: skip
FLYING = (living.fish, living.insect, living.plant_leaf, goods.tool)
STANDING: Makers = tuple(pair for pair in ANYTHING if pair[1] not in FLYING)


def everyday(stage: Stage) -> None:
    """Anything anywhere: a few large things, a scatter, a heap, things standing on a ground, one cut by the frame."""
    dice = stage.dice
    layout = dice.weighted(((3, "studio"), (3, "scatter"), (3, "standing"), (1.5, "heap"), (2, "close-up")))
    if layout == "standing":
        stage.use(dice.pick((backgrounds.landscape, backgrounds.room)))
    elif dice.chance(0.5):
        kind = dice.pick(("grass", "soil", "planks", "carpet", "cloth", "concrete", "plaster", "tiles", "sand", "foliage", "weave"))
        stage.fill("background", surface(dice, kind, scale=dice.log_uniform(0.5, 2.0)))
    else:
        stage.use(dice.weighted(((3, backgrounds.plain_wall), (2, backgrounds.room), (1, backgrounds.landscape), (1.5, backgrounds.patchwork), (1, backgrounds.thicket))))
    if dice.chance(0.35):
        stage.canvas.defocus(dice.uniform(0.003, 0.025))
    if layout == "standing":
        far = 0.5 if stage.horizon is None else stage.horizon
        stage.standing(STANDING, dice.integer(1, 8), far, (0.3, 0.9))
        return
    counts = {"studio": dice.integer(1, 3), "scatter": dice.weighted(((2, 4), (3, 7), (1, 16))), "heap": dice.integer(8, 18), "close-up": dice.integer(1, 3)}
    kinds: Makers = ANYTHING if dice.chance(0.85) else ((1.0, dice.weighted(ANYTHING)),)
    cx, cy = 0.5 + dice.signed(0.1), 0.5 + dice.signed(0.1)
    for i in range(counts[layout]):
        node = dice.weighted(kinds)(dice)
        if dice.chance(0.1):
            stage.camouflaged(node, 0.08)
        soft = dice.uniform(0.002, 0.01) if dice.chance(0.08) else 0.0
        if layout == "studio":
            stage.put(node, 0.5 + dice.signed(0.16), 0.5 + dice.signed(0.13), dice.uniform(0.35, 0.95), stage.turn(), blurred=soft)
        elif layout == "scatter":
            stage.put(node, dice.random(), dice.random(), dice.log_uniform(0.1, 0.6), stage.turn(), blurred=soft)
        elif layout == "heap":
            stage.put(node, cx + dice.signed(0.2), cy + dice.signed(0.2), dice.uniform(0.15, 0.45), stage.turn(), blurred=soft)
        else:
            stage.put(node, dice.uniform(0.2, 0.8), dice.uniform(0.2, 0.8), dice.uniform(0.9, 1.8) if i == 0 else dice.uniform(0.1, 0.5), stage.turn())


def crowd(stage: Stage) -> None:
    """Many small similar things: coins, berries, pills, pebbles, stars, buttons; perhaps something else among them."""
    dice = stage.dice
    if dice.chance(0.5):
        kind = dice.pick(("cloth", "planks", "concrete", "plaster", "metal", "grass", "sand", "carpet"))
        stage.fill("background", surface(dice, kind))
    else:
        stage.use(dice.weighted(((4, backgrounds.plain_wall), (0.5, backgrounds.patchwork), (0.5, backgrounds.thicket))))
    soft = dice.uniform(0.002, 0.006) if dice.chance(0.2) else 0.0
    for node, frame in crowd_of(dice, stage.ground):
        stage.at(node, frame, blurred=soft, reach=0.01)
    if dice.chance(0.25):
        stage.put(dice.weighted(ANYTHING)(dice), dice.random(), dice.random(), dice.uniform(0.1, 0.4), stage.turn())


def _sofa(dice: Dice) -> Node:
    base = colour(dice) if dice.chance(0.5) else tone(dice, "earth")
    stuff = rounded(surface(dice, "cloth", base), 0.5, 0.2)
    node = Node("sofa", box(-1.0, -0.5, 1.0, 0.5, 0.12), stuff)
    count = dice.integer(1, 3)
    for i in range(count):
        x0, x1 = -0.8 + 1.6 * i / count, -0.8 + 1.6 * (i + 1) / count - 0.02
        node.on("cushion", box(x0, 0.0, x1, 0.28, 0.08), rounded(surface(dice, "cloth", shifted(dice, base, 0.05, 0.01)), 0.8, 0.3))
        node.on("back", box(x0, -0.42, x1, 0.02, 0.08), rounded(surface(dice, "cloth", shifted(dice, base, 0.05, 0.01)), 0.6, 0.3))
    for side in (-1, 1):
        node.attach("arm", box(min(side * 0.78, side * 1.08), -0.15, max(side * 0.78, side * 1.08), 0.5, 0.1), stuff)
    for _ in range(dice.integer(0, 3)):
        node.attach("pillow", superellipse(4.0).at(dice.uniform(-0.6, 0.6), -0.1, 0.22, dice.signed(0.3)), cloth(dice))
    return node


def _bed(dice: Dice) -> Node:
    node = Node("bed", path((-1, -0.1), (0.8, -0.1), (1.1, 0.5), (-1.0, 0.5)), rounded(surface(dice, "cloth"), 0.5, 0.2))
    node.attach("headboard", box(-1.12, -0.7, -0.95, 0.5, 0.04), surface(dice, "board"), True)
    node.on("blanket", path((-0.4, -0.3), (1.2, -0.3), (1.3, 0.7), (-0.25, 0.7)), cloth(dice))
    for i in range(dice.integer(1, 2)):
        node.attach("pillow", superellipse(3.5).at(-0.7, -0.12 + 0.2 * i, 0.22, 0.1, 1.3), rounded(surface(dice, "cloth", tone(dice, "white")), 0.8))
    return node


def _shelf(dice: Dice) -> Node:
    wood = tone(dice, dice.pick(("wood", "white", "dark")))
    node = Node("shelf", box(-0.7, -1.0, 0.7, 1.0), surface(dice, "board", wood))
    rows = dice.integer(2, 4)
    for j in range(rows):
        y0, y1 = -0.93 + 1.9 * j / rows, -0.93 + 1.9 * (j + 1) / rows - 0.06
        inside = node.on("compartment", box(-0.63, y0, 0.63, y1), solid(dice, (wood[0] * 0.45, wood[1] * 0.45, wood[2] * 0.45), -0.3))
        x = -0.6
        while x < 0.5:
            w, h = dice.uniform(0.05, 0.2), (y1 - y0) * dice.uniform(0.5, 0.95)
            if dice.chance(0.85):
                inside.on(dice.pick(("book", "book", "box")), box(x, y1 - h, x + w, y1, 0.01), solid(dice, colour(dice), 0.4))
            x += w + (0.0 if dice.chance(0.8) else 0.15)
    return node


def _potted(dice: Dice) -> Node:
    node = Node("plant", None)
    green = tone(dice, "leaf")
    for _ in range(dice.integer(4, 10)):
        stuff = rounded(surface(dice, "cloth", shifted(dice, green, 0.06, 0.02)), 0.5)
        node.attach("leaf", leaf(dice, dice.uniform(0.1, 0.25)).at(0, 0.1, dice.uniform(0.6, 1.1), -1.57 + dice.signed(0.7)), stuff)
    node.attach("pot", path((-0.3, 0.1), (0.3, 0.1), (0.22, 0.7), (-0.22, 0.7)), solid(dice, tone(dice, dice.pick(("earth", "white", "dark"))), 0.9))
    return node


FURNITURE: Makers = ((3, made.furniture), (2, _sofa), (1.5, _bed), (1.5, _shelf), (1.5, _potted), (0.7, figure), (0.4, living.animal), (0.5, made.crate))


def interior(stage: Stage) -> None:
    """A room as a box in perspective: walls, floor, ceiling, windows, pictures, rug; furniture, plants, people in it."""
    dice = stage.dice
    view = View(dice, dice.uniform(1.2, 1.7))
    view.y = dice.uniform(-0.25, 0.15)
    wide, tall, deep, near = dice.uniform(1.6, 3.5), dice.uniform(2.4, 3.0), dice.uniform(3.5, 6.5), 0.7
    base = tone(dice, dice.pick(("white", "earth", "skin", "sky"))) if dice.chance(0.8) else colour(dice)
    kind = dice.weighted(((5, "plaster"), (1, "tiles"), (0.7, "weave"), (1, "planks")))
    for side, dim in ((-1.0, dice.uniform(0.7, 1.0)), (1.0, dice.uniform(0.7, 1.0))):
        x = side * wide
        wall = Node("wall", view.quad((x, 0, near), (x, tall, near), (x, tall, deep), (x, 0, deep)), surface(dice, kind, (base[0] * dim, base[1] * dim, base[2] * dim)))
        if dice.chance(0.5):
            z0, z1 = dice.uniform(1.5, 2.5), dice.uniform(2.6, deep)
            opening = wall.on(dice.pick(("window", "door", "picture")), view.quad((x, 0.9, z0), (x, 2.1, z0), (x, 2.1, z1), (x, 0.9, z1)), solid(dice, tone(dice, "white")))
            opening.on("pane", view.quad((x, 1.0, z0 + 0.1), (x, 2.0, z0 + 0.1), (x, 2.0, z1 - 0.1), (x, 1.0, z1 - 0.1)), surface(dice, dice.pick(("sky", "foliage"))))
        stage.fill_node(wall)
    stage.fill("ceiling", surface(dice, "plaster", tone(dice, "white")), view.quad((-wide, tall, near), (-wide, tall, deep), (wide, tall, deep), (wide, tall, near)))
    stage.fill("floor", dice.pick(("planks", "carpet", "tiles", "concrete")), view.quad((-wide, 0, near), (-wide, 0, deep), (wide, 0, deep), (wide, 0, near)), horizon=(view.y + 1) / 2)
    stage.fill("wall", surface(dice, kind, base), view.quad((-wide, 0, deep), (-wide, tall, deep), (wide, tall, deep), (wide, 0, deep)))
    for _ in range(dice.integer(0, 3)):  # on the far wall
        x, y = view.point(dice.uniform(-wide * 0.8, wide * 0.8), dice.uniform(1.4, 1.9), deep)
        size = 0.5 * view.focal * dice.uniform(0.5, 1.4) / deep
        stage.put(dice.pick((made.screen, _window_of, goods.wheel))(dice), (x + 1) / 2, (y + 1) / 2, size, 0.0, shadow=0.3)
    if dice.chance(0.4):
        z, w = dice.uniform(1.8, 3.0), dice.uniform(0.5, 1.2)
        stage.fill("rug", cloth(dice), view.quad((-w, 0, z), (-w, 0, z + 1), (w, 0, z + 1), (w, 0, z)))
    stage.reach = 0.05
    places = sorted((dice.uniform(1.4, deep - 0.2) for _ in range(dice.integer(2, 7))), reverse=True)
    for z in places:
        node = dice.weighted(FURNITURE)(dice)
        size = {"sofa": 1.9, "bed": 2.0, "person": 1.7, "shelf": 1.8, "animal": 0.7, "box": 0.5}.get(node.name, 1.0)
        x, y = view.point(dice.uniform(-wide * 0.85, wide * 0.85), 0.0, z)
        stage.put(node, (x + 1) / 2, (y + 1) / 2, 0.5 * view.focal * size / z * dice.uniform(0.85, 1.15), dice.signed(0.02), True)
    if dice.chance(0.35):
        x, y = view.point(dice.signed(0.5), tall, dice.uniform(1.5, 3.0))
        lamp = Node("lamp", path((-0.3, 0.2), (0.3, 0.2), (0.6, 0.8), (-0.6, 0.8)), solid(dice, tone(dice, "white"), 0.4))
        lamp.attach("cord", box(-0.02, -1.5, 0.02, 0.2), solid(dice, tone(dice, "dark")), True)
        stage.put(lamp, (x + 1) / 2, (y + 1) / 2 + 0.08, 0.25, 0.0, shadow=0.0)


def _window_of(dice: Dice) -> Node:
    node = Node("window", box(-0.8, -1, 0.8, 1), solid(dice, tone(dice, "white"), 0.5))
    for side in (-1, 1):
        node.on("pane", box(min(side * 0.05, side * 0.7), -0.9, max(side * 0.05, side * 0.7), 0.9), surface(dice, dice.pick(("sky", "foliage"))))
        if dice.chance(0.4):
            node.attach("curtain", box(min(side * 0.5, side * 1.1), -1.1, max(side * 0.5, side * 1.1), 1.3), cloth(dice))
    return node


TABLE: Makers = ((4, plate), (1, pizza), (1, pan), (1.5, cutlery), (1.5, living.fruit), (1, goods.cup), (0.6, sandwich), (0.5, goods.tool))
COUNTER: Makers = ((3, goods.vessel), (2.5, goods.cup), (1.5, living.fruit), (1, sandwich), (1, made.crate), (1, made.screen), (0.7, _potted), (0.5, goods.tool))


def kitchen(stage: Stage) -> None:
    """A laid table from above, or a worktop before a tiled wall: food, dishes, pans, bottles, a hand at work."""
    dice = stage.dice
    if dice.chance(0.6):
        stage.fill("table", surface(dice, dice.pick(("planks", "cloth", "weave", "board", "plaster", "metal"))))
        size = dice.log_uniform(0.25, 1.1)
        for x, y in stage.spread(int(min(14, 2 + 0.6 / (size * size))), size * dice.uniform(0.5, 0.95)):
            node = dice.weighted(TABLE)(dice)
            upright = node.name in ("cup", "sandwich")
            scale = size * {"fork": 0.7, "knife": 0.8, "spoon": 0.7, "fruit": 0.5, "cup": 0.5, "pan": 1.3}.get(node.name, 1.0)
            stage.put(node, x, y, scale * dice.uniform(0.85, 1.15), dice.signed(0.2) if upright else dice.uniform(0, 6.28))
    else:
        edge = dice.uniform(0.35, 0.65)
        stage.fill("wall", dice.pick(("tiles", "plaster", "tiles", "planks")))
        for _ in range(dice.integer(0, 4)):
            x, w = dice.uniform(-1, 1), dice.uniform(0.2, 0.5)
            door = Node("cupboard", box(x - w, -1.2, x + w, dice.uniform(-0.6, 2 * edge - 1.3)), surface(dice, "board", tone(dice, dice.pick(("white", "wood")))))
            door.on("handle", box(x + 0.7 * w, -0.8, x + 0.78 * w, -0.6), solid(dice, tone(dice, "metal"), 0.8))
            stage.fill_node(door)
        stage.fill("table", dice.pick(("board", "concrete", "planks", "metal")), box(-1.1, 2 * edge - 1, 1.1, 1.1), horizon=edge - 0.25)
        stage.standing(COUNTER, dice.integer(3, 10), edge, (0.25, 0.6))
    for _ in range(dice.weighted(((2, 0), (1, 1), (1, 2)))):
        stage.put(hand(dice), dice.uniform(0.1, 0.9), dice.uniform(0.6, 1.0), dice.uniform(0.5, 1.0), dice.signed(0.4))


HELD: Makers = ((2, goods.tool), (2, goods.cup), (2, goods.vessel), (1, living.fruit), (1, made.screen), (1, made.crate), (1, cutlery), (1, plate), (1, goods.rope), (0.7, sandwich), (0.7, living.flower))


def hands(stage: Stage) -> None:
    """What someone sees who works: one or two hands from below, holding or touching a thing, a bench full of others."""
    dice = stage.dice
    stage.fill("table", surface(dice, dice.pick(("planks", "cloth", "board", "concrete", "metal", "carpet", "grass", "soil"))))
    for _ in range(dice.integer(0, 7)):
        stage.put(dice.weighted(HELD)(dice), dice.random(), dice.uniform(0, 0.8), dice.uniform(0.12, 0.45), stage.turn())
    if dice.chance(0.4):
        stage.canvas.defocus(dice.uniform(0.002, 0.012))
    for side in (-1, 1) if dice.chance(0.6) else (dice.pick((-1, 1)),):
        x, y = 0.5 + side * dice.uniform(0.05, 0.35), dice.uniform(0.45, 0.85)
        size, angle = dice.uniform(0.7, 1.3), -side * dice.uniform(0.0, 0.7)
        over = dice.chance(0.5)
        if dice.chance(0.75) and over:
            stage.put(dice.weighted(HELD)(dice), x + dice.signed(0.03), y - 0.35 * size + dice.signed(0.05), dice.uniform(0.25, 0.6), stage.turn())
        stage.put(hand(dice), x, y, size, angle)
        if dice.chance(0.6) and not over:
            stage.put(dice.weighted(HELD)(dice), x, y - 0.3 * size, dice.uniform(0.2, 0.45), stage.turn(), shadow=0.1)


def people(stage: Stage) -> None:
    """A portrait, a pair, a group or a crowd of people before a room, a street, a field; bags, bicycles, dogs."""
    dice = stage.dice
    stage.use(dice.weighted(((2, backgrounds.landscape), (2, backgrounds.room), (1, backgrounds.plain_wall), (0.5, backgrounds.thicket))))
    if dice.chance(0.5):
        stage.canvas.defocus(dice.uniform(0.003, 0.02))
    if dice.chance(0.35):
        for _ in range(dice.weighted(((3, 1), (2, 2), (1, 4)))):
            size = dice.uniform(0.6, 1.3)
            stage.put(portrait(dice), dice.uniform(0.2, 0.8), 1.02 + dice.uniform(0.0, 0.3 * size), size, dice.signed(0.06), True)
        if dice.chance(0.4):
            stage.put(dice.weighted(HELD)(dice), dice.random(), dice.uniform(0.7, 1.0), dice.uniform(0.2, 0.4), stage.turn())
        return
    far = 0.4 if stage.horizon is None else stage.horizon
    many = dice.weighted(((3, 2), (3, 4), (1.5, 12)))
    kinds: Makers = ((8, figure), (0.5, bicycle), (0.5, living.animal), (0.5, made.furniture), (0.4, _potted), (0.3, goods.garment))
    stage.standing(kinds, dice.integer(1, many), far, (0.5, 1.2) if many < 12 else (0.25, 0.6))


def _page(dice: Dice) -> Node:
    """A page or a window of a screen: heading, paragraphs of words, pictures, a table, a bar of buttons."""
    dark = dice.chance(0.15)
    paper = tone(dice, "dark" if dark else "white") if dice.chance(0.85) else colour(dice)
    ink = tone(dice, "white" if dark else "dark") if dice.chance(0.8) else colour(dice)
    tall = dice.uniform(0.7, 1.4)
    node = Node("page", box(-0.8, -tall, 0.8, tall, dice.pick((0.0, 0.04))), surface(dice, "plaster", paper))
    if dice.chance(0.3):
        node.on("bar", box(-0.8, -tall, 0.8, -tall + 0.18), solid(dice, colour(dice), 0.0))
    y, columns = -tall + 0.25, dice.weighted(((3, 1), (2, 2)))
    written = solid(dice, ink, 0.0, 0.0, 0.1)
    while y < tall - 0.25:
        kind = dice.weighted(((5, "text"), (1.5, "heading"), (1.5, "picture"), (0.7, "table")))
        if kind == "picture":
            h = dice.uniform(0.2, 0.6)
            x = dice.uniform(-0.7, 0.0)
            picture = node.on("picture", box(x, y, x + dice.uniform(0.4, 0.7), y + h), random_material(dice, None, 0.25))
            for _ in range(dice.integer(0, 3)):
                picture.on("shown", blob(dice, 0.8, 32).at(x + 0.3 + dice.signed(0.1), y + h / 2, dice.uniform(0.05, 0.2)), random_material(dice))
            y += h + 0.08
            continue
        size = 0.05 if kind == "heading" else dice.uniform(0.018, 0.03)
        for column in range(columns):
            left = -0.7 + 1.42 * column / columns
            right = left + 1.42 / columns - 0.08
            words = []
            for line in range(1 if kind == "heading" else dice.integer(2, 6)):
                x, top = left, y + line * size * 2.2
                while x < right - 0.02 and top < tall - 0.15:
                    w = size * dice.uniform(1.0, 6.0)
                    words.append(box(x, top, min(x + w, right), top + size))
                    x += w + size * 0.7
                    if kind == "table":
                        x += 0.15
            if words:
                node.on("heading" if kind == "heading" else "text", union(*words), written)
        y += size * 2.2 * 6 + 0.06
    return node


def documents(stage: Stage) -> None:
    """Papers, posters, tickets, screens and signs, straight or aslant, on desks and walls; pens and cups on them."""
    dice = stage.dice
    stage.fill("table", surface(dice, dice.pick(("planks", "board", "cloth", "plaster", "concrete", "carpet", "metal"))))
    stage.reach = dice.uniform(0.01, 0.05)
    size, lean = dice.log_uniform(0.35, 1.1), dice.signed(0.15)
    makers: Makers = ((5, _page), (1, goods.sign), (1, made.screen), (0.6, made.books))
    for _ in range(int(dice.uniform(1.0, 2.5) / size) + 1):
        x, y = (0.5 + dice.signed(0.15), 0.5 + dice.signed(0.15)) if size > 0.8 else (dice.random(), dice.random())
        stage.put(dice.weighted(makers)(dice), x, y, size * dice.uniform(0.8, 1.2), lean + dice.signed(0.3))
    small: Makers = ((2, goods.tool), (1, goods.cup), (1, cutlery), (1, goods.rope), (1, _pen), (1, living.flower))
    for _ in range(dice.integer(0, 3)):
        stage.put(dice.weighted(small)(dice), dice.random(), dice.random(), dice.uniform(0.1, 0.3), dice.uniform(0, 6.28))


def _pen(dice: Dice) -> Node:
    base: Colour = colour(dice)
    node = Node("pen", capsule(-0.9, 0, 0.7, 0, 0.06, 0.06), solid(dice, base, 0.9, 0.5))
    node.attach("tip", path((0.7, -0.05), (1.0, 0.0), (0.7, 0.05)), solid(dice, tone(dice, "metal")))
    node.on("clip", box(-0.9, -0.02, -0.4, 0.02), solid(dice, tone(dice, "metal")))
    return node


def painting(stage: Stage) -> None:
    """A picture made by hand: people, beasts, fruit, boats and houses in few colours, brushed or cut out flat."""
    dice = stage.dice
    kind = dice.weighted(((3, "still life"), (3, "figures"), (2, "landscape"), (1, "abstract")))
    key = colour(dice)
    flat = dice.chance(0.3)
    stage.shadow *= 0.0 if flat else 0.6
    stage.use({"still life": backgrounds.room, "figures": dice.pick((backgrounds.landscape, backgrounds.room)), "landscape": backgrounds.landscape}.get(kind, backgrounds.patchwork))
    if kind == "still life":
        stage.standing(((3, living.fruit), (2, goods.vessel), (1.5, living.flower), (1, goods.cup), (1, sandwich), (0.7, cutlery)), dice.integer(3, 9), 0.5, (0.3, 0.6))
    elif kind == "figures":
        stage.standing(((4, figure), (1.5, portrait), (1, living.animal), (0.5, living.bird)), dice.integer(1, 6), 0.35, (0.6, 1.1))
    elif kind == "landscape":
        far = 0.4 if stage.horizon is None else stage.horizon
        stage.standing(((3, living.tree), (2, made.house), (1, figure), (1, living.animal), (0.5, made.vehicle)), dice.integer(2, 9), far, (0.3, 0.8))
    else:
        for _ in range(dice.integer(3, 12)):
            stage.put(abstract(dice), dice.random(), dice.random(), dice.log_uniform(0.15, 0.7), dice.uniform(0, 6.28))
    stage.veil(key, dice.uniform(0.05, 0.35))
    if not flat:
        bend(stage.canvas, ripple=dice.uniform(0.002, 0.009), periods=dice.uniform(2.0, 6.0), shift=dice.random(), tile=1)
    if dice.chance(0.3):
        rim = solid(dice, tone(dice, dice.pick(("wood", "dark"))), 1.0, 0.3)
        inner = polygon(box(-0.9, -0.9, 0.9, 0.9).points, hole=True)
        stage.fill("frame", rim, union(box(-1.1, -1.1, 1.1, 1.1), inner))

