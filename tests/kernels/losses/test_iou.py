"""Properties of ``iou``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.losses.iou import iou, iou_numpy
from oracles import oracle
from strategies import LAYOUTS, lay_out, seeds, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "exclusive or for the union": ("a[m, n] | b[m, n]", "a[m, n] ^ b[m, n]"),
    "sum of areas for the union": ("a[m, n] | b[m, n]", "np.int64(a[m, n]) + b[m, n]"),
    "one count for all masks": ("counts[m, 0], counts[m, 1]", "counts[0, 0], counts[0, 1]"),
    "counts wrap at 256": ("counts[m, 0], counts[m, 1] = both", "counts[m, 0], counts[m, 1] = both % 256"),
    "two empty masks agree": ("counts[m, 1] = both, either", "counts[m, 1] = both + (either == 0), max(either, 1)"),
    "readable version takes the union twice": ("(a & b).sum", "(a | b).sum"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = (draw(st.integers(0, 3)), draw(sizes(0, 20)), draw(sizes(0, 20, edges=(8, 16))))
    rng = np.random.default_rng(draw(seeds))
    density = draw(st.sampled_from([0.0, 0.05, 0.5, 1.0]))
    a, b = (lay_out(rng.random(shape) < density, draw(st.sampled_from(LAYOUTS))) for _ in range(2))
    return a, b


@given(inputs())
def test_numpy_is_torch(drawn):
    """Kills: readable version takes the union twice."""
    np.testing.assert_array_equal(iou_numpy(*drawn), oracle(ops.iou, *drawn))


@given(inputs())
def test_compiled_is_torch(drawn):
    """Exact counts, the nearest float32. Kills: exclusive or or sum of areas for the union, one count for all masks."""
    np.testing.assert_array_equal(iou(*drawn), oracle(ops.iou, *drawn).astype(np.float32))


@given(inputs())
def test_is_symmetric_and_blind_to_order(drawn):
    """Law: a and b may change places, and pixels may be shuffled. Kills: one count for all masks."""
    a, b = drawn
    expected = iou(a, b)
    np.testing.assert_array_equal(iou(b, a), expected)
    np.testing.assert_array_equal(iou(a[:, ::-1], b[:, ::-1]), expected)


def test_two_empty_masks_have_no_iou():
    """0/0 is NaN, and one pixel is enough for a number. Kills: two empty masks agree."""
    empty, one = np.zeros((1, 3, 3), bool), np.zeros((1, 3, 3), bool)
    one[0, 1, 1] = True
    assert np.isnan(iou(empty, empty)[0])
    assert iou(empty, one)[0] == 0 and iou(one, one)[0] == 1


def test_a_mask_of_many_pixels():
    """Kills: counts wrap at 256."""
    a = np.ones((1, 30, 30), bool)
    b = a.copy()
    b[0, 0, :18] = False
    assert iou(a, b)[0] == np.float32(0.98)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones((1, 2, 2)), np.ones((1, 2, 2), bool), "expected a to hold booleans, got dtype float64"),
        (np.ones((1, 2, 2), bool), np.ones((1, 2, 2), np.uint8), "expected b to hold booleans, got dtype uint8"),
        (np.ones((2, 2), bool), np.ones((2, 2), bool), r"expected a of shape \(M, H, W\), got \(2, 2\)"),
        (np.ones((1, 2, 2), bool), np.ones((2, 2, 2), bool), r"expected b of shape \(1, 2, 2\), got \(2, 2, 2\)"),
    ],
)
def test_bad_input_names_expected_and_received(a, b, message):
    with pytest.raises(InputError, match=message):
        iou(a, b)
