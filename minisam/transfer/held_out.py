"""The world's held-out scenes: how good are the masks there, and are the three of them different things?

Training draws its scenes from seeds below ``HELD_OUT``; these are the ones from there on. At a point inside a part,
"this" may mean the part or the whole that it belongs to: a model with three outputs should offer both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.annotator import centre_point, chance_by_area
from minisam_kernels.losses.iou import iou_numpy

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor

OBJECTS, PARTS = 6, 4  # of a scene, at most
MIN_SHARE = 32 / 256**2  # of the image: smaller masks are not asked for
DIFFERENT = 0.8  # a part larger than this share of its whole is no ambiguity
THRESHOLDS = (0.5, 0.7)  # of IoU: with this much a mask counts as found


@dataclass
class Case:
    """An image, the objects in it, and (point, part, whole) where a point is ambiguous."""

    name: str
    image: np.ndarray
    masks: list[np.ndarray]
    parts: list[tuple[tuple[int, int], np.ndarray, np.ndarray]] = field(default_factory=list)


def world_cases(count: int, size: int) -> Iterator[Case]:
    """Yield the first ``count`` held-out scenes; objects are drawn with a chance ∝ √area as in training, none twice."""
    from minisam.world import HELD_OUT, render

    for number in range(count):
        scene, rng = render(HELD_OUT + number, size), np.random.default_rng(number)
        masks = [mask.segmentation for mask in scene.masks]
        areas = np.array([mask.sum() for mask in masks], float)
        fit = np.flatnonzero((areas >= MIN_SHARE * size * size) & (areas <= 0.9 * size * size))
        chosen = np.zeros(0, int)
        if len(fit):
            chosen = rng.choice(fit, min(OBJECTS, len(fit)), replace=False, p=chance_by_area(areas[fit]))
        parts: list[tuple[tuple[int, int], np.ndarray, np.ndarray]] = []
        for i in rng.permutation(fit):
            above = scene.masks[i].parent
            if above is None or above not in fit or areas[i] > DIFFERENT * areas[above] or len(parts) == PARTS:
                continue
            own = masks[i].copy()
            for child, mask in enumerate(scene.masks):
                if mask.parent == i:
                    own &= ~masks[child]
            if own.any():
                parts.append((centre_point(own), masks[i], masks[above]))
        yield Case(f"world {HELD_OUT + number}", scene.image, [masks[i] for i in chosen], parts)


def measure_ambiguity(predictor: SamPredictor, point: tuple[int, int], part: np.ndarray, whole: np.ndarray) -> Any:
    """Measure the IoU between the three outputs at a point (3 pairs), and with the part and the whole (3 × 2)."""
    coords = np.array([point], float)
    masks, _, _ = predictor.predict(point_coords=coords, point_labels=np.array([1]), multimask_output=True)
    between = []
    for i in range(len(masks)):
        for j in range(i):
            iou = float(iou_numpy(masks[[i]], masks[[j]])[0])
            between.append(1.0 if np.isnan(iou) else iou)
    return between, np.stack([iou_numpy(masks, truth[None]) for truth in (part, whole)], axis=1)


def both_found(iou: np.ndarray, threshold: float) -> bool:
    """Is the part in one output and the whole in another? iou (M, 2)."""
    part, whole = (np.flatnonzero(iou[:, column] >= threshold) for column in (0, 1))
    return len(part) > 0 and len(whole) > 0 and len(set(part) | set(whole)) > 1


def ambiguity(measured: list[tuple[list[float], np.ndarray]]) -> dict[str, Any]:
    """Summarise all ambiguous points."""
    between = [value for values, _ in measured for value in values]
    summary: dict[str, Any] = {"points": len(measured), "median_iou_between_outputs": float(np.median(between))}
    for threshold in THRESHOLDS:
        shares = {
            "part": float(np.mean([(iou[:, 0] >= threshold).any() for _, iou in measured])),
            "whole": float(np.mean([(iou[:, 1] >= threshold).any() for _, iou in measured])),
            "both": float(np.mean([both_found(iou, threshold) for _, iou in measured])),
        }
        summary[f"found_at_{threshold:g}"] = shares
    return summary
