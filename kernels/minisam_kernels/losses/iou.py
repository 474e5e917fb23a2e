"""Intersection over union of masks: how much of what either covers is covered by both::

    IoU = |a ∧ b| / |a ∨ b|

Source: Jaccard 1912; the measure of every table in the paper and the target of SAM's IoU head.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.errors import InputError, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit


def iou_numpy(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The equation above. a, b (M, H, W) bool → (M,) float64."""
    with np.errstate(invalid="ignore"):
        return (a & b).sum(axis=(1, 2)) / (a | b).sum(axis=(1, 2))


@jit
def _count_both_and_either(a, b, counts):
    """a, b (M, H·W) of 0 and 1 → counts (M, 2), the sizes of intersection and union."""
    for m in range(a.shape[0]):
        both, either = np.int64(0), np.int64(0)
        for n in range(a.shape[1]):
            both += a[m, n] & b[m, n]
            either += a[m, n] | b[m, n]
        counts[m, 0], counts[m, 1] = both, either


def iou(a: npt.ArrayLike, b: npt.ArrayLike) -> np.ndarray:
    """Compare the masks of a with those of b, mask m with mask m.

    Parameters
    ----------
    a, b : array_like, shape (M, H, W), bool

    Returns
    -------
    ndarray, shape (M,), float32
        NaN where both masks are empty: 0/0.

    Raises
    ------
    InputError
        If a or b is not bool, or their shapes differ.

    Notes
    -----
    Accuracy: the counts are exact; the quotient is float32's nearest number.
    """
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    for name, mask in (("a", a), ("b", b)):
        if mask.dtype != bool:
            raise InputError(f"expected {name} to hold booleans, got dtype {mask.dtype}")
    expect_ndim("a", a, 3, "(M, H, W)")
    expect_shape("b", b, a.shape)
    counts = np.empty((len(a), 2), np.int64)
    flat = (len(a), a.shape[1] * a.shape[2])
    _count_both_and_either(a.view(np.uint8).reshape(flat), b.view(np.uint8).reshape(flat), counts)
    with np.errstate(invalid="ignore"):
        return (counts[:, 0] / counts[:, 1]).astype(np.float32)
