"""What is kept of an image while its automatic masks are made: the masks so far, and why the others were dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minisam.automatic.crops import Crop
from minisam.automatic.funnel import KEPT, STEPS, Funnel
from minisam_kernels import InputError
from minisam_kernels.masks import rle
from minisam_kernels.masks.nms import nms

Progress = Callable[[int, int], object]


class Mask(NamedTuple):
    """An answer that passed the filters. Coordinates are pixels of the image."""

    runs: bytes  # COCO's compressed run lengths; of the crop until NMS within it is done, then of the image
    area: int
    box: list[int]  # x0, y0, x1, y1, the last column and row included
    iou: float
    stability: float
    candidate: int  # point · M + mask, its place in the funnel
    crop: Crop


class Run:
    """One image's way through the filters: how many points are done, which a callback hears, and the funnel."""

    def __init__(self, funnel: Funnel, progress: Progress | None) -> None:
        if progress is not None and not callable(progress):
            raise InputError(f"expected progress to be a function of (done, total), got {type(progress).__name__}")
        self.funnel, self.progress, self.done = funnel, progress, 0
        self.step(0)

    def step(self, points: int) -> None:
        """So many points more are done."""
        self.done += points
        if self.progress is not None:
            self.progress(self.done, len(self.funnel.points))

    def drop(self, masks: list[Mask], step: str) -> None:
        """These masks go, unless ``without_duplicates`` keeps them after all."""
        self.funnel.fates.flat[[mask.candidate for mask in masks]] = STEPS.index(step)

    def without_duplicates(self, masks: list[Mask], scores: np.ndarray, threshold: float, step: str) -> list[Mask]:
        """By falling score, the masks whose boxes do not overlap much with that of a better one."""
        boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
        kept = [masks[i] for i in nms(boxes, scores.astype(np.float32), threshold)]
        self.drop(masks, step)
        self.funnel.fates.flat[[mask.candidate for mask in kept]] = KEPT
        return kept


def record(mask: Mask, point: np.ndarray, size: tuple[int, int], output_mode: str) -> dict[str, Any]:
    """A mask of an image (H, W) as ``SamAutomaticMaskGenerator.generate`` hands it out."""
    return {
        "segmentation": _segmentation(mask.runs, size, output_mode),
        "area": mask.area,
        "bbox": xywh(mask.box),
        "predicted_iou": mask.iou,
        "point_coords": [point.tolist()],
        "stability_score": mask.stability,
        "crop_box": xywh(mask.crop),
    }


def _segmentation(runs: bytes, size: tuple[int, int], output_mode: str) -> Any:
    """bool (H, W), or a dict of COCO's run lengths, compressed or not."""
    if output_mode == "coco_rle":
        return {"size": list(size), "counts": runs.decode()}
    counts = rle.from_string(runs)
    if output_mode == "uncompressed_rle":
        return {"size": list(size), "counts": counts.tolist()}
    return rle.decode(counts, size)


def xywh(box: Sequence[int]) -> list[int]:
    """x0, y0, x1, y1 → x, y, width, height."""
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]
