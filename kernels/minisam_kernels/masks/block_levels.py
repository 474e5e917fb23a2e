"""Which parts of a mask are decided before it is computed: blocks of pixels whose logits lie on one side of everything.

SAM's logits are resized twice, to the model's square and from there to the image. Each resize gives a mean of its
taps, so a pixel lies between the smallest and the largest of all the logits that reach it; and a block of pixels with
them. If no threshold lies between the two, nothing in the block needs to be computed. That is how the cost of a mask
comes to follow the length of its edge instead of its area::

    level = how many of the limits lower ≤ middle ≤ upper lie below all pixels of the block, if the others lie above
    them all; MIXED otherwise; WILD where a logit that reaches it is NaN, infinite or beyond HUGE

Rounding: one resize makes two blends, two resizes four. A blend computes a · (1 − w) + b · w with an error of u/2 (u =
eps/2) in 1 − w, of u in each product and in the sum, so what it gives leaves [lowest, highest] by at most 2½ u times
the largest ``|logit|``, A, and four leave it by less than 10.1 u A = 5.05 eps A. ``MARGIN`` is 8 eps: the rest is
ample for the rounding of lowest − margin itself, and ``TINY`` for products that underflow.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisam_kernels.layers.resize import _taps
from minisam_kernels.masks.mask_changes import STRIP, WORD
from minisam_kernels.runtime.errors import InputError, as_float32
from minisam_kernels.runtime.jit import exact_jit

MIXED, WILD = 4, 5
MARGIN, TINY, HUGE = np.float32(8 * 2.0**-23), np.float32(1e-37), np.float32(1e37)


class Taps(NamedTuple):
    """A resize along one axis: new pixel i is old[first[i]] · (1 − weight[i]) + old[second[i]] · weight[i]."""

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray  # float32


class Axis(NamedTuple):
    """The two resizes along one axis: n new pixels out of the k pixels of the square that any of them needs."""

    inner: Taps  # logits → the k pixels
    outer: Taps  # the k pixels → the n new ones
    span: np.ndarray  # (2, blocks): the logits that reach a block of new pixels, from, to (the last one excluded)


class Limits(NamedTuple):
    """The thresholds that a logit is compared with."""

    lower: np.float32  # t − δ
    middle: np.float32  # t, the mask's
    upper: np.float32  # t + δ


def _axis(low: int, square: int, cut: int, new: int, block: int, index: type) -> Axis:
    """low logits → square pixels, of which the first ``cut`` → new pixels, in blocks; taps of the type ``index``."""
    first, second, weight = _taps(cut, new)
    needed, both = np.unique([first, second], return_inverse=True)
    taps = [part[needed] for part in _taps(low, square)], [*both.reshape(2, new), weight]
    inner, outer = (Taps(a.astype(index), b.astype(index), w.astype(np.float32)) for a, b, w in taps)
    starts = np.arange(0, new, block)
    ends = np.minimum(starts + block, new) - 1
    span = np.stack([inner.first[outer.first[starts]], inner.second[outer.second[ends]] + 1])
    return Axis(inner, outer, span.astype(np.int64))


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
    # Columns as unsigned numbers, because a negative index would mean "from the end" and every read would have to ask.
    rows = _axis(low[0], square, cut[0], new[0], WORD, np.int64)
    return rows, _axis(low[1], square, cut[1], new[1], STRIP, np.uint64)


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
def _block_levels(x, row_span, column_span, limits, levels):
    """x (h, w) → levels: lowest and highest of each column over a block's rows first, then over a strip's columns."""
    width = x.shape[1]
    lowest, highest = np.empty(width, np.float32), np.empty(width, np.float32)
    for b in range(row_span.shape[1]):
        top, bottom = row_span[0, b], row_span[1, b]  # read once: for all LLVM knows, ``lowest`` lies over row_span
        for j in range(width):
            lowest[j] = highest[j] = x[top, j]
        for i in range(top + 1, bottom):
            # NumPy's minimum of anything and NaN is NaN; and three times as fast as an if.
            for j in range(width):
                lowest[j] = np.minimum(lowest[j], x[i, j])
                highest[j] = np.maximum(highest[j], x[i, j])
        for s in range(column_span.shape[1]):
            # The interval [low, high] of all logits that reach block b of strip s, then with the margin of rounding.
            low, high = lowest[column_span[0, s]], highest[column_span[0, s]]
            for j in range(column_span[0, s] + 1, column_span[1, s]):
                low, high = np.minimum(low, lowest[j]), np.maximum(high, highest[j])
            largest = np.maximum(-low, high)
            margin = largest * MARGIN + TINY
            low, high = low - margin, high + margin
            # Decided where as many limits lie below the interval's start as below its end: none lies inside.
            above = np.int64(low > limits.lower) + np.int64(low > limits.middle) + np.int64(low > limits.upper)
            maybe = np.int64(high > limits.lower) + np.int64(high > limits.middle) + np.int64(high > limits.upper)
            levels[b, s] = above if above == maybe else MIXED
            if not largest < HUGE:
                levels[b, s] = WILD


def block_levels(x: npt.ArrayLike, rows: Axis, columns: Axis, limits: npt.ArrayLike) -> np.ndarray:
    """Say of every block of a mask which of the limits it lies above, where that is decided.

    Parameters
    ----------
    x : array_like, shape (h, w)
        Logits of one mask.
    rows, columns : Axis
        What ``plan`` returns for the sizes.
    limits : array_like, shape (3,)
        Three thresholds that do not fall.

    Returns
    -------
    ndarray, shape (⌈H / WORD⌉, ⌈W / STRIP⌉), uint8
        The levels of blocks of ``WORD`` rows and ``STRIP`` columns: 0 to 3, ``MIXED`` or ``WILD``.
    """
    levels = np.empty((rows.span.shape[1], columns.span.shape[1]), np.uint8)
    _block_levels(as_float32("x", x), rows.span, columns.span, Limits(*as_float32("limits", limits)), levels)
    return levels
