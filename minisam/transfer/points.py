"""One click or one box per object: mean IoU of the masks, beside classical methods that get the same prompt.

The point is the object's centre, the pixel farthest from its boundary (paper, section 7.1), where the picture's border
counts as boundary. From the point come three masks: the most confident one, by the model's own predicted IoU, and the
best one, which an oracle picks. The box is the object's own, tight. Classical methods at the same prompts: the region
under the point in Felzenszwalb and Huttenlocher's segmentation, at one scale and as the best of three; GrabCut from
the box; the filled box. They run on pictures whose longer side is reduced to ``BASELINE_SIDE`` (full-size masks
are compared). Nothing here is random: GrabCut's own generator is seeded for each object.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from minisam.images import read_image
from minisam_kernels import InputError

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor

SCALES = (100.0, 300.0, 1000.0)  # of Felzenszwalb's segmentation; the middle one stands alone as well
BASELINE_SIDE = 512
GRABCUT_ROUNDS = 5
ROWS = {  # figure → what the table calls it
    "point_confident": "point, most confident of three",
    "point_best": "point, best of three",
    "point_single": "point, single-mask token",
    "point_felzenszwalb": f"point, Felzenszwalb region, scale {SCALES[1]:g}",
    "point_felzenszwalb_best": "point, Felzenszwalb region, best of three scales",
    "box_confident": "box, most confident of three",
    "box_best": "box, best of three",
    "box_single": "box, single-mask token",
    "box_grabcut": "box, GrabCut",
    "box_filled": "box, filled",
}


def find_pictures(folder: str | Path) -> list[tuple[Path, list[Path] | Path]]:
    """(picture, its masks) below ``folder``: mask files that manifest.csv lists, or a JSON file in SA-1B's schema."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"expected a folder of pictures with masks, got {folder}")
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        from minisam.training.data import find_records

        return [(picture, record) for picture, record in find_records(folder)]
    masks: dict[Path, list[Path]] = defaultdict(list)
    with open(manifest, newline="") as file:
        for row in csv.DictReader(file):
            if not row.get("image") or not row.get("mask"):
                raise InputError(f"expected the columns image and mask in every line of {manifest}, got {row}")
            masks[folder / row["image"]].append(folder / row["mask"])
    if not masks:
        raise InputError(f"expected at least one object in {manifest}, got none")
    return sorted(masks.items())


def read_masks(source: list[Path] | Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """The masks of a picture of ``size`` (H, W), bool (H, W) each, those without a pixel left out."""
    if isinstance(source, Path):
        from minisam.training.data import decode_masks

        masks = list(decode_masks([entry["segmentation"] for entry in json.loads(source.read_text())["annotations"]]))
    else:
        masks = [read_image(path)[..., 0] > 127 for path in source]
    for mask in masks:
        if mask.shape != size:
            raise InputError(f"expected masks of {size} like their picture, got {mask.shape} in {source}")
        if mask.any():
            yield mask


def centre_point(mask: np.ndarray) -> tuple[int, int]:
    """(x, y) of the pixel of a mask (H, W) that is farthest from whatever lies outside, also outside the picture."""
    from scipy.ndimage import distance_transform_edt

    distance = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(distance.argmax()), mask.shape)
    return int(column), int(row)


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a mask with pixels: the first and one past the last column and row."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _iou(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """IoU of masks (M, H, W) with a truth that has pixels (H, W) → (M,)."""
    both = (masks & truth).sum(axis=(1, 2))
    return both / (masks | truth).sum(axis=(1, 2))


def measure_model(predictor: SamPredictor, truth: np.ndarray) -> dict[str, float]:
    """IoU of the model's masks for the centre point and for the box of ``truth``; the picture is set already."""
    found = {}
    prompts: dict[str, dict[str, Any]] = {
        "point": {"point_coords": np.array([centre_point(truth)], float), "point_labels": np.array([1])},
        "box": {"box": np.array(bounding_box(truth), float)},
    }
    for kind, prompt in prompts.items():
        masks, confidence, _ = predictor.predict(**prompt, multimask_output=True)
        iou = _iou(masks, truth)
        found[f"{kind}_confident"], found[f"{kind}_best"] = float(iou[confidence.argmax()]), float(iou.max())
        masks, _, _ = predictor.predict(**prompt, multimask_output=False)
        found[f"{kind}_single"] = float(_iou(masks, truth)[0])
    return found


