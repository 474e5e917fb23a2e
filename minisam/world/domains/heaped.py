"""Domains of heaps and stacks: boulders, timber, waste."""

from __future__ import annotations

import math

import numpy as np

from minisam.world.domains.stage import Stage
from minisam.world.render.materials import RINGS, Colour, Material, colour, ramp, random_material, shifted, tone
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
    polygon,
    shaggy,
    superellipse,
)
from minisam.world.render.surfaces import rounded, solid, surface
from minisam.world.things.small_objects import garment, rope, vessel


def boulders(stage: Stage) -> None:
    """Stones of all sizes on dust or gravel of their own colour; hard light, long shadows, craters; often grey."""
    rng = stage.rng
    base = tone(rng, rng.pick(("stone", "stone", "earth")))
    ground = surface(rng, rng.pick(("rock", "sand", "gravel", "soil")), base, rng.uniform(0.7, 2.0))
    stage.fill("ground", ground)
    stage.shadow, stage.reach, stage.soft = rng.uniform(0.4, 0.95), rng.uniform(0.1, 0.45), rng.uniform(0.05, 0.3)
    for _ in range(rng.integer(0, 12)):
        crater = solid(rng, base, rng.uniform(-1.5, -0.5), 0.0, 0.1)
        crater.opacity = rng.uniform(0.4, 0.8)
        stage.painter.draw(
            Node("crater", ellipse(), crater, ghost=True, labelled=False),
            affine(rng.random(), rng.random(), rng.log_uniform(0.01, 0.1)),
        )
    largest = rng.log_uniform(0.15, 0.9)
    count = int(min(45, 1.0 + rng.uniform(0.5, 3.0) / (largest * math.sqrt(math.sqrt(largest)))))
    for _ in range(count):
        size = largest * rng.log_uniform(0.15, 1.0)
        outline = convex(rng, rng.integer(6, 12)) if rng.chance(0.5) else shaggy(rng, 0.6, 0.05)
        material = rounded(
            surface(rng, "rock", shifted(rng, base, 0.08, 0.015)), rng.uniform(0.8, 2.2), rng.uniform(0.25, 0.5)
        )
        node = Node("stone", outline.at(0, 0, 1.0, 0, rng.uniform(0.6, 1.0)), material)
        if rng.chance(0.5):  # a broken face
            facet = convex(rng, rng.integer(4, 6)).at(rng.signed(0.25), rng.signed(0.25), 0.5)
            material = surface(rng, "rock", shifted(rng, base, 0.15, 0.01))
            material.opacity = rng.uniform(0.3, 0.9)
            node.on("facet", facet, material).labelled = rng.chance(0.3)
        stage.put(node, rng.random(), rng.random(), size, rng.uniform(0, 6.28))


def _log_end(rng: Rng, wood: Colour, bark: Colour) -> Node:
    """The cut end of a log: bark around pale wood with rings, cracks."""
    outline = blob(rng, 0.15, 32)
    node = Node("log", outline, rounded(surface(rng, "bark", bark), 0.5, 0.15))
    cut = shifted(rng, wood, 0.06, 0.02)
    around = affine(rng.signed(0.3), rng.signed(0.3), rng.uniform(3.0, 9.0))
    rings = Material(
        ramp([shifted(rng, cut, 0.08, 0.02), cut]), RINGS, around, affine(rng.random(), rng.random(), 0.3),
        tile=1, warp=0.3, grain=rng.uniform(0.05, 0.25), relief=0.1,
    )  # fmt: skip
    face = node.on("cut", outline.at(0, 0, rng.uniform(0.82, 0.95)), rings)
    if rng.chance(0.4):
        ux, uy = rng.direction()
        crack = face.on("crack", capsule(0, 0, 0.7 * ux, 0.7 * uy, 0.03, 0.005, 8), solid(rng, tone(rng, "dark"), 0.0))
        crack.labelled = False
    return node


def _log_along(rng: Rng, bark: Colour) -> Node:
    """A log lying along x with one cut end."""
    r = rng.uniform(0.06, 0.14)
    shape = path((-1, -r), (1, -r * rng.uniform(0.7, 1.0)), (1, r * rng.uniform(0.7, 1.0)), (-1, r))
    material = rounded(surface(rng, "bark", bark, 2.0), rng.uniform(0.5, 1.2), 0.5)
    node = Node("log", shape, material)
    node.attach(
        "cut", ellipse(r * 0.5, r, 20).at(-1, 0), surface(rng, "board", shifted(rng, tone(rng, "wood"), 0.1, 0.03))
    )
    if rng.chance(0.3):
        node.on("patch", blob(rng, 1.0, 32).at(rng.signed(0.4), 0, r, 0, 3.0), surface(rng, "board")).labelled = False
    return node


