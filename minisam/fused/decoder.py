"""The mask decoder for speed: the same function as ``MaskDecoder``, term by term in another order (chapter 11).

A prompt has about seven tokens, an image 4096. So everything that the image tokens go through is written in terms of
the few: after every layer an image token is ::

    source = scale · x M + features · basis,    scale · x M: the image (``terms``), basis (K, C): the prompt

where ``features`` (K numbers per pixel) are the attention weights A of the layers so far and 1/σ of their LayerNorms:

- image → token attention adds A · U with U = (v of a head) · (out_proj of that head), a row of the basis for each token
  and head. A head's weights sum to 1, so the last token's row is taken off the others and added once: K = heads ·
  (T − 1) + 1 per layer, 49 for one point.
- LayerNorm is affine for a pixel once its σ is known: it scales features by 1/σ and changes the basis. σ² is a sum of
  squares of image and basis, known without adding them up: ``|x M|²`` · scale², the basis' Gram matrix between
  features, and twice their product (``implied_layer_norm``).
- scores are q · (source + position) Wk = scale · (x M Wk) · q + features · (basis Wk q) + (position Wk) · q: a product
  with K columns instead of C. Values are mixed before they are projected, for the same reason.
- the first transposed convolution is linear: the image's part is known, features take the rest.

So no image token is ever updated, and 4096 × 256 numbers are neither written nor read between layers: 0.4 · 10⁹
multiply–adds for one point with ViT-B instead of 1.75 · 10⁹.

Pixels are cut into tiles of at most 256, a tile's numbers lie together, and one pass over the tiles does the image
update of a layer and the token → image attention of the next. What tokens do meanwhile among themselves runs beside it.

Exactness: the same real function. In float32 the one new risk is σ²: its terms may be larger than the sum, by a
ratio that every pass measures; above ``RATIO`` the prompt is answered by the plain form. With that, σ is off by at most
about RATIO · eps / 2 · √K, 3·10⁻⁵ relative, at the worst pixel. Tiles are cut by the image's size. A thread takes a
few prompts of a batch at once, which saves it from reading 13 MB of weights and 35 MB of the image (ViT-B) for each,
but every product is a prompt's own: any number of threads and any batch give the same bits.

The work grows with the square of the number of tokens, the plain form's hardly at all: a prompt of more than ``MANY``
points is answered by the plain form too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from minisam.fused.prompts import FusedPrompts
from minisam.fused.terms import FusedWeights, ImageTerms, image_terms, position_terms, with_mask
from minisam.model.mask_decoder import MaskDecoder
from minisam.model.prompt_encoder import PromptEncoder
from minisam_kernels.runtime.scratch import scratch
from minisam_kernels.runtime.threads import blas_at_one_thread, num_threads, parallel_for

MANY = 24  # embeddings of a prompt; more are answered by the plain form, which is then quicker
TOGETHER = 8  # prompts that a thread takes at once, at most: it reads weights and image once for all of them


class FusedDecoder:
    """``prepare`` once per image, then ``decode`` or ``decode_each`` for any number of prompts.

    Parameters
    ----------
    plain : MaskDecoder
        The decoder whose function this is. It answers where the fused form would be inexact or slower.
    prompt_encoder : PromptEncoder
        The same model's.
    """

    def __init__(self, plain: MaskDecoder, prompt_encoder: PromptEncoder) -> None:
        self.plain, self.prompt_encoder = plain, prompt_encoder
        self._position: tuple[np.ndarray, np.ndarray] | None = None  # the last image_pe and its terms

    @cached_property
    def weights(self) -> FusedWeights:
        """Made when the first image comes."""
        return FusedWeights(self.plain.config, self.plain.state, self.prompt_encoder)

    def prepare(self, image: np.ndarray, image_pe: np.ndarray) -> ImageTerms:
        """Compute what the decoder can know of an image before any prompt comes.

        Parameters
        ----------
        image : ndarray, shape (1, h, w, C), float32
            The image embedding.
        image_pe : ndarray, shape (h, w, C), float32
            The positions of its tokens. Their terms are kept while the same array comes.

        Returns
        -------
        ImageTerms
            For ``decode`` and ``decode_each``.
        """
        with blas_at_one_thread():
            if self._position is None or self._position[0] is not image_pe:
                self._position = image_pe, position_terms(self.weights, image_pe)
            return image_terms(self.weights, image, image_pe, self._position[1])

    def decode(
        self, terms: ImageTerms, sparse: np.ndarray, mask_input: np.ndarray | None, multimask_output: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode prompts about one image.

        Parameters
        ----------
        terms : ImageTerms
            What ``prepare`` returned.
        sparse : ndarray, shape (B, T, C), float32
            Embeddings of points and box corners.
        mask_input : ndarray, shape (B, 1, 4h, 4w), float32, or None
            Logits of a mask per prompt.
        multimask_output : bool
            Three masks per prompt (``num_multimask_outputs``), or one.

        Returns
        -------
        logits : ndarray, shape (B, M, 4h, 4w), float32
        iou_predictions : ndarray, shape (B, M), float32
        """
        masks = self._mask_numbers(multimask_output)
        h, w = terms.image.shape[1:3]
        logits = np.empty((len(sparse), len(masks), 4 * h, 4 * w), np.float32)
        iou = np.empty(logits.shape[:2], np.float32)

        def decode_part(part: slice) -> None:
            def want_all(b: int, values: np.ndarray) -> np.ndarray:
                iou[part.start + b] = values
                return np.ones(len(values), bool)

            mask = None if mask_input is None else mask_input[part]
            self._decode_part(terms, sparse[part], mask, masks, want_all, lambda b, _: logits[part.start + b])

        self._in_parts(decode_part, len(sparse), 1 if mask_input is not None else TOGETHER)
        return logits, iou

    def decode_each(
        self,
        terms: ImageTerms,
        sparse: np.ndarray,
        multimask_output: bool,
        wanted: Callable[[int, np.ndarray], np.ndarray],
        consume: Callable[[int, np.ndarray, np.ndarray], None],
    ) -> None:
        """Decode prompts and hand on each as soon as it is done; memory does not grow with B.

        Parameters
        ----------
        terms : ImageTerms
            What ``prepare`` returned.
        sparse : ndarray, shape (B, T, C), float32
            Embeddings of points and box corners.
        multimask_output : bool
            As for ``decode``.
        wanted : callable
            ``wanted(b, iou_predictions (M,))`` says which masks of prompt b to make: bool (M,).
        consume : callable
            ``consume(b, indices (k,), logits (k, 4h, 4w))`` gets the wanted ones, if any. The logits are overwritten
            when it has returned.

        Notes
        -----
        ``wanted`` and ``consume`` are called from any thread.
        """
        masks = self._mask_numbers(multimask_output)
        h, w = terms.image.shape[1:3]

        def decode_part(part: slice) -> None:
            def want(b: int, iou: np.ndarray) -> np.ndarray:
                return np.asarray(wanted(part.start + b, iou))

            prompts = sparse[part]
            logits = scratch(*[(len(masks), 4 * h, 4 * w)] * len(prompts), name="masks")
            made = self._decode_part(terms, prompts, None, masks, want, lambda b, count: logits[b][:count])
            for b, indices in enumerate(made):
                if len(indices):
                    consume(part.start + b, indices, logits[b][: len(indices)])

        self._in_parts(decode_part, len(sparse), TOGETHER)

    def _in_parts(self, work: Callable[[slice], None], count: int, together: int) -> None:
        """``work`` for parts of a batch of ``count``: of ``together`` prompts, or fewer if threads would have none."""
        size = max(1, min(together, count // (2 * num_threads())))
        with blas_at_one_thread():
            parallel_for(lambda i: work(slice(i * size, min((i + 1) * size, count))), -(-count // size))

    def _mask_numbers(self, multimask_output: bool) -> range:
        """The numbers of the mask tokens that a caller asks for."""
        return range(1, self.plain.config.num_multimask_outputs + 1) if multimask_output else range(1)

    def _decode_part(
        self,
        terms: ImageTerms,
        sparse: np.ndarray,
        mask_input: np.ndarray | None,
        masks: range,
        wanted: Callable[[int, np.ndarray], np.ndarray],
        space: Callable[[int, int], np.ndarray],
    ) -> list[np.ndarray]:
        """A few prompts, sparse (B, T, C), or one with a mask: the wanted masks' indices (k,) for each, their logits
        written to ``space(b, k)``."""
        made = [np.empty(0, np.intp)] * len(sparse)
        trusted = np.zeros(len(sparse), bool)
        if sparse.shape[1] <= MANY:
            prompt_terms = terms
            if mask_input is not None:
                prompt_terms = with_mask(self.weights, terms, self.prompt_encoder.mask_channels(mask_input))
            prompts = FusedPrompts(self.plain, self.weights, prompt_terms, sparse)
            # The tokens first: they give the IoU, and ``wanted`` decides by it which masks are made at all.
            tokens = prompts.tokens(masks)
            trusted = prompts.trusted()
            iou = prompts.mlp("iou_prediction_head", tokens[:, 0])[:, masks.start : masks.stop]
            for b in np.flatnonzero(trusted):
                made[b] = np.flatnonzero(wanted(int(b), iou[b]))
            prompts.masks(
                [
                    {f"output_hypernetworks_mlps.{masks[i]}": tokens[b, 1 + i] for i in indices}
                    for b, indices in enumerate(made)
                ],
                [space(b, len(indices)) for b, indices in enumerate(made)],
            )
        # What the fused form cannot answer exactly, or not as fast, the plain form does.
        for b in np.flatnonzero(~trusted):
            encoder = self.prompt_encoder
            dense = encoder.no_mask() if mask_input is None else encoder.embed_masks(mask_input)
            logits, values = self.plain(terms.image, terms.image_pe, sparse[b : b + 1], dense, masks.start > 0)
            made[b] = np.flatnonzero(wanted(int(b), values[0]))
            if len(made[b]):
                space(int(b), len(made[b]))[...] = logits[0, made[b]]
        return made
