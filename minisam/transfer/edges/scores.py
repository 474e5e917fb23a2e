"""ODS, OIS, AP and R50: how well edges agree with what several annotators drew.

Source: Martin, Fowlkes and Malik 2004; Arbeláez et al. 2011 and BSDS500's own evaluation. For every threshold t, the
map is cut, thinned and matched with each annotator (``correspondence``), and four numbers are counted per image::

    matched_drawn    drawn pixels with a partner, summed over annotators          recall    = matched_drawn / drawn
    drawn            drawn pixels, summed over annotators
    matched          detected pixels with a partner in any annotator's drawing    precision = matched / detected
    detected         detected pixels                                              F = 2 · P · R / (P + R)

ODS is the best F at one threshold for the whole set, of the counts summed over its images, with straight lines between
the thresholds; OIS sums the counts at each image's own best threshold; AP is the area under the straight lines between
(recall, precision), read at 0, .01, … 1, where nothing counts beyond the recalls that were reached; R50 is the recall
at a precision of one half.

Two traps. AP is no mean over detections as in other fields, and what pyEdgeEval 0.2.8 calls AP is another number again
(its AUC is this one). And precision is no monotone function of t, so R50 follows BSDS's code: the points are sorted by
precision, the first of equal ones counts, and lines join them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from minisam.transfer.edges.correspondence import MAX_DISTANCE, Correspondence, tolerance_of
from minisam.transfer.edges.thinning import thin
from minisam_kernels import InputError

THRESHOLDS = 99  # BSDS's number
LEAST_RECALL = 1e-3  # points below it are left out of R50's curve, as in BSDS's plots
BETWEEN = 101  # points on a line between two thresholds, for ODS


class Scores(NamedTuple):
    """All from 0 to 1; R50 is NaN where the precision never comes to one half."""

    ods: float
    ois: float
    ap: float
    r50: float


def thresholds(count: int = THRESHOLDS) -> np.ndarray:
    """Return ``count`` thresholds, evenly between 0 and 1 without either."""
    return np.arange(1, count + 1) / (count + 1)


def cuts(edges: np.ndarray, count: int = THRESHOLDS) -> list[np.ndarray]:
    """Cut an edge map (H, W) at every threshold, and thin: ``count`` times bool (H, W)."""
    return [thin(edges >= t) for t in thresholds(count)]


def count_matches(
    levels: Sequence[np.ndarray], drawn: Sequence[np.ndarray], max_distance: float = MAX_DISTANCE
) -> np.ndarray:
    """Count, for one image, what the scores are made of.

    Parameters
    ----------
    levels : sequence of ndarray, shape (H, W), bool
        The detected pixels at each threshold, T times.
    drawn : sequence of ndarray, shape (H, W), bool
        What each annotator drew.
    max_distance : float
        As a share of the image's diagonal.

    Returns
    -------
    ndarray, shape (T, 4), int64
        matched_drawn, drawn, matched, detected.

    Raises
    ------
    InputError
        Without an annotator, or if shapes differ.
    """
    if not len(drawn):
        raise InputError("expected at least one annotator's edges, got none")
    matchers = [Correspondence(one, tolerance_of(one.shape, max_distance)) for one in drawn]
    counts = np.zeros((len(levels), 4), np.int64)
    counts[:, 1] = sum(int(one.sum()) for one in drawn)
    for t in reversed(range(len(levels))):  # from few pixels to many: matchings grow more cheaply than they shrink
        any_of_them = np.zeros(levels[t].shape, bool)
        for matcher in matchers:
            matched = matcher.update(levels[t])
            counts[t, 0] += np.count_nonzero(matched)
            any_of_them |= matched
        counts[t, 2:] = np.count_nonzero(any_of_them), np.count_nonzero(levels[t])
    return counts


def recall_precision(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide counts (…, 4): recall and precision, 0 where there is nothing to divide by."""
    counts = np.asarray(counts, float)
    return counts[..., 0] / np.maximum(counts[..., 1], 1), counts[..., 2] / np.maximum(counts[..., 3], 1)


def f_measure(recall: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Compute the harmonic mean, 0 where both are 0."""
    total = recall + precision
    return 2 * recall * precision / np.where(total > 0, total, 1)


def average_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """Compute the area under the lines between the points, as BSDS does: a sum over recalls 0, .01, …, 1.

    Of points with the same recall the first counts; a curve of one recall has no area.
    """
    recall, first = np.unique(recall, return_index=True)
    if len(recall) < 2:
        return 0.0
    return float(np.interp(np.arange(101) / 100, recall, precision[first], left=0, right=0).sum() / 100)


def recall_at_half(recall: np.ndarray, precision: np.ndarray) -> float:
    """Compute R50; if every precision is above one half, the recall at the lowest."""
    some = recall >= LEAST_RECALL
    if not some.any():
        return float("nan")
    precision, first = np.unique(precision[some], return_index=True)
    if precision[-1] < 0.5:
        return float("nan")
    return float(np.interp(max(0.5, precision[0]), precision, recall[some][first]))


def summarise(counts: Iterable[np.ndarray]) -> Scores:
    """Summarise the counts (T, 4) of each image of a set."""
    every = np.stack(list(counts))  # (N, T, 4)
    recall, precision = recall_precision(every.sum(axis=0))
    # ODS: also between two neighbouring thresholds
    share = np.linspace(0, 1, BETWEEN)[:, None]
    between = [curve[:-1] * (1 - share) + curve[1:] * share for curve in (recall, precision)]
    ods = max(float(f_measure(recall, precision).max()), *map(float, f_measure(*between).max(axis=0)), 0.0)
    # OIS: every image at its own threshold
    best = f_measure(*recall_precision(every)).argmax(axis=1)
    ois = float(f_measure(*recall_precision(every[np.arange(len(every)), best].sum(axis=0))))
    return Scores(ods, ois, average_precision(recall, precision), recall_at_half(recall, precision))
