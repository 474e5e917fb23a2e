"""From low-resolution logits to a mask of the image's size, in one pass::

    z = resize(resize(logits, (S, S))[:h', :w'], (H, W)),  mask = z > t

Source: the released code's ``postprocess_masks`` and threshold, which make two images of floats. Here none is made:
a block of 32 rows and 64 columns whose logits are on one side of t is filled (``block_levels``), of any other the bits
are computed (``strip_bits``) and written out, a byte each. It is ``mask_runs`` for those who want pixels.

Measured on one core, three masks of 256² logits to 1024²: 1.9 ms if they are as smooth as SAM's, 4.7 ms if
they are noise; ``resize`` twice, with the comparison in the second, took 9.8 ms.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.layers.resize import resize_numpy
from minisam_kernels.masks.block_levels import MIXED, Limits, _block_levels, plan
from minisam_kernels.masks.mask_changes import STRIP, WORD
from minisam_kernels.masks.strip_bits import _strip_bits, new_strip
from minisam_kernels.runtime.errors import as_float32, expect_ndim
from minisam_kernels.runtime.jit import exact_jit
from minisam_kernels.runtime.threads import parallel_for

TILE = 1 << 18  # pixels in one piece of work, at least one strip


def mask_pixels_numpy(
    logits: np.ndarray,
    input_size: tuple[int, int],
    model_size: int,
    original_size: tuple[int, int],
    threshold: float = 0.0,
) -> np.ndarray:
    """The equations above, in the dtype of the logits (M, h, w)."""
    with np.errstate(invalid="ignore"):  # 0 · ∞
        square = resize_numpy(logits[..., None], (model_size, model_size))[:, : input_size[0], : input_size[1]]
        return resize_numpy(square, original_size)[..., 0] > threshold


@exact_jit
def _mask_pixels(x, rows, columns, same, limits, begin, end, out):
    """x (h, w) → strips from ``begin`` to before ``end`` of out (H, W), uint8. The first arguments are those of
    ``_strip_bits``, with the same limit three times."""
    height, width, blocks = rows.outer.weight.size, columns.outer.weight.size, rows.span.shape[1]
    levels = np.empty((columns.span.shape[1], blocks), np.uint8)
    _block_levels(x, rows.span, columns.span, limits, levels.T)
    strip, bits = new_strip(blocks), np.empty(STRIP, np.uint32)
    for s in range(begin, end):
        _strip_bits(x, rows, columns, same, limits, s, levels[s], strip)
        count = min(STRIP, width - s * STRIP)
        part = out[:, s * STRIP : s * STRIP + count]
        for b in range(blocks):
            pixels = part[b * WORD : min(b * WORD + WORD, height)]
            # A decided block is all inside or all outside; of any other, row i is bit i of the words.
            if levels[s, b] < MIXED:
                pixels[:] = levels[s, b] > 0
                continue
            for j in range(count):
                bits[j] = strip.words[j, b]
            for i in range(pixels.shape[0]):
                for j in range(count):
                    pixels[i, j] = bits[j] >> np.uint32(i) & np.uint32(1)


def mask_pixels(
    logits: npt.ArrayLike,
    input_size: tuple[int, int],
    model_size: int,
    original_size: tuple[int, int],
    threshold: float = 0.0,
) -> np.ndarray:
    """Resize logits to the image and compare them with the threshold.

    Parameters
    ----------
    logits : array_like, shape (M, h, w)
        Low-resolution logits. One that is NaN is above no threshold.
    input_size : tuple of int
        (h', w'), the part of the square that holds the image.
    model_size : int
        S, the side of the square.
    original_size : tuple of int
        (H, W), the image's height and width in pixels.
    threshold : float
        t, in logits.

    Returns
    -------
    ndarray, shape (M, H, W), bool

    Raises
    ------
    InputError
        If ``logits`` are not (M, h, w), a size has no pixels, or ``input_size`` is larger than S.

    Notes
    -----
    Accuracy: the same pixels as ``resize`` twice and ``>``, whatever the logits (``exact_jit``).
    """
    logits = as_float32("logits", logits)
    expect_ndim("logits", logits, 3, "(M, h, w)")
    cut, (height, width) = tuple(input_size), original_size
    rows, columns = plan(logits.shape[1:], model_size, cut, (height, width))
    strips, at_once = columns.span.shape[1], max(1, TILE // (STRIP * height))
    pieces = -(-strips // at_once)
    t = np.float32(threshold)
    limits, out = Limits(t, t, t), np.empty((len(logits), height, width), np.uint8)

    def piece(index: int) -> None:
        m, begin = index // pieces, index % pieces * at_once
        end = min(begin + at_once, strips)
        _mask_pixels(logits[m], rows, columns, cut == (height, width), limits, begin, end, out[m])

    parallel_for(piece, len(logits) * pieces)
    return out.view(bool)
