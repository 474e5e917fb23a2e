"""Domains seen through instruments: nuclei in fluorescence, stained tissue, X-ray luggage, tangles of thin things."""

from __future__ import annotations

import math

import numpy as np

from minisam.world.domains.stage import Stage
from minisam.world.render.materials import NOISE, Colour, Material, colour, ramp, random_material, shifted, tone
from minisam.world.render.objects import Node
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import (
    Shape,
    affine,
    blob,
    box,
    branches,
    capsule,
    curve,
    ellipse,
    leaf,
    path,
    ring,
    shaggy,
    superellipse,
    union,
)
from minisam.world.render.surfaces import rounded, solid, surface
from minisam.world.render.tiles import FOLDS
from minisam.world.things.nameless import thin
from minisam.world.things.small_objects import garment, rope, tool, vessel, wheel


def _grown(stage: Stage, radius: float, count: int, touching: float) -> list[tuple[float, float]]:
    """Points (x, y) for cells: scattered, in clumps, in a sheet, along bands; ``touching`` < 1: they may overlap."""
    rng = stage.rng
    kind = rng.weighted(((4, "scatter"), (3, "clumps"), (1, "band")))
    if kind == "scatter":
        return stage.spread(count, 2.0 * radius * touching)
    centres = [(rng.random(), rng.random()) for _ in range(rng.integer(1, 5))]
    points: list[tuple[float, float]] = []
    least = (2.0 * radius * touching) ** 2
    wide = rng.uniform(1.5, 4.0) * radius * math.sqrt(max(count / len(centres), 1.0)) * 0.5
    ux, uy = rng.direction()
    for _ in range(4 * count):
        cx, cy = rng.pick(centres)
        x, y = rng.signed(wide), rng.signed(wide)
        if kind == "band":
            x, y = rng.signed(0.6) * ux + 0.3 * x, rng.signed(0.6) * uy + 0.3 * y
        x, y = cx + x, cy + y
        if -0.03 < x < 1.03 and -0.03 < y < 1.03 and all((x - u) ** 2 + (y - v) ** 2 > least for u, v in points):
            points.append((x, y))
            if len(points) >= count:
                break
    return points


def _outlines(rng: Rng, roughness: float) -> list[Shape]:
    """Six forms of cells."""
    return [blob(rng, roughness, 48) for _ in range(6)]


def nuclei(stage: Stage) -> None:
    """Bright nuclei on black: few or hundreds, large or tiny, touching, dividing, some out of focus; mostly grey."""
    rng = stage.rng
    tint: Colour = (
        (1.0, 1.0, 1.0) if rng.chance(0.75) else rng.pick(((0.35, 0.5, 1.0), (0.3, 1.0, 0.45), (1.0, 0.35, 0.3)))
    )
    dark = rng.uniform(0.0, 0.12) if rng.chance(0.7) else rng.uniform(0.1, 0.3)
    floor = (dark * tint[0], dark * tint[1], dark * tint[2])
    stage.fill("background", solid(rng, floor, 0.0, 0.0, 0.3))
    for _ in range(rng.integer(0, 3)):  # stray light, the glow of what lies deeper
        shape = blob(rng, 0.8).at(rng.signed(0.5), rng.signed(0.5), rng.uniform(0.1, 0.6))
        stage.stain(
            shape,
            (0.3 * tint[0], 0.3 * tint[1], 0.3 * tint[2]),
            rng.uniform(0.05, 0.4),
            blurred=rng.uniform(0.01, 0.05),
        )
    radius = rng.log_uniform(0.013, 0.1)
    count = int(min(110, max(2.0, rng.log_uniform(0.03, 0.6) / (radius * radius * 3.2))))
    outlines = _outlines(rng, rng.log_uniform(0.03, 0.4))
    peak, vary, stretch = rng.uniform(0.3, 1.0), rng.log_uniform(1.05, 4.0), rng.uniform(1.0, 1.7)
    soft, mottle = rng.log_uniform(0.03, 0.35) * radius, rng.log_uniform(0.03, 0.3)
    for x, y in _grown(stage, radius, count, rng.uniform(0.6, 1.15)):
        glow = max(peak / rng.log_uniform(1.0, vary), dark + 0.06)
        texture = affine(rng.random(), rng.random(), rng.log_uniform(0.05, 0.2))
        levels: list[Colour] = [
            (f * glow * tint[0], f * glow * tint[1], f * glow * tint[2]) for f in (1.0 - mottle, 1.0, 1.0 + mottle)
        ]
        material = Material(ramp(levels), NOISE, texture, tile=rng.integer(1, 2), relief=rng.signed(0.15), bulge=0.4)
        node = Node("nucleus", rng.pick(outlines), material)
        size = radius * rng.uniform(0.75, 1.3)
        if rng.chance(0.2):
            spots = [ellipse(0.13, 0.11, 12).at(rng.signed(0.25), rng.signed(0.25)) for _ in range(rng.integer(1, 4))]
            light = min(1.6, 1.0 / glow) if rng.chance(0.6) else 0.6
            spot = node.on(
                "nucleolus",
                union(*spots),
                solid(rng, (light * glow * tint[0], light * glow * tint[1], light * glow * tint[2]), 0.0),
            )
            spot.labelled, spot.ghost = False, True
        angle = rng.uniform(0, 6.2832)
        stage.at(node, affine(x, y, size, angle, rng.uniform(1.0, stretch)), 0.0, soft)
        if rng.chance(0.04):  # just divided: a twin beside it
            ux, uy = rng.direction()
            stage.at(node, affine(x + 1.7 * size * ux, y + 1.7 * size * uy, 0.9 * size, angle), 0.0, soft)
    for _ in range(rng.weighted(((3, 0), (1, 6)))):  # bright dirt
        stage.stain(blob(rng, 0.9, 20).at(rng.uniform(-1, 1), rng.uniform(-1, 1), 0.015), tint, 0.8)