class Baselines:
    """The classical methods on one picture: three segmentations once, then region or GrabCut per object."""

    def __init__(self, image: np.ndarray) -> None:
        from skimage.segmentation import felzenszwalb

        self.shape = image.shape[:2]
        self.factor = min(1.0, BASELINE_SIDE / max(self.shape))
        height, width = (max(1, round(side * self.factor)) for side in self.shape)
        self.small = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        smallest = max(2, round(20 * (max(height, width) / BASELINE_SIDE) ** 2))
        self.regions = [felzenszwalb(self.small, scale, sigma=0.8, min_size=smallest) for scale in SCALES]

    def _full(self, small: np.ndarray) -> np.ndarray:
        """A mask of the reduced picture at full size, every pixel with its nearest one's value."""
        rows, columns = (np.arange(full) * part // full for full, part in zip(self.shape, small.shape))
        return small[rows[:, None], columns]

    def measure(self, truth: np.ndarray) -> dict[str, float]:
        """IoU of every method at the prompts of ``truth``."""
        x, y = centre_point(truth)
        height, width = self.small.shape[:2]
        row, column = y * height // self.shape[0], x * width // self.shape[1]
        regions = np.stack([self._full(labels == labels[row, column]) for labels in self.regions])
        iou = _iou(regions, truth)
        x0, y0, x1, y1 = bounding_box(truth)
        filled = np.zeros(self.shape, bool)
        filled[y0:y1, x0:x1] = True
        return {
            "point_felzenszwalb": float(iou[1]),
            "point_felzenszwalb_best": float(iou.max()),
            "box_grabcut": float(_iou(self._grabcut(x0, y0, x1, y1)[None], truth)[0]),
            "box_filled": float(_iou(filled[None], truth)[0]),
        }

    def _grabcut(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """GrabCut's foreground; the filled box where the method has nothing to learn the background from."""
        import cv2

        height, width = self.small.shape[:2]
        left, top = x0 * width // self.shape[1], y0 * height // self.shape[0]
        right, bottom = -(-x1 * width // self.shape[1]), -(-y1 * height // self.shape[0])
        marks = np.full((height, width), cv2.GC_BGD, np.uint8)
        marks[top:bottom, left:right] = cv2.GC_PR_FGD
        if (marks == cv2.GC_PR_FGD).all() or (marks == cv2.GC_PR_FGD).sum() < 10:
            return self._full(marks == cv2.GC_PR_FGD)
        cv2.setRNGSeed(0)
        background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
        bgr = np.ascontiguousarray(self.small[..., ::-1])
        cv2.grabCut(bgr, marks, (0, 0, 0, 0), background, foreground, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
        return self._full((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD))


def evaluate(
    predictor: SamPredictor, folder: str | Path, limit: int | None = None, baselines: bool = True
) -> dict[str, Any]:
    """Mean IoU over the objects of the first ``limit`` pictures, and over pictures of their objects' means."""
    from minisam.commands.options import progress

    pictures = find_pictures(folder)[:limit]
    objects: list[dict[str, Any]] = []
    with progress(total=len(pictures), unit="picture", desc="transfer points") as bar:
        for path, source in pictures:
            image = read_image(path)
            predictor.set_image(image)
            classical = Baselines(image) if baselines else None
            for number, truth in enumerate(read_masks(source, image.shape[:2])):
                found = measure_model(predictor, truth) | (classical.measure(truth) if classical else {})
                objects.append({"picture": path.name, "object": number, "area": int(truth.sum()), **found})
            bar.update()
    if not objects:
        raise InputError(f"expected at least one object with pixels below {folder}, got none")
    keys = [key for key in ROWS if key in objects[0]]
    by_picture: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(entry["picture"] for entry in objects):
        some = [entry for entry in objects if entry["picture"] == name]
        by_picture[name] = {key: float(np.mean([entry[key] for entry in some])) for key in keys}
    return {
        "folder": Path(folder).resolve().name,
        "model": predictor.model.config.name,
        "pictures": len(by_picture),
        "objects": len(objects),
        "per_object": {key: float(np.mean([entry[key] for entry in objects])) for key in keys},
        "per_picture": {key: float(np.mean([means[key] for means in by_picture.values()])) for key in keys},
        "each": objects,
    }


def table(report: dict[str, Any]) -> str:
    """The means for people."""
    title = f"{report['folder']}: {report['pictures']} pictures, {report['objects']} objects, model {report['model']}"
    lines = [title, f"{'mean IoU':50} per object  per picture"]
    for key, name in ROWS.items():
        if key in report["per_object"]:
            lines.append(f"{name:50} {report['per_object'][key]:10.3f}  {report['per_picture'][key]:11.3f}")
    return "\n".join(lines)


def main(options: argparse.Namespace) -> int:
    """``minisam transfer points``."""
    from minisam.commands.options import load_model
    from minisam.files import atomic, check_output
    from minisam.predictor import SamPredictor

    if options.json is not None:
        check_output(options.json)
    find_pictures(options.folder)
    report = evaluate(SamPredictor(load_model(options)), options.folder, options.limit, not options.no_baselines)
    if options.json is not None:
        with atomic(options.json) as temporary:
            temporary.write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))
    return 0
