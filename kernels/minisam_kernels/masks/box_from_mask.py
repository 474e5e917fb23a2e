"""The box around a mask::

    x0, y0 = the first column and row that hold a True, x1, y1 = the last ones

The last column and row are indices of pixels, not edges: a mask of one pixel has a box without area. A mask without a
True has the box 0, 0, 0, 0. Source: the released code's ``batched_mask_to_box``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
        # A row with a True is between top and bottom; ``seen`` marks the columns with one.
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


def as_masks(masks: npt.ArrayLike) -> np.ndarray:
    """masks (M, H, W) bool as C-contiguous uint8, 0 and 1."""
    array = np.ascontiguousarray(masks)
    if array.dtype != bool:
        raise InputError(f"expected masks to hold booleans, got dtype {array.dtype}")
    expect_ndim("masks", array, 3, "(M, H, W)")
    return array.view(np.uint8)


def box_from_mask(masks: npt.ArrayLike) -> np.ndarray:
    """Find the box around each mask.

    Parameters
    ----------
    masks : array_like, shape (M, H, W), bool

    Returns
    -------
    ndarray, shape (M, 4), int64
        x0, y0, x1, y1 in pixels, the last column and row included.

    Raises
    ------
    InputError
        If ``masks`` are not bool (M, H, W).
    """
    pixels = as_masks(masks)
    boxes = np.zeros((len(pixels), 4), np.int64)
    _box_from_mask(pixels, boxes)
    return boxes
