"""Domains of nature: wildlife, underwater."""

from __future__ import annotations

import numpy as np

from minisam.world.domains.stage import Makers, Stage
from minisam.world.render.lens import bend
from minisam.world.render.materials import Colour, colour, shifted, tone
from minisam.world.render.objects import Node
from minisam.world.render.rng import Rng
from minisam.world.render.shapes import Shape, blob, box, branches, curve, ellipse, leaf, path, polygon, shaggy, union
from minisam.world.render.surfaces import rounded, solid, surface
from minisam.world.things.creatures import animal, bird, fish, insect
from minisam.world.things.nameless import thin
from minisam.world.things.small_objects import rope, vessel


def _blades(rng: Rng, count: int, y: float, tall: float, lean: float) -> Shape:
    """A tuft of grass as one shape, frame coordinates."""
    x, wide = rng.uniform(-1.1, 1.1), rng.uniform(0.1, 0.6)
    parts = []
    for _ in range(count):
        foot = x + rng.signed(wide)
        parts.append(
            leaf(rng, 0.06, 12).at(
                foot, y + rng.signed(0.05), tall * rng.uniform(0.5, 1.2), -1.57 + lean + rng.signed(0.25)
            )
        )
    return union(*parts)


def wildlife(stage: Stage) -> None:
    """Animals among grass, leaves, stones and trunks, in their own colours; by day, by night, or by their warmth."""
    rng = stage.rng
    kind = rng.weighted(((4, "day"), (2, "night"), (1.5, "thermal")))
    ground = rng.pick(("grass", "soil", "foliage", "snow", "rock", "gravel", "bark", "sand"))
    horizon = rng.uniform(0.1, 0.5) if rng.chance(0.6) else None
    if horizon is not None:
        stage.fill("background", rng.pick(("foliage", "foliage", "sky", "rock")), scale=1.5)
        stage.fill("ground", surface(rng, ground), box(-1.1, 2 * horizon - 1, 1.1, 1.1), horizon=horizon)
    else:
        stage.fill("ground", surface(rng, ground, scale=rng.uniform(0.8, 2.0)))
    if rng.chance(0.5):
        stage.canvas.defocus(rng.uniform(0.002, 0.012))
    bark = rounded(surface(rng, "bark"), 0.8, 0.4)
    for _ in range(rng.integer(0, 3)):
        x = rng.uniform(-1, 1)
        w = rng.log_uniform(0.02, 0.15)
        stage.fill(
            "trunk",
            bark,
            path(
                (x - w, -1.1), (x + w, -1.1), (x + 1.2 * w + rng.signed(0.1), 1.1), (x - 1.3 * w + rng.signed(0.1), 1.1)
            ),
        )
    far = 0.2 if horizon is None else horizon
    makers: Makers = ((5, animal), (2, bird), (0.7, insect), (0.5, fish))
    count = rng.weighted(((4, 1), (2, 2), (2, 5), (0.5, 10)))
    stage.shadow *= 0.7
    for y in sorted(rng.uniform(far + 0.1, 1.05) for _ in range(count)):
        node = rng.weighted(makers)(rng)
        if kind == "thermal":
            warm = rng.uniform(0.75, 1.0)
            _recolour(rng, node, (warm, warm, warm))
        elif rng.chance(0.45):
            base: Colour = (
                float(stage.ground.ramp[32, 0]),
                float(stage.ground.ramp[32, 1]),
                float(stage.ground.ramp[32, 2]),
            )
            _recolour(rng, node, base, 0.08)
        size = rng.uniform(0.25, 0.7) * (0.4 + 0.6 * y) * (0.5 if count > 4 else 1.0)
        stage.put(node, rng.uniform(0.05, 0.95), y, size, rng.signed(0.06), True)
    for _ in range(rng.integer(0, 5)):  # what grows before them
        material = surface(rng, "cloth", shifted(rng, tone(rng, "leaf"), 0.08, 0.02))
        if rng.chance(0.7):
            stage.clutter(
                _blades(rng, rng.integer(5, 20), rng.uniform(0.4, 1.2), rng.uniform(0.2, 0.7), rng.signed(0.2)),
                material,
                blurred=rng.pick((0.0, 0.0, 0.006)),
            )
        else:
            twig = branches(rng, 2, 0.6, 0.02).at(
                rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.3, 0.9), rng.uniform(0, 6.28)
            )
            stage.clutter(twig, bark)
    if kind == "thermal":
        stage.veil((0.35, 0.35, 0.35), rng.uniform(0.1, 0.4))


def _recolour(rng: Rng, node: Node, base: Colour, vary: float = 0.06) -> None:
    """Give a thing and all its parts surfaces about one colour: fur like the ground, or warmth."""
    for part in (node, *node.children):
        if part.material is not None:
            material = surface(rng, "fur", shifted(rng, base, vary, vary * 0.2))
            part.material = rounded(material, rng.uniform(0.1, 0.7), 0.3)
        if part is not node:
            _recolour(rng, part, base, vary)


