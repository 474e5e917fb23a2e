"""The linear map of every token: the matrix product in which a transformer spends most of its time::

    y = x Wᵀ + b (+ residual)

Chapter 2, eq-linear. Source: ``torch.nn.functional.linear``. The product is BLAS's, called through NumPy for ``ROWS``
rows at a time: the pieces run side by side on the threads of ``parallel_for``, and bias and residual are added while a
piece is in cache. Images (B, H, W, C_in) are cut one by one, so the bits of one do not depend on the others.
"""

from __future__ import annotations

import math
import os

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 8.0  # × eps × magnitude; see ``linear``
# Rows of a piece at most. BLAS rearranges the weight for each: two cores take 3 to 7 % less time for 1024 rows than for
# 512, and 9 % more for 256; but the 4096 tokens of an image are pieces for four cores then. The machine's cores count,
# not the threads in use: the bits must not depend on those.
ROWS = 1024 if (os.cpu_count() or 1) <= 4 else 512


def linear_numpy(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, residual: np.ndarray | None = None
) -> np.ndarray:
    """The equation above. x (..., C_in) → (..., C_out), in the dtype of x."""
    y = x @ weight.T
    y = y if bias is None else y + bias
    return y if residual is None else y + residual


def row_pieces(shape: tuple[int, ...], rows: int) -> list[tuple[int, slice]]:
    """Images (B, ..., C) cut into pieces of at most ``rows`` tokens of one image: (image, which tokens).

    A small image is cut too, for the threads, into about four. The number of threads must not matter here.
    """
    tokens = math.prod(shape[1:-1])
    rows = min(rows, max(64, tokens // 4))
    return [(b, slice(i, min(i + rows, tokens))) for b in range(shape[0]) for i in range(0, tokens, rows)]


def linear(
    x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None = None, residual: npt.ArrayLike | None = None
) -> np.ndarray:
    """Multiply every token with Wᵀ, and add what is given.

    Parameters
    ----------
    x : array_like, shape (..., C_in)
        Tokens.
    weight : array_like, shape (C_out, C_in)
    bias : array_like, shape (C_out,), optional
    residual : array_like, shape (..., C_out), optional
        What a block adds the result to.

    Returns
    -------
    ndarray, shape (..., C_out), float32

    Raises
    ------
    InputError
        If the sizes do not fit.

    Notes
    -----
    Accuracy: ``TOLERANCE · eps · (Σ |x| |W| + |b| + |residual|)``. n rounded products and sums stay below
    ``n · eps · Σ|terms| / 2``, and as rounding errors have either sign, near ``√n · eps · Σ|terms|``; the bound used
    here is the one for √n with C_in ≤ 5120.
    """
    x, weight = as_float32("x", x), as_float32("weight", weight)
    expect_ndim("weight", weight, 2, "(C_out, C_in)")
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise InputError(f"expected x of shape (..., {weight.shape[1]}), got {x.shape}")
    if bias is not None:
        bias = as_float32("bias", bias)
        expect_shape("bias", bias, (weight.shape[0],))
    out = np.empty((*x.shape[:-1], weight.shape[0]), np.float32)
    if residual is not None:
        residual = as_float32("residual", residual)
        expect_shape("residual", residual, out.shape)
    images, tokens = (len(x) if x.ndim == 4 else 1), math.prod(x.shape[(1 if x.ndim == 4 else 0) : -1])
    source, target = x.reshape(images, tokens, x.shape[-1]), out.reshape(images, tokens, len(weight))
    update = None if residual is None else residual.reshape(target.shape)
    pieces = row_pieces(source.shape, ROWS)

    def piece(i: int) -> None:
        y = target[pieces[i]]
        np.matmul(source[pieces[i]], weight.T, out=y)
        if bias is not None:
            y += bias
        if update is not None:
            y += update[pieces[i]]

    parallel_for(piece, len(pieces))
    return out
