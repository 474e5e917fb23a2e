"""One picture, many prompts: ``set_image`` runs the heavy encoder once, ``predict`` the light decoder per prompt.

The interface is that of the released code's ``SamPredictor``, with NumPy arrays throughout.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minisam.fused.decoder import ImageTerms
from minisam.model.preprocess import apply_coords, normalise_and_pad, postprocess_masks, resize_image
from minisam.sam import Sam
from minisam_kernels import InputError
from minisam_kernels.runtime.threads import blas_at_one_thread


class SamPredictor:
    """Ask ``sam`` about one picture at a time.

    Masks come from the fused decoder (``minisam.fused.decoder``), whose picture's terms ``set_image`` computes; with
    ``plain=True`` from the plain one, which is the same function in the order of the paper.
    """

    def __init__(self, sam: Sam, plain: bool = False) -> None:
        if not isinstance(sam, Sam):
            raise InputError(f"expected a model as minisam.load gives it, got {type(sam).__name__} {sam!r:.60}")
        self.model, self.plain = sam, plain
        self.image_pe = sam.prompt_encoder.get_dense_pe()
        self.reset_image()

    def reset_image(self) -> None:
        """Forget the picture."""
        self.features: np.ndarray | None = None
        self.terms: ImageTerms | None = None
        self.original_size: tuple[int, int] | None = None
        self.input_size: tuple[int, int] | None = None

    @property
    def is_image_set(self) -> bool:
        """Whether ``predict`` may be called."""
        return self.features is not None

    def set_image(self, image: np.ndarray, image_format: str = "RGB") -> None:
        """Encode a picture, uint8 (H, W, 3), ``image_format`` "RGB" or "BGR". An old picture is forgotten first."""
        if image_format not in ("RGB", "BGR"):
            raise InputError(f'expected image_format "RGB" or "BGR", got {image_format!r}')
        image = check_image(image)
        self.reset_image()
        size = self.model.config.image_size
        resized = resize_image(image if image_format == "RGB" else image[..., ::-1], size)
        with blas_at_one_thread():  # once for all layers
            features = self.model.image_encoder(normalise_and_pad(resized, size))
            self.terms = None if self.plain else self.model.fused_decoder.prepare(features, self.image_pe)
        self.features = features
        self.original_size, self.input_size = image.shape[:2], resized.shape[:2]

    def get_image_embedding(self) -> np.ndarray:
        """What the encoder made of the picture: (1, h, w, C)."""
        if self.features is None:
            raise InputError("expected a picture to be set with set_image first, got none")
        return self.features

    def embed_points(self, point_coords: np.ndarray, point_labels: np.ndarray) -> np.ndarray:
        """point_coords (B, P, 2) as (x, y) in pixels of the picture, point_labels (B, P) → (B, T, C), as the decoder
        wants them."""
        self.get_image_embedding()
        assert self.original_size is not None
        coords, labels = _check_points(point_coords, point_labels, self.original_size)
        coords = apply_coords(coords, self.original_size, self.model.config.image_size)
        return self.model.prompt_encoder((coords, labels))[0]

    def predict(
        self,
        point_coords: np.ndarray | None = None,
        point_labels: np.ndarray | None = None,
        box: np.ndarray | None = None,
        mask_input: np.ndarray | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks for one prompt: points, a box, a mask, or any of them together.

        point_coords (P, 2) as (x, y) in pixels of the picture; point_labels (P,), 1 foreground, 0 background; box (4,)
        as x0, y0, x1, y1; mask_input (1, L, L) logits, such as an earlier ``low_res_logits[i : i + 1]`` (a yes/no mask
        becomes one with ``minisam.binary_mask_to_logits``). ``multimask_output`` asks for the three masks of an
        ambiguous prompt, otherwise there is one; ``return_logits`` for numbers instead of yes and no.

        Returns masks (M, H, W) bool, iou_predictions (M,), low_res_logits (M, L, L). Raises ``InputError``.
        """
        parts = {"point_coords": point_coords, "point_labels": point_labels, "box": box, "mask_input": mask_input}
        arrays = (None if part is None else _array(name, part)[None] for name, part in parts.items())
        points, labels, boxes, mask_inputs = arrays
        if boxes is not None and boxes.shape == (1, 1, 4):  # one box as a batch, as the official notebooks give it
            boxes = boxes[0]
        masks, iou, low_res = self.predict_batch(points, labels, boxes, mask_inputs, multimask_output, return_logits)
        return masks[0], iou[0], low_res[0]

    def predict_batch(
        self,
        point_coords: np.ndarray | None = None,
        point_labels: np.ndarray | None = None,
        boxes: np.ndarray | None = None,
        mask_input: np.ndarray | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """B prompts about the same picture at once: everything as in ``predict`` with one more axis in front.

        point_coords (B, P, 2), point_labels (B, P), boxes (B, 4), mask_input (B, 1, L, L)
        → masks (B, M, H, W), iou_predictions (B, M), low_res_logits (B, M, L, L).
        """
        features, original_size = self.get_image_embedding(), self.original_size
        assert original_size is not None
        size = self.model.config.image_size
        coords, labels, boxes = check_prompts(original_size, point_coords, point_labels, boxes)
        points = None if coords is None or labels is None else (apply_coords(coords, original_size, size), labels)
        if boxes is not None:
            boxes = apply_coords(boxes.reshape(-1, 2, 2), original_size, size).reshape(-1, 4)
        if mask_input is not None:
            mask_input = _check_masks(mask_input, self.model.config.low_res_size)
        lengths = {len(part) for part in (points and points[0], boxes, mask_input) if part is not None}
        if not lengths:
            raise InputError("expected a prompt: points, a box or a mask, got none")
        if len(lengths) > 1:
            raise InputError(f"expected as many prompts of every kind, got {sorted(lengths)}")
        threshold = None if return_logits else self.model.mask_threshold
        with blas_at_one_thread():
            encoder = self.model.prompt_encoder
            sparse = encoder.embed_sparse(points, boxes, next(iter(lengths)))
            if self.terms is None:
                dense = encoder.embed_masks(mask_input) if mask_input is not None and len(sparse) else encoder.no_mask()
                low_res, iou = self.model.mask_decoder(features, self.image_pe, sparse, dense, multimask_output)
            else:
                low_res, iou = self.model.fused_decoder.decode(self.terms, sparse, mask_input, multimask_output)
            flat = postprocess_masks(low_res.reshape(-1, *low_res.shape[2:]), original_size, size, threshold)
        return flat.reshape(*low_res.shape[:2], *original_size), iou, low_res


def check_image(image: Any) -> np.ndarray:
    """``image`` as an array if it is a picture, uint8 (H, W, 3); raises ``InputError`` if it is none."""
    try:
        array = np.asarray(image)
    except ValueError:  # lists of several lengths
        array = np.asarray(None)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        what = repr(image)[:60] if isinstance(image, (str, type(None))) else f"{array.dtype} {array.shape}"
        raise InputError(f"expected a picture of uint8 and shape (H, W, 3), got {what}")
    return array


def check_prompts(
    size: tuple[int, int], point_coords: Any = None, point_labels: Any = None, boxes: Any = None
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Points (B, P, 2), their labels (B, P) and boxes (B, 4) as float64, if they fit a picture of ``size`` (H, W).

    Raises ``InputError`` where they do not. It needs neither a model nor the encoder, so it can come before both.
    """
    if point_coords is None and point_labels is not None:
        raise InputError("expected point_coords with point_labels, got labels alone")
    if point_coords is not None and point_labels is None:
        raise InputError("expected point_labels with point_coords, got points alone")
    coords, labels = (None, None) if point_coords is None else _check_points(point_coords, point_labels, size)
    return coords, labels, None if boxes is None else _check_boxes(boxes, size)


def _array(name: str, value: Any, dtype: Any = None) -> np.ndarray:
    try:
        return np.asarray(value, dtype)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected {name} to hold numbers, got {value!r}") from error


def _numbers(name: str, value: Any) -> np.ndarray:
    """``value`` as float64, every number finite, in float32 too."""
    array = _array(name, value, np.float64)
    if (np.abs(array) > np.finfo(np.float32).max).any() and np.isfinite(array).all():
        raise InputError(f"expected {name} to hold numbers of float32, got {np.abs(array).max():g}")
    if not np.isfinite(array).all():
        raise InputError(f"expected {name} to be finite, got {array[~np.isfinite(array)][0]}")
    return array


def _check_points(coords: Any, labels: Any, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    coords, labels = _numbers("point_coords", coords), _numbers("point_labels", labels)
    if coords.ndim != 3 or coords.shape[2] != 2:
        raise InputError(f"expected point_coords of shape (P, 2), got {coords.shape[1:]}")
    if labels.shape != coords.shape[:2]:
        raise InputError(f"expected a label for each of the {coords.shape[1]} points, got {labels.shape[1:]}")
    if coords.shape[1] == 0:
        raise InputError("expected at least one point in point_coords, got none")
    if not np.isin(labels, (-1, 0, 1)).all():
        wrong = labels[~np.isin(labels, (-1, 0, 1))][0]
        raise InputError(f"expected labels 1 (foreground) or 0 (background), got {wrong:g}")
    height, width = size
    outside = ((coords < 0) | (coords >= (width, height))).any(axis=2) & (labels != -1)
    if outside.any():
        x, y = coords[outside][0]
        raise InputError(f"expected points inside the picture of {width} × {height} pixels, got ({x:g}, {y:g})")
    return coords, labels


def _check_boxes(boxes: Any, size: tuple[int, int]) -> np.ndarray:
    boxes = _numbers("box", boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"expected a box as (x0, y0, x1, y1), got shape {boxes.shape[1:]}")
    height, width = size
    for x0, y0, x1, y1 in boxes:
        box = f"({x0:g}, {y0:g}, {x1:g}, {y1:g})"
        if not (x0 < x1 and y0 < y1):
            raise InputError(f"expected a box with x0 < x1 and y0 < y1, got {box}")
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            raise InputError(f"expected a box inside the picture of {width} × {height} pixels, got {box}")
    return boxes


def _check_masks(masks: Any, size: int) -> np.ndarray:
    array = np.asarray(masks)
    if array.dtype == bool:
        raise InputError("expected mask_input as logits, got bool (minisam.binary_mask_to_logits makes logits of it)")
    if array.ndim != 4 or array.shape[1:] != (1, size, size):
        raise InputError(f"expected mask_input of shape (1, {size}, {size}), got {array.shape[1:]}")
    return _numbers("mask_input", array).astype(np.float32)
