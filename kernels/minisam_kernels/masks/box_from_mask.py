"""The box around a mask.

    x0, y0 = the first column and row that hold a True, x1, y1 = the last ones

The last column and row are indices of pixels, not edges: a mask of one pixel has a box without area. A mask without a
True has the box 0, 0, 0, 0. Source: the released code's ``batched_mask_to_box``.

Shapes: masks (M, H, W) bool → int64 (M, 4). Errors: ``InputError`` when masks are not bool (M, H, W).
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.runtime.errors import InputError, expect_ndim
from minisam_kernels.runtime.jit import jit


def box_from_mask_numpy(masks: np.ndarray) -> np.ndarray:
    """The definition above. masks (M, H, W) bool → int64 (M, 4)."""
    boxes = np.zeros((len(masks), 4), np.int64)
    for m, mask in enumerate(masks):
        rows, columns = np.nonzero(mask)
        if len(rows):
            boxes[m] = columns.min(), rows.min(), columns.max(), rows.max()
    return boxes


@jit
def _box_from_mask(masks, boxes):
    """masks (M, H, W) of 0 and 1, boxes (M, 4) of zeros that become the boxes."""
    seen = np.empty(masks.shape[2], np.uint8)
    for m in range(masks.shape[0]):
        seen[:] = 0
        top = bottom = -1
        for i in range(masks.shape[1]):
            row = np.uint8(0)
            for j in range(masks.shape[2]):
                row |= masks[m, i, j]
                seen[j] |= masks[m, i, j]
            if row:
                top, bottom = (i if top < 0 else top), i
        if top >= 0:
            columns = np.flatnonzero(seen)
            boxes[m, 0], boxes[m, 1], boxes[m, 2], boxes[m, 3] = columns[0], top, columns[-1], bottom


def box_from_mask(masks: np.ndarray) -> np.ndarray:
    """masks (M, H, W) bool → int64 (M, 4). See the module's text."""
    masks = np.ascontiguousarray(masks)
    if masks.dtype != bool:
        raise InputError(f"expected masks to hold booleans, got dtype {masks.dtype}")
    expect_ndim("masks", masks, 3, "(M, H, W)")
    boxes = np.zeros((len(masks), 4), np.int64)
    _box_from_mask(masks.view(np.uint8), boxes)
    return boxes
