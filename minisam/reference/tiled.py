"""Attention with decomposed relative positions as one kernel for a GPU, in Triton: a tile of keys is whole rows.

The score of query i, at (row, column), and key j is q_i·k_j/√D + down_i[row j] + right_i[column j]. When the keys come
in tiles of whole rows of the grid, what the bias needs stays in registers for the whole loop:

    one row per tile (a grid of 64 × 64)    right_i[all columns] is loaded once; down_i is a number per query and tile
    rows per tile (windows of 14 × 14)      b_i = (down_i, right_i), 2 · 16 numbers; the bias is b_i·e with e the rows
                                            and columns of the tile as vectors with a single 1 (see ``fast``)

    for each tile of keys:
        s = (q·kᵀ/√D + bias) · log₂e
        running softmax in base 2 (Milakov & Gimelshein 2018; Dao et al. 2022), o = Σ p·v

So the bias costs an addition or a short product, where ``fast.attention`` pays for vectors of D + H + W numbers and
``fast.flex_attention`` for two loads per score. q with the tables of positions, for every distance, is one product; a
query picks the distances to its rows and columns. In windows that product happens in the kernel. qkv is read where the
linear layer left it, the output written where the next one wants it: nothing is transposed.

Heads of 80 (ViT-H) are taken as 64 + 16: matrix units want powers of two, and 128 would waste 3 of 8 products.

Measured once on an H100 (events around ten calls; no command repeats it), the attention of a global layer of ViT-H for
8 images in bfloat16: 2.1 ms; ``fast.attention`` 4.9, compiled 3.6; compiled ``fast.flex_attention`` 25.9;
``ops.attention`` 16.8.

Inference alone, in half precision; everything else goes the way of ``fast.attention``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from minisam.reference import fast

QUERIES, KEYS = 64, 64  # of a tile
WARPS, STAGES = 4, 3
HALVES = (torch.bfloat16, torch.float16)


@triton.jit
def _attend(  # type: ignore[no-untyped-def]
    qkv, table, out, heads, scale: tl.constexpr, width: tl.constexpr,
    H: tl.constexpr, W: tl.constexpr, D0: tl.constexpr, D1: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, M: tl.constexpr,
):  # fmt: skip
    """A program does M queries of one head of one image (or window); a tile of keys is ROWS × COLUMNS.

    qkv (B, N, 3, heads, D) and out (B, N, heads, D) with N = H · W, D = D0 + D1. With ROWS = 1 ``table`` is (heads,
    B · N, width), q times all positions; else it is the positions, (width, D), width a power of two. A grid of more
    rows than COLUMNS does not fit into b, so its rows come one per tile.
    """
    LOG2E: tl.constexpr = 1.4426950408889634
    N: tl.constexpr = H * W
    D: tl.constexpr = D0 + D1
    block, head, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    C = heads * D
    # m: this program's queries; (row, column): the keys of a tile, on the grid
    m = block * M + tl.arange(0, M)
    there = m < N
    n = tl.arange(0, ROWS * COLUMNS)
    column, row = n % COLUMNS, n // COLUMNS
    # D = D0 + D1: two powers of two
    d0, d1 = tl.arange(0, D0), D0 + tl.arange(0, D1 if D1 else 1)
    q = qkv + batch * N * 3 * C + head * D
    k, v = q + C, q + 2 * C
    # q of all queries stays in registers
    q0 = tl.load(q + m[:, None] * 3 * C + d0[None, :], mask=there[:, None], other=0.0)
    if D1:
        q1 = tl.load(q + m[:, None] * 3 * C + d1[None, :], mask=there[:, None], other=0.0)
    if ROWS == 1:
        # right_i[column j] for all columns; ``down`` points at down_i[row 0]
        mine = table + (head.to(tl.int64) * tl.num_programs(2) * N + batch * N + m) * width
        away = (m % W)[:, None] - column[None, :] + W - 1
        fits = there[:, None] & (column < W)[None, :]
        right = tl.load(mine[:, None] + 2 * H - 1 + away, mask=fits, other=0.0).to(tl.float32) * LOG2E
        down = mine + m // W + H - 1
    else:
        # g_i[t] = q_i · position t, for every distance t
        t = tl.arange(0, width)
        g = tl.dot(q0, tl.load(table + t[None, :] * D + d0[:, None]), input_precision="ieee")
        if D1:
            g = tl.dot(q1, tl.load(table + t[None, :] * D + d1[:, None]), g, input_precision="ieee")
        # b_i = (down_i, right_i): of g_i the distances to all rows, then to all columns
        j = tl.arange(0, 2 * COLUMNS)
        of_row, of_column = (m // W)[:, None] - j + H - 1, (m % W)[:, None] - (j - COLUMNS) + W - 1 + 2 * H - 1
        away = tl.where(j[None, :] < COLUMNS, of_row, of_column)
        b = tl.gather(g, tl.minimum(tl.maximum(away, 0), width - 1), 1).to(q0.dtype)
    # the running softmax: largest score, sum of the weights, weighted sum of v
    most = tl.full([M], float("-inf"), tl.float32)
    total = tl.zeros([M], tl.float32)
    o0 = tl.zeros([M, D0], tl.float32)
    if D1:
        o1 = tl.zeros([M, D1], tl.float32)
    for first in range(0, H, ROWS):
        rows = first + row
        key = rows * W + column
        real = (rows < H) & (column < W)
        # s = q·kᵀ
        k0 = tl.load(k + key[None, :] * 3 * C + d0[:, None], mask=real[None, :], other=0.0)
        s = tl.dot(q0, k0, input_precision="ieee")
        if D1:
            k1 = tl.load(k + key[None, :] * 3 * C + d1[:, None], mask=real[None, :], other=0.0)
            s = tl.dot(q1, k1, s, input_precision="ieee")
        # s = (s / √D + bias) · log₂e; keys beyond the grid have no weight
        if ROWS == 1:
            below = tl.load(down - first, mask=there, other=0.0).to(tl.float32) * LOG2E
            s = s * (scale * LOG2E) + (right + below[:, None])
        else:
            e = (j[:, None] == rows[None, :]) | (j[:, None] - COLUMNS == column[None, :])
            s = s * (scale * LOG2E) + tl.dot(b, e.to(q0.dtype), input_precision="ieee") * LOG2E
        if COLUMNS > W or H % ROWS:
            s = tl.where(real[None, :], s, float("-inf"))
        # p = 2^(s − the new largest); what was summed before shrinks by 2^(the old − the new)
        new = tl.maximum(most, tl.max(s, 1))
        p = tl.exp2(s - new[:, None])
        old = tl.exp2(most - new)
        total = total * old + tl.sum(p, 1)
        most = new
        # o = o · shrunk + p·v
        p = p.to(q0.dtype)
        v0 = tl.load(v + key[:, None] * 3 * C + d0[None, :], mask=real[:, None], other=0.0)
        o0 = tl.dot(p, v0, o0 * old[:, None], input_precision="ieee")
        if D1:
            v1 = tl.load(v + key[:, None] * 3 * C + d1[None, :], mask=real[:, None], other=0.0)
            o1 = tl.dot(p, v1, o1 * old[:, None], input_precision="ieee")
    # o / Σ p
    at = out + batch * N * C + head * D + m[:, None] * C
    tl.store(at + d0[None, :], (o0 / total[:, None]).to(q0.dtype), mask=there[:, None])
    if D1:
        tl.store(at + d1[None, :], (o1 / total[:, None]).to(q0.dtype), mask=there[:, None])


def next_power(n: int) -> int:
    """The smallest power of two that is not below n."""
    return 1 << (n - 1).bit_length()


def parts(width: int) -> tuple[int, int] | None:
    """A head's width as two powers of two of at least 16, or one and 0; None where it is neither."""
    first = 1 << (width.bit_length() - 1)
    rest = width - first
    fits = first >= 16 and (rest == 0 or (rest >= 16 and rest == next_power(rest)))
    return (first, rest) if fits else None


