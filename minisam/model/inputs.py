"""What a caller may give, checked: images, points and their labels, boxes, mask prompts.

Each function returns arrays that the model can use, or raises ``InputError`` with one line that says what was expected
and what was received. None of them needs a model, so a command can check a prompt before it loads one.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from minisam.files.images import read_image
from minisam.model.numbers import as_array, as_numbers, as_size, shown
from minisam.model.preprocess import input_size
from minisam.model.prompt_encoder import BACKGROUND, BOTTOM_RIGHT, FOREGROUND, NOT_A_POINT, TOP_LEFT
from minisam_kernels import InputError

LABELS = (NOT_A_POINT, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT)
LOGITS = "minisam.binary_mask_to_logits makes logits of a mask"


def as_image(image: Any) -> np.ndarray:
    """An image as uint8 (H, W, 3): what ``read_image`` makes of a file or a PIL image, or an array of uint8, which may
    also be grey, (H, W) or (H, W, 1), or have an opacity, (H, W, 4), and is laid over white then."""
    if isinstance(image, (str, os.PathLike, Image.Image)):
        return read_image(image if isinstance(image, Image.Image) else Path(image))
    array = as_array("an image of uint8 and shape (H, W, 3)", image)
    grey = array.ndim == 2 or array.shape[2:] == (1,)
    if array.dtype != np.uint8 or array.size == 0 or not (grey or array.shape[2:] in ((3,), (4,))):
        received = f"{array.dtype} {array.shape}" if array.ndim else shown(image)
        raise InputError(f"expected an image of uint8 and shape (H, W, 3), got {received}{_advice(array)}")
    if grey:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return read_image(Image.fromarray(array)) if array.shape[2] == 4 else array


def _advice(array: np.ndarray) -> str:
    """How to make an image of an array that is none."""
    if array.ndim == 4 and len(array) == 1:
        return " (one image at a time: image[0])"
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        return " (channels come last: image.transpose(1, 2, 0))"
    if array.ndim not in (2, 3) or array.size == 0 or array.dtype.kind not in "biuf" or array.dtype == np.uint8:
        return ""
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 65535):
        return " (scale it to 0 … 255 first)"
    how = "(255 * image).round()" if high <= 1 else "image" if high <= 255 else "(image / 257).round()"
    top = 1 if high <= 1 else 255 if high <= 255 else 65535
    return f" (of values from 0 to {top}, {how}.astype(np.uint8) makes one)"


def as_transformed_image(image: npt.ArrayLike, original_size: Any, image_size: int) -> tuple[np.ndarray, Any]:
    """An image (3, h', w') that is resized for the model already → (h', w', 3), and its original size (H, W)."""
    array, size = as_array("an image", image), as_size(original_size)
    shape = (3, *input_size(*size, image_size))
    if array.shape != shape:
        raise InputError(f"expected a transformed image of shape {shape} for original_size {size}, got {array.shape}")
    as_numbers("an image", array)
    return np.moveaxis(array, 0, -1), size


def check_prompts(
    size: tuple[int, int] | None,
    point_coords: Any = None,
    point_labels: Any = None,
    boxes: Any = None,
    *,
    strict: bool = False,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Points (B, P, 2), their labels (B, P) and boxes (B, 4) as float64, moved into an image of ``size`` (H, W).

    Points go to its nearest edge, boxes are cut at it; beyond one pixel a warning says so. ``strict`` raises
    ``InputError`` instead. Without a size they may lie anywhere. No points at all, P = 0, are None.
    """
    coords = None if point_coords is None else as_numbers("point_coords", point_coords)
    no_prompts = coords is not None and coords.ndim == 3 and len(coords) == 0 != coords.shape[1]  # a batch of them
    if coords is not None and coords.size == 0 and not no_prompts:
        coords = None
    if coords is None and point_labels is not None and as_array("point_labels", point_labels).size == 0:
        point_labels = None
    if coords is None and point_labels is not None:
        raise InputError("expected point_coords with point_labels, got labels alone")
    if coords is not None and point_labels is None:
        raise InputError("expected point_labels with point_coords, got points alone")
    labels = None
    if coords is not None:
        coords, labels = check_points(coords, point_labels, size, strict)
    return coords, labels, None if boxes is None else _check_boxes(boxes, size, strict)


