"""Softmax: scores become positive weights with sum 1::

    yⱼ = exp(xⱼ − m) / Σₖ exp(xₖ − m),    m = maxₖ xₖ

Chapter 3, eq-softmax. Source: ``torch.nn.functional.softmax`` over the last axis. Subtracting m changes nothing in the
ratio and keeps every exponential in [0, 1].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.elementary import exp
from minisam_kernels.runtime.errors import InputError, as_float32
from minisam_kernels.runtime.jit import jit
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 8.0  # × eps × magnitude; see ``softmax``
SIZE = 1 << 16  # numbers of a piece of work, in whole rows

_31, _REST = np.int32(31), np.int32(2**31 - 1)


def softmax_numpy(x: np.ndarray) -> np.ndarray:
    """The equation above. x (..., N) → (..., N), in the dtype of x."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@jit
def row_max(row):
    """The largest number of row (N,), by whole numbers that are ordered as the float32 with the same bits are.

    LLVM does not vectorise a maximum of floats, because of NaN; that of integers it does: 0.08 ns a number instead of
    0.7. Negative floats are ordered backwards by their bits, so all their bits but the sign are flipped, and back.
    """
    bits = row.view(np.int32)
    largest = np.int32(-(2**31))
    for i in range(bits.size):
        key = np.int32(bits[i] ^ ((bits[i] >> _31) & _REST))
        largest = key if key > largest else largest
    return np.int32(largest ^ ((largest >> _31) & _REST)).view(np.float32)


@jit
def _softmax_rows(x, out):
    """x (n, N) → out (n, N)."""
    for i in range(x.shape[0]):
        # m, and the sum of the exponentials
        largest = row_max(x[i])
        total = np.float32(0)
        for j in range(x.shape[1]):
            e = exp(x[i, j] - largest)
            out[i, j] = e
            total += e
        scale = np.float32(1) / total
        for j in range(x.shape[1]):
            out[i, j] *= scale


def softmax(x: npt.ArrayLike) -> np.ndarray:
    """Turn the scores of the last axis into weights.

    Parameters
    ----------
    x : array_like, shape (..., N)
        Scores, N ≥ 1.

    Returns
    -------
    ndarray, shape (..., N), float32
        As in torch, a row with NaN or +∞ or only −∞ becomes NaN.

    Raises
    ------
    InputError
        If there is no last axis, or it is empty.

    Notes
    -----
    Accuracy: ``TOLERANCE · eps · y · (1 + m − x)``: rounding x − m is what costs accuracy. Weights below 10⁻³⁸
    become 0.
    """
    x = as_float32("x", x)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise InputError(f"expected x of shape (..., N) with N >= 1, got {x.shape}")
    out = np.empty_like(x)
    source, target = x.reshape(-1, x.shape[-1]), out.reshape(-1, x.shape[-1])
    rows = max(1, SIZE // x.shape[-1])

    def piece(i: int) -> None:
        _softmax_rows(source[i * rows : (i + 1) * rows], target[i * rows : (i + 1) * rows])

    parallel_for(piece, -(-len(source) // rows))
    return out
