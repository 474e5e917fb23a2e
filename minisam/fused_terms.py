"""stub: What the fused decoder knows before a prompt comes: products of weights, and of the picture with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minisam.config import SamConfig
from minisam.prompt_encoder import PromptEncoder
from minisam.state import State
from minisam_kernels.threads import parallel_for

PIXELS = 256  # image tokens of a tile, at most


class FusedWeights:
    """Products of the decoder's weights with each other, made in float64 and rounded once."""

    def __init__(self, config: SamConfig, state: State, prompt_encoder: PromptEncoder) -> None:
        depth, channels = config.decoder_depth, config.prompt_embed_dim
        layers = [state / "transformer" / "layers" / i for i in range(depth)]
        final = state / "transformer" / "final_attn_token_to_image"
        up = state / "output_upscaling"

        def double(part: State, name: str = "weight") -> np.ndarray:
            return part[name].astype(np.float64)

        centre = np.eye(channels) - 1 / channels
        so_far = np.eye(channels)  # M: the image tokens x have become scale · x M + …
        self.rows: dict[Any, slice] = {}
        self.place_rows: dict[Any, slice] = {}
        matrix: list[np.ndarray] = []
        place: list[np.ndarray] = []
        updates: list[np.ndarray] = []  # one for each layer so far: (inner width + 1, C), attention's way out and its bias
        self.lengths: list[np.ndarray] = []
        shift = np.zeros(channels)  # of the last LayerNorm

        def add(name: Any, block: np.ndarray, with_place: np.ndarray | None = None) -> None:
            start = sum(map(len, matrix))
            matrix.append(block)
            self.rows[name] = slice(start, start + len(block))
            if with_place is not None:
                start = sum(map(len, place))
                place.append(with_place)
                self.place_rows[name] = slice(start, start + len(with_place))

        for i in range(depth + 1):
            attention = layers[i] / "cross_attn_token_to_image" if i < depth else final
            key = double(attention / "k_proj")
            add(("key", i), key @ so_far.T, key)
            add(("value", i), double(attention / "v_proj") @ so_far.T)
            if i == depth:
                break
            attention = layers[i] / "cross_attn_image_to_token"
            query = double(attention / "q_proj")
            add(("query", i), query @ so_far.T, query)
            bias = double(attention / "out_proj", "bias") + shift
            updates.append(np.concatenate([double(attention / "out_proj").T, bias[None]]))
            add(("cross", i), np.concatenate([update @ centre @ so_far.T for update in updates]))
            add(("length", i), np.zeros((1, channels)))
            self.lengths.append(centre @ so_far.T)
            norm = double(layers[i] / "norm4")
            shift = double(layers[i] / "norm4", "bias")
            updates = [update @ centre * norm for update in updates]
            so_far = so_far @ centre * norm
        first = double(up / 0)  # (C, C / 4, 2, 2)
        first = first.transpose(2, 3, 1, 0).reshape(-1, channels)  # (u, v, C / 4) × C
        add(("first", 0), first @ so_far.T)
        # A mask prompt changes x by D · (16 channels and 1); what its products with the lengths need of the picture.
        mask = prompt_encoder.state / "mask_downscaling" / 6
        change = double(mask)[:, :, 0, 0]
        offset = double(mask, "bias") - prompt_encoder.no_mask().reshape(-1)
        change = np.concatenate([change, offset[:, None]], axis=1)  # (C, 17)
        for i, length in enumerate(self.lengths):
            add(("mask", i), (length @ change).T @ length)
        whole = np.concatenate(matrix)
        self.matrix, self.place_matrix = whole.astype(np.float32), np.concatenate(place).astype(np.float32)
        self.mask_matrix = (whole @ change).astype(np.float32)
        self.mask_grams = [((length @ change).T @ (length @ change)).astype(np.float32) for length in self.lengths]
        self.lengths = [length.astype(np.float32) for length in self.lengths]
        self.no_mask = prompt_encoder.no_mask().reshape(-1)
        self.first = first.astype(np.float32)  # (4 · C / 4, C)
        self.first_bias = (np.tile(double(up / 0, "bias"), 4) + first @ shift).astype(np.float32)
        second = double(up / 3).transpose(2, 3, 1, 0)
        self.second = np.ascontiguousarray(second.reshape(-1, second.shape[3]).astype(np.float32))  # (u, v, C / 8) × C / 4