DYES: tuple[tuple[Colour, Colour, Colour], ...] = (  # ground, fibres, nuclei
    ((0.72, 0.66, 0.86), (0.66, 0.6, 0.85), (0.35, 0.15, 0.72)),
    ((0.93, 0.75, 0.88), (0.86, 0.55, 0.76), (0.4, 0.2, 0.5)),
    ((0.9, 0.62, 0.78), (0.78, 0.25, 0.5), (0.35, 0.18, 0.45)),
    ((0.85, 0.83, 0.82), (0.7, 0.62, 0.55), (0.4, 0.22, 0.12)),
    ((0.72, 0.73, 0.72), (0.62, 0.63, 0.63), (0.35, 0.36, 0.36)),
    ((0.88, 0.82, 0.9), (0.8, 0.7, 0.85), (0.25, 0.2, 0.5)),
)


def tissue(stage: Stage) -> None:
    """A stained section: pale cytoplasm, wavy fibres, white gaps, red cells; dark nuclei in rows and dense clumps."""
    rng = stage.rng
    ground, fibre, dye = rng.pick(DYES)
    ground, dye = shifted(rng, ground, 0.05, 0.02), shifted(rng, dye, 0.06, 0.03)
    weave = affine(rng.random(), rng.random(), rng.uniform(0.1, 0.5), rng.uniform(0, 6.28), rng.pick((1.0, 0.3)))
    base = Material(
        ramp([shifted(rng, ground, 0.05, 0.02), ground, fibre]), NOISE, weave,
        tile=rng.pick((1, 2, FOLDS)), grain=rng.uniform(0.01, 0.06), relief=0.0,
    )  # fmt: skip
    stage.fill("background", base)
    lean = rng.uniform(0, 6.28)
    for _ in range(rng.integer(0, 10)):
        shape = curve(
            rng,
            rng.uniform(-1.3, 1),
            rng.uniform(-1, 1),
            lean + rng.signed(0.3),
            rng.uniform(0.6, 2.0),
            rng.log_uniform(0.01, 0.12),
            rng.log_uniform(0.01, 0.12),
            rng.signed(0.8),
        )
        stage.stain(shape, shifted(rng, fibre, 0.08, 0.04), rng.uniform(0.3, 0.9), blurred=rng.uniform(0.002, 0.01))
    for _ in range(rng.weighted(((2, 0), (2, 2), (1, 6)))):
        white = blob(rng, 1.0).at(rng.uniform(-1, 1), rng.uniform(-1, 1), rng.log_uniform(0.05, 0.5))
        stage.stain(white, (0.93, 0.91, 0.94), rng.uniform(0.6, 0.95), blurred=rng.uniform(0.002, 0.008))
    radius = rng.log_uniform(0.016, 0.09)
    outlines = _outlines(rng, rng.log_uniform(0.04, 0.4))
    stretch, aligned = rng.log_uniform(1.05, 2.8), rng.chance(0.5)
    count = int(min(90, max(3.0, rng.log_uniform(0.08, 0.6) / (radius * radius * 3.2))))
    rim, soft = rng.uniform(-0.1, 0.15), rng.log_uniform(0.02, 0.15) * radius
    halo = rng.chance(0.4)
    for x, y in _grown(stage, radius, count, rng.uniform(0.6, 1.1)):
        shade = shifted(rng, dye, 0.06, 0.03)
        lighter = tuple(c + rng.uniform(0.1, 0.6) * (g - c) for c, g in zip(shade, ground))
        colours = [shifted(rng, shade, 0.04, 0.02), shade, (lighter[0], lighter[1], lighter[2])]
        mottle = affine(rng.random(), rng.random(), rng.log_uniform(0.06, 0.3))
        material = Material(
            ramp(colours), NOISE, mottle, tile=rng.pick((1, 2, FOLDS)), grain=rng.uniform(0.0, 0.1), relief=0.0
        )
        angle = lean + rng.signed(0.3) if aligned else rng.uniform(0, 6.2832)
        frame = affine(x, y, radius * rng.uniform(0.7, 1.25), angle, rng.uniform(1.0, stretch))
        outline = rng.pick(outlines)
        if halo and rng.chance(0.7):
            stage.stain(outline.at(0, 0, rng.uniform(1.3, 1.9)), shifted(rng, ground, 0.1, 0.03), 0.5, frame, soft)
        node = Node("nucleus", outline, material)
        if rim > 0.0:  # a darker membrane
            node.on("membrane", ring(outline, 0.85), solid(rng, shifted(rng, dye, 0.03, 0.01), 0.0)).labelled = False
        stage.at(node, frame, 0.0, soft)


