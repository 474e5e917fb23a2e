"""stub"""
from __future__ import annotations

import numpy as np

from minisam_kernels.elementary import exp
from minisam_kernels.head_products import add_head_products, head_moments
from minisam_kernels.jit import jit


@jit
def tokens_to_image_tile(q, k, v, scale, known, count, scores, largest, totals, moments):
    """q (heads, T, D), k (heads · D, P), v (heads · D, P), scale (P,); scores (heads · T, P) become weights.

    largest, totals (heads · T,), moments (heads, T, D).
    """
    heads, tokens, _ = q.shape
    pixels = scores.shape[1]
    if not known:
        scores[:] = np.float32(0)
    add_head_products(q, k, scores)
    scaled = np.empty((tokens, pixels), np.float32)
    lanes = np.empty(8, np.float32)
    for h in range(heads):
        for t in range(tokens):
            r = h * tokens + t
            row, line = scores[r], scaled[t]
            top = row[0]
            if count >= 8:
                for i in range(8):
                    lanes[i] = row[i]
                for n in range(8, count - 7, 8):
                    for i in range(8):
                        lanes[i] = row[n + i] if row[n + i] > lanes[i] else lanes[i]
                for i in range(8):
                    top = lanes[i] if lanes[i] > top else top
            for n in range(count - count % 8, count):
                top = row[n] if row[n] > top else top
            total = np.float32(0)
            for n in range(count):
                e = exp(row[n] - top)
                row[n] = e
                line[n] = e * scale[n]
                total += e
            for n in range(count, pixels):
                row[n] = 0
                line[n] = 0
            largest[r], totals[r] = top, total
        width = q.shape[2]
        head_moments(scaled, v[h * width : (h + 1) * width], moments[h : h + 1])
