"""The mask decoder for speed: the same function as ``MaskDecoder``, term by term in another order (chapter 11).

A prompt brings about seven tokens, a picture 4096. So everything that the image tokens go through is told in terms of
the few: after every layer an image token is

    source = scale · x M + features · basis,    scale · x M: the picture (``fused_terms``), basis (K, C): the prompt

where ``features`` (K numbers a pixel) are the attention weights A of the layers so far and 1/σ of their LayerNorms:

- image → token attention adds A · U with U = (v of a head) · (out_proj of that head), a row of the basis for each token
  and head. A head's weights sum to 1, so the last token's row is taken off the others and added once: K = heads ·
  (T − 1) + 1 a layer, 49 for one point.
- LayerNorm is affine for a pixel once its σ is known: it scales features by 1/σ and changes the basis. σ² is a sum of
  squares of picture and basis, known without adding them up: |x M|² · scale², the basis' Gram matrix between features,
  and twice their product (``implied_layer_norm``).
- scores are q · (source + position) Wk = scale · (x M Wk) · q + features · (basis Wk q) + (position Wk) · q: a product
  with K columns instead of C. Values are mixed before they are projected, for the same reason.
- the first transposed convolution is linear: the picture's part is known, features take the rest.

So no image token is ever updated, and 4096 × 256 numbers are neither written nor read between layers: 0.4 · 10⁹
multiply–adds for one point with ViT-B instead of 1.75 · 10⁹.

Pixels are cut into tiles of at most 256, a tile's numbers lie together, and one pass over the tiles does the image
update of a layer and the token → image attention of the next. What tokens do meanwhile among themselves runs beside it.

Exactness: the same real function. In float32 the one new risk is σ²: its terms may be larger than the sum, by a
ratio that every pass measures; above ``RATIO`` the prompt is answered by the plain form. With that, σ is off by at most
about RATIO · eps / 2 · √K, 3·10⁻⁵ relative, at the worst pixel. Tiles are cut by the picture's size. A thread takes a
few prompts of a batch at once, which saves it from reading 13 MB of weights and 35 MB of the picture (ViT-B) for each,
but every product is a prompt's own: any number of threads and any batch give the same bits.

The work grows with the square of the number of tokens, the plain form's hardly at all: a prompt of more than ``MANY``
points is answered by the plain form too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from minisam.fused.prompts import FusedPrompts
from minisam.fused.terms import FusedWeights, ImageTerms, image_terms, place_terms, with_mask
from minisam.model.mask_decoder import MaskDecoder
from minisam.model.prompt_encoder import PromptEncoder
from minisam_kernels.runtime.scratch import scratch
from minisam_kernels.runtime.threads import blas_at_one_thread, num_threads, parallel_for

MANY = 24  # embeddings of a prompt; more are answered by the plain form, which is then quicker
TOGETHER = 8  # prompts that a thread takes at once, at most: it reads weights and picture once for all of them


class FusedDecoder:
    """``prepare`` once a picture, then ``decode`` or ``decode_each`` for any number of prompts."""

    def __init__(self, plain: MaskDecoder, prompt_encoder: PromptEncoder) -> None:
        self.plain, self.prompt_encoder = plain, prompt_encoder
        self.place: tuple[np.ndarray, np.ndarray] | None = None  # the last image_pe and its terms

    @cached_property
    def weights(self) -> FusedWeights:
        """Made when the first picture comes."""
        return FusedWeights(self.plain.config, self.plain.state, self.prompt_encoder)

    def prepare(self, image: np.ndarray, image_pe: np.ndarray) -> ImageTerms:
        """image (1, h, w, C), image_pe (h, w, C) → what the decoder wants to know of the picture."""
        with blas_at_one_thread():
            place = self.place
            if place is None or place[0] is not image_pe:
                place = self.place = (image_pe, place_terms(self.weights, image_pe))
            return image_terms(self.weights, image, image_pe, place[1])

    def decode(
        self, terms: ImageTerms, sparse: np.ndarray, mask_input: np.ndarray | None, multimask_output: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """sparse (B, T, C), mask_input (B, 1, 4h, 4w) or None → logits (B, M, 4h, 4w), predicted IoU (B, M)."""
        chosen = self.chosen(multimask_output)
        h, w = terms.image.shape[1:3]
        logits = np.empty((len(sparse), len(chosen), 4 * h, 4 * w), np.float32)
        iou = np.empty(logits.shape[:2], np.float32)

        def some(part: slice) -> None:
            def all_of_them(b: int, values: np.ndarray) -> np.ndarray:
                iou[part.start + b] = values
                return np.ones(len(values), bool)

            mask = None if mask_input is None else mask_input[part]
            self.decode_some(terms, sparse[part], mask, chosen, all_of_them, lambda b, _: logits[part.start + b])

        self.in_parts(some, len(sparse), 1 if mask_input is not None else TOGETHER)
        return logits, iou

    def decode_each(
        self,
        terms: ImageTerms,
        sparse: np.ndarray,
        multimask_output: bool,
        wanted: Callable[[int, np.ndarray], np.ndarray],
        consume: Callable[[int, np.ndarray, np.ndarray], None],
    ) -> None:
        """B prompts, sparse (B, T, C), each handed on as soon as it is done; memory does not grow with B.

        ``wanted(b, iou (M,))`` says which masks to make, bool (M,); if any, ``consume(b, indices (k,), logits (k, 4h,
        4w))`` gets them. Both are called from any thread; the logits are overwritten when ``consume`` has returned.
        """
        chosen = self.chosen(multimask_output)
        h, w = terms.image.shape[1:3]

        def some(part: slice) -> None:
            def first_wanted(b: int, iou: np.ndarray) -> np.ndarray:
                return np.asarray(wanted(part.start + b, iou))

            here = sparse[part]
            masks = scratch(*[(len(chosen), 4 * h, 4 * w)] * len(here), name="masks")
            made = self.decode_some(terms, here, None, chosen, first_wanted, lambda b, count: masks[b][:count])
            for b, indices in enumerate(made):
                if len(indices):
                    consume(part.start + b, indices, masks[b][: len(indices)])

        self.in_parts(some, len(sparse), TOGETHER)

    def in_parts(self, some: Callable[[slice], None], count: int, together: int) -> None:
        """``some`` for parts of a batch of ``count``: of ``together`` prompts, or fewer if threads would have none."""
        size = max(1, min(together, count // (2 * num_threads())))
        with blas_at_one_thread():
            parallel_for(lambda i: some(slice(i * size, min((i + 1) * size, count))), -(-count // size))

    def chosen(self, multimask_output: bool) -> range:
        """The numbers of the masks that a caller asks for."""
        return range(1, self.plain.config.num_multimask_outputs + 1) if multimask_output else range(1)

    def decode_some(
        self,
        terms: ImageTerms,
        sparse: np.ndarray,
        mask_input: np.ndarray | None,
        chosen: range,
        wanted: Callable[[int, np.ndarray], np.ndarray],
        space: Callable[[int, int], np.ndarray],
    ) -> list[np.ndarray]:
        """A few prompts, sparse (B, T, C), or one with a mask: the wanted masks' indices (k,) for each, their logits
        written to ``space(b, k)``."""
        made = [np.empty(0, np.intp)] * len(sparse)
        tokens, trusted = np.empty(0), np.zeros(len(sparse), bool)
        if sparse.shape[1] <= MANY:
            here = terms
            if mask_input is not None:
                here = with_mask(self.weights, terms, self.prompt_encoder.mask_channels(mask_input))
            prompts = FusedPrompts(self.plain, self.weights, here, sparse)
            tokens = prompts.tokens(chosen)
            trusted = prompts.trusted()
            iou = prompts.mlp("iou_prediction_head", tokens[:, 0])[:, chosen.start : chosen.stop]
            for b in np.flatnonzero(trusted):
                made[b] = np.flatnonzero(wanted(int(b), iou[b]))
            prompts.masks(
                [
                    {f"output_hypernetworks_mlps.{chosen[i]}": tokens[b, 1 + i] for i in indices}
                    for b, indices in enumerate(made)
                ],
                [space(b, len(indices)) for b, indices in enumerate(made)],
            )
        for b in np.flatnonzero(~trusted):
            encoder = self.prompt_encoder
            dense = encoder.no_mask() if mask_input is None else encoder.embed_masks(mask_input)
            logits, values = self.plain(terms.image, terms.image_pe, sparse[b : b + 1], dense, chosen.start > 0)
            made[b] = np.flatnonzero(wanted(int(b), values[0]))
            if len(made[b]):
                space(int(b), len(made[b]))[...] = logits[0, made[b]]
        return made
