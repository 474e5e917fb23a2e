"""Non-maximum suppression: of boxes that overlap much, only the best stays.

    by falling score, box i stays unless IoU(i, k) > t for a box k that has stayed;
    IoU(i, k) = |i ∩ k| / (|i| + |k| − |i ∩ k|)

The comparison is strict. Boxes of the same score are taken in the order in which they come. Two boxes without area
have the IoU 0/0, NaN, and neither suppresses the other. Source: ``torchvision.ops.nms``, the same to the bit.

Shapes: boxes (N, 4) as x0, y0, x1, y1; scores (N,) → int64 (K,), the indices of those that stay, by falling score.
Errors: ``InputError`` when boxes are not (N, 4), not finite or inside out, when scores are not (N,) or hold NaN, when
the threshold is not in [0, 1].
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.errors import InputError, as_float32, expect_ndim, expect_shape


def nms_numpy(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> np.ndarray:
    """The equation above, in the dtype of the boxes."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        size = np.minimum(boxes[i, 2:], boxes[kept, 2:]) - np.maximum(boxes[i, :2], boxes[kept, :2])
        both = np.maximum(size, 0).prod(axis=1)
        with np.errstate(invalid="ignore"):
            if not (both / (area[i] + area[kept] - both) > iou_threshold).any():
                kept.append(int(i))
    return np.array(kept, np.int64)


def nms(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> np.ndarray:
    """boxes (N, 4), scores (N,) → int64 (K,). See the module's text."""
    boxes, scores = as_float32("boxes", boxes), as_float32("scores", scores)
    expect_ndim("boxes", boxes, 2, "(N, 4)")
    expect_shape("boxes", boxes, (len(boxes), 4))
    expect_shape("scores", scores, (len(boxes),))
    if np.isnan(scores).any():
        raise InputError(f"expected scores to be numbers, got NaN at {int(np.isnan(scores).argmax())}")
    wrong = ~(np.isfinite(boxes).all(axis=1) & (boxes[:, :2] <= boxes[:, 2:]).all(axis=1))
    if wrong.any():
        raise InputError(f"expected boxes with x0 <= x1 and y0 <= y1, got {boxes[wrong][0].tolist()}")
    if not 0 <= iou_threshold <= 1:
        raise InputError(f"expected iou_threshold in [0, 1], got {iou_threshold}")
    return nms_numpy(boxes, scores, iou_threshold)
