"""Attention weights of a tile of image tokens over a few prompt tokens, of which the last one is implied::

    A[h, t, n] = e^s / (1 + Σ over t' of e^s'),    s = S[h, t, n] + b[h, t] + Σ over d of k[h, t, d] · Q[h, d, n]
    Q = scale[n] · q[h, d, n] + position[h, d, n]

Source: softmax over T tokens (Vaswani et al. 2017, eq. 1) does not change when the same number is taken off all scores.
Take off the last token's: k and b then hold differences, the last score is 0 and its weight what the others leave, so
a tile has (T − 1) rows a head instead of T. S is a part of the scores that is known already. In the first layer there
is none, and Q is q.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.decoder.head_products import add_head_products, scale_and_add
from minisam_kernels.runtime.elementary import exp
from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit

TOLERANCE = 8.0  # × eps × magnitude; see ``image_to_tokens``
_0, _1 = np.float32(0), np.float32(1)


def image_to_tokens_numpy(
    k: np.ndarray,
    bias: np.ndarray,
    q: np.ndarray,
    position: np.ndarray | None = None,
    scale: np.ndarray | None = None,
    scores: np.ndarray | None = None,
) -> np.ndarray:
    """The equations above. → (heads, T − 1, P), in the dtype of k."""
    s = bias[:, :, None] + (k @ q if scores is None else k @ (scale * q + position) + scores)
    largest = np.maximum(s.max(axis=1, keepdims=True, initial=0), 0)
    weights = np.exp(s - largest)
    return weights / (np.exp(-largest) + weights.sum(axis=1, keepdims=True))


@jit
def image_to_tokens_tile(k, bias, q, position, scale, known, scores):
    """k (heads, T − 1, D), bias (heads · (T − 1),), q, position (heads · D, P) → weights, in scores (heads · (T − 1),
    P), which hold S if ``known``; if not, q is taken as it is. Image tokens side by side make every step a vector
    instruction."""
    heads, others, width = k.shape
    pixels = scores.shape[1]
    largest, totals = np.empty(pixels, np.float32), np.empty(pixels, np.float32)
    positioned = np.empty((width, pixels), np.float32)
    for h in range(heads):
        rows, queries = scores[h * others : (h + 1) * others], q[h * width : (h + 1) * width]
        # s = S + b + k · Q. A head at a time: its queries stay in the nearest cache.
        for t in range(others):
            row, b = rows[t], bias[h * others + t]
            for n in range(pixels):
                row[n] = row[n] + b if known else b
        if known:
            scale_and_add(queries, scale, position[h * width : (h + 1) * width], positioned)
            queries = positioned
        add_head_products(k[h : h + 1], queries, rows)
        # The largest score per pixel, the last token's 0 among them.
        largest[:] = _0
        for t in range(others):
            row = rows[t]
            for n in range(pixels):
                largest[n] = row[n] if row[n] > largest[n] else largest[n]
        # e^(s − largest), and its sum over the tokens, which begins with the last one's.
        for n in range(pixels):
            totals[n] = exp(-largest[n])
        for t in range(others):
            row = rows[t]
            for n in range(pixels):
                e = exp(row[n] - largest[n])
                row[n] = e
                totals[n] += e
        # A = e^(s − largest) / sum.
        for n in range(pixels):
            totals[n] = _1 / totals[n]
        for t in range(others):
            row = rows[t]
            for n in range(pixels):
                row[n] *= totals[n]


@jit
def image_to_tokens_tiles(k, bias, q, position, scale, group, features):
    """The same for B prompts about the same tile: k (B, heads, T − 1, D), bias (B, heads · (T − 1)). features (B, K, P)
    have the scale in row ``scale``; scores are rows of the ``group``-th group, which ends with a row of ones."""
    count = bias.shape[1]
    start = group * (count + 1)
    for b in range(len(k)):
        rows = features[b, start : start + count]
        image_to_tokens_tile(k[b], bias[b], q, position, features[b, scale], group > 0, rows)
        features[b, start + count] = _1


def image_to_tokens(
    k: npt.ArrayLike,
    bias: npt.ArrayLike,
    q: npt.ArrayLike,
    position: npt.ArrayLike | None = None,
    scale: npt.ArrayLike | None = None,
    scores: npt.ArrayLike | None = None,
) -> np.ndarray:
    """Compute the weights of all tokens but the last, which has what they leave of 1.

    Parameters
    ----------
    k : array_like, shape (heads, T − 1, D)
    bias : array_like, shape (heads, T − 1)
    q : array_like, shape (heads, D, P)
    position, scale, scores : array_like, shapes (heads, D, P), (P,), (heads, T − 1, P), optional
        All three or none; scores are S.

    Returns
    -------
    ndarray, shape (heads, T − 1, P), float32

    Raises
    ------
    InputError
        If shapes do not fit, or one or two of the last three are given.

    Notes
    -----
    Accuracy: within ``TOLERANCE`` · eps · (1 + largest Σ of absolute terms of a score), since weights are at most 1.
    """
    k, bias, q = as_float32("k", k), as_float32("bias", bias), as_float32("q", q)
    expect_ndim("k", k, 3, "(heads, T − 1, D)")
    expect_ndim("q", q, 3, "(heads, D, P)")
    heads, others, width = k.shape
    pixels = q.shape[2]
    expect_shape("q", q, (heads, width, pixels))
    expect_shape("bias", bias, (heads, others))
    out = np.empty((heads, others, pixels), np.float32)
    known = position is not None and scale is not None and scores is not None
    if position is not None and scale is not None and scores is not None:
        position, scale, scores = map(as_float32, ("position", "scale", "scores"), (position, scale, scores))
        expect_shape("position", position, q.shape)
        expect_shape("scale", scale, (pixels,))
        expect_shape("scores", scores, out.shape)
        out[...] = scores
    elif not (position is None and scale is None and scores is None):
        raise InputError("expected position, scale and scores together, got some of them")
    else:
        position, scale = q, np.ones(pixels, np.float32)  # not read
    rows = out.reshape(heads * others, pixels)
    flat = (array.reshape(heads * width, pixels) for array in (q, position))
    image_to_tokens_tile(k, bias.reshape(-1), *flat, scale, known, rows)
    return out
