"""Where a run keeps its pictures and masks: in SA-1B's schema, whole for a reader, and cut into views for training.

    FOLDER/store/images/12.png, FOLDER/store/annotations/12.json          the picture and its masks
    FOLDER/views/4/images/12-96-192.png, …/annotations/12-96-192.json     its views with masks in them, at zoom 4

A training takes its batches from ``views``, each zoom with the same chance: of a whole picture, shrunk to the model's
input, most objects would have no pixel left.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minisam.engine.views import SHARES, View, sides, tiles
from minisam.files.atomic import make_folder, write_text
from minisam.files.formats import as_sa1b
from minisam.files.images import read_image, save_png
from minisam.files.records import decode_masks, read_record
from minisam_kernels.masks import rle

LARGEST = 192  # pixels of a view's side, for training
LEAST, MOST = 32 / 96**2, 0.9  # of a view, for a mask in it
PART = 0.5  # of a mask must be in the view


def record_of(mask: np.ndarray, **more: Any) -> dict[str, Any]:
    """A mask (H, W) bool as the automatic generator's records are; a person's has scores of 1."""
    from minisam_kernels.masks.box_from_mask import box_from_mask

    x0, y0, x1, y1 = box_from_mask(mask[None])[0].tolist()
    runs = rle.to_string(rle.encode(mask[None])[0]).decode()
    return {
        "segmentation": {"size": list(mask.shape), "counts": runs}, "area": int(mask.sum()),
        "bbox": [x0, y0, x1 - x0, y1 - y0], "predicted_iou": 1.0, "stability_score": 1.0, **more,
    }  # fmt: skip


def write_picture(folder: Path, name: str, image: np.ndarray, records: Sequence[dict[str, Any]]) -> None:
    """Write a picture (H, W, 3) and its records into a folder, the picture first: a JSON file means that both are."""
    for part in ("images", "annotations"):
        make_folder(folder / part)
    save_png(folder / "images" / f"{name}.png", image)
    report = as_sa1b(f"{name}.png", (image.shape[0], image.shape[1]), list(records))
    write_text(folder / "annotations" / f"{name}.json", json.dumps(report, allow_nan=False))


def read_picture(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read what ``write_picture`` wrote: the picture and its masks (M, H, W) bool."""
    image = read_image(folder / "images" / f"{name}.png")
    path = folder / "annotations" / f"{name}.json"
    return image, decode_masks(read_record(path).annotations, (image.shape[0], image.shape[1]), path)


def write_views(folder: Path, name: str, image: np.ndarray, masks: np.ndarray) -> int:
    """Cut a picture with masks (M, H, W) into views, and write those that have masks in them; return their number."""
    size, count = (image.shape[0], image.shape[1]), 0
    areas = masks.sum((1, 2)) if len(masks) else np.zeros(0)
    for view in tiles(size):
        inside = np.array([view.crop(mask) for mask in masks]).reshape(len(masks), *view.crop(image).shape[:2])
        visible, whole = inside.sum((1, 2)), inside[0].size if len(inside) else 1
        fit = (visible >= PART * areas) & (visible >= LEAST * whole) & (visible <= MOST * whole)
        if fit.any():
            _write_view(folder / str(SHARES[sides(size).index(view.side)]), name, view, view.crop(image), inside[fit])
            count += 1
    return count


def _write_view(folder: Path, name: str, view: View, image: np.ndarray, masks: np.ndarray) -> None:
    """Write one view, shrunk where it is larger than a training needs."""
    from PIL import Image

    from minisam.training.sources import resize_masks

    height, width = image.shape[:2]
    scale = min(1.0, LARGEST / max(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    if small != (width, height):
        masks = resize_masks(np.ascontiguousarray(masks), (0, 0, width, height), small)
        image = np.asarray(Image.fromarray(image).resize(small, Image.Resampling.BILINEAR))
    records = [record_of(mask) for mask in masks if mask.any()]
    write_picture(folder, f"{name}-{view.x}-{view.y}", np.ascontiguousarray(image), records)


def view_folders(folder: Path) -> tuple[str, ...]:
    """The folders of views below one, those that are there."""
    return tuple(str(folder / str(share)) for share in SHARES if (folder / str(share)).is_dir())
