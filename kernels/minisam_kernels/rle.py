"""Run lengths of a mask, the form in which COCO and SA-1B store masks.

    counts = how many False, then how many True, then False …, down the columns, first column first

The first number counts False and may be 0; every other number is above 0, and they sum to H·W. COCO's text writes
``counts[i] − counts[i−2]`` (from i = 3 on; before, counts[i]) in groups of five bits, the lowest first, sixth bit: more
follow, seventh: none; each group plus 48 is an ASCII character. Source: pycocotools' ``encode``, the same to the byte.

Shapes: masks (M, H, W) bool ↔ a list of M arrays of counts, int64. A picture without pixels has the counts [0].
Errors: ``InputError`` when masks are not bool (M, H, W), when counts are negative, or do not sum to H·W, when a text
holds bytes outside of the code, ends within a number or gives a negative count.
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.errors import InputError, expect_ndim


def rle_numpy(mask: np.ndarray) -> np.ndarray:
    """mask (H, W) bool → counts: the distances between the places where the mask, read down its columns, changes."""
    down = mask.T.ravel()
    changes = np.flatnonzero(np.diff(down, prepend=False))
    return np.diff(changes, prepend=0, append=down.size)


def encode(masks: np.ndarray) -> list[np.ndarray]:
    """masks (M, H, W) bool → the counts of each. See the module's text."""
    masks = np.asarray(masks)
    if masks.dtype != bool:
        raise InputError(f"expected masks to hold booleans, got dtype {masks.dtype}")
    expect_ndim("masks", masks, 3, "(M, H, W)")
    return [rle_numpy(mask) for mask in masks]


def _checked(counts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    counts = np.ascontiguousarray(counts, np.int64)
    if counts.ndim != 1 or (counts < 0).any() or counts.sum() != size[0] * size[1]:
        raise InputError(f"expected counts that sum to {size[0]} · {size[1]}, got {int(counts.sum())}")
    return counts


def decode(counts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """counts, size (H, W) → bool (H, W)."""
    counts = _checked(counts, size)
    return np.ascontiguousarray(np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(size[1], size[0]).T)


def area(counts: np.ndarray) -> int:
    """How many pixels are True."""
    return int(np.sum(counts[1::2]))


def box(counts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(4,): x0, y0, x1, y1 of the True pixels, the last ones included; zeros when there is none."""
    rows, columns = np.nonzero(decode(counts, size))
    if not len(rows):
        return np.zeros(4, np.int64)
    return np.array([columns.min(), rows.min(), columns.max(), rows.max()])


def uncrop(counts: np.ndarray, crop_box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """Counts of the part (x0, y0, x1, y1) of a picture, x1 and y1 excluded → counts of the picture, size (H, W)."""
    x0, y0, x1, y1 = crop_box
    whole = np.zeros(size, bool)
    whole[y0:y1, x0:x1] = decode(counts, (y1 - y0, x1 - x0))
    return rle_numpy(whole)


def to_string(counts: np.ndarray) -> bytes:
    """counts → COCO's text."""
    counts = [int(count) for count in counts]
    text = bytearray()
    for i, count in enumerate(counts):
        x, more = count - (counts[i - 2] if i > 2 else 0), True
        while more:
            group, x = x & 31, x >> 5
            more = x != (-1 if group & 16 else 0)
            text.append(48 + group + 32 * more)
    return bytes(text)


def from_string(text: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """COCO's text → counts; with ``size`` (H, W) they must sum to H·W."""
    text = text.encode() if isinstance(text, str) else text
    counts: list[int] = []
    x = shift = 0
    for byte in text:
        if not 48 <= byte < 112:
            raise InputError(f"expected run lengths as characters from '0' to 'o', got byte {byte}")
        group = byte - 48
        x, shift = x | (group & 31) << shift, shift + 5
        if not group & 32:
            x -= (1 << shift) if group & 16 else 0
            counts.append(x + (counts[-2] if len(counts) > 2 else 0))
            x = shift = 0
    if shift:
        raise InputError("expected run lengths whose last number ends, got a text that was cut off")
    return np.array(counts, np.int64) if size is None else _checked(np.array(counts, np.int64), size)
