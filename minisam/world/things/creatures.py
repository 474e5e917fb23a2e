"""Creatures: animals, faces, plants. Caricatures; what matters is whole, part and subpart."""

from __future__ import annotations

from minisam.world.render.materials import ball, colour, plain, random_material, shifted, tone
from minisam.world.render.objects import Node, move
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import (
    affine,
    blob,
    box,
    branches,
    capsule,
    curve,
    ellipse,
    leaf,
    path,
    shaggy,
    superellipse,
    union,
)
from minisam.world.render.surfaces import rounded, solid, surface


def _eye(rng: Rng, head: Node, x: float, y: float, radius: float) -> None:
    """A round eye with iris and pupil on ``head``."""
    white = head.on("eye", ellipse(radius, radius * rng.uniform(0.4, 0.8), 20).at(x, y), plain(rng, tone(rng, "white")))
    tint = tone(rng, rng.pick(("wood", "sky", "dark")))
    iris = white.on("iris", ellipse(radius * 0.6, radius * 0.6, 20).at(x, y), plain(rng, tint))
    iris.on("pupil", ellipse(radius * 0.3, radius * 0.3, 12).at(x, y), plain(rng, (0.04, 0.04, 0.05)))


def animal(rng: Rng) -> Node:
    """A four-legged animal from the side: body, legs, head with eye, ear and snout, tail; perhaps spotted."""
    coat = tone(rng, "fur")
    fur = random_material(rng, coat, rng.log_uniform(0.05, 0.4))
    length, leg = rng.uniform(0.55, 0.9), rng.uniform(0.25, 0.6)
    outline = shaggy(rng, 0.3, 0.06) if rng.chance(0.4) else blob(rng, 0.4)
    body = Node("animal", outline.at(0, 0, 0.42, 0, length / 0.42), fur)
    dark = random_material(rng, shifted(rng, coat, 0.1, 0.02), 0.1)
    for i, x in enumerate((-0.75, -0.55, 0.5, 0.7)):
        foot = x * length + rng.signed(0.12)
        shape = capsule(x * length, 0.1, foot, 0.2 + leg, 0.13, 0.07)
        limb = body.attach("leg", shape, fur if i % 2 else dark, behind=True)
        if rng.chance(0.5):
            limb.on("hoof", ellipse(0.13, 0.09, 12).at(foot, 0.24 + leg), plain(rng, tone(rng, "dark")))
    body.attach(
        "tail", curve(rng, -length * 0.9, -0.1, 3.1 + rng.signed(0.6), 0.6, 0.08, 0.03, rng.signed(1.2)), dark, True
    )
    x, y, r = length + 0.15, -0.3 - rng.uniform(0.0, 0.3), rng.uniform(0.22, 0.36)
    body.attach("neck", capsule(length * 0.7, -0.1, x, y, 0.25, 0.15), fur)
    head = body.attach("head", blob(rng, 0.2).at(x, y, r), random_material(rng, coat, 0.1, (x, y, r)))
    head.attach(
        "ear", leaf(rng, 0.35).at(x - 0.3 * r, y - 0.5 * r, r * rng.uniform(0.7, 1.6), -1.9 + rng.signed(0.5)), dark
    )
    snout = head.attach(
        "snout", ellipse(0.55, 0.4, 20).at(x + r * 0.8, y + 0.25 * r, r), plain(rng, shifted(rng, coat, 0.2, 0.02))
    )
    snout.on("nose", ellipse(0.18, 0.16, 12).at(x + r * 1.2, y + 0.1 * r, r), plain(rng, (0.08, 0.07, 0.07)))
    _eye(rng, head, x + 0.25 * r, y - 0.25 * r, 0.2 * r)
    for _ in range(rng.weighted(((2, 0), (1, 3)))):
        body.on(
            "spot", blob(rng, 0.8).at(rng.signed(0.5) * length, rng.signed(0.2), 0.15), plain(rng, tone(rng, "fur"))
        )
    return body


