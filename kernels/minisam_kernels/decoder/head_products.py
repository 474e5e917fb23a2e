"""Products of a few tokens with a tile of image tokens, head by head; image tokens lie side by side::

    Y[h, t, n] = Y[h, t, n] + Σ over d of A[h, t, d] · X[h, d, n]        ``head_products``: scores
    A[h, t, d] = Σ over n of Y[h, t, n] · X[h, d, n]                     ``head_moments``: mixtures of values

Source: the two matrix products of Vaswani et al. 2017, eq. 1, for N ≫ T. A head has 16 channels and a prompt 7 tokens:
too little for BLAS to copy its operands for. Here four rows of X at a time go by in vector registers. Measured on 8
heads, T = 7, D = 16, 256 image tokens, one core: 13 µs each, ``numpy.matmul`` 15 and 20.

The compiled loops take x and y as (heads · D, P) and (heads · T, P).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.errors import as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit

TOLERANCE = 8.0  # × eps × magnitude; see ``head_products``


def head_products_numpy(a: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The first equation. a (heads, T, D), x (heads, D, P), y (heads, T, P) → (heads, T, P), in the dtype of a."""
    return y + a @ x


def head_moments_numpy(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The second equation. y (heads, T, P), x (heads, D, P) → (heads, T, D), in the dtype of y."""
    return y @ x.transpose(0, 2, 1)


@jit
def scale_and_add(x, scale, position, out):
    """x (R, P) · scale (P,) + position (R, P) → out: keys or queries of a head."""
    for r in range(len(x)):
        row, other, target = x[r], position[r], out[r]
        for n in range(scale.size):
            target[n] = row[n] * scale[n] + other[n]


@jit
def add_head_products(a, x, y):
    """a (heads, T, D), x (heads · D, P), y (heads · T, P), which is added to. A short last block counts rows with 0."""
    heads, tokens, width = a.shape
    for h in range(heads):
        for t in range(tokens):
            # Y[h, t] += A[h, t, d] · X[h, d] for four channels d at a time.
            target = y[h * tokens + t]
            for d in range(0, width, 4):
                d1, d2, d3 = min(d + 1, width - 1), min(d + 2, width - 1), min(d + 3, width - 1)
                a0 = a[h, t, d]
                a1 = a[h, t, d1] if d + 1 < width else np.float32(0)
                a2 = a[h, t, d2] if d + 2 < width else np.float32(0)
                a3 = a[h, t, d3] if d + 3 < width else np.float32(0)
                x0, x1, x2, x3 = x[h * width + d], x[h * width + d1], x[h * width + d2], x[h * width + d3]
                for n in range(target.size):
                    target[n] += a0 * x0[n] + a1 * x1[n] + a2 * x2[n] + a3 * x3[n]


@jit
def write_head_moments(y, x, a):
    """y (heads · T, P), x (heads · D, P) → a (heads, T, D). A short last block writes its last row again."""
    heads, tokens, width = a.shape
    for h in range(heads):
        for t in range(tokens):
            # A[h, t, d] for four channels d at a time, each with a sum of its own.
            weights = y[h * tokens + t]
            for d in range(0, width, 4):
                d1, d2, d3 = min(d + 1, width - 1), min(d + 2, width - 1), min(d + 3, width - 1)
                x0, x1, x2, x3 = x[h * width + d], x[h * width + d1], x[h * width + d2], x[h * width + d3]
                s0 = s1 = s2 = s3 = np.float32(0)
                for n in range(weights.size):
                    s0 += weights[n] * x0[n]
                    s1 += weights[n] * x1[n]
                    s2 += weights[n] * x2[n]
                    s3 += weights[n] * x3[n]
                a[h, t, d], a[h, t, d1], a[h, t, d2], a[h, t, d3] = s0, s1, s2, s3


def head_products(a: npt.ArrayLike, x: npt.ArrayLike, y: npt.ArrayLike) -> np.ndarray:
    """y + a x, head by head: scores.

    Parameters
    ----------
    a : array_like, shape (heads, T, D)
    x : array_like, shape (heads, D, P)
    y : array_like, shape (heads, T, P)

    Returns
    -------
    ndarray, shape (heads, T, P), float32

    Raises
    ------
    InputError
        If shapes do not fit.

    Notes
    -----
    Accuracy: within ``TOLERANCE`` · eps times the sum of the absolute terms.
    """
    a, x, y = as_float32("a", a), as_float32("x", x), as_float32("y", y)
    expect_ndim("a", a, 3, "(heads, T, D)")
    expect_ndim("x", x, 3, "(heads, D, P)")
    heads, tokens, width = a.shape
    pixels = x.shape[2]
    expect_shape("x", x, (heads, width, pixels))
    expect_shape("y", y, (heads, tokens, pixels))
    out = y.copy()
    add_head_products(a, x.reshape(heads * width, pixels), out.reshape(heads * tokens, pixels))
    return out


def head_moments(y: npt.ArrayLike, x: npt.ArrayLike) -> np.ndarray:
    """y xᵀ, head by head: mixtures of values.

    Parameters
    ----------
    y : array_like, shape (heads, T, P)
    x : array_like, shape (heads, D, P)

    Returns
    -------
    ndarray, shape (heads, T, D), float32
        Errors and accuracy are those of ``head_products``.
    """
    y, x = as_float32("y", y), as_float32("x", x)
    expect_ndim("y", y, 3, "(heads, T, P)")
    heads, tokens, pixels = y.shape
    expect_ndim("x", x, 3, "(heads, D, P)")
    width = x.shape[1]
    expect_shape("x", x, (heads, width, pixels))
    out = np.empty((heads, tokens, width), np.float32)
    write_head_moments(y.reshape(heads * tokens, pixels), x.reshape(heads * width, pixels), out)
    return out
