"""Layer normalisation: every token to mean 0 and variance 1, then a learned scale and shift::

    y = (x − μ) / √(σ² + ε) · weight + bias,    μ, σ² the mean and the (biased) variance of the token's C numbers

Chapter 2, eq-layer-norm. Source: Ba, Kiros & Hinton 2016, eq. 3–4; ``torch.nn.functional.layer_norm``. SAM uses it
twice: in the transformers (ε = 1e-6 in the image encoder, 1e-5 in the mask decoder) and, under the name LayerNorm2d,
over the channels of an image (ε = 1e-6), which is the same operation once the channels stand last.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.errors import InputError, as_float32, expect_shape
from minisam_kernels.runtime.jit import jit
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 16.0  # × eps × magnitude; see ``layer_norm``
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
        # μ
        total = np.float32(0)
        for c in range(channels):
            total += x[n, c]
        mean = total / np.float32(channels)
        # 1 / √(σ² + ε)
        squares = np.float32(0)
        for c in range(channels):
            squares += (x[n, c] - mean) * (x[n, c] - mean)
        scale = np.float32(1) / np.sqrt(squares / np.float32(channels) + eps)
        # y
        for c in range(channels):
            out[n, c] = (x[n, c] - mean) * scale * weight[c] + bias[c]


def layer_norm(x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike, eps: float) -> np.ndarray:
    """Normalise the last axis of x.

    Parameters
    ----------
    x : array_like, shape (..., C)
        Tokens.
    weight, bias : array_like, shape (C,)
        The learned scale and shift.
    eps : float
        ε, which is added to the variance.

    Returns
    -------
    ndarray, shape (..., C), float32

    Raises
    ------
    InputError
        If ``weight`` or ``bias`` are not (C,), or a token has no numbers at all.

    Notes
    -----
    Accuracy: ``TOLERANCE`` · eps, float32's, times ``|y − bias| + |bias| + |μ|/√(σ² + ε) · |weight|``. The last term
    is what subtracting a large mean costs.
    """
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