def fish(rng: Rng) -> Node:
    """A fish: body, tail, fins, eye, perhaps bands."""
    base = colour(rng)
    body = Node("fish", leaf(rng, rng.uniform(0.25, 0.5), 32).at(-1, 0, 2.0), random_material(rng, base))
    fin = random_material(rng, shifted(rng, base, 0.2, 0.08))
    body.attach("tail", path((-0.85, 0), (-1.4, -0.45), (-1.2, 0), (-1.4, 0.45)), fin, True)
    body.attach("fin", path((-0.3, -0.3), (0.3, -0.3), (-0.2, -0.75)), fin, True)
    body.attach("fin", leaf(rng, 0.3).at(0.1, 0.1, 0.5, rng.uniform(1.6, 2.6)), fin)
    for i in range(rng.weighted(((2, 0), (1, 2), (1, 4)))):
        body.on("band", box(-0.6 + 0.35 * i, -1, -0.45 + 0.35 * i, 1), plain(rng, shifted(rng, base, 0.35, 0.1)))
    _eye(rng, body, 0.65, -0.08, rng.uniform(0.07, 0.13))
    return body


def bird(rng: Rng) -> Node:
    """A bird: body, wing with feathers, head with beak and eye, tail, thin legs."""
    base = colour(rng)
    body = Node("bird", blob(rng, 0.25).at(0, 0, 0.45, 0.3, 1.7), random_material(rng, base, 0.15))
    wing = body.attach(
        "wing",
        leaf(rng, 0.3).at(0.35, -0.15, 1.3, 2.7 + rng.signed(0.5)),
        random_material(rng, shifted(rng, base, 0.2, 0.05)),
    )
    for i in range(rng.integer(0, 3)):
        wing.on("feather", leaf(rng, 0.12).at(0.1 - 0.2 * i, -0.1, 0.7, 2.7), plain(rng, shifted(rng, base, 0.2, 0.05)))
    body.attach("tail", path((-0.6, -0.1), (-1.4, 0.1), (-1.3, 0.4), (-0.5, 0.2)), plain(rng, base), True)
    for x in (-0.1, 0.12):
        body.attach("leg", capsule(x, 0.3, x + 0.05, 0.95, 0.03, 0.025, 8), plain(rng, tone(rng, "wood")), True)
    head = body.attach("head", ellipse(0.3, 0.28).at(0.75, -0.45), plain(rng, shifted(rng, base, 0.2, 0.1)))
    head.attach("beak", path((0.98, -0.55), (1.4, -0.42), (0.98, -0.35)), plain(rng, tone(rng, "fruit")))
    _eye(rng, head, 0.82, -0.5, 0.07)
    return body


def insect(rng: Rng) -> Node:
    """A butterfly or beetle seen from above: mirrored wings with spots, body, feelers."""
    base = colour(rng)
    body = Node("insect", ellipse(0.12, 0.6, 20), plain(rng, tone(rng, "dark")))
    upper, lower = leaf(rng, rng.uniform(0.35, 0.6)), leaf(rng, rng.uniform(0.35, 0.6))
    wings = random_material(rng, base)
    turn, long = rng.uniform(-1.0, -0.4), rng.uniform(0.8, 1.3)
    for side in (1.0, -1.0):
        flip = affine(0, 0, 1.0)
        flip[0, 0] = side
        for shape, angle, scale in ((lower, 0.6, 0.7 * long), (upper, turn, long)):
            wing = body.attach("wing", shape.at(0.0, 0.0, scale, angle).moved(flip), wings, True)
            spot = ellipse(0.17, 0.14, 20).at(0.6 * scale, 0.0).at(0, 0, 1.0, angle).moved(flip)
            wing.on("spot", spot, plain(rng, shifted(rng, base, 0.4, 0.1)))
        body.attach("feeler", capsule(0, -0.5, side * 0.3, -1.0, 0.025, 0.02, 8), plain(rng, tone(rng, "dark")), True)
    return body


