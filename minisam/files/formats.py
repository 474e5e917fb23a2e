"""Masks in files that other tools read: SA-1B, COCO, labelme, YOLO, GeoJSON, and a label image as PNG.

All are made of one *report* for each image, a dict in SA-1B's schema (``as_sa1b``). Its masks are run lengths, which
COCO's file keeps. Outlines follow the edges of pixels (``polygons``), not their middles:

=======  =======================================  ==========================================================
format   holes                                    area, of a square of 11 × 11 pixels; read back as a mask
=======  =======================================  ==========================================================
GeoJSON  inner rings                              exact, 121
labelme  none: cut into pieces of one group       .01 pixel less all around, 120.56; labelme paints the mask
YOLO     none: pieces joined by bridges           120.56; OpenCV paints the mask, and bridges between parts
PNG      kept                                     every pixel that no smaller mask covers
=======  =======================================  ==========================================================
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from minisam.files.records import read_counts, read_json, read_record
from minisam_kernels import InputError
from minisam_kernels.masks import rle

# format → the ending of a file's name
FORMATS = {"sa1b": ".json", "coco": ".json", "labelme": ".json", "yolo": ".txt", "geojson": ".geojson", "png": ".png"}
POLYGONS = ("labelme", "yolo", "geojson")  # need shapely
CATEGORIES = [{"id": 1, "name": "object", "supercategory": ""}]

Report = dict[str, Any]


def as_sa1b(
    image_path: str | Path, size: tuple[int, int], records: list[dict[str, Any]], image_id: str | None = None
) -> Report:
    """Records with run lengths, of ``SamAutomaticMaskGenerator``, as SA-1B's files hold them, with COCO's keys beside.

    ``id`` counts from 1: COCO's evaluators take a match with 0 for none. ``bbox`` is x, y, width, height in pixels, the
    number of columns and rows; the records' own is one less. A stability of NaN, of a mask that is empty at both
    thresholds, becomes null: JSON has no NaN.
    """
    path = Path(image_path)
    image_id = path.stem if image_id is None else image_id
    annotations = []
    for number, record in enumerate(records, 1):
        x, y, width, height = record["bbox"]
        keys = {"id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0, "score": record["predicted_iou"]}
        stability = record["stability_score"] if math.isfinite(record["stability_score"]) else None
        box = [x, y, width + 1, height + 1] if record["area"] else [0, 0, 0, 0]
        annotations.append(keys | record | {"bbox": box, "stability_score": stability})
    image = {"image_id": image_id, "file_name": path.name, "width": size[1], "height": size[0]}
    return {"image": image, "annotations": annotations}


def write(path: Path, kind: str, report: Report, image_path: str | Path) -> None:
    """A report in one of ``FORMATS``. For labelme ``path`` is the file's real place, from which it finds the image."""
    if kind == "png":
        from minisam.files.images import save_png

        return save_png(path, label_image(report))
    with open(path, "w", encoding="utf-8") as file:
        if kind == "coco":
            write_coco(file, [report])
        elif kind == "yolo":
            file.write(as_yolo(report))
        elif kind == "labelme":
            json.dump(as_labelme(report, image_path), file, allow_nan=False)
        else:
            json.dump(as_geojson(report) if kind == "geojson" else report, file, allow_nan=False)


def mask_of(annotation: dict[str, Any]) -> np.ndarray:
    """An annotation's mask, bool (H, W)."""
    runs = annotation["segmentation"]
    return rle.decode(read_counts(runs, runs["size"]), runs["size"])


# ------------------------------------------------------------------------------------------------------------- COCO


