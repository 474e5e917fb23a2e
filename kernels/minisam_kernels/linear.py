"""The linear map of every token: the matrix product in which a transformer spends most of its time.

    y = x Wᵀ + b

Source: ``torch.nn.functional.linear``. The product is BLAS's, called through NumPy for ``ROWS`` rows at a time: the
pieces run side by side on the threads of ``parallel_for``, and the bias is added to a piece while it is in cache.

Shapes: x (..., C_in); weight (C_out, C_in); bias (C_out,) or None → (..., C_out).
Errors: ``InputError`` when the sizes do not fit.
Accuracy: ``TOLERANCE`` · eps · (Σ |x| |W| + |b|): n rounded products and sums stay below n · eps · Σ|terms| / 2, and as
rounding errors have either sign, near √n · eps · Σ|terms|; the bound used here is the one for √n with C_in ≤ 5120.
"""

from __future__ import annotations

import math

import numpy as np

from minisam_kernels.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.threads import parallel_for

TOLERANCE = 8.0  # × eps × magnitude; see above
ROWS = 512  # rows of a piece: fixed, so that the number of threads changes no bit; 128 rows cost 15 % more


def linear_numpy(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """The equation above. x (..., C_in) → (..., C_out), in the dtype of x."""
    y = x @ weight.T
    return y if bias is None else y + bias


def _linear_rows(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, out: np.ndarray) -> None:
    """x (N, C_in) → out (N, C_out), a piece of rows at a time."""

    def piece(i: int) -> None:
        rows = slice(i * ROWS, (i + 1) * ROWS)
        np.matmul(x[rows], weight.T, out=out[rows])
        if bias is not None:
            out[rows] += bias

    parallel_for(piece, -(-len(x) // ROWS))


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """The product with Wᵀ, and the bias. x (..., C_in), weight (C_out, C_in) → float32 (..., C_out)."""
    x, weight = as_float32("x", x), as_float32("weight", weight)
    expect_ndim("weight", weight, 2, "(C_out, C_in)")
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise InputError(f"expected x of shape (..., {weight.shape[1]}), got {x.shape}")
    if bias is not None:
        bias = as_float32("bias", bias)
        expect_shape("bias", bias, (weight.shape[0],))
    out = np.empty((*x.shape[:-1], weight.shape[0]), np.float32)
    rows = math.prod(x.shape[:-1])
    _linear_rows(x.reshape(rows, weight.shape[1]), weight, bias, out.reshape(rows, weight.shape[0]))
    return out
