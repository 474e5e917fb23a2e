"""Small objects: bottles, cups, signs, tools, wheels, garments, rings and chains."""

from __future__ import annotations

from minisam.world.render.materials import ball, colour, plain, random_material, shifted, tone
from minisam.world.render.objects import Node
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import (
    affine,
    blob,
    box,
    capsule,
    convex,
    curve,
    ellipse,
    path,
    profile,
    random_shape,
    ring,
    star,
    superellipse,
    union,
)


def vessel(rng: Rng) -> Node:
    """A bottle, vase, jar or glass in profile: neck, cap, label with a logo, perhaps a fill level."""
    neck, belly = rng.uniform(0.1, 0.4), rng.uniform(0.3, 0.6)
    shoulder = rng.uniform(-0.5, 0.1)
    widths = [(-1.0, neck), (shoulder - 0.25, neck), (shoulder + 0.1, belly), (0.7, belly * rng.uniform(0.6, 1.2))]
    base = colour(rng)
    material = plain(rng, base, 0.1)
    material.relief, material.gloss = rng.uniform(0.5, 1.4), rng.uniform(0.0, 0.8)
    node = Node("vessel", profile([*widths, (1.0, belly * rng.uniform(0.5, 1.0))]), material)
    if rng.chance(0.25):  # glass
        material.opacity, material.grain = rng.uniform(0.35, 0.8), 0.02
    if rng.chance(0.4):
        node.on("content", box(-1, rng.uniform(-0.2, 0.6), 1, 1), plain(rng, shifted(rng, base, 0.3, 0.1)))
    if rng.chance(0.6):
        node.attach("cap", box(-neck - 0.05, -1.1, neck + 0.05, -0.85, 0.03), plain(rng, colour(rng)))
    if rng.chance(0.7):
        paper = colour(rng)
        label = node.on("label", box(-0.7, shoulder + 0.25, rng.pick((0.7, 0.25)), 0.7), plain(rng, paper))
        label.on("logo", random_shape(rng).at(rng.signed(0.06), 0.4, 0.14), plain(rng, colour(rng)))
        for i in range(rng.integer(0, 2)):
            label.on(
                "line", box(-0.25, 0.58 + 0.07 * i, 0.2, 0.61 + 0.07 * i), plain(rng, shifted(rng, paper, 0.4, 0.03))
            )
    return node


def cup(rng: Rng) -> Node:
    """A cup or pot: body, opening with liquid, a handle with a real hole, saucer, motif."""
    base, top = colour(rng), rng.uniform(0.5, 0.8)
    node = Node("cup", None)
    if rng.chance(0.4):
        saucer = node.attach("saucer", ellipse(1.15, 0.28).at(0, 0.75), plain(rng, shifted(rng, base, 0.1, 0.03)))
        saucer.on("rim", ring(ellipse(1.0, 0.22), 0.8).at(0, 0.75), plain(rng, colour(rng)))
    glaze = plain(rng, base)
    handle = node.attach("handle", ring(superellipse(2.5), rng.uniform(0.55, 0.75)).at(top, 0.05, 0.4, 0, 0.9), glaze)
    handle.material = plain(rng, base)
    body = node.attach("body", profile([(-0.6, top), (0.3, top * 0.95), (0.8, top * rng.uniform(0.5, 0.9))]), glaze)
    glaze.relief = rng.uniform(0.5, 1.3)
    if rng.chance(0.6):
        body.on("motif", random_shape(rng).at(rng.signed(0.1), 0.2, 0.25), plain(rng, colour(rng)))
    opening = node.attach("opening", ellipse(top, 0.2).at(0, -0.6), plain(rng, shifted(rng, base, 0.2, 0.02)))
    opening.on(
        "liquid",
        ellipse(top * 0.85, 0.15).at(0, -0.56),
        plain(rng, tone(rng, rng.pick(("wood", "dark", "fruit", "white")))),
    )
    return node


def sign(rng: Rng) -> Node:
    """A sign or key or button: plate, border, letters of strokes, post."""
    plate = rng.pick((ellipse(), box(-1, -0.5, 1, 0.5, 0.1), convex(rng, 3), convex(rng, 8), superellipse(5.0)))
    base = colour(rng)
    node = Node("sign", plate, plain(rng, base))
    node.on("border", ring(plate.at(0, 0, 0.93), 0.88), plain(rng, colour(rng)))
    ink, count = plain(rng, shifted(rng, colour(rng), 0.1, 0.05)), rng.integer(1, 5)
    for i in range(count):
        x, wide = 0.9 * ((2 * i + 1) / count - 1) * 0.6, 0.3 / count + 0.05
        strokes = []
        for _ in range(rng.integer(2, 4)):
            a, b = rng.array(4) * 2 - 1, rng.uniform(0.03, 0.05)
            strokes.append(capsule(x + a[0] * wide, a[1] * 0.25, x + a[2] * wide, a[3] * 0.25, b, b, 8))
        node.on("letter", union(*strokes), ink)
    if rng.chance(0.4):
        node.attach("post", box(-0.05, 0.3, 0.05, 2.0), plain(rng, tone(rng, "metal")), True)
    return node


