"""Non-maximum suppression: of boxes that overlap much, only the best stays::

    by falling score, box i stays unless IoU(i, k) > t for a box k that has stayed;
    IoU(i, k) = |i ∩ k| / (|i| + |k| − |i ∩ k|)

The comparison is strict. Boxes of the same score are taken in the order in which they come. Two boxes without area
have the IoU 0/0, NaN, and neither suppresses the other. Source: ``torchvision.ops.nms``.

The cost is N · K comparisons. Measured on one core, 3000 boxes of which 220 stay: 2.1 ms; ``nms_numpy`` takes 135.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import exact_jit


def nms_numpy(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> np.ndarray:
    """The equation above, in the dtype of the boxes."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        size = np.minimum(boxes[i, 2:], boxes[kept, 2:]) - np.maximum(boxes[i, :2], boxes[kept, :2])
        both = np.maximum(size, 0).prod(axis=1)
        with np.errstate(invalid="ignore"):
            if not (both / (area[i] + area[kept] - both) > np.float64(iou_threshold)).any():
                kept.append(int(i))
    return np.array(kept, np.int64)


@exact_jit
def _nms(x0, y0, x1, y1, area, iou_threshold, gone, kept):
    """Boxes (N,) by falling score, gone (N,) zeros → kept: the numbers of those that stay. Returns how many."""
    count = 0
    for i in range(gone.size):
        if gone[i]:
            continue
        kept[count] = i
        count += 1
        # Box i stays: every later box j with IoU(i, j) > t goes. The sides of i ∩ j are 0 where the boxes are apart.
        left, top, right, bottom, own = x0[i], y0[i], x1[i], y1[i], area[i]
        for j in range(i + 1, gone.size):  # every later box, gone or not: without a branch it is eight at a time
            width = (right if right < x1[j] else x1[j]) - (left if left > x0[j] else x0[j])
            height = (bottom if bottom < y1[j] else y1[j]) - (top if top > y0[j] else y0[j])
            both = (width if width > 0 else np.float32(0)) * (height if height > 0 else np.float32(0))
            gone[j] |= both / (own + area[j] - both) > iou_threshold
    return count


def nms(boxes: npt.ArrayLike, scores: npt.ArrayLike, iou_threshold: float) -> np.ndarray:
    """Choose the boxes that stay.

    Parameters
    ----------
    boxes : array_like, shape (N, 4)
        x0, y0, x1, y1.
    scores : array_like, shape (N,)
        The higher, the better.
    iou_threshold : float
        t. From 1 on nothing is suppressed; below 0 the best box suppresses all others, apart from 0/0.

    Returns
    -------
    ndarray, shape (K,), int64
        The indices of those that stay, by falling score.

    Raises
    ------
    InputError
        If ``boxes`` are not (N, 4), not finite or inside out, ``scores`` are not (N,) or hold NaN, or the threshold
        is NaN.

    Notes
    -----
    Accuracy: float32 in the order that is written, as torchvision computes, compared with the threshold in float64,
    so that the same boxes stay (``exact_jit``).
    """
    boxes, scores = as_float32("boxes", boxes), as_float32("scores", scores)
    expect_ndim("boxes", boxes, 2, "(N, 4)")
    expect_shape("boxes", boxes, (len(boxes), 4))
    expect_shape("scores", scores, (len(boxes),))
    if np.isnan(scores).any():
        raise InputError(f"expected scores to be numbers, got NaN at {int(np.isnan(scores).argmax())}")
    wrong = ~(np.isfinite(boxes).all(axis=1) & (boxes[:, :2] <= boxes[:, 2:]).all(axis=1))
    if wrong.any():
        raise InputError(f"expected boxes with x0 <= x1 and y0 <= y1, got {boxes[wrong][0].tolist()}")
    if np.isnan(iou_threshold):
        raise InputError(f"expected iou_threshold to be a number, got {iou_threshold}")
    order = np.argsort(-scores, kind="stable")
    x0, y0, x1, y1 = np.ascontiguousarray(boxes[order].T)
    kept = np.empty(len(order), np.int64)
    count = _nms(x0, y0, x1, y1, (x1 - x0) * (y1 - y0), np.float64(iou_threshold), np.zeros(len(order), bool), kept)
    return order[kept[:count]]
