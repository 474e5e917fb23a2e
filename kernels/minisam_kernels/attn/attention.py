"""Attention among image tokens, with decomposed relative positions: over a window or over the whole image.

    y_i = Σⱼ softmaxⱼ(q_i · k_j · D^−½ + q_i · R_h[h_i, h_j] + q_i · R_w[w_i, w_j]) v_j        for every head

Chapter 3, eq-attention; chapter 4, eq-rel-pos.
Source: Vaswani et al. 2017, eq. 1; SAM's ``Attention`` (ViTDet), whose relative positions multiply the unscaled query
(see ``rel_pos``).

Shapes: qkv (B, H, W, 3 · C), whose last axis is laid out as (q k v, heads, D); rel_pos_h and rel_pos_w (L, D), any L
(2H − 1 and 2W − 1 need no interpolation), or None → (B, H, W, C). B counts images or windows.
Errors: ``InputError`` when the sizes do not fit, or only one of the tables is given.
Accuracy: ``TOLERANCE`` · eps · Σⱼ pⱼ |vⱼ| · (1 + maxⱼ Sⱼ), where p are the weights and Sⱼ = |q|·|kⱼ| D^−½ + |q|·|R_h| +
|q|·|R_w|: an error of a score is a relative error of its weight. Memory: keys and values once more, and O(N) for each
thread, never N × N. Pieces are cut alike in each picture: the bits depend neither on the batch nor on the threads.
Speed of one of two cores with AVX-512, both busy, whose large products reach 145 GFLOP/s: 84 for 64 × 64 tokens,
D = 64, counting both products, which reach 120; the rest is 0.45 ns a score for the weights, and terms, tiles, sums.
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.attn.rel_pos import decomposed_rel_pos_numpy, get_rel_pos_numpy, resize_table
from minisam_kernels.layers.softmax import row_max, softmax_numpy
from minisam_kernels.runtime.elementary import exp2
from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim
from minisam_kernels.runtime.jit import jit
from minisam_kernels.runtime.scratch import scratch
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 8.0  # × eps × magnitude; see above
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


@jit
def _weights(scores, terms, first, columns, H, W, totals):
    """2^(scores + bias − maximum) in place of the first H · W of scores (G, n, …), and its sums, totals (G, n).

    Query ``i`` is token ``first + i`` of a grid that is ``columns`` wide, and the keys are a grid of H × W.
    ``terms`` (G, n, 2H − 1 + 2W − 1) holds q · table for every distance, the keys' way round; what a query needs are H
    neighbours of the first part and W of the second. Slices, whose bounds LLVM sees, make the inner loop a vector loop:
    0.19 ns a score, against 1.1 ns with the same indices written out.
    """
    for g in range(scores.shape[0]):
        for i in range(scores.shape[1]):
            row = scores[g, i, : H * W]
            if terms.shape[2] > 0:
                h, w = (first + i) // columns, (first + i) % columns
                term_h = terms[g, i, H - 1 - h : 2 * H - 1 - h]  # q_i · R_h[h, h'] for h' in [0, H)
                term_w = terms[g, i, 2 * H + W - 2 - w : 2 * H + 2 * W - 2 - w]  # q_i · R_w[w, w'] for w' in [0, W)
                for y in range(H):
                    part = row[y * W : (y + 1) * W]
                    for x in range(W):
                        part[x] += term_h[y] + term_w[x]
            largest = row_max(row)
            total = np.float32(0)
            for j in range(row.size):
                row[j] = exp2(row[j] - largest)
                total += row[j]
            totals[g, i] = total


def _tables(rel_pos_h: np.ndarray | None, rel_pos_w: np.ndarray | None, H: int, W: int, D: int) -> np.ndarray:
    """Both tables × log₂ e, resized to the distances that occur and turned round: (2H − 1 + 2W − 1, D), or (0, D)."""
    if rel_pos_h is None and rel_pos_w is None:
        return np.empty((0, D), np.float32)
    if rel_pos_h is None or rel_pos_w is None:
        raise InputError("expected both rel_pos_h and rel_pos_w or neither, got one")
    tables = []
    for name, rel_pos, size in (("rel_pos_h", rel_pos_h, H), ("rel_pos_w", rel_pos_w, W)):
        rel_pos = as_float32(name, rel_pos)
        if rel_pos.ndim != 2 or rel_pos.shape[1] != D or len(rel_pos) == 0:
            raise InputError(f"expected {name} of shape ({2 * size - 1}, {D}), got {rel_pos.shape}")
        tables.append(resize_table(rel_pos, 2 * size - 1)[::-1])
    return np.concatenate(tables) * np.float32(LOG2_E)


def _check(qkv: np.ndarray, num_heads: int) -> tuple[np.ndarray, int]:
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
    qkv: np.ndarray, num_heads: int, rel_pos_h: np.ndarray | None = None, rel_pos_w: np.ndarray | None = None
) -> np.ndarray:
    """Tokens look at tokens. qkv (B, H, W, 3 · C) → float32 (B, H, W, C). See the module's text."""
    qkv, D = _check(qkv, num_heads)
    B, H, W, C = *qkv.shape[:3], num_heads * D
    N = H * W
    tables = _tables(rel_pos_h, rel_pos_w, H, W, D)
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
        scores, terms, totals, parts = scratch((n, tiles * width), (n, L), (n, 1), (tiles, n, D))
        tiled = scores.reshape(n, tiles, width).transpose(1, 0, 2)
        np.matmul(query, keys[b, head], out=tiled)
        np.matmul(query, tables.T, out=terms)  # of the query as it is, without D^−½
        _weights(scores[None], terms[None], first, W, H, W, totals.T)
        np.matmul(tiled, values[b, head].reshape(tiles, width, D), out=parts)
        np.divide(parts.sum(axis=0), totals, out=out[b, rows, head])

    parallel_for(pack, B * num_heads)
    parallel_for(piece, B * num_heads * pieces)
    return out.reshape(B, H, W, C)
