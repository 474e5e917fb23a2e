"""From an image to the model's input, and from the model's masks back to the image.

Source: the released code's ``ResizeLongestSide``, ``Sam.preprocess`` and ``Sam.postprocess_masks``. An image (H, W) is
resized so that its longer side is S (``image_size``), which gives (h', w'), and padded with zeros at the right and at
the bottom. Masks go back the same way: to S × S, cut to (h', w'), to (H, W).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from minisam.model.config import SamConfig
from minisam.model.numbers import as_array, as_numbers, as_size, shown
from minisam_kernels import InputError
from minisam_kernels.layers.resize import resize
from minisam_kernels.masks.mask_pixels import mask_pixels

PIXEL_MEAN = (123.675, 116.28, 103.53)  # of ImageNet's images, red, green, blue
PIXEL_STD = (58.395, 57.12, 57.375)
MEAN, STD = np.array(PIXEL_MEAN, np.float32), np.array(PIXEL_STD, np.float32)


def input_size(height: int, width: int, image_size: int) -> tuple[int, int]:
    """(h', w'): the longer side becomes ``image_size``, the other keeps the ratio, rounded half up, at least 1."""
    scale = image_size / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize_image(image: np.ndarray, image_size: int) -> np.ndarray:
    """uint8 (H, W, 3) → uint8 (h', w', 3): Pillow's bilinear filter, which averages when it shrinks, as SAM expects."""
    height, width = input_size(image.shape[0], image.shape[1], image_size)
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def normalise_and_pad(image: np.ndarray, image_size: int) -> np.ndarray:
    """uint8 (h', w', 3) → float32 (1, S, S, 3): mean 0 and deviation 1 per colour, then zeros right and below."""
    out = np.zeros((1, image_size, image_size, 3), np.float32)
    out[0, : image.shape[0], : image.shape[1]] = (image - MEAN) / STD
    return out


def apply_coords(coords: npt.ArrayLike, original_size: tuple[int, int], image_size: int) -> np.ndarray:
    """coords (..., 2) as (x, y) in pixels of the image → pixels of the model's input, float64."""
    height, width = input_size(*original_size, image_size)
    return np.asarray(coords, np.float64) * (width / original_size[1], height / original_size[0])


class ResizeLongestSide:
    """The resizing above for one model, under the released code's names.

    Parameters
    ----------
    target_length : int
        The model's ``image_size``, in pixels.
    """

    def __init__(self, target_length: int) -> None:
        self.target_length = target_length

    def apply_image(self, image: np.ndarray) -> np.ndarray:
        """An image uint8 (H, W, 3), resized to (h', w', 3): an array of its own."""
        from minisam.model.inputs import as_image  # which needs this module

        return np.array(resize_image(as_image(image), self.target_length))

    def apply_coords(self, coords: npt.ArrayLike, original_size: tuple[int, int]) -> np.ndarray:
        """Points (..., 2) as (x, y) in pixels of an image (H, W), in pixels of the model's input."""
        points = as_numbers("coords", coords)
        if points.shape[-1:] != (2,):
            raise InputError(f"expected coords of shape (..., 2), got {points.shape}")
        return apply_coords(points, as_size(original_size), self.target_length)

    def apply_boxes(self, boxes: npt.ArrayLike, original_size: tuple[int, int]) -> np.ndarray:
        """Boxes (..., 4) as x0, y0, x1, y1, moved like points, as (B, 4)."""
        corners = as_numbers("boxes", boxes)
        if corners.size % 4:
            raise InputError(f"expected boxes of shape (..., 4), got {corners.shape}")
        return self.apply_coords(corners.reshape(-1, 2, 2), original_size).reshape(-1, 4)

    apply_coords_torch, apply_boxes_torch = apply_coords, apply_boxes  # a tensor comes back as an array

    @staticmethod
    def get_preprocess_shape(oldh: int, oldw: int, long_side_length: int) -> tuple[int, int]:
        """(h', w') of an image."""
        return input_size(oldh, oldw, long_side_length)


def postprocess_masks(
    low_res: np.ndarray, original_size: tuple[int, int], image_size: int, threshold: float | None
) -> np.ndarray:
    """low_res (M, L, L) logits → (M, H, W): bool where they exceed ``threshold``, float32 logits when it is None.

    With a threshold no float array of the image's size is made (``mask_pixels``).
    """
    height, width = input_size(*original_size, image_size)
    if threshold is None:  # to S × S, the padding cut off, to the image's size
        return resize(resize(low_res, (image_size, image_size))[:, :height, :width], original_size)
    return mask_pixels(low_res, (height, width), image_size, original_size, threshold)


def binary_mask_to_logits(mask: npt.ArrayLike, config: SamConfig, strength: float = 8.0) -> np.ndarray:
    """A yes/no mask of the whole image as a mask prompt, the form in which the decoder wants it.

    Parameters
    ----------
    mask : array_like, shape (H, W)
        Booleans or numbers, of which those above 0 are inside.
    config : SamConfig
        The model's sizes, ``sam.config``.
    strength : float
        The logit of a pixel that is wholly inside.

    Returns
    -------
    ndarray, shape (1, L, L), float32
        Logits from −strength (wholly outside) to +strength; L is ``config.low_res_size``.

    Raises
    ------
    InputError
        If the mask is not (H, W) or holds no numbers, or if ``strength`` is not above 0.

    Notes
    -----
    A mask prompt is not 0 and 1: in training it is what the decoder itself put out, logits (SAM, appendix A). A pixel
    of which the share s lies inside becomes strength · (2 s − 1). The share is the mean over the pixel's area.
    """
    mask = as_array("a mask", mask)
    if mask.ndim != 2 or mask.size == 0:
        raise InputError(f"expected a mask of shape (H, W), got {mask.shape}")
    if mask.dtype.kind not in "biuf":
        raise InputError(f"expected a mask of numbers, got {mask.dtype}")
    if np.isnan(mask).any():
        raise InputError("expected a mask of numbers, got nan")
    if as_numbers("strength", strength).shape != () or not strength > 0:
        raise InputError(f"expected strength above 0, got {shown(strength)}")
    size = config.low_res_size
    height, width = input_size(mask.shape[0], mask.shape[1], size)
    grey = Image.fromarray(((mask > 0) * 255).astype(np.uint8))
    share = np.asarray(grey.resize((width, height), Image.Resampling.BOX), np.float32) / 255
    logits = np.full((1, size, size), -strength, np.float32)
    logits[0, :height, :width] = strength * (2 * share - 1)
    return logits
