"""Domains of things and people: everyday, crowd, people."""

from __future__ import annotations

from . import backgrounds, goods, living, made
from .bodies import figure, portrait
from .crowds import crowd as crowd_of
from .dishes import cutlery, plate, sandwich
from .objects import abstract, thin
from .stage import Maker, Stage
from .surfaces import surface
from .traffic import bicycle

Makers = tuple[tuple[float, Maker], ...]


ANYTHING: Makers = (
    (5, abstract), (1, thin), (2, living.animal), (0.7, living.fish), (1.2, living.bird), (0.7, living.insect),
    (1, living.face), (2, figure), (1, portrait), (1.2, living.flower), (1.2, living.tree), (0.8, living.plant_leaf),
    (1.2, living.fruit), (1, made.house), (1.5, made.vehicle), (1.5, goods.vessel), (1.5, goods.cup), (1.2, made.crate),
    (1, made.books), (1.2, made.screen), (0.8, goods.sign), (1.5, made.furniture), (1, goods.tool), (0.8, goods.wheel),
    (1, goods.garment), (0.8, goods.rope), (1, plate), (0.7, bicycle), (0.5, sandwich),
)  # fmt: skip


FLYING = (living.fish, living.insect, living.plant_leaf, goods.tool)


STANDING: Makers = tuple(pair for pair in ANYTHING if pair[1] not in FLYING)


def everyday(stage: Stage) -> None:
    """Anything anywhere: a few large things, a scatter, a heap, things standing on a ground, one cut by the frame."""
    dice = stage.dice
    layout = dice.weighted(((3, "studio"), (3, "scatter"), (3, "standing"), (1.5, "heap"), (2, "close-up")))
    if layout == "standing":
        stage.use(dice.pick((backgrounds.landscape, backgrounds.room)))
    elif dice.chance(0.5):
        kind = dice.pick(
            ("grass", "soil", "planks", "carpet", "cloth", "concrete", "plaster", "tiles", "sand", "foliage", "weave")
        )
        stage.fill("background", surface(dice, kind, scale=dice.log_uniform(0.5, 2.0)))
    else:
        stage.use(
            dice.weighted(
                (
                    (3, backgrounds.plain_wall),
                    (2, backgrounds.room),
                    (1, backgrounds.landscape),
                    (1.5, backgrounds.patchwork),
                    (1, backgrounds.thicket),
                )
            )
        )
    if dice.chance(0.35):
        stage.canvas.defocus(dice.uniform(0.003, 0.025))
    if layout == "standing":
        far = 0.5 if stage.horizon is None else stage.horizon
        stage.standing(STANDING, dice.integer(1, 8), far, (0.3, 0.9))
        return
    counts = {
        "studio": dice.integer(1, 3),
        "scatter": dice.weighted(((2, 4), (3, 7), (1, 16))),
        "heap": dice.integer(8, 18),
        "close-up": dice.integer(1, 3),
    }
    kinds: Makers = ANYTHING if dice.chance(0.85) else ((1.0, dice.weighted(ANYTHING)),)
    cx, cy = 0.5 + dice.signed(0.1), 0.5 + dice.signed(0.1)
    for i in range(counts[layout]):
        node = dice.weighted(kinds)(dice)
        if dice.chance(0.1):
            stage.camouflaged(node, 0.08)
        soft = dice.uniform(0.002, 0.01) if dice.chance(0.08) else 0.0
        if layout == "studio":
            stage.put(
                node,
                0.5 + dice.signed(0.16),
                0.5 + dice.signed(0.13),
                dice.uniform(0.35, 0.95),
                stage.turn(),
                blurred=soft,
            )
        elif layout == "scatter":
            stage.put(node, dice.random(), dice.random(), dice.log_uniform(0.1, 0.6), stage.turn(), blurred=soft)
        elif layout == "heap":
            stage.put(
                node, cx + dice.signed(0.2), cy + dice.signed(0.2), dice.uniform(0.15, 0.45), stage.turn(), blurred=soft
            )
        else:
            stage.put(
                node,
                dice.uniform(0.2, 0.8),
                dice.uniform(0.2, 0.8),
                dice.uniform(0.9, 1.8) if i == 0 else dice.uniform(0.1, 0.5),
                stage.turn(),
            )


def crowd(stage: Stage) -> None:
    """Many small similar things: coins, berries, pills, pebbles, stars, buttons; perhaps something else among them."""
    dice = stage.dice
    if dice.chance(0.5):
        kind = dice.pick(("cloth", "planks", "concrete", "plaster", "metal", "grass", "sand", "carpet"))
        stage.fill("background", surface(dice, kind))
    else:
        stage.use(
            dice.weighted(((4, backgrounds.plain_wall), (0.5, backgrounds.patchwork), (0.5, backgrounds.thicket)))
        )
    soft = dice.uniform(0.002, 0.006) if dice.chance(0.2) else 0.0
    for node, frame in crowd_of(dice, stage.ground):
        stage.at(node, frame, blurred=soft, reach=0.01)
    if dice.chance(0.25):
        stage.put(dice.weighted(ANYTHING)(dice), dice.random(), dice.random(), dice.uniform(0.1, 0.4), stage.turn())


HELD: Makers = (
    (2, goods.tool),
    (2, goods.cup),
    (2, goods.vessel),
    (1, living.fruit),
    (1, made.screen),
    (1, made.crate),
    (1, cutlery),
    (1, plate),
    (1, goods.rope),
    (0.7, sandwich),
    (0.7, living.flower),
)


def people(stage: Stage) -> None:
    """A portrait, a pair, a group or a crowd of people before a room, a street, a field; bags, bicycles, dogs."""
    dice = stage.dice
    stage.use(
        dice.weighted(
            ((2, backgrounds.landscape), (2, backgrounds.room), (1, backgrounds.plain_wall), (0.5, backgrounds.thicket))
        )
    )
    if dice.chance(0.5):
        stage.canvas.defocus(dice.uniform(0.003, 0.02))
    if dice.chance(0.35):
        for _ in range(dice.weighted(((3, 1), (2, 2), (1, 4)))):
            size = dice.uniform(0.6, 1.3)
            stage.put(
                portrait(dice),
                dice.uniform(0.2, 0.8),
                1.02 + dice.uniform(0.0, 0.3 * size),
                size,
                dice.signed(0.06),
                True,
            )
        if dice.chance(0.4):
            stage.put(
                dice.weighted(HELD)(dice), dice.random(), dice.uniform(0.7, 1.0), dice.uniform(0.2, 0.4), stage.turn()
            )
        return
    far = 0.4 if stage.horizon is None else stage.horizon
    many = dice.weighted(((3, 2), (3, 4), (1.5, 12)))
    kinds: Makers = (
        (8, figure),
        (0.5, bicycle),
        (0.5, living.animal),
        (0.5, made.furniture),
        (0.4, living.potted),
        (0.3, goods.garment),
    )
    stage.standing(kinds, dice.integer(1, many), far, (0.5, 1.2) if many < 12 else (0.25, 0.6))
    stage.put(
        figure(dice), dice.uniform(0.1, 0.9), dice.uniform(0.9, 1.15), dice.uniform(0.4, 1.1), dice.signed(0.03), True
    )
