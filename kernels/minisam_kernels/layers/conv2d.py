"""Convolution of a channels-last image: every output token is a linear function of a small patch of the input::

    y[b, i, j, o] = bias[o] + Σ over u, v, c of weight[o, c, u, v] · x[b, s·i + u − p, s·j + v − p, c],    x = 0 outside

with stride s and padding p (chapter 5, eq-conv2d). Source: ``torch.nn.functional.conv2d`` (a cross-correlation: the
kernel is not flipped). SAM has it as 1×1 and 3×3 (p = 1) in the encoder's neck, and as 2×2 (s = 2) and 1×1 in the
mask prompt.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 8.0  # × eps × magnitude; see ``conv2d``
TILE = 1 << 17  # numbers in one tile of the matrix of patches: half a MiB, which stays in the second-level cache


def conv2d_numpy(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None, stride: int = 1, padding: int = 0
) -> np.ndarray:
    """The equation above, a sum over the positions (u, v) in the patch. In the dtype of x."""
    out_channels, _, kernel_height, kernel_width = weight.shape
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height, width = (x.shape[1] - kernel_height) // stride + 1, (x.shape[2] - kernel_width) // stride + 1
    y = np.zeros((len(x), height, width, out_channels), x.dtype)
    for u in range(kernel_height):
        for v in range(kernel_width):
            seen = x[:, u : u + stride * height : stride, v : v + stride * width : stride]  # (B, H', W', C_in)
            y += seen @ weight[:, :, u, v].T
    return y if bias is None else y + bias


@jit
def _patches(x, first, stride, padding, out):
    """Output rows first, first + 1, … of one image x (H, W, C_in) → their patches, out (rows, W', kh, kw, C_in)."""
    height, width, channels = x.shape
    rows, columns, kernel_height, kernel_width, _ = out.shape
    for i in range(rows):
        for j in range(columns):
            for u in range(kernel_height):
                for v in range(kernel_width):
                    # x[s·i + u − p, s·j + v − p], zeros outside
                    y, z = stride * (first + i) + u - padding, stride * j + v - padding
                    if 0 <= y < height and 0 <= z < width:
                        for c in range(channels):
                            out[i, j, u, v, c] = x[y, z, c]
                    else:
                        for c in range(channels):
                            out[i, j, u, v, c] = np.float32(0)


def conv2d(
    x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None = None, stride: int = 1, padding: int = 0
) -> np.ndarray:
    """Convolve images with a small kernel.

    Parameters
    ----------
    x : array_like, shape (B, H, W, C_in)
        Images of tokens.
    weight : array_like, shape (C_out, C_in, kh, kw)
        The kernel.
    bias : array_like, shape (C_out,), optional
    stride : int
        s; what does not fill a whole stride at the right and bottom is not read.
    padding : int
        p, the zeros at each edge of the image.

    Returns
    -------
    ndarray, shape (B, H', W', C_out), float32
        ``H' = (H + 2p − kh) // s + 1``, and W' likewise.

    Raises
    ------
    InputError
        If a shape does not fit, the stride is below 1, the padding below 0, or the kernel is larger than the padded
        image.

    Notes
    -----
    Accuracy: ``TOLERANCE`` · eps times ``Σ |weight · x| + |bias|``. A sum of n rounded terms is off by about
    √n / 2 · eps of that; n ≤ 256 in the tests, and n / 2 could be reached only if all roundings went one way.
    """
    x, weight = as_float32("x", x), as_float32("weight", weight)
    expect_ndim("x", x, 4, "(B, H, W, C)")
    expect_ndim("weight", weight, 4, "(C_out, C_in, kh, kw)")
    batch, height, width, in_channels = x.shape
    out_channels, _, kernel_height, kernel_width = weight.shape
    expect_shape("weight", weight, (out_channels, in_channels, kernel_height, kernel_width))
    if stride < 1 or padding < 0:
        raise InputError(f"expected stride >= 1 and padding >= 0, got {stride} and {padding}")
    if not (1 <= kernel_height <= height + 2 * padding and 1 <= kernel_width <= width + 2 * padding):
        expected = f"from (1, 1) to (H + 2 padding, W + 2 padding) = {height + 2 * padding, width + 2 * padding}"
        raise InputError(f"expected a kernel of size {expected}, got {kernel_height, kernel_width}")
    rows = (height + 2 * padding - kernel_height) // stride + 1
    columns = (width + 2 * padding - kernel_width) // stride + 1
    out = np.empty((batch, rows, columns, out_channels), np.float32)
    if bias is not None:
        bias = as_float32("bias", bias)
        expect_shape("bias", bias, (out_channels,))

    # One product with patches copied tile by tile, not a product and a sum for each (u, v) as above. Measured on the
    # neck, processor time: 72 ms instead of 98 on 64 × 64 tokens with C = 256, 4.3 instead of 8.0 on 32 × 32 with 128.
    matrix = weight.transpose(2, 3, 1, 0).reshape(-1, out_channels)  # (kh·kw·C_in, C_out), the order of a patch
    tile = max(1, TILE // max(1, columns * len(matrix)))  # output rows in one piece
    pieces = -(-rows // tile)
    one_by_one = kernel_height == kernel_width == stride == 1 and padding == 0

    def piece(index: int) -> None:
        b, first = index // pieces, index % pieces * tile
        target = out[b, first : first + tile]
        if one_by_one:
            patches = x[b, first : first + tile]
        else:
            patches = np.empty((*target.shape[:2], kernel_height, kernel_width, in_channels), np.float32)
            _patches(x[b], first, stride, padding, patches)
        # Σ over (u, v, c) of weight · x, and the bias
        target = target.reshape(-1, out_channels)
        np.matmul(patches.reshape(-1, len(matrix)), matrix, out=target)
        if bias is not None:
            target += bias

    parallel_for(piece, batch * pieces)
    return out
