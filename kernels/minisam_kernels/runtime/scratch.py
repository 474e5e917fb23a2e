"""Scratch memory of a thread: arrays for the inside of one piece of work, used again by the next piece.

A fresh array costs a page fault every 4 KB when it is first written, which for an image of 256 × 256 took a third of
the encoder's time. Each thread keeps a block for every name, as large as the largest piece so far needed: a few MB, for
many prompts of a large model tens of MB.
"""

from __future__ import annotations

import math
import threading

import numpy as np

_local = threading.local()
_LINE = 16  # float32 numbers in 64 bytes, a cache line


def scratch(*shapes: tuple[int, ...], name: str = "") -> list[np.ndarray]:
    """C-contiguous float32 arrays of these shapes, not set to anything, that do not overlap.

    They are the calling thread's until its next call of ``scratch`` with the same ``name``.

    Parameters
    ----------
    *shapes : tuple of int
    name : str
        Each name has a block of its own, for what outlives a piece or is handed to other threads. Without a name, use
        the arrays within one piece, give none away, and call nothing meanwhile that takes scratch memory itself.

    Returns
    -------
    list of ndarray, float32
        One of each shape; each begins on a cache line.
    """
    sizes = [-(-math.prod(shape) // _LINE) * _LINE for shape in shapes]
    total = sum(sizes)
    block = _local.__dict__.get(name)
    if block is None or block.size < total:
        whole = np.empty(total + _LINE, np.float32)
        start = -(whole.ctypes.data // 4) % _LINE
        _local.__dict__[name] = block = whole[start : start + total]
    arrays, start = [], 0
    for shape, size in zip(shapes, sizes):
        arrays.append(block[start : start + math.prod(shape)].reshape(shape))
        start += size
    return arrays
