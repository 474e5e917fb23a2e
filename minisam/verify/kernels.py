"""One realistic case for every kernel: arguments of the sizes that the model uses, and how large the summed terms are.

``minisam verify`` runs these on random numbers; the tests draw many small and awkward ones instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minisam.reference import decoder_ops, ops
from minisam_kernels.attn import attention, cross_attention, rel_pos, window
from minisam_kernels.decoder import (
    gelu_masks,
    head_products,
    image_to_tokens,
    implied_layer_norm,
    norm_gelu,
    skinny_linear,
    tokens_to_image,
)
from minisam_kernels.layers import (
    conv2d,
    conv_transpose2d,
    gelu,
    layer_norm,
    linear,
    patch_embed,
    position_encoding,
    resize,
    softmax,
)
from minisam_kernels.losses import dice_loss, focal_loss, iou, stability_score
from minisam_kernels.masks import box_from_mask, mask_pixels, mask_runs, nms, rle


@dataclass
class Case:
    """``kernel(*arguments)`` against ``oracle(*arguments)``: an error up to tolerance · eps · magnitude is allowed.

    A tolerance of 0 means equal to the last bit (copies, counts).
    """

    name: str
    kernel: Callable[..., Any]
    oracle: Callable[..., Tensor]
    arguments: tuple[Any, ...]
    tolerance: float
    magnitude: Any = 1.0


def gradient(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The vector–Jacobian product of a loss, by torch's autograd: (grad, logits, targets) → gradient of the logits."""

    @torch.enable_grad()
    def backward(grad: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        logits = logits.detach().requires_grad_()
        return torch.autograd.grad(loss(logits, targets), logits, grad)[0]

    return backward


def kernel_cases(rng: np.random.Generator) -> Iterator[Case]:
    """All kernels, with fresh random numbers from ``rng``."""

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    def absolute(oracle: Callable[..., np.ndarray], *arguments: Any) -> np.ndarray:
        """The same sum over absolute values."""
        return oracle(*(np.abs(a).astype(np.float64) if isinstance(a, np.ndarray) else a for a in arguments))

    x, scale, shift = normal(4096, 768), normal(768), normal(768)
    size = (np.abs(x) + np.abs(x).max(-1, keepdims=True)) / x.std(-1, keepdims=True) * np.abs(scale) + np.abs(shift)
    arguments: tuple[Any, ...] = (x, scale, shift, 1e-6)
    yield Case("layer_norm", layer_norm.layer_norm, ops.layer_norm, arguments, layer_norm.TOLERANCE, size)
    arguments = (normal(1024, 768), normal(768, 768, scale=0.04), normal(768))
    magnitude = absolute(linear.linear_numpy, *arguments)
    yield Case("linear", linear.linear, ops.linear, arguments, linear.TOLERANCE, magnitude)
    wide = normal(1024, 3072, scale=2)
    yield Case("gelu", gelu.gelu, ops.gelu, (wide,), gelu.TOLERANCE, np.abs(wide))
    scores = normal(12, 196, 196, scale=3)
    spread = softmax.softmax_numpy(scores.astype(np.float64)) * (1 + scores.max(-1, keepdims=True) - scores)
    yield Case("softmax", softmax.softmax, ops.softmax, (scores,), softmax.TOLERANCE, spread)
    arguments = (normal(1, 256, 256, 3), normal(192, 3, 16, 16, scale=0.04), normal(192))
    magnitude = absolute(patch_embed.patch_embed_numpy, *arguments)
    yield Case("patch_embed", patch_embed.patch_embed, ops.patch_embed, arguments, patch_embed.TOLERANCE, magnitude)
    grid = normal(1, 64, 64, 96)
    yield Case("window_partition", window.window_partition, ops.window_partition, (grid, 14), 0)
    windows = normal(25, 14, 14, 96)
    yield Case("window_unpartition", window.window_unpartition, ops.window_unpartition, (windows, 14, (64, 64)), 0)
    table = normal(127, 64)
    yield Case(
        "get_rel_pos (interpolated)",
        rel_pos.get_rel_pos,
        ops.get_rel_pos,
        (32, 32, table),
        rel_pos.TABLE_TOLERANCE,
        np.abs(table).max(),
    )
    q, near = normal(2, 3, 14, 14, 64), normal(14, 14, 64)
    for axis in (0, 1):
        yield Case(
            f"decomposed_rel_pos ({'hw'[axis]})",
            lambda *a, axis=axis: rel_pos.decomposed_rel_pos(*a)[axis],
            lambda *a, axis=axis: ops.decomposed_rel_pos(*a)[axis],
            (q, near, near),
            rel_pos.TOLERANCE,
            rel_pos.decomposed_rel_pos_numpy(np.abs(q), np.abs(near), np.abs(near))[axis],
        )
    for kind, batch, side in (("windows", 4, 14), ("global", 1, 32)):
        qkv, tables = normal(batch, side, side, 3 * 192), (normal(2 * side - 1, 64, scale=0.1),) * 2
        q_norm, k_norm = (
            np.linalg.norm(qkv[..., i * 192 : (i + 1) * 192].reshape(-1, 64), axis=1).max() for i in (0, 1)
        )
        reach = 1 + q_norm * (k_norm / 8 + 2 * np.linalg.norm(tables[0], axis=1).max())
        largest = np.abs(qkv[..., 384:]).max() * reach
        yield Case(
            f"attention ({kind})", attention.attention, ops.attention, (qkv, 3, *tables), attention.TOLERANCE, largest
        )
    for name, arguments in {
        "conv2d (3 × 3)": (normal(1, 64, 64, 256), normal(256, 256, 3, 3, scale=0.02), None, 1, 1),
        "conv2d (1 × 1)": (normal(1, 64, 64, 768), normal(256, 768, 1, 1, scale=0.04), None, 1, 0),
        "conv2d (2 × 2, stride 2)": (normal(1, 256, 256, 1), normal(4, 1, 2, 2), normal(4), 2, 0),
    }.items():
        magnitude = absolute(conv2d.conv2d_numpy, *arguments)
        yield Case(name, conv2d.conv2d, ops.conv2d, arguments, conv2d.TOLERANCE, magnitude)
    arguments = (normal(1, 64, 64, 256), normal(256, 64, 2, 2, scale=0.06), normal(64))
    magnitude = absolute(conv_transpose2d.conv_transpose2d_numpy, *arguments)
    yield Case(
        "conv_transpose2d",
        conv_transpose2d.conv_transpose2d,
        ops.conv_transpose2d,
        arguments,
        conv_transpose2d.TOLERANCE,
        magnitude,
    )
    coords, gaussian = rng.uniform(0, 1, (1000, 2)).astype(np.float32), normal(2, 128)
    turns = 1 + 2 * np.pi * np.abs(2 * coords - 1) @ np.abs(gaussian)
    yield Case(
        "position_encoding",
        position_encoding.position_encoding,
        ops.position_encoding,
        (coords, gaussian),
        position_encoding.TOLERANCE,
        np.concatenate([turns, turns], axis=-1),
    )
    for kind, q_count, k_count in (("token → image", 9, 4096), ("image → token", 4096, 9)):
        q, k, v = normal(1, q_count, 128), normal(1, k_count, 128), normal(1, k_count, 128)
        dots = np.abs(q[0].reshape(-1, 8, 16)).sum(-1).max() * np.abs(k).max() / 4
        largest = (1 + dots) * np.abs(v).max()
        yield Case(
            f"cross_attention ({kind})",
            cross_attention.cross_attention,
            ops.cross_attention,
            (q, k, v, 8),
            cross_attention.TOLERANCE,
            largest,
        )
    picture = normal(3, 256, 256, 1)
    largest = np.abs(picture).max()
    yield Case("resize", resize.resize, ops.resize, (picture, (683, 1024)), resize.TOLERANCE, largest)
    logits, targets = normal(3, 256, 256, scale=3), (rng.random((3, 256, 256)) < 0.3).astype(np.float32)
    grad = normal(3)
    wrong = 1 / (1 + np.exp(logits * (2 * targets - 1)))
    terms = wrong**2 * np.log1p(np.exp(np.abs(logits))) * (3 + 2 * np.abs(logits))
    yield Case(
        "focal_loss", focal_loss.focal_loss, ops.focal_loss, (logits, targets), focal_loss.TOLERANCE, terms.mean((1, 2))
    )
    yield Case(
        "focal_loss_backward",
        focal_loss.focal_loss_backward,
        gradient(ops.focal_loss),
        (grad, logits, targets),
        focal_loss.TOLERANCE,
        np.abs(grad)[:, None, None] * terms / terms[0].size + 1e-12,
    )
    yield Case("dice_loss", dice_loss.dice_loss, ops.dice_loss, (logits, targets), dice_loss.TOLERANCE)
    p = 1 / (1 + np.exp(-logits))
    slope = 3 * np.abs(grad)[:, None, None] * p * (1 - p) / (p + targets).sum((1, 2), keepdims=True)
    yield Case(
        "dice_loss_backward",
        dice_loss.dice_loss_backward,
        gradient(ops.dice_loss),
        (grad, logits, targets),
        dice_loss.TOLERANCE,
        slope,
    )
    yield Case("iou", iou.iou, ops.iou, (logits > 0, targets > 0), 0.5)
    yield Case("stability_score", stability_score.stability_score, ops.stability_score, (logits,), 0.5)
    yield from decoder_cases(rng)
    yield from mask_cases(rng)


def decoder_cases(rng: np.random.Generator) -> Iterator[Case]:
    """The kernels of the fused decoder: a tile of 256 image tokens, 7 tokens, 8 heads of 16, C = 256."""

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    def absolute(oracle: Callable[..., Any], *arguments: np.ndarray) -> Any:
        return oracle(*(np.abs(a).astype(np.float64) for a in arguments))

    arguments: tuple[Any, ...] = (normal(7, 256), normal(2048, 256, scale=0.06), normal(2048))
    size = absolute(skinny_linear.skinny_linear_numpy, *arguments)
    yield Case(
        "skinny_linear",
        skinny_linear.skinny_linear,
        decoder_ops.skinny_linear,
        arguments,
        skinny_linear.TOLERANCE,
        size,
    )
    a, x, y = normal(8, 7, 16), normal(8, 16, 256), normal(8, 7, 256)
    size = absolute(head_products.head_products_numpy, a, x, y)
    limit = head_products.TOLERANCE
    yield Case("head_products", head_products.head_products, decoder_ops.head_products, (a, x, y), limit, size)
    size = absolute(head_products.head_moments_numpy, y, x)
    yield Case("head_moments", head_products.head_moments, decoder_ops.head_moments, (y, x), limit, size)
    arguments = (normal(8, 6, 16, scale=0.5), normal(8, 6), x, normal(8, 16, 256), normal(256), normal(8, 6, 256))
    k, bias, q, position, scale, known = (np.abs(b) for b in arguments)
    size = 1 + (k @ (scale * q + position) + bias[..., None] + known).max(axis=1, keepdims=True)
    op, limit = image_to_tokens.image_to_tokens, image_to_tokens.TOLERANCE
    yield Case("image_to_tokens", op, decoder_ops.image_to_tokens, arguments, limit, size)
    z, ways = normal(256, 256), normal(1, 129, 256, scale=0.1)
    z, ways = z - z.mean(axis=0), ways - ways.mean(axis=2, keepdims=True)
    values, scale, features = normal(1, 8, 7, 16), 1 + rng.random(256, np.float32), rng.random((49, 256), np.float32)
    yield Case(
        "implied_layer_norm",
        lambda *arguments: implied_layer_norm.implied_layer_norm(*arguments)[0],
        decoder_ops.implied_layer_norm,
        (z, ways, values, scale, features, 1e-5),
        implied_layer_norm.TOLERANCE,
        4 * implied_layer_norm.implied_layer_norm_numpy(z, ways, values, scale, features, 1e-5),
    )
    arguments = (normal(8, 7, 16, scale=0.5), *(normal(8, 16, 4096) for _ in range(3)), normal(4096))
    arguments = (*arguments, normal(56, 49, scale=0.2), normal(49, 4096))
    q, k, position, v, scale, factors, features = (np.abs(b) for b in arguments)
    reach = 1 + (q @ (scale * k + position) + (factors @ features).reshape(8, 7, -1)).max()
    for i, largest in enumerate(((scale * v).max(), features.max())):
        yield Case(
            f"tokens_to_image ({'values' if i == 0 else 'features'})",
            lambda *arguments, i=i: tokens_to_image.tokens_to_image(*arguments)[i],
            lambda *arguments, i=i: decoder_ops.tokens_to_image(*arguments)[i],
            arguments,
            tokens_to_image.TOLERANCE,
            reach * largest,
        )
    x, z, scale, bias = normal(256, 256), normal(256, 256), normal(256), normal(256)
    weight, shift = normal(64), normal(64)
    terms = (np.abs(x) + np.abs(scale * z) + np.abs(bias)[:, None]).reshape(4, 64, 256).max(axis=1, keepdims=True)
    size = (terms * np.abs(weight)[:, None] + np.abs(shift)[:, None]).reshape(256, 256)
    arguments = (x, z, scale, bias, weight, shift)
    yield Case("norm_gelu", norm_gelu.norm_gelu, decoder_ops.norm_gelu, arguments, norm_gelu.TOLERANCE, size)
    y, bias, vectors = normal(128, 64), normal(32), normal(3, 32)

    def masks(y: np.ndarray, bias: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        out = np.empty((3, 32, 32), np.float32)
        for corner in range(4):  # the same tile at each
            gelu_masks.gelu_masks(y, bias, vectors, corner, 0, 8, out)
        return out.reshape(3, 8, 2, 2, 8, 2, 2)[:, :, 0, :, :, 0].transpose(0, 2, 4, 1, 3).reshape(3, 4, 64)

    size = absolute(lambda y, b, v: np.einsum("mc,kcp->mkp", v, y.reshape(4, 32, -1) + b[:, None]), y, bias, vectors)
    yield Case("gelu_masks", masks, decoder_ops.gelu_masks, (y, bias, vectors), gelu_masks.TOLERANCE, size)


def mask_cases(rng: np.random.Generator) -> Iterator[Case]:
    """What answers with yes, no or whole numbers: it must be equal. Numbers are chosen so that float32 is exact."""
    smooth = resize.resize(rng.standard_normal((3, 16, 16, 1)).astype(np.float32), (256, 256))[..., 0]
    masks = resize.resize(smooth, (683, 1024)) > 0
    yield Case("box_from_mask", box_from_mask.box_from_mask, ops.box_from_mask, (masks,), 0)
    yield Case(
        "rle (encode, decode)",
        lambda masks: np.stack([rle.decode(counts, masks.shape[1:]) for counts in rle.encode(masks)]),
        lambda masks: decoded(ops.rle(masks), (masks.shape[1], masks.shape[2])),
        (masks,),
        0,
    )
    # Whole pixels up to 1024: areas are exact, and an IoU p/q with q < 2²¹ that is not 0.7 is 4.8e-8 or more from it,
    # further than float32 rounds there (3.0e-8).
    corners = rng.integers(0, 1024, (1000, 2)), rng.integers(0, 1024, (1000, 2))
    boxes = np.concatenate([np.minimum(*corners), np.maximum(*corners)], axis=1).astype(np.float32)
    scores = rng.permutation(1000).astype(np.float32)
    yield Case("nms", nms.nms, ops.nms, (boxes, scores, 0.7), 0)
    # Whole logits; four times as large and then half as large: weights are eighths and halves, every blend is exact.
    logits, sizes = np.round(8 * smooth), ((1024, 768), 1024, (512, 384))
    yield Case(
        "mask_pixels",
        mask_pixels.mask_pixels,
        lambda z, cut, square, size: ops.resize(ops.resize(z, (square, square))[:, : cut[0], : cut[1]], size) > 0,
        (logits, *sizes),
        0,
    )
    yield Case(
        "mask_runs (masks)",
        lambda *arguments: np.stack([rle.decode(counts, (512, 384)) for counts in mask_runs.mask_runs(*arguments)[0]]),
        lambda *arguments: decoded(ops.mask_runs(*arguments)[0], (512, 384)),
        (logits, *sizes),
        0,
    )
    yield Case(
        "mask_runs (area, box, stability)",
        lambda *arguments: np.column_stack(mask_runs.mask_runs(*arguments)[1:]),
        lambda *arguments: torch.column_stack([n.cpu().float() for n in ops.mask_runs(*arguments)[1:]]),
        (logits, *sizes),
        0,
    )


def decoded(counts: list[Tensor], size: tuple[int, int]) -> Tensor:
    """Run lengths down the columns → masks (M, H, W) of 0 and 1."""
    values = (torch.arange(len(runs), device=runs.device).remainder(2).repeat_interleave(runs) for runs in counts)
    return torch.stack([mask.reshape(size[1], size[0]).T for mask in values])
