"""Models that are small enough for a test, and something for them to see."""

from __future__ import annotations

import dataclasses

import numpy as np

from minisam.model.config import CONFIGS, SamConfig

SMALL = SamConfig(
    name="small",
    image_size=64,
    patch_size=8,
    encoder_embed_dim=16,
    encoder_depth=2,
    encoder_num_heads=2,
    encoder_global_attn_indexes=(1,),
    window_size=4,
    prompt_embed_dim=16,
    decoder_num_heads=2,
    decoder_mlp_dim=24,
    iou_head_hidden_dim=16,
)


def shallow(name: str, side: int, window_size: int) -> SamConfig:
    """A configuration's widths and heads with one block in windows, one over everything, side × side tokens."""
    patch = CONFIGS[name].patch_size
    changes = {"image_size": side * patch, "window_size": window_size}
    return dataclasses.replace(CONFIGS[name], encoder_depth=2, encoder_global_attn_indexes=(1,), **changes)


def small(name: str, **changes: object) -> SamConfig:
    """A configuration with its widths, heads and patches, at a reduced depth and image size: 20 × 20 tokens.

    20 is no multiple of the window, 14, so the last windows are filled up with zeros, as 64 are in the full model.
    """
    side = 20 * CONFIGS[name].patch_size
    defaults: dict[str, object] = {"image_size": side, "encoder_depth": 2, "encoder_global_attn_indexes": (1,)}
    return dataclasses.replace(CONFIGS[name], **{**defaults, **changes})


TWO_BLOCKS = small("tiny", image_size=64, window_size=5)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours, so that a model has something to see."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, -(-height // 5), 0), -(-width // 5), 1)[:height, :width]
