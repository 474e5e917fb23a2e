"""The safetensors format: read as views of the mapped file, written with the same bytes for the same content.

Eight bytes with the header's length n, then n bytes of JSON (name → dtype, shape, data_offsets), then the numbers. The
library's reader has no bfloat16 for NumPy; its writer (0.8.0) writes the numbers of a transposed array in another order
than its shape says, and metadata in a random order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minisam.checkpoints.mapped import file_bytes, widen_bfloat16
from minisam.checkpoints.names import shorten
from minisam.files.atomic import atomic
from minisam_kernels import InputError

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2"}
DTYPES |= {"U64": "<u8", "U32": "<u4", "U16": "<u2", "I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items() if name != "BF16"}
MAX_HEADER = 1 << 20, 1 << 24  # bytes that any file's header may have, and a file of half a gigabyte


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number in JSON")


def _whole(*values: Any) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 63 for value in values)


def _header(data: np.ndarray, path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """(The header's table, the bytes after it)."""
    length = int.from_bytes(data[:8].tobytes(), "little")
    if data.size < 8 or 8 + length > data.size:
        raise InputError(f"expected a safetensors header inside {path} of {data.size} bytes, got one of {length} bytes")
    limit = min(max(MAX_HEADER[0], data.size // 32), MAX_HEADER[1])
    if length > limit:
        raise InputError(f"expected a header of at most {limit} bytes in {path}, got one of {length} bytes")
    text = data[8 : 8 + length].tobytes().decode()
    header = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    if not isinstance(header, dict):
        raise InputError(f"expected a table of tensors in {path}, got something else")
    return header, data[8 + length :]


def read_safetensors(path: Path, copy: bool = False) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays by name, metadata). Arrays are read-only views of the file; bfloat16 becomes float32."""
    header, numbers = _header(file_bytes(path, copy), path)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InputError(f"expected texts as metadata in {path}, got something else")
    arrays, pieces = {}, []
    for name, entry in header.items():
        shown = repr(shorten(name))
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise InputError(f"expected dtype, shape and data_offsets of {shown} in {path}, got something else")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise InputError(f"expected {shown} as one of {', '.join(DTYPES)} in {path}, got {str(dtype)[:40]!r}")
        lists = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2 and len(shape) <= 32
        if not (lists and _whole(*shape, *offsets) and math.prod(shape) < 1 << 63):
            raise InputError(f"expected whole numbers as shape and offsets of {shown} in {path}, got something else")
        start, stop = offsets
        size = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
        if stop - start != size or stop > numbers.size:
            where = f"{start} to {stop} of {numbers.size}"
            raise InputError(f"expected {size} bytes of {shown} in {path}, got bytes {where}")
        array: np.ndarray = np.ndarray(shape, DTYPES[dtype], numbers, start) if size else np.zeros(shape, DTYPES[dtype])
        arrays[name] = widen_bfloat16(array) if dtype == "BF16" else array
        pieces.append((start, stop))
    end = 0
    for start, stop in sorted(pieces):
        if start != end:
            raise InputError(f"expected tensors one after the other in {path}, got one at {start} where {end} was next")
        end = stop
    if end != numbers.size:
        raise InputError(f"expected {end} bytes of numbers in {path}, got {numbers.size}")
    return arrays, metadata


def write_safetensors(
    path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays of any layout to a file, whole or not at all. Equal content makes equal bytes.

    Parameters
    ----------
    path : str or Path
    arrays : mapping of str to ndarray
        Floating-point numbers, whole numbers or booleans.
    metadata : mapping of str to str, optional

    Raises
    ------
    InputError
        If an array holds something else, or the file cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    # wide types first, so that each array lies at a multiple of its numbers' size, as the format recommends
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    end = 0
    for name in order:
        array = arrays[name]
        dtype = array.dtype.newbyteorder("<")
        if dtype not in NAMES:
            raise InputError(f"expected numbers of type {', '.join(NAMES.values())} as {name}, got {array.dtype}")
        offsets = [end, end + array.nbytes]
        header[name] = {"dtype": NAMES[dtype], "shape": list(array.shape), "data_offsets": offsets}
        end += array.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(np.ascontiguousarray(arrays[name], arrays[name].dtype.newbyteorder("<")).data)