def _seen_through(rng: Rng, node: Node, dye: Colour, density: float) -> Node:
    """The object as X-rays see it: every part lets through the light of ``dye``, less where it is dense."""
    for part in (node, *node.children):
        thick = density * rng.uniform(0.5, 1.3)
        r, g, b = (max(1.0 - thick * (1.0 - c), 0.03) for c in dye)
        if part.material is not None or part.shape is not None:
            shading = affine(rng.random(), rng.random(), 0.1)
            shades = ramp([(r, g, b), (r * 0.9, g * 0.9, b * 0.9)])
            part.material = Material(shades, NOISE, shading, tile=2, relief=rng.signed(0.3), through=True)
        if part is not node:
            _seen_through(rng, part, dye, density)
    return node


def xray(stage: Stage) -> None:
    """Luggage on white: orange what is soft, green what is mixed, blue what is metal, black what nothing passes."""
    rng = stage.rng
    stage.fill("background", solid(rng, (0.97, 0.97, 0.96) if rng.chance(0.8) else (0.85, 0.87, 0.9), 0.0, 0.0, 0.01))
    dyes: tuple[Colour, ...] = ((1.0, 0.72, 0.4), (0.6, 0.85, 0.5), (0.45, 0.62, 0.95), (0.25, 0.3, 0.6))
    if rng.chance(0.15):
        dyes = ((0.7, 0.7, 0.7), (0.5, 0.5, 0.5), (0.3, 0.3, 0.3))
    bag = superellipse(rng.uniform(4.0, 9.0)).at(
        rng.signed(0.08), rng.signed(0.08), rng.uniform(0.7, 0.95), rng.signed(0.15), rng.uniform(0.7, 1.15)
    )
    case = Node("bag", bag)
    case.on("seam", ring(bag, rng.uniform(0.93, 0.98)), solid(rng, dyes[0]))
    stage.painter.draw(_seen_through(rng, case, dyes[0], 0.3), affine(0.5, 0.5, 0.5))
    makers = ((2, vessel), (2, tool), (1, garment), (1.5, rope), (1, wheel), (1.5, thin), (1.5, _device), (1, _knife))
    for _ in range(rng.integer(4, 13)):
        node = _seen_through(rng, rng.weighted(makers)(rng), rng.pick(dyes), rng.uniform(0.5, 1.5))
        stage.put(
            node,
            rng.uniform(0.15, 0.85),
            rng.uniform(0.15, 0.85),
            rng.log_uniform(0.12, 0.55),
            rng.uniform(0, 6.28),
            shadow=0.0,
        )


def _device(rng: Rng) -> Node:
    """A telephone or computer opened to the rays: case, board, battery, wires."""
    material = solid(rng, colour(rng))
    node = Node("device", box(-1, -0.7, 1, 0.7, 0.1), material)
    board = node.on("circuit board", box(-0.85, -0.55, 0.3, 0.5), material)
    for _ in range(rng.integer(2, 6)):
        x, y = rng.uniform(-0.8, 0.2), rng.uniform(-0.5, 0.4)
        board.on("chip", box(x, y, x + rng.uniform(0.1, 0.3), y + 0.15), material)
    node.on("battery", box(0.4, -0.5, 0.85, 0.5, 0.05), material)
    return node


