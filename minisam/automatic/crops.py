"""Where automatic masks look, and what may be asked: grids of points, overlapping crops, the range of every argument.

Source: SAM, appendix B ("Cropping"), and the released code's arguments. A crop is (x0, y0, x1, y1) in whole pixels of
the image, x1 and y1 beyond the last column and row. Layer 0 is the image itself; layer i has 2ⁱ × 2ⁱ crops.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from minisam.model.numbers import as_numbers, shown
from minisam_kernels.runtime.errors import InputError

Crop = tuple[int, int, int, int]

EDGE_TOLERANCE = 20  # pixels: as near as this to a crop's inner edge, a mask counts as cut off
MOST_POINTS = 1024  # along each side: one for every pixel that the model sees
OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")


# ------------------------------------------------------------------------------------------------------- arguments


def _got(value: Any) -> str:
    """A value in a few words of one line."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of {value.dtype} and shape {value.shape}"
    return shown(value)


def _whole(least: int, most: int = sys.maxsize) -> Callable[[str, Any], int]:
    limits = f" of at least {least}" if most == sys.maxsize else f" from {least} to {most}"
    wanted = "a whole number" + (limits if least > -sys.maxsize else "")

    def check(name: str, value: Any) -> int:
        right = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not right or not least <= value <= most:
            raise InputError(f"expected {name} to be {wanted}, got {_got(value)}")
        return int(value)

    return check


def _number(wanted: str, fits: Callable[[Any], bool]) -> Callable[[str, Any], float]:
    def check(name: str, value: Any) -> float:
        right = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
        if not right or not fits(value):
            raise InputError(f"expected {name} to be {wanted}, got {_got(value)}")
        return float(value)

    return check


def _output_mode(name: str, value: Any) -> str:
    if not isinstance(value, str) or value not in OUTPUT_MODES:
        raise InputError(f"expected {name} to be one of {', '.join(OUTPUT_MODES)}, got {_got(value)}")
    return value


def _yes_or_no(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"expected {name} to be True or False, got {_got(value)}")
    return bool(value)


def _any_number(value: Any) -> Any:
    """Whether ``value`` is infinite or a finite number: neither NaN nor a whole number beyond every float."""
    return value == value if isinstance(value, (float, np.floating)) else abs(value) <= sys.float_info.max


# As in the released code, a threshold below or above every score switches its filter off, or lets nothing pass.
_threshold = _number("a number, not NaN", _any_number)
RULES: dict[str, Callable[[str, Any], Any]] = {
    "points_per_batch": _whole(1),
    "pred_iou_thresh": _threshold,
    "stability_score_thresh": _threshold,
    "stability_score_offset": _number("a finite number of at least 0", lambda value: 0 <= value <= sys.float_info.max),
    "box_nms_thresh": _threshold,
    "crop_n_layers": _whole(0, 8),
    "crop_nms_thresh": _threshold,
    "crop_overlap_ratio": _number("a number from 0 to below 1", lambda value: 0 <= value < 1),
    "crop_n_points_downscale_factor": _whole(1),
    "min_mask_region_area": _whole(-sys.maxsize),
    "output_mode": _output_mode,
    "paper_rules": _yes_or_no,
}
# What differs from the defaults of ``SamAutomaticMaskGenerator``, which are the released code's
PRESETS: dict[str, dict[str, Any]] = {
    "meta": {},
    "sa1b": {"crop_n_layers": 2, "crop_n_points_downscale_factor": 2, "min_mask_region_area": 100, "paper_rules": True},
}

# What suits a model's own scores; the released code's .88 and .95 suit the large models, and leave tiny next to nothing
OWN_THRESHOLDS: dict[str, dict[str, float]] = {"tiny": {"pred_iou_thresh": 0.5, "stability_score_thresh": 0.5}}


