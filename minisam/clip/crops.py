"""The square around an object that CLIP looks at (SAM, appendix D.5).

The object's box is made 1 to 2 times as large and square around its middle, cut out, and resized. Half of the time in
training, everything outside of the object is black. What lies beyond the image is black as well.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from minisam_kernels import InputError

LEAST = 100 / 1024  # √area of the smallest object, of the image's longer side: 100² pixels in an image of SAM's size
EXPAND = 1.0, 2.0


class Crop(NamedTuple):
    """What ``Clip.embed_image`` takes: ``pixels`` uint8 (S, S, 3), ``inside`` bool (S, S) with at least one pixel.

    ``background``: whether what is outside of the object was kept.
    """

    pixels: np.ndarray
    inside: np.ndarray
    background: bool


def large_enough(mask: np.ndarray, least: float = LEAST) -> bool:
    """Whether √area of ``mask`` (H, W) bool is at least ``least`` of the longer side."""
    return bool(np.count_nonzero(mask) >= (least * max(mask.shape)) ** 2)


def crop(
    image: np.ndarray,
    mask: np.ndarray,
    size: int = 64,
    expand: float = 1.5,
    background: bool = False,
    rng: np.random.Generator | None = None,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> Crop:
    """The square around one object.

    Parameters
    ----------
    image : ndarray, shape (H, W, 3), uint8
    mask : ndarray, shape (H, W), bool
        The object, at least one pixel.
    size : int
        S, pixels along a side of the crop: ``clip.config.image_size``.
    expand : float
        Side of the square, of the longer side of the object's box.
    background : bool
        Whether what is not the object stays; else it is black.
    rng : numpy.random.Generator, optional
        Draws ``expand`` in [1, 2) and ``background`` with equal chances, as in training.
    resample : Image.Resampling
        The filter; the real CLIP's is ``BICUBIC``.

    Returns
    -------
    Crop

    Raises
    ------
    InputError
        If sizes or types do not fit, or the mask is empty.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"expected an image of shape (H, W, 3), uint8, got {image.shape}, {image.dtype}")
    if mask.shape != image.shape[:2] or mask.dtype != np.bool_:
        raise InputError(f"expected a mask of shape {image.shape[:2]}, bool, got {mask.shape}, {mask.dtype}")
    if rng is not None:
        expand, background = float(rng.uniform(*EXPAND)), bool(rng.random() < 0.5)
    if not (size >= 1 and np.isfinite(expand) and expand >= 1):
        raise InputError(f"expected size >= 1 and expand >= 1, got {size} and {expand}")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        raise InputError("expected a mask with at least one pixel, got an empty one")
    # the box in pixels' edges, its middle, and half the side of the square
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    half = expand * max(y1 - y0, x1 - x0) / 2
    top, left = (y0 + y1) / 2 - half, (x0 + x1) / 2 - half
    # whole pixels around the square, black where the image ends
    Y0, X0 = int(np.floor(top)), int(np.floor(left))
    side = int(np.ceil(2 * half)) + 1
    pixels, part = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), bool)
    rows_, columns_ = slice(max(Y0, 0), min(Y0 + side, len(mask))), slice(max(X0, 0), min(X0 + side, mask.shape[1]))
    to = slice(rows_.start - Y0, rows_.stop - Y0), slice(columns_.start - X0, columns_.stop - X0)
    pixels[to], part[to] = image[rows_, columns_], mask[rows_, columns_]
    if not background:
        pixels[~part] = 0
    box = left - X0, top - Y0, left - X0 + 2 * half, top - Y0 + 2 * half
    small = np.asarray(Image.fromarray(pixels).resize((size, size), resample, box=box))
    covered = Image.fromarray(part.view(np.uint8) * 255)
    share = np.asarray(covered.resize((size, size), Image.Resampling.BILINEAR, box=box))
    return Crop(small, share >= min(128, int(share.max())), background)