def write_coco(file: IO[str], reports: Iterable[Report]) -> None:
    """One COCO file of all reports, written as they come. Images and annotations are numbered from 1 through all.

    pycocotools loads it as it is, and evaluates it. As results for its ``loadRes``, take the annotations without
    ``bbox``: with it, that function takes a mask's area for its box's.
    """
    info = {"description": "masks of everything, by minisam"}
    head = {"info": info, "licenses": [], "categories": CATEGORIES}
    file.write(json.dumps(head)[:-1] + ', "annotations": [')
    images: list[dict[str, Any]] = []
    number = 0
    for report in reports:
        image = report["image"]
        place = PurePosixPath(str(image["image_id"])).parent / image["file_name"]  # in the folder that was given
        size = {"width": image["width"], "height": image["height"]}
        images.append({"id": len(images) + 1, "file_name": str(place), **size})
        for annotation in report["annotations"]:
            text = json.dumps(annotation | {"id": number + 1, "image_id": len(images)}, allow_nan=False)
            file.write((", " if number else "") + text)
            number += 1
    file.write(f'], "images": {json.dumps(images)}}}')


def read_report(path: Path) -> Report:
    """A file that ``write`` made in SA-1B's schema."""
    report = read_json(path)
    image = report.get("image") if isinstance(report, dict) else None
    if not isinstance(image, dict) or not {"image_id", "file_name", "width", "height"} <= image.keys():
        raise InputError(f"expected a JSON file of minisam everything, got {path}, which is none")
    read_record(path)
    return report


# --------------------------------------------------------------------------------------------------------- polygons


def as_labelme(report: Report, image_path: str | Path) -> dict[str, Any]:
    """labelme's file: polygons; those of one mask have one ``group_id``, its ``id``."""
    from minisam.files.polygons import outline, rings

    shapes = []
    for annotation in report["annotations"]:
        for ring in rings(outline(mask_of(annotation))):
            shape = {"label": "object", "points": ring.tolist(), "group_id": annotation["id"], "description": ""}
            shapes.append(shape | {"shape_type": "polygon", "flags": {}, "mask": None, "score": annotation["score"]})
    size = {"imageHeight": report["image"]["height"], "imageWidth": report["image"]["width"]}
    head: dict[str, Any] = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imageData": None}
    return head | {"imagePath": str(image_path)} | size


def as_yolo(report: Report) -> str:
    """Ultralytics' labels for segmentation: a line for each mask, its class 0 and its corners x, y as parts of width
    and height. The format has one ring per object and no holes, so pieces are joined (``polygons.joined``)."""
    from minisam.files.polygons import joined, outline, rings

    size = (report["image"]["width"], report["image"]["height"])
    lines = []
    for annotation in report["annotations"]:
        parts = rings(outline(mask_of(annotation)))
        if parts:
            lines.append("0 " + " ".join(f"{value:.8f}" for value in (joined(parts) / size).ravel()) + "\n")
    return "".join(lines)


def as_geojson(report: Report) -> dict[str, Any]:
    """A FeatureCollection in pixels, x to the right and y down, as QuPath has it. Outer rings go by the right-hand rule
    where y counts as up (RFC 7946), inner rings are holes; a mask without pixels has no geometry."""
    import shapely

    from minisam.files.polygons import outline

    features = []
    for annotation in report["annotations"]:
        shape = outline(mask_of(annotation))
        parts = shapely.get_parts(shape)
        one = parts[0] if len(parts) == 1 else shape
        geometry = json.loads(shapely.to_geojson(one)) if len(parts) else None
        properties = {key: value for key, value in annotation.items() if key not in ("segmentation", "id")}
        features.append({"type": "Feature", "id": annotation["id"], "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


# --------------------------------------------------------------------------------------------------------------- PNG


def label_image(report: Report) -> np.ndarray:
    """uint16 (H, W): the ``id`` of the mask at each pixel, 0 where there is none. Where masks overlap, the smallest is
    on top, so that a mask under others loses pixels; the other formats keep them."""
    image, annotations = report["image"], report["annotations"]
    if len(annotations) > np.iinfo(np.uint16).max:
        raise InputError(f"expected at most 65535 masks in a label image, got {len(annotations)}")
    labels = np.zeros((image["height"], image["width"]), np.uint16)
    for annotation in sorted(annotations, key=lambda annotation: -annotation["area"]):
        labels[mask_of(annotation)] = annotation["id"]
    return labels
