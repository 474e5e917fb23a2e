"""The mask decoder for many prompts about one picture: what depends on the picture alone is computed once.

A first version on top of the plain decoder; the interface is the one that stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minisam.prompt_encoder import PromptEncoder
from minisam_kernels.threads import parallel_for

if TYPE_CHECKING:
    from minisam.mask_decoder import MaskDecoder


@dataclass(frozen=True)
class ImageTerms:
    """What the decoder knows about a picture before any prompt comes."""

    image: np.ndarray  # (1, h, w, C)
    image_pe: np.ndarray  # (h, w, C)


class FusedDecoder:
    """``prepare`` once a picture, then ``decode`` or ``decode_each`` for prompts."""

    def __init__(self, plain: MaskDecoder, prompt_encoder: PromptEncoder) -> None:
        self.plain, self.prompt_encoder = plain, prompt_encoder

    def prepare(self, image: np.ndarray, image_pe: np.ndarray) -> ImageTerms:
        """image (1, h, w, C), image_pe (h, w, C) → the picture's terms."""
        return ImageTerms(image, image_pe)

    def decode(
        self, terms: ImageTerms, sparse: np.ndarray, mask_input: np.ndarray | None, multimask_output: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """sparse (B, T, C), mask_input (B, 1, 4h, 4w) or None → logits (B, M, 4h, 4w), predicted IoU (B, M)."""
        encoder = self.prompt_encoder
        dense = encoder.no_mask() if mask_input is None else encoder.embed_masks(mask_input)
        return self.plain(terms.image, terms.image_pe, sparse, dense, multimask_output)

    def decode_each(
        self,
        terms: ImageTerms,
        sparse: np.ndarray,
        multimask_output: bool,
        wanted: Callable[[int, np.ndarray], np.ndarray],
        consume: Callable[[int, np.ndarray, np.ndarray], None],
    ) -> None:
        """For every prompt b: ``wanted(b, iou (M,))`` → bool (M,), then ``consume(b, indices, logits (k, 4h, 4w))``."""

        def one(b: int) -> None:
            logits, iou = self.decode(terms, sparse[b : b + 1], None, multimask_output)
            indices = np.flatnonzero(wanted(b, iou[0]))
            if len(indices):
                consume(b, indices, logits[0, indices])

        parallel_for(one, len(sparse))
