"""Large objects: houses, vehicles, boxes, books, screens, furniture."""

from __future__ import annotations

import numpy as np

from minisam.world.render.materials import Colour, colour, plain, random_material, shifted, tone
from minisam.world.render.objects import Node
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import box, capsule, ellipse, path, polygon, random_shape, star, union


def _window(rng: Rng, wall: Node, x: float, y: float, w: float, h: float, frame: Colour, glass: Colour) -> None:
    """A window on ``wall``: a frame with panes; (x, y) its centre, (w, h) its half size."""
    node = wall.on("window", box(x - w, y - h, x + w, y + h), plain(rng, frame, 0.05))
    columns, rows = rng.integer(1, 2), rng.integer(1, 2)
    gap = 0.15 * min(w, h)
    for i in range(columns):
        for j in range(rows):
            x0, y0 = x - w + 2 * w * i / columns + gap, y - h + 2 * h * j / rows + gap
            x1, y1 = x - w + 2 * w * (i + 1) / columns - gap, y - h + 2 * h * (j + 1) / rows - gap
            material = plain(rng, shifted(rng, glass, 0.06, 0.02), 0.2, (x, y, w))
            material.relief = 0.2
            node.on("pane", box(x0, y0, x1, y1), material)


def house(rng: Rng) -> Node:
    """A house or tower block: wall, roof, chimney, rows of windows with panes, door with knob."""
    wall = tone(rng, rng.pick(("stone", "white", "earth"))) if rng.chance(0.8) else colour(rng)
    width, top = rng.uniform(0.4, 1.0), rng.uniform(-0.8, 0.0)
    facade = random_material(rng, wall, 0.12)
    facade.relief = 0.2
    node = Node("house", box(-width, top, width, 1.0), facade)
    if rng.chance(0.7):
        peak, over = top - rng.uniform(0.2, 0.7), width * rng.uniform(1.0, 1.2)
        inset = rng.pick((0.0, 0.4, 0.8)) * width
        if rng.chance(0.5):
            x = rng.uniform(-0.6, 0.5) * width
            stack = node.attach("chimney", box(x, peak - 0.1, x + 0.18, top), plain(rng, tone(rng, "stone")), True)
            stack.on("cap", box(x, peak - 0.1, x + 0.18, peak), plain(rng, tone(rng, "dark")))
        shape = path((-over, top), (-inset, peak), (inset + 0.01, peak), (over, top))
        node.attach("roof", shape, random_material(rng, tone(rng, rng.pick(("earth", "stone", "wood", "dark"))), 0.15))
    frame, glass = tone(rng, "white"), tone(rng, rng.pick(("dark", "sky")))
    columns, rows = rng.integer(1, 4), rng.integer(1, 4)
    w, h = width / columns * rng.uniform(0.4, 0.75), (1.0 - top) / (rows + 0.4) * rng.uniform(0.25, 0.4)
    for j in range(rows):
        for i in range(columns):
            y = top + (1.0 - top) * (j + 0.5) / (rows + 0.4)
            _window(rng, node, width * ((2 * i + 1) / columns - 1), y, w, h, frame, glass)
    if rng.chance(0.7):
        x = rng.uniform(-0.6, 0.6) * width
        door = node.on("door", box(x - 0.14, 0.55, x + 0.14, 1.0), plain(rng, colour(rng)))
        door.on("knob", ellipse(0.025, 0.025, 12).at(x + 0.1, 0.78), plain(rng, tone(rng, "metal")))
    return node


def _wheel(rng: Rng, body: Node, x: float, y: float, radius: float, tyre: Colour) -> None:
    """A wheel of ``body`` with its hub."""
    node = body.attach("wheel", ellipse(radius, radius).at(x, y), plain(rng, tyre, 0.05))
    hub = node.on("hub", ellipse(0.6 * radius, 0.6 * radius, 20).at(x, y), plain(rng, tone(rng, "metal"), 0.1))
    if rng.chance(0.6):
        hub.on("nut", star(rng, 5, 0.5).at(x, y, 0.4 * radius), plain(rng, tone(rng, "dark")))