def checked(**settings: Any) -> dict[str, Any]:
    """The arguments of the generator that are given, each as Python's own kind of number; ``point_grids`` always.

    That is then the points of every layer, each (N, 2) in [0, 1], whether points_per_side or point_grids said them.
    Raises ``InputError`` for an argument out of its range, for both or neither of points_per_side and point_grids, and
    for a layer without points. It needs no model, so that a command can ask before it loads one.
    """
    settings = {"points_per_side": 32, "crop_n_layers": 0, "crop_n_points_downscale_factor": 1} | settings
    side, grids = settings.pop("points_per_side"), settings.pop("point_grids", None)
    settings = {name: RULES[name](name, value) for name, value in settings.items()}
    if (side is None) == (grids is None):
        which = "neither" if side is None else "both (points_per_side=None goes with point_grids)"
        raise InputError(f"expected exactly one of points_per_side and point_grids, got {which}")
    layers = settings["crop_n_layers"] + 1
    if grids is not None:
        return settings | {"point_grids": _grids(grids, layers)}
    side = _whole(1, MOST_POINTS)("points_per_side", side)
    sides = [side // settings["crop_n_points_downscale_factor"] ** layer for layer in range(layers)]
    if sides[-1] < 1:
        raise InputError(f"expected a point in every layer of crops, got {sides} points per side")
    return settings | {"point_grids": [point_grid(side) for side in sides]}


def _grids(grids: Any, layers: int) -> list[np.ndarray]:
    """The first ``layers`` grids; more are not used, as in the released code."""
    if not isinstance(grids, (list, tuple)) and getattr(grids, "ndim", 0) == 0:
        raise InputError(f"expected point_grids to be a list of arrays (N, 2), one for each layer, got {_got(grids)}")
    if len(grids) < layers:
        raise InputError(f"expected point_grids to hold a grid for each of {layers} layers, got {len(grids)}")
    return [_grid(grid) for grid in grids[:layers]]


def _grid(grid: Any) -> np.ndarray:
    array = as_numbers("point_grids", grid)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) == 0:
        raise InputError(f"expected each of point_grids to have shape (N, 2), got {array.shape}")
    outside = ~((array >= 0) & (array <= 1)).all(axis=1)
    if outside.any():
        x, y = array[outside][0]
        raise InputError(f"expected the points of point_grids to be (x, y) in [0, 1], got ({x:g}, {y:g})")
    return array


# ------------------------------------------------------------------------------------------------ points and crops


def point_grid(side: int) -> np.ndarray:
    """(side², 2): points (x, y) in [0, 1], row after row, at the middles of side × side equal cells."""
    middles = np.linspace(1 / (2 * side), 1 - 1 / (2 * side), side)
    return np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)


def crop_boxes(size: tuple[int, int], layers: int, overlap_ratio: float) -> list[tuple[Crop, int]]:
    """(crop, layer) for an image of ``size`` (H, W), the whole first, then layer after layer, column after column.

    In layer i neighbours share ⌊overlap_ratio · min(H, W) · 2 / 2ⁱ⌋ pixels. Where an image has fewer pixels than a
    layer has crops, those that would be empty are left out.
    """
    height, width = size
    crops: list[tuple[Crop, int]] = [((0, 0, width, height), 0)]
    for layer in range(1, layers + 1):
        n = 2**layer
        overlap = int(overlap_ratio * min(size) * (2 / n))
        w, h = (math.ceil((overlap * (n - 1) + side) / n) for side in (width, height))
        for x0 in range(0, min(n * (w - overlap), width), w - overlap):
            for y0 in range(0, min(n * (h - overlap), height), h - overlap):
                crops.append(((x0, y0, min(x0 + w, width), min(y0 + h, height)), layer))
    return crops


def cut_off(boxes: np.ndarray, crop: Crop, size: tuple[int, int]) -> np.ndarray:
    """boxes (M, 4) in pixels of the image → (M,) bool: whether a side is near the crop's edge and not the image's.

    Such a mask probably goes on beyond the crop, and another crop, or the whole image, has all of it.
    """
    near_crop = np.abs(boxes - crop) <= EDGE_TOLERANCE
    near_image = np.abs(boxes - (0, 0, size[1], size[0])) <= EDGE_TOLERANCE
    return np.asarray((near_crop & ~near_image).any(axis=1))
