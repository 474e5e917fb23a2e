"""Images and masks as a page gets them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from minisam_kernels.masks import rle


def jpeg(image: np.ndarray, quality: int = 88) -> bytes:
    """An image (H, W, 3) uint8 as a JPEG, for the eye alone."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def png(grey: np.ndarray) -> bytes:
    """Grey levels (H, W) uint8 as a PNG, exact."""
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG", optimize=True)
    return file.getvalue()


def mask_text(mask: np.ndarray) -> str:
    """A mask (H, W) bool as COCO's compressed run lengths, which ``masks.js`` reads."""
    return rle.to_string(rle.encode(mask[None])[0]).decode()
