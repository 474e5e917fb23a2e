"""A file of ``torch.save`` without torch, and without running what is in it.

Such a file (.pth, .pt, .bin) is a zip archive: ``data.pkl``, a pickle that says which tensors there are (read in
``pickle_program``), and one entry per storage with its bare numbers. Only the storages of the model's weights are
looked at: what stands beside them (an optimiser's moments, dates, NumPy's numbers) costs nothing.

The numbers of a large file are not read either: arrays are views of the file, mapped into memory (the system reads a
page when it is touched, and may forget it again). torch stores entries uncompressed; a deflated one is inflated.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minisam.checkpoints.mapped import file_bytes, widen_bfloat16
from minisam.checkpoints.names import first_names, is_sam, shorten
from minisam.checkpoints.pickle_program import Inert, Storage, Tensor, interpret
from minisam_kernels import InputError

BFLOAT16 = "bfloat16"
STORAGES = {
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch BFloat16Storage": BFLOAT16,
    "torch DoubleStorage": "<f8",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "|i1",
    "torch ByteStorage": "|u1",
    "torch BoolStorage": "|b1",
}
MAX_DIRECTORY = 1 << 20  # bytes of the zip archive's table of entries: room for 10,000
SPARE = 32 << 20  # bytes: with twice the file's size, what inflating, widening and repeating may come to
PARTS = ("image_encoder", "prompt_encoder", "mask_decoder")
AVERAGES = ("ema", "average", "swa", "shadow", "teacher")  # in a wrapper's name: taken where there is no other model
NO_WEIGHTS = ("optim", "sched", "scaler", "grad", "exp_avg", "moment")  # begin the names of what is passed over


class _Directory(io.BufferedReader):
    """A file for ``zipfile``, which reads the whole table of entries at once: not a gigantic one."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size and size > MAX_DIRECTORY:
            raise InputError(f"expected a table of entries of at most {MAX_DIRECTORY} bytes, got {size} in {self.name}")
        return super().read(size)


@dataclass
class _Archive:
    """The zip archive: ``storage`` gives an entry's numbers as a one-dimensional array, not copied where possible."""

    path: Path
    zip: zipfile.ZipFile
    bytes: np.ndarray
    root: str
    spent: int = 0  # bytes that were inflated or widened, or that repeated views come to
    raw: dict[str, np.ndarray] = field(default_factory=dict)
    wide: dict[str, np.ndarray] = field(default_factory=dict)

    def spend(self, count: int, what: str) -> None:
        """Refuse a small file that would become a large memory."""
        self.spent += count
        limit = 2 * self.bytes.size + SPARE
        if self.spent > limit:
            raise InputError(f"expected at most {limit} bytes of weights in {self.path}, got {self.spent} bytes {what}")

    def entry(self, name: str) -> np.ndarray:
        """The bytes of an entry, uint8 (n,): a view of the file, or inflated."""
        try:
            info = self.zip.getinfo(self.root + name)
        except KeyError:
            raise InputError(f"expected an entry {shorten(name)!r} in {self.path}, got none") from None
        start = info.header_offset
        head = self.bytes[start : start + 30].tobytes()
        signature, flags, name_length, extra_length = struct.unpack("<4s2xH18xHH", head)
        start += 30 + name_length + extra_length
        damaged = f"expected a whole checkpoint, got {self.path}, whose entry {shorten(info.filename)!r} is damaged"
        if signature != b"PK\x03\x04" or flags & 1 or start + info.compress_size > self.bytes.size:
            raise InputError(damaged)
        data = self.bytes[start : start + info.compress_size]
        if info.compress_type == zipfile.ZIP_DEFLATED:
            self.spend(info.file_size, "inflated")
            data = np.frombuffer(zlib.decompressobj(-15).decompress(data.data, info.file_size + 1), np.uint8)
        elif info.compress_type != zipfile.ZIP_STORED:
            raise InputError(f"expected entries stored or deflated in {self.path}, got type {info.compress_type}")
        if data.size != info.file_size:
            raise InputError(damaged)
        return data

    def storage(self, storage: Storage) -> np.ndarray:
        """The numbers of a storage. bfloat16 comes as float32."""
        kind, key, count = storage.kind, storage.key, storage.count
        if kind not in STORAGES:
            wanted = ", ".join(name.removeprefix("torch ").removesuffix("Storage") for name in STORAGES)
            raise InputError(f"expected numbers of type {wanted} in {self.path}, got {shorten(kind)}")
        dtype = STORAGES[kind]
        if key not in self.raw:
            self.raw[key] = self.entry(f"data/{key}")
        size = 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize
        if count < 0 or count * size > self.raw[key].size:
            received = f"{self.raw[key].size} bytes of {count * size}"
            raise InputError(f"expected the whole storage {shorten(key)!r} in {self.path}, got {received}")
        numbers: np.ndarray = np.ndarray((count,), "<u2" if dtype == BFLOAT16 else dtype, self.raw[key])
        if dtype != BFLOAT16:
            return numbers
        if key not in self.wide or self.wide[key].size < count:
            self.spend(4 * count, "widened to float32")
            self.wide[key] = widen_bfloat16(numbers)
        return self.wide[key][:count]

    def tensor(self, name: str, tensor: Tensor) -> np.ndarray:
        """A view of its storage, which it must stay inside. It may repeat numbers (strides of 0)."""
        size, stride, offset = tensor.size, tensor.stride, tensor.offset
        storage = self.storage(tensor.storage)
        if not (len(size) == len(stride) <= 32 and min(offset, *size, *stride, 0) >= 0):
            raise InputError(f"expected sizes and strides of {shorten(name)} in {self.path}, got others")
        count, last = math.prod(size), offset + sum((n - 1) * step for n, step in zip(size, stride))
        if count == 0:
            return np.zeros(size, storage.dtype)
        if last >= storage.size:
            received = f"{size} from {offset} by {stride}"
            raise InputError(f"expected {shorten(name)} inside {storage.size} numbers in {self.path}, got {received}")
        self.spend(max(0, count - storage.size) * 4, "of repeated numbers")
        steps = [step * storage.itemsize for step in stride]
        return np.ndarray(size, storage.dtype, storage, offset * storage.itemsize, steps)


