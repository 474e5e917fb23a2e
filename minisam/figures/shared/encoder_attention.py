"""What one token of an image looks at in one block of the encoder: the scores and weights of the real model.

The score of query i and key j has two parts, q_i · k_j / √D (content) and the decomposed relative position (see
``minisam_kernels.attn.rel_pos``). Source: the model's own weights and ``attention_numpy``'s equation, for one query. In
a windowed block the keys are the window's, padding included, whose q, k, v are the bias of the qkv map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minisam.figures.shared.tokens import Seen
from minisam.sam import Sam
from minisam_kernels.attn.rel_pos import get_rel_pos
from minisam_kernels.layers.norm_linear import norm_linear
from minisam_kernels.layers.softmax import softmax_numpy
from minisam_kernels.runtime.errors import InputError


@dataclass(frozen=True)
class Look:
    """One query token's scores. kh × kw are the keys: the window, or the whole grid."""

    content: np.ndarray
    """(heads, kh, kw): q · k / √D"""
    position: np.ndarray
    """(heads, kh, kw): what the relative positions add"""
    value: np.ndarray
    """(heads, kh, kw, D)"""
    corner: tuple[int, int]
    """the token (row, column) of the first key"""
    side: int
    """tokens along a side of the grid"""

    def weights(self, with_position: bool = True) -> np.ndarray:
        """(heads, kh, kw), each head's sum 1."""
        scores = self.content + self.position if with_position else self.content
        return softmax_numpy(scores.reshape(len(scores), -1)).reshape(scores.shape)

    def on_grid(self, values: np.ndarray) -> np.ndarray:
        """values (kh, kw) of the keys → (side, side), NaN where there is no key; keys beyond the grid are cut off."""
        grid = np.full((self.side, self.side), np.nan)
        top, left = self.corner
        part = values[: self.side - top, : self.side - left]
        grid[top : top + part.shape[0], left : left + part.shape[1]] = part
        return grid


def block_inputs(seen: Seen) -> list[np.ndarray]:
    """The tokens (h, w, C) that go into each block, and those that leave the last."""
    encoder = seen.sam.image_encoder
    x = encoder.embed_patches(seen.x)
    inputs = [x[0]]
    for i in range(seen.sam.config.encoder_depth):
        x = encoder.block(i, x)
        inputs.append(x[0])
    return inputs


def qkv_of(sam: Sam, i: int, x: np.ndarray) -> np.ndarray:
    """tokens (h, w, C) → what block ``i`` makes of them: (h, w, 3, heads, D), in the order q, k, v."""
    state, heads = sam.image_encoder.state / "blocks" / i, sam.config.encoder_num_heads
    norm, attn = state / "norm1", state / "attn" / "qkv"
    qkv = norm_linear(x[None], norm["weight"], norm["bias"], attn["weight"], attn["bias"], 1e-6)[0]
    return qkv.reshape(*qkv.shape[:2], 3, heads, -1)


def look(sam: Sam, i: int, x: np.ndarray, token: tuple[int, int]) -> Look:
    """What ``token`` (row, column) of the tokens x (h, w, C) looks at in block ``i``."""
    if not 0 <= i < sam.config.encoder_depth:
        raise InputError(f"expected a block from 0 to {sam.config.encoder_depth - 1}, got {i}")
    side = x.shape[0]
    if not (0 <= token[0] < side and 0 <= token[1] < side):
        raise InputError(f"expected a token (row, column) from 0 to {side - 1}, got {token}")
    attn = sam.image_encoder.state / "blocks" / i / "attn"
    qkv = qkv_of(sam, i, x)
    size, corner = side, (0, 0)
    if i not in sam.config.encoder_global_attn_indexes:
        size = sam.config.window_size
        corner = (token[0] // size * size, token[1] // size * size)
        filled = np.empty((size, size, *qkv.shape[2:]), np.float32)
        filled[:] = attn["qkv.bias"].reshape(qkv.shape[2:])
        part = qkv[corner[0] : corner[0] + size, corner[1] : corner[1] + size]
        filled[: part.shape[0], : part.shape[1]] = part
        qkv = filled
    row, column = token[0] - corner[0], token[1] - corner[1]
    query, key, value = qkv[row, column, 0], qkv[:, :, 1], np.moveaxis(qkv[:, :, 2], 2, 0)  # query (heads, D)
    content = np.einsum("nd,ywnd->nyw", query, key) * query.shape[-1] ** -0.5
    by_row = np.einsum("nd,yd->ny", query, get_rel_pos(size, size, attn["rel_pos_h"])[row])
    by_column = np.einsum("nd,wd->nw", query, get_rel_pos(size, size, attn["rel_pos_w"])[column])
    return Look(content, by_row[:, :, None] + by_column[:, None, :], value, corner, side)
