"""Layer normalisation: every token to mean 0 and variance 1, then a learned scale and shift.

    y = (x − μ) / √(σ² + ε) · weight + bias,    μ, σ² the mean and the (biased) variance of the token's C numbers

Chapter 2, eq-layer-norm.
Source: Ba, Kiros & Hinton 2016, eq. 3–4; ``torch.nn.functional.layer_norm``. SAM uses it twice: in the transformers
(ε = 1e-6 in the image encoder, 1e-5 in the mask decoder) and, under the name LayerNorm2d, over the channels of an image
(ε = 1e-6), which is the same operation once the channels stand last.

Shapes: x (..., C); weight (C,); bias (C,) → (..., C).
Errors: ``InputError`` when weight or bias are not (C,) or a token has no numbers at all.
Accuracy: ``TOLERANCE`` (in units of float32's eps) times |y − bias| + |bias| + |μ|/√(σ² + ε) · |weight|: the last
term is what subtracting a large mean costs.
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.runtime.errors import InputError, as_float32, expect_shape
from minisam_kernels.runtime.jit import jit
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 16.0  # × eps × magnitude; see above
SIZE = 1 << 16  # numbers of a piece of work, in whole rows


def layer_norm_numpy(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    """The equation above. x (..., C) → (..., C), in the dtype of x."""
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


@jit
def _layer_norm_rows(x, weight, bias, eps, out):
    """x (N, C) → out (N, C). Two passes over a row that stays in cache: the mean first, then squares about it."""
    rows, channels = x.shape
    for n in range(rows):
        total = np.float32(0)
        for c in range(channels):
            total += x[n, c]
        mean = total / np.float32(channels)
        squares = np.float32(0)
        for c in range(channels):
            squares += (x[n, c] - mean) * (x[n, c] - mean)
        scale = np.float32(1) / np.sqrt(squares / np.float32(channels) + eps)
        for c in range(channels):
            out[n, c] = (x[n, c] - mean) * scale * weight[c] + bias[c]


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    """Normalise the last axis of x. x (..., C), weight (C,), bias (C,) → float32 (..., C). See the module's text."""
    x = as_float32("x", x)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise InputError(f"expected x of shape (..., C) with C >= 1, got {x.shape}")
    channels = x.shape[-1]
    weight, bias = as_float32("weight", weight), as_float32("bias", bias)
    expect_shape("weight", weight, (channels,))
    expect_shape("bias", bias, (channels,))
    out = np.empty_like(x)
    source, target = x.reshape(-1, channels), out.reshape(-1, channels)
    rows = max(1, SIZE // channels)
    if len(source) <= rows:  # a prompt's few tokens: asking the pool took three times as long as the work
        _layer_norm_rows(source, weight, bias, np.float32(eps), target)
        return out

    def piece(i: int) -> None:
        part = slice(i * rows, (i + 1) * rows)
        _layer_norm_rows(source[part], weight, bias, np.float32(eps), target[part])

    parallel_for(piece, -(-len(source) // rows))
    return out
