"""What lies on a table: plates with food, bowls, pans, cutlery, bread, cakes, sliced fruit."""

from __future__ import annotations

import math

from minisam.world.render.materials import Colour, ball, colour, shifted, tone
from minisam.world.render.objects import Node, move
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import (
    affine,
    blob,
    box,
    capsule,
    ellipse,
    leaf,
    path,
    ring,
    shaggy,
    superellipse,
    union,
)
from minisam.world.render.surfaces import rounded, solid, surface

CRUSTS: tuple[Colour, ...] = (
    (0.75, 0.55, 0.3),
    (0.6, 0.38, 0.18),
    (0.85, 0.72, 0.45),
    (0.45, 0.25, 0.14),
    (0.9, 0.82, 0.65),
)
SAUCES: tuple[Colour, ...] = (
    (0.65, 0.15, 0.08),
    (0.75, 0.45, 0.12),
    (0.35, 0.2, 0.1),
    (0.85, 0.8, 0.6),
    (0.4, 0.5, 0.15),
)


def morsel(rng: Rng) -> Node:
    """Something to eat, of radius about 1: meat, rice, salad, sauce, fruit slices, an egg, a pile of beans."""
    kind = rng.pick(("meat", "rice", "salad", "sauce", "slice", "egg", "beans", "roll"))
    if kind == "meat":
        node = Node(
            "meat",
            blob(rng, 0.7).at(0, 0, 1.0, 0, 1.4),
            rounded(surface(rng, "rock", rng.pick(CRUSTS[:4])), 0.8, 0.3, 0.2),
        )
        for _ in range(rng.integer(0, 3)):
            node.on(
                "stripe", box(-2, -0.06, 2, 0.06).at(0, rng.uniform(-0.6, 0.6), 1.0, 0.4), solid(rng, (0.2, 0.12, 0.08))
            ).labelled = False
        return node
    if kind == "rice":
        return Node("rice", shaggy(rng, 0.5, 0.08), rounded(surface(rng, "gravel", tone(rng, "white"), 1.5), 0.6, 0.4))
    if kind == "sauce":
        return Node("sauce", blob(rng, 0.9), solid(rng, rng.pick(SAUCES), 0.4, 0.5, 0.08))
    if kind == "egg":
        white = Node("egg", blob(rng, 0.6), solid(rng, (0.93, 0.92, 0.88), 0.4, 0.1, 0.02))
        white.on(
            "yolk",
            ellipse(0.42, 0.42, 20).at(rng.signed(0.15), rng.signed(0.15)),
            solid(rng, (0.92, 0.65, 0.1), 0.9, 0.6, 0.02),
        )
        return white
    if kind == "slice":
        rind = tone(rng, "fruit")
        node = Node("slice", ellipse(), solid(rng, rind, 0.3))
        flesh = shifted(rng, rind, 0.25, 0.08)
        inner = node.on("flesh", ellipse(0.88, 0.88), solid(rng, flesh, 0.0, 0.2, 0.1))
        inner.on(
            "seed",
            union(*(ellipse(0.06, 0.1, 12).at(0, -0.5).at(0, 0, 1.0, 1.05 * i) for i in range(6))),
            solid(rng, (0.2, 0.15, 0.1)),
        )
        return node
    if kind == "roll":
        node = Node("roll", ellipse(1.0, 0.6), rounded(surface(rng, "board", rng.pick(CRUSTS)), 1.0, 0.4))
        node.on(
            "cut",
            union(*(capsule(x, -0.3, x + 0.1, 0.3, 0.05, 0.03, 8) for x in (-0.5, 0.0, 0.5))),
            solid(rng, rng.pick(CRUSTS)),
        )
        return node
    group = Node(kind, None)
    green = kind == "salad"
    base = tone(rng, "leaf") if green else rng.pick(SAUCES)
    for _ in range(rng.integer(5, 12)):
        x, y = rng.direction()
        far = 0.7 * math.sqrt(rng.random())
        size = rng.uniform(0.3, 0.6) if green else rng.uniform(0.15, 0.3)
        shape = shaggy(rng, 0.8, 0.12) if green else ellipse(1.0, 0.7, 20)
        material = (
            rounded(surface(rng, "cloth", shifted(rng, base, 0.08, 0.03)), 0.7)
            if green
            else ball(rng, shifted(rng, base, 0.05, 0.02), 0, 0, 1)
        )
        group.attach("leaf" if green else "bean", shape.at(x * far, y * far, size, rng.uniform(0, 6.28)), material)
    return group


def _copy(node: Node, x: float, y: float, size: float, angle: float) -> Node:
    """``node`` again, scaled, turned and moved."""
    return move(node, affine(x, y, size, angle))


