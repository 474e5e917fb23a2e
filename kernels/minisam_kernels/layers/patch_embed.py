"""Patch embedding: the image cut into p × p squares, each mapped linearly to one token::

    y[b, i, j, c] = Σ_{r, s, k} image[b, i · p + r, j · p + s, k] · weight[c, k, r, s] + bias[c]

Chapter 2, eq-patch-embed. Source: Dosovitskiy et al. 2020, eq. 1; ``torch.nn.functional.conv2d`` with stride = kernel
size. As no two patches overlap, the convolution is a copy that lays each patch out as a row, and one matrix product.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.layers.linear import TOLERANCE, linear
from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit
from minisam_kernels.runtime.threads import parallel_for

__all__ = ["TOLERANCE", "patch_embed", "patch_embed_numpy"]


def patch_embed_numpy(image: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The equation above. image (B, H, W, 3) → (B, H/p, W/p, C), in the dtype of image."""
    B, H, W, channels = image.shape
    p = weight.shape[-1]
    patches = image.reshape(B, H // p, p, W // p, p, channels)  # (B, i, r, j, s, k)
    return np.einsum("birjsk,ckrs->bijc", patches, weight) + bias


@jit
def _unfold_row(image, patches):
    """One row of patches: image (p, W, 3) → patches (W/p, p · p · 3), each in the order (row, column, channel)."""
    p, _, channels = image.shape
    for j in range(patches.shape[0]):
        n = 0
        for r in range(p):
            for s in range(p):
                for k in range(channels):
                    patches[j, n] = image[r, j * p + s, k]
                    n += 1


def patch_embed(image: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike) -> np.ndarray:
    """Make one token of each patch.

    Parameters
    ----------
    image : array_like, shape (B, H, W, 3)
        Images; p divides H and W.
    weight : array_like, shape (C, 3, p, p)
    bias : array_like, shape (C,)

    Returns
    -------
    ndarray, shape (B, H/p, W/p, C), float32

    Raises
    ------
    InputError
        If the sizes do not fit, or p does not divide H and W.

    Notes
    -----
    Accuracy: that of ``linear``, with Σ over the patch.
    """
    image, weight, bias = as_float32("image", image), as_float32("weight", weight), as_float32("bias", bias)
    expect_ndim("image", image, 4, "(B, H, W, 3)")
    expect_ndim("weight", weight, 4, "(C, 3, p, p)")
    B, H, W, channels = image.shape
    C, p = weight.shape[0], weight.shape[-1]
    expect_shape("weight", weight, (C, channels, p, p))
    expect_shape("bias", bias, (C,))
    if p < 1:
        raise InputError(f"expected a patch size >= 1, got {p}")
    if H % p or W % p:
        raise InputError(f"expected an image whose height and width are multiples of {p}, got {H} x {W}")
    patches = np.empty((B, H // p, W // p, p * p * channels), np.float32)

    def piece(i: int) -> None:
        b, row = divmod(i, H // p)
        _unfold_row(image[b, row * p : (row + 1) * p], patches[b, row])

    parallel_for(piece, B * (H // p))
    return linear(patches, weight.transpose(0, 2, 3, 1).reshape(C, p * p * channels), bias)
