"""Real images with masks come from here: folders in SA-1B's schema, folders of bare images, packed files.

``files.records`` says what a folder in SA-1B's schema is. A packed file holds several such folders, smaller, for
carrying to another machine (``pack``). Images are upright, as ``read_image`` reads them, and so are their masks.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from PIL import Image

from minisam.files.images import ENDINGS, image_size, nearly_black, read_image
from minisam.files.records import (
    Found,
    count_names,
    decode_masks,
    find_images,
    find_pairs,
    named_image,
    read_all_counts,
    read_record,
    some_pairs,
)
from minisam.training.packed import Packed, read_pack
from minisam_kernels import InputError

WITHOUT_MASKS, NAMED_OTHER = "images without a mask", "images whose JSON file names another one that lies there"
CHECKED = 5000  # images of a set whose size and masks are checked before a training begins


class Source(Protocol):
    """A set of images. Masks are asked for by number, so that only those that are used are decoded."""

    name: str

    def __len__(self) -> int: ...

    def picture(self, index: int) -> Image.Image:
        """Read an image as RGB, upright."""

    def held_out(self, every: int) -> range | list[int]:
        """Return the numbers that a training with this ``hold_out`` never shows: every so many, from 0 on."""

    def content(self, index: int) -> bytes:
        """Return the bytes of the image's file: an image with the same bytes is a copy."""

    def count(self, index: int) -> int:
        """Return how many masks the image has."""

    def masks(self, index: int, chosen: Sequence[int]) -> np.ndarray:
        """Decode the chosen masks → bool (len(chosen), H, W), of the image's size."""


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


class Files:
    """A set of images that are files of their own; ``stretch`` is ``read_image``'s."""

    def __init__(self, found: Found, stretch: str | None = None) -> None:
        self.name, self.found, self.stretch = found.folder.absolute().name, found, stretch
        self.pictures = [picture for picture, _ in found.pairs]

    def __len__(self) -> int:
        return len(self.pictures)

    def picture(self, index: int) -> Image.Image:
        return Image.fromarray(read_image(self.pictures[index], self.stretch))

    def held_out(self, every: int) -> range | list[int]:
        return range(0, len(self), every)

    def content(self, index: int) -> bytes:
        return self.pictures[index].read_bytes()

    def check(self) -> None:
        """Check the first images, and say on stderr what of the folder is left out, and what is odd.

        Raises ``InputError`` for what training would stumble over later.
        """
        odd: dict[str, list[Path]] = defaultdict(list)
        checked = range(min(len(self), CHECKED))
        for index in checked:
            odd[self._check(index)].append(self.pictures[index])
        odd.pop("", None)
        if len(odd[WITHOUT_MASKS]) == len(checked):
            raise InputError(f"expected masks in the JSON files below {self.found.folder}, got none")
        lines = [self.found.describe(), count_names(odd) and f"{self.found.folder}: {count_names(odd)}"]
        dark = nearly_black(read_image(self.pictures[0], self.stretch))
        lines.append(f"{self.pictures[0]}: {dark}, an option of minisam pack" if dark else "")
        print(*filter(None, lines), sep="\n", end="\n" * any(lines), file=sys.stderr)

    def _check(self, index: int) -> str:
        """Check an image and return what is odd about it, or nothing."""
        image_size(self.pictures[index])
        return ""


class Folder(Files):
    """A folder in SA-1B's schema."""

    def __init__(self, folder: str | Path, stretch: str | None = None) -> None:
        super().__init__(some_pairs(find_pairs(folder)), stretch)
        self.records = self.found.pairs
        self._last: tuple[int, list[dict[str, Any]], tuple[int, int]] = (-1, [], (0, 0))
        self._listings: dict[Path, dict[str, list[Path]]] = {}

    def _read(self, index: int) -> tuple[list[dict[str, Any]], tuple[int, int]]:
        """Return annotations and size (H, W) of one image; the last ones are kept, since they are asked for again."""
        if self._last[0] != index:
            picture, record = self.records[index]
            self._last = index, read_record(record).annotations, image_size(picture)
        return self._last[1:]

    def count(self, index: int) -> int:
        return len(self._read(index)[0])

    def masks(self, index: int, chosen: Sequence[int]) -> np.ndarray:
        annotations, size = self._read(index)
        return decode_masks([annotations[i] for i in chosen], size, self.records[index][1])

    def _check(self, index: int) -> str:
        picture, path = self.records[index]
        record = read_record(path)
        read_all_counts(record.annotations, image_size(picture), path)
        if PurePosixPath(record.file_name).name != picture.name:
            named = named_image(path, record.file_name, self._listings)
            if named is not None and named.name != picture.name:
                return NAMED_OTHER
        return "" if record.annotations else WITHOUT_MASKS


class BareFolder(Files):
    """A set of images without masks, for pretraining; what lies in a folder ``masks`` is none of them."""

    def __init__(self, folder: str | Path, stretch: str | None = None) -> None:
        super().__init__(find_images(folder), stretch)
        if not self.pictures:
            raise InputError(f"expected images ({', '.join(ENDINGS)}) below {folder}, got none")

    def held_out(self, every: int) -> range | list[int]:
        """Hold out what ``Folder`` holds out, if some of the images have masks."""
        number = {path: i for i, path in enumerate(self.pictures)}
        pairs = find_pairs(self.found.folder).pairs
        return [number[path] for path, _ in pairs[::every] if path in number] if pairs else super().held_out(every)


_checked: set[tuple[Any, ...]] = set()  # packed files that this process has found whole


def open_sources(path: str | Path, bare: bool = False) -> list[Any]:
    """Open the sets in a folder (one) or a packed file; ``bare``: images are enough."""
    if os.path.isdir(path):
        return [BareFolder(path) if bare else Folder(path)]
    if not os.path.isfile(path):
        reason = "which is neither" if os.path.exists(path) else "which does not exist"
        raise InputError(f"expected a folder or a packed file, got {str(path)[:200]}, {reason}")
    packed = [Packed(path, number) for number in range(len(read_pack(path)[1]))]
    status = os.stat(path)
    key = (str(path), status.st_ino, status.st_mtime_ns, status.st_size, bare)
    if key not in _checked:
        for source in packed:
            source.check(bare)
        _checked.add(key)
    return packed
