"""What can be said of a mask from its run lengths, without its pixels: area, box, place in a larger image::

    a run of pixels s … e − 1  →  in each column j = s // H … (e − 1) // H,
                                  rows max(s − j·H, 0) … min(e − j·H, H) − 1

Runs go down the columns, from the end of one into the next (``rle``). Cut there, they are pieces of one column each.
From their columns and rows the box is read, and the run lengths in an image of another height. Source: the released
code's ``area_from_rle``, ``batched_mask_to_box`` and ``uncrop_masks``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.errors import InputError


def check_counts(counts: npt.ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """``counts`` as an array, if they are whole numbers ≥ 0 that sum to H·W; else ``InputError``."""
    counts, pixels = np.asarray(counts), size[0] * size[1]
    fits = counts.ndim == 1 and counts.dtype.kind in "iu" and not ((counts < 0) | (counts > pixels)).any()
    if not fits or counts.sum() != pixels:
        what = counts.ravel()[:20].tolist()
        raise InputError(f"expected whole numbers >= 0 that sum to {size[0]} · {size[1]}, got {what!s:.60}")
    return counts


def column_pieces(counts: npt.ArrayLike, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The runs of True, cut where a column ends: column, first row and row after the last one of each piece."""
    counts, height = check_counts(counts, size), size[0]
    ends = np.cumsum(counts, dtype=np.int64)
    start, end = ends[: len(ends) // 2 * 2 : 2], ends[1::2]
    start, end = start[start < end], end[start < end]
    column = start // max(height, 1)
    pieces = (end - 1) // max(height, 1) - column + 1
    column = np.repeat(column, pieces) + np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    top = np.maximum(np.repeat(start, pieces) - column * height, 0)
    return column, top, np.minimum(np.repeat(end, pieces) - column * height, height)


def area(counts: npt.ArrayLike) -> int:
    """Count the pixels that are True.

    Parameters
    ----------
    counts : array_like, shape (N,), int
        Run lengths, as ``rle.encode`` gives them.

    Returns
    -------
    int
    """
    return int(np.asarray(counts)[1::2].sum())


def box(counts: npt.ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """Find the box around a mask.

    Parameters
    ----------
    counts : array_like, shape (N,), int
        Run lengths that sum to H·W.
    size : tuple of int
        (H, W) of the mask.

    Returns
    -------
    ndarray, shape (4,), int64
        x0, y0, x1, y1, as ``box_from_mask`` gives them.

    Raises
    ------
    InputError
        If ``counts`` are not whole numbers ≥ 0 that sum to H·W.
    """
    column, top, bottom = column_pieces(counts, size)
    return np.array([column[0], top.min(), column[-1], bottom.max() - 1] if len(column) else [0] * 4, np.int64)


def uncrop(counts: npt.ArrayLike, crop_box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """Put the mask of a crop back into its image.

    Parameters
    ----------
    counts : array_like, shape (N,), int
        Run lengths of the crop's mask.
    crop_box : tuple of int
        x0, y0, x1, y1 of the crop; column x1 and row y1 are no longer in it.
    size : tuple of int
        (H, W) of the image.

    Returns
    -------
    ndarray, int64
        Run lengths of the image's mask, False outside the crop.

    Raises
    ------
    InputError
        If the crop leaves the image, or ``counts`` are not whole numbers ≥ 0 that sum to the crop's pixels.
    """
    x0, y0, x1, y1 = crop_box
    if not (0 <= x0 <= x1 <= size[1] and 0 <= y0 <= y1 <= size[0]):
        raise InputError(f"expected a crop inside an image of size {tuple(size)}, got {tuple(crop_box)}")
    column, top, bottom = column_pieces(counts, (y1 - y0, x1 - x0))
    changes = np.stack([top, bottom], axis=1) + ((x0 + column) * size[0] + y0)[:, None]
    joined = np.flatnonzero(changes[1:, 0] == changes[:-1, 1])  # the end of a column and the beginning of the next one
    changes = np.delete(changes.ravel(), np.concatenate([2 * joined + 1, 2 * joined + 2]))
    if len(changes) and changes[-1] == size[0] * size[1]:  # no run of zeros at the end
        changes = changes[:-1]
    return np.diff(changes, prepend=0, append=size[0] * size[1])
