"""A few tokens read many image tokens whose keys and values are sums of two parts, tile by tile in one pass::

    A = softmax over n of  Σ q[h, t, d] (scale[n] k[h, d, n] + position[h, d, n]) + Σ factors[(h, t), j] features[j, n]
    mixed[h, t, d] = Σ A[h, t, n] scale[n] v[h, d, n]
    rest[(h, t), j] = Σ A[h, t, n] features[j, n]

Source: Vaswani et al. 2017, eq. 1, reassociated: a value is scale · v + features · (something that does not depend on
the pixel), so the features are mixed first and meet that something once. The softmax runs over tiles: each keeps its
maximum, its sum and its mixtures, and they are put together in the tiles' order (Milakov & Gimelshein 2018).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.decoder.head_products import add_head_products, scale_and_add, write_head_moments
from minisam_kernels.decoder.merge_tiles import merge_tiles
from minisam_kernels.runtime.elementary import exp
from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit

TOLERANCE = 8.0  # × eps × magnitude; see ``tokens_to_image``
LANES = 8  # running maxima: LLVM makes no vector code of a single one


def tokens_to_image_numpy(
    q: np.ndarray,
    k: np.ndarray,
    position: np.ndarray,
    v: np.ndarray,
    scale: np.ndarray,
    factors: np.ndarray,
    features: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The equations above → mixed (heads, T, D), rest (heads · T, K), in the dtype of q."""
    heads, tokens, _ = q.shape
    scores = q @ (scale * k + position) + (factors @ features).reshape(heads, tokens, -1)
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    return weights @ (scale * v).transpose(0, 2, 1), weights.reshape(heads * tokens, -1) @ features.T


@jit
def tokens_to_image_tile(q, k, position, v, scale, known, count, scores, largest, totals, moments):
    """k, position, v (heads · D, P); scores (heads · T, P) hold factors · features if ``known``, become e^(s − top) and
    0 from ``count`` on; without ``known``, k is taken as it is. largest, totals (heads · T,), moments (heads, T, D)."""
    heads, tokens, width = q.shape
    pixels = scores.shape[1]
    if not known:
        scores[:] = np.float32(0)
    scaled, lanes = np.empty((tokens, pixels), np.float32), np.empty(LANES, np.float32)
    positioned = np.empty((width, pixels), np.float32)
    for h in range(heads):
        keys = k[h * width : (h + 1) * width]
        if known:  # scores += q · (scale k + position), a head at a time: its keys stay in the nearest cache
            scale_and_add(keys, scale, position[h * width : (h + 1) * width], positioned)
            keys = positioned
        add_head_products(q[h : h + 1], keys, scores[h * tokens : (h + 1) * tokens])
        for t in range(tokens):
            row, target = scores[h * tokens + t], scaled[t]  # top: the largest score, in lanes first
            lanes[:] = row[0]
            whole = count - count % LANES
            for n in range(0, whole, LANES):
                for i in range(LANES):
                    lanes[i] = row[n + i] if row[n + i] > lanes[i] else lanes[i]
            top = lanes[0]
            for i in range(LANES):
                top = lanes[i] if lanes[i] > top else top
            for n in range(whole, count):
                top = row[n] if row[n] > top else top
            total = np.float32(0)
            for n in range(count):
                e = exp(row[n] - top)  # to be divided by the sum of all tiles
                row[n] = e
                target[n] = e * scale[n]  # its value is scale · v
                total += e
            row[count:] = np.float32(0)
            target[count:] = np.float32(0)
            largest[h * tokens + t], totals[h * tokens + t] = top, total
        write_head_moments(scaled, v[h * width : (h + 1) * width], moments[h : h + 1])


@jit
def tokens_to_image_tiles(q, k, position, v, count, scale, known, features, scores, largest, totals, moments):
    """The same for B prompts about a tile: all but k, position, v have a B in front. scale: a row of features."""
    for b in range(len(q)):
        out = scores[b], largest[b], totals[b], moments[b]
        tokens_to_image_tile(q[b], k, position, v, features[b, scale], known, count, *out)


def tokens_to_image(
    q: npt.ArrayLike,
    k: npt.ArrayLike,
    position: npt.ArrayLike,
    v: npt.ArrayLike,
    scale: npt.ArrayLike,
    factors: npt.ArrayLike,
    features: npt.ArrayLike,
    tile: int = 256,
) -> tuple[np.ndarray, np.ndarray]:
    """Let prompt tokens attend to an image, ``tile`` image tokens at a time.

    Parameters
    ----------
    q : array_like, shape (heads, T, D)
    k, position, v : array_like, shape (heads, D, N)
    scale : array_like, shape (N,)
    factors : array_like, shape (heads · T, K), K ≥ 0
    features : array_like, shape (K, N)
    tile : int

    Returns
    -------
    mixed : ndarray, shape (heads, T, D), float32
    rest : ndarray, shape (heads · T, K), float32

    Raises
    ------
    InputError
        If shapes do not fit, or there is no image token.

    Notes
    -----
    Accuracy: ``TOLERANCE`` · eps · (1 + largest Σ of a score's ``|terms|``) · largest ``|scale v|``, ``|features|``.
    """
    names = ("q", "k", "position", "v", "scale", "factors", "features")
    q, k, position, v, scale, factors, features = map(as_float32, names, (q, k, position, v, scale, factors, features))
    expect_ndim("q", q, 3, "(heads, T, D)")
    expect_ndim("k", k, 3, "(heads, D, N)")
    heads, tokens, width = q.shape
    rows, pixels, known = heads * tokens, k.shape[2], len(features)
    if pixels == 0:
        raise InputError(f"expected at least one image token, got k of shape {k.shape}")
    shapes = (*[(heads, width, pixels)] * 3, (pixels,), (rows, known), (known, pixels))
    for name, array, shape in zip(names[1:], (k, position, v, scale, factors, features), shapes):
        expect_shape(name, array, shape)
    tiles = -(-pixels // tile)
    largest, totals = np.empty((2, tiles, rows), np.float32)
    moments, mixtures = np.empty((tiles, heads, tokens, width), np.float32), np.empty((tiles, rows, known), np.float32)
    # (R, N) → (tiles, R, tile), zeros behind the end.
    padded = (np.pad(x.reshape(-1, pixels), ((0, 0), (0, -pixels % tile))) for x in (k, position, v, scale, features))
    *image, features = (np.stack(np.split(x, tiles, axis=1)) for x in padded)
    for i, (keys, positions, values, scales) in enumerate(zip(*image)):
        scores, count = factors @ features[i], min(tile, pixels - i * tile)
        out = largest[i], totals[i], moments[i]
        tokens_to_image_tile(q, keys, positions, values, scales[0], True, count, scores, *out)
        np.matmul(scores, features[i].T, out=mixtures[i])
    mixed, rest = merge_tiles(largest, totals, moments.reshape(tiles, rows, width), mixtures)
    return mixed.reshape(heads, tokens, width), rest
