"""Where a mask changes, read from words of 32 bits: the step from a mask's bits to its run lengths::

    changes = the numbers i + j·H of the pixels, down the columns, that differ from the pixel before them
    counts  = the distances from 0 over the changes to H·W

The pixel before the first one is False. ``rle`` makes the words of a mask, ``mask_runs`` of logits: bit i of word b of
column j is the pixel in row 32·b + i. Columns come in strips of 64, as ``words`` (STRIP, H/32) uint32.

A word that is not 0 or all ones, and not what is above it, is looked up byte by byte in a table of the positions of its
ones: no branch to guess for every run. Indices are not checked: this file holds only what two kernels share.
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.runtime.jit import jit

STRIP = 64  # columns that are read together
WORD = 32  # rows of a column in one word, the uppermost in the lowest bit
_ONES = np.array([[*(k for k in range(8) if byte >> k & 1), *[0] * 8][:8] for byte in range(256)])  # where they are
_HOW_MANY = np.array([byte.bit_count() for byte in range(256)])


def append_changes_numpy(words: np.ndarray, columns: int, height: int, last: int) -> np.ndarray:
    """words (STRIP, H/32), the last bit before them → the changes, counted from the strip's first pixel."""
    bits = np.unpackbits(words[:columns].astype("<u4").view(np.uint8), axis=1, bitorder="little")[:, :height]
    return np.flatnonzero(np.diff(bits.ravel(), prepend=np.uint8(last)))


@jit
def append_changes(words, blocks, first, columns, height, changes, state):
    """Append the changes of a strip of columns, first column first.

    Parameters
    ----------
    words : ndarray, shape (STRIP, H/32), uint32
        The strip's bits.
    blocks : ndarray, int64
        The numbers of the words to look at. Any other repeats the last bit above it.
    first, columns : int
        The strip's first column, and how many it has.
    height : int
        H.
    changes : ndarray, int64
        A 0 and the changes so far, with room behind them.
    state : ndarray, shape (2,), int64
        How many numbers ``changes`` holds, and the last bit read. Updated.

    Returns
    -------
    ndarray, int64
        ``changes``, or a longer array in its stead if it was too short.
    """
    done, last = np.uint64(state[0]), state[1]  # unsigned: a negative index would mean "from the end"
    most = state[0] + WORD * columns * blocks.size + 9
    if most > changes.size:
        longer = np.empty(2 * most, np.int64)
        longer[: state[0]] = changes[: state[0]]
        changes = longer
    for j in range(columns):
        for n in range(blocks.size):
            b = blocks[n]
            rows = min(WORD, height - WORD * b)
            word = np.int64(words[j, b])
            # differ: ones where a bit is not the one above it.
            differ = (word ^ (2 * word + last)) & ((1 << rows) - 1)
            last = word >> (rows - 1) & 1
            if differ != 0:
                start = (first + j) * height + WORD * b
                # Each byte's changes, from the table.
                for byte in range(0, WORD, 8):
                    ones = differ >> byte & 255
                    for k in range(2):  # written, asked or not: measured 2.3 times as fast as a loop over the ones
                        changes[done + np.uint64(k)] = start + byte + _ONES[ones, k]
                    for k in range(2, _HOW_MANY[ones]):  # few masks have three changes in eight rows
                        changes[done + np.uint64(k)] = start + byte + _ONES[ones, k]
                    done += np.uint64(_HOW_MANY[ones])
    state[0], state[1] = np.int64(done), last
    return changes


def as_counts(changes: np.ndarray, state: np.ndarray, pixels: int) -> np.ndarray:
    """What ``append_changes`` left → the distances between the changes."""
    changes[state[0]] = pixels
    return np.diff(changes[: state[0] + 1])
