"""Attention among image tokens, with decomposed relative positions: over a window or over the whole image::

    y_i = Σⱼ softmaxⱼ(q_i · k_j · D^−½ + q_i · R_h[h_i, h_j] + q_i · R_w[w_i, w_j]) v_j        for every head

Chapter 3, eq-attention; chapter 4, eq-rel-pos. Source: Vaswani et al. 2017, eq. 1; SAM's ``Attention`` (ViTDet), whose
relative positions multiply the unscaled query (see ``rel_pos``). Pieces are cut alike in each image: the bits depend
neither on the batch nor on the threads. Memory: keys and values once more, and O(N) for each thread, never N × N.

Speed of one of two cores with AVX-512, both busy, whose large products reach 145 GFLOP/s: 84 for 64 × 64 tokens,
D = 64, counting both products, which reach 120; the rest is 0.45 ns a score for the weights, and terms, tiles, sums.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.attn.rel_pos import decomposed_rel_pos_numpy, get_rel_pos_numpy, turned_tables
from minisam_kernels.attn.weights import weigh_with_rel_pos
from minisam_kernels.layers.softmax import softmax_numpy
from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim
from minisam_kernels.runtime.scratch import scratch
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 8.0  # × eps × magnitude; see ``attention``
LOG2_E = 1 / np.log(2)  # exp x = 2^(x log₂ e): scores and biases are made log₂ e times as large, for ``exp2``
# Queries and keys of a product at most. OpenBLAS with AVX-512 multiplies matrices with M · N · K ≤ 10⁶ as they lie, not
# rearranged first, if neither is transposed. For D ≤ 80 these are so small, which takes 9 to 17 % less in all.
ROWS, KEYS = 96, 128


def attention_numpy(
    qkv: np.ndarray, num_heads: int, rel_pos_h: np.ndarray | None = None, rel_pos_w: np.ndarray | None = None
) -> np.ndarray:
    """The equation above, with all N × N scores at once. qkv (B, H, W, 3 · C) → (B, H, W, C), in the dtype of qkv."""
    B, H, W, C = *qkv.shape[:3], qkv.shape[3] // 3
    N, D = H * W, C // num_heads
    q, k, v = qkv.reshape(B, N, 3, num_heads, D).transpose(2, 0, 3, 1, 4)  # each (B, heads, N, D)
    scores = (q * D**-0.5) @ k.transpose(0, 1, 3, 2)  # (B, heads, N, N)
    if rel_pos_h is not None and rel_pos_w is not None:
        rel_h, rel_w = get_rel_pos_numpy(H, H, rel_pos_h), get_rel_pos_numpy(W, W, rel_pos_w)
        bias_h, bias_w = decomposed_rel_pos_numpy(q.reshape(B, num_heads, H, W, D), rel_h, rel_w)
        bias = bias_h[..., :, None] + bias_w[..., None, :]  # (B, heads, H, W, H, W)
        scores = scores + bias.reshape(B, num_heads, N, N)
    y = softmax_numpy(scores) @ v  # (B, heads, N, D)
    return y.transpose(0, 2, 1, 3).reshape(B, H, W, C)


def _check(qkv: npt.ArrayLike, num_heads: int) -> tuple[np.ndarray, int]:
    """qkv as float32, and the width D of a head."""
    qkv = as_float32("qkv", qkv)
    expect_ndim("qkv", qkv, 4, "(B, H, W, 3 * C)")
    if num_heads < 1:
        raise InputError(f"expected num_heads >= 1, got {num_heads}")
    if qkv.shape[3] == 0 or qkv.shape[3] % (3 * num_heads):
        raise InputError(f"expected a last axis of qkv that is a multiple of 3 * {num_heads}, got {qkv.shape[3]}")
    if qkv.shape[1] * qkv.shape[2] == 0:
        raise InputError(f"expected qkv with at least one token, got {qkv.shape}")
    return qkv, qkv.shape[3] // (3 * num_heads)


def attention(
    qkv: npt.ArrayLike, num_heads: int, rel_pos_h: npt.ArrayLike | None = None, rel_pos_w: npt.ArrayLike | None = None
) -> np.ndarray:
    """Let every token of an image look at all of them.

    Parameters
    ----------
    qkv : array_like, shape (B, H, W, 3 · C)
        Of B images or windows; the last axis is laid out as (q k v, heads, D).
    num_heads : int
    rel_pos_h, rel_pos_w : array_like, shape (L, D), optional
        Both tables or neither. Any L; 2H − 1 and 2W − 1 need no interpolation.

    Returns
    -------
    ndarray, shape (B, H, W, C), float32

    Raises
    ------
    InputError
        If the sizes do not fit, or only one of the tables is given.

    Notes
    -----
    Accuracy: ``TOLERANCE · eps · Σⱼ pⱼ |vⱼ| · (1 + maxⱼ Sⱼ)``, where p are the weights and ``Sⱼ = |q|·|kⱼ| D^−½ +
    |q|·|R_h| + |q|·|R_w|``: an error of a score is a relative error of its weight.
    """
    qkv, D = _check(qkv, num_heads)
    B, H, W, C = *qkv.shape[:3], num_heads * D
    N = H * W
    tables = turned_tables(rel_pos_h, rel_pos_w, H, W, D) * np.float32(LOG2_E)
    tiles, pieces, L = -(-N // KEYS), -(-N // ROWS), len(tables)
    width = -(-N // tiles)  # keys of a tile
    # Zeros fill the last tile: their scores are 0, which nobody changes, and so they add nothing to the sum of values.
    keys = np.empty((B, num_heads, tiles, D, width), np.float32)
    values = np.zeros((B, num_heads, tiles * width, D), np.float32)
    tokens, out = qkv.reshape(B, N, 3, num_heads, D), np.empty((B, N, num_heads, D), np.float32)

    def pack(i: int) -> None:
        b, head = divmod(i, num_heads)
        (scaled,) = scratch((tiles * width, D))
        np.multiply(tokens[b, :, 1, head], np.float32(D**-0.5 * LOG2_E), out=scaled[:N])
        scaled[N:] = 0
        keys[b, head] = scaled.reshape(tiles, width, D).transpose(0, 2, 1)
        values[b, head, :N] = tokens[b, :, 2, head]

    def piece(i: int) -> None:
        (b, head), first = divmod(i // pieces, num_heads), i % pieces * ROWS
        rows = slice(first, first + ROWS)
        query = tokens[b, rows, 0, head]  # (n, D)
        n = len(query)
        # scores q_i · k_j · D^−½ (the keys hold D^−½ and log₂ e), and terms q_i · R of the query as it is
        scores, terms, totals, parts = scratch((n, tiles * width), (n, L), (n, 1), (tiles, n, D))
        tiled = scores.reshape(n, tiles, width).transpose(1, 0, 2)
        np.matmul(query, keys[b, head], out=tiled)
        np.matmul(query, tables.T, out=terms)
        # the weights pⱼ, times their sum
        weigh_with_rel_pos(scores[None], terms[None], first, W, H, W, totals.T)
        # y_i = Σⱼ pⱼ v_j, tile by tile of the keys
        np.matmul(tiled, values[b, head].reshape(tiles, width, D), out=parts)
        np.divide(parts.sum(axis=0), totals, out=out[b, rows, head])

    parallel_for(pack, B * num_heads)
    parallel_for(piece, B * num_heads * pieces)
    return out.reshape(B, H, W, C)
