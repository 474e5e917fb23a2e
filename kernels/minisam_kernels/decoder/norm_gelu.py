"""The step between the two transposed convolutions of the mask decoder, on a tile of image tokens::

    X = GELU(LayerNorm(X + scale · Z + b))        each of a token's four corners, over its C channels

Source: ``ConvTranspose2d, LayerNorm2d, GELU`` of the released code's ``output_upscaling``. A transposed convolution
with kernel and stride 2 is a matrix product, which BLAS does; here is the rest. X is a part of the product, scale · Z
another (the image's). A token's numbers lie below each other and tokens side by side: the second convolution and
``gelu_masks`` go on with them, so the upscaled features are never put together as an image.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from minisam_kernels.layers.gelu import gelu_numpy
from minisam_kernels.layers.layer_norm import layer_norm_numpy
from minisam_kernels.runtime.elementary import _ERF_END, _P0, _P1, _P2, _P3, _P4, _P5, _Q1, _Q2, _Q3, _Q4, _Q5
from minisam_kernels.runtime.errors import as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit

TOLERANCE = 16.0  # × eps × magnitude; see ``norm_gelu``
_0, _1, _HALF, _SQRT_HALF = np.float32(0), np.float32(1), np.float32(0.5), np.float32(math.sqrt(0.5))


def norm_gelu_numpy(
    x: np.ndarray,
    z: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    weight: np.ndarray,
    shift: np.ndarray,
    eps: float = 1e-6,
) -> np.ndarray:
    """The equation above → (4 · C, P), in the dtype of x."""
    y = (x + scale * z + bias[:, None]).reshape(4, len(weight), -1).swapaxes(1, 2)  # (4, P, C)
    return gelu_numpy(layer_norm_numpy(y, weight, shift, eps)).swapaxes(1, 2).reshape(x.shape)


@jit
def clipped_gelu(x):
    """x/2 · (1 + erf(x/√2)) of one number, with the polynomial of ``erf``, whose argument ends at ±3.92."""
    t = x * _SQRT_HALF
    t = -_ERF_END if t < -_ERF_END else t
    t = _ERF_END if t > _ERF_END else t
    u = t * t
    p = _P0 + u * (_P1 + u * (_P2 + u * (_P3 + u * (_P4 + u * _P5))))
    q = _1 + u * (_Q1 + u * (_Q2 + u * (_Q3 + u * (_Q4 + u * _Q5))))
    return _HALF * x + _HALF * x * (t * p / q)


@jit
def norm_gelu_tile(z, scale, bias, weight, shift, eps, x):
    """The equation above, in place in x."""
    channels, pixels = len(weight), x.shape[1]
    mean, spread = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
    for first in range(0, 4 * channels, channels):
        # A corner's X + scale · Z + b and its mean over the channels; below 1/σ, then the GELU of the LayerNorm.
        mean[:] = _0
        spread[:] = _0
        for c in range(first, first + channels):
            row, other, b = x[c], z[c], bias[c]
            for n in range(pixels):
                y = row[n] + scale[n] * other[n] + b
                row[n] = y
                mean[n] += y
        for n in range(pixels):
            mean[n] = mean[n] / np.float32(channels)
        for c in range(first, first + channels):
            row = x[c]
            for n in range(pixels):
                spread[n] += (row[n] - mean[n]) * (row[n] - mean[n])
        for n in range(pixels):
            spread[n] = _1 / np.sqrt(spread[n] / np.float32(channels) + eps)
        for c in range(channels):
            row, w, b = x[first + c], weight[c], shift[c]
            for n in range(pixels):
                row[n] = clipped_gelu((row[n] - mean[n]) * spread[n] * w + b)


def norm_gelu(
    x: npt.ArrayLike,
    z: npt.ArrayLike,
    scale: npt.ArrayLike,
    bias: npt.ArrayLike,
    weight: npt.ArrayLike,
    shift: npt.ArrayLike,
    eps: float = 1e-6,
) -> np.ndarray:
    """Add the image's part and the bias, normalise each corner over its channels, and apply GELU.

    Parameters
    ----------
    x : array_like, shape (4 · C, P)
        The prompt's part of the product; rows are (corner, channel), columns image tokens.
    z : array_like, shape (4 · C, P)
        The image's part.
    scale : array_like, shape (P,)
    bias : array_like, shape (4 · C,)
        The convolution's.
    weight, shift : array_like, shape (C,)
        The LayerNorm's.
    eps : float
        Added to the variance.

    Returns
    -------
    ndarray, shape (4 · C, P), float32

    Raises
    ------
    InputError
        If shapes do not fit.

    Notes
    -----
    Accuracy: ``TOLERANCE`` · eps · (largest of a corner's (``|x| + |scale z| + |b|``) / σ · ``|weight| + |shift|``).
    """
    names = ("x", "z", "scale", "bias", "weight", "shift")
    x, z, scale, bias, weight, shift = map(as_float32, names, (x, z, scale, bias, weight, shift))
    expect_ndim("x", x, 2, "(4 · C, P)")
    rows, pixels = x.shape
    for name, array, shape in zip(names, (x, z, scale, bias), ((4 * weight.size, pixels), x.shape, (pixels,), (rows,))):
        expect_shape(name, array, shape)
    expect_shape("shift", shift, weight.shape)
    out = x.copy()
    norm_gelu_tile(z, scale, bias, weight, shift, np.float32(eps), out)
    return out
