"""What the fused decoder knows before a prompt comes: products of weights, and of the image with them.

After l layers an image token is scale · x M + what prompts brought (``minisam.fused.decoder``). x (C,) is the image
embedding plus "no mask"; M starts as the identity, and every LayerNorm makes of it M · (I − 1/C) · diag(weight): taking
off the mean is a matrix too. So whatever the decoder multiplies image tokens with, it multiplies x with a product of
weights::

    key, value, query of layer l    W M
    cross                           (ways out of attention, so far) · (I − 1/C) · M: their products with x M
    length                          |x M (I − 1/C)|², one number
    first                           the first transposed convolution

All rows together are one matrix (1700 × C in the official models), and ``set_image`` multiplies it with the image,
once: 1.8 · 10⁹ multiply–adds and 27 MB with ViT-B, beside the encoder's 470 · 10⁹. A mask prompt changes x by the sum
of 17 vectors, so it changes the rows by a product with 17 columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from minisam.model.config import SamConfig
from minisam.model.prompt_encoder import PromptEncoder
from minisam.model.state import State
from minisam.model.transformer import EPS
from minisam_kernels.runtime.threads import parallel_for

PIXELS = 256  # image tokens of a tile, at most: fixed, so that the number of threads changes no bit


class FusedWeights:
    """Products of the decoder's weights with each other, made in float64 and rounded once."""

    def __init__(self, config: SamConfig, state: State, prompt_encoder: PromptEncoder) -> None:
        depth, channels = config.decoder_depth, config.prompt_embed_dim
        layers, up = state / "transformer" / "layers", state / "output_upscaling"
        self.rows: dict[tuple[str, int], slice] = {}  # (what, layer) → rows of ``matrix``
        self.position_rows: dict[tuple[str, int], slice] = {}  # the same of ``position_matrix``, for keys and queries
        matrix: list[np.ndarray] = []
        position: list[np.ndarray] = []
        centre, so_far = np.eye(channels) - 1 / channels, np.eye(channels)  # I − 1/C, and M
        shift = np.zeros(channels)  # of the last LayerNorm
        ways: list[np.ndarray] = []  # a layer's way out of attention and what it adds, (inner width + 1, C)
        lengths: list[np.ndarray] = []  # M (I − 1/C) of every layer, transposed

        def add(what: str, layer: int, block: np.ndarray) -> None:
            self.rows[what, layer] = _append(matrix, block @ so_far.T)

        for i in range(depth + 1):
            # Tokens → image: Wk and Wv of layer i, in the end those of the final attention.
            read = layers / i / "cross_attn_token_to_image" if i < depth else _final(state)
            key = _double(read / "k_proj")
            add("key", i, key)
            self.position_rows["key", i] = _append(position, key)
            add("value", i, _double(read / "v_proj"))
            if i == depth:
                break
            # Image → tokens: Wq, and what the attention adds, out_proj and its bias; the LayerNorm before adds shift.
            write, norm = layers / i / "cross_attn_image_to_token", layers / i / "norm4"
            query = _double(write / "q_proj")
            add("query", i, query)
            self.position_rows["query", i] = _append(position, query)
            bias = _double(write / "out_proj", "bias") + shift
            ways.append(np.concatenate([_double(write / "out_proj").T, bias[None]]))
            # σ²: the products basis · x M, from every layer's way out, and |x M|², both with the mean taken off.
            add("cross", i, np.concatenate([way @ centre for way in ways]))
            add("length", i, np.zeros((1, channels)))  # no product: written for each image
            lengths.append(centre @ so_far.T)
            # The LayerNorm after it: ways and M become · (I − 1/C) · diag(weight).
            shift = _double(norm, "bias")
            ways = [way @ centre * _double(norm) for way in ways]
            so_far = so_far @ centre * _double(norm)
        # Both transposed convolutions as matrices, of which the first is multiplied with x M too.
        first = _double(up / 0).transpose(2, 3, 1, 0).reshape(-1, channels)  # (u, v, C / 4) × C
        add("first", 0, first)
        second = _double(up / 3).transpose(2, 3, 1, 0)  # (u, v, C / 8) × C / 4
        self.first, self.second = _single(first), _single(second.reshape(-1, channels // 4))
        self.first_bias = _single(np.tile(_double(up / 0, "bias"), 4) + first @ shift)
        self.output_tokens = np.concatenate([state["iou_token.weight"], state["mask_tokens.weight"]])
        self.ways_out = [  # a layer's way out of image → token attention, (heads, D, C)
            _single(_double(layers / i / "cross_attn_image_to_token" / "out_proj").T).reshape(
                config.decoder_num_heads, -1, channels
            )
            for i in range(depth)
        ]

        # A mask prompt adds change · (its 16 channels, 1) to x, instead of "no mask": change is the last convolution.
        self.no_mask = prompt_encoder.no_mask().reshape(-1)
        last = prompt_encoder.state / "mask_downscaling" / 6
        offset = _double(last, "bias") - self.no_mask
        change = np.concatenate([_double(last)[:, :, 0, 0], offset[:, None]], axis=1)  # (C, 17)
        # |a + b|² = |a|² + 2 a · b + |b|² with b the change: rows for a · b, a Gram matrix for |b|².
        for i, length in enumerate(lengths):
            self.rows["mask", i] = _append(matrix, (length @ change).T @ length)
        self.mask_grams = [_single((length @ change).T @ (length @ change)) for length in lengths]
        whole = np.concatenate(matrix)
        self.mask_matrix = _single(whole @ change)
        self.matrix, self.position_matrix = _single(whole), _single(np.concatenate(position))
        self.lengths = [_single(length) for length in lengths]


def _append(blocks: list[np.ndarray], block: np.ndarray) -> slice:
    """Append, and say where it stands among all rows."""
    start = sum(map(len, blocks))
    blocks.append(block)
    return slice(start, start + len(block))


def _final(state: State) -> State:
    return state / "transformer" / "final_attn_token_to_image"


def _double(state: State, name: str = "weight") -> np.ndarray:
    return state[name].astype(np.float64)


def _single(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)


@dataclass(frozen=True)
class ImageTerms:
    """What the decoder knows about an image before any prompt comes. Image tokens of a tile lie side by side."""

    image: np.ndarray  # (1, h, w, C)
    image_pe: np.ndarray  # (h, w, C)
    rows: np.ndarray  # (tiles, rows of ``FusedWeights.matrix``, P): the image times weights
    position: np.ndarray  # (tiles, rows of ``position_matrix``, P): positions times weights
    counts: list[int]  # image tokens of every tile; all but the last have P
    ratio: float = 0.0  # largest, over pixels, of the terms of a squared length to itself


def tiles_of(tokens: int) -> tuple[int, int]:
    """(number of tiles, image tokens in one, a multiple of 8)."""
    tiles = -(-tokens // PIXELS)
    return tiles, -(-tokens // (8 * tiles)) * 8


def position_terms(weights: FusedWeights, image_pe: np.ndarray) -> np.ndarray:
    """image_pe (h, w, C) → ``ImageTerms.position``, the same for every image."""
    pe = image_pe.reshape(-1, image_pe.shape[2])
    tiles, pixels = tiles_of(len(pe))
    terms = np.zeros((tiles, len(weights.position_matrix), pixels), np.float32)

    def tile(t: int) -> None:
        part = pe[t * pixels : (t + 1) * pixels]
        np.matmul(weights.position_matrix, part.T, out=terms[t, :, : len(part)])

    parallel_for(tile, tiles)
    return terms


def image_terms(weights: FusedWeights, image: np.ndarray, image_pe: np.ndarray, position: np.ndarray) -> ImageTerms:
    """image (1, h, w, C), image_pe (h, w, C) and its ``position_terms`` → the image's terms."""
    x = image.reshape(-1, image.shape[3]) + weights.no_mask
    tiles, pixels = tiles_of(len(x))
    counts = [min(pixels, len(x) - t * pixels) for t in range(tiles)]
    rows = np.empty((tiles, len(weights.matrix), pixels), np.float32)

    def tile(t: int) -> None:
        part = np.zeros((pixels, x.shape[1]), np.float32)
        part[: counts[t]] = x[t * pixels : (t + 1) * pixels]
        np.matmul(weights.matrix, part.T, out=rows[t])
        for name in (("key", 0), ("query", 0)):  # no LayerNorm yet: the position is added once for all prompts
            rows[t, weights.rows[name]] += position[t, weights.position_rows[name]]
        for i, length in enumerate(weights.lengths):  # |x M (I − 1/C)|²
            rows[t, weights.rows["length", i]] = ((length @ part.T) ** 2).sum(axis=0)

    parallel_for(tile, tiles)
    return ImageTerms(image, image_pe, rows, position, counts)


def with_mask(weights: FusedWeights, terms: ImageTerms, channels: np.ndarray) -> ImageTerms:
    """The terms of the image plus a mask prompt, whose last convolution gets ``channels`` (1, h, w, 16)."""
    tokens, width = channels.shape[1] * channels.shape[2], channels.shape[3]
    tiles, _, pixels = terms.rows.shape
    change = np.zeros((tiles * pixels, width + 1), np.float32)
    change[:tokens, :-1], change[:tokens, -1] = channels.reshape(tokens, width), 1
    rows, ratios = np.empty_like(terms.rows), np.zeros((len(weights.mask_grams), tiles))

    def tile(t: int) -> None:
        # All rows are linear in x, so the change's part is added …
        part = np.ascontiguousarray(change[t * pixels : (t + 1) * pixels].T)  # (17, P)
        np.matmul(weights.mask_matrix, part, out=rows[t])
        rows[t] += terms.rows[t]
        # … except the lengths: |a + b|² = |a|² + 2 a · b + |b|². Where it is much smaller than its terms, ratio tells.
        for i, gram in enumerate(weights.mask_grams):
            old, own = terms.rows[t, weights.rows["length", i]], (part * (gram @ part)).sum(axis=0)
            new = old + 2 * (part * terms.rows[t, weights.rows["mask", i]]).sum(axis=0) + own
            rows[t, weights.rows["length", i]] = np.maximum(new, 0)
            ratios[i, t] = ((old + own) / (np.maximum(new, 0) + EPS * len(weights.no_mask))).max()

    parallel_for(tile, tiles)
    return replace(terms, rows=rows, ratio=float(ratios.max()))
