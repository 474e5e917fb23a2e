"""What stands and drives in streets: cars, lorries, bicycles, poles; crowns and roofs from above."""

from __future__ import annotations

import numpy as np

from minisam.world.render.materials import Colour, colour, plain, shifted, tone
from minisam.world.render.objects import Node
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import box, capsule, ellipse, path, polygon, shaggy, superellipse, union
from minisam.world.render.surfaces import rounded, solid, surface

PAINTS: tuple[Colour, ...] = (
    (0.85, 0.85, 0.85), (0.62, 0.63, 0.65), (0.1, 0.1, 0.11), (0.3, 0.31, 0.33), (0.5, 0.1, 0.09), (0.12, 0.2, 0.4),
    (0.75, 0.72, 0.65), (0.2, 0.3, 0.25), (0.8, 0.65, 0.2),
)  # fmt: skip


def paint(rng: Rng) -> Colour:
    """A car's colour: mostly white, grey, black."""
    return shifted(rng, PAINTS[int(len(PAINTS) * rng.random() * rng.uniform(0.55, 1.0))], 0.05, 0.015)


def glass(rng: Rng) -> Colour:
    """A window seen from outside: dark, or the sky's."""
    return tone(rng, "dark") if rng.chance(0.7) else tone(rng, "sky")


def car_above(rng: Rng) -> Node:
    """A car seen from above, heading up: body, windscreen, roof, rear window, mirrors, lights."""
    base = paint(rng)
    half, long = rng.uniform(0.38, 0.48), rng.uniform(0.9, 1.0)
    long = 1.35 if rng.chance(0.08) else long
    body = Node("car", superellipse(rng.uniform(3.5, 6.0)).moved(np.array([[half, 0, 0], [0, long, 0]])),
                solid(rng, base, rng.uniform(0.2, 0.7), rng.uniform(0.0, 0.3), 0.03))  # fmt: skip
    for side in (-1, 1):
        body.attach("mirror", ellipse(0.07, 0.05, 12).at(side * (half + 0.03), -0.3), solid(rng, base), True)
    dark = glass(rng)
    front, rear = rng.uniform(-0.5, -0.3), rng.uniform(0.45, 0.75)
    w = half * 0.8
    cabin = body.on("window", path((-w, front), (w, front), (w * 0.95, rear), (-w * 0.95, rear)), solid(rng, dark, 0.2))
    w *= 0.82
    cabin.on("roof", box(-w, front + 0.28, w, rear - rng.uniform(0.12, 0.25), 0.06), solid(rng, base, 0.4, 0.0, 0.03))
    for side in (-1, 1):
        light = ellipse(0.09, 0.05, 12)
        body.on("light", light.at(side * half * 0.65, -long + 0.07), solid(rng, tone(rng, "white")))
        body.on("light", light.at(side * half * 0.7, long - 0.05), solid(rng, (0.5, 0.08, 0.07)))
    return body


def lorry_above(rng: Rng) -> Node:
    """A lorry or bus from above: cab and a long box."""
    node = Node("truck", None)
    node.attach("cab", box(-0.26, -1.0, 0.26, -0.68, 0.06), solid(rng, paint(rng), 0.5))
    load = node.attach("load", box(-0.29, -0.65, 0.29, 1.0, 0.03), solid(rng, tone(rng, "white"), 0.5))
    if rng.chance(0.4):
        load.on("ridge", box(-0.02, -0.6, 0.02, 0.95), solid(rng, tone(rng, "metal"), 0.2))
    return node


