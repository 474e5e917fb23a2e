"""An atlas: the masks of a model at a grid of points, computed beforehand, for a page that has no Python.

Nothing here is a drawing. ``atlas(predictor, image, grid)`` asks the predictor once for every point of the grid, with
one foreground point and ``multimask_output=True``, and keeps what it answers, bit for bit; a test asks again and
compares.

A mask travels as *row differences in run lengths*. Every row is XORed with the row above it (the first row with an
empty one), so what is left are the few pixels where an outline moves sideways. These are flattened row by row and
written as the lengths of alternating runs, the zeros first, each as a LEB128 number: seven bits per byte, low bits
first, the top bit set while more follow. ``click.js`` holds the same decoder in JavaScript.

Coordinates are (x, y) in pixels of the original image: x to the right, y down, (0, 0) the first pixel. M is 3 masks
a point.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor


def encode_mask(mask: np.ndarray) -> bytes:
    """``mask`` (H, W) bool -> row differences in run lengths, LEB128."""
    changed = np.array(mask, dtype=bool)
    changed[1:] ^= mask[:-1].astype(bool)
    flat = np.concatenate([[False], changed.ravel(), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return _leb128(np.diff(np.concatenate([[0], edges])))


def decode_mask(code: bytes, shape: tuple[int, int]) -> np.ndarray:
    """The inverse of :func:`encode_mask`: ``shape`` (H, W) -> (H, W) bool."""
    runs = _from_leb128(code)
    flat = np.zeros(shape[0] * shape[1], dtype=bool)
    ends = np.cumsum(runs)
    for start, stop in zip(ends[0::2], ends[1::2], strict=False):
        flat[start:stop] = True
    return np.logical_xor.accumulate(flat.reshape(shape), axis=0)


def _leb128(numbers: np.ndarray) -> bytes:
    sevens = numbers[:, None] >> 7 * np.arange(5)  # five groups of seven bits: runs up to 2**35 pixels
    used = (sevens > 0) | (np.arange(5) == 0)
    more = np.concatenate([used[:, 1:], np.zeros((len(numbers), 1), dtype=bool)], axis=1)
    return ((sevens & 127) | 128 * more)[used].astype(np.uint8).tobytes()


def _from_leb128(code: bytes) -> list[int]:
    numbers, number, shift = [], 0, 0
    for byte in code:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(number)
            number = shift = 0
    return numbers


@dataclass(frozen=True)
class Atlas:
    """The answers of one model on one image at G points."""

    shape: tuple[int, int]
    """(H, W) of the image and of every mask"""
    points: np.ndarray
    """(G, 2) float32: (x, y) in pixels"""
    iou_predictions: np.ndarray
    """(G, M) float32: the model's own scores"""
    codes: list[bytes]
    """G · M encoded masks, the masks of one point side by side"""

    def masks(self, index: int) -> np.ndarray:
        """The masks (M, H, W) bool of point ``index``."""
        count = self.iou_predictions.shape[1]
        return np.stack([decode_mask(code, self.shape) for code in self.codes[index * count : (index + 1) * count]])

    def nearest(self, x: float, y: float) -> int:
        """The index of the point nearest to (x, y); the first of several."""
        return int(np.argmin(((self.points - np.array([x, y], dtype=np.float32)) ** 2).sum(axis=1)))

    def pack(self) -> dict[str, Any]:
        """What a page needs, as plain bytes: masks deflated together, little-endian numbers."""
        return {
            "points": self.points.astype("<f4").tobytes(),
            "iou": self.iou_predictions.astype("<f4").tobytes(),
            "lengths": np.array([len(code) for code in self.codes], dtype="<u4").tobytes(),
            "codes": zlib.compress(b"".join(self.codes), 9),
        }


def grid_points(shape: tuple[int, int], grid: int) -> np.ndarray:
    """The centres (x, y) of ``grid`` × ``grid`` equal cells of an image (H, W), on whole pixels: (grid², 2)."""
    if grid < 1:
        raise InputError(f"expected a grid of at least 1 × 1 points, got {grid}")
    x, y = (np.floor((np.arange(grid) + 0.5) * side / grid) for side in (shape[1], shape[0]))
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)


def atlas(predictor: SamPredictor, image: np.ndarray, grid: int, extra: Iterable[tuple[float, float]] = ()) -> Atlas:
    """Three masks at ``grid`` × ``grid`` foreground points of ``image`` (H, W, 3) uint8, and at the ``extra`` ones."""
    predictor.set_image(image)
    points = np.concatenate(
        [grid_points((image.shape[0], image.shape[1]), grid), np.array(list(extra), dtype=np.float32).reshape(-1, 2)]
    )
    codes, scores = [], []
    for point in points:
        masks, iou_predictions, _ = predictor.predict(point[None], np.array([1]), multimask_output=True)
        codes += [encode_mask(mask) for mask in masks]
        scores.append(iou_predictions)
    return Atlas((image.shape[0], image.shape[1]), points, np.array(scores, dtype=np.float32), codes)
