"""What becomes of every mask that a grid of points brings: kept, or dropped, by which rule and with which numbers.

The same steps as ``SamAutomaticMaskGenerator``'s, from public functions, so that nothing is hidden and nothing lost:
``SamPredictor.predict_batch`` asks the model, ``mask_runs`` gives run lengths, area, box and stability of the logits,
``nms`` and ``remove_small_regions`` do what their names say. What is added to ``generator.funnel`` are the masks that
were dropped and the numbers that decided. A test compares every fate with that funnel, and what is left with the
generator's records.

Coordinates are (x, y) in pixels of the image. One crop: the image itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minisam.automatic.crops import checked
from minisam.automatic.regions import remove_small_regions
from minisam_kernels.masks import rle
from minisam_kernels.masks.box_from_mask import box_from_mask
from minisam_kernels.masks.mask_runs import mask_runs
from minisam_kernels.masks.nms import nms
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor

STAGES = ("asked", "predicted IoU", "stability", "box NMS", "small regions")


@dataclass
class Candidate:
    """One of three masks of a point, and its fate."""

    point: tuple[float, float]
    number: int  # 1, 2 or 3: the model's order
    iou: float
    stability: float
    counts: np.ndarray  # run lengths, as ``rle``
    area: int
    box: np.ndarray  # x0, y0, x1, y1, the last column and row included
    dropped: str = ""  # the stage; "" for a survivor
    reason: str = ""


@dataclass(frozen=True)
class Rules:
    """The generator's thresholds under the generator's names."""

    pred_iou_thresh: float
    stability_score_thresh: float
    box_nms_thresh: float = 0.7
    crop_nms_thresh: float = 0.7
    min_mask_region_area: int = 0
    stability_score_offset: float = 1.0


@dataclass(frozen=True)
class Answers:
    """What the model says to a grid of points: points (P, 2), predicted IoU (P, 3), logits (P, 3, L, L)."""

    predictor: SamPredictor
    points: np.ndarray
    ious: np.ndarray
    logits: np.ndarray


def ask(predictor: SamPredictor, points_per_side: int) -> Answers:
    """Three masks for every point of a grid on the image that is set in the predictor."""
    size = predictor.original_size
    if size is None:
        raise InputError("expected a predictor with an image, got one without")
    points = checked(points_per_side=points_per_side)["point_grids"][0] * (size[1], size[0])
    _, ious, logits = predictor.predict_batch(points[:, None], np.ones((len(points), 1), np.int64))
    return Answers(predictor, points, ious, logits)


def candidates(answers: Answers, offset: float = 1.0) -> list[Candidate]:
    """All masks, point after point, measured at the image's size. None is dropped yet."""
    model, size, cut = answers.predictor.model, answers.predictor.original_size, answers.predictor.input_size
    assert size is not None and cut is not None
    candidates = []
    for (x, y), iou, low in zip(answers.points.tolist(), answers.ious.tolist(), answers.logits):
        runs = mask_runs(low, cut, model.config.image_size, size, model.mask_threshold, offset)
        columns = zip(iou, runs.stability.tolist(), runs.counts, runs.areas.tolist(), runs.boxes)
        candidates += [Candidate((x, y), k, *column) for k, column in enumerate(columns, 1)]
    return candidates


def fitting(answers: Answers, share: float = 1 / 3, offsets: Sequence[float] = (1.0, 0.5, 0.2, 0.1, 0.05)) -> Rules:
    """Rules that a ``share`` of the candidates pass by predicted IoU, and a share of these by stability.

    A model that is not sure of itself has no logit beyond ±1, so the largest offset is taken at which there is anything
    to compare. Thresholds have two digits.
    """
    if not 0 < share <= 1:
        raise InputError(f"expected a share above 0 up to 1, got {share}")
    iou = _in_range(float(np.quantile(answers.ious, 1 - share)))
    for offset in offsets:
        left = [c.stability for c in candidates(answers, offset) if c.iou > iou and c.stability == c.stability]
        stability = _in_range(float(np.quantile(left, 1 - share))) if left else 0.0
        if stability >= 0.1:
            break
    return Rules(iou, stability, stability_score_offset=offset)


def _in_range(threshold: float) -> float:
    return round(min(max(threshold, 0.0), 1.0), 2)


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Of two boxes x0, y0, x1, y1, as ``nms`` computes it; NaN for two boxes without area."""
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = max(float(width), 0.0) * max(float(height), 0.0)
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (a, b)]
    union = areas[0] + areas[1] - both
    return both / union if union else float("nan")


def sift(all_of_them: list[Candidate], rules: Rules, size: tuple[int, int]) -> list[Candidate]:
    """Mark in every candidate where it is dropped and why; → the survivors in the generator's order.

    ``size`` (H, W) of the image. Scores are compared as float32, as the generator does; 0 keeps all.
    """
    least_iou, least_stability = (float(np.float32(t)) for t in (rules.pred_iou_thresh, rules.stability_score_thresh))
    left = []
    for c in all_of_them:
        c.dropped = c.reason = ""
        if least_iou > 0 and not c.iou > least_iou:
            c.dropped, c.reason = "predicted IoU", f"predicted IoU {c.iou:.3f}, not above {least_iou:.3g}"
        elif least_stability > 0 and not c.stability >= least_stability:
            c.dropped = "stability"
            c.reason = f"stability {c.stability:.3f}, not at least {least_stability:.3g}"
            if c.stability != c.stability:
                c.reason = "empty at both thresholds: 0/0 is NaN, which is not at least anything"
        else:
            left.append(c)
    left = _distinct(left, np.array([c.iou for c in left]), rules.box_nms_thresh, "box NMS")
    if rules.min_mask_region_area > 0:
        left = _cleaned(left, rules, size)
    return left


def _distinct(some: list[Candidate], scores: np.ndarray, threshold: float, stage: str) -> list[Candidate]:
    """Those that NMS keeps, by falling score; the others marked with the box that was in their way."""
    boxes = np.array([c.box for c in some], np.float32).reshape(-1, 4)
    kept = nms(boxes, scores.astype(np.float32), threshold).tolist()
    why = "a mask of higher predicted IoU" if stage == "box NMS" else "a mask that comes before it"
    for i in set(range(len(some))) - set(kept):
        first = next(k for k in kept if box_iou(boxes[i], boxes[k]) > threshold)  # by falling score: the one it met
        (x, y), overlap = some[first].point, box_iou(boxes[i], boxes[first])
        some[i].dropped = stage
        some[i].reason = f"box IoU {overlap:.3f} above {threshold:.3g} with {why}, of the point ({x:.0f}, {y:.0f})"
    return [some[k] for k in kept]


def _cleaned(some: list[Candidate], rules: Rules, size: tuple[int, int]) -> list[Candidate]:
    """Small holes filled and small islands removed, as in the released code; then NMS, where unchanged masks win."""
    changed = np.zeros(len(some))
    for i, c in enumerate(some):
        mask, touched = remove_small_regions(rle.decode(c.counts, size), rules.min_mask_region_area)
        changed[i] = touched
        if touched:
            c.counts, c.area, c.box = rle.encode(mask[None])[0], int(mask.sum()), box_from_mask(mask[None])[0]
            c.reason = f"kept, cleaned of regions under {rules.min_mask_region_area} pixels"
    return _distinct(some, 1 - changed, max(rules.box_nms_thresh, rules.crop_nms_thresh), "small regions")
