"""Dice loss: one minus twice the overlap over the sum of the areas, with probabilities for pixels::

    p = σ(z),    loss = 1 − N / D,    N = 2 Σ p·g + s,    D = Σ p + Σ g + s,    g the target, s the smoothing
    ∂loss/∂z = p (1 − p) · (N − 2 g D) / D²

Source: Milletari et al. 2016 (with p instead of p²), as DETR and MaskFormer use it. The SAM paper does not give s; 1 is
usual: it makes an empty target with an empty prediction a loss of 0 instead of 0/0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.elementary import sigmoid
from minisam_kernels.runtime.errors import InputError, as_float32, as_zeros_and_ones, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 16.0  # × eps; sigmoid's own error is 6
TILE = 1 << 14  # pixels in one piece; its sums are float32, the sums of pieces float64


def dice_loss_numpy(logits: np.ndarray, targets: np.ndarray, smooth: float = 1.0) -> np.ndarray:
    """The equation above. logits, targets (M, H, W) → (M,), in the dtype of logits."""
    p = np.exp(-np.logaddexp(0, -logits))  # σ(z) = 1 / (1 + e⁻ᶻ), without overflow
    overlap, area = (p * targets).sum(axis=(1, 2)), p.sum(axis=(1, 2)) + targets.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        return 1 - (2 * overlap + smooth) / (area + smooth)


@jit
def _dice_sums(logits, targets, out):
    """Over one piece of the pixels: out (2,) = Σ p·g, Σ p + Σ g."""
    overlap, area, count = np.float32(0), np.float32(0), np.int64(0)
    for n in range(logits.size):
        p = sigmoid(logits[n])
        overlap += p if targets[n] != 0 else np.float32(0)
        area += p
        count += targets[n]
    out[0], out[1] = overlap, area + np.float64(count)


@jit
def _dice_slope(logits, targets, outside, inside, out):
    """out = p (1 − p) · (outside or inside the target: the other factors)."""
    for n in range(logits.size):
        p, q = sigmoid(logits[n]), sigmoid(-logits[n])  # q = 1 − p, accurate where p is near 1
        out[n] = p * q * (outside if targets[n] == 0 else inside)


def _checked(logits: npt.ArrayLike, targets: npt.ArrayLike, smooth: float) -> tuple[np.ndarray, np.ndarray]:
    """logits and targets as (M, H·W), float32 and uint8."""
    logits, targets = as_float32("logits", logits), as_zeros_and_ones("targets", targets)
    expect_ndim("logits", logits, 3, "(M, H, W)")
    expect_shape("targets", targets, logits.shape)
    if not smooth >= 0:
        raise InputError(f"expected smooth >= 0, got {smooth}")
    flat = (len(logits), logits.shape[1] * logits.shape[2])
    return logits.reshape(flat), targets.reshape(flat)


def _sums(logits: np.ndarray, targets: np.ndarray, smooth: float) -> tuple[np.ndarray, np.ndarray]:
    """N and D of the equation, (M,) float64 each."""
    masks, pieces = len(logits), -(-logits.shape[1] // TILE)
    sums = np.empty((masks, pieces, 2), np.float64)

    def piece(index: int) -> None:
        m, t = divmod(index, pieces)
        part = slice(t * TILE, (t + 1) * TILE)
        _dice_sums(logits[m, part], targets[m, part], sums[m, t])

    parallel_for(piece, masks * pieces)
    overlap, area = sums.sum(axis=1).T
    return 2 * overlap + smooth, area + smooth


def dice_loss(logits: npt.ArrayLike, targets: npt.ArrayLike, smooth: float = 1.0) -> np.ndarray:
    """Compute the dice loss of every mask.

    Parameters
    ----------
    logits : array_like, shape (M, H, W)
        Logits of M masks.
    targets : array_like, shape (M, H, W)
        The true masks; booleans, or only 0 and 1.
    smooth : float
        s of the equation.

    Returns
    -------
    ndarray, shape (M,), float32
        NaN where ``smooth`` is 0 and nothing is anywhere.

    Raises
    ------
    InputError
        If shapes differ, a target is neither 0 nor 1, or ``smooth`` < 0.

    Notes
    -----
    Accuracy: ``TOLERANCE`` · eps, absolute.
    """
    numerator, denominator = _sums(*_checked(logits, targets, smooth), smooth)
    with np.errstate(invalid="ignore"):
        return (1 - numerator / denominator).astype(np.float32)


def dice_loss_backward(
    grad: npt.ArrayLike, logits: npt.ArrayLike, targets: npt.ArrayLike, smooth: float = 1.0
) -> np.ndarray:
    """Compute the slope of the loss, times ``grad``.

    Parameters
    ----------
    grad : array_like, shape (M,)
        The slope of what follows, at the loss of every mask.
    logits, targets, smooth
        As for ``dice_loss``, and with its errors.

    Returns
    -------
    ndarray, shape (M, H, W), float32
        grad · ∂loss/∂z.

    Notes
    -----
    Accuracy: ``TOLERANCE`` · eps times p (1 − p) · 3/D, the size of its two terms.
    """
    shape = np.shape(logits)
    logits, targets = _checked(logits, targets, smooth)
    grad = as_float32("grad", grad)
    expect_shape("grad", grad, (len(logits),))
    numerator, denominator = _sums(logits, targets, smooth)
    with np.errstate(invalid="ignore"):
        outside = (grad * numerator / denominator**2).astype(np.float32)
        inside = (grad * (numerator - 2 * denominator) / denominator**2).astype(np.float32)
    out = np.empty(logits.shape, np.float32)
    pieces = -(-logits.shape[1] // TILE)

    def piece(index: int) -> None:
        m, t = divmod(index, pieces)
        part = slice(t * TILE, (t + 1) * TILE)
        _dice_slope(logits[m, part], targets[m, part], outside[m], inside[m], out[m, part])

    parallel_for(piece, len(logits) * pieces)
    return out.reshape(shape)
