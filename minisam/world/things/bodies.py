"""People as they stand, sit and walk, whole or by the shoulders; hands. Clothes of all colours belong together."""

from __future__ import annotations

import math

from minisam.world.render.materials import Colour, Material, colour, random_material, shifted, tone
from minisam.world.render.objects import Node, move
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import affine, blob, box, capsule, ellipse, path, shaggy, superellipse, union
from minisam.world.render.surfaces import rounded, solid, surface
from minisam.world.things.creatures import face


def cloth(rng: Rng) -> Material:
    """What is worn: mostly quiet, sometimes striped or printed; folds in the light."""
    base: Colour = colour(rng) if rng.chance(0.6) else tone(rng, rng.pick(("dark", "white", "sky", "earth")))
    kind = rng.weighted(((6, "cloth"), (1, "weave"), (1.5, "random")))
    material = random_material(rng, base, 0.2) if kind == "random" else surface(rng, kind, base)
    return rounded(material, rng.uniform(0.2, 0.9), rng.uniform(0.15, 0.5))


def skin(rng: Rng, base: Colour) -> Material:
    """Skin in the light."""
    return solid(rng, base, rng.uniform(0.2, 0.8), 0.0, 0.04)


def _bone(x: float, y: float, angle: float, length: float) -> tuple[float, float]:
    """The other end of a limb that starts at (x, y) and hangs at ``angle`` from straight down."""
    return x + length * math.sin(angle), y + length * math.cos(angle)


def _snapped(x: float) -> float:
    """``x`` on a grid of 2⁻¹⁶: what ``sin`` and ``cos`` differ by in the last bit is gone (see ``exact``)."""
    return round(x * 65536.0) / 65536.0


def _limb(x: float, y: float, first: float, second: float, lengths: tuple[float, float]) -> tuple[float, ...]:
    """Both ends and the joint between them, (x, y) each, of a limb of two bones at the angles first and second."""
    kx, ky = _bone(x, y, first, lengths[0])
    ex, ey = _bone(kx, ky, second, lengths[1])
    return x, y, _snapped(kx), _snapped(ky), _snapped(ex), _snapped(ey)


def figure(rng: Rng) -> Node:
    """A person: standing, walking, sitting, running; hair, head, neck, top, arms, hands, legs or skirt, shoes."""
    tint = tone(rng, "skin")
    top, legs = cloth(rng), cloth(rng)
    bare_arms, skirt = rng.chance(0.35), rng.chance(0.15)
    pose = rng.weighted(((4, "stand"), (3, "walk"), (2, "sit"), (1, "run")))
    swing = {"stand": 0.08, "walk": 0.4, "sit": 0.15, "run": 0.8}[pose]
    wide = rng.uniform(0.2, 0.28)
    person = Node("person", None)
    facing = rng.pick((-1.0, 1.0))
    hip_y = 0.1
    shoes = solid(rng, tone(rng, rng.pick(("dark", "white", "wood"))))
    for side in (-1.0, 1.0):
        first = side * swing * rng.uniform(0.5, 1.2) + rng.signed(0.04)
        second = first - facing * abs(swing) * rng.uniform(0.0, 0.8)
        if pose == "sit":
            first, second = facing * rng.uniform(1.1, 1.5), facing * rng.uniform(-0.2, 0.2)
        x0, y0, kx, ky, ex, ey = _limb(side * wide * 0.45, hip_y, first, second, (0.42, 0.44))
        shape = union(capsule(x0, y0, kx, ky, 0.125, 0.09), capsule(kx, ky, ex, ey, 0.09, 0.06))
        leg = person.attach("leg", shape, skin(rng, tint) if skirt else legs)
        leg.attach("shoe", capsule(ex, ey + 0.04, ex + facing * 0.12, ey + 0.06, 0.06, 0.045), shoes)
    arms = []
    for side in (-1.0, 1.0):
        first = side * rng.uniform(0.1, 0.5) - swing * side * rng.random()
        if rng.chance(0.15):
            first = side * rng.uniform(1.2, 2.6)  # raised
        second = first + facing * rng.uniform(0.0, 1.3)
        points = _limb(side * wide * 0.95, -0.48, first, second, (0.32, 0.3))
        arms.append((points, rng.chance(0.4)))
    for points, behind in arms:
        if behind:
            _arm(rng, person, points, top, tint, bare_arms)
    low = 0.18 if not skirt else rng.uniform(0.4, 0.6)
    hem = wide * (1.5 if skirt else 1.0)
    body = path(
        (-wide * 0.5, -0.62), (wide * 0.5, -0.62), (wide * 1.1, -0.54), (wide * 0.95, -0.2), (hem, low), (-hem, low),
        (-wide * 0.95, -0.2), (-wide * 1.1, -0.54),
    )  # fmt: skip
    shirt = person.attach("dress" if skirt else "shirt", body, top)
    if rng.chance(0.3):
        shirt.on(
            "jacket",
            path((-wide * 1.2, -0.7), (-wide * 0.2, -0.62), (-wide * 0.3, 0.3), (-wide * 1.2, 0.3)),
            cloth(rng),
        )
    if rng.chance(0.25):
        shirt.on("print", blob(rng, 0.8, 32).at(0, -0.3, 0.1), solid(rng, colour(rng), 0.0))
    if rng.chance(0.2):
        person.attach("bag", superellipse(4.0).at(facing * -wide, -0.2, 0.17, 0, 0.8), cloth(rng), rng.chance(0.5))
    for points, behind in arms:
        if not behind:
            _arm(rng, person, points, top, tint, bare_arms)
    hx = rng.signed(0.03)
    person.attach("neck", capsule(0, -0.6, hx, -0.72, 0.07, 0.065), skin(rng, tint))
    head = person.attach("head", ellipse(0.125, 0.16).at(hx, -0.83), skin(rng, tint))
    hair = rounded(surface(rng, "fur"), 0.4)
    if rng.chance(0.3):  # seen from behind, or long hair
        head.attach("hair", shaggy(rng, 0.3, 0.05).at(hx, -0.84, 0.15, 0, 0.95), hair)
    elif rng.chance(0.85):
        head.attach("hair", shaggy(rng, 0.4, 0.06).at(hx, -0.93, 0.125, 0, 1.15), hair, rng.chance(0.2))
        for side in (-1, 1):
            head.on("eye", ellipse(0.018, 0.012, 12).at(hx + side * 0.05, -0.84), solid(rng, (0.1, 0.08, 0.07), 0.0))
    if rng.chance(0.2):
        head.attach(
            "hat", union(ellipse(0.19, 0.04, 20).at(hx, -0.93), superellipse(3.0).at(hx, -0.99, 0.12)), cloth(rng)
        )
    return person


