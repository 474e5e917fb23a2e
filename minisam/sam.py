"""Segment Anything: the three parts of the model around one dict of weights. ``minisam.load`` makes one.

The path of a prompt, from end to end, is ``Sam.__call__``; ``minisam.predictor`` is the same for one image and many
prompts.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from minisam.fused.decoder import FusedDecoder
from minisam.fused.terms import ImageTerms
from minisam.model.config import SamConfig, get_config
from minisam.model.image_encoder import ImageEncoderViT
from minisam.model.inputs import as_transformed_image, check_masks, check_prompts
from minisam.model.mask_decoder import MaskDecoder
from minisam.model.preprocess import normalise_and_pad, postprocess_masks
from minisam.model.prompt_encoder import PromptEncoder
from minisam.model.state import State
from minisam_kernels import InputError
from minisam_kernels.runtime.threads import blas_at_one_thread


class Sam:
    """Segment Anything: image encoder, prompt encoder and mask decoder around one dict of weights.

    Parameters
    ----------
    config : SamConfig
        The sizes of the model.
    state : mapping of str to ndarray, float32
        Every weight under its name in the official checkpoints, with the shapes of ``config.shapes()``. It is used as
        it is, not copied.

    Attributes
    ----------
    mask_threshold : float
        A pixel belongs to a mask if its logit is above this: 0.
    image_format : str
        The order of an image's channels: "RGB".
    device : str
        "cpu": there is no other.

    Raises
    ------
    InputError
        If a weight is missing or has another shape.
    """

    mask_threshold = 0.0
    image_format = "RGB"
    device = "cpu"

    def __init__(self, config: SamConfig, state: Mapping[str, np.ndarray]) -> None:
        for name, shape in config.shapes().items():
            if name not in state or state[name].shape != shape:
                received = state[name].shape if name in state else "nothing"
                raise InputError(f"expected a weight {name} of shape {shape}, got {received}")
        self.config = config
        self._state = dict(state)
        self.image_encoder = ImageEncoderViT(config, State(self._state, "image_encoder."))
        self.prompt_encoder = PromptEncoder(config, State(self._state, "prompt_encoder."))
        self.mask_decoder = MaskDecoder(config, State(self._state, "mask_decoder."))
        self.fused_decoder = FusedDecoder(self.mask_decoder, self.prompt_encoder)

    def __call__(
        self, batched_input: Iterable[Mapping[str, Any]], multimask_output: bool
    ) -> list[dict[str, np.ndarray]]:
        """Masks for several images, each with a batch of prompts, from pixels to masks in one call.

        For many prompts about one image ``SamPredictor`` is quicker, because it encodes the image once.

        Parameters
        ----------
        batched_input : iterable of dict
            One for each image. ``image`` (3, h', w'), red, green, blue, 0 … 255, is resized already
            (``ResizeLongestSide.apply_image``), and ``original_size`` is its (H, W) before that. A prompt is any of
            ``point_coords`` (B, P, 2) with ``point_labels`` (B, P), ``boxes`` (B, 4) and ``mask_inputs`` (B, 1, L, L).
            Coordinates are pixels of the resized image.
        multimask_output : bool
            Three masks per prompt, or one.

        Returns
        -------
        list of dict
            For each image ``masks`` (B, M, H, W) bool, ``iou_predictions`` (B, M) and ``low_res_logits`` (B, M, L, L),
            both float32.

        Raises
        ------
        InputError
            If an image or a prompt is not of the kind that is described above.
        """
        outputs = []
        for record in batched_input:
            if not {"image", "original_size"} <= set(record):
                raise InputError(f"expected a record with image and original_size, got {', '.join(record) or 'none'}")
            image, size = as_transformed_image(record["image"], record["original_size"], self.config.image_size)
            prompts = check_prompts(None, *(record.get(name) for name in ("point_coords", "point_labels", "boxes")))
            with blas_at_one_thread():
                embedding = self.image_encoder(normalise_and_pad(image, self.config.image_size))
                terms = self.fused_decoder.prepare(embedding, self.prompt_encoder.get_dense_pe())
            answers = self.decode(terms, size, *prompts, record.get("mask_inputs"), multimask_output)
            outputs.append(dict(zip(("masks", "iou_predictions", "low_res_logits"), answers)))
        return outputs

    def decode(
        self,
        image: ImageTerms | np.ndarray,
        original_size: tuple[int, int],
        point_coords: np.ndarray | None,
        point_labels: np.ndarray | None,
        boxes: np.ndarray | None,
        mask_input: npt.ArrayLike | None,
        multimask_output: bool,
        return_logits: bool = False,
        texts: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks for B prompts about an image that is encoded.

        Parameters
        ----------
        image : ImageTerms or ndarray, shape (1, h, w, C)
            What the fused decoder has prepared, or the embedding itself, which goes to the plain decoder.
        original_size : (int, int)
            (H, W) of the image.
        point_coords, point_labels, boxes : ndarray or None
            As ``check_prompts`` returns them: (B, P, 2), (B, P), (B, 4), here in pixels of the model's input.
        mask_input : array_like or None, shape (B, 1, L, L)
            Logits.
        multimask_output, return_logits : bool
            As in ``SamPredictor.predict``.
        texts : ndarray or None, shape (B, E)
            Embeddings by CLIP, for a model that was tuned for them (``minisam.text``).

        Returns
        -------
        masks, iou_predictions, low_res_logits : ndarray
            (B, M, H, W), (B, M) and (B, M, L, L).

        Raises
        ------
        InputError
            If there is no prompt, or the kinds of prompts differ in B.
        """
        size, encoder = self.config.image_size, self.prompt_encoder
        masks = None if mask_input is None else check_masks(mask_input, self.config.low_res_size)
        lengths = {len(part) for part in (point_coords, boxes, masks, texts) if part is not None}
        if not lengths:
            raise InputError("expected a prompt: points, a box or a mask, got none")
        if len(lengths) > 1:
            raise InputError(f"expected as many prompts of every kind, got {sorted(lengths)}")
        points = None if point_coords is None or point_labels is None else (point_coords, point_labels)
        with blas_at_one_thread():
            sparse = encoder.embed_sparse(points, boxes, next(iter(lengths)))
            if texts is not None:
                sparse = np.concatenate([encoder.embed_texts(texts), sparse], axis=1)
            if isinstance(image, np.ndarray):
                dense = encoder.embed_masks(masks) if masks is not None and len(sparse) else encoder.no_mask()
                low_res, iou = self.mask_decoder(image, encoder.get_dense_pe(), sparse, dense, multimask_output)
            else:
                low_res, iou = self.fused_decoder.decode(image, sparse, masks, multimask_output)
            threshold = None if return_logits else self.mask_threshold
            flat = postprocess_masks(low_res.reshape(-1, *low_res.shape[2:]), original_size, size, threshold)
        return flat.reshape(*low_res.shape[:2], *original_size), iou, low_res

    def state_dict(self) -> dict[str, np.ndarray]:
        """Every weight under its official name.

        Returns
        -------
        dict of str to ndarray, float32
            The arrays are the model's own: treat them as read-only.
        """
        return dict(self._state)

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 of the configuration and of every weight, 64 hexadecimal digits.

        It is computed once: about a second per gigabyte (tiny 20 ms, ViT-H some seconds). The model's name is no part.
        """
        sizes = dataclasses.asdict(self.config) | {"name": ""}
        sha = hashlib.sha256(json.dumps(sizes, sort_keys=True).encode())
        for name in sorted(self.config.shapes()):
            sha.update(name.encode())
            sha.update(np.ascontiguousarray(self._state[name], np.float32).data)
        return sha.hexdigest()

    def to(self, *args: Any, **kwargs: Any) -> Sam:
        """The model itself: programs for the released code move theirs to a device, and here there is one."""
        return self

    def eval(self) -> Sam:
        """The model itself: nothing in it behaves otherwise in training."""
        return self


def random_state(config: SamConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights of a trained model's scale: every layer keeps the size of what it gets, norms are near 1."""
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = {}
    for name, shape in config.shapes().items():
        value = rng.standard_normal(shape, dtype=np.float32)
        norm = ".norm" in name or "neck.1" in name or "neck.3" in name or "downscaling.1" in name
        norm = norm or "downscaling.4" in name or "output_upscaling.1" in name
        if norm and name.endswith("weight"):
            value = 1 + 0.1 * value
        elif name.endswith("bias") or "rel_pos" in name or "pos_embed" in name:
            value *= 0.1
        elif "output_upscaling" in name:  # (C_in, C_out, 2, 2): every output pixel sees one tap
            value /= np.sqrt(shape[0])
        elif len(shape) > 1 and shape[0] > 1 and "gaussian" not in name and "tokens" not in name:
            value /= np.sqrt(np.prod(shape[1:]))
        state[name] = value
    return state


def build(config: str | SamConfig, seed: int = 0) -> Sam:
    """A model with random weights, for tests and benchmarks.

    Parameters
    ----------
    config : str or SamConfig
        "tiny", "vit_b", "vit_l", "vit_h", or sizes of your own.
    seed : int
        The same seed gives the same weights.

    Returns
    -------
    Sam

    Raises
    ------
    InputError
        If no configuration has that name.

    Examples
    --------
    >>> minisam.build("vit_b", seed=0)  # doctest: +SKIP
    """
    config = get_config(config) if isinstance(config, str) else config
    return Sam(config, random_state(config, seed))