def face(rng: Rng) -> Node:
    """A face: hair behind, ears, eyes with irises, brows, nose, mouth with teeth, perhaps a hat or glasses."""
    skin = tone(rng, "skin")
    head = Node(
        "head", superellipse(rng.uniform(1.9, 2.6)).at(0, 0, 1.0, 0, rng.uniform(0.7, 0.85)), plain(rng, skin, 0.08)
    )
    hair = random_material(rng, tone(rng, "fur"), 0.15)
    long = rng.uniform(0.9, 1.5)
    head.attach(
        "hair", shaggy(rng, 0.2, 0.06).at(0, -0.3 + 0.3 * (long - 0.9), 1.05 * long, 0, 0.85 / long), hair, True
    )
    for side in (-1, 1):
        head.attach("ear", ellipse(0.14, 0.24, 20).at(side * 0.78, 0.05), plain(rng, skin, 0.05), True)
        _eye(rng, head, side * 0.32, -0.12, rng.uniform(0.09, 0.13))
        head.on("brow", capsule(side * 0.15, -0.35, side * 0.5, -0.38 + rng.signed(0.05), 0.04, 0.03), hair)
    head.on("fringe", shaggy(rng, 0.4, 0.1).at(rng.signed(0.2), -1.0, 0.75, 0, 1.3), hair)
    head.on("nose", blob(rng, 0.3).at(0, 0.15, 0.13, 1.57, 1.5), plain(rng, shifted(rng, skin, 0.06, 0.02), 0.05))
    mouth = head.on("mouth", ellipse(0.3, rng.uniform(0.05, 0.15), 20).at(0, 0.52), plain(rng, (0.6, 0.25, 0.22)))
    mouth.on("teeth", box(-0.2, 0.45, 0.2, 0.52), plain(rng, tone(rng, "white"), 0.03))
    if rng.chance(0.3):
        hat = head.attach(
            "hat", union(box(-1.1, -0.75, 1.1, -0.6, 0.05), box(-0.7, -1.4, 0.7, -0.65, 0.2)), random_material(rng)
        )
        hat.on("ribbon", box(-0.7, -0.9, 0.7, -0.75), plain(rng, colour(rng)))
    return head


def flower(rng: Rng) -> Node:
    """A flower: stem, leaves, petals around a centre."""
    petal_colour = colour(rng)
    node = Node("flower", None)
    if rng.chance(0.7):
        green = plain(rng, tone(rng, "leaf"))
        stem = node.attach("stem", curve(rng, 0, 0, 1.57, 1.8, 0.04, 0.05, rng.signed(0.4)), green)
        for _ in range(rng.integer(0, 3)):
            stem.attach(
                "leaf", leaf(rng, 0.25).at(0, rng.uniform(0.7, 1.4), 0.6, rng.pick((0.4, 2.7)) + rng.signed(0.3)), green
            )
    count, width, radius = rng.integer(4, 11), rng.uniform(0.2, 0.5), rng.uniform(0.5, 0.9)
    petal = leaf(rng, width)
    bloom = node.attach("bloom", petal.at(0, 0, radius), plain(rng, petal_colour))
    for i in range(count):
        material = random_material(rng, shifted(rng, petal_colour, 0.06, 0.02), 0.1)
        bloom.attach("petal", petal.at(0, 0, radius, 6.2832 * i / count), material)
    bloom.attach(
        "centre", ellipse(0.25, 0.25, 20).at(0, 0, radius), random_material(rng, tone(rng, "fruit"), 0.2, (0, 0, 0.2))
    )
    return node


