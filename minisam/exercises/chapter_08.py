"""Exercises of chapter 8: focal loss, dice's gradient, the best constant answer, choosing γ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minisam.exercises import Test, same
from minisam_kernels.losses.dice_loss import dice_loss_numpy
from minisam_kernels.losses.focal_loss import focal_loss_numpy

Function = Callable[..., Any]


def _cases(seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Logits (H, W) float64 and targets (H, W) bool: small and large logits, few and many ones."""
    rng = np.random.default_rng(seed)
    for scale in (0.5, 3.0):
        for density in (0.05, 0.5, 1.0):
            logits = scale * rng.normal(size=(5, 7))
            targets = rng.random((5, 7)) < density
            targets[2, 3] = True
            yield logits, targets


def focal(loss: Function) -> str:
    """``loss(logits, targets, alpha, gamma)``: the focal loss of one mask (H, W)."""
    for logits, targets in _cases(1):
        p = 1 / (1 + np.exp(-logits))
        right = np.where(targets, p, 1 - p)
        balance = lambda a, targets=targets: np.where(targets, a, 1 - a)  # noqa: E731
        for alpha, gamma in ((0.5, 0.0), (0.25, 0.0), (0.25, 2.0), (0.75, 1.0)):
            want = float(focal_loss_numpy(logits[None], targets[None], alpha, gamma)[0])
            out = loss(logits.copy(), targets.copy(), alpha, gamma)
            about = f"α = {alpha:g}, γ = {gamma:g}:"
            if np.ndim(out) == 0 and out is not None and not np.isclose(out, want):
                each = -((1 - right) ** gamma) * np.log(right)
                mistakes = {
                    "that is the sum; the loss is the mean over pixels": want * logits.size,
                    "the sign: a loss is not negative": -want,
                    "the balance is missing: α for pixels of the target, 1 − α for the others": each.mean(),
                    "α is for pixels of the target and 1 − α for the others; you have it the other way round": (
                        balance(1 - alpha) * each
                    ).mean(),
                    "α multiplies pixels of the target, 1 − α the others; you multiply all by α": alpha * each.mean(),
                    "the power belongs to the probability of the wrong answer, 1 − p_t, not to p_t": (
                        -balance(alpha) * right**gamma * np.log(right)
                    ).mean(),
                }
                for hint, value in mistakes.items():
                    if np.isclose(out, value):
                        return f"{about} {hint}"
            hint = "with γ = 0 it is the α-balanced cross-entropy" if gamma == 0 else "see the equation"
            wrong = same(out, want, f"{about} {hint}.")
            if wrong:
                return wrong
    huge, targets = np.array([[1000.0, -1000.0]]), np.array([[False, True]])
    with np.errstate(all="ignore"):
        out = loss(huge, targets, 0.25, 2.0)
    if not np.isfinite(out):
        return f"logits of ±1000 give {out}: log p is −∞ there. log(1 + eᵐ) is np.logaddexp(0, m), which is safe"
    return same(out, 500.0, "Logits of ±1000 that are wrong have a loss of 750 and 250.")


def dice_gradient(backward: Function) -> str:
    """``backward(logits, targets)``: the gradient (H, W) of the dice loss with smoothing 1."""
    step = 1e-5
    for logits, targets in _cases(2):
        around = np.repeat(logits[None], logits.size, axis=0)
        moves = step * np.eye(logits.size).reshape(-1, *logits.shape)
        goal = np.repeat(targets[None], logits.size, axis=0)
        slope = (dice_loss_numpy(around + moves, goal) - dice_loss_numpy(around - moves, goal)) / (2 * step)
        want = slope.reshape(logits.shape)
        out = backward(logits.copy(), targets.copy())
        if np.shape(out) == want.shape and not np.allclose(out, want, atol=1e-7):
            p = 1 / (1 + np.exp(-logits))
            up, down = 2 * (p * targets).sum() + 1, p.sum() + targets.sum() + 1
            mistakes = {
                "that is the gradient with respect to p; the chain rule adds p (1 − p)": want / (p * (1 - p)),
                "the sign is wrong: the loss is 1 − N/D": -want,
                "only N depends on p in your derivative; D does too": -p * (1 - p) * 2 * targets / down,
                "only D depends on p in your derivative; N does too": p * (1 - p) * up / down**2,
                "D is squared in the quotient rule": want * down,
            }
            for hint, value in mistakes.items():
                if np.allclose(out, value, atol=1e-7):
                    return hint
        about = f"Compared with finite differences; {int(targets.sum())} of {targets.size} pixels in the target."
        wrong = same(out, want, f"{about} N = 2 Σ p·g + 1, D = Σ p + Σ g + 1.", tolerance=1e-6)
        if wrong:
            return wrong
    return ""


def best_constant(constant: Function) -> str:
    """``constant(area, pixels, alpha)``: the probability that, given to every pixel, minimises α-balanced
    cross-entropy."""
    p = np.linspace(0.0005, 0.9995, 1999)
    for pixels in (100, 65536):
        for part in (0.01, 0.3, 0.9):
            for alpha in (0.25, 0.5, 0.75):
                area = round(part * pixels)
                loss = -alpha * area * np.log(p) - (1 - alpha) * (pixels - area) * np.log(1 - p)
                want, out = p[loss.argmin()], constant(area, pixels, alpha)
                if np.ndim(out) != 0 or out is None:
                    return "one number is wanted, a probability"
                if abs(out - want) <= 0.001:
                    continue
                about = f"area {area} of {pixels}, α = {alpha:g}:"
                if np.isclose(out, area / pixels):
                    return f"{about} right for α = ½; α weighs the pixels of the object, 1 − α the others"
                if np.isclose(out, float(out > 0.5)):
                    return f"{about} the best constant is neither 0 nor 1. Set the derivative with respect to p to 0"
                if abs(out - want) > 0.001 and abs(1 - out - want) <= 0.001:
                    return f"{about} that is the probability of the background"
                return f"{about} {out:.4f} is not the minimum, which lies near {want:.4f}. Set the derivative to 0"
    return ""


def choose_gamma(gamma_for: Function) -> str:
    """``gamma_for(p, factor)``: γ with which a pixel that is right with probability p counts ``factor`` times less."""
    for p in (0.5, 0.9, 0.99):
        for factor in (1.0, 10.0, 100.0, 1e4):
            out = gamma_for(p, factor)
            if np.ndim(out) != 0 or out is None or not np.isfinite(out):
                return "one finite number is wanted, γ"
            left, about = (1 - p) ** out, f"p = {p:g}, factor {factor:g}:"
            if np.isclose(left, 1 / factor, rtol=1e-6):
                continue
            if np.isclose(p**out, 1 / factor):
                return f"{about} the factor of the loss is (1 − p)^γ, not p^γ"
            if np.isclose(left, factor):
                return f"{about} your γ is negative: it makes the pixel count more. Mind the sign of the logarithm"
            return f"{about} with γ = {out:.4g} the pixel counts {1 / left:.4g} times less. Solve (1 − p)^γ = 1/factor"
    return ""


EXERCISES: dict[str, Test] = {"1": focal, "2": dice_gradient, "3": best_constant, "4": choose_gamma}