def _dolphin(rng: Rng) -> Node:
    """A dolphin, shark or whale: one smooth body with fins and a flat tail, dark above, pale below."""
    base = tone(rng, rng.pick(("stone", "dark", "sky")))
    shape = leaf(rng, rng.uniform(0.16, 0.24), 32).at(-1, 0, 2.0)
    node = Node("dolphin", shape, solid(rng, base, 0.9))
    pale = solid(rng, shifted(rng, (0.8, 0.8, 0.8), 0.1, 0.02), 0.2)
    node.on("belly", ellipse(0.9, 0.2).at(0.1, 0.22), pale).labelled = rng.chance(0.5)
    node.attach("fin", path((-0.1, -0.15), (-0.35, -0.5), (0.2, -0.18)), solid(rng, base))
    node.attach("fin", path((0.3, 0.1), (0.05, 0.5), (0.5, 0.12)), solid(rng, base))
    node.attach("tail", path((-0.9, 0), (-1.35, -0.3), (-1.2, 0.0), (-1.35, 0.3)), solid(rng, base))
    return node


def _weed(rng: Rng) -> Node:
    """A tuft of seaweed: long blades from one foot."""
    blades = [
        curve(rng, rng.signed(0.2), 1.0, -1.57 + rng.signed(0.3), rng.uniform(1.0, 2.0), 0.07, 0.02, rng.signed(1.0))
        for _ in range(rng.integer(2, 6))
    ]
    return Node("seaweed", union(*blades), rounded(surface(rng, "cloth", tone(rng, "leaf")), 0.3))


def _coral(rng: Rng) -> Node:
    """A coral: branching, or a lump."""
    if rng.chance(0.5):
        return Node(
            "coral", branches(rng, 3, rng.uniform(0.5, 0.9), 0.1), rounded(surface(rng, "gravel", colour(rng)), 0.6)
        )
    return Node("coral", shaggy(rng, 0.7, 0.1), rounded(surface(rng, "rock", colour(rng)), 0.9))


def _jelly(rng: Rng) -> Node:
    """A jellyfish: a bell that is seen through, with arms."""
    bell = solid(rng, shifted(rng, (0.8, 0.8, 0.9), 0.1, 0.1), 0.8, 0.4)
    bell.opacity = rng.uniform(0.4, 0.8)
    node = Node(
        "jellyfish", path((-0.7, 0.1), (-0.6, -0.4), (-0.25, -0.7), (0.25, -0.7), (0.6, -0.4), (0.7, 0.1)), bell
    )
    for i in range(rng.integer(3, 7)):
        node.attach(
            "arm",
            curve(rng, -0.5 + 0.17 * i, 0.1, 1.57, rng.uniform(0.6, 1.4), 0.04, 0.02, rng.signed(0.8)),
            bell,
            True,
        )
    return node


def underwater(stage: Stage) -> None:
    """Fish, dolphins, corals, weed, wrecks on sand; everything further away is more blue, dim and soft."""
    rng = stage.rng
    water = shifted(
        rng,
        rng.pick(((0.1, 0.35, 0.45), (0.05, 0.2, 0.4), (0.2, 0.4, 0.3), (0.25, 0.35, 0.35), (0.3, 0.5, 0.6))),
        0.08,
        0.03,
    )
    rng.random()  # nothing uses it; without it, all that is drawn later would change
    stage.fill("water", surface(rng, "plaster", water))
    stage.shadow *= 0.5
    bed = rng.uniform(0.3, 1.0)
    if rng.chance(0.7):
        x = np.linspace(-1.1, 1.1, 30)
        line = bed - 0.3 + 0.15 * np.interp(x, np.linspace(-1.1, 1.1, 6), rng.array(6))
        floor = polygon(np.concatenate([np.stack([x, line], axis=1), [[1.1, 1.1], [-1.1, 1.1]]]))
        stage.fill("ground", surface(rng, rng.pick(("sand", "rock", "gravel")), scale=1.5), floor, horizon=None)
    stage.veil(water, rng.uniform(0.1, 0.5))
    still: Makers = ((2, _coral), (2, _weed), (1, _stone), (1, vessel), (0.5, rope), (0.5, thin))
    swims: Makers = ((4, fish), (1, _dolphin), (0.6, _jelly))
    school, one = rng.chance(0.3), rng.weighted(swims)
    for layer in range(3):
        for _ in range(rng.integer(0, 3)):
            stage.put(
                rng.weighted(still)(rng),
                rng.random(),
                (1 + bed) / 2 + 0.08 * layer,
                rng.uniform(0.1, 0.35) * (1 + 0.5 * layer),
                rng.signed(0.3),
                True,
            )
        count = rng.integer(0, 2) if not school else rng.integer(2, 9)
        for _ in range(count):
            maker = one if school else rng.weighted(swims)
            size = rng.log_uniform(0.06, 0.2) * (1 + layer) * (0.6 if school else 1.0)
            stage.put(
                maker(rng), rng.random(), rng.random(), size, rng.signed(0.3), shadow=0.0, blurred=0.003 * (2 - layer)
            )
        if layer < 2:
            stage.veil(water, rng.uniform(0.1, 0.4))
    if rng.chance(0.5):
        bend(stage.canvas, ripple=rng.uniform(0.001, 0.006), periods=rng.uniform(0.3, 1.5), shift=rng.random())
    for _ in range(rng.weighted(((2, 0), (1, 6)))):  # bubbles and drifting dirt
        bubble = ellipse(corners=12).at(rng.uniform(-1, 1), rng.uniform(-1, 1), rng.log_uniform(0.005, 0.03))
        stage.stain(bubble, (0.85, 0.9, 0.92), 0.5)


def _stone(rng: Rng) -> Node:
    """A stone on the bed."""
    return Node("stone", blob(rng, 0.7), rounded(surface(rng, "rock"), 1.2, 0.4))