def tool(rng: Rng) -> Node:
    """A tool: handle and head (hammer, spoon, brush, knife, scissors-like rings)."""
    node = Node("tool", None)
    handle = node.attach(
        "handle",
        capsule(0, 0, 0, 1.2, 0.1, rng.uniform(0.08, 0.16)),
        random_material(rng, tone(rng, rng.pick(("wood", "dark", "fruit"))), 0.1),
    )
    handle.on("band", box(-0.3, 0.1, 0.3, 0.2), plain(rng, tone(rng, "metal")))
    metal = ball(rng, tone(rng, "metal"), 0, -0.5, 0.5)
    kind = rng.integer(0, 4)
    if kind == 0:
        head = ellipse(0.28, 0.4).at(0, -0.35)
    elif kind == 1:
        head = box(-0.5, -0.35, 0.5, 0.0, 0.08)
    elif kind == 2:
        head = path((-0.12, 0.05), (0.14, 0.05), (0.1, -1.3))
    elif kind == 3:
        head = ring(ellipse(0.35, 0.35), 0.65).at(0, -0.3)
    else:
        head = blob(rng, 0.6).at(0, -0.4, 0.4)
    node.attach("head", head, metal)
    return node


def wheel(rng: Rng) -> Node:
    """A wheel, clock, plate or gear: rim, inner disc, spokes or marks, hub."""
    outer = star(rng, rng.integer(10, 16), 0.85) if rng.chance(0.2) else ellipse(corners=48)
    node = Node("disc", outer, random_material(rng, None, 0.12))
    inner = rng.uniform(0.55, 0.92)
    disc = node.on("inner", ellipse(inner, inner, 48), random_material(rng, None, 0.15))
    count = rng.integer(0, 10)
    mark = plain(rng, colour(rng))
    for i in range(count):
        disc.on(
            "mark",
            box(inner * rng.pick((0.2, 0.75)), -0.05, inner * 0.92, 0.05).at(0, 0, 1.0, 6.2832 * i / count),
            mark,
        )
    disc.on("hub", ellipse(0.15, 0.15, 20), plain(rng, tone(rng, "metal")))
    return node


def garment(rng: Rng) -> Node:
    """A shirt, bag or cushion: cloth with pocket, logo, buttons, straps."""
    cloth = colour(rng)
    material = random_material(rng, cloth)
    node = Node("garment", superellipse(rng.uniform(2.5, 5.0)).at(0, 0, 0.8, 0, rng.uniform(0.7, 1.1)), material)
    if rng.chance(0.6):
        for side in (-1, 1):
            node.attach(
                "sleeve", capsule(side * 0.6, -0.55, side * 1.15, rng.uniform(-0.4, 0.4), 0.25, 0.2), material, True
            )
    elif rng.chance(0.7):
        node.attach(
            "strap", ring(ellipse(0.5, 0.6), 0.8).at(0, -0.75), plain(rng, shifted(rng, cloth, 0.2, 0.03)), True
        )
    pocket = node.on(
        "pocket", box(0.1, -0.1, 0.55, 0.4, 0.05), random_material(rng, shifted(rng, cloth, 0.15, 0.03), 0.15)
    )
    pocket.on("logo", random_shape(rng).at(0.32, 0.15, 0.13), plain(rng, colour(rng)))
    for i in range(rng.weighted(((1, 0), (1, 4)))):
        node.on("button", ellipse(0.05, 0.05, 12).at(-0.05, -0.5 + 0.28 * i), plain(rng, colour(rng)))
    if rng.chance(0.4):
        node.on("stripe", box(-2, 0.45, 2, 0.6), plain(rng, colour(rng)))
    return node


def rope(rng: Rng) -> Node:
    """A ring-shaped or coiled thing: bracelet, tyre, chain of rings."""
    base = colour(rng)
    if rng.chance(0.5):
        return Node("ring", ring(ellipse(corners=48), rng.uniform(0.5, 0.9)), ball(rng, base, 0, 0, 1))
    chain = Node("chain", None)
    for i in range(rng.integer(3, 7)):
        link = ring(ellipse(0.3, 0.2), 0.6).moved(affine(-0.9 + 0.42 * i, rng.signed(0.05), 1.0, rng.signed(0.3)))
        chain.attach("link", link, ball(rng, shifted(rng, base, 0.05, 0.02), -0.9 + 0.42 * i, 0, 0.3))
    if rng.chance(0.3):
        chain.attach("pendant", curve(rng, 0, 0.1, 1.57, 0.8, 0.1, 0.15, 0.3), plain(rng, colour(rng)))
    return chain
