"""Living things: animals, people, faces, plants. Caricatures; what matters is whole, part and subpart."""

from __future__ import annotations

from .dice import Dice
from .materials import Colour, ball, colour, plain, random_material, shifted, tone
from .objects import Node, heap
from .shapes import affine, blob, box, branches, capsule, curve, ellipse, leaf, path, shaggy, superellipse, union
from .surfaces import rounded, solid, surface


def _eye(dice: Dice, head: Node, x: float, y: float, radius: float) -> None:
    """A round eye with iris and pupil on ``head``."""
    white = head.on(
        "eye", ellipse(radius, radius * dice.uniform(0.4, 0.8), 20).at(x, y), plain(dice, tone(dice, "white"))
    )
    tint = tone(dice, dice.pick(("wood", "sky", "dark")))
    iris = white.on("iris", ellipse(radius * 0.6, radius * 0.6, 20).at(x, y), plain(dice, tint))
    iris.on("pupil", ellipse(radius * 0.3, radius * 0.3, 12).at(x, y), plain(dice, (0.04, 0.04, 0.05)))


def animal(dice: Dice) -> Node:
    """A four-legged animal from the side: body, legs, head with eye, ear and snout, tail; perhaps spotted."""
    coat = tone(dice, "fur")
    fur = random_material(dice, coat, dice.log_uniform(0.05, 0.4))
    length, leg = dice.uniform(0.55, 0.9), dice.uniform(0.25, 0.6)
    outline = shaggy(dice, 0.3, 0.06) if dice.chance(0.4) else blob(dice, 0.4)
    body = Node("animal", outline.at(0, 0, 0.42, 0, length / 0.42), fur)
    dark = random_material(dice, shifted(dice, coat, 0.1, 0.02), 0.1)
    for i, x in enumerate((-0.75, -0.55, 0.5, 0.7)):
        foot = x * length + dice.signed(0.12)
        shape = capsule(x * length, 0.1, foot, 0.2 + leg, 0.13, 0.07)
        limb = body.attach("leg", shape, fur if i % 2 else dark, behind=True)
        if dice.chance(0.5):
            limb.on("hoof", ellipse(0.13, 0.09, 12).at(foot, 0.24 + leg), plain(dice, tone(dice, "dark")))
    body.attach(
        "tail", curve(dice, -length * 0.9, -0.1, 3.1 + dice.signed(0.6), 0.6, 0.08, 0.03, dice.signed(1.2)), dark, True
    )
    x, y, r = length + 0.15, -0.3 - dice.uniform(0.0, 0.3), dice.uniform(0.22, 0.36)
    body.attach("neck", capsule(length * 0.7, -0.1, x, y, 0.25, 0.15), fur)
    head = body.attach("head", blob(dice, 0.2).at(x, y, r), random_material(dice, coat, 0.1, (x, y, r)))
    head.attach(
        "ear", leaf(dice, 0.35).at(x - 0.3 * r, y - 0.5 * r, r * dice.uniform(0.7, 1.6), -1.9 + dice.signed(0.5)), dark
    )
    snout = head.attach(
        "snout", ellipse(0.55, 0.4, 20).at(x + r * 0.8, y + 0.25 * r, r), plain(dice, shifted(dice, coat, 0.2, 0.02))
    )
    snout.on("nose", ellipse(0.18, 0.16, 12).at(x + r * 1.2, y + 0.1 * r, r), plain(dice, (0.08, 0.07, 0.07)))
    _eye(dice, head, x + 0.25 * r, y - 0.25 * r, 0.2 * r)
    for _ in range(dice.weighted(((2, 0), (1, 3)))):
        body.on(
            "spot",
            blob(dice, 0.8).at(dice.signed(0.5) * length, dice.signed(0.2), 0.15),
            plain(dice, tone(dice, "fur")),
        )
    return body


def fish(dice: Dice) -> Node:
    """A fish: body, tail, fins, eye, perhaps bands."""
    base = colour(dice)
    body = Node("fish", leaf(dice, dice.uniform(0.25, 0.5), 32).at(-1, 0, 2.0), random_material(dice, base))
    fin = random_material(dice, shifted(dice, base, 0.2, 0.08))
    body.attach("tail", path((-0.85, 0), (-1.4, -0.45), (-1.2, 0), (-1.4, 0.45)), fin, True)
    body.attach("fin", path((-0.3, -0.3), (0.3, -0.3), (-0.2, -0.75)), fin, True)
    body.attach("fin", leaf(dice, 0.3).at(0.1, 0.1, 0.5, dice.uniform(1.6, 2.6)), fin)
    for i in range(dice.weighted(((2, 0), (1, 2), (1, 4)))):
        body.on("band", box(-0.6 + 0.35 * i, -1, -0.45 + 0.35 * i, 1), plain(dice, shifted(dice, base, 0.35, 0.1)))
    _eye(dice, body, 0.65, -0.08, dice.uniform(0.07, 0.13))
    return body