def vehicle(rng: Rng) -> Node:
    """A car, van or bus from the side: body, cabin windows with panes, wheels with hubs, door, lights."""
    paint, tyre = colour(rng), tone(rng, "dark")
    long, bonnet = rng.uniform(0.9, 1.2), rng.uniform(0.0, 0.6)
    roof = -rng.uniform(0.4, 0.8)
    outline = np.array([
        (-long, 0.3), (-long, -0.05), (-long + 0.15, roof + 0.1), (-long + 0.3, roof), (long - bonnet - 0.3, roof),
        (long - bonnet, -0.08), (long - 0.05, 0.0), (long, 0.15), (long, 0.3),
    ])  # fmt: skip
    body = Node("vehicle", polygon(outline), random_material(rng, paint, rng.log_uniform(0.03, 0.2)))
    glass = tone(rng, rng.pick(("dark", "sky")))
    band = polygon(outline[[1, 2, 3, 4, 5]] * (0.88, 0.8) + (0.0, -0.09))
    window = body.on("window", band, plain(rng, glass, 0.2))
    count = rng.integer(1, 4)
    for i in range(count):
        x0 = -long + (2 * long - bonnet) * i / count + 0.06
        window.on(
            "pane",
            box(x0, -1, x0 + (2 * long - bonnet) / count - 0.1, 0.5),
            plain(rng, shifted(rng, glass, 0.08, 0.02), 0.2),
        )
    if rng.chance(0.6):
        x = rng.uniform(-0.4, 0.1)
        door = body.on("door", box(x, -0.05, x + 0.45, 0.27, 0.03), plain(rng, shifted(rng, paint, 0.08, 0.02)))
        door.on("handle", box(x + 0.3, 0.02, x + 0.42, 0.06), plain(rng, tone(rng, "metal")))
    body.on("light", ellipse(0.1, 0.07, 20).at(long - 0.06, 0.1), plain(rng, tone(rng, "white")))
    body.on("bumper", box(-long, 0.22, long, 0.4), plain(rng, tone(rng, "dark")))
    radius = rng.uniform(0.18, 0.28)
    for x in (-0.6, 0.62) if rng.chance(0.8) else (-0.7, 0.3, 0.75):
        _wheel(rng, body, x * long, 0.3, radius, tyre)
    return body


def crate(rng: Rng) -> Node:
    """A box in oblique view: three faces of different brightness, tape, label with lines."""
    r, g, b = colour(rng)
    w, h, d = rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.8), rng.uniform(0.15, 0.5)
    lean = rng.uniform(0.4, 1.0) * d
    contrast = rng.log_uniform(0.03, 0.2)
    node = Node("box", None)
    front = node.attach("front", box(-w, -h, w, h), random_material(rng, (r, g, b), contrast))
    top = path((-w, -h), (-w + lean, -h - d), (w + lean, -h - d), (w, -h))
    up, side = rng.uniform(1.1, 1.5), rng.uniform(0.5, 0.85)
    lid = node.attach("top", top, random_material(rng, (min(r * up, 1), min(g * up, 1), min(b * up, 1)), contrast))
    flank = path((w, -h), (w + lean, -h - d), (w + lean, h - d), (w, h))
    node.attach("side", flank, random_material(rng, (r * side, g * side, b * side), contrast))
    if rng.chance(0.5):
        tape = plain(rng, shifted(rng, (r, g, b), 0.2, 0.03))
        front.on("tape", box(-0.08, -h, 0.08, -h + 0.5 * h), tape)
        lid.on("tape", path((-0.08, -h), (-0.08 + lean, -h - d), (0.08 + lean, -h - d), (0.08, -h)), tape)
    if rng.chance(0.7):
        label = front.on("label", box(-0.7 * w, -0.2 * h, 0.1 * w, 0.6 * h), plain(rng, colour(rng)))
        for i in range(rng.integer(1, 4)):
            y = h * (-0.1 + 0.17 * i)
            label.on("line", box(-0.6 * w, y, rng.uniform(-0.4, 0.05) * w, y + 0.08 * h), plain(rng, tone(rng, "dark")))
    return node