def car_behind(rng: Rng) -> Node:
    """A car from behind or before: body, cabin, window with a driver's head perhaps, lights, plate, wheels."""
    base = paint(rng)
    material = solid(rng, base, rng.uniform(0.3, 0.9), rng.uniform(0.0, 0.4), 0.03)
    top, shoulder = rng.uniform(-0.75, -0.5), rng.uniform(0.6, 0.75)
    tall = rng.chance(0.2)
    top = -1.15 if tall else top
    body = Node("van" if tall else "car", path(
        (-0.95, 0.45), (-0.98, 0.05), (-0.9, -0.1), (-shoulder, top), (shoulder, top), (0.9, -0.1), (0.98, 0.05),
        (0.95, 0.45),
    ), material)  # fmt: skip
    for side in (-1, 1):
        wheel = body.attach(
            "wheel", box(side * 0.88 - 0.13, 0.2, side * 0.88 + 0.13, 0.66, 0.06), solid(rng, tone(rng, "dark")), True
        )
        wheel.labelled = rng.chance(0.8)
        body.attach("mirror", ellipse(0.12, 0.08, 12).at(side * 1.03, -0.12), solid(rng, base), True)
    s = shoulder * 0.9
    window = body.on(
        "window", path((-0.78, -0.1), (-s, top + 0.07), (s, top + 0.07), (0.78, -0.1)), solid(rng, glass(rng), 0.1, 0.1)
    )
    for _ in range(rng.integer(0, 2)):
        window.on("head", ellipse(0.13, 0.17, 12).at(rng.uniform(-0.5, 0.5), -0.15), solid(rng, tone(rng, "dark")))
    lamp = (0.55, 0.07, 0.06) if rng.chance(0.6) else tone(rng, "white")
    for side in (-1, 1):
        body.on("light", box(side * 0.78 - 0.14, -0.02, side * 0.78 + 0.14, 0.14, 0.04), solid(rng, lamp, 0.5, 0.4))
    body.on("bumper", box(-1, 0.28, 1, 0.46), solid(rng, tone(rng, "dark") if rng.chance(0.5) else base, 0.3))
    plate = body.on("plate", box(-0.22, 0.12, 0.22, 0.24), solid(rng, tone(rng, "white"), 0.1))
    plate.on("letter", box(-0.17, 0.15, 0.17, 0.2), solid(rng, tone(rng, "dark"), 0.0)).labelled = False
    return body


def lorry_behind(rng: Rng) -> Node:
    """A lorry or bus from behind or before: a box with a door or windows, wheels, lights."""
    base = colour(rng) if rng.chance(0.4) else tone(rng, "white")
    bus = rng.chance(0.5)
    node = Node("bus" if bus else "truck", box(-0.75, -1.0, 0.75, 0.7, 0.05), solid(rng, base, 0.4))
    for side in (-1, 1):
        node.attach(
            "wheel", box(side * 0.6 - 0.12, 0.5, side * 0.6 + 0.12, 0.95, 0.05), solid(rng, tone(rng, "dark")), True
        )
        node.on("light", box(side * 0.62 - 0.07, 0.45, side * 0.62 + 0.07, 0.6), solid(rng, (0.6, 0.1, 0.08), 0.4))
    if bus:
        node.on("window", box(-0.65, -0.85, 0.65, -0.05, 0.06), solid(rng, glass(rng), 0.1, 0.1))
    else:
        for side in (-1, 1):
            node.on(
                "door",
                box(min(side * 0.7, side * 0.02), -0.92, max(side * 0.7, side * 0.02), 0.4),
                solid(rng, base, 0.3),
            )
    return node


def bicycle(rng: Rng) -> Node:
    """A bicycle from the side: two thin wheels, a frame of tubes, saddle and handlebar; often with a rider."""
    node = Node("bicycle", None)
    tyre, tube = solid(rng, tone(rng, "dark")), solid(rng, colour(rng))
    for x in (-0.6, 0.6):
        outer = ellipse(0.4, 0.4).at(x, 0.5)
        inner = ellipse(0.34, 0.34).at(x, 0.5)
        spokes = [capsule(x - 0.36 * c, 0.5 - 0.36 * s, x + 0.36 * c, 0.5 + 0.36 * s, 0.008, 0.008, 8)
                  for c, s in ((1, 0), (0, 1), (0.7, 0.7), (0.7, -0.7))]  # fmt: skip
        rim = union(outer, polygon(inner.points, hole=True), *spokes)
        node.attach("wheel", rim, tyre)
    bars = (
        (-0.6, 0.5, -0.25, -0.1),
        (-0.25, -0.1, 0.4, -0.1),
        (0.6, 0.5, 0.35, -0.3),
        (-0.1, 0.5, 0.4, -0.1),
        (-0.6, 0.5, -0.1, 0.5),
        (-0.1, 0.5, -0.28, -0.2),
    )
    node.attach("frame", union(*(capsule(*bar, 0.03, 0.03, 8) for bar in bars)), tube)
    node.attach("saddle", ellipse(0.15, 0.05, 12).at(-0.28, -0.22), tyre)
    node.attach("handlebar", capsule(0.25, -0.32, 0.45, -0.32, 0.03, 0.03, 8), tyre)
    return node


