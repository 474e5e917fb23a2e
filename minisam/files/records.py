"""Masks in JSON files of SA-1B's schema: found in folders beside their images, read and checked.

A record is a JSON file about one image. It holds ``image`` (``file_name``, ``width``, ``height``) and ``annotations``,
whose ``segmentation`` is a run-length code in COCO's form: ``size`` [height, width] of the upright image, and
``counts`` as COCO's text or as a list of whole numbers. COCO's ``images`` with one image is taken for ``image``.

A record belongs to the image of its own name with another ending, else to the one that its ``file_name`` names. Either
lies beside it, in a folder ``images`` there, or in a folder ``images`` next to its own. An image has one record: the
one of its own name before others that name it, then the first by name. What is left out can be said
(``Found.describe``).
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from minisam.files.images import ENDINGS, is_image_name
from minisam_kernels import InputError
from minisam_kernels.masks import rle
from minisam_kernels.masks.rle_geometry import check_counts
from minisam_kernels.runtime.errors import reason

SCHEMA = "a JSON file in SA-1B's schema"
MAX_BYTES = 1 << 25  # of a record; SA-1B's largest have some hundred thousand, lists of counts perhaps ten million


class Record(NamedTuple):
    """What a JSON file says about an image: its name, or "", and its masks."""

    file_name: str
    annotations: list[dict[str, Any]]


class Found(NamedTuple):
    """(image, record) pairs below a folder, sorted by the record's path, and what else lies there, by reason."""

    folder: Path
    pairs: list[tuple[Path, Path]]
    left_out: dict[str, list[Path]]

    def describe(self) -> str:
        """Say in one line what is left out, with numbers and first names; "" if nothing is."""
        what = count_names(self.left_out)
        return what and f"{self.folder}: left out {what}"


def count_names(kinds: dict[str, list[Path]]) -> str:
    """Write the number of files of each kind, and the names of the first ones."""
    some = ((kind, len(paths), ", ".join(path.name for path in paths[:3])) for kind, paths in kinds.items())
    return ", ".join(f"{n} {kind} ({names}{', …' * (n > 3)})" for kind, n, names in some if n)


def walk(folder: str | Path) -> Iterator[Path]:
    """Yield every file below a folder, each linked folder and circle of links once, without a Mac's ``._`` files."""

    def refuse(error: OSError) -> None:
        raise error

    def is_new(path: str) -> bool:
        status = os.stat(path)
        known, key = len(seen), (status.st_dev, status.st_ino)
        seen.add(key)
        return len(seen) > known

    seen: set[tuple[int, int]] = set()
    try:
        for parent, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
            if not seen:
                is_new(parent)
            folders[:] = [name for name in sorted(folders) if is_new(os.path.join(parent, name))]
            for path in (Path(parent, name) for name in sorted(names)):
                if not path.name.startswith("._") and path.is_file():
                    yield path
    except (OSError, ValueError) as error:  # ValueError: of a null character in the name
        name, why = (error.filename, error.strerror) if isinstance(error, OSError) else (folder, error)
        raise InputError(f"expected a folder that can be read, got {str(name)[:200]!r} ({why})") from error


def find_images(folder: str | Path) -> Found:
    """Find every image below a folder, but those in folders ``masks``; pairs are (image, image)."""
    images: list[Path] = []
    empty: list[Path] = []
    for path in walk(folder):
        if is_image_name(path) and path.parent.name != "masks":
            (images if path.stat().st_size else empty).append(path)
    return Found(Path(folder), [(path, path) for path in sorted(images)], {"empty files": empty})


def find_pairs(folder: str | Path) -> Found:
    """Find every image with a record below a folder."""
    records: list[Path] = []
    images: list[Path] = []
    out: dict[str, list[Path]] = defaultdict(list)
    for path in walk(folder):
        is_record = path.suffix.lower() == ".json"
        if is_record or (is_image_name(path) and path.parent.name != "masks"):
            whole = records if is_record else images
            (whole if path.stat().st_size else out["empty files"]).append(path)
    listings: dict[Path, dict[str, list[Path]]] = {}
    pairs: dict[Path, Path] = {}  # image → record
    others = []
    for record in sorted(records):
        image = _of_same_name(record, listings)
        if image is None:
            others.append(record)
        elif image in pairs:
            out["JSON files of an image that has another one"].append(record)
        else:
            pairs[image] = record
    for record in others:
        try:
            image = named_image(record, read_record(record).file_name, listings)
        except InputError:
            out["JSON files that are no records of an image"].append(record)
            continue
        if image is None or image in pairs:
            which = "without their image" if image is None else "of an image that has another one"
            out[f"JSON files {which}"].append(record)
        else:
            pairs[image] = record
    out["images without a JSON file"] = [path for path in sorted(images) if path not in pairs]
    return Found(Path(folder), sorted(((i, r) for i, r in pairs.items()), key=lambda pair: pair[1]), dict(out))


def find_records(folder: str | Path) -> list[tuple[Path, Path]]:
    """Return every (image, record) pair below ``folder``; raise ``InputError`` if there is none."""
    return some_pairs(find_pairs(folder)).pairs


def some_pairs(found: Found) -> Found:
    """``found`` with at least one pair."""
    if not found.pairs:
        _, _, why = found.describe().partition(": ")
        wanted = f"expected images and JSON files in SA-1B's schema below {found.folder}"
        raise InputError(f"{wanted}, got none{f' ({why})' if why else ''}")
    return found


def _places(record: Path) -> tuple[Path, ...]:
    return record.parent, record.parent / "images", record.parent.parent / "images"


