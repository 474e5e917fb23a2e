"""Scratch memory of a thread: arrays for the inside of one piece of work, used again by the next piece.

A fresh array costs a page fault every 4 KB when it is first written, which for a picture of 256 × 256 took a third of
the encoder's time. Each thread keeps one block, as large as the largest piece so far needed: a few MB.
"""

from __future__ import annotations

import math
import threading

import numpy as np

_local = threading.local()
_LINE = 16  # float32 numbers in 64 bytes, a cache line


def scratch(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """C-contiguous float32 arrays of these shapes, not set to anything, that do not overlap.

    They are the calling thread's until its next call of ``scratch``: use them within one piece, give none away, and
    call nothing meanwhile that takes scratch memory itself.
    """
    sizes = [math.prod(shape) for shape in shapes]
    total = sum(size + _LINE for size in sizes)
    block = getattr(_local, "block", None)
    if block is None or block.size < total:
        _local.block = block = np.empty(total, np.float32)
    arrays, start = [], -(block.ctypes.data // 4) % _LINE
    for shape, size in zip(shapes, sizes):
        arrays.append(block[start : start + size].reshape(shape))
        start += -(-size // _LINE) * _LINE
    return arrays