def _arm(rng: Rng, person: Node, points: tuple[float, ...], sleeve: Material, tint: Colour, bare: bool) -> None:
    """An arm with a hand on ``person``, from shoulder over elbow to wrist (see ``_limb``)."""
    x0, y0, kx, ky, ex, ey = points
    upper, fore = capsule(x0, y0, kx, ky, 0.085, 0.068), capsule(kx, ky, ex, ey, 0.068, 0.05)
    if bare:
        arm = person.attach("arm", union(upper, fore), skin(rng, tint))
        arm.on("sleeve", capsule(x0, y0, (x0 + kx) / 2, (y0 + ky) / 2, 0.12, 0.1), sleeve)
    else:
        arm = person.attach("arm", union(upper, fore), sleeve)
    arm.attach("hand", ellipse(0.055, 0.05, 12).at(ex, ey), skin(rng, tint))


def portrait(rng: Rng) -> Node:
    """Head and shoulders: a face with hair, a neck, shoulders in clothes with a collar, perhaps a tie."""
    person = Node("person", None)
    top = cloth(rng)
    wide = rng.uniform(0.85, 1.15)
    shoulders = superellipse(2.6).moved(affine(0, 1.15, 1.0, 0, wide))
    coat = person.attach("shirt", shoulders, top)
    tint = tone(rng, "skin")
    coat.on(
        "collar",
        path((-0.35, 0.1), (0.35, 0.1), (0.0, rng.uniform(0.5, 0.9))),
        cloth(rng) if rng.chance(0.7) else skin(rng, tint),
    )
    if rng.chance(0.3):
        coat.on("tie", path((-0.07, 0.2), (0.07, 0.2), (0.12, 1.0), (0.0, 1.15), (-0.12, 1.0)), cloth(rng))
    person.attach("neck", box(-0.2, -0.25, 0.2, 0.3, 0.1), skin(rng, tint))
    return person.add(move(face(rng), affine(rng.signed(0.05), -0.45, 0.52, rng.signed(0.12))))


def hand(rng: Rng) -> Node:
    """A hand and forearm reaching up: palm, four jointed fingers, thumb, nails, sleeve or watch, perhaps a glove."""
    glove = rng.chance(0.15)
    base = colour(rng) if glove else tone(rng, "skin")
    material = skin(rng, base)
    node = Node("hand", None)
    arm = node.attach("arm", capsule(rng.signed(0.15), 2.2, 0.0, 0.5, 0.36, 0.24), material)
    if rng.chance(0.6):
        arm.on("sleeve", box(-1, rng.uniform(0.9, 1.5), 1, 4), cloth(rng))
    elif rng.chance(0.4):
        arm.on("watch", box(-0.5, 0.75, 0.5, 0.92), solid(rng, tone(rng, "dark"), 0.6, 0.3))
    spread, curl = rng.uniform(0.05, 0.25), rng.uniform(-0.1, 0.9)
    for i in range(4):
        x = -0.28 + 0.19 * i
        length = (0.42, 0.5, 0.47, 0.36)[i] * (1.0 - 0.35 * curl)
        a = (i - 1.5) * spread
        kx, ky = _bone(x, -0.15, math.pi + a, length)
        ex, ey = _bone(kx, ky, math.pi + a + curl * rng.uniform(0.2, 0.6), length * 0.85)
        kx, ky, ex, ey = (_snapped(v) for v in (kx, ky, ex, ey))
        finger = node.attach(
            "finger", union(capsule(x, -0.1, kx, ky, 0.1, 0.09), capsule(kx, ky, ex, ey, 0.09, 0.07)), skin(rng, base)
        )
        if not glove and curl < 0.5:
            finger.on("nail", ellipse(0.05, 0.06, 12).at(ex, ey), solid(rng, shifted(rng, base, 0.12, 0.03), 0.2, 0.2))
    node.attach("palm", superellipse(3.0).at(0.0, 0.2, 0.4, 0, 0.95), material)
    reach = rng.uniform(0.3, 0.6)
    node.attach(
        "thumb",
        union(
            capsule(-0.25, 0.3, -0.3 - reach * 0.6, 0.0, 0.14, 0.11),
            capsule(-0.3 - reach * 0.6, 0.0, -0.3 - reach * 0.7, -0.3, 0.11, 0.08),
        ),
        material,
    )
    return node
