"""A few tokens read many image tokens whose keys and values are sums of two parts, tile by tile in one pass::

    A = softmax over n of  Σ q[h, t, d] (scale[n] k[h, d, n] + position[h, d, n]) + Σ factors[(h, t), j] features[j, n]
    mixed[h, t, d] = Σ A[h, t, n] scale[n] v[h, d, n]
    rest[(h, t), j] = Σ A[h, t, n] features[j, n]

Source: Vaswani et al. 2017, eq. 1, reassociated: a value is scale · v + features · (something that does not depend on
the pixel), so the features are mixed first and meet that something once. The softmax runs over tiles: each keeps its
maximum, its sum and its mixtures, and they are put together in the tiles' order (Milakov & Gimelshein 2018).

Shapes: q (heads, T, D); k, position, v (heads, D, N); scale (N,); factors (heads · T, K); features (K, N) →
mixed (heads, T, D), rest (heads · T, K). K may be 0.
Errors: ``InputError`` when shapes do not fit or there is no image token.
Accuracy: ``TOLERANCE`` · eps · (1 + largest Σ of absolute terms of a score) · largest ``|scale v|`` or ``|features|``.
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.decoder.head_products import add_head_products, scale_and_add, write_head_moments
from minisam_kernels.runtime.elementary import exp
from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit

TOLERANCE = 8.0  # × eps × magnitude; see above
LANES = 8  # running maxima: LLVM makes no vector code of a single one


def tokens_to_image_numpy(q, k, position, v, scale, factors, features):
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


@jit
def merge_tiles(largest, totals, moments, mixtures, mixed, rest):
    """largest, totals (tiles, R), moments (tiles, R, D), mixtures (tiles, R, K) → mixed (R, D), rest (R, K)."""
    tiles, rows = largest.shape
    for r in range(rows):
        top = largest[0, r]
        for i in range(tiles):
            top = largest[i, r] if largest[i, r] > top else top
        total = np.float32(0)
        mixed[r] = np.float32(0)
        rest[r] = np.float32(0)
        for i in range(tiles):
            share = exp(largest[i, r] - top)  # of the tile's sums in those of all tiles
            total += share * totals[i, r]
            for d in range(mixed.shape[1]):
                mixed[r, d] += share * moments[i, r, d]
            for j in range(rest.shape[1]):
                rest[r, j] += share * mixtures[i, r, j]
        for d in range(mixed.shape[1]):
            mixed[r, d] /= total
        for j in range(rest.shape[1]):
            rest[r, j] /= total


def tokens_to_image(
    q: np.ndarray,
    k: np.ndarray,
    position: np.ndarray,
    v: np.ndarray,
    scale: np.ndarray,
    factors: np.ndarray,
    features: np.ndarray,
    tile: int = 256,
) -> tuple[np.ndarray, np.ndarray]:
    """Float32 mixed (heads, T, D) and rest (heads · T, K), ``tile`` image tokens at a time. See the module's text."""
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

    def padded(x: np.ndarray, i: int) -> np.ndarray:  # (R, N) → (R, tile), zeros behind the end
        part = x.reshape(-1, pixels)[:, i * tile : (i + 1) * tile]
        return np.pad(part, ((0, 0), (0, tile - part.shape[1])))

    for i in range(tiles):
        known_features = padded(features, i)
        scores = factors @ known_features
        count = min(tile, pixels - i * tile)
        image = padded(k, i), padded(position, i), padded(v, i), padded(scale, i)[0]
        tokens_to_image_tile(q, *image, True, count, scores, largest[i], totals[i], moments[i])
        np.matmul(scores, known_features.T, out=mixtures[i])
    mixed, rest = np.empty((heads, tokens, width), np.float32), np.empty((rows, known), np.float32)
    merge_tiles(largest, totals, moments.reshape(tiles, rows, width), mixtures, mixed.reshape(rows, width), rest)
    return mixed, rest
