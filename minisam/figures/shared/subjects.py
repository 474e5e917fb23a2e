"""Objects whose exact mask is known, with what the model answers to one click on them: what figures measure on.

A scene of the procedural world is drawn from a seed that training leaves out. The click is the object's centre, the
pixel farthest from its boundary; the model gives its three masks, and nothing about them is touched.

Shapes: image (S, S, 3) uint8, truth (S, S) bool, logits (3, S, S) float32, at the size of the image.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minisam.world import HELD_OUT, Scene, SceneMask, render
from minisam.world.scene import SIZE
from minisam_kernels.losses.iou import iou
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.sam import Sam


@dataclass(frozen=True)
class Subject:
    """One object, one click, three masks."""

    title: str
    alt: str
    image: np.ndarray
    truth: np.ndarray
    point: tuple[int, int]
    """(x, y) in pixels"""
    logits: np.ndarray
    scores: np.ndarray
    """(3,) float32, the model's own predicted IoU"""

    @property
    def masks(self) -> np.ndarray:
        """(3, S, S) bool: where the logits are above 0."""
        return self.logits > 0

    @property
    def ious(self) -> np.ndarray:
        """(3,) float32: the true IoU of each mask."""
        return iou(self.masks, np.repeat(self.truth[None], len(self.logits), axis=0))

    @property
    def closest(self) -> int:
        """Which of the three has the highest true IoU."""
        return int(np.nanargmax(self.ious))


KNOWN = {  # title → scene after HELD_OUT, name of the object, what the image shows
    "a pullover": (25, "shirt", "Rendered scene: a person with a light hat in a dark green pullover."),
    "a cup": (8, "cup", "Rendered scene: cups and fruit on a table of wooden planks."),
    "a car": (3, "car", "Rendered scene: a parking lot with cars, seen from above."),
}


def subjects(titles: Sequence[str] = tuple(KNOWN), sam: Sam | None = None) -> list[Subject]:
    """The named objects with the answers of ``sam`` (default: ``minisam.load("tiny")``). InputError: unknown title."""
    unknown = [title for title in titles if title not in KNOWN]
    if unknown:
        raise InputError(f"expected titles out of {', '.join(KNOWN)}, got {', '.join(unknown)}")
    if sam is None:
        return [_subject(title) for title in titles]
    return [ask(sam, title) for title in titles]


@functools.cache
def _subject(title: str) -> Subject:
    import minisam

    return ask(minisam.load("tiny"), title)


def ask(sam: Sam, title: str) -> Subject:
    """Render the scene, click on the largest object of the name, keep what the model says."""
    from minisam import SamPredictor
    from minisam.annotator import centre_point

    number, name, alt = KNOWN[title]
    scene = render(HELD_OUT + number, SIZE)
    largest = max((mask for mask in scene.masks if mask.name == name), key=lambda mask: mask.area)
    truth = np.array(largest.segmentation)
    point = centre_point(truth)
    predictor = SamPredictor(sam)
    predictor.set_image(scene.image)
    logits, scores, _ = predictor.predict(np.array([point]), np.array([1]), return_logits=True)
    return Subject(title, alt, scene.image, truth, point, logits, scores)


def scenes_with_objects(
    seeds: Sequence[int], rng: np.random.Generator, least: float, most: float, many: int
) -> Iterator[tuple[Scene, list[SceneMask]]]:
    """Each seed's scene with at most ``many`` of its objects, picked at random, of those that cover a share of the
    image from ``least`` to ``most``. Scenes without such an object are left out.

    Raises ``InputError`` without a seed."""
    if not len(seeds):
        raise InputError("expected at least one seed of a scene, got none")
    for seed in seeds:
        scene = render(seed)
        objects = [mask for mask in scene.masks if least <= mask.area / mask.segmentation.size <= most]
        if objects:
            yield scene, [objects[i] for i in rng.permutation(len(objects))[:many]]