def bird(dice: Dice) -> Node:
    """A bird: body, wing with feathers, head with beak and eye, tail, thin legs."""
    base = colour(dice)
    body = Node("bird", blob(dice, 0.25).at(0, 0, 0.45, 0.3, 1.7), random_material(dice, base, 0.15))
    wing = body.attach(
        "wing",
        leaf(dice, 0.3).at(0.35, -0.15, 1.3, 2.7 + dice.signed(0.5)),
        random_material(dice, shifted(dice, base, 0.2, 0.05)),
    )
    for i in range(dice.integer(0, 3)):
        wing.on(
            "feather", leaf(dice, 0.12).at(0.1 - 0.2 * i, -0.1, 0.7, 2.7), plain(dice, shifted(dice, base, 0.2, 0.05))
        )
    body.attach("tail", path((-0.6, -0.1), (-1.4, 0.1), (-1.3, 0.4), (-0.5, 0.2)), plain(dice, base), True)
    for x in (-0.1, 0.12):
        body.attach("leg", capsule(x, 0.3, x + 0.05, 0.95, 0.03, 0.025, 8), plain(dice, tone(dice, "wood")), True)
    head = body.attach("head", ellipse(0.3, 0.28).at(0.75, -0.45), plain(dice, shifted(dice, base, 0.2, 0.1)))
    head.attach("beak", path((0.98, -0.55), (1.4, -0.42), (0.98, -0.35)), plain(dice, tone(dice, "fruit")))
    _eye(dice, head, 0.82, -0.5, 0.07)
    return body


def insect(dice: Dice) -> Node:
    """A butterfly or beetle seen from above: mirrored wings with spots, body, feelers."""
    base = colour(dice)
    body = Node("insect", ellipse(0.12, 0.6, 20), plain(dice, tone(dice, "dark")))
    upper, lower = leaf(dice, dice.uniform(0.35, 0.6)), leaf(dice, dice.uniform(0.35, 0.6))
    wings = random_material(dice, base)
    turn, long = dice.uniform(-1.0, -0.4), dice.uniform(0.8, 1.3)
    for side in (1.0, -1.0):
        flip = affine(0, 0, 1.0)
        flip[0, 0] = side
        for shape, angle, scale in ((lower, 0.6, 0.7 * long), (upper, turn, long)):
            wing = body.attach("wing", shape.at(0.0, 0.0, scale, angle).moved(flip), wings, True)
            spot = ellipse(0.17, 0.14, 20).at(0.6 * scale, 0.0).at(0, 0, 1.0, angle).moved(flip)
            wing.on("spot", spot, plain(dice, shifted(dice, base, 0.4, 0.1)))
        body.attach("feeler", capsule(0, -0.5, side * 0.3, -1.0, 0.025, 0.02, 8), plain(dice, tone(dice, "dark")), True)
    return body


def face(dice: Dice) -> Node:
    """A face: hair behind, ears, eyes with irises, brows, nose, mouth with teeth, perhaps a hat or glasses."""
    skin = tone(dice, "skin")
    head = Node(
        "head", superellipse(dice.uniform(1.9, 2.6)).at(0, 0, 1.0, 0, dice.uniform(0.7, 0.85)), plain(dice, skin, 0.08)
    )
    hair = random_material(dice, tone(dice, "fur"), 0.15)
    long = dice.uniform(0.9, 1.5)
    head.attach(
        "hair", shaggy(dice, 0.2, 0.06).at(0, -0.3 + 0.3 * (long - 0.9), 1.05 * long, 0, 0.85 / long), hair, True
    )
    for side in (-1, 1):
        head.attach("ear", ellipse(0.14, 0.24, 20).at(side * 0.78, 0.05), plain(dice, skin, 0.05), True)
        _eye(dice, head, side * 0.32, -0.12, dice.uniform(0.09, 0.13))
        head.on("brow", capsule(side * 0.15, -0.35, side * 0.5, -0.38 + dice.signed(0.05), 0.04, 0.03), hair)
    head.on("fringe", shaggy(dice, 0.4, 0.1).at(dice.signed(0.2), -1.0, 0.75, 0, 1.3), hair)
    head.on("nose", blob(dice, 0.3).at(0, 0.15, 0.13, 1.57, 1.5), plain(dice, shifted(dice, skin, 0.06, 0.02), 0.05))
    mouth = head.on("mouth", ellipse(0.3, dice.uniform(0.05, 0.15), 20).at(0, 0.52), plain(dice, (0.6, 0.25, 0.22)))
    mouth.on("teeth", box(-0.2, 0.45, 0.2, 0.52), plain(dice, tone(dice, "white"), 0.03))
    if dice.chance(0.3):
        hat = head.attach(
            "hat", union(box(-1.1, -0.75, 1.1, -0.6, 0.05), box(-0.7, -1.4, 0.7, -0.65, 0.2)), random_material(dice)
        )
        hat.on("ribbon", box(-0.7, -0.9, 0.7, -0.75), plain(dice, colour(dice)))
    return head


