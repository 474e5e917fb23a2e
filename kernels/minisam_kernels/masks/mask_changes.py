"""Where a mask changes, read from words of 32 bits: the step from a mask's bits to its run lengths.

    places = the numbers i + j·H of the pixels, down the columns, that differ from the pixel before them
    counts = the distances from 0 over the places to H·W

The pixel before the first one is False. ``rle`` makes the words of a mask, ``mask_runs`` of logits: bit i of word b of
column j is the pixel in row 32·b + i. Columns come in strips of 64, as ``words`` (STRIP, H/32) uint32.

A word that is not 0 or all ones, and not what is above it, is looked up byte by byte in a table of the places of its
ones: no branch to guess for every run. Indices are not checked, here is only what two kernels share.
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.runtime.jit import jit

STRIP = 64  # columns that are read together
WORD = 32  # rows of a column in one word, the uppermost in the lowest bit
_ONES = np.array([[*(k for k in range(8) if byte >> k & 1), *[0] * 8][:8] for byte in range(256)])  # where they are
_HOW_MANY = np.array([byte.bit_count() for byte in range(256)])


def append_changes_numpy(words: np.ndarray, columns: int, height: int, last: int) -> np.ndarray:
    """words (STRIP, H/32), the last bit before them → the places, counted from the strip's first pixel."""
    bits = np.unpackbits(words[:columns].astype("<u4").view(np.uint8), axis=1, bitorder="little")[:, :height]
    return np.flatnonzero(np.diff(bits.ravel(), prepend=np.uint8(last)))


@jit
def append_changes(words, blocks, first, columns, height, changes, state):
    """The places, first column first, where the mask changes in a strip of ``columns`` from ``first`` on.

    words (STRIP, H/32) uint32; blocks, the numbers of the words to look at: any other repeats the last bit above it.
    changes: a 0 and the places so far, longer than that; if it is too short, a longer one takes its place. state: how
    many numbers it holds, and the last bit read. Returns changes.
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
            differ = (word ^ (2 * word + last)) & ((1 << rows) - 1)
            last = word >> (rows - 1) & 1
            if differ != 0:
                place = (first + j) * height + WORD * b
                for byte in range(0, WORD, 8):
                    ones = differ >> byte & 255
                    for k in range(2):  # written, asked or not: measured 2.3 times as fast as a loop over the ones
                        changes[done + np.uint64(k)] = place + byte + _ONES[ones, k]
                    for k in range(2, _HOW_MANY[ones]):  # few masks have three changes in eight rows
                        changes[done + np.uint64(k)] = place + byte + _ONES[ones, k]
                    done += np.uint64(_HOW_MANY[ones])
    state[0], state[1] = np.int64(done), last
    return changes


def as_counts(changes: np.ndarray, state: np.ndarray, pixels: int) -> np.ndarray:
    """What ``append_changes`` left → the distances between the changes."""
    changes[state[0]] = pixels
    return np.diff(changes[: state[0] + 1])
