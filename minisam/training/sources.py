"""Real images with masks come from here: folders in SA-1B's schema, folders of bare images, packed files.

A folder in SA-1B's schema holds JSON files, each with ``image`` (``file_name``, ``width``, ``height``) and
``annotations``, whose ``segmentation`` is a run-length code in COCO's form; and the images, beside the JSON files or
in a folder ``images`` next to theirs. A packed file holds several such folders, smaller, for carrying to another
machine (``pack``).
"""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from minisam_kernels import InputError

ENDINGS = (".jpg", ".jpeg", ".png")
CHECKED = 5000  # records whose schema is checked before a training begins


class Source(Protocol):
    """A set of images. Masks are asked for by number, so that only those that are used are decoded."""

    name: str

    def __len__(self) -> int: ...

    def picture(self, index: int) -> Image.Image:
        """Read an image as RGB."""
        ...

    def held_out(self, every: int) -> range | list[int]:
        """Return the numbers that a training with this ``hold_out`` never shows: every so many, from 0 on."""
        ...

    def content(self, index: int) -> bytes:
        """Return the bytes of the image's file: an image with the same bytes is a copy."""
        ...

    def count(self, index: int) -> int:
        """Return how many masks the image has."""
        ...

    def masks(self, index: int, chosen: Sequence[int]) -> np.ndarray:
        """Decode the chosen masks → bool (len(chosen), H, W), of the image's size."""
        ...


def find_records(folder: str | Path) -> list[tuple[Path, Path]]:
    """Return every (image, JSON) pair below ``folder``, sorted by name."""
    pairs = _pairs(Path(folder))
    if not pairs:
        raise InputError(f"expected images and JSON files in SA-1B's schema below {folder}, got none")
    return pairs


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    pairs = []
    for record in sorted(folder.rglob("*.json")):
        for beside in (record.parent, record.parent.parent / "images"):
            names = (beside / (record.stem + ending) for ending in ENDINGS)
            picture = next((name for name in names if name.exists()), None)
            if picture:
                pairs.append((picture, record))
                break
    return pairs


def read_record(record: Path) -> list[dict[str, Any]]:
    """Read the annotations of a JSON file in SA-1B's schema."""
    try:
        values = json.loads(record.read_text(encoding="utf-8"))
        annotations = values["annotations"]
        codes = [annotation["segmentation"] for annotation in annotations]
        fine = all(len(code["size"]) == 2 and isinstance(code["counts"], str) for code in codes)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"expected a JSON file in SA-1B's schema, got {record} ({error!r})") from error
    if not fine:
        raise InputError(f"expected run-length codes as text in {record}, got something else")
    return annotations


def decode_masks(segmentations: Sequence[dict[str, Any]]) -> np.ndarray:
    """Decode COCO run-length codes (``size`` [height, width], ``counts`` text) → bool (M, H, W)."""
    from pycocotools import mask as coco

    return np.moveaxis(coco.decode(list(segmentations)), -1, 0).astype(bool)


