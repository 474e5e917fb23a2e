"""The kernels of the fused decoder as a few torch operators, like ``ops``: each adds up what its kernel never does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def skinny_linear(x: Tensor, weight: Tensor, bias: Tensor, relu: bool = False) -> Tensor:
    """x (T, C_in), weight (C_out, C_in) → (T, C_out)."""
    y = F.linear(x, weight, bias)
    return F.relu(y) if relu else y


def head_products(a: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """a (heads, T, D), x (heads, D, P), y (heads, T, P) → (heads, T, P)."""
    return torch.baddbmm(y, a, x)


def head_moments(y: Tensor, x: Tensor) -> Tensor:
    """y (heads, T, P), x (heads, D, P) → (heads, T, D)."""
    return torch.bmm(y, x.mT)


def image_to_tokens(
    k: Tensor,
    bias: Tensor,
    q: Tensor,
    position: Tensor | None = None,
    scale: Tensor | None = None,
    scores: Tensor | None = None,
) -> Tensor:
    """k (heads, T − 1, D), bias (heads, T − 1), q (heads, D, P) → (heads, T − 1, P): softmax over T, last cut off."""
    if scale is not None and position is not None:
        q = scale * q + position
    s = torch.bmm(k, q) + bias[..., None]
    s = s if scores is None else s + scores
    return torch.softmax(F.pad(s, (0, 0, 0, 1)), dim=1)[:, :-1]


def basis(ways: Tensor, values: Tensor) -> Tensor:
    """ways (groups, heads · D + 1, C), values (groups, heads, T, D) → (K, C): what a feature adds to an image token."""
    groups, heads, tokens, width = values.shape
    change = values @ ways[:, :-1].reshape(groups, heads, width, -1)  # (groups, heads, T, C)
    others = change[:, :, :-1].reshape(groups, heads * (tokens - 1), ways.shape[2])
    last = change[:, :, -1].sum(1, keepdim=True) + ways[:, -1:]
    return torch.cat([others, last], dim=1).flatten(0, 1)


def implied_layer_norm(z: Tensor, ways: Tensor, values: Tensor, scale: Tensor, features: Tensor, eps: float) -> Tensor:
    """z (C, P), scale (P,), features (K, P) → (K, P), divided by the deviation of z · scale + features · basis."""
    y = scale * z + basis(ways, values).T @ features
    return features / torch.sqrt(torch.var(y, dim=0, correction=0) + eps)


def tokens_to_image(
    q: Tensor, k: Tensor, position: Tensor, v: Tensor, scale: Tensor, factors: Tensor, features: Tensor
) -> tuple[Tensor, Tensor]:
    """q (heads, T, D), k, position, v (heads, D, N), features (K, N) → mixtures of scale · v and of features."""
    scores = torch.bmm(q, scale * k + position) + (factors @ features).reshape(len(q), q.shape[1], -1)
    weights = torch.softmax(scores, dim=2)
    return torch.bmm(weights, (scale * v).mT), weights.flatten(0, 1) @ features.T


def merge_tiles(largest: Tensor, totals: Tensor, moments: Tensor, mixtures: Tensor) -> tuple[Tensor, Tensor]:
    """largest, totals (tiles, R), moments (tiles, R, D), mixtures (tiles, R, K) → mixed (R, D), rest (R, K)."""
    shares = torch.softmax(largest + totals.log(), dim=0) / totals
    return torch.einsum("ir,ird->rd", shares, moments), torch.einsum("ir,irk->rk", shares, mixtures)


def norm_gelu(
    x: Tensor, z: Tensor, scale: Tensor, bias: Tensor, weight: Tensor, shift: Tensor, eps: float = 1e-6
) -> Tensor:
    """x, z (4 · C, P), rows (corner, channel) → (4 · C, P)."""
    y = (x + scale * z + bias[:, None]).unflatten(0, (4, len(weight))).movedim(1, -1)
    return F.gelu(F.layer_norm(y, (len(weight),), weight, shift, eps)).movedim(-1, 1).flatten(0, 1)


def gelu_masks(y: Tensor, bias: Tensor, vectors: Tensor) -> Tensor:
    """y (4 · C, P), rows (corner of the corner, channel), vectors (M, C) → (M, 4, P)."""
    return torch.einsum("mc,kcp->mkp", vectors, F.gelu(y.unflatten(0, (4, len(bias))) + bias[:, None]))
