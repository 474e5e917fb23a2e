"""One image, many prompts: ``set_image`` runs the heavy encoder once, ``predict`` the light decoder for each prompt.

The interface is that of the released code's ``SamPredictor``, with NumPy arrays throughout. Inside, an embedding is
(1, h, w, C); what a caller sees, ``features``, is a view of it in the released layout, (1, C, h, w).
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from minisam.files.embedding import read_embedding, write_embedding
from minisam.fused.decoder import ImageTerms
from minisam.model.inputs import as_image, as_transformed_image, check_points, check_prompts, one_box, one_prompt
from minisam.model.numbers import as_array, as_numbers, as_size
from minisam.model.preprocess import ResizeLongestSide, apply_coords, input_size, normalise_and_pad, resize_image
from minisam.sam import Sam
from minisam_kernels import InputError
from minisam_kernels.runtime.threads import blas_at_one_thread

Answer = tuple[np.ndarray, np.ndarray, np.ndarray]  # masks, predicted IoUs, low-resolution logits


class _Encoded(NamedTuple):
    """All that a predictor knows of its image. It is replaced as a whole: what one thread answers is about one image,
    even when another sets the next."""

    embedding: np.ndarray | None = None  # (1, h, w, C)
    terms: ImageTerms | None = None
    original_size: Any = None
    input_size: Any = None


class SamPredictor:
    """Ask a model about one image at a time.

    Parameters
    ----------
    sam_model : Sam
        As ``minisam.load`` gives it.
    plain : bool
        Whether masks come from the plain decoder. Otherwise they come from the fused one (``minisam.fused.decoder``),
        which is the same function in another order and quicker; ``set_image`` computes its terms of the image.

    Attributes
    ----------
    model : Sam
        The model.
    transform : ResizeLongestSide
        From an image's pixels to those of the model's input.
    device : str
        "cpu".

    Raises
    ------
    InputError
        If ``sam_model`` is no model.
    """

    def __init__(self, sam_model: Sam, plain: bool = False) -> None:
        if not isinstance(sam_model, Sam):
            message = f"{type(sam_model).__name__} {sam_model!r:.60}"
            raise InputError(f"expected a model as minisam.load gives it, got {message}")
        self.model, self.plain = sam_model, plain
        self.transform = ResizeLongestSide(sam_model.config.image_size)
        self.image_pe = sam_model.prompt_encoder.get_dense_pe()
        self.device = sam_model.device
        self.reset_image()

    def reset_image(self) -> None:
        """Forget the image."""
        self._image = _Encoded()

    @property
    def is_image_set(self) -> bool:
        """Whether ``predict`` may be called. To assign False forgets the image; True changes nothing."""
        return self._image.embedding is not None

    @is_image_set.setter
    def is_image_set(self, value: bool) -> None:
        if not value:
            self.reset_image()

    @property
    def original_size(self) -> tuple[int, int] | None:
        """(H, W) of the image, or None. To be assigned with ``features``."""
        return self._image.original_size

    @original_size.setter
    def original_size(self, size: Any) -> None:
        self._image = self._image._replace(original_size=size)

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(h', w'), the image's size when it is resized for the model: the longer is ``model.config.image_size``.

        None without ``original_size``, from which it follows. It may be assigned too, and must be right then.
        """
        image = self._image
        if image.input_size is not None or image.original_size is None:
            return image.input_size
        return input_size(*as_size(image.original_size), self.model.config.image_size)

    @input_size.setter
    def input_size(self, size: Any) -> None:
        self._image = self._image._replace(input_size=size)

    @property
    def terms(self) -> ImageTerms | None:
        """What the fused decoder has computed of the image; None with ``plain=True``."""
        return self._image.terms

    @property
    def features(self) -> np.ndarray | None:
        """The embedding of the image, float32 (1, C, h, w), a view that is not to be written to; None without one.

        An embedding that was kept can be assigned, of any layout in memory; the decoder's terms are then computed from
        it anew. ``original_size`` must be assigned too, unless it is that of the image before. What is refused leaves
        no image. ``save_embedding`` and ``load_embedding`` keep all of it in a file.
        """
        embedding = self._image.embedding
        if embedding is None:
            return None
        view = np.moveaxis(embedding, -1, 1)
        view.flags.writeable = False  # the decoder's terms would be those of other numbers
        return view

    @features.setter
    def features(self, features: npt.ArrayLike | None) -> None:
        sizes = {"original_size": self._image.original_size}  # whoever assigns it may have done so before
        self._image = _Encoded(**sizes)
        if features is None:
            return
        array, shape = as_array("features", features), self._features_shape()
        if array.shape != shape or array.dtype.kind != "f":
            raise InputError(f"expected features of float32 and shape {shape}, got {array.dtype} {array.shape}")
        as_numbers("features", array)
        # A copy: the terms must stay those of these numbers, whatever becomes of the caller's array.
        self._image = self._encoded(np.array(np.moveaxis(array, 1, -1), np.float32, order="C"), **sizes)

    def _features_shape(self) -> tuple[int, ...]:
        config = self.model.config
        return 1, config.prompt_embed_dim, config.image_embedding_size, config.image_embedding_size

    def _encoded(self, embedding: np.ndarray, original_size: Any, input_size: Any = None) -> _Encoded:
        """An embedding (1, h, w, C) with the terms that belong to it."""
        terms = None if self.plain else self.model.fused_decoder.prepare(embedding, self.image_pe)
        return _Encoded(embedding, terms, original_size, input_size)

    def set_image(self, image: npt.ArrayLike | str | os.PathLike[str] | Image.Image, image_format: str = "RGB") -> None:
        """Encode an image. The image before is forgotten first, also if this one is refused.

        Parameters
        ----------
        image : array_like, shape (H, W, 3), uint8; or str, Path or PIL image
            Files and PIL images of any mode become RGB as ``minisam.files.images.read_image`` says. An array may also
            be grey, (H, W) or (H, W, 1), or have an opacity, (H, W, 4), and is laid over white then.
        image_format : {"RGB", "BGR"}
            The order of an array's channels.

        Raises
        ------
        InputError
            If the image is not of that kind, or a file cannot be read.
        """
        self.reset_image()
        if image_format not in ("RGB", "BGR"):
            raise InputError(f'expected image_format "RGB" or "BGR", got {image_format!r}')
        if image_format == "BGR" and isinstance(image, (str, os.PathLike, Image.Image)):
            raise InputError('expected image_format "RGB" with a file or a PIL image, which become RGB, got "BGR"')
        pixels = as_image(image)
        resized = resize_image(pixels if image_format == "RGB" else pixels[..., ::-1], self.model.config.image_size)
        self._encode(resized, (pixels.shape[0], pixels.shape[1]))

    def set_torch_image(self, transformed_image: npt.ArrayLike, original_image_size: tuple[int, int]) -> None:
        """Encode an image that is resized for the model already.

        Parameters
        ----------
        transformed_image : array_like, shape (1, 3, h', w')
            Red, green, blue from 0 to 255, as ``transform.apply_image`` resizes them. torch's tensors will do.
        original_image_size : (int, int)
            (H, W) before it was resized.

        Raises
        ------
        InputError
            If the shape does not belong to the original size.
        """
        self.reset_image()
        array = as_array("transformed_image", transformed_image)
        if array.ndim != 4 or len(array) != 1:
            raise InputError(f"expected a transformed image of shape (1, 3, h', w'), got {array.shape}")
        resized, size = as_transformed_image(array[0], original_image_size, self.model.config.image_size)
        self._encode(resized, size)

    def _encode(self, resized: np.ndarray, original_size: tuple[int, int]) -> None:
        with blas_at_one_thread():  # once for all layers
            embedding = self.model.image_encoder(normalise_and_pad(resized, self.model.config.image_size))
            self._image = self._encoded(embedding, original_size, resized.shape[:2])

    def get_image_embedding(self) -> np.ndarray:
        """What the encoder made of the image.

        Returns
        -------
        ndarray, shape (1, C, h, w), float32
            A view, not to be written to; the decoder that ``minisam export`` writes takes it as it is.

        Raises
        ------
        InputError
            If no image is set.
        """
        features = self.features
        if features is None:
            raise InputError("expected an image to be set with set_image first, got none")
        return features

    def get_original_size(self) -> tuple[int, int]:
        """(H, W) of the image that is set; ``InputError`` if none is, or if assigned sizes contradict each other."""
        return self._current()[1]

    def _current(self) -> tuple[ImageTerms | np.ndarray, tuple[int, int]]:
        """What the decoder takes of the image, and the image's size (H, W)."""
        image = self._image
        if image.embedding is None:
            raise InputError("expected an image to be set with set_image first, got none")
        if image.original_size is None:
            raise InputError("expected original_size (H, W) to be assigned with features, got None")
        size = as_size(image.original_size)
        resized = input_size(*size, self.model.config.image_size)
        if image.input_size is not None and (received := as_size(image.input_size, "input_size")) != resized:
            raise InputError(f"expected input_size {resized} for original_size {size}, got {received}")
        return image.embedding if image.terms is None else image.terms, size

    def save_embedding(self, path: str | os.PathLike[str]) -> None:
        """Write what the encoder made of the image, for ``load_embedding``.

        Parameters
        ----------
        path : str or Path
            Its name ends in ``.safetensors``. 4 MB for tiny, ViT-B, -L and -H. Equal embeddings give equal files.

        Raises
        ------
        InputError
            If no image is set, or the file cannot be written; an older file of that name stays then.

        Notes
        -----
        The file holds ``features`` as ``get_image_embedding`` returns it, and notes: the image's sizes, the model's
        name and ``Sam.weights_hash``, which is computed once per model (about a second per gigabyte of weights), and
        minisam's version.
        """
        features, size = self.get_image_embedding(), self.get_original_size()
        config = self.model.config
        notes: dict[str, Any] = {"original_size": size, "input_size": input_size(*size, config.image_size)}
        notes |= {"image_size": config.image_size, "model": config.name, "weights": self.model.weights_hash}
        write_embedding(path, features, notes)

    def load_embedding(self, path: str | os.PathLike[str]) -> None:
        """Set an image from a file of ``save_embedding``. The image before is forgotten first, also if it is refused.

        Parameters
        ----------
        path : str or Path

        Raises
        ------
        InputError
            If the file is no such embedding, is damaged, or was made by other weights.
        """
        self.reset_image()
        features, notes = read_embedding(path, self._features_shape(), self.model.weights_hash)
        try:
            as_numbers("features", features)
            sizes = [as_size(notes.get(name), name) for name in ("original_size", "input_size")]
            expected = input_size(*sizes[0], self.model.config.image_size)
            if sizes[1] != expected:
                raise InputError(f"expected input_size {expected} for original_size {sizes[0]}, got {sizes[1]}")
        except InputError as error:
            raise InputError(f"{error} in {path}") from error
        self._image = self._encoded(np.array(np.moveaxis(features, 1, -1), order="C"), *sizes)

    def embed_points(self, point_coords: npt.ArrayLike, point_labels: npt.ArrayLike) -> np.ndarray:
        """Points as the decoder wants them.

        Parameters
        ----------
        point_coords : array_like, shape (B, P, 2)
            (x, y) in pixels of the image.
        point_labels : array_like, shape (B, P)

        Returns
        -------
        ndarray, shape (B, T, C), float32
        """
        size = self.get_original_size()
        coords, labels = check_points(point_coords, point_labels, size)
        coords = apply_coords(coords, size, self.model.config.image_size)
        return self.model.prompt_encoder((coords, labels))[0]

    def predict(
        self,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        *,
        strict: bool = False,
    ) -> Answer:
        """Masks for one prompt: points, a box, a mask, or any of them together.

        Parameters
        ----------
        point_coords : array_like, shape (P, 2)
            (x, y) in pixels of the image; the first pixel is (0, 0). P = 0 is no prompt.
        point_labels : array_like, shape (P,)
            1 foreground, 0 background; 2 and 3 are the first and the second corner of a box.
        box : array_like, shape (4,)
            x0, y0, x1, y1 in pixels of the image, or the two corners, (2, 2). For several boxes: ``predict_batch``.
        mask_input : array_like, shape (1, L, L) or (L, L)
            Logits, such as an earlier ``low_res_logits[i : i + 1]``. L is ``model.config.low_res_size``. A yes/no mask
            becomes logits with ``minisam.binary_mask_to_logits``.
        multimask_output : bool
            Whether to return the three masks of an ambiguous prompt, or one.
        return_logits : bool
            Whether masks are logits instead of yes and no.
        strict : bool
            Whether a point or a box that reaches out of the image is an error. Otherwise a box is cut at the image's
            edge, as those of detectors need it, and a point is moved to the edge; a warning says so where it is more
            than one pixel. A box that lies outside altogether is an error in any case.

        Returns
        -------
        masks : ndarray, shape (M, H, W), bool; float32 with ``return_logits``
        iou_predictions : ndarray, shape (M,), float32
            The model's own guess of each mask's IoU, which may exceed 1.
        low_res_logits : ndarray, shape (M, L, L), float32

        Raises
        ------
        InputError
            If no image is set, if there is no prompt, or if a prompt does not fit the image.

        Notes
        -----
        A pixel is in a mask if its logit exceeds ``model.mask_threshold``. The released code decides in the same way
        which of its four masks it returns: the caller says so. The paper's rule is one mask when there is more than one
        point (SAM, section 3).
        """
        points, labels = one_prompt("point_coords", point_coords), one_prompt("point_labels", point_labels)
        masks, options = one_prompt("mask_input", mask_input), (multimask_output, return_logits, strict)
        answer = self._answer(points, labels, one_box(box), masks, *options)
        return answer[0][0], answer[1][0], answer[2][0]

    def predict_batch(
        self,
        point_coords: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        boxes: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        *,
        strict: bool = False,
    ) -> Answer:
        """B prompts about the same image at once: everything as in ``predict`` with one more axis in front.

        Parameters
        ----------
        point_coords, point_labels, boxes, mask_input : array_like
            (B, P, 2), (B, P), (B, 4) and (B, 1, L, L), in pixels of the image. Boxes (1, B, 4), (B, 1, 4) and
            (B, 2, 2) and masks (B, L, L) will do.
        multimask_output, return_logits, strict : bool
            As in ``predict``.

        Returns
        -------
        masks, iou_predictions, low_res_logits : ndarray
            (B, M, H, W), (B, M) and (B, M, L, L).

        Raises
        ------
        InputError
            As in ``predict``; also if the kinds of prompts differ in B.
        """
        return self._answer(point_coords, point_labels, boxes, mask_input, multimask_output, return_logits, strict)

    def _answer(
        self,
        points: Any,
        labels: Any,
        boxes: Any,
        masks: Any,
        multimask: bool,
        return_logits: bool,
        strict: bool,
        texts: np.ndarray | None = None,
    ) -> Answer:
        (image, original), size = self._current(), self.model.config.image_size
        coords, labels, boxes = check_prompts(original, points, labels, boxes, strict=strict)
        if coords is not None:
            coords = apply_coords(coords, original, size)
        if boxes is not None:
            boxes = apply_coords(boxes.reshape(-1, 2, 2), original, size).reshape(-1, 4)
        return self.model.decode(image, original, coords, labels, boxes, masks, multimask, return_logits, texts)

    def predict_torch(
        self,
        point_coords: npt.ArrayLike | None,
        point_labels: npt.ArrayLike | None,
        boxes: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> Answer:
        """``predict_batch`` in pixels of the model's input: the released code's call.

        Parameters
        ----------
        point_coords, point_labels, boxes, mask_input : array_like or None
            As in ``predict_batch``, coordinates as ``transform`` gives them. torch's tensors will do. As in the
            released code, points and boxes may lie outside the image.
        multimask_output, return_logits : bool
            As in ``predict``.

        Returns
        -------
        masks, iou_predictions, low_res_logits : ndarray
            As from ``predict_batch``.
        """
        image, original = self._current()
        prompts = check_prompts(None, point_coords, point_labels, boxes)
        return self.model.decode(image, original, *prompts, mask_input, multimask_output, return_logits)
