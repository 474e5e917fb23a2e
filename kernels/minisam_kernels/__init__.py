"""The operations of Segment Anything, one a file: an equation, a NumPy version to read, compiled loops that are fast.

An operation, its NumPy version and the module of run lengths are imported without the name of a folder::

    from minisam_kernels import layer_norm, layer_norm_numpy, nms, rle

A file is loaded when its name is first used, so ``import minisam_kernels`` itself is quick and does not load Numba.

=========== ==================================================================
``runtime`` what every kernel stands on: compiling, threads, checked input
``layers``  linear maps, norms, convolutions, position encoding, resizing
``attn``    attention over images, in windows and between prompt and image
``losses``  what training and evaluation measure
``decoder`` what only the fused mask decoder uses
``masks``   what is done with finished masks: run lengths, boxes, suppression
=========== ==================================================================

The legend of shapes, used in the whole code base. Arrays are channels-last, ``(B, H, W, C)``.

======== =====================================================================
B        batch: images, or prompts of one image
H, W     height and width, in pixels or in tokens
C        channels, the width of a token (``embed_dim``)
N        number of image tokens, H · W
heads    attention heads
D        width of one head, C / heads
T        prompt tokens: IoU token, mask tokens, points and box corners
P        points of a prompt
M        masks
======== =====================================================================

Coordinates are (x, y) in pixels unless a name says (row, column) or [0, 1]; the centre of the first pixel is at
(0.5, 0.5). An operation takes any real dtype and any memory layout and returns new C-contiguous float32 arrays, unless
it says otherwise (those on masks take booleans and return pixels, boxes or counts); weights have the layout of the
official checkpoints. Bad input raises ``InputError``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from minisam_kernels.runtime.errors import InputError as InputError

if TYPE_CHECKING:
    from minisam_kernels.attn.attention import attention as attention
    from minisam_kernels.attn.cross_attention import cross_attention as cross_attention
    from minisam_kernels.attn.rel_pos import decomposed_rel_pos as decomposed_rel_pos
    from minisam_kernels.attn.rel_pos import get_rel_pos as get_rel_pos
    from minisam_kernels.attn.window import window_partition as window_partition
    from minisam_kernels.attn.window import window_unpartition as window_unpartition
    from minisam_kernels.attn.window_attention import window_attention as window_attention
    from minisam_kernels.decoder.gelu_masks import gelu_masks as gelu_masks
    from minisam_kernels.decoder.head_products import head_moments as head_moments
    from minisam_kernels.decoder.head_products import head_products as head_products
    from minisam_kernels.decoder.image_to_tokens import image_to_tokens as image_to_tokens
    from minisam_kernels.decoder.implied_layer_norm import implied_layer_norm as implied_layer_norm
    from minisam_kernels.decoder.merge_tiles import merge_tiles as merge_tiles
    from minisam_kernels.decoder.norm_gelu import norm_gelu as norm_gelu
    from minisam_kernels.decoder.skinny_linear import skinny_linear as skinny_linear
    from minisam_kernels.decoder.tokens_to_image import tokens_to_image as tokens_to_image
    from minisam_kernels.layers.conv2d import conv2d as conv2d
    from minisam_kernels.layers.conv_transpose2d import conv_transpose2d as conv_transpose2d
    from minisam_kernels.layers.gelu import gelu as gelu
    from minisam_kernels.layers.layer_norm import layer_norm as layer_norm
    from minisam_kernels.layers.linear import linear as linear
    from minisam_kernels.layers.mlp import mlp as mlp
    from minisam_kernels.layers.norm_linear import norm_linear as norm_linear
    from minisam_kernels.layers.patch_embed import patch_embed as patch_embed
    from minisam_kernels.layers.position_encoding import position_encoding as position_encoding
    from minisam_kernels.layers.position_encoding import position_grid as position_grid
    from minisam_kernels.layers.resize import resize as resize
    from minisam_kernels.layers.softmax import softmax as softmax
    from minisam_kernels.losses.dice_loss import dice_loss as dice_loss
    from minisam_kernels.losses.dice_loss import dice_loss_backward as dice_loss_backward
    from minisam_kernels.losses.focal_loss import focal_loss as focal_loss
    from minisam_kernels.losses.focal_loss import focal_loss_backward as focal_loss_backward
    from minisam_kernels.losses.iou import iou as iou
    from minisam_kernels.losses.stability_score import stability_score as stability_score
    from minisam_kernels.masks import rle as rle
    from minisam_kernels.masks.block_levels import block_levels as block_levels
    from minisam_kernels.masks.box_from_mask import box_from_mask as box_from_mask
    from minisam_kernels.masks.mask_pixels import mask_pixels as mask_pixels
    from minisam_kernels.masks.mask_runs import mask_runs as mask_runs
    from minisam_kernels.masks.nms import nms as nms
    from minisam_kernels.masks.strip_bits import strip_bits as strip_bits

_NAMES = {
    "attn.attention": ["attention"],
    "attn.cross_attention": ["cross_attention"],
    "attn.rel_pos": ["decomposed_rel_pos", "get_rel_pos"],
    "attn.window": ["window_partition", "window_unpartition"],
    "attn.window_attention": ["window_attention"],
    "decoder.gelu_masks": ["gelu_masks"],
    "decoder.head_products": ["head_moments", "head_products"],
    "decoder.image_to_tokens": ["image_to_tokens"],
    "decoder.implied_layer_norm": ["implied_layer_norm"],
    "decoder.merge_tiles": ["merge_tiles"],
    "decoder.norm_gelu": ["norm_gelu"],
    "decoder.skinny_linear": ["skinny_linear"],
    "decoder.tokens_to_image": ["tokens_to_image"],
    "layers.conv2d": ["conv2d"],
    "layers.conv_transpose2d": ["conv_transpose2d"],
    "layers.gelu": ["gelu"],
    "layers.layer_norm": ["layer_norm"],
    "layers.linear": ["linear"],
    "layers.mlp": ["mlp"],
    "layers.norm_linear": ["norm_linear"],
    "layers.patch_embed": ["patch_embed"],
    "layers.position_encoding": ["position_encoding", "position_grid"],
    "layers.resize": ["resize"],
    "layers.softmax": ["softmax"],
    "losses.dice_loss": ["dice_loss"],
    "losses.focal_loss": ["focal_loss"],
    "losses.iou": ["iou"],
    "losses.stability_score": ["stability_score"],
    "masks.block_levels": ["block_levels"],
    "masks.box_from_mask": ["box_from_mask"],
    "masks.mask_pixels": ["mask_pixels"],
    "masks.mask_runs": ["mask_runs"],
    "masks.nms": ["nms"],
    "masks.strip_bits": ["strip_bits"],
    "masks.rle": ["rle"],
}
_HOMES = {name: f"minisam_kernels.{file}" for file, names in _NAMES.items() for name in names}
__all__ = ["InputError", *_HOMES]


def __getattr__(name: str) -> Any:
    """An operation's function; ``<op>_numpy`` and ``<op>_backward`` stand in the file of ``<op>``."""
    operation = name.removesuffix("_numpy").removesuffix("_backward")
    if operation not in _HOMES:
        raise AttributeError(f"module 'minisam_kernels' has no attribute {name!r}")
    home = import_module(_HOMES[operation])
    return home if name == "rle" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
