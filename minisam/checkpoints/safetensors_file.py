"""The safetensors format, read as views of the mapped file.

Eight bytes with the header's length n, then n bytes of JSON (name → dtype, shape, data_offsets), then the numbers. The
library ``safetensors`` writes our files; reading is done here because NumPy has no bfloat16 and because views of one
mapping need no copy of the weights.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from minisam.checkpoints.torch_file import widen_bfloat16
from minisam_kernels import InputError

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2"}
DTYPES |= {"I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
MAX_HEADER = 100_000_000  # bytes; the format's own limit


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def _whole(*values: Any) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays by name, metadata). Arrays are read-only views of the file; bfloat16 becomes float32."""
    data = np.memmap(path, np.uint8, "r")
    length = int.from_bytes(data[:8].tobytes(), "little")
    if data.size < 8 or length > MAX_HEADER or 8 + length > data.size:
        raise InputError(f"expected a safetensors header inside {path} of {data.size} bytes, got one of {length} bytes")
    header = json.loads(data[8 : 8 + length].tobytes().decode(), object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise InputError(f"expected a table of tensors in {path}, got something else")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InputError(f"expected texts as metadata in {path}, got something else")
    numbers, arrays, pieces = data[8 + length :], {}, []
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise InputError(f"expected dtype, shape and data_offsets of {name!r} in {path}, got something else")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise InputError(f"expected {name!r} as one of {', '.join(DTYPES)} in {path}, got {str(dtype)[:40]!r}")
        lists = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2
        if not (lists and _whole(*shape, *offsets)):
            raise InputError(f"expected whole numbers as shape and offsets of {name!r} in {path}, got something else")
        start, stop = offsets
        size = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
        if stop - start != size or stop > numbers.size:
            where = f"{start} to {stop} of {numbers.size}"
            raise InputError(f"expected {size} bytes of {name!r} in {path}, got bytes {where}")
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
