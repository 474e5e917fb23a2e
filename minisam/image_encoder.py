"""The image encoder: a vision transformer that turns a picture into a grid of features, once per picture.

Source: paper, section 3 and appendix A; Dosovitskiy et al. 2021 (patches as tokens), Li et al. 2022 (ViTDet: attention
in windows, everywhere only in a few blocks). This is the heavy part; all that follows reads its result.
"""

from __future__ import annotations

import numpy as np

from minisam.config import SamConfig
from minisam.state import State
from minisam_kernels import InputError
from minisam_kernels.attention import attention
from minisam_kernels.gelu import gelu
from minisam_kernels.patch_embed import patch_embed
from minisam_kernels.window import window_partition, window_unpartition


class ImageEncoderViT:
    """Normalised pictures (B, S, S, 3) → image embeddings (B, h, w, prompt_embed_dim), h = w = S / patch_size."""

    def __init__(self, config: SamConfig, state: State) -> None:
        self.config, self.state = config, state

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Patches, positions, blocks, neck. Expects zeros where a picture that is not square was filled up."""
        size = self.config.image_size
        if image.ndim != 4 or image.shape[1:] != (size, size, 3):
            raise InputError(f"expected image of shape (B, {size}, {size}, 3), got {image.shape}")
        x = self.embed_patches(image)
        for i in range(self.config.encoder_depth):
            x = self.block(i, x)
        return self.neck(x)

    def embed_patches(self, image: np.ndarray) -> np.ndarray:
        """image (B, S, S, 3) → tokens (B, h, w, C), each with its absolute position added."""
        projection = self.state / "patch_embed" / "proj"
        x = patch_embed(image, projection["weight"], projection["bias"])
        x += self.state["pos_embed"]
        return x

    def block(self, i: int, x: np.ndarray) -> np.ndarray:
        """x (B, h, w, C) → the same shape: x + attention(norm1(x)), then x + mlp(norm2(x))."""
        state = self.state / "blocks" / i
        size = (x.shape[1], x.shape[2])
        y = (state / "norm1").layer_norm(x, eps=1e-6)
        if i in self.config.encoder_global_attn_indexes:
            y = self.attend(state / "attn", y)
        else:
            # Zeros fill the last windows *after* the norm and nothing masks them: they are keys like all others.
            windows = window_partition(y, self.config.window_size)
            y = window_unpartition(self.attend(state / "attn", windows), self.config.window_size, size)
        y += x
        z = (state / "norm2").layer_norm(y, eps=1e-6)
        y += (state / "mlp" / "lin2").linear(gelu((state / "mlp" / "lin1").linear(z)))
        return y

    def attend(self, state: State, x: np.ndarray) -> np.ndarray:
        """Self-attention of every token of x (B, H, W, C) to all tokens of its window or picture."""
        qkv = (state / "qkv").linear(x)  # (B, H, W, 3 · C)
        y = attention(qkv, self.config.encoder_num_heads, state["rel_pos_h"], state["rel_pos_w"])
        return (state / "proj").linear(y)

    def neck(self, x: np.ndarray) -> np.ndarray:
        """x (B, h, w, C) → (B, h, w, prompt_embed_dim): a 1×1 and a 3×3 convolution, each followed by a LayerNorm."""
        neck = self.state / "neck"
        x = (neck / 1).layer_norm((neck / 0).conv2d(x), eps=1e-6)
        return (neck / 3).layer_norm((neck / 2).conv2d(x, padding=1), eps=1e-6)
