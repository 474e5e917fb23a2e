"""From low-resolution logits to the bits of a strip of the mask: the part of ``mask_runs`` that computes pixels::

    z = resize(resize(logits, (S, S))[:h', :w'], (H, W)),  bit i of word (j, b) = z > t in row 32·b + i of column j

A strip has 64 columns, and only those of its blocks of 32 rows are computed that are not decided (``block_levels``).
Rows are resized one at a time. Two rows of either resize are held, row r in slot r % 2: a new one is a blend of both.
How many pixels are above t + δ and above t − δ is counted in the loop that compares with t.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minisam_kernels.masks.block_levels import MIXED, Axis, Limits, Taps
from minisam_kernels.masks.mask_changes import STRIP, WORD
from minisam_kernels.runtime.jit import exact_jit


class StripBits(NamedTuple):
    """What is known of the pixels of a strip that were computed."""

    words: np.ndarray  # (STRIP, H/32) uint32, as in ``mask_changes``
    seen: np.ndarray  # (H/32,) uint32: a one for every row that holds a one
    counts: np.ndarray  # (2, STRIP): how many pixels of a column are above the upper and above the lower limit


def strip_bits_numpy(
    x: np.ndarray, rows: Axis, columns: Axis, limits: np.ndarray, s: int
) -> tuple[np.ndarray, np.ndarray]:
    """The equation above for strip s, in the dtype of x (h, w): words (columns, H/32), and counts (2, H/32), how many
    pixels of a block are above limits 2 and 0."""

    def blend(x: np.ndarray, taps: Taps) -> np.ndarray:
        w = taps.weight.astype(x.dtype)[:, None]
        return x[taps.first] * (1 - w) + x[taps.second] * w

    z = blend(blend(x.T, columns.inner).T, rows.inner)
    z = blend(blend(z.T, Taps(*(part[s * STRIP : (s + 1) * STRIP] for part in columns.outer))).T, rows.outer)
    starts = np.arange(0, len(z), WORD)
    values = np.uint64(1) << np.arange(len(z), dtype=np.uint64) % np.uint64(WORD)
    words = np.add.reduceat((z > limits[1]) * values[:, None], starts, axis=0)
    return words.T.astype(np.uint32), np.stack([np.add.reduceat((z > t).sum(axis=1), starts) for t in limits[[2, 0]]])


@exact_jit
def new_strip(blocks):
    """Room for a strip of ``blocks`` words a column, all zeros."""
    return StripBits(np.zeros((STRIP, blocks), np.uint32), np.zeros(blocks, np.uint32), np.zeros((2, STRIP), np.int32))


@exact_jit
def _stretch(x, row, taps, shift, out, slot):
    """Row ``row`` of x at the places of an axis' taps, into out[slot]; x begins at tap ``shift``."""
    for j in range(taps.weight.size):
        w = taps.weight[j]
        out[slot, j] = x[row, taps.first[j] - shift] * (np.float32(1) - w) + x[row, taps.second[j] - shift] * w


@exact_jit
def _stretch_two(x, above, below, taps, held, out):
    """Two neighbouring rows of x, stretched, into out[row % 2], unless they are there: ``held`` tells."""
    for row in (above, below):
        if held[row % 2] != row:
            held[row % 2] = row
            _stretch(x, row, taps, np.uint64(0), out, row % 2)


@exact_jit
def _measure(rows, taps, i, bottom, limits, columns, bits, counts):
    """Rows of z from i on, as long as they lie between the same two ``rows``: bits and counts. Returns the next i."""
    above, below = taps.first[i], taps.second[i]
    a, b = above % 2, below % 2
    lower, middle, upper = limits
    while i < bottom and taps.first[i] == above and taps.second[i] == below:
        w, bit = taps.weight[i], np.uint32(1 << i % WORD)
        for j in range(columns):
            z = rows[a, j] * (np.float32(1) - w) + rows[b, j] * w
            bits[j] |= bit if z > middle else np.uint32(0)
            counts[0, j] += z > upper
            counts[1, j] += z > lower
        i += 1
    return i


@exact_jit
def _strip_bits(x, rows, columns, same, limits, s, levels, strip):
    """Bits of the blocks of strip s whose levels (H/32,) are not below MIXED, into a ``StripBits``; the other words are
    left alone, seen and counts are added to. ``same``: the outer resize changes nothing, so the inner one is all there
    is (unless a logit is NaN or infinite, which 0 does not make 0)."""
    height, first, count = rows.outer.weight.size, s * STRIP, min(STRIP, columns.outer.weight.size - s * STRIP)
    # This strip's taps, and of the square's columns those that it needs, begin to end. Cut out here: with an index
    # first + j, the loops would have to ask whether it is negative.
    part, taps = slice(first, first + count), columns.outer
    outer = Taps(taps.first[part], taps.second[part], taps.weight[part])
    begin, end = np.int64(outer.first[0]), np.int64(outer.second[count - 1]) + 1
    part, taps = slice(begin, end), columns.inner
    inner = Taps(taps.first[part], taps.second[part], taps.weight[part])
    low, square = np.empty((2, end - begin), np.float32), np.empty((1, end - begin), np.float32)
    wide, bits = np.empty((2, STRIP), np.float32), np.empty(STRIP, np.uint32)
    held, held_wide = np.full(2, -1), np.full(2, -1)  # which rows ``low`` and ``wide`` hold
    for b in np.flatnonzero(levels >= MIXED):
        i, bottom = b * WORD, min(b * WORD + WORD, height)
        bits[:] = 0
        while i < bottom:
            if same and levels[b] == MIXED:  # row i of z lies between two rows of logits
                _stretch_two(x, rows.inner.first[i], rows.inner.second[i], inner, held, low)
                i = _measure(low, rows.inner, i, bottom, limits, count, bits, strip.counts)
                continue
            for r in (rows.outer.first[i], rows.outer.second[i]):  # between two of the square, each between two
                if held_wide[r % 2] != r:
                    held_wide[r % 2] = r
                    above, below, w = rows.inner.first[r], rows.inner.second[r], rows.inner.weight[r]
                    _stretch_two(x, above, below, inner, held, low)
                    for j in range(end - begin):
                        square[0, j] = low[above % 2, j] * (np.float32(1) - w) + low[below % 2, j] * w
                    _stretch(square, 0, outer, outer.first[0], wide, r % 2)
            i = _measure(wide, rows.outer, i, bottom, limits, count, bits, strip.counts)
        for j in range(count):
            strip.words[j, b] = bits[j]
            strip.seen[b] |= bits[j]


def strip_bits(
    x: np.ndarray, rows: Axis, columns: Axis, limits: np.ndarray, s: int, levels: np.ndarray, same: bool = False
) -> StripBits:
    """Compute the bits of strip s of a mask.

    Parameters
    ----------
    x, rows, columns, limits
        As ``block_levels`` takes them, float32. NaN is above no limit.
    s : int
        The number of the strip.
    levels : ndarray, shape (⌈H / 32⌉,), uint8
        This strip's column of ``block_levels``.
    same : bool
        The outer resize keeps the size.

    Returns
    -------
    StripBits
        The same bits as ``resize`` twice, whatever the logits (``exact_jit``); zeros where a block is decided.
    """
    strip = new_strip(len(levels))
    _strip_bits(x, rows, columns, same, Limits(*limits), s, levels, strip)
    return strip
