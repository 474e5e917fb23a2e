"""From a picture to the model's input, and from the model's masks back to the picture.

Source: the released code's ``ResizeLongestSide``, ``Sam.preprocess`` and ``Sam.postprocess_masks``. A picture (H, W) is
resized so that its longer side is S (``image_size``), which gives (h', w'), and filled up with zeros at the right and
at the bottom. Masks go back the same way: to S × S, cut to (h', w'), to (H, W).
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from minisam.model.config import SamConfig
from minisam_kernels import InputError
from minisam_kernels.layers.resize import resize
from minisam_kernels.masks.mask_pixels import mask_pixels

PIXEL_MEAN = (123.675, 116.28, 103.53)  # of ImageNet's pictures, red, green, blue
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


def apply_coords(coords: np.ndarray, original_size: tuple[int, int], image_size: int) -> np.ndarray:
    """coords (..., 2) as (x, y) in pixels of the picture → pixels of the model's input."""
    height, width = input_size(*original_size, image_size)
    return np.asarray(coords, np.float64) * (width / original_size[1], height / original_size[0])


def postprocess_masks(
    low_res: np.ndarray, original_size: tuple[int, int], image_size: int, threshold: float | None
) -> np.ndarray:
    """low_res (M, L, L) logits → (M, H, W): bool where they exceed ``threshold``, float32 logits when it is None.

    With a threshold no float array of the picture's size is made (``mask_pixels``).
    """
    height, width = input_size(*original_size, image_size)
    if threshold is None:
        return resize(resize(low_res, (image_size, image_size))[:, :height, :width], original_size)
    return mask_pixels(low_res, (height, width), image_size, original_size, threshold)


def binary_mask_to_logits(mask: np.ndarray, config: SamConfig, strength: float = 8.0) -> np.ndarray:
    """A yes/no mask (H, W) of the whole picture → a mask prompt (1, L, L), the form in which the decoder wants it.

    A mask prompt is not 0 and 1: it is what the decoder itself put out, logits. Here a pixel that is wholly inside
    becomes +strength, wholly outside −strength, and one that the edge crosses something between.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.size == 0:
        raise InputError(f"expected a mask of shape (H, W), got {mask.shape}")
    if mask.dtype.kind not in "biuf":
        raise InputError(f"expected a mask of numbers, got {mask.dtype}")
    size = config.low_res_size
    height, width = input_size(mask.shape[0], mask.shape[1], size)
    picture = Image.fromarray(((mask > 0) * 255).astype(np.uint8))
    share = np.asarray(picture.resize((width, height), Image.Resampling.BOX), np.float32) / 255
    logits = np.full((1, size, size), -strength, np.float32)
    logits[0, :height, :width] = strength * (2 * share - 1)
    return logits
