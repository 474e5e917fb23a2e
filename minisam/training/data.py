"""Pictures with masks for training: the procedural world, and folders in SA-1B's schema, one numbered stream.

Picture number i is a function of (seed, i) alone: a worker that makes it, the order in which workers finish and a
training that was interrupted change nothing.

A folder in SA-1B's schema holds JSON files, each with ``image`` (``file_name``, ``width``, ``height``) and
``annotations``, whose ``segmentation`` is a run-length code in COCO's form; and the pictures, beside the JSON files or
in a folder ``images`` next to theirs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from minisam.world import render
from minisam_kernels import InputError

MAX_COVERAGE = 0.9  # masks over 90 % of the picture are left out (appendix A)
MIN_PIXELS = 32  # a smaller mask, less than 6 × 6 pixels at the training size, cannot be told from noise


def find_records(folder: str | Path) -> list[tuple[Path, Path]]:
    """Every (picture, JSON) pair below ``folder``, sorted by name."""
    folder = Path(folder)
    pairs = []
    for record in sorted(folder.rglob("*.json")):
        for place in (record.parent, record.parent.parent / "images"):
            names = (place / (record.stem + ending) for ending in (".jpg", ".jpeg", ".png"))
            picture = next((name for name in names if name.exists()), None)
            if picture:
                pairs.append((picture, record))
                break
    if not pairs:
        raise InputError(f"expected pictures and JSON files in SA-1B's schema below {folder}, got none")
    return pairs


def decode_masks(segmentations: Sequence[dict[str, Any]]) -> np.ndarray:
    """COCO run-length codes (``size`` [height, width], ``counts`` text) → bool (M, H, W)."""
    from pycocotools import mask as coco

    return np.moveaxis(coco.decode(list(segmentations)), -1, 0).astype(bool)


def resize_masks(masks: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """Cut ``box`` (x0, y0, x1, y1) out of masks (M, H, W) and resize to ``size`` (width, height): over half covered."""
    pictures = (Image.fromarray(mask.astype(np.uint8) * 255) for mask in masks)
    small = [np.asarray(p.resize(size, Image.Resampling.BILINEAR, box=box)) > 127 for p in pictures]
    return np.stack(small) if small else np.zeros((0, size[1], size[0]), bool)


class Pictures(Dataset[dict[str, np.ndarray]]):
    """A stream of (picture, K masks): number i is a world picture with probability ``world``, else a real one.

    Items: ``image`` uint8 (S, S, 3), filled up at the right and bottom; ``size`` int64 (2,), the (height, width) of
    the picture in it; ``masks`` bool (K, S, S). K masks are drawn with a chance ∝ √area, since crowds of small things
    would otherwise be all that the model sees; when a picture has fewer than K, some are drawn twice (they get other
    prompts).
    """

    def __init__(
        self, size: int, masks: int, folders: Sequence[str | Path], world: float, seed: int, length: int
    ) -> None:
        self.size, self.masks, self.world, self.seed, self.length = size, masks, world, seed, length
        self.records = [find_records(folder) for folder in folders]
        if not self.records and world < 1:
            raise InputError(f"expected --world 1 when no --data folder is given, got {world}")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, index])
        if rng.random() >= self.world:
            folder = self.records[rng.integers(len(self.records))]
            found = self._real(*folder[rng.integers(len(folder))], rng)
            if found is not None:
                return found
        while True:
            scene = render(int(rng.integers(2**31)), self.size)
            found = self._choose(scene.image, np.array([m.segmentation for m in scene.masks]), rng)
            if found is not None:
                return found

    def _real(self, picture: Path, record: Path, rng: np.random.Generator) -> dict[str, np.ndarray] | None:
        """A random crop of a picture, half of the time mirrored, its long side resized to S; None if it has no mask."""
        with Image.open(picture) as opened:
            image = opened.convert("RGB")
        annotations = json.loads(record.read_text())["annotations"]
        chosen = rng.permutation(len(annotations))[: 4 * self.masks]
        width, height = image.size
        crop_w, crop_h = (side * (rng.uniform(0.5, 1) if rng.random() < 0.5 else 1) for side in (width, height))
        x0, y0 = rng.uniform(0, width - crop_w), rng.uniform(0, height - crop_h)
        box = (x0, y0, x0 + crop_w, y0 + crop_h)
        scale = self.size / max(crop_w, crop_h)
        size = (max(1, round(crop_w * scale)), max(1, round(crop_h * scale)))
        masks = resize_masks(decode_masks([annotations[i]["segmentation"] for i in chosen]), box, size)
        pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box))
        if rng.random() < 0.5:
            pixels, masks = pixels[:, ::-1], masks[:, :, ::-1]
        return self._choose(pixels, masks, rng)

    def _choose(self, image: np.ndarray, masks: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray] | None:
        """K of the masks that are neither tiny nor nearly everything, padded to (S, S)."""
        height, width = image.shape[:2]
        areas = masks.sum(axis=(1, 2)) if len(masks) else np.zeros(0)
        fit = np.flatnonzero((areas >= MIN_PIXELS) & (areas <= MAX_COVERAGE * height * width))
        if not len(fit):
            return None
        weights = areas[fit] ** 0.5
        chosen = rng.choice(fit, self.masks, replace=len(fit) < self.masks, p=weights / weights.sum())
        pad = ((0, self.size - height), (0, self.size - width))
        return {
            "image": np.pad(image, (*pad, (0, 0))),
            "size": np.array([height, width]),
            "masks": np.pad(masks[chosen], ((0, 0), *pad)),
        }
