"""Which parts of a mask are decided before it is computed: blocks of pixels whose logits lie on one side of everything.

SAM's logits are resized twice, to the model's square and from there to the picture. Each resize gives a mean of its
taps, so a pixel lies between the smallest and the largest of all the logits that reach it; and a block of pixels with
them. If no threshold lies between the two, nothing in the block needs to be computed. That is how the cost of a mask
comes to follow the length of its edge instead of its area.

    level = how many of the limits t₀ ≤ t₁ ≤ t₂ lie below all pixels of the block, if the others lie above them all;
    MIXED otherwise; WILD where a logit that reaches it is NaN, infinite or beyond HUGE

Rounding: one resize makes two blends, two resizes four. A blend computes a · (1 − w) + b · w with an error of u/2 (u =
eps/2) in 1 − w, of u in each product and in the sum, so what it gives leaves [lowest, highest] by at most 2½ u times
the largest |logit|, A, and four leave it by less than 10.1 u A = 5.05 eps A. ``MARGIN`` is 8 eps: the rest is ample
for the rounding of lowest − margin itself, and ``TINY`` for products that underflow.

Shapes: logits (h, w), limits 3 numbers → uint8 (blocks of WORD rows, strips of STRIP columns) of the picture (H, W).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from minisam_kernels.layers.resize import _taps
from minisam_kernels.masks.mask_changes import STRIP, WORD
from minisam_kernels.runtime.errors import InputError
from minisam_kernels.runtime.jit import exact_jit

MIXED, WILD = 4, 5
MARGIN, TINY, HUGE = np.float32(8 * 2.0**-23), np.float32(1e-37), np.float32(1e37)


class Axis(NamedTuple):
    """The two resizes along one axis: n new pixels out of the k pixels of the square that any of them needs."""

    inner: np.ndarray  # (2, k): which two logits make a pixel of the square
    inner_weight: np.ndarray  # (k,) float32, of the second
    outer: np.ndarray  # (2, n): which two of the k make a new pixel
    outer_weight: np.ndarray  # (n,) float32, of the second
    span: np.ndarray  # (2, blocks): the logits that reach a block of new pixels, from, to (the last one excluded)


def _axis(low: int, square: int, cut: int, new: int, block: int) -> Axis:
    """low logits → square pixels, of which the first ``cut`` → new pixels, in blocks."""
    first, second, weight = _taps(cut, new)
    needed, outer = np.unique([first, second], return_inverse=True)
    outer = outer.reshape(2, new)
    inner_first, inner_second, inner_weight = (part[needed] for part in _taps(low, square))
    starts = np.arange(0, new, block)
    ends = np.minimum(starts + block, new) - 1
    span = np.stack([inner_first[outer[0, starts]], inner_second[outer[1, ends]] + 1])
    inner_weight, weight = inner_weight.astype(np.float32), weight.astype(np.float32)
    return Axis(np.stack([inner_first, inner_second]), inner_weight, outer, weight, span)


@lru_cache(maxsize=64)
def plan(low: tuple[int, int], square: int, cut: tuple[int, int], new: tuple[int, int]) -> tuple[Axis, Axis]:
    """Rows and columns of (h, w) logits → square² → the part (h', w') of it → (H, W). Kept: masks share their sizes.

    Raises ``InputError`` where a size has no pixels or the part is larger than the square.
    """
    if min(*low, *cut, *new) < 1 or max(cut) > square:
        raise InputError(
            f"expected at least 1 pixel each way and input_size within {square}, "
            f"got logits {low}, input_size {cut}, original_size {new}"
        )
    columns = _axis(low[1], square, cut[1], new[1], STRIP)
    # As unsigned numbers, because a negative index would mean "from the end" and every read would have to ask.
    columns = columns._replace(inner=columns.inner.astype(np.uint64), outer=columns.outer.astype(np.uint64))
    return _axis(low[0], square, cut[0], new[0], WORD), columns


def block_levels_numpy(x: np.ndarray, rows: Axis, columns: Axis, limits: np.ndarray) -> np.ndarray:
    """The definition above, in the dtype of x (h, w)."""
    levels = np.empty((rows.span.shape[1], columns.span.shape[1]), np.uint8)
    for b, (top, bottom) in enumerate(rows.span.T):
        for s, (left, right) in enumerate(columns.span.T):
            part = x[top:bottom, left:right]
            margin = np.abs(part).max() * MARGIN + TINY
            if not (np.abs(part) < HUGE).all():
                levels[b, s] = WILD
                continue
            above = (part.min() - margin > limits).sum()
            levels[b, s] = above if above == (part.max() + margin > limits).sum() else MIXED
    return levels


@exact_jit
def _block_levels(x, row_span, column_span, t0, t1, t2, levels):
    """x (h, w) → levels: lowest and highest of each column over a block's rows first, then over a strip's columns."""
    width = x.shape[1]
    lowest, highest = np.empty(width, np.float32), np.empty(width, np.float32)
    for b in range(row_span.shape[1]):
        top, bottom = row_span[0, b], row_span[1, b]  # read once: for all LLVM knows, ``lowest`` lies over row_span
        for j in range(width):
            lowest[j] = highest[j] = x[top, j]
        for i in range(top + 1, bottom):
            for j in range(width):  # NumPy's minimum of anything and NaN is NaN; and three times as fast as an if
                lowest[j] = np.minimum(lowest[j], x[i, j])
                highest[j] = np.maximum(highest[j], x[i, j])
        for s in range(column_span.shape[1]):
            low, high = lowest[column_span[0, s]], highest[column_span[0, s]]
            for j in range(column_span[0, s] + 1, column_span[1, s]):
                low, high = np.minimum(low, lowest[j]), np.maximum(high, highest[j])
            largest = np.maximum(-low, high)
            margin = largest * MARGIN + TINY
            low, high = low - margin, high + margin
            above = np.int64(low > t0) + np.int64(low > t1) + np.int64(low > t2)
            maybe = np.int64(high > t0) + np.int64(high > t1) + np.int64(high > t2)
            levels[b, s] = above if above == maybe else MIXED
            if not largest < HUGE:
                levels[b, s] = WILD


def block_levels(x: np.ndarray, rows: Axis, columns: Axis, limits: np.ndarray) -> np.ndarray:
    """x (h, w) float32, rows and columns from ``plan``, limits (3,) float32 → uint8. See the module's text."""
    levels = np.empty((rows.span.shape[1], columns.span.shape[1]), np.uint8)
    _block_levels(x, rows.span, columns.span, *limits, levels)
    return levels