def check_points(
    coords: Any, labels: Any, size: tuple[int, int] | None, strict: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """coords (B, P, 2) and labels (B, P) as float64; see ``check_prompts``."""
    coords, labels = as_numbers("point_coords", coords), as_numbers("point_labels", labels, "biuf")
    if coords.ndim != 3 or coords.shape[2] != 2:
        raise InputError(f"expected point_coords of shape (P, 2) per prompt, got {coords.shape[1:]}")
    if labels.shape != coords.shape[:2]:
        raise InputError(f"expected a label for each of the {coords.shape[1]} points, got {labels.shape[1:]}")
    if coords.shape[1] == 0:
        raise InputError("expected at least one point in point_coords, got none")
    if not np.isin(labels, LABELS).all():
        wrong = labels[~np.isin(labels, LABELS)][0]
        wanted = "labels 1 (foreground) or 0 (background), 2 and 3 for a box's corners"
        raise InputError(f"expected {wanted}, got {wrong:g}")
    corners = labels >= TOP_LEFT
    if corners.any() and not corners.any(axis=1).all():  # such a prompt has one embedding more than the others
        raise InputError("expected labels 2 and 3 (a box's corners) in every prompt of a batch or in none, got both")
    return coords if size is None else _moved_inside(coords, labels, size, strict), labels


def _moved_inside(coords: np.ndarray, labels: np.ndarray, size: tuple[int, int], strict: bool) -> np.ndarray:
    height, width = size
    beyond = (coords < 0) | (coords > (width, height))
    if strict:  # a box may end at the image's edge, a point lies in a pixel
        beyond |= (labels < TOP_LEFT)[..., None] & (coords == (width, height))
    beyond &= (labels != NOT_A_POINT)[..., None]
    moved = np.where(beyond, np.clip(coords, 0, (width, height)), coords)
    wrong = (beyond if strict else np.abs(moved - coords) > 1).any(axis=2)
    if wrong.any():
        x, y = coords[wrong][0]
        message = f"expected points inside the image of {width} × {height} pixels, got ({x:g}, {y:g})"
        if strict:
            raise InputError(message)
        warnings.warn(f"{message}, which is moved to the edge", stacklevel=6)
    return moved


def _check_boxes(boxes: Any, size: tuple[int, int] | None, strict: bool) -> np.ndarray:
    boxes = as_numbers("boxes", boxes)
    if boxes.ndim == 3 and (boxes.shape[1:] == (2, 2) or (boxes.shape[2] == 4 and 1 in boxes.shape[:2])):
        boxes = boxes.reshape(-1, 4)  # pairs of corners; one image's list of boxes
    if boxes.shape == (0,):
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f"expected boxes of shape (B, 4), got {boxes.shape}")

    def text(wrong: np.ndarray) -> str:
        """The first box that is wrong."""
        return "({:g}, {:g}, {:g}, {:g})".format(*boxes[wrong.argmax()])

    upside_down = (boxes[:, :2] >= boxes[:, 2:]).any(axis=1)
    if upside_down.any():
        raise InputError(f"expected a box with x0 < x1 and y0 < y1, got {text(upside_down)}")
    if size is None or not len(boxes):
        return boxes
    edge = np.array([size[1], size[0]])
    where = f"the image of {size[1]} × {size[0]} pixels"
    beyond = np.maximum(-boxes[:, :2], boxes[:, 2:] - edge).max(axis=1)  # pixels
    if strict and beyond.max() > 0:
        raise InputError(f"expected a box inside {where}, got {text(beyond > 0)}")
    elsewhere = ((boxes[:, 2:] <= 0) | (boxes[:, :2] >= edge)).any(axis=1)
    if elsewhere.any():
        raise InputError(f"expected a box with a part inside {where}, got {text(elsewhere)}")
    if beyond.max() > 1:
        warnings.warn(f"expected a box inside {where}, got {text(beyond > 1)}, which is cut at the edge", stacklevel=5)
    return np.clip(boxes, 0, np.tile(edge, 2))


def check_masks(masks: Any, side: int) -> np.ndarray:
    """Mask prompts (B, 1, side, side) or (B, side, side) as float32 logits (B, 1, side, side)."""
    array = as_array("mask_input", masks)
    if array.dtype == bool:
        raise InputError(f"expected mask_input as logits, got bool ({LOGITS})")
    if array.ndim == 3 and array.shape[1:] == (side, side):
        array = array[:, None]
    if array.ndim != 4 or array.shape[1:] != (1, side, side):
        raise InputError(f"expected mask_input of shape (1, {side}, {side}), got {array.shape[1:]} ({LOGITS})")
    logits = as_numbers("mask_input", array).astype(np.float32)
    rows = logits.reshape(-1, side * side)
    highest = rows.max(axis=1)
    yes_or_no = np.isin(highest, (1, 255)) & ((rows == 0) | (rows == highest[:, None])).all(axis=1)
    if yes_or_no.any() or array.dtype.kind == "u":
        top = rows.max(initial=0)
        raise InputError(f"expected mask_input as logits, got a mask of {array.dtype} from 0 to {top:g} ({LOGITS})")
    return logits


def one_prompt(name: str, prompt: Any) -> np.ndarray | None:
    """A prompt as a batch of one."""
    return None if prompt is None else as_array(name, prompt)[None]


def one_box(box: Any) -> np.ndarray | None:
    """A box (4,), (1, 4) or (2, 2) as a batch (1, 4). An array of no boxes is None."""
    array = None if box is None else as_numbers("box", box)
    if array is None or array.size == 0:
        return None
    if array.shape[-1:] != (4,) and array.shape[-2:] != (2, 2):
        raise InputError(f"expected a box as (x0, y0, x1, y1), got shape {array.shape}")
    if array.size != 4:
        raise InputError(f"expected one box, got {array.size // 4} (predict_batch(boxes=…) answers several)")
    return array.reshape(1, 4)
