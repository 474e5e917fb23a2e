"""stub"""
from __future__ import annotations

import numpy as np

from minisam_kernels.elementary import exp
from minisam_kernels.head_products import add_head_products
from minisam_kernels.jit import jit

@jit
def scale_rows(x, scale, place, out):
    for k in range(x.shape[0]):
        for n in range(scale.size):
            out[k, n] = x[k, n] * scale[n] + place[k, n]


@jit
def image_to_tokens_tile(k, bias, q, known, scores):
    """k (heads, T − 1, D), bias (heads · (T − 1),), q (heads · D, P); scores (heads · (T − 1), P) hold a part of them if ``known``."""
    heads, others, _ = k.shape
    pixels = scores.shape[1]
    for r in range(len(scores)):
        if known:
            for n in range(pixels):
                scores[r, n] += bias[r]
        else:
            for n in range(pixels):
                scores[r, n] = bias[r]
    add_head_products(k, q, scores)
    largest, totals = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
    for h in range(heads):
        rows = scores[h * others : (h + 1) * others]
        for n in range(pixels):
            largest[n] = 0
        for t in range(others):
            for n in range(pixels):
                largest[n] = rows[t, n] if rows[t, n] > largest[n] else largest[n]
        for n in range(pixels):
            totals[n] = exp(-largest[n])
        for t in range(others):
            for n in range(pixels):
                e = exp(rows[t, n] - largest[n])
                rows[t, n] = e
                totals[n] += e
        for n in range(pixels):
            totals[n] = np.float32(1) / totals[n]
        for t in range(others):
            for n in range(pixels):
                rows[t, n] *= totals[n]
