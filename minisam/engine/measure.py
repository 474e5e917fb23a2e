"""What a model is worth: the best of three masks for one click, on held-out scenes of the world.

The objects are seen as the person's views show them, and clicked in the middle. No scene of the data engine is among
these: its pictures have numbers below ``HELD_OUT``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minisam.annotator import centre_point, chance_by_area, tight_box
from minisam.engine.annotator import LEAST, MOST
from minisam.engine.stages import Assistant
from minisam.engine.views import View, around
from minisam_kernels import InputError


class Question(NamedTuple):
    """A view of a held-out scene (h, w, 3), the middle (x, y) of an object in it, and its mask (h, w)."""

    image: np.ndarray
    point: tuple[int, int]
    truth: np.ndarray


@functools.cache
def questions(scenes: int, objects: int, size: int) -> list[Question]:
    """Objects of the first held-out scenes, drawn with a chance ∝ √area as in training."""
    from minisam.world import HELD_OUT, render

    result = []
    for number in range(scenes):
        scene, rng = render(HELD_OUT + number, size), np.random.default_rng(number)
        areas = np.array([mask.area for mask in scene.masks], float)
        fit = np.flatnonzero((areas >= LEAST * (size / 512) ** 2) & (areas <= MOST * size**2))
        if not len(fit):
            continue
        for i in rng.choice(fit, min(objects, len(fit)), replace=False, p=chance_by_area(areas[fit])):
            mask = scene.masks[i].segmentation
            view = around(tight_box(mask), mask.shape)
            truth = view.crop(mask).copy()
            result.append(Question(view.crop(scene.image).copy(), centre_point(truth), truth))
    return result


def best_of_three(assistant: Assistant, asked: list[Question]) -> list[float]:
    """For each question the highest IoU among the three masks for the one click."""
    result = []
    for question in asked:
        predictor = assistant.see(question.image, View(0, 0, max(question.truth.shape)))
        masks, _, _ = predictor.predict(np.array([question.point], float), np.array([1]), multimask_output=True)
        both, either = (masks & question.truth).sum((1, 2)), (masks | question.truth).sum((1, 2))
        result.append(float((both / np.maximum(either, 1)).max()))
    return result


def world_images(size: int) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """The world's scenes by number: (picture (H, W, 3), masks (M, H, W)); the last two are kept."""
    from minisam.world import HELD_OUT, render

    @functools.lru_cache(maxsize=2)
    def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= number < HELD_OUT:
            raise InputError(f"expected scenes from 0 to below {HELD_OUT}, got {number}")
        drawn = render(number, size)
        masks = np.array([mask.segmentation for mask in drawn.masks], bool).reshape(-1, size, size)
        return drawn.image, masks

    return scene
