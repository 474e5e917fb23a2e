"""The mask decoder, fused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.fused_terms import FusedWeights, ImageTerms, make_terms, with_mask
from minisam.prompt_encoder import PromptEncoder
from minisam.transformer import EPS
from minisam_kernels.few_rows import few_rows
from minisam_kernels.image_to_tokens import image_to_tokens_tile, scale_rows
from minisam_kernels.implied_layer_norm import implied_layer_norm_tile
from minisam_kernels.layer_norm import layer_norm
from minisam_kernels.threads import blas_at_one_thread, parallel_for
from minisam_kernels.tokens_to_image import tokens_to_image_tile
from minisam_kernels.upscale_tile import gelu_masks_tile, norm_gelu_tile

if TYPE_CHECKING:
    from minisam.mask_decoder import MaskDecoder
    from minisam.state import State

_room = threading.local()


def room(name: str, *shape: int) -> np.ndarray:
    """Memory that a thread keeps for ``name`` and uses again."""
    kept = _room.__dict__.get(name)
    if kept is None or kept.shape != shape:
        kept = _room.__dict__[name] = np.empty(shape, np.float32)
    return kept


def apply(state: State, x: np.ndarray, relu: bool = False) -> np.ndarray:
    return few_rows(x, state["weight"], state["bias"], relu)


class Prompt:
    """One prompt on its way through the decoder."""

    def __init__(self, decoder: FusedDecoder, terms: ImageTerms, sparse: np.ndarray) -> None:
        config = decoder.plain.config
        state = decoder.plain.state
        self.decoder, self.weights, self.terms = decoder, decoder.weights, terms
        self.state = state / "transformer"
        self.heads, self.depth = config.decoder_num_heads, config.decoder_depth
        self.token_pe = np.concatenate([state["iou_token.weight"], state["mask_tokens.weight"], sparse])  # (T, C)
        self.width = config.prompt_embed_dim // 2 // self.heads
        self.others = len(self.token_pe) - 1  # tokens but the last, whose share is what the others leave
        self.group = self.heads * self.others + 1  # rows that a layer adds
        self.pixels = terms.rows.shape[2]
        self.features = np.empty((len(terms.counts), self.depth * self.group, self.pixels), np.float32)
        self.basis = np.empty((0, config.prompt_embed_dim), np.float32)
        self.shift = np.zeros(config.prompt_embed_dim, np.float32)
        self.updates: list[Any] = []

    def rows(self, tile: int, *name: Any) -> np.ndarray:
        return self.terms.rows[tile, self.weights.rows[name]]

    def split(self, x: np.ndarray) -> np.ndarray:
        """(T, heads · D) → (heads, T, D)."""
        return np.ascontiguousarray(x.reshape(len(x), self.heads, self.width).transpose(1, 0, 2))

    def attend(self, state: State, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Self-attention."""
        q, k, v = (
            apply(state / name, x).reshape(len(x), self.heads, -1).transpose(1, 0, 2)
            for name, x in (("q_proj", q), ("k_proj", k), ("v_proj", v))
        )
        scores = q @ k.transpose(0, 2, 1) * np.float32(q.shape[2] ** -0.5)
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        return apply(state / "out_proj", (weights @ v).transpose(1, 0, 2).reshape(len(self.token_pe), -1))

    def run(self, chosen: range) -> np.ndarray:
        tokens = token_pe = self.token_pe
        for i in range(self.depth):
            state = self.state / "layers" / i
            if i == 0:
                tokens = self.attend(state / "self_attn", tokens, tokens, tokens)
            else:
                q = tokens + token_pe
                tokens = tokens + self.attend(state / "self_attn", q, q, tokens)
            tokens = norm(state / "norm1", tokens)
            tokens = norm(
                state / "norm2", tokens + self.read(i, state / "cross_attn_token_to_image", tokens + token_pe)
            )
            hidden = apply(state / "mlp" / "lin1", tokens, relu=True)
            tokens = norm(state / "norm3", tokens + apply(state / "mlp" / "lin2", hidden))
            self.update(i, state, tokens + token_pe, tokens)
        kept = [0, *(1 + m for m in chosen)]
        tokens, place = tokens[kept], token_pe[kept]
        tokens = tokens + self.read(self.depth, self.state / "final_attn_token_to_image", tokens + place)
        return norm(self.state / "norm_final_attn", tokens)

    def update(self, i: int, state: State, k: np.ndarray, v: np.ndarray) -> None:
        """Prepare layer i's image → token attention."""
        attention = state / "cross_attn_image_to_token"
        k, v = self.split(apply(attention / "k_proj", k)), self.split(apply(attention / "v_proj", v))
        k = (k[:, :-1] - k[:, -1:]) * np.float32(self.width**-0.5)
        v[:, :-1] -= v[:, -1:]
        way_in = (attention / "q_proj")["weight"].reshape(self.heads, self.width, -1)
        lifted = (k @ way_in).reshape(-1, way_in.shape[2])  # (heads · (T − 1), C)
        bias = k @ (attention / "q_proj")["bias"].reshape(self.heads, self.width, 1)
        bias = bias.reshape(-1) + lifted @ self.shift
        known = lifted @ self.basis.T
        way_out = (attention / "out_proj")["weight"].T.reshape(self.heads, self.width, -1)
        change = v @ way_out  # (heads, T, C)
        constant = change[:, -1].sum(axis=0) + (attention / "out_proj")["bias"] + self.shift
        basis = np.concatenate([self.basis, change[:, :-1].reshape(self.group - 1, -1), constant[None]])
        basis -= basis.mean(axis=1, keepdims=True)
        gram = basis @ basis.T
        values = v[None] if i == 0 else np.concatenate([self.updates[-1][3], v[None]])
        self.updates.append((k, bias, known, values, gram))
        self.basis = basis * (state / "norm4")["weight"]
        self.shift = (state / "norm4")["bias"]

    def tile_update(self, i: int, t: int) -> None:
        k, bias, known, values, gram = self.updates[i]
        features = self.features[t]
        start, end = i * self.group, (i + 1) * self.group
        scores = features[start : end - 1]
        query = self.rows(t, "query", i)
        scale = features[self.group - 1]
        if i:
            np.matmul(known, features[:start], out=scores)
            scaled = room("scaled", *query.shape)
            scale_rows(query, scale, self.terms.place[t, self.weights.place_rows["query", i]], scaled)
            query = scaled
        else:
            scale = np.ones(self.pixels, np.float32)
        image_to_tokens_tile(k, bias, query, i > 0, scores)
        features[end - 1] = 1
        mixed = room(f"mixed{i}", end, self.pixels)
        np.matmul(gram, features[:end], out=mixed)
        first = self.weights.rows["cross", i, 0].start
        inner = self.heads * self.width + 1
        cross = self.terms.rows[t, first : first + (i + 1) * inner].reshape(i + 1, inner, -1)
        length = self.rows(t, "length", i)[0]
        self.worst[t] = max(
            self.worst[t],
            implied_layer_norm_tile(
                values, cross, length, scale, mixed, np.float32(EPS), np.float32(self.basis.shape[1]), features[:end]
            ),
        )

    def read(self, i: int, attention: State, q: np.ndarray) -> np.ndarray:
        """Layer i's token → image attention, after the image's update of the layer before."""
        count = len(q)
        q = self.split(apply(attention / "q_proj", q)) * np.float32(self.width**-0.5)
        tiles, known = len(self.terms.counts), i * self.group
        way_in = (attention / "k_proj")["weight"].reshape(self.heads, self.width, -1)
        factors = (q @ way_in).reshape(self.heads * count, -1) @ self.basis.T
        largest, totals = np.empty((2, tiles, self.heads * count), np.float32)
        moments = np.empty((tiles, self.heads, count, self.width), np.float32)
        more = np.empty((tiles, self.heads * count, known), np.float32)
        self.worst = np.zeros(tiles) if i <= 1 else self.worst
        ones = np.ones(self.pixels, np.float32)

        def one(t: int) -> None:
            if i:
                self.tile_update(i - 1, t)
            features = self.features[t, :known]
            scores = room(f"scores{count}", self.heads * count, self.pixels)
            key, scale = self.rows(t, "key", i), ones
            if i:
                scale = features[self.group - 1]
                np.matmul(factors, features, out=scores)
                scaled = room("scaled", *key.shape)
                scale_rows(key, scale, self.terms.place[t, self.weights.place_rows["key", i]], scaled)
                key = scaled
            tokens_to_image_tile(
                q,
                key,
                self.rows(t, "value", i),
                scale,
                i > 0,
                self.terms.counts[t],
                scores,
                largest[t],
                totals[t],
                moments[t],
            )
            np.matmul(scores, features.T, out=more[t])

        parallel_for(one, tiles)
        share = np.exp(largest - largest.max(axis=0))  # (tiles, heads · T)
        total = (share * totals).sum(axis=0)
        share /= total
        mixed = (moments * share.reshape(tiles, self.heads, count, 1)).sum(axis=0)  # (heads, T, D)
        way_in = (attention / "v_proj")["weight"].reshape(self.heads, self.width, -1)
        rest = (more * share[..., None]).sum(axis=0) @ self.basis + self.shift  # (heads · T, C)
        mixed += rest.reshape(self.heads, count, -1) @ way_in.transpose(0, 2, 1)
        mixed += (attention / "v_proj")["bias"].reshape(self.heads, 1, self.width)
        return apply(attention / "out_proj", np.ascontiguousarray(mixed.transpose(1, 0, 2)).reshape(count, -1))

    def upscale(self, vectors: np.ndarray, out: np.ndarray) -> None:
        """vectors (M, C / 8) → out (M, 4h, 4w)."""
        weights = self.weights
        up = self.decoder.plain.state / "output_upscaling"
        factors = weights.upscaling @ self.basis.T
        weight, shift = (up / 1)["weight"], (up / 1)["bias"]
        bias = (up / 3)["bias"]

        def one(t: int) -> None:
            x = room("x", len(factors), self.pixels)
            np.matmul(factors, self.features[t], out=x)
            scale = self.features[t, self.group - 1]
            norm_gelu_tile(
                self.terms.rows[t, weights.rows["upscaled"]],
                scale,
                weights.upscaling_bias,
                weight,
                shift,
                np.float32(1e-6),
                x,
            )
            y = room("y", 4, len(weights.second), self.pixels)
            np.matmul(weights.second, x.reshape(4, -1, self.pixels), out=y)
            gelu_masks_tile(
                y.reshape(4, 4, -1, self.pixels),
                bias,
                vectors,
                t * self.pixels,
                self.terms.counts[t],
                out.shape[2] // 4,
                out,
            )

        parallel_for(one, len(self.terms.counts))


