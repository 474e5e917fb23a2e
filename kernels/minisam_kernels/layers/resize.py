"""Bilinear resizing::

    y[i, j] = Σ over a, b ∈ {0, 1} of weight_a(i) · weight_b(j) · x[row_a(i), column_b(j)]
    s = max((i + ½) · H/H' − ½, 0),  row_0 = ⌊s⌋,  row_1 = min(row_0 + 1, H − 1),  weight_1 = s − row_0 = 1 − weight_0

and the same for columns (chapter 7, eq-resize): pixels are squares and their centres are what corresponds
(align_corners=False), and there is no low-pass filter when the image shrinks (antialias=False). Source:
``torch.nn.functional.interpolate``; SAM's post-processing resizes its logits so, twice (``mask_pixels`` and
``mask_runs`` make masks of them at once).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.errors import InputError, as_float32
from minisam_kernels.runtime.jit import exact_jit
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 4.0  # × eps × the largest |x|: for rows and for columns two weights, two products and a sum, ½ eps each
TILE = 1 << 16  # numbers in one piece of the output, at least one row


def _taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """row_0, row_1 (new,) and weight_1 (new,) float64 of the equation above, for one axis."""
    s = np.maximum((np.arange(new) + 0.5) * (old / new) - 0.5, 0)
    first = np.minimum(s.astype(np.int64), old - 1)
    return first, np.minimum(first + 1, old - 1), s - first


def resize_numpy(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The equation above, columns first and rows after. x (B, H, W, C) → (B, H', W', C), in the dtype of x."""
    left, right, weight = _taps(x.shape[2], size[1])
    weight = weight.astype(x.dtype)[:, None]
    x = x[:, :, left] * (1 - weight) + x[:, :, right] * weight
    top, bottom, weight = _taps(x.shape[1], size[0])
    weight = weight.astype(x.dtype)[:, None, None]
    return x[:, top] * (1 - weight) + x[:, bottom] * weight


@exact_jit
def _stretched(x, row, left, right, weight, held, rows):
    """Row ``row`` of x (H, W·C) at the new columns, (W'·C,): Σ over b of weight_b · x[row, column_b].

    It is kept in rows[row % 2] until row + 2 comes; held (2,) says which rows are.
    """
    slot = row % 2
    if held[slot] != row:
        held[slot] = row
        for j in range(left.size):
            rows[slot, j] = x[row, left[j]] * (np.float32(1) - weight[j]) + x[row, right[j]] * weight[j]
    return rows[slot]


@exact_jit
def _resize_rows(x, top, bottom, row_weight, left, right, weight, rows, out):
    """x (H, W·C) → out (rows of the piece, W'·C): each old row is stretched once, each new row blends two of them."""
    held = np.full(2, -1)
    for i in range(out.shape[0]):
        # row_0 and row_1 at the new columns, then Σ over a of weight_a · them
        above = _stretched(x, top[i], left, right, weight, held, rows)
        below = _stretched(x, bottom[i], left, right, weight, held, rows)
        w = row_weight[i]
        for j in range(out.shape[1]):
            out[i, j] = above[j] * (np.float32(1) - w) + below[j] * w


def _run(x: np.ndarray, size: tuple[int, int], out: np.ndarray) -> None:
    """x (B, H, W, C) → out (B, H', W'·C) float32; a piece is a few rows of one image."""
    batch, old_height, old_width, channels = x.shape
    top, bottom, row_weight = _taps(old_height, size[0])
    left, right, weight = _taps(old_width, size[1])
    row_weight, weight = row_weight.astype(np.float32), np.repeat(weight.astype(np.float32), channels)
    # Columns as indices of a row of W·C numbers. Unsigned, because a negative index would mean "from the end" and every
    # read would have to ask. One flat loop for any C: measured 2.4 times as fast as a loop over C in one over columns.
    left, right = (
        (column[:, None] * channels + np.arange(channels)).ravel().astype(np.uint64) for column in (left, right)
    )
    x = x.reshape(batch, old_height, old_width * channels)
    tile = max(1, TILE // max(1, out.shape[2]))
    pieces = -(-size[0] // tile)

    def piece(index: int) -> None:
        b, part = index // pieces, slice(index % pieces * tile, (index % pieces + 1) * tile)
        stretched = np.empty((2, out.shape[2]), np.float32)
        _resize_rows(x[b], top[part], bottom[part], row_weight[part], left, right, weight, stretched, out[b, part])

    parallel_for(piece, batch * pieces)


def resize(x: npt.ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """Resize images or masks.

    Parameters
    ----------
    x : array_like, shape (B, H, W, C) or (M, H, W)
        Images, or the logits of masks.
    size : tuple of int
        (H', W'), the rows and columns of the result.

    Returns
    -------
    ndarray, shape (B, H', W', C) or (M, H', W'), float32

    Raises
    ------
    InputError
        If ``x`` has other axes, or an image or the size has no pixels.

    Notes
    -----
    Accuracy: ``TOLERANCE`` · eps times the largest ``|x|`` of the four pixels: weight_0 carries an error of eps, not of
    eps times itself. s is computed in float64; in float32 its rounding alone would shift a large image by thousandths
    of a pixel. The compiled loops round as the readable version does in float32: the bits are the same.
    """
    x = as_float32("x", x)
    if x.ndim not in (3, 4):
        raise InputError(f"expected x of shape (B, H, W, C) or (M, H, W), got {x.shape}")
    if min(*size, x.shape[1], x.shape[2]) < 1:
        raise InputError(f"expected at least 1 pixel each way, got {x.shape[1:3]} to resize to {tuple(size)}")
    out = np.empty((len(x), *size, *x.shape[3:]), np.float32)
    channels = x.shape[3] if x.ndim == 4 else 1
    _run(x.reshape(*x.shape[:3], channels), size, out.reshape(len(x), size[0], size[1] * channels))
    return out
