"""Every kernel as a few torch operators: the oracle of the tests and of ``minisam verify``.

One function per kernel, with the kernel's name, its channels-last shapes and its argument order; tensors of any float
dtype on any device go in and come out. The tests call them in float64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """x (..., C) → (..., C)."""
    return F.layer_norm(x, (x.shape[-1],), weight, bias, eps)


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0) -> Tensor:
    """x (B, H, W, C_in) → (B, H', W', C_out)."""
    return _channels_last(F.conv2d(_channels_first(x), weight, bias, stride, padding))


def conv_transpose2d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (B, H, W, C_in) → (B, 2H, 2W, C_out)."""
    return _channels_last(F.conv_transpose2d(_channels_first(x), weight, bias, stride=2))


def position_encoding(coords: Tensor, gaussian: Tensor) -> Tensor:
    """coords (..., 2) in [0, 1] → (..., C), sines then cosines."""
    angles = 2 * torch.pi * ((2 * coords - 1) @ gaussian)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def position_grid(size: tuple[int, int], gaussian: Tensor) -> Tensor:
    """The encoding of every cell's centre, (H, W, C). The centres come from cumulative sums of ones, less a half."""
    ones = gaussian.new_ones(size)
    x, y = (ones.cumsum(1) - 0.5) / size[1], (ones.cumsum(0) - 0.5) / size[0]
    return position_encoding(torch.stack([x, y], dim=-1), gaussian)


def two_way_attention(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    """q (B, Nq, C), k, v (B, Nk, C) → (B, Nq, C)."""
    batch = max(len(q), len(k), len(v))
    split = (x.expand(batch, -1, -1).unflatten(2, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """x (B, H, W, C) → (B, H', W', C), or (M, H, W) → (M, H', W')."""
    if x.ndim == 3:
        return resize(x[..., None], size)[..., 0]
    return _channels_last(F.interpolate(_channels_first(x), size, mode="bilinear", align_corners=False))


def resize_threshold(logits: Tensor, size: tuple[int, int], threshold: float = 0.0) -> Tensor:
    """logits (M, H, W) → bool (M, H', W')."""
    return resize(logits, size) > threshold


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """logits, targets (M, H, W) → (M,)."""
    targets = targets.to(logits.dtype)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    wrong = torch.sigmoid(logits * (1 - 2 * targets))
    balance = alpha * targets + (1 - alpha) * (1 - targets)
    return (balance * wrong**gamma * cross_entropy).mean(dim=(1, 2))


def dice_loss(logits: Tensor, targets: Tensor, smooth: float = 1.0) -> Tensor:
    """logits, targets (M, H, W) → (M,)."""
    p, targets = torch.sigmoid(logits), targets.to(logits.dtype)
    overlap, area = (p * targets).sum(dim=(1, 2)), (p + targets).sum(dim=(1, 2))
    return 1 - (2 * overlap + smooth) / (area + smooth)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """a, b (M, H, W) bool → float64 (M,)."""
    return (a & b).sum(dim=(1, 2)).double() / (a | b).sum(dim=(1, 2)).double()


def stability_score(logits: Tensor, threshold: float = 0.0, offset: float = 1.0) -> Tensor:
    """logits (M, H, W) → float64 (M,)."""
    inner, outer = logits > threshold + offset, logits > threshold - offset
    return inner.sum(dim=(1, 2)).double() / outer.sum(dim=(1, 2)).double()
