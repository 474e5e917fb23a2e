"""What stands around the two transposed convolutions of the mask decoder, a tile of image tokens at a time::

    X = GELU(LayerNorm(X + scale · Z + b))        each of a token's four corners, over its C channels    ``norm_gelu``
    logits[m] = Σ over c of vectors[m, c] · GELU(Y[c] + b[c])    each of a corner's four corners        ``gelu_masks``

Source: ``Sequential(ConvTranspose2d, LayerNorm2d, GELU, ConvTranspose2d, GELU)`` of the released code and the paper's
hypernetworks. A transposed convolution with kernel and stride 2 is a matrix product, which BLAS does; here is the rest,
with a token's numbers below each other and tokens side by side, so the upscaled features are never put together as an
image: a tile's masks are all that is written. X is a part of the product, scale · Z another (the image's).

Shapes: x, z (4 · C, P), rows (corner, channel); scale (P,); bias (4 · C,); weight, shift (C,) → (4 · C, P).
y (4 · C, P), rows (corner of the corner, channel); bias (C,); vectors (M, C); image token ``first`` stands at y's first
column, a row of the image has ``width`` of them → out (M, 4h, 4w), written at [4 i + …, 4 j + …].
Errors: ``InputError`` when shapes do not fit.
Accuracy: ``TOLERANCE`` · eps times, for ``norm_gelu``, (``|X| + |scale Z| + |b|``, its largest of the C) / σ ·
``|weight| + |shift|``; for ``gelu_masks``, ``Σ |vectors| (|Y| + |b|)``. The GELU's erf is cut off at ±3.92.
"""

from __future__ import annotations

import math

import numpy as np

from minisam_kernels.decoder.head_products import add_head_products
from minisam_kernels.layers.gelu import gelu_numpy
from minisam_kernels.layers.layer_norm import layer_norm_numpy
from minisam_kernels.runtime.elementary import _ERF_END, _P0, _P1, _P2, _P3, _P4, _P5, _Q1, _Q2, _Q3, _Q4, _Q5
from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit

TOLERANCE = 16.0  # × eps × magnitude; see above
_0, _1, _HALF, _SQRT_HALF = np.float32(0), np.float32(1), np.float32(0.5), np.float32(math.sqrt(0.5))


def norm_gelu_numpy(x, z, scale, bias, weight, shift, eps=1e-6):
    """The first equation → (4 · C, P), in the dtype of x."""
    y = (x + scale * z + bias[:, None]).reshape(4, len(weight), -1).swapaxes(1, 2)  # (4, P, C)
    return gelu_numpy(layer_norm_numpy(y, weight, shift, eps)).swapaxes(1, 2).reshape(x.shape)


def gelu_masks_numpy(y, bias, vectors):
    """The second equation → (M, 4, P), in the dtype of y, the corners not yet in their places."""
    return np.einsum("mc,kcp->mkp", vectors, gelu_numpy(y.reshape(4, len(bias), -1) + bias[:, None]))


@jit
def _gelu(x):
    t = x * _SQRT_HALF
    t = -_ERF_END if t < -_ERF_END else t
    t = _ERF_END if t > _ERF_END else t
    u = t * t
    p = _P0 + u * (_P1 + u * (_P2 + u * (_P3 + u * (_P4 + u * _P5))))
    q = _1 + u * (_Q1 + u * (_Q2 + u * (_Q3 + u * (_Q4 + u * _Q5))))
    return _HALF * x + _HALF * x * (t * p / q)


@jit
def norm_gelu_tile(z, scale, bias, weight, shift, eps, x):
    """The first equation, in place in x."""
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
                row[n] = _gelu((row[n] - mean[n]) * spread[n] * w + b)


@jit
def gelu_masks_tile(y, bias, vectors, corner, first, width, out):
    """The second equation, written to out (M, 4h, 4w). Columns behind the image's end are left out."""
    masks, channels = vectors.shape
    pixels = y.shape[1]
    count = min(pixels, (out.shape[1] // 4) * width - first)
    bent, answers = np.empty((channels, pixels), np.float32), np.empty((masks, pixels), np.float32)
    for inner in range(4):
        # bent = GELU(Y + b) of this corner of the corner, whose pixel is [4 i + down, 4 j + right].
        for c in range(channels):
            row, target, b = y[inner * channels + c], bent[c], bias[c]
            for n in range(pixels):
                target[n] = _gelu(row[n] + b)
        down, right = 2 * (corner // 2) + inner // 2, 2 * (corner % 2) + inner % 2
        # answers = Σ over c of vectors · bent, then to their pixels, every fourth of a row.
        answers[:] = _0
        add_head_products(vectors.reshape(1, masks, channels), bent, answers)
        for m in range(masks):
            for i in range(first // width, -(-(first + count) // width)):  # rows of the image
                row = out[m, 4 * i + down]
                for n in range(max(first, i * width), min(first + count, (i + 1) * width)):
                    row[4 * (n - i * width) + right] = answers[m, n - first]


def norm_gelu(
    x: np.ndarray,
    z: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    weight: np.ndarray,
    shift: np.ndarray,
    eps: float = 1e-6,
) -> np.ndarray:
    """float32 (4 · C, P). See the module's text."""
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


def gelu_masks(
    y: np.ndarray, bias: np.ndarray, vectors: np.ndarray, corner: int, first: int, width: int, out: np.ndarray
) -> None:
    """A tile's corner of the logits into ``out``, float32 (M, 4h, 4w). See the module's text."""
    y, bias, vectors = map(as_float32, ("y", "bias", "vectors"), (y, bias, vectors))
    expect_ndim("y", y, 2, "(4 · C, P)")
    expect_ndim("vectors", vectors, 2, "(M, C)")
    expect_shape("bias", bias, vectors.shape[1:])
    expect_shape("y", y, (4 * bias.size, y.shape[1]))
    expect_ndim("out", out, 3, "(M, 4h, 4w)")
    expect_shape("out", out, (len(vectors), out.shape[1] // 4 * 4, 4 * width))
    if out.dtype != np.float32 or corner not in range(4) or not 0 <= first < out.shape[1] // 4 * width:
        raise InputError(f"expected corner < 4, first in the image, float32 out, got {corner}, {first}, {out.dtype}")
    gelu_masks_tile(y, bias, vectors, corner, first, width, out)
