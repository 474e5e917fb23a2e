"""The released code's table of models: a name → a function that takes a checkpoint. ``minisam.load`` does the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from minisam.checkpoints.loading import load
from minisam.sam import Sam, build


def build_sam_vit_h(checkpoint: str | Path | None = None) -> Sam:
    """``minisam.load("vit_h", checkpoint)``; random weights without a checkpoint, as in the released code."""
    return build("vit_h") if checkpoint is None else load("vit_h", checkpoint)


def build_sam_vit_l(checkpoint: str | Path | None = None) -> Sam:
    """``minisam.load("vit_l", checkpoint)``; random weights without a checkpoint, as in the released code."""
    return build("vit_l") if checkpoint is None else load("vit_l", checkpoint)


def build_sam_vit_b(checkpoint: str | Path | None = None) -> Sam:
    """``minisam.load("vit_b", checkpoint)``; random weights without a checkpoint, as in the released code."""
    return build("vit_b") if checkpoint is None else load("vit_b", checkpoint)


def build_sam_tiny(checkpoint: str | Path | None = None) -> Sam:
    """``minisam.load("tiny", checkpoint)``; without a checkpoint the weights that come with minisam."""
    return load("tiny", checkpoint)


build_sam = build_sam_vit_h
sam_model_registry: dict[str, Callable[..., Sam]] = {
    "default": build_sam_vit_h,
    "vit_h": build_sam_vit_h,
    "vit_l": build_sam_vit_l,
    "vit_b": build_sam_vit_b,
    "tiny": build_sam_tiny,
}
