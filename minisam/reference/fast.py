"""Attention with decomposed relative positions that never holds its N × N bias: longer queries and keys carry it.

    q_i·k_j/√D + q_i·R^h[row i − row j] + q_i·R^w[column i − column j]
        = [q_i/√D, b^h_i, b^w_i] · [k_j, e_row(j), e_col(j)]

b^h_i (H numbers) and b^w_i (W) are what ``ops.decomposed_rel_pos`` gives, e_r is 1 at index r and 0 elsewhere. So the
scores are products of vectors of D + H + W numbers (192 in ViT-B and ViT-L, 208 in ViT-H), and any fused attention
without a mask computes them, a tile at a time. The plain form, ``ops.attention``, adds a bias of heads · N² numbers
(0.27 GB per image and block in ViT-H, in float32 1.07 GB) and is this one's oracle.

What it costs: the products q·k grow by (D + H + W)/D, and v gets zeros up to the same width, which the fused kernels
want. ``use(model)`` changes a model over; ``minisam.reference.build(config, fast=True)`` makes one.

Backwards, on a CPU, torch's fused attention is the slow one. There the scores are held, and the long vectors still pay.
Forwards and backwards in bf16 on one core, 48 × 3 heads of 8 × 8 tokens and 12 × 3 of 16 × 16: long vectors and held
scores 8 and 13 ms, a bias and held scores 10 and 21, ``ops.attention`` 20 and 48.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import flex_attention as flex

from minisam.reference import ops
from minisam.reference.model import Attention

M = TypeVar("M", bound=nn.Module)


def places(H: int, W: int, like: Tensor) -> Tensor:
    """(H · W, H + W): for every token its row and its column, each as a vector with a single 1."""
    rows = torch.eye(H, dtype=like.dtype, device=like.device)[:, None].expand(H, W, H)
    columns = torch.eye(W, dtype=like.dtype, device=like.device)[None].expand(H, W, W)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


def attention(qkv: Tensor, num_heads: int, rel_pos_h: Tensor | None = None, rel_pos_w: Tensor | None = None) -> Tensor:
    """qkv (B, H, W, 3 · C), laid out as (q k v, heads, D) → (B, H, W, C): what ``ops.attention`` gives."""
    if rel_pos_h is None or rel_pos_w is None:
        return ops.attention(qkv, num_heads, rel_pos_h, rel_pos_w)
    B, H, W, _ = qkv.shape
    q, k, v = qkv.reshape(B, H * W, 3, num_heads, -1).permute(2, 0, 3, 1, 4)  # each (B, heads, N, D)
    D = q.shape[-1]
    rel_h, rel_w = (ops.get_rel_pos(n, n, table) for n, table in ((H, rel_pos_h), (W, rel_pos_w)))
    # b^h and b^w
    biases = ops.decomposed_rel_pos(q.unflatten(2, (H, W)), rel_h.to(q.dtype), rel_w.to(q.dtype))
    bias = torch.cat(biases, dim=-1).flatten(2, 3)  # (B, heads, N, H + W)
    # [q/√D, b^h, b^w] and [k, e_row, e_col], padded with zeros
    zeros = q.new_zeros(1).expand(B, num_heads, H * W, -(D + H + W) % 8)  # fused kernels want widths of 8 · n
    long_q = torch.cat([q * D**-0.5, bias, zeros], dim=-1)
    long_k = torch.cat([k, places(H, W, k).expand(B, num_heads, -1, -1), zeros], dim=-1)
    if q.requires_grad and q.device.type == "cpu":  # see above, and ``ops.cross_attention``
        y = F.softmax(long_q @ long_k.transpose(-2, -1), dim=-1).to(v.dtype) @ v
    else:
        y = F.scaled_dot_product_attention(long_q, long_k, F.pad(v, (0, long_q.shape[-1] - D)), scale=1.0)[..., :D]
    return y.permute(0, 2, 1, 3).reshape(B, H, W, -1)


def flex_attention(
    qkv: Tensor, num_heads: int, rel_pos_h: Tensor | None = None, rel_pos_w: Tensor | None = None
) -> Tensor:
    """The same by torch's FlexAttention, which adds b^h and b^w to each score on the way. To be compiled (inference
    alone); not compiled it is a slow oracle of itself."""
    if rel_pos_h is None or rel_pos_w is None:
        return ops.attention(qkv, num_heads, rel_pos_h, rel_pos_w)
    B, H, W, _ = qkv.shape
    q, k, v = qkv.reshape(B, H * W, 3, num_heads, -1).permute(2, 0, 3, 1, 4)  # each (B, heads, N, D)
    rel_h, rel_w = (ops.get_rel_pos(n, n, table) for n, table in ((H, rel_pos_h), (W, rel_pos_w)))
    down, right = ops.decomposed_rel_pos(q.unflatten(2, (H, W)), rel_h.to(q.dtype), rel_w.to(q.dtype))
    down, right = down.flatten(2, 3), right.flatten(2, 3)  # (B, heads, N, H) and (B, heads, N, W)

    def biased(score: Tensor, b: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + down[b, head, i, j // W] + right[b, head, i, j % W]

    y = flex.flex_attention(q, k, v, score_mod=biased)
    assert isinstance(y, Tensor)
    return y.permute(0, 2, 1, 3).reshape(B, H, W, -1)


def use(model: M, attend: Callable[..., Tensor] = attention) -> M:
    """The same model with this attention in every block of an encoder, or with another (``ops.attention``)."""
    for module in model.modules():
        if isinstance(module, Attention):
            module.attend = attend
    return model
