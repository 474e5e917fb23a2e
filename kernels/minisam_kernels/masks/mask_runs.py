"""From low-resolution logits to run lengths, in one pass::

    z = resize(resize(logits, (S, S))[:h', :w'], (H, W)),  mask = z > t
    → the mask's run lengths, area and box, and its stability |z > t + δ| / |z > t − δ|

Source: the released code's ``postprocess_masks``, threshold, ``calculate_stability_score``, ``batched_mask_to_box`` and
``mask_to_rle_pytorch``; each makes an image of floats or booleans. Here none is made. A block of 32 rows and 64 columns
whose logits are on one side of t − δ, t and t + δ is left out (``block_levels``); any other is resized row by row, and
its mask becomes one word of 32 bits per column (``strip_bits``), from which run lengths are read (``mask_changes``).

Measured on one core, three masks of 256² logits to 1024²: 0.8 ms if they are as smooth as SAM's, 3.8 ms if they are
noise; ``resize`` twice, the threshold, ``rle.encode``, the box and the stability take 17 to 19 ms of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minisam_kernels.layers.resize import resize_numpy
from minisam_kernels.losses.stability_score import stability_score_numpy
from minisam_kernels.masks.block_levels import MIXED, Limits, _block_levels, plan
from minisam_kernels.masks.box_from_mask import box_from_mask_numpy
from minisam_kernels.masks.mask_changes import STRIP, WORD, append_changes, as_counts
from minisam_kernels.masks.rle import rle_numpy
from minisam_kernels.masks.strip_bits import _strip_bits, new_strip
from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim
from minisam_kernels.runtime.jit import exact_jit

Size = tuple[int, int]  # height, width


class MaskRuns(NamedTuple):
    """M masks."""

    counts: list[np.ndarray]  # as ``rle.encode`` gives them
    areas: np.ndarray  # (M,) int64, in pixels
    boxes: np.ndarray  # (M, 4) int64, as ``box_from_mask`` gives them
    stability: np.ndarray  # (M,) float32


def mask_runs_numpy(
    logits: np.ndarray, input_size: Size, model_size: int, original_size: Size, threshold: float = 0, offset: float = 1
) -> MaskRuns:
    """The equations above, in the dtype of the logits (M, h, w)."""
    with np.errstate(invalid="ignore"):  # 0 · ∞
        square = resize_numpy(logits[..., None], (model_size, model_size))[:, : input_size[0], : input_size[1]]
        z = resize_numpy(square, original_size)[..., 0]
    masks, stability = z > threshold, stability_score_numpy(z, threshold, offset)
    return MaskRuns(list(map(rle_numpy, masks)), masks.sum(axis=(1, 2)), box_from_mask_numpy(masks), stability)


@exact_jit
def _mask_runs(x, rows, columns, same, limits, changes, state, numbers):
    """x (h, w) → changes (see ``append_changes``); numbers (7,) zeros → pixels above t + δ, t − δ, t, and the box."""
    height, width, blocks = rows.outer.weight.size, columns.outer.weight.size, rows.span.shape[1]
    levels = np.empty((columns.span.shape[1], blocks), np.uint8)
    _block_levels(x, rows.span, columns.span, limits, levels.T)
    strip, chosen = new_strip(blocks), np.empty(blocks, np.int64)
    for s in range(columns.span.shape[1]):
        first, count = s * STRIP, min(STRIP, width - s * STRIP)
        _strip_bits(x, rows, columns, same, limits, s, levels[s], strip)
        # Decided blocks: count their pixels, write a word per column. ``chosen``: the blocks where the mask can change.
        many, before = 0, -1
        for b in range(blocks):
            level = levels[s, b]
            inside = -1 if level >= MIXED else 1 if level > 1 else 0
            if inside >= 0:
                word = np.uint32(0xFFFFFFFF * inside)
                strip.seen[b] |= word
                pixels = count * (min(b * WORD + WORD, height) - b * WORD)
                numbers[0] += pixels * (level > 2)
                numbers[1] += pixels * (level > 0)
                if inside != before:
                    for j in range(count):
                        strip.words[j, b] = word
            if inside != before or inside < 0:
                chosen[many] = b
                many += 1
            before = inside
        changes = append_changes(strip.words, chosen[:many], first, count, height, changes, state)
    # |z > t + δ| and |z > t − δ|; an empty mask has no area and no box.
    numbers[0] += strip.counts[0].sum()
    numbers[1] += strip.counts[1].sum()
    if state[0] == 1:
        return changes
    changes[state[0]] = height * width  # where the last run ends; the area is every second run
    for k in range(1, state[0], 2):
        numbers[2] += changes[k + 1] - changes[k]
    # The box: columns of the first and the last pixel, rows from the bits that were seen.
    numbers[3], numbers[5] = changes[1] // height, (changes[state[0] - state[0] % 2] - 1) // height
    numbers[4] = height
    for i in range(height):
        if strip.seen[i // WORD] >> np.uint32(i % WORD) & 1:
            numbers[4], numbers[6] = min(i, numbers[4]), i
    return changes


def mask_runs(
    logits: npt.ArrayLike,
    input_size: Size,
    model_size: int,
    original_size: Size,
    threshold: float = 0.0,
    offset: float = 1.0,
) -> MaskRuns:
    """Measure masks and store them as run lengths, without making an image of them. One thread.

    Parameters
    ----------
    logits : array_like, shape (M, h, w)
        Low-resolution logits. One that is NaN is above no threshold.
    input_size, model_size, original_size
        (h', w'), S and (H, W), as ``mask_pixels`` takes them.
    threshold, offset : float
        t and δ, in logits.

    Returns
    -------
    MaskRuns
        A mask with nothing above t − δ has the stability 0/0, NaN.

    Raises
    ------
    InputError
        If ``logits`` are not (M, h, w), a size has no pixels, ``input_size`` is larger than S, or δ is not ≥ 0.

    Notes
    -----
    Accuracy: the same pixels as ``resize`` twice, whatever the logits, by the same operations in the same order.
    """
    logits = as_float32("logits", logits)
    expect_ndim("logits", logits, 3, "(M, h, w)")
    (height, width), cut = original_size, tuple(input_size)
    if not offset >= 0:
        raise InputError(f"expected offset >= 0, got {offset}")
    rows, columns = plan(logits.shape[1:], model_size, cut, (height, width))
    limits = Limits(*np.array([threshold - offset, threshold, threshold + offset], np.float32))
    runs: list[np.ndarray] = []
    changes, numbers = np.zeros(4 * width + 1024, np.int64), np.zeros((len(logits), 7), np.int64)
    state, same = np.empty(2, np.int64), cut == (height, width)
    for m, x in enumerate(logits):
        state[:] = 1, 0
        changes = _mask_runs(x, rows, columns, same, limits, changes, state, numbers[m])
        runs.append(as_counts(changes, state, height * width))
    with np.errstate(invalid="ignore"):
        stability = (numbers[:, 0] / numbers[:, 1]).astype(np.float32)
    return MaskRuns(runs, numbers[:, 2], numbers[:, 3:], stability)
