"""Attention among image tokens, with decomposed relative positions: over a window or over the whole image.

    y_i = Σⱼ softmaxⱼ(q_i · k_j · D^−½ + q_i · R_h[h_i, h_j] + q_i · R_w[w_i, w_j]) v_j        for every head

Source: Vaswani et al. 2017, eq. 1; SAM's ``Attention`` (ViTDet), whose relative positions multiply the unscaled query
(see ``rel_pos``).

Shapes: qkv (B, H, W, 3 · C), whose last axis is laid out as (q k v, heads, D); rel_pos_h and rel_pos_w (L, D), any L
(2H − 1 and 2W − 1 need no interpolation), or None → (B, H, W, C). B counts images or windows.
Errors: ``InputError`` when the sizes do not fit, or only one of the tables is given.
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.errors import as_float32, expect_ndim
from minisam_kernels.rel_pos import decomposed_rel_pos_numpy, get_rel_pos_numpy
from minisam_kernels.softmax import softmax_numpy
from minisam_kernels.threads import parallel_for


def attention_numpy(
    qkv: np.ndarray, num_heads: int, rel_pos_h: np.ndarray | None = None, rel_pos_w: np.ndarray | None = None
) -> np.ndarray:
    """The equation above, with all N × N scores at once. qkv (B, H, W, 3 · C) → (B, H, W, C), in the dtype of qkv."""
    B, H, W, C = *qkv.shape[:3], qkv.shape[3] // 3
    N, D = H * W, C // num_heads
    q, k, v = qkv.reshape(B, N, 3, num_heads, D).transpose(2, 0, 3, 1, 4)  # each (B, heads, N, D)
    scores = (q * D**-0.5) @ k.transpose(0, 1, 3, 2)  # (B, heads, N, N)
    if rel_pos_h is not None and rel_pos_w is not None:
        rel_h, rel_w = get_rel_pos_numpy(H, H, rel_pos_h), get_rel_pos_numpy(W, W, rel_pos_w)
        bias_h, bias_w = decomposed_rel_pos_numpy(q.reshape(B, num_heads, H, W, D), rel_h, rel_w)
        bias = bias_h[..., :, None] + bias_w[..., None, :]  # (B, heads, H, W, H, W)
        scores = scores + bias.reshape(B, num_heads, N, N)
    y = softmax_numpy(scores) @ v  # (B, heads, N, D)
    return y.transpose(0, 2, 1, 3).reshape(B, H, W, C)


def attention(
    qkv: np.ndarray, num_heads: int, rel_pos_h: np.ndarray | None = None, rel_pos_w: np.ndarray | None = None
) -> np.ndarray:
    """Tokens look at tokens. qkv (B, H, W, 3 · C) → float32 (B, H, W, C). See the module's text."""
    qkv = as_float32("qkv", qkv)
    expect_ndim("qkv", qkv, 4, "(B, H, W, 3 * C)")
    out = np.empty((*qkv.shape[:3], qkv.shape[3] // 3), np.float32)

    def piece(i: int) -> None:
        out[i] = attention_numpy(qkv[i : i + 1], num_heads, rel_pos_h, rel_pos_w)[0]

    parallel_for(piece, len(qkv))
    return out
