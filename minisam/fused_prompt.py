"""One prompt on its way through the fused decoder: its tokens, and what they make of the picture's pixels.

The algebra is in ``fused_decoder``. Tokens go the way of ``TwoWayTransformer``, line by line; between them stand three
passes over the tiles of the picture, and a fourth for the masks.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.fused_terms import FusedWeights, ImageTerms
from minisam.state import State
from minisam.transformer import EPS
from minisam_kernels.few_rows import few_rows
from minisam_kernels.image_to_tokens import image_to_tokens_tile
from minisam_kernels.implied_layer_norm import implied_layer_norm_tile
from minisam_kernels.layer_norm import layer_norm
from minisam_kernels.threads import cancelled, parallel_for
from minisam_kernels.tokens_to_image import merge_tiles, scale_and_place, tokens_to_image_tile
from minisam_kernels.upscale import gelu_masks_tile, norm_gelu_tile

if TYPE_CHECKING:
    from minisam.mask_decoder import MaskDecoder

RATIO = 64.0  # of the terms of σ² to σ² itself: above it the plain form answers
_kept = threading.local()


def room(name: str, *shape: int) -> np.ndarray:
    """A float32 array of ``shape``, not set to anything, that is the thread's until it asks for ``name`` again.

    A fresh array costs a page fault every 4 KB, each time.
    """
    size = math.prod(shape)
    block = _kept.__dict__.get(name)
    if block is None or block.size < size:
        block = _kept.__dict__[name] = np.empty(size, np.float32)
    return block[:size].reshape(shape)


class FusedPrompt:
    """One prompt on its way through the decoder. Its tokens are computed as in ``TwoWayTransformer``."""

    def __init__(self, plain: MaskDecoder, weights: FusedWeights, terms: ImageTerms, sparse: np.ndarray) -> None:
        config, self.state = plain.config, plain.state
        self.config, self.weights, self.terms = config, weights, terms
        self.heads, self.depth, channels = config.decoder_num_heads, config.decoder_depth, config.prompt_embed_dim
        self.token_pe = np.concatenate([self.state["iou_token.weight"], self.state["mask_tokens.weight"], sparse])
        self.width = channels // 2 // self.heads  # D
        self.group = self.heads * (len(self.token_pe) - 1) + 1  # features that a layer adds
        self.tiles, _, self.pixels = terms.rows.shape
        self.features = room("features", self.tiles, self.depth * self.group, self.pixels)
        self.ratios = np.zeros((self.depth, self.tiles), np.float32)
        # after the layers so far, source = scale · x M + features · basis + shift
        self.basis, self.shift = np.empty((0, channels), np.float32), np.zeros(channels, np.float32)
        self.updates: list[tuple[np.ndarray, ...]] = []

    def trusted(self) -> bool:
        """Whether no pixel's σ² was much smaller than its terms."""
        return not (max(self.terms.ratio, self.ratios.max()) > RATIO)

    # --- tokens

    def tokens(self, chosen: range) -> np.ndarray:
        """The tokens that are used afterwards: that of the IoU and those of the chosen masks, (1 + M, C)."""
        tokens = token_pe = self.token_pe
        for i in range(self.depth):
            state = self.state / "transformer" / "layers" / i
            tokens = self.read_image(i, tokens, state / "cross_attn_token_to_image", state / "norm2")
            hidden = _linear(state / "mlp" / "lin1", tokens, relu=True)
            tokens = _norm(state / "norm3", tokens + _linear(state / "mlp" / "lin2", hidden))
            self.update_basis(state, tokens + token_pe, tokens)
        kept = [0, *(1 + m for m in chosen)]
        self.token_pe = token_pe[kept]
        state = self.state / "transformer"
        return self.read_image(self.depth, tokens[kept], state / "final_attn_token_to_image", state / "norm_final_attn")

    def self_attention(self, i: int, tokens: np.ndarray) -> np.ndarray:
        """Layer i's first step, (T, C) → (T, C). As in the plain form, layer 0's adds neither position nor tokens."""
        if i == self.depth:
            return tokens
        state = self.state / "transformer" / "layers" / i
        place = tokens + self.token_pe if i else tokens
        q, k, v = (
            self.split(_linear(state / "self_attn" / name, x))
            for name, x in (("q_proj", place), ("k_proj", place), ("v_proj", tokens))
        )
        scores = q @ k.transpose(0, 2, 1) * np.float32(q.shape[2] ** -0.5)  # (heads, T, T)
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        attended = _linear(state / "self_attn" / "out_proj", self.join(weights @ v))
        return _norm(state / "norm1", tokens + attended if i else attended)

    def mlp(self, name: str, x: np.ndarray) -> np.ndarray:
        """x (1, C) through linear layers with ReLU between them."""
        depth = self.config.iou_head_depth if name == "iou_prediction_head" else 3
        for i in range(depth):
            x = _linear(self.state / name / "layers" / i, x, relu=i < depth - 1)
        return x

    def split(self, x: np.ndarray) -> np.ndarray:
        """(T, heads · D) → (heads, T, D)."""
        return np.ascontiguousarray(x.reshape(len(x), self.heads, -1).transpose(1, 0, 2))

    def join(self, x: np.ndarray) -> np.ndarray:
        """(heads, T, D) → (T, heads · D)."""
        return np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(x.shape[1], -1)

    def of_heads(self, weight: np.ndarray) -> np.ndarray:
        """A projection (heads · D, C) as (heads, D, C)."""
        return weight.reshape(self.heads, self.width, weight.shape[1])

    # --- image → tokens

    def update_basis(self, state: State, k: np.ndarray, v: np.ndarray) -> None:
        """All of a layer's image → token attention and LayerNorm that does not depend on the pixel."""
        attention = state / "cross_attn_image_to_token"
        k, v = self.split(_linear(attention / "k_proj", k)), self.split(_linear(attention / "v_proj", v))
        k = (k[:, :-1] - k[:, -1:]) * np.float32(self.width**-0.5)  # scores above the last token's
        v[:, :-1] -= v[:, -1:]  # what the others bring more than the last token
        lifted = (k @ self.of_heads((attention / "q_proj")["weight"])).reshape(self.group - 1, -1)  # (K − 1, C)
        bias = (k @ (attention / "q_proj")["bias"].reshape(self.heads, self.width, 1)).reshape(-1)
        bias = bias + lifted @ self.shift
        factors = lifted @ self.basis.T
        change = v @ self.of_heads((attention / "out_proj")["weight"].T)  # U, (heads, T, C)
        constant = change[:, -1].sum(axis=0) + (attention / "out_proj")["bias"] + self.shift
        basis = np.concatenate([self.basis, change[:, :-1].reshape(self.group - 1, -1), constant[None]])
        basis -= basis.mean(axis=1, keepdims=True)  # LayerNorm takes the mean off anyway
        gram = basis @ basis.T
        gram[len(self.basis) :, : len(self.basis)] *= 2  # and nothing above: each pair of groups once
        values = v[None] if not self.updates else np.concatenate([self.updates[-1][3], v[None]])
        self.updates.append((k, bias, factors, values, gram))
        self.basis, self.shift = basis * (state / "norm4")["weight"], (state / "norm4")["bias"]

    def update_tile(self, i: int, t: int) -> None:
        """Layer i's image → token attention and LayerNorm for a tile: its features, and all of them over σ."""
        k, bias, factors, values, gram = self.updates[i]
        start, end = i * self.group, (i + 1) * self.group
        features = self.features[t, :end]
        scale, query = self.scaled(t, "query", i)
        scores = features[start:-1]
        if i:
            np.matmul(factors, features[:start], out=scores)
        image_to_tokens_tile(k, bias, query, i > 0, scores)
        features[-1] = 1
        mixed = room("mixed", end, self.pixels)
        if i:
            np.matmul(gram[:start, :start], features[:start], out=mixed[:start])
        np.matmul(gram[start:], features, out=mixed[start:])
        cross = self.terms.rows[t, self.weights.rows["cross", i]].reshape(i + 1, -1, self.pixels)
        length = self.terms.rows[t, self.weights.rows["length", i]][0]
        channels = np.float32(self.basis.shape[1])
        self.ratios[i, t] = implied_layer_norm_tile(
            values, cross, length, scale, mixed, np.float32(EPS), channels, features
        )

    def scaled(self, t: int, name: str, i: int) -> tuple[np.ndarray, np.ndarray]:
        """(scale (P,), scale · x M W + position W): "key" or "query" of layer i. No layer has scaled layer 0's."""
        rows = self.terms.rows[t, self.weights.rows[name, i]]
        if i == 0:
            return np.ones(self.pixels, np.float32), rows
        scale, out = self.features[t, self.group - 1], room("scaled", *rows.shape)
        scale_and_place(rows, scale, self.terms.place[t, self.weights.place_rows[name, i]], out)
        return scale, out

    # --- tokens → image

    def read_image(self, i: int, tokens: np.ndarray, attention: State, norm: State) -> np.ndarray:
        """The last layer's update of the image, meanwhile self-attention; then the tokens read. (T, C) → (T, C)."""
        way_in, way_out = self.of_heads((attention / "k_proj")["weight"]), (attention / "v_proj")["weight"]
        rows, known, count = self.heads * len(tokens), i * self.group, len(tokens)
        largest, totals = np.empty((2, self.tiles, rows), np.float32)
        moments = np.empty((self.tiles, self.heads, count, self.width), np.float32)
        more = room("more", self.tiles, rows, known)

        def queries() -> tuple[np.ndarray, ...]:
            after = self.self_attention(i, tokens)
            q = self.split(_linear(attention / "q_proj", after + self.token_pe)) * np.float32(self.width**-0.5)
            return after, q, (q @ way_in).reshape(rows, -1) @ self.basis.T

        def tile(t: int, wait: Callable[[], tuple[np.ndarray, ...]]) -> None:
            if i:
                self.update_tile(i - 1, t)
            scores, features = room("scores", rows, self.pixels), self.features[t, :known]
            scale, key = self.scaled(t, "key", i)
            _, q, factors = wait()
            if i:
                np.matmul(factors, features, out=scores)
            value = self.terms.rows[t, self.weights.rows["value", i]]
            tokens_to_image_tile(
                q, key, value, scale, i > 0, self.terms.counts[t], scores, largest[t], totals[t], moments[t]
            )
            np.matmul(scores, features.T, out=more[t])

        tokens = _beside(queries, tile, self.tiles)[0]
        mixed, rest = np.empty((self.heads, count, self.width), np.float32), np.empty((rows, known), np.float32)
        merge_tiles(largest, totals, moments.reshape(self.tiles, rows, -1), more, mixed.reshape(rows, -1), rest)
        whole = (rest @ self.basis + self.shift).reshape(self.heads, count, -1)
        mixed += whole @ self.of_heads(way_out).transpose(0, 2, 1)
        attended = self.join(mixed) + (attention / "v_proj")["bias"]
        return _norm(norm, tokens + _linear(attention / "out_proj", attended))

    # --- masks

    def masks(self, vectors: dict[str, np.ndarray], out: np.ndarray) -> None:
        """``vectors``: hypernetwork → its token (1, C), for k masks → out (k, 4h, 4w), the logits."""
        up, second = self.state / "output_upscaling", self.weights.second
        weight, shift, bias = (up / 1)["weight"], (up / 1)["bias"], (up / 3)["bias"]
        factors = self.weights.first @ self.basis.T  # (4 · C / 4, K)

        def classifiers() -> np.ndarray:
            return np.concatenate([self.mlp(name, token) for name, token in vectors.items()])  # (k, C / 8)

        def tile(t: int, wait: Callable[[], np.ndarray]) -> None:
            x, y = room("first", len(factors), self.pixels), room("second", len(second), self.pixels)
            np.matmul(factors, self.features[t], out=x)
            seen, scale = self.terms.rows[t, self.weights.rows["first", 0]], self.features[t, self.group - 1]
            norm_gelu_tile(seen, scale, self.weights.first_bias, weight, shift, np.float32(1e-6), x)
            for corner in range(4):
                np.matmul(second, x[corner * len(weight) : (corner + 1) * len(weight)], out=y)
                gelu_masks_tile(y, bias, wait(), corner, t * self.pixels, out.shape[2] // 4, out)

        _beside(classifiers, tile, self.tiles)


def _linear(state: State, x: np.ndarray, relu: bool = False) -> np.ndarray:
    return few_rows(x, state["weight"], state["bias"], relu)


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
