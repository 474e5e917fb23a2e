"""The tests of chapter 9's exercises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minisam.exercises import same


def _balanced(answer: Callable[..., Any]) -> str:
    """9.1: the p that minimises −α q log p − (1 − α)(1 − q) log(1 − p)."""
    rng = np.random.default_rng(0)
    out = answer(np.array([0.0, 0.25, 0.5, 1.0]), 0.5)
    wrong = same(out, [0, 0.25, 0.5, 1], "With α = ½ both kinds of pixel weigh the same, and p is the share q itself.")
    if wrong:
        return wrong
    for alpha in (0.25, 0.9, *rng.uniform(0.05, 0.95, 5)):
        q = rng.random((3, 4))
        grid = np.linspace(1e-5, 1 - 1e-5, 20001)
        loss = -alpha * q[..., None] * np.log(grid) - (1 - alpha) * (1 - q[..., None]) * np.log(1 - grid)
        hint = f"With α = {alpha:.2f} another p has a smaller loss. Set the derivative with respect to p to zero; α "
        hint += "multiplies the share of foreground, 1 − α that of background."
        wrong = same(answer(q, alpha), grid[loss.argmin(-1)], hint, 2e-4)
        if wrong:
            return wrong
    return ""


def _best_of_three(answer: Callable[..., Any]) -> str:
    """9.2: the mean over M of the least of k losses, and its gradient with respect to the logits."""
    rng = np.random.default_rng(1)
    for masks, k in ((1, 3), (4, 3), (5, 1), (6, 4)):
        losses = rng.random((masks, k)).astype(np.float32)
        slopes = rng.normal(size=(masks, k, 3, 5)).astype(np.float32)
        if masks == 6:
            losses[2] = losses[2, 0]  # all equal
        kept = losses.copy(), slopes.copy()
        out = answer(losses, slopes)
        if not isinstance(out, tuple) or len(out) != 2:
            return f"expected two things, the loss and the gradient, got {type(out).__name__}."
        if not (np.array_equal(kept[0], losses) and np.array_equal(kept[1], slopes)):
            return "your function changed its arguments; make a new array for the gradient."
        loss, gradient = out
        least, other = losses.min(axis=1).mean(), losses.mean(axis=0).min()
        if np.ndim(loss) == 0 and abs(loss - other) < 1e-6 < abs(least - other):
            return "you took the mean over the batch first: that chooses one mask for all, not one for each example."
        wrong = same(loss, least, "The least of each row, then the mean over rows.")
        if wrong:
            return wrong
        want = np.zeros_like(slopes)
        rows = np.arange(masks)
        want[rows, losses.argmin(axis=1)] = slopes[rows, losses.argmin(axis=1)] / masks
        gradient = np.asarray(gradient)
        if gradient.shape == want.shape:
            fed = (gradient.reshape(masks, k, -1) != 0).any(axis=2).sum(axis=1)
            if (fed > 1).any():
                tie = masks == 6 and fed[2] > 1
                return ("where losses tie, argmin takes the first; give one mask the gradient, not all that tie." if tie
                        else "more than one mask of an example gets a gradient; only the closest learns.")  # fmt: skip
            if np.allclose(gradient, want * masks, atol=1e-6) and masks > 1:
                return f"right but for the mean: the loss is an average over {masks} examples, and so is its slope."
        wrong = same(gradient, want, "The slope of the least loss, divided by the number of examples; zero elsewhere.")
        if wrong:
            return wrong
    return ""


def _containment(answer: Callable[..., Any]) -> str:
    """9.3: shares (K, K) of mask i inside mask j."""
    rng = np.random.default_rng(2)
    nested = np.zeros((3, 4, 6), bool)
    nested[0, :1, :2], nested[1, :2, :3], nested[2, :3, :4] = True, True, True
    out = np.asarray(answer(nested.copy()))
    if out.shape == (3, 3) and np.allclose(np.diag(out), 1) and np.allclose(out.T[0], 1):
        return "you have it the wrong way round: entry (i, j) is the share of mask i, the row, that lies inside mask j."
    for density in (0.1, 0.5, 0.9):
        masks = rng.random((4, 7, 9)) < density
        masks[3] = False
        for each in (nested, masks, masks[:1]):
            with np.errstate(invalid="ignore"):
                want = np.array([[(a & b).sum() / a.sum() for b in each] for a in each])
            with np.errstate(invalid="ignore", divide="ignore"):
                out = np.asarray(answer(each.copy()), float)
            if (
                out.shape == want.shape
                and np.allclose(out, out.T, equal_nan=True)
                and not np.allclose(want, want.T, equal_nan=True)
            ):
                return "your matrix is symmetric, as IoU is. Divide by the area of mask i alone, not by the union."
            if out.shape == want.shape and np.isnan(want).any() and not np.isnan(out[np.isnan(want)]).all():
                return (
                    "an empty mask has no share of itself anywhere: its row is 0/0, NaN, as IoU is for two empty masks."
                )
            wrong = same(out, want, "Count the pixels in both, and divide by the pixels of mask i.")
            if wrong:
                return wrong
    return ""


def _stability_of_average(answer: Callable[..., Any]) -> str:
    """9.4: areas a < b < c of equally likely nested truths, offset δ → stability of the cross-entropy optimum."""
    rng = np.random.default_rng(3)
    for number in range(40):
        a, b, c = np.sort(rng.choice(np.arange(1, 5000), 3, replace=False)).tolist()
        delta = float(rng.uniform(0.05, 0.65)) if number % 2 else float(rng.uniform(0.72, 3))
        out, want = answer(a, b, c, delta), (a / c if delta > np.log(2) else 1.0)
        if not np.ndim(out) and abs(float(out) - want) > 1e-9:
            if delta < np.log(2):
                hint = (
                    "The ring between a and b has p = ⅔, a logit of log 2 ≈ .69, which is above δ: both cuts are one."
                )
                return f"with δ = {delta:.2f} got {float(out):.3f}. {hint}"
            hint = "Which rings have a logit above +δ, and which above −δ? Theirs are ∞, log 2, −log 2, and −∞ outside."
            return f"with a, b, c = {a}, {b}, {c} and δ = {delta:.2f} got {float(out):.3f}. {hint}"
        wrong = same(out, want, "One number: the IoU of the two cuts.")
        if wrong:
            return wrong
    return ""


EXERCISES = {"1": _balanced, "2": _best_of_three, "3": _containment, "4": _stability_of_average}
