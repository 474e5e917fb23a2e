"""The second half of a transformer's block, in one pass: LayerNorm, a wide layer, GELU, a layer back, and the sum::

    y = x + GELU(LayerNorm(x) W₁ᵀ + b₁) W₂ᵀ + b₂

Chapter 2, eq-block and eq-mlp. Source: Vaswani et al. 2017, section 3.3, with GELU and the norm first (Dosovitskiy et
al. 2020, eq. 3); SAM's ``MLPBlock`` and what stands around it in ``Block``. A piece of rows goes through all of it
while it is in cache: the hidden layer, four times as wide as a token, never exists as a whole, and W₁, W₂ are read by
all threads. Pieces are cut inside each image: the bits depend neither on the batch nor on the number of threads.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from minisam_kernels.layers.gelu import gelu_numpy
from minisam_kernels.layers.layer_norm import _layer_norm_rows, layer_norm_numpy
from minisam_kernels.layers.linear import ROWS, linear_numpy, row_pieces
from minisam_kernels.runtime.elementary import erf
from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit
from minisam_kernels.runtime.scratch import scratch
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 41.0  # × eps × magnitude; see ``mlp``

_1, _HALF, _SQRT_HALF = np.float32(1), np.float32(0.5), np.float32(math.sqrt(0.5))


def mlp_numpy(
    x: np.ndarray,
    norm_weight: np.ndarray,
    norm_bias: np.ndarray,
    weight1: np.ndarray,
    bias1: np.ndarray,
    weight2: np.ndarray,
    bias2: np.ndarray,
    eps: float,
) -> np.ndarray:
    """The equation above. x (B, ..., C) → (B, ..., C), in the dtype of x."""
    hidden = linear_numpy(layer_norm_numpy(x, norm_weight, norm_bias, eps), weight1, bias1)
    return x + linear_numpy(gelu_numpy(hidden), weight2, bias2)


@jit
def _gelu_rows(hidden, bias):
    """GELU(hidden + bias) in place. hidden (n, C), bias (C,)."""
    for i in range(hidden.shape[0]):
        row = hidden[i]
        for c in range(row.size):
            t = row[c] + bias[c]
            row[c] = _HALF * t * (_1 + erf(t * _SQRT_HALF))


@jit
def _add_rows(x, update, bias, out):
    """x + update + bias. x, update (n, C), bias (C,) → out (n, C)."""
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            out[i, c] = x[i, c] + (update[i, c] + bias[c])


def mlp(
    x: npt.ArrayLike,
    norm_weight: npt.ArrayLike,
    norm_bias: npt.ArrayLike,
    weight1: npt.ArrayLike,
    bias1: npt.ArrayLike,
    weight2: npt.ArrayLike,
    bias2: npt.ArrayLike,
    eps: float,
) -> np.ndarray:
    """Add to every token what two layers make of it.

    Parameters
    ----------
    x : array_like, shape (B, ..., C)
        Tokens of B images.
    norm_weight, norm_bias : array_like, shape (C,)
        The scale and shift of the LayerNorm.
    weight1, bias1 : array_like, shapes (hidden, C) and (hidden,)
        The wide layer, W₁ and b₁.
    weight2, bias2 : array_like, shapes (C, hidden) and (C,)
        The layer back, W₂ and b₂.
    eps : float
        What the LayerNorm adds to the variance.

    Returns
    -------
    ndarray, shape (B, ..., C), float32

    Raises
    ------
    InputError
        If the sizes do not fit.

    Notes
    -----
    Accuracy: ``TOLERANCE · eps · (|x| + Σ h |W₂| + |b₂|)`` with ``h = Σ n |W₁| + |b₁|``, n the magnitude that
    ``layer_norm`` names. The tolerances meet one after the other: (16 + 8) through GELU, whose slope is at most 1.13,
    + 4 of its own, + 8 of the second product, + 1 of the sum.
    """
    x, weight1, weight2 = as_float32("x", x), as_float32("weight1", weight1), as_float32("weight2", weight2)
    if x.ndim < 2 or x.shape[-1] == 0:
        raise InputError(f"expected x of shape (B, ..., C) with C >= 1, got {x.shape}")
    expect_ndim("weight1", weight1, 2, "(hidden, C)")
    C, width = x.shape[-1], weight1.shape[0]
    expect_shape("weight1", weight1, (width, C))
    expect_shape("weight2", weight2, (C, width))
    given = {"norm_weight": norm_weight, "norm_bias": norm_bias, "bias1": bias1, "bias2": bias2}
    vectors = {name: as_float32(name, vector) for name, vector in given.items()}
    for name, vector in vectors.items():
        expect_shape(name, vector, (width,) if name == "bias1" else (C,))
    norm_weight, norm_bias, bias1, bias2 = vectors.values()
    out = np.empty_like(x)
    pieces = row_pieces(x.shape, ROWS)
    source, target = (a.reshape(x.shape[0], math.prod(x.shape[1:-1]), C) for a in (x, out))

    def piece(i: int) -> None:
        rows = source[pieces[i]]
        normal, hidden = scratch(rows.shape, (len(rows), width))
        # hidden = GELU(LayerNorm(x) W₁ᵀ + b₁)
        _layer_norm_rows(rows, norm_weight, norm_bias, np.float32(eps), normal)
        np.matmul(normal, weight1.T, out=hidden)
        _gelu_rows(hidden, bias1)
        # y = x + (hidden W₂ᵀ + b₂); the product takes the memory of the normalised rows, which have done their work
        np.matmul(hidden, weight2.T, out=normal)
        _add_rows(rows, normal, bias2, target[pieces[i]])

    parallel_for(piece, len(pieces))
    return out
