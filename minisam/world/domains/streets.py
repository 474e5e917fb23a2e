"""Domains of streets: street, fisheye, facade."""

from __future__ import annotations

import numpy as np

from minisam.world.domains.rooms import interior
from minisam.world.domains.stage import Makers, Stage, View
from minisam.world.render.lens import bend
from minisam.world.render.materials import colour, shifted, tone
from minisam.world.render.objects import Node
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import affine, blob, box, ellipse, path, polygon, union
from minisam.world.render.surfaces import solid, surface
from minisam.world.things.bodies import figure
from minisam.world.things.creatures import animal, tree
from minisam.world.things.large_objects import vehicle
from minisam.world.things.small_objects import sign
from minisam.world.things.traffic import bicycle, car_behind, glass, lorry_behind, pole


def _block(stage: Stage, view: View, side: float, near: float, far: float, tall: float, cross: bool) -> None:
    """A house front along the street from ``near`` to ``far`` metres, with windows and a ground floor."""
    rng = stage.rng
    wall = tone(rng, rng.pick(("stone", "earth", "white"))) if rng.chance(0.85) else colour(rng)
    front = surface(rng, rng.pick(("concrete", "plaster", "bricks", "plaster")), wall, 2.0)
    node = Node("building", view.quad((side, 0, near), (side, tall, near), (side, tall, far), (side, 0, far)), front)
    floors, columns = max(1, int(tall / 3.2)), max(1, min(5, int((far - near) / 3.5)))
    dark, frame = glass(rng), rng.uniform(0.3, 0.6)
    for j in range(min(floors, 6)):
        for i in range(columns):
            z0 = near + (far - near) * (i + 0.5 - frame / 2) / columns
            z1 = near + (far - near) * (i + 0.5 + frame / 2) / columns
            low = tall * (j + 0.3) / floors
            high = tall * (j + 0.8) / floors
            if j == 0 and rng.chance(0.4):
                low = 0.1
            name = "door" if low < 0.2 else "window"
            node.on(
                name,
                view.quad((side, low, z0), (side, high, z0), (side, high, z1), (side, low, z1)),
                solid(rng, dark, 0.0),
            )
    stage.fill_node(node)
    if cross:  # the wall that looks at us
        shade = surface(rng, "plaster", (wall[0] * 0.85, wall[1] * 0.85, wall[2] * 0.85), 2.0)
        out = side * 4.0
        stage.fill("building", shade, view.quad((side, 0, near), (side, tall, near), (out, tall, near), (out, 0, near)))


USERS: Makers = ((6, car_behind), (1.5, lorry_behind), (1, vehicle))


