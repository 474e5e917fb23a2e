"""Domains of things and people: everyday, crowd, people."""

from __future__ import annotations

from minisam.world.domains import backgrounds
from minisam.world.domains.stage import Makers, Stage
from minisam.world.render.surfaces import surface
from minisam.world.things.bodies import figure, portrait
from minisam.world.things.creatures import animal, bird, face, fish, flower, fruit, insect, plant_leaf, potted, tree
from minisam.world.things.crowds import crowd as crowd_of
from minisam.world.things.dishes import cutlery, plate, sandwich
from minisam.world.things.large_objects import books, crate, furniture, house, screen, vehicle
from minisam.world.things.nameless import abstract, thin
from minisam.world.things.small_objects import cup, garment, rope, sign, tool, vessel, wheel
from minisam.world.things.traffic import bicycle

ANYTHING: Makers = (
    (5, abstract), (1, thin), (2, animal), (0.7, fish), (1.2, bird), (0.7, insect), (1, face), (2, figure),
    (1, portrait), (1.2, flower), (1.2, tree), (0.8, plant_leaf), (1.2, fruit), (1, house), (1.5, vehicle),
    (1.5, vessel), (1.5, cup), (1.2, crate), (1, books), (1.2, screen), (0.8, sign), (1.5, furniture), (1, tool),
    (0.8, wheel), (1, garment), (0.8, rope), (1, plate), (0.7, bicycle), (0.5, sandwich),
)  # fmt: skip
FLYING = (fish, insect, plant_leaf, tool)
STANDING: Makers = tuple(pair for pair in ANYTHING if pair[1] not in FLYING)


def everyday(stage: Stage) -> None:
    """Anything anywhere: a few large things, a scatter, a heap, things standing on a ground, one cut by the frame."""
    rng = stage.rng
    layout = rng.weighted(((3, "studio"), (3, "scatter"), (3, "standing"), (1.5, "heap"), (2, "close-up")))
    if layout == "standing":
        stage.use(rng.pick((backgrounds.landscape, backgrounds.room)))
    elif rng.chance(0.5):
        kind = rng.pick(
            ("grass", "soil", "planks", "carpet", "cloth", "concrete", "plaster", "tiles", "sand", "foliage", "weave")
        )
        stage.fill("background", surface(rng, kind, scale=rng.log_uniform(0.5, 2.0)))
    else:
        stage.use(
            rng.weighted(
                (
                    (3, backgrounds.plain_wall),
                    (2, backgrounds.room),
                    (1, backgrounds.landscape),
                    (1.5, backgrounds.patchwork),
                    (1, backgrounds.thicket),
                )
            )
        )
    if rng.chance(0.35):
        stage.canvas.defocus(rng.uniform(0.003, 0.025))
    if layout == "standing":
        far = 0.5 if stage.horizon is None else stage.horizon
        stage.standing(STANDING, rng.integer(1, 8), far, (0.3, 0.9))
        return
    counts = {
        "studio": rng.integer(1, 3),
        "scatter": rng.weighted(((2, 4), (3, 7), (1, 16))),
        "heap": rng.integer(8, 18),
        "close-up": rng.integer(1, 3),
    }
    kinds: Makers = ANYTHING if rng.chance(0.85) else ((1.0, rng.weighted(ANYTHING)),)
    cx, cy = 0.5 + rng.signed(0.1), 0.5 + rng.signed(0.1)
    for i in range(counts[layout]):
        node = rng.weighted(kinds)(rng)
        if rng.chance(0.1):
            stage.camouflaged(node, 0.08)
        soft = rng.uniform(0.002, 0.01) if rng.chance(0.08) else 0.0
        if layout == "studio":
            stage.put(
                node,
                0.5 + rng.signed(0.16),
                0.5 + rng.signed(0.13),
                rng.uniform(0.35, 0.95),
                stage.turn(),
                blurred=soft,
            )
        elif layout == "scatter":
            stage.put(node, rng.random(), rng.random(), rng.log_uniform(0.1, 0.6), stage.turn(), blurred=soft)
        elif layout == "heap":
            stage.put(
                node, cx + rng.signed(0.2), cy + rng.signed(0.2), rng.uniform(0.15, 0.45), stage.turn(), blurred=soft
            )
        else:
            stage.put(
                node,
                rng.uniform(0.2, 0.8),
                rng.uniform(0.2, 0.8),
                rng.uniform(0.9, 1.8) if i == 0 else rng.uniform(0.1, 0.5),
                stage.turn(),
            )


def crowd(stage: Stage) -> None:
    """Many small similar things: coins, berries, pills, pebbles, stars, buttons; perhaps something else among them."""
    rng = stage.rng
    if rng.chance(0.5):
        kind = rng.pick(("cloth", "planks", "concrete", "plaster", "metal", "grass", "sand", "carpet"))
        stage.fill("background", surface(rng, kind))
    else:
        stage.use(rng.weighted(((4, backgrounds.plain_wall), (0.5, backgrounds.patchwork), (0.5, backgrounds.thicket))))
    soft = rng.uniform(0.002, 0.006) if rng.chance(0.2) else 0.0
    for node, frame in crowd_of(rng, stage.ground):
        stage.at(node, frame, blurred=soft, reach=0.01)
    if rng.chance(0.25):
        stage.put(rng.weighted(ANYTHING)(rng), rng.random(), rng.random(), rng.uniform(0.1, 0.4), stage.turn())


HELD: Makers = (
    (2, tool), (2, cup), (2, vessel), (1, fruit), (1, screen), (1, crate), (1, cutlery), (1, plate), (1, rope),
    (0.7, sandwich), (0.7, flower),
)  # fmt: skip


def people(stage: Stage) -> None:
    """A portrait, a pair, a group or a crowd of people before a room, a street, a field; bags, bicycles, dogs."""
    rng = stage.rng
    stage.use(
        rng.weighted(
            ((2, backgrounds.landscape), (2, backgrounds.room), (1, backgrounds.plain_wall), (0.5, backgrounds.thicket))
        )
    )
    if rng.chance(0.5):
        stage.canvas.defocus(rng.uniform(0.003, 0.02))
    if rng.chance(0.35):
        for _ in range(rng.weighted(((3, 1), (2, 2), (1, 4)))):
            size = rng.uniform(0.6, 1.3)
            stage.put(
                portrait(rng), rng.uniform(0.2, 0.8), 1.02 + rng.uniform(0.0, 0.3 * size), size, rng.signed(0.06), True
            )
        if rng.chance(0.4):
            stage.put(rng.weighted(HELD)(rng), rng.random(), rng.uniform(0.7, 1.0), rng.uniform(0.2, 0.4), stage.turn())
        return
    far = 0.4 if stage.horizon is None else stage.horizon
    many = rng.weighted(((3, 2), (3, 4), (1.5, 12)))
    kinds: Makers = ((8, figure), (0.5, bicycle), (0.5, animal), (0.5, furniture), (0.4, potted), (0.3, garment))
    stage.standing(kinds, rng.integer(1, many), far, (0.5, 1.2) if many < 12 else (0.25, 0.6))
    stage.put(figure(rng), rng.uniform(0.1, 0.9), rng.uniform(0.9, 1.15), rng.uniform(0.4, 1.1), rng.signed(0.03), True)
