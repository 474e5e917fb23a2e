"""COCO's text for run lengths, the ``counts`` of an annotation in SA-1B's files::

    d[i] = counts[i] − counts[i − 2] from i = 3 on, counts[i] before,
    written five bits at a time, the lowest first, as characters 48 + group + 32 · (more follow)

The last group's highest bit is the sign. Source: pycocotools' ``encode`` and ``decode``, the same to the byte. Bad
text raises an error here; pycocotools does not check, and reads and writes outside of its memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.errors import InputError
from minisam_kernels.runtime.jit import jit

GROUPS = 12  # of five bits, the most that a number may have
LARGEST = 1 << 59  # from here on a difference may need one more


def to_string_numpy(counts: np.ndarray | Sequence[int]) -> bytes:
    """The definition above, with whole numbers of any size."""
    text = []
    for i, count in enumerate(map(int, counts)):
        d = count - (int(counts[i - 2]) if i > 2 else 0)
        while True:
            group, d = d & 31, d >> 5
            more = d != (-1 if group & 16 else 0)
            text.append(48 + group + 32 * more)
            if not more:
                break
    return bytes(text)


@jit
def _to_string(counts, text):
    """counts → text, uint8, long enough. Returns its length."""
    length = 0
    for i in range(counts.size):
        # d[i], then its groups of five bits; it ends where the rest is what the group's sign bit says.
        d = counts[i] - (counts[i - 2] if i > 2 else 0)
        more = True
        while more:
            group, d = d & 31, d >> 5
            more = d != (-1 if group & 16 else 0)
            text[length] = 48 + group + 32 * more
            length += 1
    return length


@jit
def _from_string(text, counts):
    """text, uint8 → counts, long enough. Returns how many, or −1 − the index of the byte that is wrong."""
    done, groups = 0, 0
    d = np.int64(0)
    for i in range(text.size):
        group = np.int64(text[i]) - 48
        if not (0 <= group < 64 and groups < GROUPS):
            return -1 - i
        # The next five bits of d; without "more follow" it is complete: sign, then the count two before is added.
        d |= (group & 31) << (5 * groups)
        groups += 1
        if group < 32:
            if group & 16:
                d -= 1 << (5 * groups)
            counts[done] = d + (counts[done - 2] if done > 2 else 0)
            if counts[done] < 0:
                return -1 - i
            done, groups = done + 1, 0
            d = np.int64(0)
    return -1 - text.size if groups else done


def to_string(counts: npt.ArrayLike) -> bytes:
    """Write run lengths as COCO's text.

    Parameters
    ----------
    counts : array_like, shape (N,), int
        Run lengths, as ``rle.encode`` gives them.

    Returns
    -------
    bytes

    Raises
    ------
    InputError
        If ``counts`` are not whole numbers ≥ 0 and below 2⁵⁹.
    """
    counts = np.asarray(counts)
    if counts.ndim != 1 or (counts.size and counts.dtype.kind not in "iu") or (counts < 0).any():
        raise InputError(f"expected counts to be whole numbers >= 0, got {counts.tolist()!s:.60}")
    if (counts >= LARGEST).any():
        raise InputError(f"expected counts below 2⁵⁹, got {counts.max()}")
    text = np.empty(GROUPS * counts.size, np.uint8)
    return text[: _to_string(counts.astype(np.int64), text)].tobytes()


def from_string(text: bytes | str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read COCO's text.

    Parameters
    ----------
    text : bytes or str
    size : tuple of int, optional
        (H, W) of the mask, which the counts have to fill.

    Returns
    -------
    ndarray, shape (N,), int64
        Run lengths.

    Raises
    ------
    InputError
        If a character is outside of the code ('0' to 'o'), the text ends within a number, a number has more than 60
        bits, a count is below 0, or the counts do not sum to H · W.
    """
    letters = np.frombuffer(text.encode("utf-8", "replace") if isinstance(text, str) else text, np.uint8)
    counts = np.empty(letters.size, np.int64)
    done = _from_string(letters, counts)
    if done < 0:
        i = -1 - done
        what = f"byte {letters[i]} at {i}" if i < letters.size else "a text that ends within a number"
        raise InputError(f"expected run lengths in COCO's code, '0' to 'o', none below 0, got {what}")
    counts = counts[:done]
    if size is not None and ((counts > size[0] * size[1]).any() or counts.sum() != size[0] * size[1]):
        raise InputError(f"expected run lengths that sum to {size[0]} · {size[1]}, got {sum(counts.tolist())}")
    return counts
