"""Domains of paper and paint: documents, painting."""

from __future__ import annotations

from . import backgrounds, goods, living, made
from .bodies import figure, portrait
from .dice import Dice
from .dishes import cutlery, sandwich
from .everyday import Makers
from .lens import bend
from .materials import Colour, colour, random_material, tone
from .objects import Node, abstract
from .shapes import blob, box, capsule, path, polygon, union
from .stage import Stage
from .surfaces import solid, surface


def _page(dice: Dice) -> Node:
    """A page or a window of a screen: heading, paragraphs of words, pictures, a table, a bar of buttons."""
    dark = dice.chance(0.15)
    paper = tone(dice, "dark" if dark else "white") if dice.chance(0.85) else colour(dice)
    ink = tone(dice, "white" if dark else "dark") if dice.chance(0.8) else colour(dice)
    tall = dice.uniform(0.7, 1.4)
    node = Node("page", box(-0.8, -tall, 0.8, tall, dice.pick((0.0, 0.04))), surface(dice, "plaster", paper))
    if dice.chance(0.3):
        node.on("bar", box(-0.8, -tall, 0.8, -tall + 0.18), solid(dice, colour(dice), 0.0))
    y, columns = -tall + 0.25, dice.weighted(((3, 1), (2, 2)))
    written = solid(dice, ink, 0.0, 0.0, 0.1)
    while y < tall - 0.25:
        kind = dice.weighted(((5, "text"), (1.5, "heading"), (1.5, "picture"), (0.7, "table")))
        if kind == "picture":
            h = dice.uniform(0.2, 0.6)
            x = dice.uniform(-0.7, 0.0)
            picture = node.on(
                "picture", box(x, y, x + dice.uniform(0.4, 0.7), y + h), random_material(dice, None, 0.25)
            )
            for _ in range(dice.integer(0, 3)):
                picture.on(
                    "shown",
                    blob(dice, 0.8, 32).at(x + 0.3 + dice.signed(0.1), y + h / 2, dice.uniform(0.05, 0.2)),
                    random_material(dice),
                )
            y += h + 0.08
            continue
        size = 0.05 if kind == "heading" else dice.uniform(0.018, 0.03)
        for column in range(columns):
            left = -0.7 + 1.42 * column / columns
            right = left + 1.42 / columns - 0.08
            words = []
            for line in range(1 if kind == "heading" else dice.integer(2, 6)):
                x, top = left, y + line * size * 2.2
                while x < right - 0.02 and top < tall - 0.15:
                    w = size * dice.uniform(1.0, 6.0)
                    words.append(box(x, top, min(x + w, right), top + size))
                    x += w + size * 0.7
                    if kind == "table":
                        x += 0.15
            if words:
                node.on("heading" if kind == "heading" else "text", union(*words), written)
        y += size * 2.2 * 6 + 0.06
    return node


def documents(stage: Stage) -> None:
    """Papers, posters, tickets, screens and signs, straight or aslant, on desks and walls; pens and cups on them."""
    dice = stage.dice
    stage.fill(
        "table", surface(dice, dice.pick(("planks", "board", "cloth", "plaster", "concrete", "carpet", "metal")))
    )
    stage.reach = dice.uniform(0.01, 0.05)
    size, lean = dice.log_uniform(0.35, 1.1), dice.signed(0.15)
    makers: Makers = ((5, _page), (1, goods.sign), (1, made.screen), (0.6, made.books))
    for _ in range(int(dice.uniform(1.0, 2.5) / size) + 1):
        x, y = (0.5 + dice.signed(0.15), 0.5 + dice.signed(0.15)) if size > 0.8 else (dice.random(), dice.random())
        stage.put(dice.weighted(makers)(dice), x, y, size * dice.uniform(0.8, 1.2), lean + dice.signed(0.3))
    small: Makers = ((2, goods.tool), (1, goods.cup), (1, cutlery), (1, goods.rope), (1, _pen), (1, living.flower))
    for _ in range(dice.integer(0, 3)):
        stage.put(
            dice.weighted(small)(dice), dice.random(), dice.random(), dice.uniform(0.1, 0.3), dice.uniform(0, 6.28)
        )


def _pen(dice: Dice) -> Node:
    base: Colour = colour(dice)
    node = Node("pen", capsule(-0.9, 0, 0.7, 0, 0.06, 0.06), solid(dice, base, 0.9, 0.5))
    node.attach("tip", path((0.7, -0.05), (1.0, 0.0), (0.7, 0.05)), solid(dice, tone(dice, "metal")))
    node.on("clip", box(-0.9, -0.02, -0.4, 0.02), solid(dice, tone(dice, "metal")))
    return node


def painting(stage: Stage) -> None:
    """A picture made by hand: people, beasts, fruit, boats and houses in few colours, brushed or cut out flat."""
    dice = stage.dice
    kind = dice.weighted(((3, "still life"), (3, "figures"), (2, "landscape"), (1, "abstract")))
    key = colour(dice)
    flat = dice.chance(0.3)
    stage.shadow *= 0.0 if flat else 0.6
    stage.use(
        {
            "still life": backgrounds.room,
            "figures": dice.pick((backgrounds.landscape, backgrounds.room)),
            "landscape": backgrounds.landscape,
        }.get(kind, backgrounds.patchwork)
    )
    if kind == "still life":
        stage.standing(
            ((3, living.fruit), (2, goods.vessel), (1.5, living.flower), (1, goods.cup), (1, sandwich), (0.7, cutlery)),
            dice.integer(3, 9),
            0.5,
            (0.3, 0.6),
        )
    elif kind == "figures":
        stage.standing(
            ((4, figure), (1.5, portrait), (1, living.animal), (0.5, living.bird)), dice.integer(1, 6), 0.35, (0.6, 1.1)
        )
    elif kind == "landscape":
        far = 0.4 if stage.horizon is None else stage.horizon
        stage.standing(
            ((3, living.tree), (2, made.house), (1, figure), (1, living.animal), (0.5, made.vehicle)),
            dice.integer(2, 9),
            far,
            (0.3, 0.8),
        )
    else:
        for _ in range(dice.integer(3, 12)):
            stage.put(abstract(dice), dice.random(), dice.random(), dice.log_uniform(0.15, 0.7), dice.uniform(0, 6.28))
    stage.veil(key, dice.uniform(0.05, 0.35))
    if not flat:
        bend(
            stage.canvas, ripple=dice.uniform(0.002, 0.009), periods=dice.uniform(2.0, 6.0), shift=dice.random(), tile=1
        )
    if dice.chance(0.3):
        rim = solid(dice, tone(dice, dice.pick(("wood", "dark"))), 1.0, 0.3)
        edge = dice.uniform(0.75, 0.93)
        inner = polygon(box(-edge, -edge, edge, edge).points, hole=True)
        stage.fill("frame", rim, union(box(-1.1, -1.1, 1.1, 1.1), inner))
