"""Stability of a mask: how little it changes when the threshold moves::

    stability = |z > t + δ| / |z > t − δ|,    z the logits, t the threshold, δ the offset

which is the IoU of the two masks, because the stricter one lies inside the other. Both comparisons are strict.
Source: SAM, appendix B; with t = 0 and δ = 1 the two thresholds are the probabilities 0.269 and 0.731.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim
from minisam_kernels.runtime.jit import jit


def stability_score_numpy(logits: np.ndarray, threshold: float = 0.0, offset: float = 1.0) -> np.ndarray:
    """The equation above. logits (M, H, W) → (M,) float64."""
    with np.errstate(invalid="ignore"):
        return (logits > threshold + offset).sum(axis=(1, 2)) / (logits > threshold - offset).sum(axis=(1, 2))


@jit
def _count_above(logits, high, low, counts):
    """logits (M, H·W) → counts (M, 2): how many lie above high, and above low. One pass."""
    for m in range(logits.shape[0]):
        inner, outer = np.int64(0), np.int64(0)
        for n in range(logits.shape[1]):
            inner += logits[m, n] > high
            outer += logits[m, n] > low
        counts[m, 0], counts[m, 1] = inner, outer


def stability_score(logits: npt.ArrayLike, threshold: float = 0.0, offset: float = 1.0) -> np.ndarray:
    """Compute the stability of every mask.

    Parameters
    ----------
    logits : array_like, shape (M, H, W)
        A logit that is NaN is above no threshold.
    threshold, offset : float
        t and δ of the equation, in logits.

    Returns
    -------
    ndarray, shape (M,), float32
        NaN where no pixel is above t − δ: 0/0.

    Raises
    ------
    InputError
        If ``logits`` are not (M, H, W), or ``offset`` is not a number ≥ 0.

    Notes
    -----
    Accuracy: the counts are exact (t ± δ is rounded to float32, as torch does); the quotient is float32's nearest
    number.
    """
    logits = as_float32("logits", logits)
    expect_ndim("logits", logits, 3, "(M, H, W)")
    if not offset >= 0:
        raise InputError(f"expected offset >= 0, got {offset}")
    counts = np.empty((len(logits), 2), np.int64)
    pixels = logits.shape[1] * logits.shape[2]
    _count_above(
        logits.reshape(len(logits), pixels), np.float32(threshold + offset), np.float32(threshold - offset), counts
    )
    with np.errstate(invalid="ignore"):
        return (counts[:, 0] / counts[:, 1]).astype(np.float32)