def _tensors(values: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _dicts(content: Any) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """(Where it stands, a dict that holds tensors) for all down to the fourth level, from the outside inwards."""
    queue: list[tuple[tuple[str, ...], Any]] = [((), content)]
    seen: set[int] = set()
    for where, value in queue:  # which grows meanwhile
        if id(value) in seen or len(where) > 4 or len(seen) > 1000:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            parts = {key: item for key, item in value.items() if key in PARTS and isinstance(item, dict)}
            if len(parts) > 1:  # the parts of a model, each with its own dict
                value = {f"{part}.{name}": item for part, items in parts.items() for name, item in items.items()}
            if _tensors(value):
                yield where, value
            inner = [(key, item) for key, item in value.items() if not key.lower().startswith(NO_WEIGHTS)]
        else:
            inner = [(str(i), item) for i, item in enumerate(value)]
        queue += [((*where, key), item) for key, item in inner if isinstance(item, dict | list | tuple)][:1000]


def _describe(value: Any) -> str:
    """What something else than a tensor is."""
    if isinstance(value, Inert):
        return f"an object {shorten(value.name.replace(' ', '.'))}"
    return f"a {'text' if isinstance(value, bytes) else type(value).__name__}"


def _choose(content: Any, path: Path) -> dict[str, Tensor]:
    """The one dict of weights in what a file holds, under whatever names it is wrapped in."""
    if not isinstance(content, dict | list | tuple):
        advice = "; torch.save(its state_dict(), new) keeps what is needed" if isinstance(content, Inert) else ""
        raise InputError(f"expected a dict of tensors in {path}, got {_describe(content)}{advice}")
    found = list(_dicts(content))
    models = [(where, value) for where, value in found if any(map(is_sam, _tensors(value)))]
    plain = [m for m in models if not any(word in key.lower() for key in m[0] for word in AVERAGES)]
    if models:
        (first, weights), *others = plain or models
        differ = [where for where, value in others if _tensors(value) != _tensors(weights)]
        if differ:
            both = " and ".join(shorten(".".join(where) or "the outermost dict") for where in (first, differ[0]))
            raise InputError(f"expected one model in {path}, got two, {both}: torch.save the wanted one alone")
    elif found:
        weights = max((value for _, value in found), key=lambda value: len(_tensors(value)))
    else:
        inside = first_names(content) if isinstance(content, dict) else _describe(content)
        raise InputError(f"expected a dict of tensors in {path}, got none (there is: {inside or 'nothing'})")
    for name, value in weights.items():
        if is_sam(name) and not isinstance(value, Tensor):
            raise InputError(f"expected tensors in {path}, got {_describe(value)} as {shorten(name)}")
    tensors = _tensors(weights)
    if models:  # a step or a loss beside the weights is no weight
        tensors = {name: tensor for name, tensor in tensors.items() if "." in name or tensor.size}
    return tensors


def read_torch_file(path: Path, copy: bool = False) -> dict[str, np.ndarray]:
    """The weights in a ``torch.save`` file as read-only arrays on the mapped file, by name.

    A dict of tensors, or one that holds it under other names (``model``, ``state_dict``, …). float16, float32, float64
    and whole numbers keep their type; bfloat16 becomes float32.
    """
    with _Directory(io.FileIO(path)) as file, zipfile.ZipFile(file) as opened:
        names = opened.namelist()
        pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl" and name.count("/") <= 1]
        if len(pickles) != 1:
            received = f"{path} with {_contents(names)}"
            raise InputError(f"expected a checkpoint of torch.save with one data.pkl, got {received}")
        root = pickles[0].removesuffix("data.pkl")
        if root + "constants.pkl" in names:
            advice = "torch.save(torch.jit.load(old).state_dict(), new) writes its weights"
            raise InputError(f"expected a checkpoint of torch.save, got {path}, a TorchScript program: {advice}")
        archive = _Archive(path, opened, file_bytes(path, copy), root)
        if root + "byteorder" in names and archive.entry("byteorder").tobytes() != b"little":
            raise InputError(f"expected numbers in little-endian order in {path}, got another order")
        try:
            content = interpret(archive.entry("data.pkl").data, archive.bytes.size)
        except InputError as error:
            raise InputError(f"{error} in {path}") from None
        except (ValueError, KeyError, IndexError, TypeError) as error:  # of a program that is none
            raise InputError(f"expected a whole checkpoint, got {path}, whose data.pkl is damaged ({error})") from error
        return {name: archive.tensor(name, value) for name, value in _choose(content, path).items()}


def _contents(names: list[str]) -> str:
    """What a zip archive that is no checkpoint holds."""
    inside = [name for name in names if name.endswith((".pth", ".pt", ".bin", ".safetensors", ".ckpt"))]
    if inside:
        return f"the packed file {shorten(inside[0])}: unpack it first"
    if names and all(name.endswith(".npy") for name in names):
        return "NumPy arrays (.npz)"
    return f"none but {first_names(names)}" if names else "nothing in it"
