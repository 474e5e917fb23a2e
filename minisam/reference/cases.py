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

from minisam.reference import ops
from minisam_kernels import (
    attention,
    conv2d,
    conv_transpose2d,
    dice_loss,
    focal_loss,
    gelu,
    iou,
    layer_norm,
    linear,
    patch_embed,
    position_encoding,
    rel_pos,
    resize,
    softmax,
    stability_score,
    two_way,
    window,
)


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
            f"two_way_attention ({kind})",
            two_way.two_way_attention,
            ops.two_way_attention,
            (q, k, v, 8),
            two_way.TOLERANCE,
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