def timber(stage: Stage) -> None:
    """Stacked logs: cut ends packed like circles, or trunks crossing on the ground; a grapple, snow, woods."""
    rng = stage.rng
    wood, bark = (
        shifted(rng, rng.pick(((0.78, 0.62, 0.42), (0.85, 0.72, 0.52), (0.65, 0.48, 0.32))), 0.05, 0.02),
        tone(rng, "wood"),
    )
    if rng.chance(0.5):
        stage.fill("background", surface(rng, rng.pick(("foliage", "snow", "soil", "sky"))))
        radius = rng.log_uniform(0.03, 0.13)
        vary, top = rng.uniform(1.05, 1.5), rng.uniform(-0.1, 0.4)
        stage.shadow, stage.reach = rng.uniform(0.3, 0.8), 0.1
        step_y, row = 1.75 * radius, 0
        y = 1.0 + radius
        while y > top and row * (1.0 / radius) < 160:
            x = -radius + (row % 2) * radius
            while x < 1.0 + radius:
                r = radius * rng.log_uniform(1.0 / vary, vary)
                if rng.chance(0.96):
                    stage.at(
                        _log_end(rng, wood, bark),
                        affine(x + rng.signed(0.15) * radius, y + rng.signed(0.15) * radius, r, rng.uniform(0, 6.28)),
                        reach=0.2 * r,
                    )
                x += 2.0 * radius
            y -= step_y
            row += 1
        return
    ground = rng.pick(("soil", "snow", "grass", "gravel"))
    stage.fill("ground", surface(rng, ground, scale=1.5))
    angle = rng.uniform(0, 6.28)
    size = rng.uniform(0.5, 1.4)
    for _ in range(rng.integer(4, 18)):
        turn = angle + rng.signed(0.12) if rng.chance(0.75) else rng.uniform(0, 6.28)
        stage.put(
            _log_along(rng, bark), rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), size * rng.uniform(0.7, 1.2), turn
        )
    if rng.chance(0.25):
        steel = solid(rng, rng.pick(((0.75, 0.6, 0.1), (0.6, 0.15, 0.1), (0.3, 0.3, 0.32))), 0.8, 0.2)
        node = Node("grapple", capsule(0, -1.5, 0, -0.2, 0.15, 0.2), steel)
        for side in (-1, 1):
            node.attach("claw", curve(rng, side * 0.15, -0.2, 1.57 - side * 0.9, 1.0, 0.15, 0.06, side * 1.8), steel)
        stage.put(node, rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.5), rng.uniform(0.4, 0.8), rng.signed(0.2))


def _crushed(rng: Rng) -> Node:
    """Something thrown away: torn board, crumpled paper, bag, foil, a flattened bottle or can."""
    kind = rng.weighted(
        ((3, "cardboard"), (3, "paper"), (2, "plastic bag"), (1.5, "foil"), (1.5, "bottle"), (1, "can"), (1, "rag"))
    )
    if kind == "bottle":
        node = vessel(rng)
        node.name = "bottle"
        return node
    if kind == "cardboard":
        base = shifted(rng, rng.pick(((0.62, 0.47, 0.32), (0.7, 0.56, 0.4), (0.5, 0.38, 0.27))), 0.06, 0.02)
        node = Node(kind, convex(rng, rng.integer(4, 6)), surface(rng, "board", base))
        crease = node.on(
            "flap",
            path((-2, rng.signed(0.3)), (2, rng.signed(0.3)), (2, 2), (-2, 2)),
            surface(rng, "board", shifted(rng, base, 0.1, 0.01)),
        )
        if rng.chance(0.5):
            crease.on("print", box(-0.3, 0.1, rng.uniform(0.0, 0.5), 0.35), solid(rng, colour(rng), 0.0))
        return node
    if kind in ("paper", "foil", "rag"):
        base = tone(rng, "white") if kind == "paper" else tone(rng, "metal") if kind == "foil" else colour(rng)
        material = rounded(surface(rng, "crumpled", base), rng.uniform(0.2, 0.9), 0.2, 0.5 if kind == "foil" else 0.0)
        node = Node(kind, shaggy(rng, 1.0, 0.06) if rng.chance(0.6) else convex(rng, 7), material)
        if rng.chance(0.4):
            node.on(
                "print",
                rng.pick((box(-0.5, -0.2, 0.4, 0.2), blob(rng, 0.6).at(0, 0, 0.4))),
                surface(rng, "crumpled", colour(rng)),
            )
        return node
    if kind == "plastic bag":
        material = rounded(
            surface(rng, "crumpled", colour(rng) if rng.chance(0.5) else (0.9, 0.9, 0.92)), 0.5, 0.3, 0.4
        )
        material.opacity = rng.uniform(0.45, 0.95)
        node = Node(kind, shaggy(rng, 1.1, 0.05), material)
        node.attach("handle", ellipse(0.3, 0.15).at(0.6, -0.8, 1.0, 0.5), material, True)
        return node
    node = Node("can", superellipse(4.0).at(0, 0, 0.6, 0, 1.6), solid(rng, colour(rng), 1.0, 0.6))
    node.on("band", box(-0.3, -1, 0.4, 1), random_material(rng, None, 0.2))
    node.attach("lid", ellipse(0.2, 0.55).at(-0.95, 0), solid(rng, tone(rng, "metal"), 0.8, 0.4))
    return node


def waste(stage: Stage) -> None:
    """A conveyor belt under a heap of crushed things, no two alike, mostly brown and white, hiding each other."""
    rng = stage.rng
    stage.fill(
        "belt", surface(rng, rng.pick(("asphalt", "carpet", "metal")), tone(rng, "dark") if rng.chance(0.7) else None)
    )
    if rng.chance(0.5):
        rim = solid(rng, tone(rng, "metal"), 0.5)
        edge = rng.uniform(0.7, 0.95)
        stage.fill("rail", rim, polygon(np.array([[-1.1, -1.1], [1.1, -1.1], [1.1, -edge], [-1.1, -edge + 0.1]])))
    size = rng.log_uniform(0.15, 0.55)
    for _ in range(int(rng.uniform(2.0, 7.0) / size)):
        node = _crushed(rng) if rng.chance(0.92) else rng.pick((rope, garment))(rng)
        stage.put(node, rng.random(), rng.random(), size * rng.log_uniform(0.5, 1.8), rng.uniform(0, 6.28))
