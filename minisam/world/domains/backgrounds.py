"""Backgrounds: walls, skies over grounds, tables, hills, patchworks, thickets.

A background is painted with the same tools as objects; its large regions (sky, ground, wall, table, hill) are masks of
their own, as they are in SA-1B. What is only clutter (blades of grass, distant foliage) is painted without a mask.
"""

from __future__ import annotations

import numpy as np

from minisam.world.render.materials import (
    Material,
    affine,
    colour,
    plain,
    random_material,
    shifted,
    similar,
    tone,
)  # fmt: skip
from minisam.world.render.objects import Node
from minisam.world.render.painter import Painter
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import blob, box, capsule, ellipse, leaf, polygon, shaggy
from minisam.world.render.surfaces import sky, surface

FRAME = affine(0.5, 0.5, 0.5)  # object coordinates [-1, 1]² → the whole image
OVER = 1.1  # backgrounds reach a little beyond the frame


def _flat(material: Material) -> Material:
    """The material without shading and opaque: something flat that is seen head on."""
    material.relief = material.gloss = 0.0
    material.opacity = 1.0
    return material


def _ground(rng: Rng) -> Material:
    """What people walk on out of doors."""
    return surface(rng, rng.pick(("grass", "soil", "sand", "asphalt", "gravel", "concrete", "snow", "rock")))


def _indoors(rng: Rng) -> Material:
    """A floor or the top of a table."""
    return surface(rng, rng.pick(("planks", "carpet", "board", "cloth", "tiles", "concrete", "metal")))


def _wall(rng: Rng) -> Material:
    """Mostly plaster, paper or bricks of one colour; one in four may be anything."""
    if rng.chance(0.25):
        return _flat(random_material(rng, None, rng.log_uniform(0.02, 0.25)))
    kind = rng.weighted(((5, "plaster"), (1, "bricks"), (1, "planks"), (1, "tiles"), (1, "concrete"), (0.7, "weave")))
    return surface(rng, kind, colour(rng) if kind != "bricks" and rng.chance(0.5) else None)


class Background:
    """What the layouts need to know: ``horizon`` (y in [0, 1], None: no depth) and the main ``material``."""

    def __init__(self, material: Material, horizon: float | None = None) -> None:
        self.material = material
        self.horizon = horizon


def plain_wall(rng: Rng, painter: Painter) -> Background:
    """One surface: gradient, noise, stripes, bricks … from quiet to loud; perhaps with stains."""
    quiet = rng.chance(0.5)
    material = _flat(random_material(rng, None, rng.log_uniform(0.02, 0.12) if quiet else None))
    if quiet:
        material.grain = min(material.grain, 0.08)
    wall = Node("background", box(-OVER, -OVER, OVER, OVER), material)
    for _ in range(rng.weighted(((3, 0), (1, 4)))):
        x, y = rng.uniform(-1, 1), rng.uniform(-1, 1)
        stain = wall.on(
            "stain", blob(rng, 0.9).at(x, y, rng.log_uniform(0.1, 0.6)), _flat(similar(rng, material, 0.06))
        )
        stain.labelled = False
    painter.draw(wall, FRAME)
    return Background(material)


def landscape(rng: Rng, painter: Painter) -> Background:
    """Sky over a ground in perspective, perhaps with hills, woods or a skyline between them."""
    horizon = rng.uniform(0.15, 0.65)
    y = 2.0 * horizon - 1.0
    painter.draw(Node("sky", box(-OVER, -OVER, OVER, y + 0.02), sky(rng)), FRAME)
    for i in range(rng.weighted(((2, 0), (2, 1), (1, 3)))):
        tall = rng.uniform(0.1, 0.5) * (1.0 - 0.2 * i)
        x = np.linspace(-OVER, OVER, 60)
        rough = np.interp(x, np.linspace(-OVER, OVER, 8), rng.array(8))
        rough = rough + 0.12 * np.interp(x, np.linspace(-OVER, OVER, 60), rng.array(60))
        ridge = np.stack([x, y - tall * rough], axis=1)
        shape = polygon(np.concatenate([ridge, [[OVER, y + 0.03], [-OVER, y + 0.03]]]))
        hill = surface(rng, rng.pick(("foliage", "rock", "grass", "bricks")), scale=1.5)
        painter.draw(Node("hill", shape, hill), FRAME)
    material = _ground(rng)
    painter.draw(Node("ground", box(-OVER, y, OVER, OVER), material), FRAME, horizon=horizon)
    if rng.chance(0.3):
        lane = rng.uniform(-0.5, 0.5)
        road = polygon(
            np.array([[lane, y], [lane + 0.05, y], [lane + rng.uniform(0.5, 1.5), OVER], [lane - 0.9, OVER]])
        )
        painter.draw(Node("road", road, surface(rng, "asphalt")), FRAME)
    return Background(material, horizon)


