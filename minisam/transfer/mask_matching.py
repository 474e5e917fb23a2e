"""The loops of AP and AR: areas and boxes of masks, the pairs that overlap enough, who takes whom, the curve.

Masks are run lengths (``minisam_kernels.masks.rle``). ``average_precision`` has the definitions. Why it is quick,
exactly: a pair is compared only if its areas and boxes allow the lowest threshold, |d ∧ g| is one walk along two lists
of runs without a branch, and matching looks at the few pairs that are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minisam_kernels.runtime.jit import exact_jit

WRONG, RIGHT, IGNORED = 0, 1, 2  # what an answer is
BELOW_1 = 1 - 1e-10  # the highest threshold: an IoU of 1 may be rounded below it (pycocotools)
NOT_0 = 2.220446049250313e-16  # is added to a precision's denominator (pycocotools: np.spacing(1))


class Runs(NamedTuple):
    """M masks of one image, as pixels numbered down its columns.

    ``ends`` are the cumulative run lengths of all masks, those of mask m from ``begin[m]`` to before ``stop[m]``.
    """

    ends: np.ndarray  # (N,) int64
    begin: np.ndarray  # (M,) int64
    stop: np.ndarray  # (M,) int64
    area: np.ndarray  # (M,) int64, pixels
    box: np.ndarray  # (M, 4) int64: x0, y0, x1, y1, the last column and row included

    def choose(self, index: np.ndarray) -> Runs:
        """Masks number ``index``, in that order."""
        return Runs(self.ends, *(column[index] for column in self[1:]))


@exact_jit
def _measure(ends, begin, stop, area, box, height):
    """ends: run lengths → their sums; area and box are filled."""
    for m in range(area.size):
        x0, y0, x1, y1, total = np.int64(1 << 60), np.int64(1 << 60), np.int64(-1), np.int64(-1), np.int64(0)
        for i in range(begin[m], stop[m]):
            start = total
            total += ends[i]
            ends[i] = total
            if (i - begin[m]) % 2 == 0 or start == total:  # a run of False, or an empty one
                continue
            area[m] += total - start
            left, right = start // height, (total - 1) // height
            top, bottom = start - left * height, total - 1 - right * height
            if left < right:  # it goes on in the next column: from its first row on
                top, bottom = np.int64(0), height - 1
            x0, y0, x1, y1 = min(x0, left), min(y0, top), max(x1, right), max(y1, bottom)
        box[m, 0], box[m, 1], box[m, 2], box[m, 3] = x0, y0, x1, y1


def pack(counts: Sequence[np.ndarray], height: int) -> Runs:
    """Put the run lengths of masks of one image (``rle.encode``'s) side by side, and measure each mask."""
    lengths = np.array([len(runs) for runs in counts], np.int64)
    stop, masks = np.cumsum(lengths), len(counts)
    ends = np.concatenate([*counts, np.zeros(0, np.int64)]).astype(np.int64)
    runs = Runs(ends, stop - lengths, stop, np.zeros(masks, np.int64), np.zeros((masks, 4), np.int64))
    _measure(*runs, np.int64(height))
    return runs


@exact_jit
def _both(a, b):
    """|a ∧ b| of two lists of ends: one walk, in which the list whose run of True ends first goes on."""
    i, j, both = np.int64(1), np.int64(1), np.int64(0)
    while i < a.size and j < b.size:
        both += max(min(a[i], b[j]) - max(a[i - 1], b[j - 1]), np.int64(0))
        a_first = np.int64(a[i] < b[j])
        i += 2 * a_first
        j += 2 - 2 * a_first
    return both


@exact_jit
def overlaps(ends, begin, stop, area, box, g_ends, g_begin, g_stop, g_area, g_box, crowd, least, pair, iou, start):
    """Answers d, objects g → for each d from start[d] on: in ``pair`` the g of IoU ≥ least, rising, and their IoU."""
    count = 0
    for d in range(area.size):
        start[d] = count
        for g in range(g_area.size):
            width = min(box[d, 2], g_box[g, 2]) - max(box[d, 0], g_box[g, 0]) + 1
            height = min(box[d, 3], g_box[g, 3]) - max(box[d, 1], g_box[g, 1]) + 1
            if width <= 0 or height <= 0:
                continue
            both = min(width * height, min(area[d], g_area[g]))  # |d ∧ g| is at most this: enough for the threshold?
            if both / (area[d] if crowd[g] else area[d] + g_area[g] - both) < least:
                continue
            both = _both(ends[begin[d] : stop[d]], g_ends[g_begin[g] : g_stop[g]])
            value = both / (area[d] if crowd[g] else area[d] + g_area[g] - both)
            if value >= least:
                pair[count], iou[count] = g, value
                count += 1
    start[area.size] = count


@exact_jit
def match(pair, iou, start, thresholds, crowd, ignored, outside, taken, state):
    """What answer d is, in subset s and at threshold t, in state (S, T, D).

    ignored (S, G): objects that do not count. outside (S, D): answers that do not count unless they take an object.
    taken (S, T, G): zeros.
    """
    subsets, levels, answers = state.shape
    for s in range(subsets):
        for t in range(levels):
            for d in range(answers):
                best, chosen = min(thresholds[t], BELOW_1), -1
                for second in (False, True):  # objects that count first, ignored ones only if none of them will do
                    for i in range(start[d], start[d + 1]):
                        g = pair[i]
                        free = crowd[g] or not taken[s, t, g]
                        if ignored[s, g] == second and free and iou[i] >= best:
                            best, chosen = iou[i], g
                    if chosen >= 0:
                        break
                if chosen < 0:
                    state[s, t, d] = IGNORED if outside[s, d] else WRONG
                else:
                    taken[s, t, chosen] = True
                    state[s, t, d] = IGNORED if ignored[s, chosen] else RIGHT


@exact_jit
def curve(state, objects, recalls, scores, precision, score):
    """state (D,) by falling score → precision (R,), the largest at a recall ≥ r, and the score at r."""
    # recall and precision of the d + 1 best answers
    right, wrong = np.int64(0), np.int64(0)
    recall, best = np.empty(state.size), np.empty(state.size)
    for d in range(state.size):
        right += state[d] == RIGHT
        wrong += state[d] == WRONG
        recall[d] = right / objects
        best[d] = right / (np.float64(wrong) + np.float64(right) + NOT_0)
    # from the right: the largest precision at this recall or a higher one
    for d in range(state.size - 1, 0, -1):
        best[d - 1] = max(best[d - 1], best[d])
    # read at each r: the first answer whose recall reaches it
    d = 0
    for r in range(recalls.size):
        while d < state.size and recall[d] < recalls[r]:
            d += 1
        if d < state.size:
            precision[r], score[r] = best[d], scores[d]
