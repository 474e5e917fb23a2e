"""COCO's and LVIS' JSON as images with masks; ``sets`` says what becomes of bad ones."""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from minisam.transfer.labelled import Annotation, Entry, LabelledImage, LabelledSet
from minisam_kernels import InputError
from minisam_kernels.runtime.errors import reason

MAX_BYTES = 1 << 31  # of a JSON file about a whole set: LVIS v1's has 1.1 GB; Python needs about eight times as much
COCO = "a JSON file in COCO's schema (lists of images and annotations)"


def read_large_json(path: Path, wanted: str = COCO) -> Any:
    """What a JSON file of at most ``MAX_BYTES`` holds; ``InputError``, which says what is ``wanted``, for any other."""
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ValueError(f"{size} bytes of at most {MAX_BYTES}")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"expected {wanted}, got {path} ({reason(error)})") from error


def _table(values: Any, key: str, path: Path) -> dict[int, dict[str, Any]]:
    """A list of a JSON file by its entries' ids."""
    entries = values.get(key) if isinstance(values, dict) else None
    if not isinstance(entries, list):
        raise InputError(f"expected {COCO}, got {path} without a list {key!r}")
    table: dict[int, dict[str, Any]] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or type(entry.get("id")) is not int:
            raise InputError(f"expected {COCO}, got {path} where {key}[{number}] has no whole number as id")
        if entry["id"] in table:
            raise InputError(f"expected ids of {key} that differ, got {entry['id']} twice in {path}")
        table[entry["id"]] = entry
    return table


def read_coco(path: str | Path, images: str | Path | None = None) -> LabelledSet:
    """Read COCO's or LVIS' JSON; ``images`` is the folder of the images. Errors: ``read_set``."""
    path = Path(path)
    values = read_large_json(path)
    pictures, annotations = _table(values, "images", path), _table(values, "annotations", path)
    categories = _table(values, "categories", path) if "categories" in values else {}
    if not pictures or not annotations:
        raise InputError(f"expected at least one image and one annotation, got none in {path}")
    of_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in annotations.values():
        number = annotation.get("image_id")
        of_image[number if type(number) is int else None].append(annotation)
    unknown = [len(some) for number, some in of_image.items() if number not in pictures]
    places = _places(path) if images is None else [Path(images)]
    entries: list[Entry] = []
    for picture in pictures.values():
        where = _find(picture, places)
        entries.append((where, partial(_read_coco_image, where, picture, of_image[picture["id"]], categories)))
    if not any(is_there(where) for where, _ in entries):
        raise InputError(f"expected images of {path} in {' or '.join(map(str, places))}, got none of {len(entries)}")
    names = {number: str(entry.get("name", number)) for number, entry in categories.items()}
    groups = {number: str(entry["frequency"]) for number, entry in categories.items() if "frequency" in entry}
    found = LabelledSet(path.stem, entries, names, groups)
    if unknown:
        found.left_out["annotations of images that are not listed"] = f"{sum(unknown)} in {path}"
    return found


def is_there(path: Path) -> bool:
    """Whether there is a file; a name that no system would take, too long or with a null character, is none's."""
    return os.path.isfile(path)


def _places(path: Path) -> list[Path]:
    """Where a JSON file's images may lie: COCO's annotations/instances_val2017.json belongs to val2017/."""
    name = path.stem.rpartition("_")[2]
    return [path.parent, path.parent / "images", path.parent.parent / name, path.parent / name, path.parent.parent]


def _find(picture: dict[str, Any], places: list[Path]) -> Path:
    """The file of an image entry; the first place where there is none. LVIS names addresses: …/val2017/….jpg."""
    name = picture.get("file_name") or "/".join(str(picture.get("coco_url", "")).split("/")[-2:])
    relative = PurePosixPath(str(name).replace("\\", "/"))
    inside = not relative.is_absolute() and ".." not in relative.parts
    relatives = [relative, PurePosixPath(relative.name)] if inside else [PurePosixPath(relative.name)]
    found = (place / one for one in relatives for place in places)
    return next((where for where in found if is_there(where)), places[0] / relatives[-1])


def _read_coco_image(
    where: Path, picture: dict[str, Any], annotations: list[dict[str, Any]], categories: dict[int, Any]
) -> LabelledImage:
    if not is_there(where):
        raise InputError(f"expected an image, got no file {str(where)[:200]}")
    height, width = picture.get("height"), picture.get("width")
    if not isinstance(height, int) or not isinstance(width, int) or min(height, width) < 1:
        raise InputError(f"expected height and width of an image above 0, got {height!r:.20} and {width!r:.20}")
    read = [_read_annotation(annotation, (height, width), categories) for annotation in annotations]
    judged = None
    if "neg_category_ids" in picture:  # LVIS; with an empty list only what is drawn there was looked for
        judged = _numbers(picture, "neg_category_ids").union(annotation.category for annotation in read)
    incomplete = _numbers(picture, "not_exhaustive_category_ids")
    return LabelledImage(where, (height, width), read, picture["id"], judged, incomplete)


def _numbers(picture: dict[str, Any], key: str) -> frozenset[int]:
    """LVIS' list of categories of an image; empty where there is none."""
    values = picture.get(key, [])
    if not isinstance(values, list) or not all(map(is_category, values)):
        raise InputError(f"expected {key} to be a list of categories, got {values!r:.40}")
    return frozenset(values)


def _read_annotation(entry: dict[str, Any], size: tuple[int, int], categories: dict[int, Any]) -> Annotation:
    number, category, stored = entry["id"], entry.get("category_id", 0), entry.get("segmentation")
    if not is_category(category) or (categories and category not in categories):
        raise InputError(f"expected a category that is listed, got {category!r:.40} in annotation {number}")
    if not isinstance(stored, dict | list) or not stored:
        raise InputError(f"expected run lengths or polygons as segmentation, got {stored!r:.40} in annotation {number}")
    return Annotation(stored, size, number, category, **flags(entry))


def is_category(value: Any) -> bool:
    """Whether a value of a JSON file is a category's number: arrays hold it with 64 bits."""
    return type(value) is int and abs(value) < 1 << 63


def flags(entry: dict[str, Any]) -> dict[str, Any]:
    """What an annotation says beside its mask; ``InputError`` where ``iscrowd`` or ``ignore`` is neither yes nor no."""
    area = entry.get("area")
    stated = float(area) if isinstance(area, int | float) and 0 < area <= sys.float_info.max else None  # else: pixels
    marks = {key: entry.get(key) for key in ("iscrowd", "ignore")}
    for key, mark in marks.items():
        if mark not in (None, 0, 1):  # False and True are 0 and 1; the text "0" would be true
            raise InputError(f"expected {key} to be 0 or 1, got {mark!r:.40} in annotation {entry.get('id')!s:.40}")
    person = str(entry.get("annotator", ""))
    return {
        "crowd": bool(marks["iscrowd"]), "ignore": bool(marks["ignore"]), "annotator": person, "stated_area": stated
    }  # fmt: skip