def room(rng: Rng, painter: Painter) -> Background:
    """Wall and table or floor; perhaps a corner, a skirting board, a window of light."""
    edge = rng.uniform(0.3, 0.8)
    y = 2.0 * edge - 1.0
    wall = _wall(rng)
    painter.draw(Node("wall", box(-OVER, -OVER, OVER, y + 0.02), wall), FRAME)
    if rng.chance(0.35):
        x = rng.uniform(-0.8, 0.8)
        second = _flat(similar(rng, wall, 0.1))
        shape = polygon(np.array([[x, -OVER], [OVER, -OVER], [OVER, y + 0.1], [x, y]]))
        painter.draw(Node("wall", shape, second), FRAME)
    material = _indoors(rng) if rng.chance(0.8) else _flat(random_material(rng))
    tilt = rng.signed(0.06)
    shape = polygon(np.array([[-OVER, y - tilt], [OVER, y + tilt], [OVER, OVER], [-OVER, OVER]]))
    table = Node(rng.pick(("table", "floor")), shape, material)
    painter.draw(table, FRAME, horizon=edge - 0.2 if rng.chance(0.5) else None)
    return Background(material, edge)


def patchwork(rng: Rng, painter: Painter) -> Background:
    """Large regions side by side (fields, papers, cloths), each a mask."""
    material = _flat(random_material(rng))
    painter.draw(Node("background", box(-OVER, -OVER, OVER, OVER), material), FRAME)
    base = colour(rng)
    for _ in range(rng.integer(2, 8)):
        shape = rng.pick((blob(rng, 0.8), box(-1, -0.7, 1, 0.7), shaggy(rng, 0.8, 0.05)))
        frame = affine(rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.15, 0.5), rng.uniform(0, 6.3))
        region = random_material(rng, shifted(rng, base, 0.2, 0.05) if rng.chance(0.5) else None)
        painter.draw(Node("region", shape, _flat(region)), frame)
    return Background(material)


def thicket(rng: Rng, painter: Painter) -> Background:
    """Clutter: hundreds of small strokes (grass, leaves, gravel, twigs) in a few tones, none of them a mask."""
    base = tone(rng, rng.pick(("leaf", "earth", "stone", "wood", "dark")))
    material = _flat(random_material(rng, shifted(rng, base, 0.1, 0.02), 0.2))
    ground = Node("background", box(-OVER, -OVER, OVER, OVER), material)
    tones = [plain(rng, shifted(rng, base, 0.15, 0.04), 0.15) for _ in range(4)]
    kind = rng.pick(("blade", "leaf", "gravel"))
    lean = rng.uniform(0, 6.3)
    for _ in range(rng.integer(40, 90)):
        x, y, r = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.log_uniform(0.03, 0.2)
        angle = lean + rng.signed(0.5)
        if kind == "blade":
            shape = capsule(0, 0, 1, 0, 0.06, 0.02, 8).at(x, y, 2 * r, angle)
        elif kind == "leaf":
            shape = leaf(rng, 0.3, 12).at(x, y, 1.5 * r, angle)
        else:
            shape = ellipse(1, 0.7, 12).at(x, y, 0.6 * r, angle)
        ground.on("clutter", shape, rng.pick(tones)).labelled = False
    painter.draw(ground, FRAME)
    return Background(material)
