"""The tests of chapter 12's exercises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minisam.automatic.crops import crop_boxes, cut_off, point_grid
from minisam.exercises import Test, same
from minisam_kernels.masks.nms import nms


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Boxes on a coarse grid, so that ties, touching boxes and boxes without area occur."""
    corners = rng.integers(0, 7, (count, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float64)


def _nms(answer: Callable[..., Any]) -> str:
    half = np.array([[0, 0, 2, 2], [0, 0, 2, 1]], float)  # IoU exactly 1/2
    chain = np.array([[0, 0, 4, 4], [1, 0, 5, 4], [2, 0, 6, 4]], float)  # neighbours overlap, the ends less
    flat = np.array([[1, 1, 1, 1], [1, 1, 1, 1]], float)
    by_hand: tuple[tuple[np.ndarray, list[float], float, list[int], str], ...] = (
        (half, [1, 2], 0.5, [1, 0], "An IoU equal to the threshold is not above it."),
        (chain, [3, 2, 1], 0.4, [0, 2], "A box that has gone itself suppresses nobody."),
        (flat, [1, 1], 0.5, [0, 1], "Boxes without area: 0/0 is NaN, and NaN is not above the threshold."),
        (half[:1], [1], 0.0, [0], "One box stays."),
        (np.zeros((0, 4)), [], 0.5, [], "No box: an empty answer."),
    )
    for boxes, scores, threshold, want, hint in by_hand:
        stay = np.asarray(answer(boxes, np.array(scores, float), threshold), float).reshape(-1).tolist()
        if stay != want:
            asked = f"boxes {boxes.tolist()}, scores {scores}, threshold {threshold}"
            return f"{asked}: expected {want}, got {stay}. {hint}"
    rng = np.random.default_rng(0)
    for count in (2, 5, 12, 40):
        boxes, drawn = _boxes(rng, count), rng.integers(0, 6, count) / 6
        for threshold in (0.0, 0.3, 0.7, 1.0):
            out = np.asarray(answer(boxes, drawn, threshold))
            best_first = nms(boxes, drawn, threshold)
            if out.shape == best_first.shape and set(out.tolist()) == set(best_first.tolist()):
                wrong = same(out, best_first, "These stay, but the order is by falling score, ties as they come.")
            else:
                wrong = same(out, best_first, "By falling score (ties as they come), compare with those that stayed.")
            if wrong:
                return wrong
    return ""


def _stability(answer: Callable[..., Any]) -> str:
    rng = np.random.default_rng(1)
    cases = [(np.array([[-3.0, -0.5], [0.5, 2.0]]), 1.0, 1 / 3, "Inner: z > +δ, outer: z > −δ; divide the counts.")]
    cases.append((np.array([[1.0, -1.0, 3.0]]), 1.0, 1 / 2, "Both comparisons are strict: z = 1 is not above 1."))
    cases.append((np.full((2, 3), -9.0), 1.0, np.nan, "Nothing above −δ: the quotient is 0/0, NaN, not 0 and not 1."))
    cases.append((np.array([[-0.5, 0.5]]), 1.0, 0.0, "Nothing above +δ, something above −δ: 0."))
    cases.append((np.array([[2.0, 3.0]]), 0.0, 1.0, "δ = 0: both masks are the same."))
    for _ in range(20):
        logits, offset = rng.normal(0, 2, (6, 5)), float(rng.uniform(0, 3))
        inner, outer = (logits > offset).sum(), (logits > -offset).sum()
        cases.append((logits, offset, inner / outer if outer else np.nan, "Count pixels above +δ and above −δ."))
    for logits, offset, want, hint in cases:
        try:
            out = answer(logits, offset)
        except ZeroDivisionError:
            return "0/0 raised ZeroDivisionError: the answer there is NaN. NumPy's numbers give it, with a warning."
        wrong = same(out, want, hint)
        if wrong:
            return wrong
    return ""


def _questions(answer: Callable[..., Any]) -> str:
    for side, layers, factor in ((32, 0, 1), (32, 2, 2), (16, 1, 1), (32, 3, 2), (7, 2, 2), (1, 0, 3), (20, 2, 3)):
        sides = [int(side / factor**layer) for layer in range(layers + 1)]
        if sides[-1] < 1:
            continue
        crops = crop_boxes((500, 700), layers, 0.3)
        want = sum(len(point_grid(sides[layer])) for _, layer in crops)
        out = answer(side, layers, factor)
        if out != want:
            hint = "Layer i has 2ⁱ × 2ⁱ crops; its points per side are points_per_side / factorⁱ, rounded down."
            return f"points_per_side {side}, {layers} layers, factor {factor}: expected {want}, got {out!r}. {hint}"
    return ""


def _cut_off(answer: Callable[..., Any]) -> str:
    size = (300, 400)
    crop = (100, 0, 250, 150)
    known: list[tuple[tuple[int, int, int, int], str]] = [
        ((150, 60, 200, 100), "In the middle of the crop: not cut."),
        ((120, 60, 200, 100), "Exactly 20 pixels from an inner edge is near."),
        ((121, 60, 200, 100), "21 pixels from an inner edge is not near."),
        ((150, 5, 200, 100), "The crop's upper edge is the image's too: nothing is cut off there."),
        ((150, 60, 240, 100), "The right edge counts as well."),
        ((150, 60, 200, 149), "The lower edge counts as well."),
    ]
    for box, hint in known:
        want = bool(cut_off(np.array([box]), crop, size)[0])
        wrong = same(bool(answer(box, crop, size)), want, f"box {box}: {hint}")
        if wrong:
            return wrong
    rng = np.random.default_rng(2)
    for part, _ in crop_boxes(size, 2, 0.34):
        x0, y0, x1, y1 = part
        for _ in range(8):
            xs, ys = np.sort(rng.integers(x0, x1, 2)), np.sort(rng.integers(y0, y1, 2))
            box = (int(xs[0]), int(ys[0]), int(xs[1]), int(ys[1]))
            want = bool(cut_off(np.array([box]), part, size)[0])
            if bool(answer(box, part, size)) != want:
                hint = "A side is near the crop's own edge and not near the image's same edge."
                return f"box {box}, crop {part}, size {size}: expected {want}. {hint}"
    return ""


EXERCISES: dict[str, Test] = {"1": _nms, "2": _stability, "3": _questions, "4": _cut_off}
