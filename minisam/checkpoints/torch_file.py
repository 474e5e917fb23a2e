"""A file of ``torch.save`` without torch, and without running what is in it.

Such a file (.pth, .pt, .bin) is a zip archive: ``data.pkl``, a pickle that says which tensors there are, and one entry
per storage with its bare numbers. A pickle is a program, and Python's unpickler runs it: it may call any function there
is. So nothing is unpickled here. ``pickletools`` splits ``data.pkl`` into instructions, and the few that
``torch.save`` needs for a dict of tensors are carried out by :func:`_interpret`. None of them looks a name up in a
module: the only names known are those in ``FUNCTIONS`` and ``STORAGES``, and they are compared as text.

The numbers are not read either: arrays are views of the file, mapped into memory (the system reads a page when it is
touched, and may forget it again). torch stores entries uncompressed; a deflated one is read and inflated.
"""

from __future__ import annotations

import math
import pickletools
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minisam_kernels import InputError

FUNCTIONS = {
    "collections OrderedDict": "dict",
    "torch._utils _rebuild_tensor_v2": "tensor",
    "torch._utils _rebuild_parameter": "parameter",
}
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
MAX_PICKLE = 64 << 20  # bytes of data.pkl; ViT-H's has a tenth of a megabyte
MAX_INFLATED = 4 << 30  # bytes of compressed entries in all
_MARK = object()


@dataclass(frozen=True)
class _Name:
    """A function or a storage class that the pickle names. Inert: it only carries its name."""

    text: str


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 as uint16 → float32, exactly: it is the upper half of a float32. NumPy has no bfloat16."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


@dataclass
class _Archive:
    """The zip archive: ``storage`` gives an entry's numbers as a one-dimensional array, not copied where possible."""

    path: Path
    zip: zipfile.ZipFile
    bytes: np.ndarray
    root: str
    inflated: int = 0
    seen: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def entry(self, name: str) -> np.ndarray:
        """The bytes of an entry, uint8 (n,): a view of the file, or inflated."""
        info = self.zip.getinfo(self.root + name)
        if info.compress_type != zipfile.ZIP_STORED:
            self.inflated += info.file_size
            if self.inflated > MAX_INFLATED:
                raise InputError(f"expected at most {MAX_INFLATED >> 30} GiB inflated, got more in {self.path}")
            return np.frombuffer(self.zip.read(info), np.uint8)
        start = info.header_offset
        header = self.bytes[start : start + 30].tobytes()
        signature, flags, name_length, extra_length = struct.unpack("<4s2xH18xHH", header)
        start += 30 + name_length + extra_length
        if signature != b"PK\x03\x04" or flags & 1 or start + info.file_size > self.bytes.size:
            raise InputError(f"expected a whole checkpoint, got {self.path}, whose entry {info.filename!r} is damaged")
        return self.bytes[start : start + info.file_size]

    def storage(self, kind: Any, key: Any, count: Any) -> np.ndarray:
        """The storage ``key``: ``count`` numbers of the type that ``kind`` names. bfloat16 comes as float32."""
        if not (isinstance(kind, _Name) and kind.text in STORAGES and isinstance(key, str) and isinstance(count, int)):
            raise InputError(f"expected storages of numbers in {self.path}, got another kind of object")
        dtype = STORAGES[kind.text]
        if (key, dtype) not in self.seen:
            raw = self.entry(f"data/{key}")
            size = 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize
            if count < 0 or count * size > raw.size:
                raise InputError(f"expected {count * size} bytes in storage {key!r} of {self.path}, got {raw.size}")
            numbers: np.ndarray = np.ndarray((count,), "<u2" if dtype == BFLOAT16 else dtype, raw)
            self.seen[key, dtype] = widen_bfloat16(numbers) if dtype == BFLOAT16 else numbers
        return self.seen[key, dtype]


def _tensor(path: Path, storage: Any, offset: Any, size: Any, stride: Any) -> np.ndarray:
    """A view of ``storage``; ``offset`` and ``stride`` count numbers, as torch does, and must stay inside it."""
    tuples = isinstance(size, tuple) and isinstance(stride, tuple)
    whole = tuples and all(isinstance(n, int) and n >= 0 for n in (offset, *size, *stride))
    if not (isinstance(storage, np.ndarray) and whole):
        raise InputError(f"expected tensors of a storage, an offset, a size and strides in {path}, got another object")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    count = math.prod(size)
    if len(size) != len(stride) or len(size) > 32 or count > storage.size or (count and last >= storage.size):
        raise InputError(f"expected a tensor inside its storage of {storage.size} in {path}, got {size} from {offset}")
    if count == 0:
        return np.zeros(size, storage.dtype)
    steps = [step * storage.itemsize for step in stride]
    return np.ndarray(size, storage.dtype, storage, offset * storage.itemsize, steps)


