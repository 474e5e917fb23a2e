"""minisam: Segment Anything, from scratch, in NumPy and Numba.

    import minisam
    predictor = minisam.SamPredictor(minisam.load("tiny"))
    predictor.set_image(image)                                      # uint8 (H, W, 3), a file or a PIL image, once
    masks, iou_predictions, low_res_logits = predictor.predict(     # as often as you like
        point_coords=[[320, 240]], point_labels=[1])
    generator = minisam.SamAutomaticMaskGenerator(minisam.load("tiny"))
    records = generator.generate(image)                             # everything in the image

Names are looked up when they are first used, so ``import minisam`` itself is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minisam.automatic.generator import SamAutomaticMaskGenerator
    from minisam.checkpoints.loading import load
    from minisam.checkpoints.registry import (
        build_sam,
        build_sam_vit_b,
        build_sam_vit_h,
        build_sam_vit_l,
        sam_model_registry,
    )
    from minisam.model.config import CONFIGS, SamConfig
    from minisam.model.preprocess import ResizeLongestSide, binary_mask_to_logits
    from minisam.predictor import SamPredictor
    from minisam.sam import Sam, build
    from minisam_kernels import InputError

__version__ = "0.1.0"
__all__ = [
    "CONFIGS",
    "InputError",
    "ResizeLongestSide",
    "Sam",
    "SamAutomaticMaskGenerator",
    "SamConfig",
    "SamPredictor",
    "binary_mask_to_logits",
    "build",
    "build_sam",
    "build_sam_vit_b",
    "build_sam_vit_h",
    "build_sam_vit_l",
    "load",
    "sam_model_registry",
]

_HOMES = {
    "CONFIGS": "minisam.model.config",
    "InputError": "minisam_kernels",
    "ResizeLongestSide": "minisam.model.preprocess",
    "Sam": "minisam.sam",
    "SamAutomaticMaskGenerator": "minisam.automatic.generator",
    "SamConfig": "minisam.model.config",
    "SamPredictor": "minisam.predictor",
    "binary_mask_to_logits": "minisam.model.preprocess",
    "build": "minisam.sam",
    "build_sam": "minisam.checkpoints.registry",
    "build_sam_vit_b": "minisam.checkpoints.registry",
    "build_sam_vit_h": "minisam.checkpoints.registry",
    "build_sam_vit_l": "minisam.checkpoints.registry",
    "load": "minisam.checkpoints.loading",
    "sam_model_registry": "minisam.checkpoints.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'minisam' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
