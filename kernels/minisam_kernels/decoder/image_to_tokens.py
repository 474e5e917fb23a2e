"""Attention weights of a tile of image tokens over a few prompt tokens, of which the last one is implied.

    A[h, t, n] = e^s / (1 + Σ over t' of e^s'),    s = S[h, t, n] + b[h, t] + Σ over d of k[h, t, d] · Q[h, d, n]
    Q = scale[n] · q[h, d, n] + place[h, d, n]

Source: softmax over T tokens (Vaswani et al. 2017, eq. 1) does not change when the same number is taken off all scores.
Take off the last token's: k and b then hold differences, the last score is 0 and its weight what the others leave, so
a tile has (T − 1) rows a head instead of T. S is a part of the scores that is known already. In the first layer there
is none, and Q is q.

Shapes: k (heads, T − 1, D); bias (heads, T − 1); q, place (heads, D, P); scale (P,); scores S (heads, T − 1, P) →
(heads, T − 1, P). The last three may be None, all together.
Errors: ``InputError`` when shapes do not fit.
Accuracy: ``TOLERANCE`` · eps · (1 + largest Σ of absolute terms of a score), since weights are at most 1.
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.decoder.head_products import add_head_products, scale_and_place
from minisam_kernels.runtime.elementary import exp
from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit

TOLERANCE = 8.0  # × eps × magnitude; see above

_0, _1 = np.float32(0), np.float32(1)


def image_to_tokens_numpy(k, bias, q, place=None, scale=None, scores=None):
    """The equations above. → (heads, T − 1, P), in the dtype of k."""
    s = bias[:, :, None] + (k @ q if scores is None else k @ (scale * q + place) + scores)
    largest = np.maximum(s.max(axis=1, keepdims=True, initial=0), 0)
    weights = np.exp(s - largest)
    return weights / (np.exp(-largest) + weights.sum(axis=1, keepdims=True))


@jit
def image_to_tokens_tile(k, bias, q, place, scale, known, scores):
    """k (heads, T − 1, D), bias (heads · (T − 1),), q, place (heads · D, P) → weights, in scores (heads · (T − 1), P),
    which hold a part of the scores if ``known``; if not, q is taken as it is. Image tokens side by side make every
    step a vector instruction."""
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
        if known:  # a head at a time: its queries stay in the nearest cache
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


def image_to_tokens(
    k: np.ndarray,
    bias: np.ndarray,
    q: np.ndarray,
    place: np.ndarray | None = None,
    scale: np.ndarray | None = None,
    scores: np.ndarray | None = None,
) -> np.ndarray:
    """The weights of all tokens but the last → float32 (heads, T − 1, P). See the module's text."""
    k, bias, q = as_float32("k", k), as_float32("bias", bias), as_float32("q", q)
    expect_ndim("k", k, 3, "(heads, T − 1, D)")
    expect_ndim("q", q, 3, "(heads, D, P)")
    heads, others, width = k.shape
    pixels = q.shape[2]
    expect_shape("q", q, (heads, width, pixels))
    expect_shape("bias", bias, (heads, others))
    out = np.empty((heads, others, pixels), np.float32)
    known = place is not None and scale is not None and scores is not None
    if place is not None and scale is not None and scores is not None:
        place, scale, scores = as_float32("place", place), as_float32("scale", scale), as_float32("scores", scores)
        for name, array, shape in zip(
            ("place", "scale", "scores"), (place, scale, scores), (q.shape, (pixels,), out.shape)
        ):
            expect_shape(name, array, shape)
        out[...] = scores
    elif not (place is None and scale is None and scores is None):
        raise InputError("expected place, scale and scores together, got some of them")
    else:
        place, scale = q, np.ones(pixels, np.float32)  # not read
    rows = out.reshape(heads * others, pixels)
    flat = (array.reshape(heads * width, pixels) for array in (q, place))
    image_to_tokens_tile(k, bias.reshape(-1), *flat, scale, known, rows)
    return out
