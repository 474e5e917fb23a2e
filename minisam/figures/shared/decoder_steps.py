"""The plain mask decoder of a model, with a note taken of everything on the way: what figures of chapters 5 to 7 show.

``decode_steps(predictor, point_coords, point_labels)`` runs ``MaskDecoder.predict_masks`` itself. Two subclasses call
the model's own methods and keep what goes in and out, so no number is changed and no step is written a second time.
Only the attention weights are computed again, because the model never holds them as one array (``attention_weights``).

``without`` leaves a part out, to see what it is for (``PARTS`` lists the names). Then the numbers are another model's.

Shapes: T tokens = 5 + prompt tokens, N = h · w image tokens, M = 4 masks, C ``prompt_embed_dim``; one prompt, so there
is no batch axis. Source: paper, section 3 and appendix A.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from minisam.model.config import SamConfig
from minisam.model.inputs import check_prompts
from minisam.model.mask_decoder import MaskDecoder
from minisam.model.preprocess import apply_coords, input_size
from minisam.model.state import State
from minisam.model.transformer import TwoWayTransformer
from minisam.predictor import SamPredictor
from minisam_kernels.runtime.errors import InputError
from minisam_kernels.runtime.threads import blas_at_one_thread

PARTS = (
    "self-attention",
    "image to token",
    "last token to image",
    "positions of the image",
    "prompt added again",
)
KINDS = {-1: "no point", 0: "background point", 1: "foreground point", 2: "top left corner", 3: "bottom right corner"}


@dataclass(frozen=True)
class Steps:
    """What one prompt becomes on its way through the decoder."""

    names: tuple[str, ...]
    """what each of the T tokens is"""
    tokens: list[np.ndarray]
    """(T, C): as they go in, after each block, and after the last attention with its norm"""
    images: list[np.ndarray]
    """(N, C): image tokens as they go in and after each block"""
    weights: dict[str, np.ndarray]
    """name of an attention in the checkpoint → (heads, queries, keys), every query's weights summing to 1"""
    values: dict[str, np.ndarray]
    """name of an attention → (keys, inner width): what its weights mix, channels as (heads, D)"""
    attended: dict[str, np.ndarray]
    """name of an attention → (queries, C): what it gave, after its output projection"""
    halfway: np.ndarray
    """(2h, 2w, C/4): image features after the first transposed convolution, its norm and GELU"""
    features: np.ndarray
    """(4h, 4w, C/8): after the second one and its GELU"""
    vectors: np.ndarray
    """(M, C/8): what the hypernetworks made of the mask tokens"""
    logits: np.ndarray
    """(M, 4h, 4w)"""
    iou_predictions: np.ndarray
    """(M,)"""

    @property
    def best(self) -> int:
        """Of the mask tokens 1 to 3 the one with the highest score: whose mask a single click shows."""
        return 1 + int(self.iou_predictions[1:].argmax())


def attention_weights(q: np.ndarray, k: np.ndarray, num_heads: int) -> np.ndarray:
    """softmax(Q Kᵀ / √D) of q (Nq, C) and k (Nk, C), channels laid out as (heads, D) → (heads, Nq, Nk)."""
    q, k = (x.reshape(len(x), num_heads, -1).swapaxes(0, 1) for x in (q, k))  # (heads, N, D)
    scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[2])
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    return weights / weights.sum(axis=2, keepdims=True)