def _knife(rng: Rng) -> Node:
    """A knife from the side: handle and blade."""
    material = solid(rng, tone(rng, "metal"))
    node = Node("knife", None)
    node.attach("handle", box(-1.0, -0.12, -0.1, 0.1, 0.05), material)
    node.attach("blade", path((-0.1, -0.12), (0.8, -0.1), (1.1, 0.08), (-0.1, 0.1)), material)
    return node


def _hanger(rng: Rng) -> Node:
    """A clothes hanger: a triangle of wire with a hook."""
    r = rng.uniform(0.03, 0.06)
    wire = union(
        capsule(-1, 0.4, 0, -0.3, r, r, 8),
        capsule(0, -0.3, 1, 0.4, r, r, 8),
        capsule(-1, 0.4, 1, 0.4, r, r, 8),
        curve(rng, 0, -0.3, -1.57, 0.5, r, r, 2.6),
    )
    return Node("hanger", wire, solid(rng, colour(rng), 0.6, 0.3))


def _antenna(rng: Rng) -> Node:
    """A boom with rods across."""
    r = rng.uniform(0.02, 0.04)
    rods = [
        capsule(x, -w, x, w, r, r, 8) for x, w in ((-0.9, 0.5), (-0.5, 0.42), (-0.1, 0.36), (0.3, 0.3), (0.7, 0.25))
    ]
    return Node("antenna", union(capsule(-1, 0, 1, 0, r, r, 8), *rods), solid(rng, tone(rng, "metal"), 0.5, 0.4))


def _fence(rng: Rng) -> Node:
    """A panel of bars, some with pickets."""
    r = rng.uniform(0.02, 0.05)
    count = rng.integer(5, 10)
    bars = [box(x - r, -0.6, x + r, 0.6) for x in np.linspace(-1, 1, count).tolist()]
    rails = [box(-1.1, y - r, 1.1, y + r) for y in (-0.4, 0.4)]
    return Node("fence", union(*bars, *rails), rounded(surface(rng, rng.pick(("metal", "board"))), 0.5))


def _wire(rng: Rng) -> Node:
    """One bent wire."""
    r = rng.log_uniform(0.012, 0.05)
    shape = curve(rng, -1.0, rng.signed(0.2), rng.signed(0.5), rng.uniform(1.6, 2.6), r, r, rng.signed(2.5))
    return Node("wire", shape, solid(rng, colour(rng), 0.7, 0.3))


def _branch(rng: Rng) -> Node:
    """A bare branch."""
    shape = branches(rng, rng.integer(2, 3), rng.uniform(0.35, 0.8), rng.uniform(0.03, 0.08))
    return Node("branch", shape, rounded(surface(rng, "bark"), 0.5))


def _net(rng: Rng) -> Node:
    """A net of crossing cords."""
    r = rng.uniform(0.012, 0.03)
    count = rng.integer(4, 8)
    lines = []
    for x in np.linspace(-1, 1, count).tolist():
        lines += [capsule(x, -1, x + 0.15, 1, r, r, 8), capsule(-1, x, 1, x + 0.15, r, r, 8)]
    return Node("net", union(*lines), solid(rng, colour(rng), 0.4))


def _feather(rng: Rng) -> Node:
    """A long thin leaf."""
    return Node("leaf", leaf(rng, rng.uniform(0.04, 0.15)).at(-1, 0, 2.0), rounded(surface(rng, "foliage"), 0.4))


def _shred(rng: Rng) -> Node:
    """A torn strip of paper."""
    return Node(
        "paper", shaggy(rng, 1.2, 0.15).at(0, 0, 1.0, 0, rng.uniform(0.15, 0.5)), rounded(surface(rng, "crumpled"), 0.4)
    )


def tangle(stage: Stage) -> None:
    """Many alike and irregular, over one another: branches, wires, hangers, fences, antennas, nets, rings, vessels."""
    rng = stage.rng
    stage.fill(
        "background",
        surface(rng, rng.pick(("concrete", "cloth", "plaster", "soil", "planks", "metal", "grass", "sky")), scale=1.5),
    )
    makers = (_branch, _wire, _hanger, _fence, _antenna, _net, _feather, _shred, rope, thin)
    maker = rng.pick(makers)
    alike = rng.chance(0.6)
    size, turned = rng.uniform(0.3, 0.9), rng.uniform(0, 6.2832) if rng.chance(0.4) else None
    for _ in range(int(rng.uniform(3.0, 8.0) / size)):
        node = (maker if alike else rng.pick(makers))(rng)
        if node.material is not None and rng.chance(0.15):
            node.material = random_material(rng, None, 0.1)
        angle = rng.uniform(0, 6.2832) if turned is None else turned + rng.signed(0.2)
        stage.put(node, rng.random(), rng.random(), size * rng.uniform(0.7, 1.3), angle)
