"""What every contender is: a model from a file of weights, and work that can be done again and again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], Any]


class Contender:
    """``weights``: a safetensors file with official names; ``folder``: ONNX files and the image of "everything"."""

    packages: tuple[str, ...] = ()

    def __init__(self, weights: str, folder: str, threads: int) -> None:
        from minisam.checkpoints.loading import load

        self.folder, self.threads = Path(folder), threads
        self.sam = load(weights)
        self.config = self.sam.config

    def math(self) -> list[str]:
        """What multiplies the matrices."""
        from threadpoolctl import threadpool_info

        libraries = (info for info in threadpool_info() if info["user_api"] == "blas" and "numpy" in info["filepath"])
        return sorted(f"{info['internal_api']} {info['version']} {info.get('architecture', '')}" for info in libraries)

    def prepare(self, kind: str, options: dict[str, Any]) -> Call:
        """A function that does the work once."""
        return getattr(self, kind)(**options)

    def picture(self) -> np.ndarray:
        """uint8 (S, S, 3): noise, for the arithmetic does not care."""
        size = self.config.image_size
        return np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)

    def embedding(self) -> np.ndarray:
        """(1, h, w, C) as an encoder might give it: its last step is a LayerNorm, so mean 0 and deviation 1."""
        side, rng = self.config.image_embedding_size, np.random.default_rng(1)
        return rng.standard_normal((1, side, side, self.config.prompt_embed_dim), dtype=np.float32)

    def points(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """coords (count, 1, 2) in pixels of the model's input, labels (count, 1)."""
        coords = np.random.default_rng(2).uniform(0, self.config.image_size, (count, 1, 2))
        return coords.astype(np.float32), np.ones((count, 1), np.float32)

    def sgemm(self, size: int) -> Call:
        """A product of two matrices in NumPy."""
        a, b = np.ones((2, size, size), np.float32)
        return lambda: a @ b


def subset(options: dict[str, Any], every: int) -> dict[str, Any]:
    """Every ``every``-th point of the grid in both directions, from its middle; nothing to change where that is all."""
    if every == 1:
        return {}
    side = options["points_per_side"]
    middles = (np.arange(side)[every // 2 :: every] + 0.5) / side
    x, y = np.meshgrid(middles, middles)
    return {"points_per_side": None, "point_grids": [np.stack([x.ravel(), y.ravel()], axis=1)]}
