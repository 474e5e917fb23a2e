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


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, residual: Tensor | None = None) -> Tensor:
    """x (..., C_in), weight (C_out, C_in) → (..., C_out)."""
    y = F.linear(x, weight, bias)
    return y if residual is None else y + residual


def gelu(x: Tensor) -> Tensor:
    """x (...) → (...), the exact form."""
    return F.gelu(x)


def softmax(x: Tensor) -> Tensor:
    """x (..., N) → (..., N), over the last axis."""
    return F.softmax(x, dim=-1)


def patch_embed(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """image (B, H, W, 3), weight (C, 3, p, p) → (B, H/p, W/p, C)."""
    return F.conv2d(image.permute(0, 3, 1, 2), weight, bias, stride=weight.shape[-1]).permute(0, 2, 3, 1)


def window_partition(x: Tensor, window_size: int) -> Tensor:
    """x (B, H, W, C) → (B · nW, w, w, C), zeros appended at the right and at the bottom."""
    w = window_size
    x = F.pad(x, (0, 0, 0, -x.shape[2] % w, 0, -x.shape[1] % w))
    return x.unfold(1, w, w).unfold(2, w, w).permute(0, 1, 2, 4, 5, 3).flatten(0, 2)


def window_unpartition(windows: Tensor, window_size: int, size: tuple[int, int]) -> Tensor:
    """windows (B · nW, w, w, C), size (H, W) → (B, H, W, C)."""
    (H, W), w = size, window_size
    nh, nw = -(-H // w), -(-W // w)
    rows = [torch.cat(row.unbind(1), dim=2) for row in windows.unflatten(0, (-1, nh, nw)).unbind(1)]  # (B, w, nw·w, C)
    return torch.cat(rows, dim=1)[:, :H, :W]


def get_rel_pos(q_size: int, k_size: int, rel_pos: Tensor) -> Tensor:
    """rel_pos (L, D) → (q_size, k_size, D), the table's entry for each distance, interpolated where L does not fit."""
    length = 2 * max(q_size, k_size) - 1
    if len(rel_pos) != length:
        rel_pos = F.interpolate(rel_pos.T[None], size=length, mode="linear")[0].T
    q = torch.arange(q_size, device=rel_pos.device)[:, None] * max(k_size / q_size, 1.0)
    k = torch.arange(k_size, device=rel_pos.device)[None, :] * max(q_size / k_size, 1.0)
    return rel_pos[((q - k) + (k_size - 1) * max(q_size / k_size, 1.0)).long()]


def decomposed_rel_pos(q: Tensor, rel_h: Tensor, rel_w: Tensor) -> tuple[Tensor, Tensor]:
    """q (B, heads, H, W, D), unscaled → (B, heads, H, W, H) and (B, heads, H, W, W)."""
    return torch.einsum("bnhwd,hkd->bnhwk", q, rel_h), torch.einsum("bnhwd,wkd->bnhwk", q, rel_w)


def attention(qkv: Tensor, num_heads: int, rel_pos_h: Tensor | None = None, rel_pos_w: Tensor | None = None) -> Tensor:
    """qkv (B, H, W, 3 · C), laid out as (q k v, heads, D) → (B, H, W, C)."""
    B, H, W, _ = qkv.shape
    q, k, v = qkv.reshape(B, H * W, 3, num_heads, -1).permute(2, 0, 3, 1, 4)  # each (B, heads, N, D)
    bias = None
    if rel_pos_h is not None and rel_pos_w is not None:
        grid = q.unflatten(2, (H, W))
        bias_h, bias_w = decomposed_rel_pos(grid, get_rel_pos(H, H, rel_pos_h), get_rel_pos(W, W, rel_pos_w))
        bias = (bias_h[..., :, None] + bias_w[..., None, :]).flatten(4).flatten(2, 3)  # (B, heads, N, N)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # scales q · k by D^−½, then adds the bias
    return y.permute(0, 2, 1, 3).reshape(B, H, W, -1)


def window_attention(
    qkv: Tensor,
    bias: Tensor,
    num_heads: int,
    window_size: int,
    rel_pos_h: Tensor | None = None,
    rel_pos_w: Tensor | None = None,
) -> Tensor:
    """qkv (B, H, W, 3 · C) → (B, H, W, C), within windows; tokens that fill the last ones are the qkv map's bias."""
    H, W = qkv.shape[1:3]
    real = F.pad(torch.ones_like(qkv[..., :1]), (0, 0, 0, -W % window_size, 0, -H % window_size))
    filled = F.pad(qkv, (0, 0, 0, -W % window_size, 0, -H % window_size)) + (1 - real) * bias
    windows = attention(window_partition(filled, window_size), num_heads, rel_pos_h, rel_pos_w)
    return window_unpartition(windows, window_size, (H, W))


def norm_linear(x: Tensor, norm_weight: Tensor, norm_bias: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """x (B, ..., C_in), weight (C_out, C_in) → (B, ..., C_out)."""
    return F.linear(layer_norm(x, norm_weight, norm_bias, eps), weight, bias)


def mlp(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    eps: float,
) -> Tensor:
    """x (B, ..., C), weight1 (hidden, C), weight2 (C, hidden) → (B, ..., C): the sum of x and its update."""
    return x + F.linear(F.gelu(norm_linear(x, norm_weight, norm_bias, weight1, bias1, eps)), weight2, bias2)


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
    x, y = (2 * coords - 1).split(1, dim=-1)
    angles = 2 * torch.pi * (x * gaussian[0] + y * gaussian[1])  # a product of matrices could be rounded to TF32
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def position_grid(size: tuple[int, int], gaussian: Tensor) -> Tensor:
    """The encoding of every cell's centre, (H, W, C). The centres come from cumulative sums of ones, less a half."""
    ones = gaussian.new_ones(size)
    x, y = (ones.cumsum(1) - 0.5) / size[1], (ones.cumsum(0) - 0.5) / size[0]
    return position_encoding(torch.stack([x, y], dim=-1), gaussian)


def cross_attention(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    """q (B, Nq, C), k, v (B, Nk, C) → (B, Nq, C)."""
    batch = max(len(q), len(k), len(v))
    q, k, v = (x.expand(batch, -1, -1).unflatten(2, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    if q.requires_grad and q.device.type == "cpu":
        # with few tokens on one side torch's fused attention is slow backwards: a third of a step of training
        y = F.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1), dim=-1).to(v.dtype) @ v
    else:
        y = F.scaled_dot_product_attention(q, k, v)
    return y.transpose(1, 2).flatten(2)


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """x (B, H, W, C) → (B, H', W', C), or (M, H, W) → (M, H', W')."""
    if x.ndim == 3:
        return resize(x[..., None], size)[..., 0]
    return _channels_last(F.interpolate(_channels_first(x), size, mode="bilinear", align_corners=False))


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """logits, targets (M, H, W) → (M,)."""
    targets = targets.to(logits.dtype)
    m = logits * (1 - 2 * targets)
    cross_entropy = -F.logsigmoid(-m)  # binary_cross_entropy_with_logits adds a pair ±m that cancels, and rounds
    wrong = torch.sigmoid(m)
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


def rle(masks: Tensor) -> list[Tensor]:
    """masks (M, H, W) bool → run lengths down the columns, the first of them of False."""
    counts = []
    for mask in masks:
        values, runs = torch.unique_consecutive(mask.T.flatten(), return_counts=True)
        counts.append(runs if mask.numel() and not values[0] else F.pad(runs, (1, 0)))
    return counts


def box_from_mask(masks: Tensor) -> Tensor:
    """masks (M, H, W) bool → int64 (M, 4), x0, y0, x1, y1, the last column and row included; zeros when empty."""
    boxes = torch.zeros(len(masks), 4, dtype=torch.int64)
    for box, mask in zip(boxes, masks):
        if mask.any():
            y, x = mask.nonzero().T
            box[:] = torch.stack([x.min(), y.min(), x.max(), y.max()])
    return boxes


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """boxes (N, 4), scores (N,) → int64 (K,): the definition, with all N² values of the IoU at once."""
    boxes = boxes[order := scores.argsort(descending=True, stable=True)]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    size = torch.minimum(boxes[:, None, 2:], boxes[:, 2:]) - torch.maximum(boxes[:, None, :2], boxes[:, :2])
    both = size.clamp(min=0).prod(dim=2)
    overlap = (both / (area[:, None] + area - both)).double() > iou_threshold
    stays = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for i in range(len(boxes)):
        stays[i] = not (overlap[i, :i] & stays[:i]).any()
    return order[stays]


def mask_runs(
    logits: Tensor,
    input_size: tuple[int, int],
    model_size: int,
    original_size: tuple[int, int],
    threshold: float = 0.0,
    offset: float = 1.0,
) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """logits (M, h, w) → run lengths, areas (M,), boxes (M, 4), stability (M,) of the masks (M, H, W)."""
    square = resize(logits, (model_size, model_size))[:, : input_size[0], : input_size[1]]
    z = resize(square, original_size)
    masks = z > threshold
    return rle(masks), masks.sum(dim=(1, 2)), box_from_mask(masks), stability_score(z, threshold, offset)
