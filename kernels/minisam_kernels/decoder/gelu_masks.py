"""What follows the second transposed convolution of the mask decoder, on a tile of image tokens: GELU and the masks::

    logits[m] = Σ over c of vectors[m, c] · GELU(Y[c] + b[c])        each of a corner's four corners

Source: the last ``GELU`` of the released code's ``output_upscaling``, and the hypernetworks' product. Y is a matrix
product by BLAS of what ``norm_gelu`` leaves of one of a token's corners. A tile's logits are all that is written.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.decoder.head_products import add_head_products
from minisam_kernels.decoder.norm_gelu import clipped_gelu
from minisam_kernels.layers.gelu import gelu_numpy
from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit

TOLERANCE = 16.0  # × eps × magnitude; see ``gelu_masks``
_0 = np.float32(0)


def gelu_masks_numpy(y: np.ndarray, bias: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The equation above → (M, 4, P), in the dtype of y, the corners not yet in their places."""
    return np.einsum("mc,kcp->mkp", vectors, gelu_numpy(y.reshape(4, len(bias), -1) + bias[:, None]))


@jit
def gelu_masks_tile(y, bias, vectors, corner, first, width, out):
    """The equation above, written to out (M, 4h, 4w). Columns behind the image's end are left out."""
    masks, channels = vectors.shape
    pixels = y.shape[1]
    count = min(pixels, (out.shape[1] // 4) * width - first)
    bent, answers = np.empty((channels, pixels), np.float32), np.empty((masks, pixels), np.float32)
    for inner in range(4):
        # bent = GELU(Y + b) of this corner of the corner, whose pixel is [4 i + down, 4 j + right].
        for c in range(channels):
            row, target, b = y[inner * channels + c], bent[c], bias[c]
            for n in range(pixels):
                target[n] = clipped_gelu(row[n] + b)
        down, right = 2 * (corner // 2) + inner // 2, 2 * (corner % 2) + inner % 2
        # answers = Σ over c of vectors · bent, then to their pixels, every fourth of a row.
        answers[:] = _0
        add_head_products(vectors.reshape(1, masks, channels), bent, answers)
        for m in range(masks):
            for i in range(first // width, -(-(first + count) // width)):  # rows of the image
                row = out[m, 4 * i + down]
                for n in range(max(first, i * width), min(first + count, (i + 1) * width)):
                    row[4 * (n - i * width) + right] = answers[m, n - first]


def gelu_masks(
    y: npt.ArrayLike, bias: npt.ArrayLike, vectors: npt.ArrayLike, corner: int, first: int, width: int, out: np.ndarray
) -> None:
    """Write a tile's logits of one corner to their pixels.

    Parameters
    ----------
    y : array_like, shape (4 · C, P)
        The second convolution of one corner; rows are (corner of the corner, channel), columns image tokens.
    bias : array_like, shape (C,)
    vectors : array_like, shape (M, C)
        One mask vector per mask.
    corner : int
        Which corner of the tokens, 0 to 3, row by row.
    first, width : int
        The image token at the first column of ``y``, and how many of them a row of the image has.
    out : ndarray, shape (M, 4h, 4w), float32
        Written at [4 i + …, 4 j + …]. Columns of ``y`` behind the image's end are left out.

    Raises
    ------
    InputError
        If shapes do not fit, ``corner`` or ``first`` lies outside, or ``out`` is not float32.

    Notes
    -----
    Accuracy: ``TOLERANCE`` · eps · Σ ``|vectors| (|y| + |b|)``.
    """
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
