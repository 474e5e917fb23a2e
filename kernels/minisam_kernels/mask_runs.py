"""From low-resolution logits to run lengths, in one pass.

    z = resize(resize(logits, (S, S))[:h', :w'], (H, W)),  mask = z > t
    → its run lengths, its area, its box, and |z > t + δ| / |z > t − δ|

Shapes: logits (M, h, w), input_size (h', w'), model_size S, original_size (H, W) → ``MaskRuns`` of M masks.
Errors: ``InputError`` when logits are not (M, h, w), a size has no pixels, or input_size is larger than S.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minisam_kernels import box_from_mask, resize, rle, stability_score
from minisam_kernels.errors import as_float32, expect_ndim


class MaskRuns(NamedTuple):
    """M masks: run lengths as ``rle``'s, areas (M,) int64, boxes (M, 4) int64 as ``box_from_mask``'s, stability (M,)."""

    counts: list[np.ndarray]
    areas: np.ndarray
    boxes: np.ndarray
    stability: np.ndarray


def mask_runs(
    logits: np.ndarray,
    input_size: tuple[int, int],
    model_size: int,
    original_size: tuple[int, int],
    threshold: float = 0.0,
    offset: float = 1.0,
) -> MaskRuns:
    """logits (M, h, w) → ``MaskRuns``. See the module's text."""
    logits = as_float32("logits", logits)
    expect_ndim("logits", logits, 3, "(M, h, w)")
    square = resize.resize(logits, (model_size, model_size))[:, : input_size[0], : input_size[1]]
    z = resize.resize(square, original_size)
    masks = z > np.float32(threshold)
    return MaskRuns(
        rle.encode(masks),
        masks.sum(axis=(1, 2)),
        box_from_mask.box_from_mask(masks),
        stability_score.stability_score(z, threshold, offset),
    )