def _call(archive: _Archive, function: Any, arguments: Any) -> Any:
    """The three calls that a dict of tensors needs."""
    kind = FUNCTIONS.get(function.text) if isinstance(function, _Name) else None
    if kind == "dict" and arguments == ():
        return {}
    if kind == "tensor" and isinstance(arguments, tuple) and len(arguments) >= 4:
        return _tensor(archive.path, *arguments[:4])
    if kind == "parameter" and isinstance(arguments, tuple) and arguments and isinstance(arguments[0], np.ndarray):
        return arguments[0]
    raise InputError(f"expected only tensors in {archive.path}, got another object; nothing in it was run")


def _interpret(archive: _Archive, program: bytes) -> Any:
    """Carry out the instructions of a pickle that holds dicts, lists, texts, numbers and tensors; refuse all others."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    refusal = f"expected only tensors in {archive.path}, got"

    def pop_to_mark() -> list[Any]:
        start = len(stack) - 1
        while stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise ValueError("no mark on the stack")
        items = stack[start + 1 :]
        del stack[start:]
        return items

    def set_items(items: list[Any]) -> None:
        if not isinstance(stack[-1], dict) or not all(isinstance(key, str | int) for key in items[::2]):
            raise InputError(f"expected dicts with names as keys in {archive.path}, got another kind of key")
        stack[-1].update(zip(items[::2], items[1::2], strict=True))

    for opcode, value, _ in pickletools.genops(program):
        argument: Any = value
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                stack.append(_MARK)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINUNICODE":
                stack.append(argument)
            case "TUPLE":
                stack.append(tuple(pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "APPEND" | "APPENDS":
                items = pop_to_mark() if opcode.name == "APPENDS" else [stack.pop()]
                if not isinstance(stack[-1], list):
                    raise ValueError("no list to append to")
                stack[-1].extend(items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                set_items([key, value])
            case "SETITEMS":
                set_items(pop_to_mark())
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL" | "STACK_GLOBAL":
                if opcode.name == "STACK_GLOBAL":
                    name, module = stack.pop(), stack.pop()
                    argument = f"{module} {name}" if isinstance(name, str) and isinstance(module, str) else "?"
                if argument not in FUNCTIONS and argument not in STORAGES:
                    name = str(argument).replace(" ", ".")[:100]
                    raise InputError(f"{refusal} the forbidden name {name!r}; nothing was run")
                stack.append(_Name(argument))
            case "BINPERSID":
                where = stack.pop()
                if not (isinstance(where, tuple) and len(where) == 5 and where[0] == "storage"):
                    raise InputError(f"expected references to storages in {archive.path}, got something else")
                stack.append(archive.storage(where[1], where[2], where[4]))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_call(archive, function, arguments))
            case "BUILD":  # the attributes of a dict (its _metadata): of no use here
                stack.pop()
                if not isinstance(stack[-1], dict):
                    raise InputError(f"{refusal} an object with a state; nothing was run")
            case "STOP":
                return stack.pop()
            case _:
                raise InputError(f"{refusal} the instruction {opcode.name}; nothing was run")
    raise ValueError("no end of the pickle")


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a ``torch.save`` file as read-only arrays on the mapped file, by name.

    A dict of tensors, or one that holds it as ``model`` or ``state_dict``. float16, float32, float64 and whole numbers
    keep their type; bfloat16 becomes float32. The file must stay as it is while the arrays are in use.
    """
    with zipfile.ZipFile(path) as opened:
        pickles = [name for name in opened.namelist() if name.rpartition("/")[2] == "data.pkl" and name.count("/") <= 1]
        if len(pickles) != 1:
            raise InputError(f"expected a checkpoint of torch.save with one data.pkl, got {path} with {len(pickles)}")
        archive = _Archive(path, opened, np.memmap(path, np.uint8, "r"), pickles[0].removesuffix("data.pkl"))
        if archive.root + "byteorder" in opened.namelist() and archive.entry("byteorder").tobytes() != b"little":
            raise InputError(f"expected numbers in little-endian order in {path}, got another order")
        if opened.getinfo(pickles[0]).file_size > MAX_PICKLE:
            raise InputError(f"expected a data.pkl of at most {MAX_PICKLE >> 20} MiB in {path}, got a longer one")
        content = _interpret(archive, opened.read(pickles[0]))
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(isinstance(value, np.ndarray) for value in content.values()):
        raise InputError(f"expected a dict of tensors in {path}, got something else")
    return {str(name): value for name, value in content.items()}