class WatchedTransformer(TwoWayTransformer):
    """The two-way transformer, which also keeps what ``Steps`` lists."""

    def __init__(self, config: SamConfig, state: State, without: Collection[str] = ()) -> None:
        super().__init__(config, state)
        unknown = sorted(set(without) - set(PARTS))
        if unknown:
            raise InputError(f"expected parts among {', '.join(PARTS)}, got {', '.join(unknown)}")
        self.without = frozenset(without)

    def __call__(self, image: np.ndarray, image_pe: np.ndarray, token_pe: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.weights: dict[str, np.ndarray] = {}
        self.values: dict[str, np.ndarray] = {}
        self.attended: dict[str, np.ndarray] = {}
        self.tokens, self.images, self.token_pe = [token_pe[0]], [image[0]], token_pe
        if "positions of the image" in self.without:
            image_pe = np.zeros_like(image_pe)
        tokens, image = super().__call__(image, image_pe, token_pe)
        self.tokens.append(tokens[0])
        return tokens, image

    def block(
        self, i: int, tokens: np.ndarray, image: np.ndarray, token_pe: np.ndarray, image_pe: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if "prompt added again" in self.without:
            token_pe = np.zeros_like(token_pe)
        tokens, image = super().block(i, tokens, image, token_pe, image_pe)
        self.tokens.append(tokens[0])
        self.images.append(image[0])
        return tokens, image

    def attend(self, state: State, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
        name = state._prefix.removeprefix(self.state._prefix).rstrip(".")
        last = name == "final_attn_token_to_image"
        if last and "prompt added again" in self.without:
            q = q - self.token_pe
        projected = ((state / "q_proj").linear(q)[0], (state / "k_proj").linear(k)[0])
        self.weights[name] = attention_weights(*projected, self.config.decoder_num_heads)
        self.values[name] = (state / "v_proj").linear(v)[0]
        if name.endswith("self_attn") and "self-attention" in self.without:
            return v if name.startswith("layers.0") else np.zeros_like(v)  # block 0 replaces its tokens: leave them
        if (last and "last token to image" in self.without) or (
            name.endswith("image_to_token") and "image to token" in self.without
        ):
            return np.zeros_like(q)
        attended = super().attend(state, q, k, v)
        self.attended[name] = attended[0].copy()  # the block goes on in this array
        return attended


class WatchedDecoder(MaskDecoder):
    """A model's mask decoder with a ``WatchedTransformer`` inside; it also keeps ``halfway``, ``features``,
    ``vectors``."""

    def __init__(self, decoder: MaskDecoder, without: Collection[str] = ()) -> None:
        vars(self).update(vars(decoder))  # the same weights; nothing is prepared again
        self.watched = self.transformer = WatchedTransformer(decoder.config, decoder.state / "transformer", without)

    def upscale(self, source: np.ndarray) -> np.ndarray:
        self.halfway = upscale_once(self, source)[0]
        features = super().upscale(source)
        self.features = features[0]
        return features

    def classifiers(self, mask_tokens: np.ndarray, chosen: slice) -> np.ndarray:
        vectors = super().classifiers(mask_tokens, chosen)
        self.vectors = vectors[0]
        return vectors


def upscale_once(decoder: MaskDecoder, source: np.ndarray) -> np.ndarray:
    """The first half of ``MaskDecoder.upscale``: source (B, h, w, C) → (B, 2h, 2w, C/4)."""
    from minisam_kernels.layers.gelu import gelu

    up = decoder.state / "output_upscaling"
    return gelu((up / 1).layer_norm((up / 0).conv_transpose2d(source), eps=1e-6))


def watch(
    predictor: SamPredictor,
    sparse: np.ndarray,
    dense: np.ndarray,
    kinds: tuple[str, ...],
    without: Collection[str] = (),
) -> Steps:
    """The steps for embedded prompts: sparse (1, T − 5, C), dense (1, h, w or 1, C); ``kinds`` names the T − 5."""
    decoder = WatchedDecoder(predictor.model.mask_decoder, without)
    features = np.moveaxis(predictor.get_image_embedding(), 1, -1)
    with blas_at_one_thread():
        logits, iou = decoder.predict_masks(features, predictor.image_pe, sparse, dense)
    watched = decoder.watched
    names = ("IoU", *(f"mask {i}" for i in range(len(decoder.vectors))), *kinds)
    arrays = (watched.values, watched.attended, decoder.halfway, decoder.features, decoder.vectors, logits[0], iou[0])
    return Steps(names, watched.tokens, watched.images, watched.weights, *arrays)


def decode_steps(
    predictor: SamPredictor,
    point_coords: np.ndarray | None = None,
    point_labels: np.ndarray | None = None,
    box: np.ndarray | None = None,
    mask_input: np.ndarray | None = None,
    without: Collection[str] = (),
) -> Steps:
    """Every step for one prompt about the image that ``predictor`` has seen; arguments as in its ``predict``."""
    predictor.get_image_embedding()
    assert predictor.original_size is not None
    original, size = predictor.original_size, predictor.model.config.image_size
    parts = (point_coords, point_labels, box)
    coords, labels, boxes = check_prompts(original, *(None if p is None else np.asarray(p)[None] for p in parts))
    kinds: list[str] = []
    points = None
    if coords is not None and labels is not None:
        points = (apply_coords(coords, original, size), labels)
        kinds += [KINDS[int(label)] for label in labels[0]] + ([] if box is not None else [KINDS[-1]])
    if boxes is not None:
        boxes = apply_coords(boxes.reshape(-1, 2, 2), original, size).reshape(-1, 4)
        kinds += [KINDS[2], KINDS[3]]
    masks = None if mask_input is None else np.asarray(mask_input, np.float32)[None]
    sparse, dense = predictor.model.prompt_encoder(points, boxes, masks)
    return watch(predictor, sparse, dense, tuple(kinds), without)


def within_picture(grid: np.ndarray, predictor: SamPredictor) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """The part of ``grid`` (..., rows, columns), which covers the model's square input, that shows the image, and
    where it lies on the image in pixels, (left, right, bottom, top), as matplotlib's ``extent``."""
    assert predictor.original_size is not None
    size = predictor.model.config.image_size
    sides = []
    for old, new, cells in zip(
        predictor.original_size, input_size(*predictor.original_size, size), grid.shape[-2:], strict=True
    ):
        count = -(-new * cells // size)
        sides.append((count, count * size / cells * old / new))
    (rows, bottom), (columns, right) = sides
    return grid[..., :rows, :columns], (-0.5, right - 0.5, bottom - 0.5, -0.5)


def overlap(a: np.ndarray, b: np.ndarray, predictor: SamPredictor) -> float:
    """The IoU, within the image, of the masks of two grids of logits (rows, columns); 0 if both are empty."""
    one, other = (within_picture(grid, predictor)[0] > 0 for grid in (a, b))
    return float((one & other).sum() / max((one | other).sum(), 1))
