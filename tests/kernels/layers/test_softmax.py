"""Properties of ``softmax``. Each names the wrong versions that it kills; ``tests/mutants.py`` breaks them in."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.layers.softmax import TOLERANCE, row_max, softmax, softmax_numpy
from oracles import EPS, assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "forgets the maximum": ("exp(x[i, j] - largest)", "exp(x[i, j])"),
    "the largest size instead of the largest number": ("key if key > largest", "key if abs(key) > abs(largest)"),
    "orders negative numbers backwards": (
        "_31, _REST = np.int32(31), np.int32(2**31 - 1)",
        "_31, _REST = np.int32(31), np.int32(0)",
    ),
    "forgets to divide": ("out[i, j] *= scale", "pass"),
    "sums one too few": ("total += e", "total += e if j else np.float32(0)"),
    "leaves out the last piece": ("-(-len(source) // rows)", "max(1, len(source) // rows)"),
    "readable version over the first axis": ("e.sum(axis=-1, keepdims=True)", "e.sum(axis=0, keepdims=True)"),
}
small_pieces = mock.patch.dict(softmax.__globals__, SIZE=40)


@st.composite
def inputs(draw: st.DrawFn) -> np.ndarray:
    columns = draw(sizes(1, 70, edges=(8, 16, 64)))
    lead = draw(st.sampled_from([(), (1,), (5,), (2, 3), (0,), (2, 3, 2)]))
    return draw(arrays((*lead, columns)))


def magnitude(x: np.ndarray) -> np.ndarray:
    """y · (1 + m − x), and what is lost below float32's smallest normal number."""
    double = x.astype(np.float64)
    distance = double.max(-1, keepdims=True, initial=-np.inf) - double
    return softmax_numpy(double) * (1 + distance) + np.finfo(np.float32).tiny / EPS


@given(inputs())
def test_numpy_is_torch(x):
    """The readable version, in float64, is torch's. Kills: readable version over the first axis."""
    assert_close(softmax_numpy(x.astype(np.float64)), oracle(ops.softmax, x), magnitude(x), 1e-4)


@small_pieces
@given(inputs())
def test_compiled_is_torch(x):
    """Agrees within its stated accuracy. Kills: forgets the maximum, the largest size, orders negative numbers
    backwards, forgets to divide, sums one too few."""
    assert_close(softmax(x), oracle(ops.softmax, x), magnitude(x), TOLERANCE)


@small_pieces
def test_a_last_piece_of_fewer_rows():
    """Seven rows in pieces of four. Kills: leaves out the last piece."""
    x = np.random.default_rng(0).standard_normal((7, 10)).astype(np.float32)
    assert_close(softmax(x), oracle(ops.softmax, x), magnitude(x), TOLERANCE)


@given(inputs(), st.sampled_from([-64.0, 1.0, 4096.0]))
def test_adding_a_constant_changes_nothing(x, shift):
    """Law: only differences count; weights are positive and sum to 1. Kills: forgets the maximum, forgets to divide."""
    moved = x + np.float32(shift)
    y = softmax(moved)
    assert (y >= 0).all()
    assert_close(y.sum(-1, dtype=np.float64), np.ones(y.shape[:-1]), y.shape[-1], TOLERANCE)
    allowed = magnitude(x) + softmax_numpy(x.astype(np.float64)) * (abs(shift) + np.abs(x)) * 4
    allowed += 4 * softmax_numpy(x.astype(np.float64)) * (abs(shift) + np.abs(x).max(-1, keepdims=True, initial=0))
    assert_close(y, softmax(x).astype(np.float64), allowed, TOLERANCE)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40))
@example([-3.0, -2.0, -np.inf])
@example([-0.0, -1e-45, 1e-45])
def test_row_max_is_max(numbers):
    """Exactly the maximum, infinities too. Kills: the largest size, orders negative numbers backwards."""
    assert row_max(np.array(numbers, np.float32)) == max(np.float32(n) for n in numbers)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0.0, -np.inf], [1, 0]),
        ([-np.inf, -np.inf], [np.nan] * 2),
        ([0.0, np.inf], [np.nan] * 2),
        ([0.0, np.nan], [np.nan] * 2),
        ([0.0, -np.nan, 1.0], [np.nan] * 3),
        ([0.0, -1e30], [1, 0]),
        ([3e38, 3e38], [0.5, 0.5]),
    ],
)
def test_limits(row, expected):
    """As torch: a row with NaN, +∞ or only −∞ is NaN; −∞ beside a number has weight 0."""
    x = np.array([row, [0.0] * len(row)], np.float32)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(softmax(x)[0], np.array(expected, np.float32))
        np.testing.assert_array_equal(oracle(ops.softmax, x)[0], expected)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.float32(1), r"expected x of shape \(..., N\) with N >= 1, got \(\)"),
        (np.ones((3, 0)), r"expected x of shape \(..., N\) with N >= 1, got \(3, 0\)"),
        (np.array([None]), "expected x to hold real numbers, got dtype object"),
    ],
)
def test_bad_input_names_expected_and_received(x, message):
    with pytest.raises(InputError, match=message):
        softmax(x)
