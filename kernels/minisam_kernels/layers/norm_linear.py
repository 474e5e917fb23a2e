"""A LayerNorm and the linear map after it, in one pass: how a transformer's block makes queries, keys and values::

    y = LayerNorm(x) Wᵀ + b

Source: ``layer_norm`` and ``linear``, which are the readable version. Some rows at a time are normalised and multiplied
while they are in cache, on all threads; the normalised tokens never exist as a whole. No piece holds rows of two images
of the batch, and pieces are cut alike in each, so the bits depend neither on the batch nor on the number of threads.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from minisam_kernels.layers.layer_norm import _layer_norm_rows, layer_norm_numpy
from minisam_kernels.layers.linear import ROWS, linear_numpy, row_pieces
from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.scratch import scratch
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 24.0  # × eps × magnitude; see ``norm_linear``


def norm_linear_numpy(
    x: np.ndarray, norm_weight: np.ndarray, norm_bias: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float
) -> np.ndarray:
    """The equation above. x (B, ..., C_in) → (B, ..., C_out), in the dtype of x."""
    return linear_numpy(layer_norm_numpy(x, norm_weight, norm_bias, eps), weight, bias)


def norm_linear(
    x: npt.ArrayLike,
    norm_weight: npt.ArrayLike,
    norm_bias: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike,
    eps: float,
) -> np.ndarray:
    """Normalise every token, then multiply it.

    Parameters
    ----------
    x : array_like, shape (B, ..., C_in)
        Tokens of B images or windows.
    norm_weight, norm_bias : array_like, shape (C_in,)
        The scale and shift of the LayerNorm.
    weight : array_like, shape (C_out, C_in)
    bias : array_like, shape (C_out,)
    eps : float
        What the LayerNorm adds to the variance.

    Returns
    -------
    ndarray, shape (B, ..., C_out), float32

    Raises
    ------
    InputError
        If the sizes do not fit.

    Notes
    -----
    Accuracy: ``TOLERANCE · eps · (Σ n |W| + |b|)``, where n is the magnitude that ``layer_norm`` names: its own
    tolerance, 16, goes through the product and meets the product's, 8.
    """
    x, weight = as_float32("x", x), as_float32("weight", weight)
    expect_ndim("weight", weight, 2, "(C_out, C_in)")
    c_out, c_in = weight.shape
    if x.ndim < 2 or x.shape[-1] != c_in or c_in == 0:
        raise InputError(f"expected x of shape (B, ..., {max(c_in, 1)}), got {x.shape}")
    norm_weight, norm_bias = as_float32("norm_weight", norm_weight), as_float32("norm_bias", norm_bias)
    bias = as_float32("bias", bias)
    expect_shape("norm_weight", norm_weight, (c_in,))
    expect_shape("norm_bias", norm_bias, (c_in,))
    expect_shape("bias", bias, (c_out,))
    out = np.empty((*x.shape[:-1], c_out), np.float32)
    pieces = row_pieces(x.shape, ROWS)
    tokens = math.prod(x.shape[1:-1])
    source, target = x.reshape(x.shape[0], tokens, c_in), out.reshape(x.shape[0], tokens, c_out)

    def piece(i: int) -> None:
        rows = source[pieces[i]]
        (normal,) = scratch(rows.shape)
        # LayerNorm(x), kept in cache
        _layer_norm_rows(rows, norm_weight, norm_bias, np.float32(eps), normal)
        # y
        y = target[pieces[i]]
        np.matmul(normal, weight.T, out=y)
        y += bias

    parallel_for(piece, len(pieces))
    return out
