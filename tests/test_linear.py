"""Properties of ``linear``. Each names the wrong versions that it kills; ``tests/mutants.py`` breaks them in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.linear import ROWS, TOLERANCE, linear, linear_numpy
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "forgets the bias": ("            out[rows] += bias", "            pass"),
    "leaves out the last piece": ("-(-len(x) // ROWS)", "max(1, len(x) // ROWS)"),
    "leaves out the last row of a piece": ("slice(i * ROWS, (i + 1) * ROWS)", "slice(i * ROWS, (i + 1) * ROWS - 1)"),
    "reads the weight the other way round": (
        "np.matmul(x[rows], weight.T",
        "np.matmul(x[rows], weight.reshape(weight.T.shape)",
    ),
    "readable version forgets the bias": ("y if bias is None else y + bias", "y"),
    "casts to float16": ("np.matmul(x[rows]", "np.matmul(x[rows].astype(np.float16).astype(np.float32)"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    c_in, c_out = draw(sizes(0, 70, edges=(1, 16, 64))), draw(sizes(0, 40, edges=(1, 16)))
    rows = draw(sizes(1, 2 * ROWS + 1, edges=(ROWS, 2 * ROWS)))
    lead = draw(st.sampled_from([(), (1,), (rows,), (2, 3), (0,), (2, 1, 5)]))
    bias = draw(st.none() | arrays((c_out,)))
    return draw(arrays((*lead, c_in))), draw(arrays((c_out, c_in))), bias


def magnitude(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """Σ |x| |W| + |b|."""
    return linear_numpy(*(None if a is None else np.abs(a.astype(np.float64)) for a in (x, weight, bias)))


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version forgets the bias."""
    double = [None if a is None else a.astype(np.float64) for a in drawn]
    assert_close(linear_numpy(*double), oracle(ops.linear, *drawn), magnitude(*drawn), 1e-4)


@given(inputs())
def test_compiled_is_torch(drawn):
    """Agrees within its stated accuracy, at the ends of pieces too. Kills: forgets the bias, leaves out the last piece,
    the last row of a piece, reads the weight the other way round, casts to float16."""
    assert_close(linear(*drawn), oracle(ops.linear, *drawn), magnitude(*drawn), TOLERANCE)


@given(inputs())
def test_is_linear(drawn):
    """Law: f(2x) − f(0) = 2 (f(x) − f(0)), exactly up to rounding, and f(0) is the bias."""
    x, weight, bias = drawn
    zero = linear(np.zeros_like(x), weight, bias)
    np.testing.assert_array_equal(zero, np.broadcast_to(0 if bias is None else bias, zero.shape))
    doubled = linear(2 * x, weight, bias)
    assert_close(doubled, 2.0 * linear(x, weight, bias) - zero, 2 * magnitude(*drawn), TOLERANCE)


@given(arrays((ROWS + 3, 5)))
def test_identity_changes_nothing(x):
    """Law: with W = 1 and no bias every number comes back exactly. Kills: leaves out the last row, casts to float16."""
    np.testing.assert_array_equal(linear(x, np.eye(5)), x)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        (np.ones((2, 4)), np.ones((3, 5)), None, r"expected x of shape \(..., 5\), got \(2, 4\)"),
        (np.float32(1), np.ones((3, 5)), None, r"expected x of shape \(..., 5\), got \(\)"),
        (np.ones((2, 4)), np.ones(4), None, r"expected weight of shape \(C_out, C_in\), got \(4,\)"),
        (np.ones((2, 4)), np.ones((3, 4)), np.ones(4), r"expected bias of shape \(3,\), got \(4,\)"),
        (np.ones((2, 4), complex), np.ones((3, 4)), None, "expected x to hold real numbers, got dtype complex128"),
    ],
)
def test_bad_input_names_expected_and_received(x, weight, bias, message):
    with pytest.raises(InputError, match=message):
        linear(x, weight, bias)