def attention(qkv: Tensor, num_heads: int, rel_pos_h: Tensor | None = None, rel_pos_w: Tensor | None = None) -> Tensor:
    """qkv (B, H, W, 3 · C), laid out as (q k v, heads, D), tables (2H − 1, D) and (2W − 1, D) → (B, H, W, C): what
    ``ops.attention`` gives."""
    B, H, W, C = qkv.shape
    D = C // 3 // num_heads
    widths = parts(D)
    if rel_pos_h is None or rel_pos_w is None or (len(rel_pos_h), len(rel_pos_w)) != (2 * H - 1, 2 * W - 1):
        return fast.attention(qkv, num_heads, rel_pos_h, rel_pos_w)
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in (qkv, rel_pos_h, rel_pos_w))
    if widths is None or W > KEYS or qkv.dtype not in HALVES or learns:
        return fast.attention(qkv, num_heads, rel_pos_h, rel_pos_w)
    first, rest = widths
    qkv = qkv.contiguous()
    columns = min(KEYS, next_power(max(W, H, 16)))  # of a tile; H too, for b has as many places for rows
    rows = max(1, KEYS // columns)
    positions = torch.cat([rel_pos_h, rel_pos_w]).to(qkv.dtype)
    if rows == 1:
        q = qkv.view(B * H * W, 3, num_heads, D)[:, 0].transpose(0, 1)  # (heads, B · N, D)
        table = q @ F.pad(positions, (0, 0, 0, -len(positions) % 8)).T
        width = table.shape[-1]
    else:
        width = max(16, next_power(len(positions)))
        table = F.pad(positions, (0, 0, 0, width - len(positions)))
    out = qkv.new_empty(B, H, W, C // 3)
    _attend[(-(-H * W // QUERIES), num_heads, B)](
        qkv, table, out, num_heads, D**-0.5, width,
        H, W, first, rest, rows, columns, QUERIES, num_warps=WARPS, num_stages=STAGES,
    )  # fmt: skip
    return out