def person(dice: Dice) -> Node:
    """A standing figure: shirt with pocket and logo, sleeves and hands, trousers, shoes, head with hair and face."""
    skin = tone(dice, "skin")
    cloth: Colour = colour(dice)
    shirt_stuff, trouser_stuff = random_material(dice, cloth), random_material(dice, colour(dice))
    person = Node("person", None)
    for side in (-1, 1):
        foot = side * dice.uniform(0.08, 0.28)
        leg = person.attach("leg", capsule(side * 0.12, 0.25, foot, 1.0, 0.15, 0.1), trouser_stuff)
        leg.attach("shoe", ellipse(0.15, 0.08, 20).at(foot + 0.05, 1.08), plain(dice, tone(dice, "dark")))
    for side in (-1, 1):
        hx, hy = side * dice.uniform(0.3, 0.7), dice.uniform(-0.5, 0.4)
        ex, ey = side * dice.uniform(0.35, 0.6), -0.05
        arm = person.attach(
            "arm",
            union(capsule(side * 0.25, -0.4, ex, ey, 0.11, 0.09), capsule(ex, ey, hx, hy, 0.09, 0.07)),
            shirt_stuff,
        )
        arm.attach("hand", ellipse(0.09, 0.08, 12).at(hx, hy), plain(dice, skin, 0.05))
    torso = superellipse(3.0).at(0, -0.1, 0.45, 1.5708, 1.0).moved(affine(0, 0, 1.0, 0, dice.uniform(0.65, 0.9)))
    shirt = person.attach("shirt", torso, shirt_stuff)
    if dice.chance(0.7):
        pocket = shirt.on("pocket", box(0.05, -0.3, 0.25, -0.1, 0.02), plain(dice, shifted(dice, cloth, 0.2, 0.03)))
        pocket.on("logo", blob(dice, 0.8).at(0.15, -0.2, 0.05), plain(dice, colour(dice)))
    if dice.chance(0.5):
        shirt.on("belt", box(-0.5, 0.24, 0.5, 0.34), plain(dice, tone(dice, "dark")))
    head = person.attach("head", ellipse(0.2, 0.25).at(0, -0.8), plain(dice, skin, 0.06, (0, -0.8, 0.25)))
    head.attach(
        "hair",
        shaggy(dice, 0.4, 0.08).at(dice.signed(0.03), -0.95, 0.19, 0, 1.2),
        plain(dice, tone(dice, "fur")),
        dice.chance(0.3),
    )
    for side in (-1, 1):
        head.on("eye", ellipse(0.03, 0.02, 12).at(side * 0.08, -0.8), plain(dice, (0.1, 0.08, 0.07)))
    return person


def flower(dice: Dice) -> Node:
    """A flower: stem, leaves, petals around a centre."""
    petal_colour = colour(dice)
    node = Node("flower", None)
    if dice.chance(0.7):
        green = plain(dice, tone(dice, "leaf"))
        stem = node.attach("stem", curve(dice, 0, 0, 1.57, 1.8, 0.04, 0.05, dice.signed(0.4)), green)
        for _ in range(dice.integer(0, 3)):
            stem.attach(
                "leaf",
                leaf(dice, 0.25).at(0, dice.uniform(0.7, 1.4), 0.6, dice.pick((0.4, 2.7)) + dice.signed(0.3)),
                green,
            )
    count, width, radius = dice.integer(4, 11), dice.uniform(0.2, 0.5), dice.uniform(0.5, 0.9)
    petal = leaf(dice, width)
    bloom = node.attach("bloom", petal.at(0, 0, radius), plain(dice, petal_colour))
    for i in range(count):
        stuff = random_material(dice, shifted(dice, petal_colour, 0.06, 0.02), 0.1)
        bloom.attach("petal", petal.at(0, 0, radius, 6.2832 * i / count), stuff)
    bloom.attach(
        "centre", ellipse(0.25, 0.25, 20).at(0, 0, radius), random_material(dice, tone(dice, "fruit"), 0.2, (0, 0, 0.2))
    )
    return node


