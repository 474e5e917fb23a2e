"""Reads what ``minisam pack`` writes (``pack`` says what such a file holds), and trusts none of it.

Opening a file checks its arrays and offsets (``read_pack``); every image's head and masks are checked before they are
used (``inflate_runs``), and before a training all of them (``Packed.check``).
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from minisam.checkpoints.other_files import what_it_is
from minisam.checkpoints.safetensors_file import read_safetensors
from minisam.files.images import reading
from minisam_kernels import InputError
from minisam_kernels.masks import rle
from minisam_kernels.runtime.errors import reason

MAX_RUNS = 1 << 25  # of an image's masks


class Packed:
    """One set of a packed file (``read_pack``); images are decoded, and runs inflated, when they are asked for."""

    def __init__(self, path: str | Path, number: int) -> None:
        self.path, self.number = Path(path), number
        self._map()
        self.name = self._names[number]
        self.indices = np.flatnonzero(self._arrays["sets"] == number)

    def _map(self) -> None:
        self._arrays, self._names = read_pack(self.path)

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

    def _label(self, index: int) -> str:
        return f"image {int(self.indices[index])} of {self.path}"

    def picture(self, index: int) -> Image.Image:
        with reading(self._label(index)), Image.open(io.BytesIO(self.content(index)), formats=["JPEG"]) as opened:
            return opened.convert("RGB")

    def _runs(self, index: int) -> tuple[tuple[int, int], list[np.ndarray]]:
        """Size (H, W) and the runs of each mask, checked."""
        with reading(self._label(index)):
            with Image.open(io.BytesIO(self.content(index)), formats=["JPEG"]) as opened:
                size = opened.size[::-1]
            return size, inflate_runs(self._piece("runs", index), size)

    def count(self, index: int) -> int:
        return len(self._runs(index)[1])

    def masks(self, index: int, chosen: Sequence[int]) -> np.ndarray:
        size, runs = self._runs(index)
        masks = np.empty((len(chosen), *size), bool)
        for mask, i in zip(masks, chosen):
            mask.T[...] = rle.decode(runs[i], size[::-1])
        return masks

    def check(self, bare: bool = False) -> None:
        """Raise ``InputError`` for an image whose head or masks are damaged, and for no mask at all unless ``bare``."""
        if not sum(self.count(index) for index in range(len(self))) and not bare:
            raise InputError(f"expected masks in the set {self.name} of {self.path}, got none")


def inflate_runs(piece: bytes, size: tuple[int, int]) -> list[np.ndarray]:
    """The runs of each mask of an image of ``size`` (H, W) in a packed file (``pack``), int64.

    Nothing is inflated before it is known how much: first the head, then the number of runs of each mask.
    Raises ``ValueError`` for runs that do not fill the image.
    """
    pixels = size[0] * size[1]
    head = np.frombuffer(zlib.decompressobj().decompress(piece, 12), "<u4").tolist()
    if head[:2] != [*size] or len(head) != 3 or head[2] > MAX_RUNS:
        raise ValueError(f"masks of {[*size]}, at most {MAX_RUNS}, got {head}")
    counts = np.frombuffer(zlib.decompressobj().decompress(piece, 12 + 4 * head[2]), "<u4")[3:].astype(np.int64)
    total = 3 + len(counts) + int(counts.sum())
    if len(counts) != head[2] or total > MAX_RUNS:
        raise ValueError(f"runs of {head[2]} masks, got {total - 3 - len(counts)} of {len(counts)}")
    inflater = zlib.decompressobj()
    text = inflater.decompress(piece, 4 * total + 1)
    if len(text) != 4 * total or not inflater.eof or inflater.unused_data:
        raise ValueError(f"{total} numbers of masks, got {len(text)} bytes")
    runs = np.split(np.frombuffer(text, "<u4")[3 + len(counts) :].astype(np.int64), np.cumsum(counts)[:-1])
    for mask, lengths in enumerate(runs[: len(counts)]):
        if lengths.sum() != pixels or not lengths[1:].all():
            raise ValueError(f"mask {mask} with runs above 0 that sum to {pixels}, got {lengths.sum()}")
    return runs[: len(counts)]


def read_pack(path: str | Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of a packed file, mapped, and the names of its sets.

    Raises ``InputError`` unless offsets rise within the file and every image belongs to a set. ``open_sources`` checks
    every image's head and masks as well; its pixels are decoded when they are asked for.
    """
    try:
        with open(path, "rb") as file:
            kind = what_it_is(Path(path), file.read(512))
        if kind:
            raise InputError(f"which is {kind}")
        arrays, notes = read_safetensors(Path(path))
        names = _set_names(notes["minisam_pack"], arrays)
    except KeyError as error:
        raise InputError(f"expected a folder or a file that minisam pack wrote, got {path}, without {error}") from error
    except Exception as error:  # whatever a damaged file makes json or numpy say
        received = f"{path} ({reason(error, 200)})"
        raise InputError(f"expected a folder or a file that minisam pack wrote, got {received}") from error
    return arrays, names


def _set_names(notes: str, arrays: dict[str, np.ndarray]) -> list[str]:
    """The names of a packed file's sets, if the file is whole."""
    sets = arrays["sets"]
    for kind, dtype in {"sets": "<i8", "jpegs_ends": "<i8", "runs_ends": "<i8", "jpegs": "|u1", "runs": "|u1"}.items():
        array = arrays[kind]
        if array.ndim != 1 or array.dtype != dtype or (array.size != sets.size and dtype == "<i8") or not array.size:
            raise InputError(f"expected {kind} of {dtype} and one axis, got {array.dtype} of {array.shape}")
    for kind in ("jpegs", "runs"):
        ends = arrays[f"{kind}_ends"]
        if not (ends[0] > 0 and (ends[1:] > ends[:-1]).all() and ends[-1] == arrays[kind].size):
            raise InputError(f"expected {kind}_ends that rise from above 0 to {arrays[kind].size}")
    entries = json.loads(notes)
    names = [entry["name"] for entry in entries]
    if not all(isinstance(name, str) for name in names):
        raise InputError("expected texts as names of the sets")
    numbers = np.unique(sets).tolist()
    if numbers != list(range(len(names))):
        raise InputError(f"expected images of each of {len(names)} sets, got numbers {numbers!s:.60}")
    return names