def street(stage: Stage) -> None:
    """A street in perspective as a driver sees it: sky, house fronts, road with lanes, cars, people, poles, trees."""
    rng = stage.rng
    view = View(rng, rng.uniform(1.2, 2.2) if rng.chance(0.8) else rng.uniform(3.0, 7.0))
    stage.shadow, stage.reach = rng.uniform(0.2, 0.6), 0.05
    stage.fill("sky", "sky")
    rise = view.y
    for _ in range(rng.integer(0, 2)):
        ridge = np.stack(
            [np.linspace(-1.1, 1.1, 40), rise - rng.uniform(0.05, 0.35) * rng.array(40).cumsum() / 20 % 1.0 * 0.6],
            axis=1,
        )
        stage.fill(
            "trees", "foliage", polygon(np.concatenate([ridge, [[1.1, rise + 0.02], [-1.1, rise + 0.02]]])), scale=2.0
        )
    haze = tone(rng, "sky")
    stage.veil(haze, rng.uniform(0.0, 0.4))
    half = rng.uniform(3.5, 9.0)
    walk = rng.uniform(1.5, 5.0)
    stage.fill(
        "ground", rng.pick(("grass", "concrete", "soil", "concrete")), box(-1.1, rise, 1.1, 1.1), horizon=(rise + 1) / 2
    )
    for side in (-1.0, 1.0):
        if rng.chance(0.75):
            fronts: list[tuple[float, float, float]] = []
            near = rng.uniform(2.0, 8.0)
            while near < 90.0 and len(fronts) < 6:
                far = near * rng.uniform(1.3, 2.0) + rng.uniform(2.0, 8.0)
                fronts.append((near, far, rng.uniform(3.5, 16.0)))
                near = far + (0.0 if rng.chance(0.6) else rng.uniform(2.0, 12.0))
            for near, far, tall in reversed(fronts):
                _block(stage, view, side * (half + walk), near, far, tall, rng.chance(0.3))
        for _ in range(rng.integer(0, 5)):
            z = rng.log_uniform(5.0, 60.0)
            x, y = view.point(side * (half + walk * rng.random()), 0.0, z)
            height = 0.5 * view.focal * rng.uniform(3.0, 9.0) / z
            stage.put(
                rng.weighted(((3, tree), (2, pole)))(rng), (x + 1) / 2, (y + 1) / 2, height, 0.0, True, blurred=0.0
            )
    road = view.quad((-half, 0, 1.0), (-half, 0, 200.0), (half, 0, 200.0), (half, 0, 1.0))
    stage.fill("road", "asphalt", road, horizon=(rise + 1) / 2)
    white = solid(rng, tone(rng, "white"), 0.0, 0.0, 0.2)
    white.opacity = rng.uniform(0.4, 0.9)
    lanes = [0.0] if half < 6 else [-half / 3, half / 3]
    dashes = [
        view.quad((x - 0.08, 0, z), (x - 0.08, 0, z + 3.0), (x + 0.08, 0, z + 3.0), (x + 0.08, 0, z))
        for x in lanes
        for z in (2.0, 8.0, 14.0, 20.0, 26.0, 40.0)
    ]
    stage.painter.draw(Node("marking", union(*dashes), white, labelled=False, ghost=True), affine(0.5, 0.5, 0.5))
    things: list[tuple[float, float, float, Node]] = []
    for _ in range(rng.integer(1, 9)):
        x = rng.uniform(-half + 1, half - 1) if rng.chance(0.5) else rng.pick((-1, 1)) * (half - 1.1)
        node = rng.weighted(USERS)(rng)
        things.append((rng.log_uniform(4.5, 50.0), x, {"car": 1.9, "vehicle": 4.3}.get(node.name, 2.8), node))
    for _ in range(rng.weighted(((2, 0), (2, 2), (1, 6)))):
        x = rng.pick((-1, 1)) * (half + walk * rng.random()) if rng.chance(0.7) else rng.uniform(-half, half)
        things.append((rng.log_uniform(3.5, 30.0), x, rng.uniform(1.4, 1.9), figure(rng)))
    for _ in range(rng.weighted(((3, 0), (1, 1), (1, 3)))):
        things.append((rng.log_uniform(4.0, 25.0), rng.uniform(-half, half), 1.7, bicycle(rng)))
    for z, right, size, node in sorted(things, key=lambda thing: -thing[0]):
        x, y = view.point(right, 0.0, z)
        stage.put(node, (x + 1) / 2, (y + 1) / 2, 0.5 * view.focal * size / z, rng.signed(0.01), True)
    if rng.chance(0.25):
        hood = solid(rng, tone(rng, rng.pick(("dark", "metal"))), 0.6, 0.4)
        stage.fill("bonnet", hood, path((-1.1, 1.1), (-0.8, 0.85), (0.0, 0.78), (0.8, 0.85), (1.1, 1.1)))


def fisheye(stage: Stage) -> None:
    """The same streets, yards and rooms through a very wide lens: straight lines bow, the rim may be black."""
    rng = stage.rng
    rng.weighted(((3, street), (2, facade), (1, interior)))(stage)
    if rng.chance(0.4):
        rim = solid(rng, tone(rng, "dark"), 0.6, 0.3)
        stage.fill("bonnet", rim, blob(rng, 0.3).at(rng.signed(0.2), 1.05, rng.uniform(0.2, 0.5), 0, 2.0))
    bend(stage.canvas, barrel=rng.uniform(0.25, 0.9), circle=rng.uniform(1.02, 1.3) if rng.chance(0.5) else 0.0)


