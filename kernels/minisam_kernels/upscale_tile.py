"""stub"""
from __future__ import annotations

import math

import numpy as np

from minisam_kernels.elementary import erf
from minisam_kernels.jit import jit

_1, _HALF, _SQRT_HALF = np.float32(1), np.float32(0.5), np.float32(math.sqrt(0.5))


@jit
def norm_gelu_tile(image, scale, bias, weight, shift, eps, x):
    """x (4 · C, P) + scale · image (4 · C, P) + bias (4C,) → LayerNorm over each C, GELU, in place."""
    channels, pixels = len(weight), x.shape[1]
    mean, spread = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
    for corner in range(4):
        first = corner * channels
        mean[:] = np.float32(0)
        spread[:] = np.float32(0)
        for c in range(first, first + channels):
            for n in range(pixels):
                y = x[c, n] + scale[n] * image[c, n] + bias[c]
                x[c, n] = y
                mean[n] += y
        for n in range(pixels):
            mean[n] = mean[n] / np.float32(channels)
        for c in range(first, first + channels):
            for n in range(pixels):
                spread[n] += (x[c, n] - mean[n]) * (x[c, n] - mean[n])
        for n in range(pixels):
            spread[n] = _1 / np.sqrt(spread[n] / np.float32(channels) + eps)
        for c in range(channels):
            for n in range(pixels):
                y = (x[first + c, n] - mean[n]) * spread[n] * weight[c] + shift[c]
                x[first + c, n] = _HALF * y * (_1 + erf(y * _SQRT_HALF))


@jit
def gelu_masks_tile(x, bias, vectors, first, count, width, out):
    """x (4, 4, C, P): corner of the first and of the second doubling; vectors (M, C) → out (M, 4h, 4w) at pixels first …"""
    masks, channels = vectors.shape
    pixels = x.shape[3]
    answers, y = np.empty((masks, pixels), np.float32), np.empty(pixels, np.float32)
    for outer in range(4):
        for inner in range(4):
            answers[:] = np.float32(0)
            for c in range(channels):
                row = x[outer, inner, c]
                for n in range(pixels):
                    t = row[n] + bias[c]
                    y[n] = _HALF * t * (_1 + erf(t * _SQRT_HALF))
                for m in range(masks):
                    for n in range(pixels):
                        answers[m, n] += vectors[m, c] * y[n]
            down, right = 2 * (outer // 2) + inner // 2, 2 * (outer % 2) + inner % 2
            for m in range(masks):
                i, j = divmod(first, width)
                for n in range(count):
                    out[m, 4 * i + down, 4 * j + right] = answers[m, n]
                    j += 1
                    if j == width:
                        i, j = i + 1, 0
