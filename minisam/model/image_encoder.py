"""The image encoder: a vision transformer that turns an image into a grid of features, once per image.

Source: paper, section 3 and appendix A; Dosovitskiy et al. 2021 (patches as tokens), Li et al. 2022 (ViTDet: attention
in windows, everywhere only in a few blocks). This is the heavy part; all that follows reads its result.
"""

from __future__ import annotations

import numpy as np

from minisam.model.config import SamConfig
from minisam.model.state import State
from minisam_kernels import InputError
from minisam_kernels.attn.attention import attention
from minisam_kernels.attn.window import window_partition, window_unpartition
from minisam_kernels.attn.window_attention import window_attention
from minisam_kernels.layers.gelu import gelu
from minisam_kernels.layers.linear import linear
from minisam_kernels.layers.mlp import mlp
from minisam_kernels.layers.norm_linear import norm_linear
from minisam_kernels.layers.patch_embed import patch_embed
from minisam_kernels.runtime.threads import blas_at_one_thread


class ImageEncoderViT:
    """Normalised images (B, S, S, 3) → image embeddings (B, h, w, prompt_embed_dim), h = w = S / patch_size."""

    def __init__(self, config: SamConfig, state: State) -> None:
        self.config, self.state = config, state
        self.img_size = config.image_size  # the released code's name

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Patches, positions, blocks, neck. Expects zeros where an image that is not square was padded."""
        size = self.config.image_size
        if image.ndim != 4 or image.shape[1:] != (size, size, 3):
            raise InputError(f"expected image of shape (B, {size}, {size}, 3), got {image.shape}")
        with blas_at_one_thread():  # once for all layers
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
        """x (B, h, w, C) → the same shape: x + attention(norm1(x)), then x + mlp(norm2(x)).

        This is ``plain_block`` with fewer walks through memory: each of the four lines makes one.
        """
        state = self.state / "blocks" / i
        attn, mlp_state = state / "attn", state / "mlp"
        qkv = norm_linear(x, *_pair(state / "norm1"), *_pair(attn / "qkv"), eps=1e-6)  # (B, h, w, 3 · C)
        y = self.attend(i, qkv)
        x = linear(y, *_pair(attn / "proj"), residual=x)
        return mlp(x, *_pair(state / "norm2"), *_pair(mlp_state / "lin1"), *_pair(mlp_state / "lin2"), eps=1e-6)

    def attend(self, i: int, qkv: np.ndarray) -> np.ndarray:
        """Self-attention of every token, qkv (B, h, w, 3 · C), to all tokens of the image, or of its window."""
        attn, heads = self.state / "blocks" / i / "attn", self.config.encoder_num_heads
        tables = attn["rel_pos_h"], attn["rel_pos_w"]
        if i in self.config.encoder_global_attn_indexes:
            return attention(qkv, heads, *tables)
        # Windows at the edge are padded with tokens whose q, k, v are the bias of qkv; nothing masks them.
        return window_attention(qkv, (attn / "qkv")["bias"], heads, self.config.window_size, *tables)

    def plain_block(self, i: int, x: np.ndarray) -> np.ndarray:
        """``block``, operation by operation, as the paper's figure has it: to read, and to compare with."""
        state = self.state / "blocks" / i
        attn, size = state / "attn", (x.shape[1], x.shape[2])
        y = (state / "norm1").layer_norm(x, eps=1e-6)
        windowed = i not in self.config.encoder_global_attn_indexes
        if windowed:
            # (B, h, w, C) → (B · windows, size, size, C). The last windows are padded with zeros *after* the norm, and
            # nothing masks them: they are keys like all others.
            y = window_partition(y, self.config.window_size)
        # softmax(q kᵀ / √D + bias of relative positions) v, in every window or over all tokens
        qkv = (attn / "qkv").linear(y)
        y = attention(qkv, self.config.encoder_num_heads, attn["rel_pos_h"], attn["rel_pos_w"])
        y = (attn / "proj").linear(y)
        if windowed:
            y = window_unpartition(y, self.config.window_size, size)  # → (B, h, w, C), the padding cut off
        x = x + y
        # The MLP: to four times the width, GELU, and back.
        z = (state / "norm2").layer_norm(x, eps=1e-6)
        return x + (state / "mlp" / "lin2").linear(gelu((state / "mlp" / "lin1").linear(z)))

    def neck(self, x: np.ndarray) -> np.ndarray:
        """x (B, h, w, C) → (B, h, w, prompt_embed_dim): a 1×1 and a 3×3 convolution, each followed by a LayerNorm."""
        neck = self.state / "neck"
        x = (neck / 1).layer_norm((neck / 0).conv2d(x), eps=1e-6)
        return (neck / 3).layer_norm((neck / 2).conv2d(x, padding=1), eps=1e-6)


def _pair(layer: State) -> tuple[np.ndarray, np.ndarray]:
    return layer["weight"], layer["bias"]
