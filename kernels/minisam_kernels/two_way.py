"""Attention between a few prompt tokens and many image tokens, in either direction, as in SAM's mask decoder.

    Y = softmax(Q Kᵀ / √D) V,    for every prompt and head; D = C / heads

Source: Vaswani et al. 2017, eq. 1; the paper's figure 14 ("token to image", "image to token").

Shapes: q (B, Nq, C); k, v (B, Nk, C) → (B, Nq, C). Each of q, k, v may have B = 1 and then serves all prompts.
Channels are laid out as (heads, D).
Errors: ``InputError`` when shapes do not fit, C is not a multiple of num_heads, or there is no key.
Accuracy: ``TOLERANCE`` · eps · (1 + largest Σ |q k| / √D) times the largest |v|: an error in a score is a relative
error of its weight.
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.errors import as_float32, expect_ndim

TOLERANCE = 8.0  # × eps × magnitude; see above


def two_way_attention_numpy(q: np.ndarray, k: np.ndarray, v: np.ndarray, num_heads: int) -> np.ndarray:
    """The equation above. q (B, Nq, C), k, v (B, Nk, C) → (B, Nq, C), in the dtype of q."""
    width = q.shape[2] // num_heads

    def heads(x: np.ndarray) -> np.ndarray:  # (B, N, C) → (B, heads, N, D)
        return x.reshape(*x.shape[:2], num_heads, width).transpose(0, 2, 1, 3)

    scores = heads(q) @ heads(k).swapaxes(2, 3) / np.sqrt(width).astype(q.dtype)  # (B, heads, Nq, Nk)
    weights = np.exp(scores - scores.max(axis=3, keepdims=True))
    weights /= weights.sum(axis=3, keepdims=True)
    mixed = (weights @ heads(v)).transpose(0, 2, 1, 3)  # (B, Nq, heads, D)
    return mixed.reshape(*mixed.shape[:2], q.shape[2])


def two_way_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, num_heads: int) -> np.ndarray:
    """q (B, Nq, C), k, v (B, Nk, C) → float32 (B, Nq, C). See the module's text."""
    q, k, v = as_float32("q", q), as_float32("k", k), as_float32("v", v)
    for name, x in (("q", q), ("k", k), ("v", v)):
        expect_ndim(name, x, 3, "(B, N, C)")
    return np.ascontiguousarray(two_way_attention_numpy(q, k, v, num_heads))