def norm(state: State, x: np.ndarray) -> np.ndarray:
    return layer_norm(x, state["weight"], state["bias"], EPS)


class FusedDecoder:
    """``prepare`` once a picture, then ``decode`` or ``decode_each`` for prompts."""

    def __init__(self, plain: MaskDecoder, prompt_encoder: PromptEncoder) -> None:
        self.plain, self.prompt_encoder = plain, prompt_encoder

    @cached_property
    def weights(self) -> FusedWeights:
        return FusedWeights(self.plain.config, self.plain.state, self.prompt_encoder)

    def prepare(self, image: np.ndarray, image_pe: np.ndarray) -> ImageTerms:
        """image (1, h, w, C), image_pe (h, w, C) → the picture's terms."""
        return make_terms(self.weights, image, image_pe)

    def mlp(self, name: str, x: np.ndarray, depth: int = 3) -> np.ndarray:
        layers = self.plain.state / name / "layers"
        for i in range(depth):
            x = apply(layers / i, x, relu=i < depth - 1)
        return x

    def decode(
        self, terms: ImageTerms, sparse: np.ndarray, mask_input: np.ndarray | None, multimask_output: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """sparse (B, T, C), mask_input (B, 1, 4h, 4w) or None → logits (B, M, 4h, 4w), predicted IoU (B, M)."""
        chosen = range(1, 4) if multimask_output else range(1)
        h, w = terms.image.shape[1:3]
        logits = np.empty((len(sparse), len(chosen), 4 * h, 4 * w), np.float32)
        iou = np.empty(logits.shape[:2], np.float32)

        def one(b: int) -> None:
            here = terms
            if mask_input is not None:
                small = self.prompt_encoder.mask_channels(mask_input[b : b + 1])
                here = with_mask(self.weights, terms, small.reshape(-1, small.shape[3]))
            prompt = Prompt(self, here, sparse[b])
            tokens = prompt.run(chosen)
            iou[b] = self.mlp("iou_prediction_head", tokens[:1], self.plain.config.iou_head_depth)[
                0, chosen.start : chosen.stop
            ]
            vectors = np.concatenate(
                [self.mlp(f"output_hypernetworks_mlps.{m}", tokens[1 + i][None]) for i, m in enumerate(chosen)]
            )
            prompt.upscale(vectors, logits[b])

        with blas_at_one_thread():
            parallel_for(one, len(sparse))
        return logits, iou

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
