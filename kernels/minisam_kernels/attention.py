"""Attention among image tokens, with decomposed relative positions: over a window or over the whole image.

    y_i = Σⱼ softmaxⱼ(q_i · k_j · D^−½ + q_i · R_h[h_i, h_j] + q_i · R_w[w_i, w_j]) v_j        for every head

Chapter 3, eq-attention; chapter 4, eq-rel-pos.
Source: Vaswani et al. 2017, eq. 1; SAM's ``Attention`` (ViTDet), whose relative positions multiply the unscaled query
(see ``rel_pos``).

Shapes: qkv (B, H, W, 3 · C), whose last axis is laid out as (q k v, heads, D); rel_pos_h and rel_pos_w (L, D), any L
(2H − 1 and 2W − 1 need no interpolation), or None → (B, H, W, C). B counts images or windows.
Errors: ``InputError`` when the sizes do not fit, or only one of the tables is given.
Accuracy: ``TOLERANCE`` · eps · Σⱼ pⱼ |vⱼ| · (1 + maxⱼ Sⱼ), where p are the weights and Sⱼ = |q|·|kⱼ| D^−½ + |q|·|R_h| +
|q|·|R_w|: an error of a score is a relative error of its weight. Memory: O(N) for each thread, never N × N.
Speed on one core whose large products reach 82 GFLOP/s (the other core busy): 52 for 64 × 64 and for 32 × 32 tokens,
D = 64, both products counted. With so short a head the products reach 66 to 78; the rest is 0.45 ns a score.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from minisam_kernels.elementary import exp2
from minisam_kernels.errors import InputError, as_float32, expect_ndim
from minisam_kernels.jit import jit
from minisam_kernels.rel_pos import decomposed_rel_pos_numpy, get_rel_pos_numpy, resize_table
from minisam_kernels.scratch import scratch
from minisam_kernels.softmax import row_max, softmax_numpy
from minisam_kernels.threads import parallel_for

TOLERANCE = 8.0  # × eps × magnitude; see above
LOG2_E = 1 / np.log(2)  # exp x = 2^(x log₂ e): scores and biases are made log₂ e times as large, for ``exp2``
ROWS = 256  # query rows of a piece at most: 64 rows at once cost 15 % more, as BLAS rearranges all keys for each piece
SCORES = 1 << 15  # scores of a piece at most when it holds several windows or heads: 128 KB


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
    """2^(scores + bias − maximum) in place of scores (G, n, N), and its sums over the last axis, totals (G, n).

    Query ``i`` is token ``first + i`` of a grid that is ``columns`` wide, and the keys are a grid of H × W.
    ``terms`` (G, n, 2H − 1 + 2W − 1) holds q · table for every distance, the keys' way round; what a query needs are H
    neighbours of the first part and W of the second. Slices, whose bounds LLVM sees, make the inner loop a vector loop:
    0.19 ns a score, against 1.1 ns with the same indices written out.
    """
    for g in range(scores.shape[0]):
        for i in range(scores.shape[1]):
            row = scores[g, i]
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


def _pieces(B: int, heads: int, N: int) -> list[tuple[slice, slice, slice]]:
    """Work cut by the data's size: some windows, or some heads of one window, or some query rows of one head."""
    rows = min(N, ROWS)
    n_heads = max(1, min(heads, SCORES // (rows * N)))
    n_batch = max(1, SCORES // (rows * N * heads))
    starts = product(range(0, B, n_batch), range(0, heads, n_heads), range(0, N, rows))
    return [(slice(b, b + n_batch), slice(h, h + n_heads), slice(i, i + rows)) for b, h, i in starts]


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
    q, k, v = qkv.reshape(B, N, 3, num_heads, D).transpose(2, 0, 3, 1, 4)  # each (B, heads, N, D)
    out = np.empty((B, H, W, C), np.float32)
    y = out.reshape(B, N, num_heads, D).transpose(0, 2, 1, 3)
    pieces, L = _pieces(B, num_heads, N), len(tables)

    def piece(i: int) -> None:
        b, head, rows = pieces[i]
        lead = q[b, head, rows].shape[:3]  # (windows, heads, n)
        query, scores, terms, totals = scratch((*lead, D), (*lead, N), (*lead, L), lead)
        np.multiply(q[b, head, rows], np.float32(D**-0.5 * LOG2_E), out=query)
        np.matmul(query, k[b, head].transpose(0, 1, 3, 2), out=scores)
        np.matmul(q[b, head, rows], tables.T, out=terms)  # of the query as it is, without D^−½
        flat = (lead[0] * lead[1], lead[2])
        _weights(scores.reshape(*flat, N), terms.reshape(*flat, L), rows.start, W, H, W, totals.reshape(flat))
        np.matmul(scores, v[b, head], out=y[b, head, rows])
        y[b, head, rows] /= totals[..., None]  # D divisions a row instead of N

    parallel_for(piece, len(pieces))
    return out
