"""What a caller may give, checked: images, points and their labels, boxes, mask prompts.

Each function returns arrays that the model can use, or raises ``InputError`` with one line that says what was expected
and what was received. None of them needs a model, so a command can check a prompt before it loads one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from minisam.files.images import read_image
from minisam.model.preprocess import input_size
from minisam.model.prompt_encoder import BACKGROUND, BOTTOM_RIGHT, FOREGROUND, NOT_A_POINT, TOP_LEFT
from minisam_kernels import InputError

LABELS = (NOT_A_POINT, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT)


def as_image(image: npt.ArrayLike | str | Path | Image.Image) -> np.ndarray:
    """An image as uint8 (H, W, 3): an array of that kind, or what ``read_image`` makes of a file or a PIL image."""
    if isinstance(image, (str, Path, Image.Image)):
        return read_image(image)
    try:
        array = np.asarray(image)
    except (TypeError, ValueError, RuntimeError):  # lists of several lengths; tensors that are not on the CPU
        array = np.asarray(None)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        message = "None" if image is None else f"{array.dtype} {array.shape}"
        raise InputError(f"expected an image of uint8 and shape (H, W, 3), got {message}")
    return array


def as_transformed_image(image: npt.ArrayLike, original_size: Any, image_size: int) -> tuple[np.ndarray, Any]:
    """An image (3, h', w') that is resized for the model already → (h', w', 3), and its original size (H, W)."""
    array, size = _array("image", image), as_size(original_size)
    _numbers("image", array)
    shape = (3, *input_size(*size, image_size))
    if array.shape != shape:
        raise InputError(f"expected a transformed image of shape {shape} for original_size {size}, got {array.shape}")
    return np.moveaxis(array, 0, -1), size


def as_size(size: Any) -> tuple[int, int]:
    """(H, W) as two whole numbers of at least 1."""
    try:
        height, width = (int(side) for side in size)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise InputError(f"expected original_size as (H, W) in pixels, got {size!r}")
    return height, width


def check_prompts(
    size: tuple[int, int] | None, point_coords: Any = None, point_labels: Any = None, boxes: Any = None
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Points (B, P, 2), their labels (B, P) and boxes (B, 4) as float64, if they fit an image of ``size`` (H, W).

    Without a size they may lie anywhere. Raises ``InputError`` where they do not fit.
    """
    if point_coords is None and point_labels is not None:
        raise InputError("expected point_coords with point_labels, got labels alone")
    if point_coords is not None and point_labels is None:
        raise InputError("expected point_labels with point_coords, got points alone")
    coords, labels = (None, None) if point_coords is None else check_points(point_coords, point_labels, size)
    return coords, labels, None if boxes is None else _check_boxes(boxes, size)


def check_points(coords: Any, labels: Any, size: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray]:
    """coords (B, P, 2) and labels (B, P) as float64; see ``check_prompts``."""
    coords, labels = _numbers("point_coords", coords), _numbers("point_labels", labels)
    if coords.ndim != 3 or coords.shape[2] != 2:
        raise InputError(f"expected point_coords of shape (P, 2), got {coords.shape[1:]}")
    if labels.shape != coords.shape[:2]:
        raise InputError(f"expected a label for each of the {coords.shape[1]} points, got {labels.shape[1:]}")
    if coords.shape[1] == 0:
        raise InputError("expected at least one point in point_coords, got none")
    if not np.isin(labels, LABELS).all():
        wrong = labels[~np.isin(labels, LABELS)][0]
        raise InputError(
            f"expected labels 1 (foreground) or 0 (background), 2 and 3 for a box's corners, got {wrong:g}"
        )
    corners = labels >= TOP_LEFT
    if corners.any() and not corners.any(axis=1).all():  # such a prompt has one embedding more than the others
        raise InputError("expected labels 2 and 3 (a box's corners) in every prompt of a batch or in none, got both")
    if size is not None:
        height, width = size
        beyond = (coords < 0) | (coords >= (width, height))
        beyond &= ~(corners[..., None] & (coords == (width, height)))  # a box may end at the image's edge
        outside = beyond.any(axis=2) & (labels != NOT_A_POINT)
        if outside.any():
            x, y = coords[outside][0]
            raise InputError(f"expected points inside the image of {width} × {height} pixels, got ({x:g}, {y:g})")
    return coords, labels


def _check_boxes(boxes: Any, size: tuple[int, int] | None) -> np.ndarray:
    boxes = _numbers("box", boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"expected a box as (x0, y0, x1, y1), got shape {boxes.shape[1:]}")
    for x0, y0, x1, y1 in boxes:
        box = f"({x0:g}, {y0:g}, {x1:g}, {y1:g})"
        if not (x0 < x1 and y0 < y1):
            raise InputError(f"expected a box with x0 < x1 and y0 < y1, got {box}")
        if size is not None and (x0 < 0 or y0 < 0 or x1 > size[1] or y1 > size[0]):
            raise InputError(f"expected a box inside the image of {size[1]} × {size[0]} pixels, got {box}")
    return boxes


def check_masks(masks: Any, side: int) -> np.ndarray:
    """Mask prompts (B, 1, side, side) as float32 logits."""
    array = _array("mask_input", masks)
    if array.dtype == bool:
        raise InputError("expected mask_input as logits, got bool (minisam.binary_mask_to_logits makes logits of it)")
    if array.ndim != 4 or array.shape[1:] != (1, side, side):
        raise InputError(f"expected mask_input of shape (1, {side}, {side}), got {array.shape[1:]}")
    return _numbers("mask_input", array).astype(np.float32)


def one_prompt(name: str, prompt: Any) -> np.ndarray | None:
    """A prompt as a batch of one."""
    return None if prompt is None else _array(name, prompt)[None]


def _array(name: str, values: Any, dtype: Any = None) -> np.ndarray:
    try:
        return np.asarray(values, dtype)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a tensor that requires its gradient
        raise InputError(f"expected {name} to hold numbers, got {' '.join(repr(values).split())}") from error


def _numbers(name: str, values: Any) -> np.ndarray:
    """``values`` as float64, every number finite, in float32 too."""
    array = _array(name, values, np.float64)
    if (np.abs(array) > np.finfo(np.float32).max).any() and np.isfinite(array).all():
        raise InputError(f"expected {name} to hold numbers of float32, got {np.abs(array).max():g}")
    if not np.isfinite(array).all():
        raise InputError(f"expected {name} to be finite, got {array[~np.isfinite(array)][0]}")
    return array
