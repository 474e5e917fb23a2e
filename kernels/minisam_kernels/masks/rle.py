"""Run lengths of a mask, the form in which COCO and SA-1B store masks::

    counts = how many False, then how many True, then False …, down the columns, the first column first

The first number counts False and may be 0, every other one is above 0, and they sum to H·W. Source: pycocotools'
``encode``, before it makes text of them (``rle_text``). Masks lie in memory row by row, runs go down columns. So a
strip of columns is read 32 rows at a time into one word of 32 bits for each column, all columns at once, and the words
are searched for changes (``mask_changes``). Measured on one core, a smooth mask of 1024²: encode 0.26 ms (pycocotools
0.41, without turning the mask), decode 0.14 ms (0.83).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.masks.box_from_mask import as_masks
from minisam_kernels.masks.mask_changes import STRIP, WORD, append_changes, as_counts
from minisam_kernels.masks.rle_geometry import area, box, column_pieces, uncrop
from minisam_kernels.masks.rle_text import from_string, to_string
from minisam_kernels.runtime.jit import jit

__all__ = ["area", "box", "decode", "encode", "from_string", "rle_numpy", "to_string", "uncrop"]


def rle_numpy(mask: np.ndarray) -> np.ndarray:
    """mask (H, W) bool → counts: the distances between the pixels where the mask, read down its columns, changes."""
    down = mask.T.ravel()
    return np.diff(np.flatnonzero(np.diff(down, prepend=False)), prepend=0, append=down.size)


@jit
def _encode(mask, changes, state):
    """mask (H, W) of 0 and 1 → where it changes, as in ``append_changes``."""
    height, width = mask.shape
    blocks = np.arange((height + WORD - 1) // WORD)
    words, bits = np.empty((STRIP, blocks.size), np.uint32), np.empty(STRIP, np.uint32)
    for first in range(0, width, STRIP):
        columns = min(STRIP, width - first)
        strip = mask[:, first : first + columns]
        for b in range(blocks.size):  # bit i of word (j, b) is row 32·b + i of column j
            bits[:] = 0
            for i in range(WORD * b, min(WORD * b + WORD, height)):
                for j in range(columns):
                    bits[j] |= np.uint32(strip[i, j]) << np.uint32(i % WORD)
            for j in range(columns):
                words[j, b] = bits[j]
        changes = append_changes(words, blocks, first, columns, height, changes, state)
    return changes


def encode(masks: npt.ArrayLike) -> list[np.ndarray]:
    """Store masks as run lengths.

    Parameters
    ----------
    masks : array_like, shape (M, H, W), bool

    Returns
    -------
    list of ndarray, int64
        The counts of each mask. A mask without pixels has the counts [0].

    Raises
    ------
    InputError
        If ``masks`` are not bool (M, H, W).
    """
    changes, counts = np.zeros(1024, np.int64), []
    for mask in as_masks(masks):
        state = np.array([1, 0])
        changes = _encode(mask, changes, state)
        counts.append(as_counts(changes, state, mask.size))
    return counts


@jit
def _toggle(out):
    """out (H, W): ones where a column changes → the mask."""
    for i in range(1, out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] ^= out[i - 1, j]


def decode(counts: npt.ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """Make a mask of its run lengths.

    Parameters
    ----------
    counts : array_like, shape (N,), int
        Run lengths that sum to H·W.
    size : tuple of int
        (H, W).

    Returns
    -------
    ndarray, shape (H, W), bool

    Raises
    ------
    InputError
        If ``counts`` are not whole numbers ≥ 0 that sum to H·W.
    """
    column, top, bottom = column_pieces(counts, size)
    out = np.zeros((size[0] + 1, size[1]), np.uint8)
    out[top, column] = 1
    out[bottom, column] ^= 1  # where an odd reader's empty run ends one run and begins the next, nothing changes
    _toggle(out[:-1])
    return out[:-1].view(bool)