def _composed(name: str) -> str:
    """A name with its accents in one form: a Mac may write them apart from their letters."""
    return unicodedata.normalize("NFC", name)


def _images(place: Path, listings: dict[Path, dict[str, list[Path]]]) -> dict[str, list[Path]]:
    """The images in a folder by their names without the ending; ``listings`` keeps them."""
    if place not in listings:
        listings[place] = defaultdict(list)
        try:
            names = sorted(os.listdir(place))
        except (OSError, ValueError):  # ValueError: of a null character
            names = []
        for path in (place / name for name in names):
            if is_image_name(path) and path.is_file() and path.stat().st_size:
                listings[place][_composed(path.stem)].append(path)
    return listings[place]


def _of_same_name(record: Path, listings: dict[Path, dict[str, list[Path]]]) -> Path | None:
    """The image that has the record's name; of several the one that it names, else the first ending of ``ENDINGS``."""
    for place in _places(record):
        same = _images(place, listings).get(_composed(record.stem), [])
        if len(same) > 1:
            try:
                name = Path(read_record(record).file_name).name
            except InputError:  # whoever reads the masks says so
                name = ""
            same = sorted(
                same, key=lambda path: (_composed(path.name) != _composed(name), ENDINGS.index(path.suffix.lower()))
            )
        if same:
            return same[0]
    return None


def named_image(record: Path, file_name: str, listings: dict[Path, dict[str, list[Path]]] | None = None) -> Path | None:
    """The image that a record names, in one of its places or in a folder there; None if there is none.

    The name may have folders, forwards or backwards; a path that leads elsewhere counts by its last part alone.
    """
    path = PurePosixPath(file_name.replace("\\", "/"))
    for relative in dict.fromkeys((path, PurePosixPath(path.name))):
        if not relative.name or relative.is_absolute() or ".." in relative.parts:
            continue
        for place in _places(record):
            same = _images(place / relative.parent, {} if listings is None else listings)
            name = _composed(relative.name)
            images = (image for image in same.get(_composed(relative.stem), []) if _composed(image.name) == name)
            image = next(images, None)
            if image is not None:
                return image
    return None


def read_json(path: Path, wanted: str = SCHEMA) -> Any:
    """What a JSON file holds, in any of Unicode's encodings, with or without a byte order mark.

    Raises ``InputError``, which says what is ``wanted``, for any other file and for one above ``MAX_BYTES``.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"{size} bytes of at most {MAX_BYTES}")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"expected {wanted}, got {path} ({reason(error)})") from error


def read_record(path: Path) -> Record:
    """The record in a JSON file of SA-1B's schema. The masks are checked where they are read (``read_counts``)."""
    values = read_json(path)
    annotations = values.get("annotations") if isinstance(values, dict) else None
    if not isinstance(annotations, list):
        what = "a table without a list of annotations" if isinstance(values, dict) else f"a {type(values).__name__}"
        raise InputError(f"expected {SCHEMA}, got {path}, {what}")
    for number, annotation in enumerate(annotations):
        if not (isinstance(annotation, dict) and isinstance(annotation.get("segmentation"), dict)):
            what = f"annotation {number} without run lengths (size and counts) as segmentation"
            raise InputError(f"expected {SCHEMA}, got {path}, {what}")
    image, images = values.get("image"), values.get("images")
    if isinstance(images, list):  # COCO's own form
        if len(images) != 1:
            raise InputError(f"expected a JSON file about one image, got {path}, about {len(images)}")
        image = images[0]
    name = image.get("file_name") if isinstance(image, dict) else None
    return Record(name if isinstance(name, str) else "", annotations)


def read_counts(segmentation: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """The run lengths of a mask, int64, from an annotation's segmentation.

    Parameters
    ----------
    segmentation : dict
        ``size`` [H, W] and ``counts``: COCO's text as str or bytes, or a list of whole numbers.
    size : tuple of int
        (H, W) of the image, upright.

    Raises
    ------
    InputError
        If the sizes differ, or the run lengths do not fill the image.
    """
    stored, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(stored, list | tuple) or [*stored] != [*size] or any(type(side) is not int for side in stored):
        upright = ", the upright image's size," if stored == [*size][::-1] else ""
        raise InputError(f"expected a mask of {list(size)}{upright or ','} got {stored!r:.60}")
    if isinstance(counts, str | bytes):
        return rle.from_string(counts, size)
    if not isinstance(counts, list):
        raise InputError(f"expected run lengths as text or a list, got {type(counts).__name__}")
    try:
        numbers = np.array(counts)
    except (ValueError, RecursionError, OverflowError):  # lists of several lengths among them
        numbers = np.array(None)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise InputError(f"expected run lengths as whole numbers, got {counts[:10]!s:.60}")
    return check_counts(numbers, size).astype(np.int64)


def read_all_counts(annotations: Sequence[dict[str, Any]], size: tuple[int, int], path: Path) -> list[np.ndarray]:
    """The run lengths of all annotations of an image of ``size`` (H, W); an error names the annotation and ``path``."""
    counts = []
    for number, annotation in enumerate(annotations):
        try:
            counts.append(read_counts(annotation["segmentation"], size))
        except InputError as error:
            raise InputError(f"{error} (annotation {number} of {path})") from error
    return counts


def decode_masks(annotations: Sequence[dict[str, Any]], size: tuple[int, int], path: Path) -> np.ndarray:
    """The masks of annotations of an image of ``size`` (H, W), bool (M, H, W); an error names ``path``."""
    counts = read_all_counts(annotations, size, path)
    masks = np.empty((len(counts), *size), bool)
    for mask, runs in zip(masks, counts):
        mask[...] = rle.decode(runs, size)
    return masks
