"""The masks of one picture, wherever they come from, and their IoU with each other.

Masks stay run lengths (``minisam_kernels.masks.rle``): the IoU of all pairs is then a walk along lists
(``minisam.transfer.mask_matching``), and no mask of the picture's size is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minisam.files.records import read_counts
from minisam.transfer.mask_matching import overlaps, pack
from minisam_kernels import InputError
from minisam_kernels.masks import rle

NOT_0 = 1e-12  # less than the IoU of one pixel with the largest picture


class Picture(NamedTuple):
    """M masks of one picture of ``size`` (H, W), as run lengths, with their scores; NaN stands for no score."""

    size: tuple[int, int] | None  # None where there is no mask to say it
    counts: list[np.ndarray]
    predicted_iou: np.ndarray  # (M,) float32, as the generator compares them
    stability: np.ndarray  # (M,) float32
    crops: np.ndarray  # (M, 4) int64: x, y, width, height

    def masks(self) -> np.ndarray:
        """The masks, bool (M, H, W)."""
        return np.array([rle.decode(counts, self.size or (0, 0)) for counts in self.counts], bool)


def as_picture(masks: Any) -> Picture:
    """The masks of one picture from what the generator returns, what its file holds, or arrays.

    Parameters
    ----------
    masks : Picture, sequence of dict, or array_like of bool, shape (M, H, W)
        Of a dict ``segmentation`` is read, which is bool (H, W) or run lengths, and, if it is there,
        ``predicted_iou``, ``stability_score`` (None where it was 0/0) and ``crop_box``.

    Raises
    ------
    InputError
        For anything else, and for masks of several sizes.
    """
    if isinstance(masks, Picture):
        return masks
    records = [mask if isinstance(mask, dict) else {"segmentation": mask} for mask in masks]
    counts, sizes = [], set()
    for number, record in enumerate(records):
        segmentation = record.get("segmentation")
        if isinstance(segmentation, dict):
            size = segmentation.get("size")
            size = size if isinstance(size, list | tuple) and len(size) == 2 else (0, 0)
            counts.append(read_counts(segmentation, (size[0], size[1])))
        else:
            array = np.asarray(segmentation)
            if array.dtype != bool or array.ndim != 2:
                raise InputError(f"expected mask {number} as bool (H, W), got {array.dtype} {array.shape}")
            size = array.shape
            counts += rle.encode(array[None])
        sizes.add((int(size[0]), int(size[1])))
    if len(sizes) > 1:
        raise InputError(f"expected the masks of a picture to have one size, got {sorted(sizes)}")

    def scores(name: str) -> np.ndarray:
        values = [record.get(name) for record in records]
        return np.array([np.nan if value is None else value for value in values], np.float32)

    crops = np.array([record.get("crop_box", (0, 0, 0, 0)) for record in records], np.int64).reshape(-1, 4)
    return Picture(next(iter(sizes), None), counts, scores("predicted_iou"), scores("stability_score"), crops)


def pictures_of(records: Sequence[Any], truths: Sequence[Any]) -> list[tuple[Picture, Picture]]:
    """Pairs of automatic and true masks; ``InputError`` unless there is a truth for each picture, of its size."""
    if len(records) != len(truths) or not len(records):
        raise InputError(f"expected the truth of each of at least 1 picture, got {len(truths)} for {len(records)}")
    pairs = [(as_picture(some), as_picture(truth)) for some, truth in zip(records, truths)]
    for number, (found, truth) in enumerate(pairs):
        if found.size and truth.size and found.size != truth.size:
            raise InputError(f"expected masks of {truth.size} like the truth of picture {number}, got {found.size}")
    return pairs


def overlap(found: Picture, truth: Picture) -> np.ndarray:
    """IoU (M, N) of all masks with all truth masks of a picture."""
    m, n = len(found.counts), len(truth.counts)
    result = np.zeros((m, n))
    if m and n:
        height = (found.size or (0, 0))[0]
        runs, objects = pack(found.counts, height), pack(truth.counts, height)
        pair, iou, start = np.empty(m * n, np.int64), np.empty(m * n), np.empty(m + 1, np.int64)
        overlaps(*runs, *objects, np.zeros(n, bool), NOT_0, pair, iou, start)
        result[np.repeat(np.arange(m), np.diff(start)), pair[: start[-1]]] = iou[: start[-1]]
    return result


def nearest(iou: np.ndarray) -> np.ndarray:
    """IoU (M, N) → (M,): with the truth mask that each mask overlaps most; 0 where there is none."""
    return iou.max(axis=1, initial=0.0)


def one_to_one(iou: np.ndarray) -> np.ndarray:
    """IoU (M, N) → (M,): with the truth mask that each mask takes for itself; 0 for those that get none."""
    from scipy.optimize import linear_sum_assignment

    result = np.zeros(len(iou))
    rows, columns = linear_sum_assignment(iou, maximize=True)
    result[rows] = iou[rows, columns]
    return result