@dataclass(frozen=True)
class ImageTerms:
    """What the decoder knows about a picture before any prompt comes. ``rows`` holds, tile by tile, everything that is
    the picture times weights, image tokens side by side."""

    image: np.ndarray  # (1, h, w, C)
    image_pe: np.ndarray  # (h, w, C)
    rows: np.ndarray  # (tiles, rows, P)
    place: np.ndarray  # (tiles, rows, P): the same of positions
    counts: list[int]  # pixels of every tile


def tiles_of(tokens: int) -> tuple[int, int]:
    """(number of tiles, image tokens in one, a multiple of 8)."""
    tiles = -(-tokens // PIXELS)
    return tiles, -(-tokens // (8 * tiles)) * 8


def tile_products(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """matrix (K, C) times every tile of x (N, C) → (tiles, K, P), zeros where the last tile has no tokens."""
    tiles, pixels = tiles_of(len(x))
    out = np.empty((tiles, len(matrix), pixels), np.float32)

    def one(t: int) -> None:
        here = x[t * pixels : (t + 1) * pixels]
        np.matmul(matrix, here.T, out=out[t, :, : len(here)])
        out[t, :, len(here) :] = 0

    parallel_for(one, tiles)
    return out


def make_terms(weights: FusedWeights, image: np.ndarray, image_pe: np.ndarray) -> ImageTerms:
    """image (1, h, w, C), image_pe (h, w, C) → the picture's terms."""
    channels = image.shape[3]
    x = image.reshape(-1, channels) + weights.no_mask
    tiles, pixels = tiles_of(len(x))
    rows = tile_products(weights.matrix, x)
    place = tile_products(weights.place_matrix, image_pe.reshape(-1, channels))
    for name in (("key", 0), ("query", 0)):
        rows[:, weights.rows[name]] += place[:, weights.place_rows[name]]
    for i, length in enumerate(weights.lengths):
        z = tile_products(length, x)
        rows[:, weights.rows["length", i]] = np.einsum("tkp,tkp->tp", z, z)[:, None]
    counts = [min(pixels, len(x) - t * pixels) for t in range(tiles)]
    return ImageTerms(image, image_pe, rows, place, counts)


def with_mask(weights: FusedWeights, terms: ImageTerms, channels: np.ndarray) -> ImageTerms:
    """The terms of the picture plus a mask prompt, whose last convolution gets ``channels`` (1, h, w, 16)."""
    channels = channels.reshape(-1, channels.shape[-1])
    tokens = len(channels)
    tiles, pixels = tiles_of(tokens)
    change = np.zeros((tiles * pixels, channels.shape[1] + 1), np.float32)
    change[:tokens, :-1], change[:tokens, -1] = channels, 1
    rows = np.empty_like(terms.rows)

    def one(t: int) -> None:
        here = np.ascontiguousarray(change[t * pixels : (t + 1) * pixels].T)  # (17, P)
        np.matmul(weights.mask_matrix, here, out=rows[t])
        rows[t] += terms.rows[t]
        for i, gram in enumerate(weights.mask_grams):
            cross = 2 * terms.rows[t, weights.rows["mask", i]] + gram @ here
            rows[t, weights.rows["length", i]] = terms.rows[t, weights.rows["length", i]] + (here * cross).sum(axis=0)

    parallel_for(one, tiles)
    return ImageTerms(terms.image, terms.image_pe, rows, terms.place, terms.counts)
