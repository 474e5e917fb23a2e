"""Attention weights of a tile of image tokens over a few prompt tokens, of which the last one is implied.

    A[h, t, n] = e^s / (1 + Σ over t' of e^s'),    s = S[h, t, n] + b[h, t] + Σ over d of k[h, t, d] · q[h, d, n]

Source: softmax over T tokens (Vaswani et al. 2017, eq. 1) does not change when the same number is taken off all scores.
Take off the last token's: k and b then hold differences, the last score is 0 and its weight what the others leave, so
a tile has (T − 1) rows a head instead of T. S is a part of the scores that is known already, or nothing.

Shapes: k (heads, T − 1, D); bias (heads, T − 1); q (heads, D, P); scores (heads, T − 1, P) or None → (heads, T − 1, P).
Errors: ``InputError`` when shapes do not fit.
Accuracy: ``TOLERANCE`` · eps · (1 + largest Σ of absolute terms of a score), since weights are at most 1.
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.elementary import exp
from minisam_kernels.errors import as_float32, expect_ndim, expect_shape
from minisam_kernels.head_products import add_head_products, scale_and_place
from minisam_kernels.jit import jit

TOLERANCE = 8.0  # × eps × magnitude; see above

_0, _1 = np.float32(0), np.float32(1)


def image_to_tokens_numpy(k: np.ndarray, bias: np.ndarray, q: np.ndarray, scores: np.ndarray | None) -> np.ndarray:
    """The equation above. → (heads, T − 1, P), in the dtype of k."""
    s = bias[:, :, None] + k @ q
    s = s if scores is None else s + scores
    largest = np.maximum(s.max(axis=1, keepdims=True, initial=0), 0)
    weights = np.exp(s - largest)
    return weights / (np.exp(-largest) + weights.sum(axis=1, keepdims=True))


@jit
def image_to_tokens_tile(k, bias, q, place, scale, known, scores):
    """k (heads, T − 1, D), bias (heads · (T − 1),), q (heads · D, P) → weights, in scores (heads · (T − 1), P), which
    hold a part of the scores if ``known``. Image tokens side by side make every step a vector instruction."""
    heads, others, width = k.shape
    pixels = scores.shape[1]
    largest, totals = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
    placed = np.empty((width, pixels), np.float32)
    for h in range(heads):
        rows, queries = scores[h * others : (h + 1) * others], q[h * width : (h + 1) * width]
        for t in range(others):
            row, b = rows[t], bias[h * others + t]
            for n in range(pixels):
                row[n] = row[n] + b if known else b
        if known:  # a head at a time: the sums stay in the nearest cache
            scale_and_place(queries, scale, place[h * width : (h + 1) * width], placed)
            queries = placed
        add_head_products(k[h : h + 1], queries, rows)
        largest[:] = _0
        for t in range(others):
            row = rows[t]
            for n in range(pixels):
                largest[n] = row[n] if row[n] > largest[n] else largest[n]
        for n in range(pixels):
            totals[n] = exp(-largest[n])
        for t in range(others):
            row = rows[t]
            for n in range(pixels):
                e = exp(row[n] - largest[n])
                row[n] = e
                totals[n] += e
        for n in range(pixels):
            totals[n] = _1 / totals[n]
        for t in range(others):
            row = rows[t]
            for n in range(pixels):
                row[n] *= totals[n]


@jit
def image_to_tokens_tiles(k, bias, q, place, scale, group, features):
    """The same for B prompts about the same tile: k (B, heads, T − 1, D), bias (B, heads · (T − 1)). features (B, K, P)
    have the scale in row ``scale``; scores are rows of the ``group``-th group, which ends with a row of ones."""
    count = bias.shape[1]
    start = group * (count + 1)
    for b in range(len(k)):
        rows = features[b, start : start + count]
        image_to_tokens_tile(k[b], bias[b], q, place, features[b, scale], group > 0, rows)
        features[b, start + count] = _1


def image_to_tokens(k: np.ndarray, bias: np.ndarray, q: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
    """The weights of all tokens but the last → float32 (heads, T − 1, P). See the module's text."""
    k, bias, q = as_float32("k", k), as_float32("bias", bias), as_float32("q", q)
    expect_ndim("k", k, 3, "(heads, T − 1, D)")
    expect_ndim("q", q, 3, "(heads, D, P)")
    heads, others, width = k.shape
    pixels = q.shape[2]
    expect_shape("q", q, (heads, width, pixels))
    expect_shape("bias", bias, (heads, others))
    out = np.empty((heads, others, pixels), np.float32)
    if scores is not None:
        expect_shape("scores", scores, out.shape)
        out[...] = scores
    rows = out.reshape(heads * others, pixels)
    image_to_tokens_tile(k, bias.reshape(-1), q.reshape(heads * width, pixels), scores is not None, rows)
    return out