def plate(rng: Rng) -> Node:
    """A plate, bowl or tray from above: rim, well, one to five kinds of food, herbs scattered."""
    china = tone(rng, "white") if rng.chance(0.7) else colour(rng)
    square = rng.chance(0.15)
    outline = superellipse(8.0) if square else ellipse(corners=48)
    node = Node("tray" if square else "plate", outline, solid(rng, china, 0.5, 0.2, 0.02))
    if rng.chance(0.25):
        node.on("rim", ring(outline, 0.9), solid(rng, colour(rng), 0.1))
    well = rng.uniform(0.6, 0.78)
    node.on(
        "well", outline.at(0, 0, well), solid(rng, shifted(rng, china, 0.04, 0.005), rng.uniform(-0.6, -0.2), 0.0, 0.02)
    )
    count = rng.integer(1, 5)
    for _ in range(count):
        x, y = (0.0, 0.0) if count == 1 else rng.direction()
        far = rng.uniform(0.25, 0.45) if count > 1 else 0.0
        size = well * (0.85 if count == 1 else rng.uniform(0.28, 0.45))
        node.add(_copy(morsel(rng), x * far, y * far, size, rng.uniform(0, 6.28)))
    if rng.chance(0.4):
        herb = solid(rng, tone(rng, "leaf"), 0.2)
        bits = [leaf(rng, 0.3, 12).at(rng.signed(0.3), rng.signed(0.3), 0.09, rng.uniform(0, 6.28)) for _ in range(6)]
        child = node.on("herb", union(*bits), herb)
        child.labelled = False
    return node


def pizza(rng: Rng) -> Node:
    """A round flat thing with toppings: pizza, cake, pie; perhaps a slice is missing."""
    crust = rng.pick(CRUSTS)
    node = Node("pizza", blob(rng, 0.06), rounded(surface(rng, "rock", crust), 0.8, 0.12))
    top = node.on("topping", blob(rng, 0.1).at(0, 0, 0.86), rounded(surface(rng, "gravel", rng.pick(SAUCES), 0.6), 0.2))
    bit = tone(rng, "fruit")
    for _ in range(rng.integer(4, 12)):
        x, y = rng.direction()
        far = 0.7 * math.sqrt(rng.random())
        top.on(
            "piece",
            blob(rng, 0.5, 20).at(x * far, y * far, rng.uniform(0.08, 0.17)),
            solid(rng, shifted(rng, bit, 0.05, 0.02), 0.8),
        )
    if rng.chance(0.5):
        node.on(
            "cut", union(box(-0.012, -1, 0.012, 1), box(-1, -0.012, 1, 0.012)), solid(rng, (0.4, 0.3, 0.2))
        ).labelled = False
    return node


def sandwich(rng: Rng) -> Node:
    """Layers from the side: bread, salad, meat, cheese, bread; a burger or a layered cake."""
    node = Node("sandwich", None)
    crust = rng.pick(CRUSTS)
    y = 0.6
    wide = rng.uniform(0.7, 1.0)
    for _ in range(rng.integer(3, 6)):
        thick = rng.uniform(0.08, 0.2)
        if rng.chance(0.35):
            material = rounded(surface(rng, "cloth", tone(rng, "leaf")), 0.6)
        else:
            material = solid(rng, rng.pick(SAUCES + CRUSTS), 0.5)
        half = wide * rng.uniform(0.95, 1.1)
        node.attach("layer", box(-half, y - thick, half, y + 0.05, 0.06), material)
        y -= thick
    dome = ((-1.0, 0.05), (-0.9, -0.25), (-0.4, -0.42), (0.4, -0.42), (0.9, -0.25), (1.0, 0.05))
    bun = path(*((wide * x, y + up) for x, up in dome))
    node.attach("top", bun, rounded(surface(rng, "board", crust), 0.9, 0.4))
    return node


def pan(rng: Rng) -> Node:
    """A pan or pot from above with a long handle and something in it."""
    node = Node("pan", None)
    black = solid(rng, tone(rng, rng.pick(("dark", "metal"))), 0.5, 0.3)
    node.attach("handle", box(-0.1, 0.8, 0.1, 2.0, 0.08), solid(rng, tone(rng, rng.pick(("dark", "wood")))))
    body = node.attach("body", ellipse(corners=48), black)
    inner = body.on("inside", ellipse(0.85, 0.85, 48), solid(rng, tone(rng, "dark"), -0.5, 0.1))
    if rng.chance(0.7):
        inner.add(_copy(morsel(rng), rng.signed(0.1), rng.signed(0.1), 0.6, rng.uniform(0, 6.28)))
    return node


def cutlery(rng: Rng) -> Node:
    """A fork, knife or spoon, thin and shiny."""
    steel = solid(rng, tone(rng, "metal"), 0.8, 0.6)
    kind = rng.pick(("fork", "knife", "spoon"))
    node = Node(kind, None)
    node.attach("handle", capsule(0, 0, 0, 1.2, 0.05, 0.08, 12), steel)
    if kind == "spoon":
        node.attach("bowl", ellipse(0.16, 0.26, 20).at(0, -0.2), steel)
    elif kind == "knife":
        node.attach("blade", path((-0.06, 0.05), (0.08, 0.05), (0.08, -0.7), (-0.02, -0.85)), steel)
    else:
        tines = [box(x - 0.02, -0.45, x + 0.02, -0.1) for x in (-0.11, -0.037, 0.037, 0.11)]
        node.attach("tines", union(path((-0.13, -0.12), (0.13, -0.12), (0.04, 0.08), (-0.04, 0.08)), *tines), steel)
    return node
