"""A file's bytes as an array: small files are read, large ones are mapped into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SMALL = 64 << 20  # bytes; such a file is read in 20 ms, and may then change or vanish


def file_bytes(path: Path, copy: bool = False) -> np.ndarray:
    """The bytes of a file, uint8 (n,), read-only.

    A mapped file must stay as it is: who writes into it changes the weights, who shortens it ends the process.
    """
    if copy or path.stat().st_size <= SMALL:
        data = np.fromfile(path, np.uint8)
        data.flags.writeable = False
        return data
    return np.memmap(path, np.uint8, "r")
