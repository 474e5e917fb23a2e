"""Properties of ``layer_norm``. Each names the wrong versions that it kills; ``tests/mutants.py`` breaks them in."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.layers.layer_norm import TOLERANCE, layer_norm, layer_norm_numpy
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "forgets eps": ("squares / np.float32(channels) + eps", "squares / np.float32(channels)"),
    "unbiased variance": ("squares / np.float32(channels)", "squares / np.float32(max(channels - 1, 1))"),
    "does not subtract the mean": ("out[n, c] = (x[n, c] - mean)", "out[n, c] = x[n, c]"),
    "swaps scale and shift": ("* weight[c] + bias[c]", "* bias[c] + weight[c]"),
    "leaves out the last piece": ("-(-len(source) // rows)", "len(source) // rows"),
    "one row too few in a piece": ("(i + 1) * rows)", "(i + 1) * rows - 1)"),
    "readable version forgets eps": ("np.sqrt(variance + eps)", "np.sqrt(variance)"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    channels = draw(sizes(1, 70, edges=(8, 16, 64)))
    lead = draw(st.sampled_from([(), (1,), (5,), (2, 3), (0,), (2, 3, 2)]))
    x = draw(arrays((*lead, channels)))
    return x, draw(arrays((channels,))), draw(arrays((channels,))), draw(st.sampled_from([1e-6, 1e-5, 1e-1]))


def magnitude(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    """|y − bias| + |bias| + |μ|/√(σ² + ε)·|weight|, all in float64."""
    x, weight, bias = (a.astype(np.float64) for a in (x, weight, bias))
    mean, spread = x.mean(-1, keepdims=True), np.sqrt(x.var(-1, keepdims=True) + eps)
    largest = np.abs(x).max(-1, keepdims=True, initial=0)
    return (np.abs(x - mean) + np.abs(mean) + largest) / spread * np.abs(weight) + np.abs(bias)


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version forgets eps."""
    x, weight, bias, eps = drawn
    double = [a.astype(np.float64) for a in (x, weight, bias)]
    assert_close(layer_norm_numpy(*double, eps), oracle(ops.layer_norm, *drawn), magnitude(*drawn), 1e-4)


@given(inputs())
def test_compiled_is_torch(drawn):
    """The compiled one is as accurate as it says. Kills: forgets eps, unbiased variance, swaps scale and shift."""
    assert_close(layer_norm(*drawn), oracle(ops.layer_norm, *drawn), magnitude(*drawn), TOLERANCE)


@given(inputs(), st.integers(1, 200))
def test_small_pieces_change_nothing(drawn, size):
    """However the rows are shared out, bit by bit. Kills: leaves out the last piece, one row too few in a piece."""
    with mock.patch.dict(layer_norm.__globals__, SIZE=size):
        cut = layer_norm(*drawn)
    np.testing.assert_array_equal(cut, layer_norm(*drawn))


@given(inputs(), st.floats(-100, 100, width=32))
def test_adding_a_constant_changes_nothing(drawn, shift):
    """Law: the mean is taken out, so x and x + shift have one result. Kills: does not subtract the mean."""
    x, weight, bias, eps = drawn
    moved = x + np.float32(shift)
    allowed = (
        magnitude(moved, weight, bias, eps) + magnitude(x, weight, bias, eps) + abs(shift) / eps**0.5 * np.abs(weight)
    )
    assert_close(
        layer_norm(moved, weight, bias, eps), layer_norm(x, weight, bias, eps).astype(np.float64), allowed, TOLERANCE
    )


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        (np.ones((2, 4)), np.ones(3), np.ones(4), r"expected weight of shape \(4,\), got \(3,\)"),
        (np.ones((2, 4)), np.ones(4), np.ones((4, 1)), r"expected bias of shape \(4,\), got \(4, 1\)"),
        (np.ones((2, 0)), np.ones(0), np.ones(0), r"expected x of shape \(..., C\) with C >= 1, got \(2, 0\)"),
        (np.array(["a"]), np.ones(1), np.ones(1), "expected x to hold real numbers, got dtype <U1"),
    ],
)
def test_bad_input_names_expected_and_received(x, weight, bias, message):
    with pytest.raises(InputError, match=message):
        layer_norm(x, weight, bias, 1e-6)