def facade(stage: Stage) -> None:
    """A house front seen head on: windows in rows, doors, shop signs, balconies; who passes by before it."""
    rng = stage.rng
    wall = tone(rng, rng.pick(("stone", "earth", "white", "wood"))) if rng.chance(0.85) else colour(rng)
    foot = rng.uniform(0.55, 0.95)
    stage.fill("sky", "sky")
    front = Node(
        "building",
        box(-1.1, rng.pick((-1.1, -1.1, -0.7)), 1.1, foot + 0.05),
        surface(rng, rng.pick(("bricks", "plaster", "planks", "concrete")), wall, 1.5),
    )
    columns, rows = rng.integer(1, 5), rng.integer(1, 4)
    w, h = 0.9 / columns * rng.uniform(0.3, 0.65), 0.8 / rows * rng.uniform(0.4, 0.75)
    trim, dark = tone(rng, rng.pick(("white", "wood", "dark"))), glass(rng)
    shape_of = rng.pick(("box", "arch", "box"))
    for j in range(rows):
        for i in range(columns):
            x, y = (2 * i + 1) / columns - 1 + rng.signed(0.01), -0.95 + (foot + 0.95) * (j + 0.45) / rows
            if j == rows - 1 and rng.chance(0.4):
                _door(rng, front, x, foot, w, min(2.4 * h, 0.9))
                continue
            outer = box(x - w, y - h, x + w, y + h)
            if shape_of == "arch":
                outer = union(box(x - w, y - h * 0.5, x + w, y + h), ellipse(w, h * 0.5, 20).at(x, y - h * 0.5))
            window = front.on("window", outer, solid(rng, trim, 0.5))
            panes = rng.integer(1, 2)
            for k in range(panes):
                x0 = x - w + 2 * w * k / panes + 0.12 * w
                pane = window.on(
                    "pane",
                    box(x0, y - h * 0.85, x0 + 2 * w / panes - 0.24 * w, y + h * 0.9),
                    solid(rng, shifted(rng, dark, 0.08, 0.02), 0.0, 0.0, 0.2),
                )
                if rng.chance(0.3):
                    pane.on("curtain", box(x0, y - h, x0 + 0.4 * w, y + h), surface(rng, "cloth", tone(rng, "white")))
            if rng.chance(0.15):
                front.attach(
                    "balcony",
                    union(
                        box(x - 1.3 * w, y + h * 0.3, x + 1.3 * w, y + h * 0.4),
                        *(
                            box(x + t * w - 0.01, y + 0.3 * h, x + t * w + 0.01, y + h)
                            for t in (-1.2, -0.6, 0.0, 0.6, 1.2)
                        ),
                        box(x - 1.3 * w, y + 0.9 * h, x + 1.3 * w, y + 1.1 * h),
                    ),
                    solid(rng, tone(rng, "dark")),
                )
    stage.fill_node(front)
    stage.fill(
        "ground",
        rng.pick(("concrete", "asphalt", "tiles", "grass")),
        box(-1.1, foot, 1.1, 1.1),
        horizon=(foot + 1) / 2 - 0.3,
    )
    if rng.chance(0.5):
        plate = sign(rng)
        stage.put(
            plate, rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.6), rng.uniform(0.1, 0.3), rng.signed(0.03), shadow=0.4
        )
    if rng.chance(0.3):
        x, y, w = rng.uniform(0.2, 0.8), rng.uniform(0.3, 0.5), rng.uniform(0.1, 0.25)
        awning = Node(
            "awning", path((-1, -0.3), (1, -0.3), (1.2, 0.3), (-1.2, 0.3)), surface(rng, "weave", colour(rng))
        )
        stage.put(awning, x, y, 2 * w, 0.0, shadow=0.5)
    street_things = ((4, figure), (1.5, bicycle), (1.5, pole), (1.5, tree), (1, vehicle), (0.5, animal))
    for y in sorted(rng.uniform(foot, 1.1) for _ in range(rng.integer(0, 5))):
        stage.put(
            rng.weighted(street_things)(rng), rng.random(), (y + 1) / 2, rng.uniform(0.2, 0.55), rng.signed(0.02), True
        )


def _door(rng: Rng, front: Node, x: float, foot: float, w: float, tall: float) -> None:
    """A door in the house front ``front``: panels and a knob."""
    base = colour(rng) if rng.chance(0.6) else tone(rng, "wood")
    door = front.on("door", box(x - w * 0.8, foot - tall, x + w * 0.8, foot), solid(rng, base, 0.3))
    for i in range(rng.integer(0, 3)):
        y = foot - tall * (0.92 - 0.3 * i)
        for side in (-1, 1):
            door.on(
                "panel",
                box(x + side * w * 0.4 - 0.3 * w, y, x + side * w * 0.4 + 0.3 * w, y + tall * 0.22),
                solid(rng, shifted(rng, base, 0.07, 0.01), -0.4),
            )
    door.on(
        "knob", ellipse(0.025, 0.025, 12).at(x + 0.6 * w, foot - 0.45 * tall), solid(rng, tone(rng, "metal"), 0.8, 0.5)
    )
