"""Properties of ``resize``. Each names the wrong versions that it kills."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.layers import resize as module
from minisam_kernels.layers.resize import TOLERANCE, _taps, resize, resize_numpy
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "aligns the corners": (
        "(np.arange(new) + 0.5) * (old / new) - 0.5",
        "np.arange(new) * ((old - 1) / max(new - 1, 1))",
    ),
    "forgets the half pixel": ("* (old / new) - 0.5", "* (old / new)"),
    "extrapolates beyond the first centre": (
        "np.maximum((np.arange(new) + 0.5) * (old / new) - 0.5, 0)",
        "(np.arange(new) + 0.5) * (old / new) - 0.5",
    ),
    "wraps around at the last row": ("np.minimum(first + 1, old - 1)", "(first + 1) % old"),
    "swaps the weights of a column": ("x[row, left[j]] * (", "x[row, right[j]] * ("),
    "keeps a row for ever": ("if held[slot] != row:", "if held[slot] < 0:"),
    "keeps both rows in one place": ("slot = row % 2", "slot = 0"),
    "mixes up channels": (
        "column[:, None] * channels + np.arange(channels)",
        "column[:, None] * channels + 0 * np.arange(channels)",
    ),
    "every piece is the first": ("top[part], bottom[part]", "top, bottom"),
    "readable version takes the nearest row": ("x[:, top] * (1 - weight) + x[:, bottom] * weight", "x[:, top]"),
}

TILES = st.sampled_from([1, 30, 1 << 16])


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, int]]:
    """x (B, H, W, C) or (M, H, W), and a size; 1 pixel, the same size and whole ratios come up often."""
    height, width = draw(sizes(1, 9, edges=(1,))), draw(sizes(1, 9, edges=(1,)))
    size = tuple(draw(st.one_of(st.sampled_from([1, old, 2 * old, 4 * old]), sizes(1, 17))) for old in (height, width))
    channels = draw(st.sampled_from([(), (1,), (3,)]))
    return draw(arrays((draw(st.sampled_from([1, 2, 0])), height, width, *channels))), size


def magnitude(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The largest |x| of the four pixels, in float64, and a thousandth of the largest |x| of all: where the place s
    should be a whole number, its rounding lets in a neighbour with a weight of float64's eps."""
    x = np.abs(x.astype(np.float64))
    (top, bottom, _), (left, right, _) = (_taps(old, new) for old, new in zip(x.shape[1:3], size))
    rows = np.maximum(x[:, top], x[:, bottom])
    return np.maximum(rows[:, :, left], rows[:, :, right]) + x.max(initial=0) / 1000


def torchs(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The oracle, which does not take an empty batch."""
    return oracle(ops.resize, x, size) if len(x) else np.empty((0, *size, *x.shape[3:]))


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version takes the nearest row."""
    x, size = drawn
    x = x.reshape(*x.shape[:3], -1) if x.size else x.reshape(*x.shape[:3], 1)
    assert_close(resize_numpy(x.astype(np.float64), size), torchs(x, size), magnitude(x, size), 1e-4)


@given(inputs(), TILES)
def test_compiled_is_torch(drawn, tile):
    """Any ratio, up and down, for any size of a piece of work. Kills: aligns the corners, forgets the half pixel,
    extrapolates, wraps around, swaps the weights of a column, keeps a row for ever, keeps
    both rows in one place, mixes up channels, every piece is the first."""
    with patch.object(module, "TILE", tile):
        actual = resize(*drawn)
    assert_close(actual, torchs(*drawn), magnitude(*drawn), TOLERANCE)


@given(inputs())
def test_the_same_size_changes_nothing(drawn):
    """Law. Kills: forgets the half pixel, swaps the weights of a column."""
    x, _ = drawn
    np.testing.assert_array_equal(resize(x, x.shape[1:3]), x)


@given(inputs())
def test_mirror_images_resize_to_mirror_images(drawn):
    """Law: centres correspond to centres from either side. Kills: forgets the half pixel, extrapolates."""
    x, size = drawn
    turned = resize(x[:, ::-1, ::-1], size)[:, ::-1, ::-1]
    assert_close(turned, resize(x, size).astype(np.float64), magnitude(x, size), 2 * TOLERANCE)


def test_shrinking_has_no_low_pass_filter():
    """A third of the size takes every third pixel, the middle one of each three, and does not average
    (antialias=False)."""
    x = np.random.default_rng(0).standard_normal((1, 9, 12, 2)).astype(np.float32)
    np.testing.assert_array_equal(resize(x, (3, 4)), x[:, 1::3, 1::3])


def test_corners_are_not_aligned():
    """Doubling puts new centres a quarter of a pixel beside the old ones. Kills: aligns the corners."""
    np.testing.assert_array_equal(resize(np.float32([[[0, 4]]]), (1, 4)), [[[0, 1, 3, 4]]])


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((4, 4), (2, 2), r"expected x of shape \(B, H, W, C\) or \(M, H, W\), got \(4, 4\)"),
        ((1, 4, 4), (0, 2), r"expected at least 1 pixel each way, got \(4, 4\) to resize to \(0, 2\)"),
        ((1, 0, 4, 1), (3, 2), r"expected at least 1 pixel each way, got \(0, 4\) to resize to \(3, 2\)"),
    ],
)
def test_bad_input_names_expected_and_received(shape, size, message):
    with pytest.raises(InputError, match=message):
        resize(np.ones(shape), size)
