"""The tests of chapter 14's exercises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minisam.exercises import Test, same


def _clicks(answer: Callable[..., Any]) -> str:
    """14.1: (curves (N, K), threshold) → mean clicks until the IoU is at least the threshold; K where it never is."""
    never = np.full((1, 20), 0.5)
    by_hand: tuple[tuple[np.ndarray, float, float, str], ...] = (
        (np.array([[0.5, 0.86, 0.9]]), 0.85, 2, "The first click is number 1."),
        (np.array([[0.5, 0.85, 0.9]]), 0.85, 2, "An IoU equal to the threshold reaches it."),
        (np.array([[0.9, 0.5, 0.5, 0.9]]), 0.85, 1, "The first time counts, whatever comes after."),
        (never, 0.85, 20, "An object that never gets there counts as all clicks, not as none."),
        (np.concatenate([never, never + 0.4]), 0.85, 10.5, "The mean is over objects, the failed ones included."),
    )
    for curves, threshold, want, hint in by_hand:
        wrong = same(answer(curves, threshold), want, hint)
        if wrong:
            return f"curves {np.round(curves, 2).tolist()!s:.60}, threshold {threshold}: expected {want}; {wrong}"
    rng = np.random.default_rng(0)
    for _ in range(30):
        curves = rng.random(rng.integers(1, 12, 2))
        threshold = float(rng.choice([0.3, 0.85, 0.99]))
        clicks = [next((n for n, iou in enumerate(c, 1) if iou >= threshold), len(c)) for c in curves.tolist()]
        wrong = same(
            answer(curves.copy(), threshold), np.mean(clicks), "Count the clicks of each object, then average."
        )
        if wrong:
            return wrong
    return ""


def _pairs(answer: Callable[..., Any]) -> str:
    """14.2: (found (N, 2), drawn (M, 2), distance) → the largest number of pairs, every pixel in at most one."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    def points(*xs: float) -> np.ndarray:
        return np.array([(0, x) for x in xs], float).reshape(-1, 2)

    by_hand: tuple[tuple[np.ndarray, np.ndarray, int, str], ...] = (
        (points(0, 1), points(0.5), 1, "A drawn pixel that is taken cannot be taken again."),
        (points(0), points(0, 1), 1, "A found pixel takes one drawn pixel, not all that are near."),
        (points(0), points(2), 1, "A distance equal to the limit is near enough."),
        (points(0), points(2.1), 0, "Farther than the limit is no pair."),
        (points(0), points(), 0, "Nothing drawn: no pair."),
        (
            points(1, 0),
            points(2, 1, 3),
            2,
            "Both can have one.",
        ),
        (
            points(2, 4),
            points(2.9, 0.5),
            2,
            "The nearest first is not the best: if 2 takes 2.9, nothing is left for 4. Let 2 move to 0.5.",
        ),
    )
    for found, drawn, want, hint in by_hand:
        for turned in (1, -1):
            out = answer(found[::turned].copy(), drawn[::turned].copy(), 2.0)
            if out != want:
                asked = f"found {found[:, 1].tolist()}, drawn {drawn[:, 1].tolist()} in one row, limit 2"
                return f"{asked}: expected {want}, got {out!r}. {hint}"
    for number in range(60):
        rng = np.random.default_rng(number)
        found, drawn = (rng.integers(0, 9, (int(rng.integers(1, 9)), 2)).astype(float) for _ in range(2))
        near = np.hypot(*(found[:, None] - drawn[None]).T).T <= 2.0
        want = int((maximum_bipartite_matching(csr_array(near), perm_type="column") >= 0).sum())
        out = answer(found.copy(), drawn.copy(), 2.0)
        if out != want:
            hint = "The most pairs that are possible at once: if a pixel is taken, ask whether its partner can move on."
            return f"{len(found)} found, {len(drawn)} drawn: expected {want}, got {out!r}. {hint}"
    return ""


THRESHOLDS = np.linspace(0.5, 0.95, 10)


def recall(overlaps: np.ndarray, scores: np.ndarray, k: int) -> float:
    """AR@k of one image, by COCO's rule."""
    counts = []
    for threshold in THRESHOLDS:
        free = np.ones(overlaps.shape[1], bool)
        for d in np.argsort(-scores, kind="stable")[:k]:
            candidates = np.where(free, overlaps[d], -1.0)
            if candidates.max() >= threshold:
                free[candidates.argmax()] = False
        counts.append((~free).sum())
    return float(np.mean(counts)) / overlaps.shape[1]


def _recall(answer: Callable[..., Any]) -> str:
    """14.3: (overlaps (D, G), scores (D,), k) → AR@k of one image."""
    by_hand: tuple[tuple[list[list[float]], list[float], int, str], ...] = (
        ([[0.96]], [1], 1, "One answer, above every threshold: 1."),
        ([[0.75]], [1], 1, "Thresholds .5, .55 … .95; six of the ten are not above .75, which itself is reached."),
        ([[0.4]], [1], 1, "Below .5 nothing is found."),
        ([[0.9, 0.8]], [1], 1, "An answer takes one object."),
        ([[0.9], [0.9]], [1, 2], 2, "An object is found once."),
        ([[0.9, 0.1], [0.1, 0.9]], [1, 2], 1, "Only the k best by score count."),
        (
            [[0.9, 0.8], [0.95, 0.1]],
            [1, 2],
            2,
            "By falling score; what is taken is taken, then the next best free one.",
        ),
        ([[0.9, 0.8], [0.95, 0.1]], [2, 1], 2, "The better score chooses first, though a later one would fit better."),
        ([[0.1, 0.96], [0.96, 0.97]], [2, 1], 2, "An answer whose best object is taken may have its second best."),
    )
    for table, ranks, k, hint in by_hand:
        overlaps, scores = np.array(table), np.array(ranks, float)
        wrong = same(answer(overlaps.copy(), scores.copy(), k), recall(overlaps, scores, k), hint)
        if wrong:
            return f"overlaps {table}, scores {ranks}, k = {k}: {wrong}"
    for number in range(40):
        rng = np.random.default_rng(number)
        overlaps = rng.random((int(rng.integers(1, 9)), int(rng.integers(1, 6)))) ** 0.3
        scores, k = rng.random(len(overlaps)), int(rng.integers(1, 9))
        hint = "For each threshold anew: by falling score, the free object of the largest overlap, if that reaches it."
        wrong = same(answer(overlaps.copy(), scores.copy(), k), recall(overlaps, scores, k), hint)
        if wrong:
            return wrong
    return ""


EXERCISES: dict[str, Test] = {"1": _clicks, "2": _pairs, "3": _recall}
