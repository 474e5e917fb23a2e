"""Weights under a prefix: ``state / "attn" / "qkv"`` is the part of a state dict whose names begin so.

The model's classes hold no arrays of their own. Each reads its weights from such a view, by the names of the official
checkpoints, in the line where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minisam_kernels.layers.conv2d import conv2d
from minisam_kernels.layers.conv_transpose2d import conv_transpose2d
from minisam_kernels.layers.layer_norm import layer_norm
from minisam_kernels.layers.linear import linear


class State:
    """A view of ``weights`` below ``prefix``, with the four layers that carry weights as methods."""

    def __init__(self, weights: Mapping[str, np.ndarray], prefix: str = "") -> None:
        self._weights, self._prefix = weights, prefix

    def __truediv__(self, name: str | int) -> State:
        return State(self._weights, f"{self._prefix}{name}.")

    def __getitem__(self, name: str) -> np.ndarray:
        return self._weights[self._prefix + name]

    def get(self, name: str) -> np.ndarray | None:
        return self._weights.get(self._prefix + name)

    def linear(self, x: np.ndarray) -> np.ndarray:
        """x (..., C_in) → (..., C_out)."""
        return linear(x, self["weight"], self["bias"])

    def layer_norm(self, x: np.ndarray, eps: float) -> np.ndarray:
        """x (..., C) → (..., C)."""
        return layer_norm(x, self["weight"], self["bias"], eps)

    def conv2d(self, x: np.ndarray, stride: int = 1, padding: int = 0) -> np.ndarray:
        """x (B, H, W, C_in) → (B, H', W', C_out); a layer without a bias has none in the state."""
        return conv2d(x, self["weight"], self.get("bias"), stride, padding)

    def conv_transpose2d(self, x: np.ndarray) -> np.ndarray:
        """x (B, H, W, C_in) → (B, 2H, 2W, C_out)."""
        return conv_transpose2d(x, self["weight"], self["bias"])