def tree(rng: Rng) -> Node:
    """A tree: trunk, ragged crown of one or more masses, perhaps fruit; or bare branches."""
    bark = random_material(rng, tone(rng, "wood"), 0.15)
    if rng.chance(0.25):
        return Node("tree", branches(rng, 4, rng.uniform(0.4, 0.7), 0.1), bark)
    node = Node("tree", None)
    trunk = path((-0.1, -0.2), (0.1, -0.2), (0.15, 1.0), (-0.16, 1.0))
    node.attach("trunk", trunk, bark)
    green = tone(rng, "leaf")
    crown = node.attach("crown", shaggy(rng, 0.6, 0.15).at(0, -0.3, 0.7), random_material(rng, green, 0.25))
    for _ in range(rng.integer(0, 4)):
        material = random_material(rng, shifted(rng, green, 0.06, 0.02), 0.25)
        crown.attach("bough", shaggy(rng, 0.6, 0.15).at(rng.signed(0.35), -0.3 + rng.signed(0.3), 0.4), material)
    fruit = tone(rng, "fruit")
    for _ in range(rng.weighted(((3, 0), (1, 5)))):
        x, y = rng.signed(0.3), -0.3 + rng.signed(0.3)
        crown.on("fruit", ellipse(0.08, 0.08, 12).at(x, y), ball(rng, fruit, x, y, 0.08))
    return node


def plant_leaf(rng: Rng) -> Node:
    """A single leaf with its midrib and veins."""
    green = tone(rng, "leaf")
    node = Node("leaf", leaf(rng, rng.uniform(0.2, 0.5), 32).at(-1, 0, 2.0), random_material(rng, green, 0.15))
    vein = plain(rng, shifted(rng, green, 0.2, 0.02), 0.03)
    ribs = [capsule(-1, 0, 0.9, 0, 0.03, 0.01, 8)]
    for i in range(rng.integer(0, 5)):
        x = -0.7 + 0.3 * i
        ribs += [capsule(x, 0, x + 0.4, side * 0.5, 0.015, 0.008, 8) for side in (-1, 1)]
    node.on("vein", union(*ribs), vein)
    return node


def fruit(rng: Rng) -> Node:
    """An apple, orange, melon …: a shaded ball with stem and leaf; sometimes a bunch of small ones."""
    base = tone(rng, "fruit")
    if rng.chance(0.25):
        berry = Node("berry", ellipse(corners=20), plain(rng, base))
        return _bunch(rng, berry, rng.integer(5, 18), rng.uniform(0.2, 0.35))
    node = Node("fruit", blob(rng, 0.15), ball(rng, base, 0, 0, 1))
    if rng.chance(0.7):
        node.attach("stem", capsule(0, -0.75, rng.signed(0.15), -1.15, 0.05, 0.07, 8), plain(rng, tone(rng, "wood")))
    if rng.chance(0.4):
        node.attach("leaf", leaf(rng, 0.3).at(0, -0.9, 0.7, rng.signed(0.5)), plain(rng, tone(rng, "leaf")))
    if rng.chance(0.3):
        paper = plain(rng, colour(rng))
        paper.relief = 0.0
        node.on("sticker", ellipse(0.2, 0.15, 20).at(rng.signed(0.25), rng.signed(0.25)), paper)
    return node


def _bunch(rng: Rng, berry: Node, count: int, size: float) -> Node:
    """A bunch of ``count`` copies of ``berry``, each a part."""
    bunch = Node("bunch", None)
    for _ in range(count):
        x, y = rng.direction()
        far = 0.7 * rng.random() ** 0.5
        copy = move(berry, affine(x * far, y * far, size * rng.uniform(0.8, 1.2), rng.uniform(0, 6.3)))
        if copy.material is not None:
            copy.material = ball(rng, tuple(copy.material.ramp[32].tolist()), x * far, y * far, size)
        bunch.add(copy)
    return bunch


def potted(rng: Rng) -> Node:
    """A house plant: long leaves out of a pot."""
    node = Node("plant", None)
    green = tone(rng, "leaf")
    for _ in range(rng.integer(4, 10)):
        material = rounded(surface(rng, "cloth", shifted(rng, green, 0.06, 0.02)), 0.5)
        node.attach(
            "leaf",
            leaf(rng, rng.uniform(0.1, 0.25)).at(0, 0.1, rng.uniform(0.6, 1.1), -1.57 + rng.signed(0.7)),
            material,
        )
    node.attach(
        "pot",
        path((-0.3, 0.1), (0.3, 0.1), (0.22, 0.7), (-0.22, 0.7)),
        solid(rng, tone(rng, rng.pick(("earth", "white", "dark"))), 0.9),
    )
    return node
