"""Small holes and small islands of a mask.

Source: SAM, appendix B ("Postprocessing"), and the released code's ``remove_small_regions``, which asks OpenCV for the
regions. Regions are sets of pixels that hang together, over corners too; holes are regions of what is not in the mask,
whether or not the mask encloses them.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def remove_small_regions(mask: np.ndarray, min_area: int, keep_largest: bool = True) -> tuple[np.ndarray, bool]:
    """mask bool (H, W) → the mask with its holes of fewer than ``min_area`` pixels filled, then its islands of fewer
    removed, and whether there were any. When all islands are small, the largest stays, or none of them; of several
    that are the largest, the one that OpenCV numbers first (``_first_largest``).

    Only the mask's box is searched, with one row and one column around it: outside the box all pixels of a row's or
    column's extension are alike, so the one next to the box stands for all of them, with their number as its weight.
    """
    top, bottom = _extent(np.any(mask, axis=1))
    left, right = _extent(np.any(mask, axis=0))
    rows, row_weights = _with_margin(top, bottom, mask.shape[0])
    columns, column_weights = _with_margin(left, right, mask.shape[1])
    weights = np.outer(row_weights, column_weights).ravel()
    window = mask[np.ix_(rows, columns)]
    corner = (int(rows[0]), int(columns[0]))
    window, filled = _flip_small(window, True, weights, min_area, None)
    window, removed = _flip_small(window, False, weights, min_area, corner if keep_largest else None)
    if not (filled or removed):
        return mask, False
    row_of = np.clip(np.arange(mask.shape[0]) - rows[0], 0, len(rows) - 1)
    column_of = np.clip(np.arange(mask.shape[1]) - columns[0], 0, len(columns) - 1)
    return window[np.ix_(row_of, column_of)], True


def _extent(any_of: Any) -> tuple[int, int]:
    """The first index that is true and the one after the last; (0, 1) when none is."""
    indices = np.flatnonzero(any_of)
    return (int(indices[0]), int(indices[-1]) + 1) if len(indices) else (0, 1)


def _with_margin(first: int, last: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The indices from ``first`` to before ``last`` and one more at each end where there is one, and their weights."""
    indices = np.arange(max(first - 1, 0), min(last + 1, length))
    weights = np.ones(len(indices), np.int64)
    if first > 0:
        weights[0] = first
    if last < length:
        weights[-1] = length - last
    return indices, weights


def _flip_small(
    window: np.ndarray, holes: bool, weights: np.ndarray, min_area: int, corner: tuple[int, int] | None
) -> tuple[np.ndarray, bool]:
    """The window with its small holes filled or its small islands removed, and whether there were any.

    With ``corner``, the window's first row and column in the mask, the largest region stays when all are small."""
    from scipy import ndimage

    regions, _ = ndimage.label(~window if holes else window, np.ones((3, 3)))
    sizes = np.bincount(regions.ravel(), weights)
    small = sizes < min_area
    small[0] = False  # what is no region
    if not small.any():
        return window, False
    if corner is not None and small[1:].all():
        small[_first_largest(regions, sizes, corner)] = False
    return window ^ small[regions], True


def _first_largest(regions: np.ndarray, sizes: np.ndarray, corner: tuple[int, int]) -> int:
    """The number of the largest region; of several, of the one that OpenCV, and so the released code, comes to first.

    OpenCV goes through blocks of 2 × 2 pixels, row after row of blocks from the mask's first pixel. A block belongs to
    one region, for its pixels touch each other.
    """
    largest = 1 + np.flatnonzero(sizes[1:] == sizes[1:].max())
    rows, columns = np.nonzero(np.isin(regions, largest))
    first = np.lexsort(((columns + corner[1]) // 2, (rows + corner[0]) // 2))[0]
    return int(regions[rows[first], columns[first]])
