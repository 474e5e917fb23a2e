"""Domains of flat works: documents, painting."""

from __future__ import annotations

from minisam.world.domains import backgrounds
from minisam.world.domains.stage import Makers, Stage
from minisam.world.render.lens import bend
from minisam.world.render.materials import Colour, colour, random_material, tone
from minisam.world.render.objects import Node
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import blob, box, capsule, path, polygon, union
from minisam.world.render.surfaces import solid, surface
from minisam.world.things.bodies import figure, portrait
from minisam.world.things.creatures import animal, bird, flower, fruit, tree
from minisam.world.things.dishes import cutlery, sandwich
from minisam.world.things.large_objects import books, house, screen, vehicle
from minisam.world.things.nameless import abstract
from minisam.world.things.small_objects import cup, rope, sign, tool, vessel


def _page(rng: Rng) -> Node:
    """A page or a window of a screen: heading, paragraphs of words, pictures, a table, a bar of buttons."""
    dark = rng.chance(0.15)
    paper = tone(rng, "dark" if dark else "white") if rng.chance(0.85) else colour(rng)
    ink = tone(rng, "white" if dark else "dark") if rng.chance(0.8) else colour(rng)
    tall = rng.uniform(0.7, 1.4)
    node = Node("page", box(-0.8, -tall, 0.8, tall, rng.pick((0.0, 0.04))), surface(rng, "plaster", paper))
    if rng.chance(0.3):
        node.on("bar", box(-0.8, -tall, 0.8, -tall + 0.18), solid(rng, colour(rng), 0.0))
    y, columns = -tall + 0.25, rng.weighted(((3, 1), (2, 2)))
    written = solid(rng, ink, 0.0, 0.0, 0.1)
    while y < tall - 0.25:
        kind = rng.weighted(((5, "text"), (1.5, "heading"), (1.5, "picture"), (0.7, "table")))
        if kind == "picture":
            h = rng.uniform(0.2, 0.6)
            x = rng.uniform(-0.7, 0.0)
            picture = node.on("picture", box(x, y, x + rng.uniform(0.4, 0.7), y + h), random_material(rng, None, 0.25))
            for _ in range(rng.integer(0, 3)):
                picture.on(
                    "shown",
                    blob(rng, 0.8, 32).at(x + 0.3 + rng.signed(0.1), y + h / 2, rng.uniform(0.05, 0.2)),
                    random_material(rng),
                )
            y += h + 0.08
            continue
        size = 0.05 if kind == "heading" else rng.uniform(0.018, 0.03)
        for column in range(columns):
            left = -0.7 + 1.42 * column / columns
            right = left + 1.42 / columns - 0.08
            words = []
            for line in range(1 if kind == "heading" else rng.integer(2, 6)):
                x, top = left, y + line * size * 2.2
                while x < right - 0.02 and top < tall - 0.15:
                    w = size * rng.uniform(1.0, 6.0)
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
    rng = stage.rng
    stage.fill("table", surface(rng, rng.pick(("planks", "board", "cloth", "plaster", "concrete", "carpet", "metal"))))
    stage.reach = rng.uniform(0.01, 0.05)
    size, lean = rng.log_uniform(0.35, 1.1), rng.signed(0.15)
    makers: Makers = ((5, _page), (1, sign), (1, screen), (0.6, books))
    for _ in range(int(rng.uniform(1.0, 2.5) / size) + 1):
        x, y = (0.5 + rng.signed(0.15), 0.5 + rng.signed(0.15)) if size > 0.8 else (rng.random(), rng.random())
        stage.put(rng.weighted(makers)(rng), x, y, size * rng.uniform(0.8, 1.2), lean + rng.signed(0.3))
    small: Makers = ((2, tool), (1, cup), (1, cutlery), (1, rope), (1, _pen), (1, flower))
    for _ in range(rng.integer(0, 3)):
        stage.put(rng.weighted(small)(rng), rng.random(), rng.random(), rng.uniform(0.1, 0.3), rng.uniform(0, 6.28))


def _pen(rng: Rng) -> Node:
    """A pen: body, tip, clip."""
    base: Colour = colour(rng)
    node = Node("pen", capsule(-0.9, 0, 0.7, 0, 0.06, 0.06), solid(rng, base, 0.9, 0.5))
    node.attach("tip", path((0.7, -0.05), (1.0, 0.0), (0.7, 0.05)), solid(rng, tone(rng, "metal")))
    node.on("clip", box(-0.9, -0.02, -0.4, 0.02), solid(rng, tone(rng, "metal")))
    return node


def painting(stage: Stage) -> None:
    """A picture made by hand: people, beasts, fruit, boats and houses in few colours, brushed or cut out flat."""
    rng = stage.rng
    kind = rng.weighted(((3, "still life"), (3, "figures"), (2, "landscape"), (1, "abstract")))
    key = colour(rng)
    flat = rng.chance(0.3)
    stage.shadow *= 0.0 if flat else 0.6
    stage.use(
        {
            "still life": backgrounds.room,
            "figures": rng.pick((backgrounds.landscape, backgrounds.room)),
            "landscape": backgrounds.landscape,
        }.get(kind, backgrounds.patchwork)
    )
    if kind == "still life":
        stage.standing(
            ((3, fruit), (2, vessel), (1.5, flower), (1, cup), (1, sandwich), (0.7, cutlery)),
            rng.integer(3, 9),
            0.5,
            (0.3, 0.6),
        )
    elif kind == "figures":
        stage.standing(((4, figure), (1.5, portrait), (1, animal), (0.5, bird)), rng.integer(1, 6), 0.35, (0.6, 1.1))
    elif kind == "landscape":
        far = 0.4 if stage.horizon is None else stage.horizon
        stage.standing(
            ((3, tree), (2, house), (1, figure), (1, animal), (0.5, vehicle)), rng.integer(2, 9), far, (0.3, 0.8)
        )
    else:
        for _ in range(rng.integer(3, 12)):
            stage.put(abstract(rng), rng.random(), rng.random(), rng.log_uniform(0.15, 0.7), rng.uniform(0, 6.28))
    stage.veil(key, rng.uniform(0.05, 0.35))
    if not flat:
        bend(stage.canvas, ripple=rng.uniform(0.002, 0.009), periods=rng.uniform(2.0, 6.0), shift=rng.random(), tile=1)
    if rng.chance(0.3):
        rim = solid(rng, tone(rng, rng.pick(("wood", "dark"))), 1.0, 0.3)
        edge = rng.uniform(0.75, 0.93)
        inner = polygon(box(-edge, -edge, edge, edge).points, hole=True)
        stage.fill("frame", rim, union(box(-1.1, -1.1, 1.1, 1.1), inner))
