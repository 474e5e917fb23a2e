"""What both formats of weights need: a file's bytes as an array, and bfloat16 as float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SMALL = 64 << 20  # bytes; such a file is read in 20 ms, and may then change or vanish


def file_bytes(path: Path, copy: bool = False) -> np.ndarray:
    """The bytes of a file, uint8 (n,), read-only: read if ``copy`` or up to ``SMALL``, else mapped into memory.

    A mapped file must stay as it is: who writes into it changes the weights, who shortens it ends the process.
    """
    if copy or path.stat().st_size <= SMALL:
        data = np.fromfile(path, np.uint8)
        data.flags.writeable = False
        return data
    return np.memmap(path, np.uint8, "r")


def widen_bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 as uint16 → float32, exactly: it is the upper half of a float32. NumPy has no bfloat16."""
    wide = bits.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)