def books(rng: Rng) -> Node:
    """A row or pile of books: every book a part, its title a subpart."""
    node = Node("books", None)
    x, lying = -1.0, rng.chance(0.4)
    quiet = rng.chance(0.3)
    base = colour(rng)
    while x < 1.0:
        thick, tall = rng.uniform(0.08, 0.28), rng.uniform(0.5, 0.9)
        cover = shifted(rng, base, 0.08, 0.02) if quiet else colour(rng)
        spine = node.attach("book", box(x, 0.9 - 2 * tall, x + thick, 0.9), plain(rng, cover, 0.1, (x, 0, thick)))
        for _ in range(rng.integer(0, 2)):
            top = rng.uniform(-0.5, 0.6)
            spine.on(
                "title",
                box(x + 0.2 * thick, top, x + 0.8 * thick, top + rng.uniform(0.05, 0.3)),
                plain(rng, colour(rng)),
            )
        x += thick + (0.0 if rng.chance(0.8) else 0.05)
    if lying:
        for part in [node, *node.children, *(title for book in node.children for title in book.children)]:
            if part.shape is not None:
                part.shape = part.shape.at(0, 0, 1.0, 1.5708)
    return node


def screen(rng: Rng) -> Node:
    """A framed thing (picture, television, phone, mirror): frame, screen, things shown, stand."""
    w, h = rng.uniform(0.5, 1.0), rng.uniform(0.4, 0.8)
    node = Node(
        "screen",
        box(-w, -h, w, h, rng.pick((0.0, 0.05, 0.12))),
        plain(rng, tone(rng, rng.pick(("dark", "wood", "metal", "white")))),
    )
    rim = rng.uniform(0.04, 0.18)
    content = random_material(rng)
    content.relief = 0.0
    shown = node.on("display", box(-w + rim, -h + rim, w - rim, h - rim), content)
    for _ in range(rng.integer(0, 4)):
        x, y, r = rng.signed(0.4) * w, rng.signed(0.4) * h, rng.uniform(0.1, 0.3)
        shown.on("shown", random_shape(rng).at(x, y, r), random_material(rng, None, None, (x, y, r)))
    if rng.chance(0.4):
        node.attach(
            "stand",
            union(box(-0.1, h, 0.1, h + 0.25), box(-0.4, h + 0.2, 0.4, h + 0.3)),
            plain(rng, tone(rng, "metal")),
            True,
        )
    return node


def furniture(rng: Rng) -> Node:
    """A table, chair, lamp or chest: top and legs, back, shade, drawers with knobs."""
    wood = random_material(rng, tone(rng, rng.pick(("wood", "white", "dark"))), 0.12)
    kind = rng.pick(("table", "chair", "lamp", "chest"))
    if kind == "chest":
        node = Node("chest", box(-0.8, -0.8, 0.8, 0.9), wood)
        rows = rng.integer(2, 5)
        for j in range(rows):
            y = -0.7 + 1.5 * j / rows
            drawer = node.on("drawer", box(-0.7, y, 0.7, y + 1.4 / rows - 0.04), plain(rng, tone(rng, "wood")))
            drawer.on("knob", ellipse(0.06, 0.05, 12).at(0, y + 0.7 / rows), plain(rng, tone(rng, "metal")))
        return node
    if kind == "lamp":
        node = Node("lamp", None)
        node.attach(
            "pole",
            union(capsule(0, -0.5, 0, 0.9, 0.04, 0.04), ellipse(0.4, 0.1).at(0, 0.95)),
            plain(rng, tone(rng, "metal")),
        )
        node.attach(
            "shade",
            path((-0.3, -1), (0.3, -1), (0.55, -0.3), (-0.55, -0.3)),
            random_material(rng, tone(rng, "white"), 0.1),
        )
        return node
    node = Node(kind, None)
    for x in (-0.75, -0.5, 0.55, 0.75):
        node.attach("leg", capsule(x, 0.0, x * rng.uniform(1.0, 1.15), 0.95, 0.06, 0.045, 8), wood)
    if kind == "chair":
        back = node.attach("back", box(-0.75, -1.0, 0.7, -0.1, 0.1), random_material(rng))
        for i in range(rng.integer(0, 4)):
            back.on("slat", box(-0.6 + 0.35 * i, -0.9, -0.4 + 0.35 * i, -0.1), plain(rng, tone(rng, "wood")))
    seat = node.attach("top", box(-1.0, -0.1, 1.0, 0.08, 0.04), wood)
    seat.material = random_material(rng, tone(rng, "wood"), 0.1)
    return node
