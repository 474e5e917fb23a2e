"""Products of a few tokens with a tile of image tokens, head by head, as attention wants them. Image tokens lie side by side.

    Y[h, t, n] = Y[h, t, n] + Σ over d of A[h, t, d] · X[h, d, n]        ``head_products``
    A[h, t, d] = Σ over n of Y[h, t, n] · X[h, d, n]                     ``head_moments``, its transpose
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.jit import jit

TOLERANCE = 8.0


@jit
def add_head_products(a, x, y):
    """a (heads, T, D), x (heads · D, P), y (heads · T, P), which is added to. Four channels at a time."""
    heads, tokens, width = a.shape
    for h in range(heads):
        for t in range(tokens):
            target = y[h * tokens + t]
            for d in range(0, width, 4):
                d1, d2, d3 = min(d + 1, width - 1), min(d + 2, width - 1), min(d + 3, width - 1)
                a0 = a[h, t, d]
                a1 = a[h, t, d1] if d + 1 < width else np.float32(0)
                a2 = a[h, t, d2] if d + 2 < width else np.float32(0)
                a3 = a[h, t, d3] if d + 3 < width else np.float32(0)
                x0, x1, x2, x3 = x[h * width + d], x[h * width + d1], x[h * width + d2], x[h * width + d3]
                for n in range(target.size):
                    target[n] += a0 * x0[n] + a1 * x1[n] + a2 * x2[n] + a3 * x3[n]


@jit
def head_moments(y, x, a):
    """y (heads · T, P), x (heads · D, P) → a (heads, T, D)."""
    heads, tokens, width = a.shape
    for h in range(heads):
        for t in range(tokens):
            weights = y[h * tokens + t]
            for d in range(0, width, 4):
                d1, d2, d3 = min(d + 1, width - 1), min(d + 2, width - 1), min(d + 3, width - 1)
                x0, x1, x2, x3 = x[h * width + d], x[h * width + d1], x[h * width + d2], x[h * width + d3]
                s0 = s1 = s2 = s3 = np.float32(0)
                for n in range(weights.size):
                    s0 += weights[n] * x0[n]
                    s1 += weights[n] * x1[n]
                    s2 += weights[n] * x2[n]
                    s3 += weights[n] * x3[n]
                a[h, t, d], a[h, t, d1], a[h, t, d2], a[h, t, d3] = s0, s1, s2, s3