def resize_masks(masks: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """Cut ``box`` (x0, y0, x1, y1) out of masks (M, H, W) and resize it to ``size`` (width, height).

    A pixel is in a mask if the mask covers more than half of it.
    """
    pictures = (Image.fromarray(mask.view(np.uint8) * 255) for mask in masks)
    small = [np.asarray(p.resize(size, Image.Resampling.BILINEAR, box=box)) > 127 for p in pictures]
    return np.stack(small) if small else np.zeros((0, size[1], size[0]), bool)


def kept_numbers(sources: Sequence[Source], every: int) -> list[np.ndarray]:
    """Return each set's numbers that are trained on: all but those held out and their copies in any set (0: all).

    An image and its copy must come from the same kind of source to be known as such: two folders, or a packed file.
    """
    if not every:
        return [np.arange(len(source)) for source in sources]
    secret = {hashlib.sha256(source.content(i)).digest() for source in sources for i in source.held_out(every)}
    kept = []
    for source in sources:
        seen = [i for i in range(len(source)) if hashlib.sha256(source.content(i)).digest() not in secret]
        if not seen:
            wanted = f"more images in each set than --hold-out {every} leaves out"
            raise InputError(f"expected {wanted}, got {len(source)}")
        kept.append(np.array(seen))
    return kept


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as opened:
            yield opened
    except (OSError, SyntaxError) as error:
        raise InputError(f"expected an image, got {path}, which cannot be read ({error})") from error


def _size(path: Path) -> tuple[int, int]:
    """Read width and height from the head of the file."""
    with _opened(path) as opened:
        return opened.size


class Files:
    """A set of images that are files of their own."""

    def __init__(self, folder: str | Path, pictures: list[Path]) -> None:
        self.name, self.pictures = Path(folder).name, pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def picture(self, index: int) -> Image.Image:
        with _opened(self.pictures[index]) as opened:
            return opened.convert("RGB")

    def held_out(self, every: int) -> range | list[int]:
        return range(0, len(self), every)

    def content(self, index: int) -> bytes:
        return self.pictures[index].read_bytes()


class Folder(Files):
    """A folder in SA-1B's schema."""

    def __init__(self, folder: str | Path) -> None:
        self.records = find_records(folder)
        super().__init__(folder, [picture for picture, _ in self.records])
        self._last: tuple[int, list[dict[str, Any]]] = (-1, [])

    def _annotations(self, index: int) -> list[dict[str, Any]]:
        """Return those of one record; the last one is kept, since it is asked for twice."""
        if self._last[0] != index:
            self._last = index, read_record(self.records[index][1])
        return self._last[1]

    def count(self, index: int) -> int:
        return len(self._annotations(index))

    def masks(self, index: int, chosen: Sequence[int]) -> np.ndarray:
        picture, record = self.records[index]
        codes = [self._annotations(index)[i]["segmentation"] for i in chosen]
        width, height = _size(picture)
        wrong = [code["size"] for code in codes if list(code["size"]) != [height, width]]
        if wrong:
            raise InputError(f"expected masks of [{height}, {width}] like {picture.name}, got {wrong[0]} in {record}")
        return decode_masks(codes) if codes else np.zeros((0, height, width), bool)

    def check(self) -> None:
        """Read the first records and raise ``InputError`` for what training would stumble over later."""
        for picture, record in self.records[:CHECKED]:
            sizes = {tuple(annotation["segmentation"]["size"]) for annotation in read_record(record)}
            width, height = _size(picture)
            if sizes - {(height, width)}:
                other = sorted(sizes - {(height, width)})[0]
                raise InputError(f"expected masks of {(height, width)} like {picture.name}, got {other} in {record}")


class BareFolder(Files):
    """A set of images without masks, for pretraining; what lies in a folder ``masks`` is none of them."""

    def __init__(self, folder: str | Path) -> None:
        below = (path for path in Path(folder).rglob("*") if path.suffix.lower() in ENDINGS)
        super().__init__(folder, sorted(path for path in below if path.parent.name != "masks"))
        if not self.pictures:
            raise InputError(f"expected images ({', '.join(ENDINGS)}) below {folder}, got none")
        self.folder = Path(folder)

    def held_out(self, every: int) -> range | list[int]:
        """Hold out what ``Folder`` holds out, if some of the images have masks."""
        number = {path: i for i, path in enumerate(self.pictures)}
        pairs = _pairs(self.folder)
        return [number[path] for path, _ in pairs[::every] if path in number] if pairs else super().held_out(every)


class Packed:
    """One set of a packed file: JPEG images and zlib-compressed run lengths, read from the mapped file."""

    def __init__(self, path: str | Path, number: int) -> None:
        self.path, self.number = Path(path), number
        self._map()
        self.name = str(self._names[number])
        self.indices = np.flatnonzero(self._arrays["sets"] == number)

    def _map(self) -> None:
        from minisam.checkpoints.safetensors_file import read_safetensors

        self._arrays, notes = read_safetensors(self.path)
        if "minisam_pack" not in notes:
            raise InputError(f"expected a file that minisam pack wrote, got {self.path}")
        self._names = [entry["name"] for entry in json.loads(notes["minisam_pack"])]

    def __getstate__(self) -> dict[str, Any]:  # workers map the file themselves
        return {key: value for key, value in self.__dict__.items() if key not in ("_arrays", "_names")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    def __len__(self) -> int:
        return len(self.indices)

    def _piece(self, kind: str, index: int) -> bytes:
        at, ends = int(self.indices[index]), self._arrays[f"{kind}_ends"]
        return self._arrays[kind][int(ends[at - 1]) if at else 0 : int(ends[at])].tobytes()

    def held_out(self, every: int) -> range:
        return range(0, len(self), every)

    def content(self, index: int) -> bytes:
        return self._piece("jpegs", index)

    def picture(self, index: int) -> Image.Image:
        with Image.open(io.BytesIO(self._piece("jpegs", index))) as opened:
            return opened.convert("RGB")

    def _runs(self, index: int) -> np.ndarray:
        return np.frombuffer(zlib.decompress(self._piece("runs", index)), "<u4")

    def count(self, index: int) -> int:
        return int(self._runs(index)[2])

    def masks(self, index: int, chosen: Sequence[int]) -> np.ndarray:
        runs = self._runs(index)
        height, width, count = (int(value) for value in runs[:3])
        ends = 3 + count + np.cumsum(runs[3 : 3 + count], dtype=np.int64)
        masks = np.empty((len(chosen), height, width), bool)
        for mask, i in zip(masks, chosen):
            lengths = runs[ends[i] - int(runs[3 + i]) : ends[i]]
            values = np.arange(len(lengths)) % 2 == 1
            mask[...] = np.repeat(values, lengths).reshape(height, width)
        return masks


def pack_names(path: str | Path) -> list[str]:
    """Return the names of the sets in a packed file."""
    from minisam.checkpoints.checkpoint import read_checkpoint

    notes = read_checkpoint(path).metadata
    if "minisam_pack" not in notes:
        raise InputError(f"expected a folder or a file that minisam pack wrote, got {path}")
    return [entry["name"] for entry in json.loads(notes["minisam_pack"])]


def open_sources(path: str | Path, bare: bool = False) -> list[Any]:
    """Open the sets in a folder (one) or a packed file; ``bare``: images are enough."""
    if Path(path).is_file():
        return [Packed(path, number) for number in range(len(pack_names(path)))]
    return [BareFolder(path) if bare else Folder(path)]