def pole(rng: Rng) -> Node:
    """A lamp post, a traffic light or a sign on a thin pole."""
    grey = solid(rng, tone(rng, rng.pick(("metal", "dark"))))
    thin = rng.uniform(0.015, 0.035)
    kind = rng.pick(("lamp", "light", "sign"))
    node = Node({"lamp": "street lamp", "light": "traffic light", "sign": "sign"}[kind], None)
    node.attach("pole", box(-thin, -0.9, thin, 1.0), grey)
    if kind == "lamp":
        side = rng.pick((-1, 1))
        node.attach("arm", capsule(0, -0.9, side * 0.3, -1.0, thin, thin, 8), grey)
        node.attach("lamp", ellipse(0.13, 0.05, 12).at(side * 0.35, -0.98), solid(rng, tone(rng, "white")))
    elif kind == "light":
        case = node.attach("case", box(-0.12, -1.0, 0.12, -0.45, 0.04), solid(rng, tone(rng, "dark")))
        lit = rng.integer(0, 2)
        for i, hue in enumerate(((0.9, 0.15, 0.1), (0.9, 0.65, 0.1), (0.2, 0.8, 0.4))):
            shown = hue if i == lit else (hue[0] * 0.25, hue[1] * 0.25, hue[2] * 0.25)
            case.on("lamp", ellipse(0.075, 0.075, 12).at(0, -0.9 + 0.175 * i), solid(rng, shown))
    else:
        plate = rng.pick(
            (ellipse(0.22, 0.22), box(-0.25, -0.2, 0.25, 0.2, 0.03), path((-0.25, 0.2), (0, -0.24), (0.25, 0.2)))
        )
        face = rng.pick(((0.7, 0.1, 0.1), (0.1, 0.25, 0.6), (0.9, 0.9, 0.88), (0.85, 0.7, 0.1)))
        disc = node.attach("plate", plate.at(0, -0.8), solid(rng, face, 0.1))
        disc.on(
            "symbol",
            rng.pick((box(-0.14, -0.03, 0.14, 0.03), ellipse(0.15, 0.15, 20))).at(0, -0.8),
            plain(rng, tone(rng, "white")),
        )
    return node


def tree_above(rng: Rng) -> Node:
    """The crown of a tree from above: ragged, leafy, lit from one side."""
    material = rounded(surface(rng, "foliage"), rng.uniform(0.3, 0.9))
    return Node("tree", shaggy(rng, 0.5, rng.uniform(0.08, 0.2)), material)


def roof(rng: Rng) -> Node:
    """A house from above: two or four roof planes of unequal light, chimney, skylights; flat roofs with vents."""
    base = tone(rng, rng.pick(("earth", "stone", "stone", "wood", "dark", "white")))
    w, h = rng.uniform(0.55, 0.8), 1.0
    kind = rng.weighted(((3, "gable"), (2, "hip"), (2, "flat")))
    node = Node("building", box(-w, -h, w, h), surface(rng, "concrete", base))
    if kind == "flat":
        node.on(
            "rim",
            box(-w * 0.93, -h * 0.95, w * 0.93, h * 0.95),
            surface(rng, "asphalt", shifted(rng, base, 0.08, 0.01)),
        )
        for _ in range(rng.integer(0, 5)):
            x, y = rng.uniform(-0.7, 0.7) * w, rng.uniform(-0.8, 0.8)
            node.on("vent", box(x, y, x + 0.12, y + 0.14), solid(rng, tone(rng, "metal"), 0.6))
    else:
        inset = 0.0 if kind == "gable" else w
        lit, dim = shifted(rng, base, 0.04, 0.01), rng.uniform(0.6, 0.85)
        dark = (base[0] * dim, base[1] * dim, base[2] * dim)
        for side, tint in ((-1, lit), (1, dark)):
            plane = path((side * w, -h), (0, -h + inset), (0, h - inset), (side * w, h))
            material = surface(rng, "planks" if rng.chance(0.4) else "board", tint, 2.0)
            node.on("roof", plane, material)
    if rng.chance(0.5):
        x, y = rng.uniform(-0.4, 0.3), rng.uniform(-0.7, 0.6)
        node.on("chimney", box(x, y, x + 0.13, y + 0.16), solid(rng, tone(rng, "earth"), 0.7))
    if rng.chance(0.4):
        x = rng.uniform(0.1, 0.35)
        node.on("window", box(x, -0.3, x + 0.16, 0.0), solid(rng, glass(rng), 0.1))
    if rng.chance(0.35):
        y = rng.uniform(-0.6, 0.5)
        node.attach("annex", box(w - 0.05, y, w + rng.uniform(0.3, 0.7), y + 0.5), surface(rng, "board", base, 2.0))
    return node