def tree(dice: Dice) -> Node:
    """A tree: trunk, ragged crown of one or more masses, perhaps fruit; or bare branches."""
    bark = random_material(dice, tone(dice, "wood"), 0.15)
    if dice.chance(0.25):
        return Node("tree", branches(dice, 4, dice.uniform(0.4, 0.7), 0.1), bark)
    node = Node("tree", None)
    trunk = path((-0.1, -0.2), (0.1, -0.2), (0.15, 1.0), (-0.16, 1.0))
    node.attach("trunk", trunk, bark)
    green = tone(dice, "leaf")
    crown = node.attach("crown", shaggy(dice, 0.6, 0.15).at(0, -0.3, 0.7), random_material(dice, green, 0.25))
    for _ in range(dice.integer(0, 4)):
        stuff = random_material(dice, shifted(dice, green, 0.06, 0.02), 0.25)
        crown.attach("bough", shaggy(dice, 0.6, 0.15).at(dice.signed(0.35), -0.3 + dice.signed(0.3), 0.4), stuff)
    fruit = tone(dice, "fruit")
    for _ in range(dice.weighted(((3, 0), (1, 5)))):
        x, y = dice.signed(0.3), -0.3 + dice.signed(0.3)
        crown.on("fruit", ellipse(0.08, 0.08, 12).at(x, y), ball(dice, fruit, x, y, 0.08))
    return node


def plant_leaf(dice: Dice) -> Node:
    """A single leaf with its midrib and veins."""
    green = tone(dice, "leaf")
    node = Node("leaf", leaf(dice, dice.uniform(0.2, 0.5), 32).at(-1, 0, 2.0), random_material(dice, green, 0.15))
    vein = plain(dice, shifted(dice, green, 0.2, 0.02), 0.03)
    ribs = [capsule(-1, 0, 0.9, 0, 0.03, 0.01, 8)]
    for i in range(dice.integer(0, 5)):
        x = -0.7 + 0.3 * i
        ribs += [capsule(x, 0, x + 0.4, side * 0.5, 0.015, 0.008, 8) for side in (-1, 1)]
    node.on("vein", union(*ribs), vein)
    return node


def fruit(dice: Dice) -> Node:
    """An apple, orange, melon …: a shaded ball with stem and leaf; sometimes a bunch of small ones."""
    base = tone(dice, "fruit")
    if dice.chance(0.25):
        berry = Node("berry", ellipse(corners=20), plain(dice, base))
        return heap(dice, "bunch", berry, dice.integer(5, 18), 0.7, dice.uniform(0.2, 0.35))
    node = Node("fruit", blob(dice, 0.15), ball(dice, base, 0, 0, 1))
    if dice.chance(0.7):
        node.attach("stem", capsule(0, -0.75, dice.signed(0.15), -1.15, 0.05, 0.07, 8), plain(dice, tone(dice, "wood")))
    if dice.chance(0.4):
        node.attach("leaf", leaf(dice, 0.3).at(0, -0.9, 0.7, dice.signed(0.5)), plain(dice, tone(dice, "leaf")))
    if dice.chance(0.3):
        paper = plain(dice, colour(dice))
        paper.relief = 0.0
        node.on("sticker", ellipse(0.2, 0.15, 20).at(dice.signed(0.25), dice.signed(0.25)), paper)
    return node


def potted(dice: Dice) -> Node:
    """A house plant: long leaves out of a pot."""
    node = Node("plant", None)
    green = tone(dice, "leaf")
    for _ in range(dice.integer(4, 10)):
        stuff = rounded(surface(dice, "cloth", shifted(dice, green, 0.06, 0.02)), 0.5)
        node.attach(
            "leaf",
            leaf(dice, dice.uniform(0.1, 0.25)).at(0, 0.1, dice.uniform(0.6, 1.1), -1.57 + dice.signed(0.7)),
            stuff,
        )
    node.attach(
        "pot",
        path((-0.3, 0.1), (0.3, 0.1), (0.22, 0.7), (-0.22, 0.7)),
        solid(dice, tone(dice, dice.pick(("earth", "white", "dark"))), 0.9),
    )
    return node
