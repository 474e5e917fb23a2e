"""Attention with decomposed relative positions as one kernel for a GPU, written in Triton: a tile of keys is whole rows.

The score of query i, at (row, column), and key j is q_i·k_j/√D + down_i[row j] + right_i[column j]. When the keys come
in tiles of whole rows of the grid, every tile has the same columns: a query's ``right`` is loaded once, before the loop,
and stays in registers, and of ``down`` a tile of one row needs one number a query. So the bias costs an addition, where
``fast.attention`` pays for vectors of D + H + W numbers and ``fast.flex_attention`` for two loads a score.

    for each tile of keys (rows · columns, columns filled up to a power of two):
        s = q·kᵀ · log₂e/√D + right + down[rows of the tile]
        running softmax in base 2 (Milakov & Gimelshein 2018; Dao 2023), o = Σ p·v

Both terms come from one product: q with the two tables of positions, (2H − 1) + (2W − 1) numbers a query, of which the
kernel picks those at the query's distance to each row and column. qkv is read where the linear layer left it, and the
output is written where the next one wants it: nothing is transposed.

Heads of 80 (ViT-H) are taken as 64 + 16: matrix units want powers of two, and 128 would waste 3 of 8 products.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from minisam.reference import fast

LOG2E = 1.4426950408889634


@triton.jit
def _attend(
    qkv, table, out, scale,
    heads, width, H: tl.constexpr, W: tl.constexpr,
    D0: tl.constexpr, D1: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr, M: tl.constexpr,
):  # fmt: skip
    """A program does M queries of one head of one picture (or window).

    qkv (B, N, 3, heads, D), table (heads, B · N, width), out (B, N, heads, D); D = D0 + D1, N = H · W. A tile of keys is
    ROWS × COLUMNS.
    """
    D: tl.constexpr = D0 + D1
    N: tl.constexpr = H * W
    block, head, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    C = heads * D
    m = block * M + tl.arange(0, M)
    there = m < N
    n = tl.arange(0, ROWS * COLUMNS)
    column, row = n % COLUMNS, n // COLUMNS
    d0, d1 = tl.arange(0, D0), D0 + tl.arange(0, D1 if D1 else 1)

    q = qkv + batch * N * 3 * C + head * D
    k, v = q + C, q + 2 * C
    q0 = tl.load(q + m[:, None] * 3 * C + d0[None, :], mask=there[:, None], other=0.0)
    if D1:
        q1 = tl.load(q + m[:, None] * 3 * C + d1[None, :], mask=there[:, None], other=0.0)

    mine = table + (head.to(tl.int64) * tl.num_programs(2) * N + batch * N + m) * width
    fits = there[:, None] & (column < W)[None, :]
    distance = (m % W)[:, None] - column[None, :] + W - 1
    right = tl.load(mine[:, None] + 2 * H - 1 + distance, mask=fits, other=float("-inf")).to(tl.float32) * 1.4426950408889634
    right = tl.where(there[:, None], right, 0.0)  # rows of queries that are not there must not become NaN
    down = mine + m // W + H - 1

    most = tl.full([M], float("-inf"), tl.float32)
    total = tl.zeros([M], tl.float32)
    o0 = tl.zeros([M, D0], tl.float32)
    if D1:
        o1 = tl.zeros([M, D1], tl.float32)
    for first in range(0, H, ROWS):
        rows = first + row
        key = rows * W + column
        real = (rows < H) & (column < W)
        k0 = tl.load(k + key[None, :] * 3 * C + d0[:, None], mask=real[None, :], other=0.0)
        s = tl.dot(q0, k0, input_precision="ieee")
        if D1:
            k1 = tl.load(k + key[None, :] * 3 * C + d1[:, None], mask=real[None, :], other=0.0)
            s = tl.dot(q1, k1, s, input_precision="ieee")
        if ROWS == 1:
            below = tl.load(down - first, mask=there, other=0.0).to(tl.float32)[:, None]
        else:
            inside = there[:, None] & (rows < H)[None, :]
            below = tl.load(down[:, None] - rows[None, :], mask=inside, other=0.0).to(tl.float32)
        s = s * scale + right + below * 1.4426950408889634
        if ROWS > 1:
            s = tl.where((rows < H)[None, :], s, float("-inf"))
        new = tl.maximum(most, tl.max(s, 1))
        p = tl.exp2(s - new[:, None])
        old = tl.exp2(most - new)
        total = total * old + tl.sum(p, 1)
        most = new
        p = p.to(q0.dtype)
        v0 = tl.load(v + key[:, None] * 3 * C + d0[None, :], mask=real[:, None], other=0.0)
        o0 = tl.dot(p, v0, o0 * old[:, None], input_precision="ieee")
        if D1:
            v1 = tl.load(v + key[:, None] * 3 * C + d1[None, :], mask=real[:, None], other=0.0)
            o1 = tl.dot(p, v1, o1 * old[:, None], input_precision="ieee")

    at = out + batch * N * C + head * D + m[:, None] * C
    tl.store(at + d0[None, :], (o0 / total[:, None]).to(q0.dtype), mask=there[:, None])
    if D1:
        tl.store(at + d1[None, :], (o1 / total[:, None]).to(q0.dtype), mask=there[:, None])


def attention(qkv: Tensor, num_heads: int, rel_pos_h: Tensor | None = None, rel_pos_w: Tensor | None = None) -> Tensor:
    """qkv (B, H, W, 3 · C) → (B, H, W, C)."""
    B, H, W, C = qkv.shape
    D = C // 3 // num_heads
    D0 = 1 << (D.bit_length() - 1)
    qkv = qkv.contiguous()
    q = qkv.view(B * H * W, 3, num_heads, D)[:, 0].transpose(0, 1)  # (heads, B · N, D)
    tables = torch.cat([rel_pos_h, rel_pos_w]).to(qkv.dtype)
    tables = F.pad(tables, (0, 0, 0, -len(tables) % 8))
    table = torch.matmul(q, tables.T)
    out = qkv.new_empty(B, H, W, C // 3)
    columns = 1 << (W - 1).bit_length()
    M, rows = CHOICE["M"], max(1, CHOICE["N"] // columns)
    _attend[(-(-H * W // M), num_heads, B)](
        qkv, table, out, LOG2E * D**-0.5, num_heads, table.shape[-1], H, W,
        D0, D - D0, columns, rows, M, num_warps=CHOICE["warps"], num_stages=CHOICE["stages"],
    )  # fmt: skip
    return out


CHOICE = {"M": 128, "N": 64, "warps": 8, "stages": 3}
