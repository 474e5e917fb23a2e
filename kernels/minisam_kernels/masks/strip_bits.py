"""From low-resolution logits to the bits of a strip of the mask: the part of ``mask_runs`` that computes pixels.

    z = resize(resize(logits, (S, S))[:h', :w'], (H, W)),  bit i of word (j, b) = z > t in row 32·b + i of column j

A strip has 64 columns, and only those of its blocks of 32 rows are computed that are not decided (``block_levels``).
Rows are resized one at a time. Two rows of either resize are held, row r in slot r % 2: a new one is a blend of both.
How many pixels are above t + δ and above t − δ is counted in the loop that compares with t.

Shapes: logits (h, w), rows and columns from ``block_levels.plan`` → words (STRIP, H/32) uint32 (``mask_changes``).
Accuracy: the same bits as ``resize`` twice, whatever the logits (``exact_jit``); NaN is above nothing.
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.masks.block_levels import MIXED, Axis
from minisam_kernels.masks.mask_changes import STRIP, WORD
from minisam_kernels.runtime.jit import exact_jit


def strip_bits_numpy(
    x: np.ndarray, rows: Axis, columns: Axis, limits: np.ndarray, s: int
) -> tuple[np.ndarray, np.ndarray]:
    """The equation above, in the dtype of x (h, w), for strip s and all of its blocks.

    Returns words (columns, H/32) and counts (2, H/32): how many pixels of a block are above limits 2 and 0.
    """

    def blend(x: np.ndarray, taps: np.ndarray, weight: np.ndarray) -> np.ndarray:
        w = weight.astype(x.dtype)[:, None]
        return x[taps[0]] * (1 - w) + x[taps[1]] * w

    part = slice(s * STRIP, (s + 1) * STRIP)
    z = blend(blend(x.T, *columns[:2]).T, *rows[:2])
    z = blend(blend(z.T, columns.outer[:, part], columns.outer_weight[part]).T, *rows[2:4])
    starts = np.arange(0, len(z), WORD)
    values = np.uint64(1) << np.arange(len(z), dtype=np.uint64) % np.uint64(WORD)
    words = np.add.reduceat((z > limits[1]) * values[:, None], starts, axis=0)
    counts = np.stack([np.add.reduceat((z > limit).sum(axis=1), starts) for limit in (limits[2], limits[0])])
    return words.T.astype(np.uint32), counts


@exact_jit
def _stretch(x, row, first, second, weight, shift, out, slot):
    """Row ``row`` of x at the places of an axis' taps, into out[slot]; x begins at tap ``shift``."""
    for j in range(weight.size):
        w = weight[j]
        out[slot, j] = x[row, first[j] - shift] * (np.float32(1) - w) + x[row, second[j] - shift] * w


@exact_jit
def _stretch_two(x, above, below, first, second, weight, held, out):
    """Two neighbouring rows of x, stretched, into out[row % 2], unless they are there: ``held`` tells."""
    if held[above % 2] != above:
        held[above % 2] = above
        _stretch(x, above, first, second, weight, np.uint64(0), out, above % 2)
    if held[below % 2] != below:
        held[below % 2] = below
        _stretch(x, below, first, second, weight, np.uint64(0), out, below % 2)


@exact_jit
def _blend(rows, above, below, w, columns, out):
    for j in range(columns):
        out[0, j] = rows[above % 2, j] * (np.float32(1) - w) + rows[below % 2, j] * w


@exact_jit
def _measure(rows, taps, weight, i, bottom, t0, t1, t2, columns, bits, counts):
    """Rows of z from i on, as long as they lie between the same two ``rows``: bits and counts. Returns the next i."""
    above, below = taps[0, i], taps[1, i]
    a, b = above % 2, below % 2
    while i < bottom and taps[0, i] == above and taps[1, i] == below:
        w, bit = weight[i], np.uint32(1 << i % WORD)
        for j in range(columns):
            z = rows[a, j] * (np.float32(1) - w) + rows[b, j] * w
            bits[j] |= bit if z > t1 else np.uint32(0)
            counts[0, j] += z > t2
            counts[1, j] += z > t0
        i += 1
    return i


@exact_jit
def _strip_bits(x, ri, ri_w, ro, ro_w, ci, ci_w, co, co_w, same, t0, t1, t2, s, levels, words, seen, counts):
    """Words (STRIP, H/32) of the blocks of strip s whose levels (H/32,) are not below MIXED; any other is left alone.

    r and c are rows and columns, i and o the inner and the outer resize, w weights. ``same``: the outer one changes
    nothing, so the inner one is all there is (unless a logit is NaN or infinite, which 0 does not make 0).
    seen (H/32,) gets a one for every row that holds a one, counts (2, STRIP) the numbers of this strip's columns.
    """
    height, first, columns = ro.shape[1], s * STRIP, min(STRIP, co.shape[1] - s * STRIP)
    begin, end = np.int64(co[0, first]), np.int64(co[1, first + columns - 1]) + 1
    # Cut out here, because of an index first + j the loops would have to ask whether it is negative.
    ci_0, ci_1, ci_weight = ci[0, begin:end], ci[1, begin:end], ci_w[begin:end]
    co_0, co_1 = co[0, first : first + columns], co[1, first : first + columns]
    co_weight = co_w[first : first + columns]
    low, square = np.empty((2, end - begin), np.float32), np.empty((1, end - begin), np.float32)
    wide, bits = np.empty((2, STRIP), np.float32), np.empty(STRIP, np.uint32)
    held, held_wide = np.full(2, -1), np.full(2, -1)  # which rows ``low`` and ``wide`` hold
    for b in range(levels.size):
        level, i, bottom = levels[b], b * WORD, min(b * WORD + WORD, height)
        if level < MIXED:
            continue
        bits[:] = 0
        while i < bottom:
            if same and level == MIXED:
                _stretch_two(x, ri[0, i], ri[1, i], ci_0, ci_1, ci_weight, held, low)
                i = _measure(low, ri, ri_w, i, bottom, t0, t1, t2, columns, bits, counts)
                continue
            for side in range(2):
                r = ro[side, i]
                if held_wide[r % 2] != r:
                    held_wide[r % 2] = r
                    _stretch_two(x, ri[0, r], ri[1, r], ci_0, ci_1, ci_weight, held, low)
                    _blend(low, ri[0, r], ri[1, r], ri_w[r], end - begin, square)
                    _stretch(square, 0, co_0, co_1, co_weight, co[0, first], wide, r % 2)
            i = _measure(wide, ro, ro_w, i, bottom, t0, t1, t2, columns, bits, counts)
        any_bits = np.uint32(0)
        for j in range(columns):
            words[j, b] = bits[j]
            any_bits |= bits[j]
        seen[b] |= any_bits


def strip_bits(
    x: np.ndarray, rows: Axis, columns: Axis, limits: np.ndarray, s: int, levels: np.ndarray, same: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (h, w) float32, levels (H/32,) of strip s → words (STRIP, H/32), seen (H/32,) and counts (2, STRIP)."""
    blocks = len(levels)
    words, seen, counts = np.zeros((STRIP, blocks), np.uint32), np.zeros(blocks, np.uint32), np.zeros((2, STRIP), int)
    _strip_bits(x, *rows[:4], *columns[:4], same, *limits, s, levels, words, seen, counts)
    return words, seen, counts
