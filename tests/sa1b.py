"""Folders in SA-1B's schema."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from minisam.world import render


def sa1b_folder(path, count: int = 2):
    """A folder in SA-1B's schema made of world images."""
    coco = pytest.importorskip("pycocotools.mask")
    (path / "images").mkdir(parents=True)
    (path / "annotations").mkdir()
    (path / "TERMS.txt").write_text("made up\n")
    for i in range(count):
        scene = render(i, 96)
        Image.fromarray(scene.image[:64]).save(path / "images" / f"{i}.jpg", quality=95)
        masks = [m.segmentation[:64] for m in scene.masks if m.segmentation[:64].any()]
        codes = [coco.encode(np.asfortranarray(m.astype(np.uint8))) for m in masks]
        annotations = [{"segmentation": {"size": c["size"], "counts": c["counts"].decode()}} for c in codes]
        record = {"image": {"file_name": f"{i}.jpg", "width": 96, "height": 64}, "annotations": annotations}
        (path / "annotations" / f"{i}.json").write_text(json.dumps(record))
    return path
