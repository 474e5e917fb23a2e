"""Focal loss: cross-entropy of every pixel, turned down where the pixel is already right::

    m = z where the target is 0, −z where it is 1    (how wrong the logit z is)
    loss = mean over pixels of α_t · σ(m)^γ · log(1 + eᵐ),    α_t = α where the target is 1, 1 − α where it is 0

σ(m) is the probability given to the wrong answer, log(1 + eᵐ) the cross-entropy. Source: Lin et al. 2017, eq. 5. The
SAM paper does not give α and γ; ¼ and 2 are Lin's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.elementary import exp, log1p_exp, sigmoid
from minisam_kernels.runtime.errors import InputError, as_float32, as_zeros_and_ones, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 16.0  # × eps × magnitude; see ``focal_loss``
_END = np.float32(128)  # beyond ±_END, σ(m) is 0 or 1 in float32
TILE = 1 << 14  # pixels in one piece; their sum is float32, the sum of pieces float64


def focal_loss_numpy(logits: np.ndarray, targets: np.ndarray, alpha: float = 0.25, gamma: float = 2.0) -> np.ndarray:
    """The equation above. logits, targets (M, H, W) → (M,), in the dtype of logits."""
    m = np.where(targets == 1, -logits, logits)
    cross_entropy = np.logaddexp(0, m)
    wrong = np.exp(-np.logaddexp(0, -m))  # σ(m) = 1 / (1 + e⁻ᵐ)
    balance = np.where(targets == 1, alpha, 1 - alpha).astype(logits.dtype)
    return (balance * wrong**gamma * cross_entropy).mean(axis=(1, 2))


@jit
def _focal_sum(logits, targets, alpha, gamma):
    """Σ over one piece of the pixels. logits, targets (pixels,) → the sum of their losses.

    log σ(m) = m − log(1 + eᵐ), so that σ(m)^γ costs one exponential for any γ; from _END on it is 0, not ∞ − ∞.
    """
    total = np.float32(0)
    for n in range(logits.size):
        # m, α_t, log(1 + eᵐ), log σ(m), σ(m)^γ
        m = logits[n] if targets[n] == 0 else -logits[n]
        balance = np.float32(1) - alpha if targets[n] == 0 else alpha
        cross_entropy = log1p_exp(m)
        log_wrong = m - cross_entropy if m < _END else np.float32(0)
        focus = exp(gamma * log_wrong) if gamma > 0 else np.float32(1)  # not 0 · −∞
        total += balance * focus * cross_entropy
    return total


@jit
def _focal_slope(logits, targets, alpha, gamma, grad, out):
    """d/dm σ(m)^γ log(1 + eᵐ) = σ(m)^γ (γ (1 − σ(m)) log(1 + eᵐ) + σ(m)), and dm/dz is 1 or −1."""
    for n in range(logits.size):
        # m, α_t · dm/dz, log(1 + eᵐ), the bracket, σ(m)^γ
        m = logits[n] if targets[n] == 0 else -logits[n]
        m = _END if m > _END else m  # there 1 − σ(m) = 0, which γ · ∞ must not meet
        balance = np.float32(1) - alpha if targets[n] == 0 else -alpha
        cross_entropy = log1p_exp(m)
        slope = gamma * sigmoid(-m) * cross_entropy + sigmoid(m)
        focus = exp(gamma * (m - cross_entropy)) if gamma > 0 else np.float32(1)
        out[n] = grad * balance * focus * slope


def _checked(logits: npt.ArrayLike, targets: npt.ArrayLike, alpha: float, gamma: float) -> list[np.ndarray]:
    """logits and targets as (M, H·W), float32 and uint8."""
    logits, targets = as_float32("logits", logits), as_zeros_and_ones("targets", targets)
    expect_ndim("logits", logits, 3, "(M, H, W)")
    expect_shape("targets", targets, logits.shape)
    pixels = logits.shape[1] * logits.shape[2]
    if pixels == 0:
        raise InputError(f"expected masks of at least 1 pixel, got {logits.shape}")
    if not (0 <= alpha <= 1 and gamma >= 0):
        raise InputError(f"expected alpha in [0, 1] and gamma >= 0, got {alpha} and {gamma}")
    return [logits.reshape(-1, pixels), targets.reshape(-1, pixels)]


def focal_loss(logits: npt.ArrayLike, targets: npt.ArrayLike, alpha: float = 0.25, gamma: float = 2.0) -> np.ndarray:
    """Compute the focal loss of every mask.

    Parameters
    ----------
    logits : array_like, shape (M, H, W)
        Logits of M masks.
    targets : array_like, shape (M, H, W)
        The true masks; booleans, or only 0 and 1.
    alpha, gamma : float
        α in [0, 1], the weight of pixels inside the target; γ ≥ 0, how far right pixels are turned down.

    Returns
    -------
    ndarray, shape (M,), float32

    Raises
    ------
    InputError
        If shapes differ, there are no pixels, a target is neither 0 nor 1, or α or γ is out of its range.

    Notes
    -----
    Accuracy: ``TOLERANCE · eps · (1 + γ (1 + |m|))`` times the loss's terms: an error in log σ(m) is multiplied by γ.
    Only a sum beyond 3.4 · 10³⁸ overflows, to infinity: logits of ±10⁴ give a loss of 10⁴ or 0, one that is infinite
    and wrong an infinite loss. What is below float32's smallest normal number becomes 0.
    """
    logits, targets = _checked(logits, targets, alpha, gamma)
    masks, pixels = logits.shape
    sums = np.empty((masks, -(-pixels // TILE)), np.float64)

    def piece(index: int) -> None:
        m, t = divmod(index, sums.shape[1])
        part = slice(t * TILE, (t + 1) * TILE)
        sums[m, t] = _focal_sum(logits[m, part], targets[m, part], np.float32(alpha), np.float32(gamma))

    parallel_for(piece, sums.size)
    return (sums.sum(axis=1) / pixels).astype(np.float32)


def focal_loss_backward(
    grad: npt.ArrayLike, logits: npt.ArrayLike, targets: npt.ArrayLike, alpha: float = 0.25, gamma: float = 2.0
) -> np.ndarray:
    """Compute the slope of the loss, times ``grad``.

    Parameters
    ----------
    grad : array_like, shape (M,)
        The slope of what follows, at the loss of every mask.
    logits, targets, alpha, gamma
        As for ``focal_loss``, and with its errors and its accuracy.

    Returns
    -------
    ndarray, shape (M, H, W), float32
        grad · ∂loss/∂z; for infinite logits the limit.
    """
    shape = np.shape(logits)
    logits, targets = _checked(logits, targets, alpha, gamma)
    masks, pixels = logits.shape
    grad = as_float32("grad", grad) / np.float32(pixels)
    expect_shape("grad", grad, (masks,))
    out, pieces = np.empty((masks, pixels), np.float32), -(-pixels // TILE)

    def piece(index: int) -> None:
        m, t = divmod(index, pieces)
        part = slice(t * TILE, (t + 1) * TILE)
        _focal_slope(logits[m, part], targets[m, part], np.float32(alpha), np.float32(gamma), grad[m], out[m, part])

    parallel_for(piece, masks * pieces)
    return out.reshape(shape)
