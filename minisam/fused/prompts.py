"""A few prompts on their way through the fused decoder: their tokens, and what they make of the image's pixels.

The algebra is in ``minisam.fused.decoder``. Tokens go the way of ``TwoWayTransformer``, line by line; between them
stand three passes over the tiles of the image, and a fourth for the masks. What is known of the image is read once for
all the prompts, and so are the weights; nothing is added up across prompts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minisam.fused.terms import FusedWeights, ImageTerms
from minisam.model.mask_decoder import MaskDecoder
from minisam.model.state import State
from minisam.model.transformer import EPS
from minisam_kernels.decoder.gelu_masks import gelu_masks_tile
from minisam_kernels.decoder.image_to_tokens import image_to_tokens_tiles
from minisam_kernels.decoder.implied_layer_norm import implied_layer_norm_tiles
from minisam_kernels.decoder.merge_tiles import merge_tiles
from minisam_kernels.decoder.norm_gelu import norm_gelu_tile
from minisam_kernels.decoder.skinny_linear import skinny_linear
from minisam_kernels.decoder.tokens_to_image import tokens_to_image_tiles
from minisam_kernels.layers.layer_norm import layer_norm
from minisam_kernels.runtime.scratch import scratch
from minisam_kernels.runtime.threads import cancelled, parallel_for

RATIO = 64.0  # of the terms of σ² to σ² itself: above it the plain form answers


class Update(NamedTuple):
    """What a layer's image → token attention and LayerNorm multiply the image with; nothing here depends on the pixel.

    T − 1 rows per head stand for all tokens but the last, which ``image_to_tokens`` implies.
    """

    k: np.ndarray  # (B, heads, T − 1, D): keys over √D, less the last token's
    bias: np.ndarray  # (B, heads · (T − 1)): the part of the scores that is the same at every pixel
    factors: np.ndarray  # (B, heads · (T − 1), K so far): features · factors is the scores' part of the basis
    values: np.ndarray  # (B, layers so far, heads, T, D): as ``implied_layer_norm`` takes them
    gram: np.ndarray  # (B, K, K): products of the basis' rows, for σ²


class FusedPrompts:
    """B prompts of T tokens each on their way through the decoder, side by side: tokens are (B, T, C)."""

    def __init__(self, plain: MaskDecoder, weights: FusedWeights, terms: ImageTerms, sparse: np.ndarray) -> None:
        config, self.state = plain.config, plain.state
        self.config, self.weights, self.terms = config, weights, terms
        self.heads, self.depth, channels = config.decoder_num_heads, config.decoder_depth, config.prompt_embed_dim
        self.batch = len(sparse)
        own = np.broadcast_to(weights.output_tokens, (self.batch, *weights.output_tokens.shape))
        self.token_pe = np.concatenate([own, sparse], axis=1)
        self.width = channels // 2 // self.heads  # D
        self.group = self.heads * (self.token_pe.shape[1] - 1) + 1  # features that a layer adds
        self.tiles, _, self.pixels = terms.rows.shape
        (self.features,) = scratch((self.tiles, self.batch, self.depth * self.group, self.pixels), name="features")
        self.ratios = np.zeros((self.depth, self.tiles, self.batch), np.float32)
        self.features[:, :, self.group - 1] = 1  # what the layers have scaled the image by: nothing has yet
        # after the layers so far, source = scale · x M + features · basis + shift
        self.basis, self.shift = np.empty((self.batch, 0, channels), np.float32), np.zeros(channels, np.float32)
        self.updates: list[Update] = []  # one per layer so far

    def trusted(self) -> np.ndarray:
        """Whether no pixel's σ² was much smaller than its terms: bool (B,)."""
        return ~(np.maximum(self.ratios.max(axis=(0, 1)), np.float32(self.terms.ratio)) > RATIO)

    # --- tokens

    def tokens(self, chosen: range) -> np.ndarray:
        """The tokens that are used afterwards: that of the IoU and those of the chosen masks, (B, 1 + M, C)."""
        tokens = token_pe = self.token_pe
        for i in range(self.depth):
            state = self.state / "transformer" / "layers" / i
            tokens = self.read_image(i, tokens, state / "cross_attn_token_to_image", state / "norm2")
            hidden = _linear(state / "mlp" / "lin1", tokens, relu=True)
            tokens = _norm(state / "norm3", tokens + _linear(state / "mlp" / "lin2", hidden))
            self.update_basis(i, tokens + token_pe, tokens)
        kept = [0, *(1 + m for m in chosen)]
        self.token_pe = token_pe[:, kept]
        state = self.state / "transformer"
        return self.read_image(
            self.depth, tokens[:, kept], state / "final_attn_token_to_image", state / "norm_final_attn"
        )

    def self_attention(self, i: int, tokens: np.ndarray) -> np.ndarray:
        """Layer i's first step, (B, T, C) → (B, T, C). As in the plain form, layer 0's adds neither position nor
        tokens."""
        if i == self.depth:
            return tokens
        state = self.state / "transformer" / "layers" / i
        positioned = tokens + self.token_pe if i else tokens
        q, k, v = (
            self.split(_linear(state / "self_attn" / name, x))
            for name, x in (("q_proj", positioned), ("k_proj", positioned), ("v_proj", tokens))
        )
        scores = q @ k.swapaxes(2, 3) * np.float32(q.shape[3] ** -0.5)  # (B, heads, T, T)
        weights = np.exp(scores - scores.max(axis=3, keepdims=True))
        weights /= weights.sum(axis=3, keepdims=True)
        attended = _linear(state / "self_attn" / "out_proj", self.join(weights @ v))
        return _norm(state / "norm1", tokens + attended if i else attended)

    def mlp(self, name: str, x: np.ndarray) -> np.ndarray:
        """x (B, C) through linear layers with ReLU between them."""
        depth = self.config.iou_head_depth if name == "iou_prediction_head" else 3
        for i in range(depth):
            x = _linear(self.state / name / "layers" / i, x, relu=i < depth - 1)
        return x

    def split(self, x: np.ndarray) -> np.ndarray:
        """(B, T, heads · D) → (B, heads, T, D)."""
        return np.ascontiguousarray(x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2))

    def join(self, x: np.ndarray) -> np.ndarray:
        """(B, heads, T, D) → (B, T, heads · D)."""
        return x.swapaxes(1, 2).reshape(len(x), x.shape[2], -1)

    def of_heads(self, weight: np.ndarray) -> np.ndarray:
        """A projection (heads · D, C) as (heads, D, C)."""
        return weight.reshape(self.heads, self.width, weight.shape[1])

    # --- image → tokens

    def update_basis(self, i: int, k: np.ndarray, v: np.ndarray) -> None:
        """All of layer i's image → token attention and LayerNorm that does not depend on the pixel."""
        state = self.state / "transformer" / "layers" / i
        attention = state / "cross_attn_image_to_token"
        k, v = self.split(_linear(attention / "k_proj", k)), self.split(_linear(attention / "v_proj", v))
        # A softmax sees differences only, and the weights sum to 1: both count relative to the last token.
        k = (k[:, :, :-1] - k[:, :, -1:]) * np.float32(self.width**-0.5)
        v[:, :, :-1] -= v[:, :, -1:]
        # scores = k · (source Wq + position Wq + bias of q). With lifted = k Wqᵀ, (B, heads · (T − 1), C), the source's
        # part is features · (basis · lifted) + shift · lifted; the image's and the position's are added per pixel.
        lifted = (k @ self.of_heads((attention / "q_proj")["weight"])).reshape(self.batch, self.group - 1, -1)
        bias = k @ (attention / "q_proj")["bias"].reshape(self.heads, self.width, 1)
        bias = bias.reshape(self.batch, -1) + lifted @ self.shift
        factors = lifted @ self.basis.swapaxes(1, 2)
        # U = v · out_proj of each head, (B, heads, T, C): new rows of the basis, one per weight A. The last token's sum
        # over heads and all that is the same at every pixel make one more row, whose feature is 1.
        change = v @ self.weights.ways_out[i]
        constant = change[:, :, -1].sum(axis=1) + (attention / "out_proj")["bias"] + self.shift
        others = change[:, :, :-1].reshape(self.batch, self.group - 1, -1)
        basis = np.concatenate([self.basis, others, constant[:, None]], axis=1)
        # LayerNorm takes the mean off: (I − 1/C). |features · basis|² needs the Gram matrix; products of a new row and
        # an earlier one stand doubled in the new rows, and are left out of the earlier ones (``update_tile``).
        basis -= basis.mean(axis=2, keepdims=True)
        gram = basis @ basis.swapaxes(1, 2)
        start = i * self.group
        gram[:, start:, :start] *= 2
        values = v[:, None] if i == 0 else np.concatenate([self.updates[-1].values, v[:, None]], axis=1)
        self.updates.append(Update(k, bias, factors, values, gram))
        # LayerNorm's weight and bias. Its 1/σ goes to the features (``update_tile``).
        self.basis, self.shift = basis * (state / "norm4")["weight"], (state / "norm4")["bias"]

    def update_tile(self, i: int, t: int) -> None:
        """Layer i's image → token attention and LayerNorm for a tile: its features, and all of them over σ."""
        k, bias, factors, values, gram = self.updates[i]
        start, end = i * self.group, (i + 1) * self.group
        features = self.features[t]
        # The scores' part of the basis, into the rows of the new features. Layer 0 has no features yet.
        if i:
            for b in range(self.batch):  # not at once: NumPy would suspect that input and output overlap, and copy
                np.matmul(factors[b], features[b, :start], out=features[b, start : end - 1])
        # The image's and the position's part are added, then the softmax: the new features are the weights A and a 1.
        image_to_tokens_tiles(k, bias, *self.image_and_position(t, "query", i), self.group - 1, i, features)
        # mixed = gram · features: a row of it times the same row of features is a term of |features · basis|².
        (mixed,) = scratch((self.batch, end, self.pixels))
        if i:
            np.matmul(gram[:, :start, :start], features[:, :start], out=mixed[:, :start])
        np.matmul(gram[:, start:], features[:, :end], out=mixed[:, start:])
        # σ² of |x M|² (length), x M · ways out (cross) and mixed; all features so far are divided by σ.
        cross = self.terms.rows[t, self.weights.rows["cross", i]].reshape(i + 1, -1, self.pixels)
        length = self.terms.rows[t, self.weights.rows["length", i]][0]
        sizes = np.float32(EPS), np.float32(self.basis.shape[2])
        implied_layer_norm_tiles(values, cross, length, self.group - 1, mixed, *sizes, features, self.ratios[i, t])

    def image_and_position(self, t: int, name: str, i: int) -> tuple[np.ndarray, np.ndarray]:
        """x M W and position · W of tile t: "key" or "query" of layer i. Layer 0's first one is both together."""
        rows, position_rows = self.weights.rows[name, i], self.weights.position_rows[name, i]
        return self.terms.rows[t, rows], self.terms.position[t, position_rows]

    # --- tokens → image

    def read_image(self, i: int, tokens: np.ndarray, attention: State, norm: State) -> np.ndarray:
        """The last layer's update of the image, meanwhile self-attention; then the tokens read. (B, T, C) both."""
        way_in, way_out = self.of_heads((attention / "k_proj")["weight"]), (attention / "v_proj")["weight"]
        batch, count = tokens.shape[:2]
        rows, known = self.heads * count, i * self.group  # known: the features so far, K
        # What each tile's softmax leaves behind, to be put together at the end.
        largest, totals = np.empty((2, self.tiles, batch, rows), np.float32)
        moments = np.empty((self.tiles, batch, self.heads, count, self.width), np.float32)
        (mixtures,) = scratch((self.tiles, batch, rows, known), name="mixtures")

        def queries() -> tuple[np.ndarray, ...]:
            """Tokens after self-attention, q over √D, and basis Wk q: what features count in the scores."""
            after = self.self_attention(i, tokens)
            q = self.split(_linear(attention / "q_proj", after + self.token_pe)) * np.float32(self.width**-0.5)
            return after, q, (q @ way_in).reshape(batch, rows, -1) @ self.basis.swapaxes(1, 2)

        def tile(t: int, wait: Callable[[], tuple[np.ndarray, ...]]) -> None:
            if i:
                self.update_tile(i - 1, t)
            _, q, factors = wait()
            features = self.features[t]
            # scores = features · (basis Wk q), to which the kernel adds (scale · x M Wk + position Wk) · q.
            (scores,) = scratch((batch, rows, self.pixels))
            if i:
                np.matmul(factors, features[:, :known], out=scores)
            key, position = self.image_and_position(t, "key", i)
            image = key, position, self.terms.rows[t, self.weights.rows["value", i]], self.terms.counts[t]
            results = scores, largest[t], totals[t], moments[t]
            tokens_to_image_tiles(q, *image, self.group - 1, i > 0, features, *results)
            # The scores are now weights; with them the tile's features are mixed.
            if i:
                np.matmul(scores, features[:, :known].swapaxes(1, 2), out=mixtures[t])

        tokens = _beside(queries, tile, self.tiles)[0]
        # Σ A · scale · (x M Wv) and Σ A · features over all tiles.
        flat = (array.reshape(self.tiles, batch * rows, -1) for array in (moments, mixtures))
        mixed, rest = merge_tiles(largest.reshape(self.tiles, -1), totals.reshape(self.tiles, -1), *flat)
        # The mixed values: the image's are ready, the mixed features become a source (basis, shift), then a value (Wv).
        source = (rest.reshape(batch, rows, -1) @ self.basis + self.shift).reshape(batch, self.heads, count, -1)
        values = mixed.reshape(batch, self.heads, count, -1) + source @ self.of_heads(way_out).swapaxes(1, 2)
        attended = self.join(values) + (attention / "v_proj")["bias"]
        return _norm(norm, tokens + _linear(attention / "out_proj", attended))

    # --- masks

    def masks(self, wanted: Sequence[dict[str, np.ndarray]], out: Sequence[np.ndarray]) -> None:
        """For each prompt, hypernetwork → its token (C,), for k masks → out[b] (k, 4h, 4w), the logits."""
        up, second = self.state / "output_upscaling", self.weights.second
        weight, shift, bias = (up / 1)["weight"], (up / 1)["bias"], (up / 3)["bias"]
        asked = [b for b in range(self.batch) if wanted[b]]
        # The first transposed convolution of the basis: features · factors is its part of the upscaled source.
        factors = self.weights.first @ self.basis[asked].swapaxes(1, 2)  # (B, 4 · C / 4, K)

        def classifiers() -> list[np.ndarray]:
            """The hypernetworks' answers, each run once for all the prompts that want it: (k, C / 8) per prompt."""
            vectors: dict[tuple[int, str], np.ndarray] = {}
            for name in dict.fromkeys(name for b in asked for name in wanted[b]):
                askers = [b for b in asked if name in wanted[b]]
                answers = self.mlp(name, np.stack([wanted[b][name] for b in askers]))
                vectors |= {(b, name): vector for b, vector in zip(askers, answers)}
            return [np.stack([vectors[b, name] for name in wanted[b]]) for b in asked]

        def tile(t: int, wait: Callable[[], list[np.ndarray]]) -> None:
            x, y = scratch((factors.shape[1], self.pixels), (len(second), self.pixels))
            image = self.terms.rows[t, self.weights.rows["first", 0]]
            for j, b in enumerate(asked):
                # x: the basis' part of the first convolution; the kernel adds scale · image + bias, LayerNorm, GELU.
                np.matmul(factors[j], self.features[t, b], out=x)
                scale = self.features[t, b, self.group - 1]
                norm_gelu_tile(image, scale, self.weights.first_bias, weight, shift, np.float32(1e-6), x)
                # y: the second convolution of one corner; GELU and the products with the vectors are its logits.
                for corner in range(4):
                    np.matmul(second, x[corner * len(weight) : (corner + 1) * len(weight)], out=y)
                    gelu_masks_tile(y, bias, wait()[j], corner, t * self.pixels, out[b].shape[2] // 4, out[b])

        if asked:
            _beside(classifiers, tile, self.tiles)


def _linear(state: State, x: np.ndarray, relu: bool = False) -> np.ndarray:
    """x (..., C_in) → (..., C_out)."""
    return skinny_linear(x.reshape(-1, x.shape[-1]), state["weight"], state["bias"], relu).reshape(*x.shape[:-1], -1)


def _norm(state: State, x: np.ndarray) -> np.ndarray:
    return layer_norm(x, state["weight"], state["bias"], EPS)


def _beside(work: Callable[[], Any], tile: Callable[[int, Callable[[], Any]], Any], tiles: int) -> Any:
    """``tile(t, wait)`` for every tile, on all threads, while one does ``work()``: ``wait()`` gives its result.

    The work is the first piece, which is begun before any other, so a tile never waits for what nobody does; should
    that piece come to nothing, because Ctrl-C hit it, ``cancelled`` says so.
    """
    results: list[Any] = []

    def wait() -> Any:
        while not results:
            if cancelled():
                raise InterruptedError("the work that a tile waits for came to nothing")
            time.sleep(2e-5)
        return results[0]

    def piece(index: int) -> None:
        if index:
            tile(index - 1, wait)
        else:
            results.append(work())

    parallel_for(piece, tiles + 1)
    return results[0]
