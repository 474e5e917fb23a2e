"""Ambiguous points: pixels of a scene that belong to a part, to what the part is a part of, and perhaps to more.

The world knows its trees of wholes, parts and subparts, so it also knows every right answer to one click.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minisam.world.scene import HELD_OUT, SIZE, Scene, render

LARGER = 1.5  # a part of nearly all of its whole asks nothing


@dataclass(frozen=True)
class Question:
    """A point (x, y) of a scene, and the truths (K, S, S) bool around it from the inside out, each inside the next.

    ``levels`` and ``names`` are the truths'; ``seed`` is the scene's.
    """

    seed: int
    scene: Scene
    point: tuple[int, int]
    truths: np.ndarray
    levels: tuple[str, ...]
    names: tuple[str, ...]


def chains(scene: Scene, least: float = 0.002) -> list[list[int]]:
    """Numbers of masks from the inside out, for every part without parts of its own.

    The innermost covers at least ``least`` of the image, each other one ``LARGER`` times the one before.
    """
    parents = {mask.parent for mask in scene.masks}
    result = []
    for number, mask in enumerate(scene.masks):
        chain, above = [number], mask.parent
        while above is not None:
            if scene.masks[above].area >= LARGER * scene.masks[chain[-1]].area:
                chain.append(above)
            above = scene.masks[above].parent
        if number not in parents and len(chain) > 1 and mask.area >= least * mask.segmentation.size:
            result.append(chain)
    return result


def question(
    seed: int, size: int = SIZE, depth: int = 2, least: float = 0.002, domain: str | None = None
) -> Question | None:
    """An ambiguous point of one scene with at least ``depth`` truths around it; None where the scene has none.

    The scene's seed picks one of the scene's chains and a pixel of its innermost truth.
    """
    scene = render(seed, size, domain)
    ambiguous = [chain for chain in chains(scene, least) if len(chain) >= depth]
    if not ambiguous:
        return None
    rng = np.random.default_rng(seed)
    masks = [scene.masks[number] for number in ambiguous[rng.integers(len(ambiguous))]]
    row, column = rng.choice(np.argwhere(masks[0].segmentation))
    truths = np.array([mask.segmentation for mask in masks])
    levels, names = zip(*((mask.level, mask.name) for mask in masks))
    return Question(seed, scene, (int(column), int(row)), truths, levels, names)


def questions(
    count: int, size: int = SIZE, depth: int = 2, least: float = 0.002, domain: str | None = None
) -> Iterator[Question]:
    """The first ``count`` ambiguous points among the held-out scenes, one per scene."""
    seed = HELD_OUT
    while count:
        candidate = question(seed, size, depth, least, domain)
        if candidate is not None:
            yield candidate
            count -= 1
        seed += 1
