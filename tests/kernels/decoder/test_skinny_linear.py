"""Properties of ``skinny_linear``. Each names the wrong versions that it kills."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import decoder_ops as ops
from minisam_kernels import InputError
from minisam_kernels.decoder.skinny_linear import TOLERANCE, skinny_linear, skinny_linear_numpy
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "forgets a bias": ("s31 + bias[o1]", "s31"),
    "the third token is the second": (
        "a0, a1, a2, a3 = x[t0], x[t1], x[t2], x[t3]",
        "a0, a1, a2, a3 = x[t0], x[t1], x[t1], x[t3]",
    ),
    "the second row is the first": ("w0, w1 = weight[o0], weight[o1]", "w0, w1 = weight[o0], weight[o0]"),
    "leaves out the last block of tokens": ("range(0, tokens, 4)", "range(0, max(1, tokens - 3), 4)"),
    "leaves out the last block of rows": ("range(begin, end, 2)", "range(begin, max(begin + 1, end - 1), 2)"),
    "runs on from token to token": (
        "s00 = s01 = s10 = s11 =",
        "s00 = np.float32(first)\n            s01 = s10 = s11 =",
    ),
    "leaves out the last piece": ("-(-len(weight) // rows)", "len(weight) // rows"),
    "a piece has a ReLU in its first rows only": (
        "for o in range(begin, end):",
        "for o in range(begin, min(end, begin + 3)):",
    ),
    "always a ReLU": ("    if relu:\n", "    if True:\n"),
    "a ReLU that lets NaN vanish": (
        "np.float32(0) if out[t, o] < 0 else out[t, o]",
        "out[t, o] if out[t, o] > 0 else np.float32(0)",
    ),
    "readable version without a ReLU": ("np.maximum(y, 0) if relu else y", "y"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    tokens, c_in = draw(sizes(0, 10, edges=(1, 4, 8))), draw(sizes(0, 40, edges=(1, 8, 32)))
    c_out = draw(sizes(0, 20, edges=(1, 2, 3)))
    return draw(arrays((tokens, c_in))), draw(arrays((c_out, c_in))), draw(arrays((c_out,))), draw(st.booleans())


def magnitude(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, relu: bool) -> np.ndarray:
    """Σ |x| |W| + |b|."""
    return skinny_linear_numpy(*(np.abs(a.astype(np.float64)) for a in (x, weight, bias)))


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version without a ReLU."""
    actual = skinny_linear_numpy(*(a.astype(np.float64) for a in drawn[:3]), drawn[3])
    assert_close(actual, oracle(ops.skinny_linear, *drawn), magnitude(*drawn), 1e-4)


@given(inputs())
def test_compiled_is_torch(drawn):
    """Blocks that are whole and not. Kills: forgets a bias, the third token is the second, the second row is the first,
    leaves out the last block of tokens, of rows, runs on from token to token, always a ReLU."""
    assert_close(skinny_linear(*drawn), oracle(ops.skinny_linear, *drawn), magnitude(*drawn), TOLERANCE)


@given(inputs())
def test_a_token_alone_has_the_same_bits(drawn):
    """Law: neither its neighbours nor its place in a block change a token's bits, which is what makes answers the same
    in any batch. Kills: leaves out the last block of tokens."""
    x, weight, bias, relu = drawn
    together = skinny_linear(x, weight, bias, relu)
    for t in range(len(x)):
        np.testing.assert_array_equal(skinny_linear(x[t : t + 1], weight, bias, relu)[0], together[t])


@given(inputs(), st.sampled_from([1, 50, 100]))
def test_pieces_have_the_same_bits(drawn, size):
    """Law: cut into pieces of whatever size. Kills: leaves out the last piece, a piece has a ReLU in its first rows
    only."""
    whole = skinny_linear(*drawn)
    with mock.patch.dict(skinny_linear.__globals__, SIZE=size):
        np.testing.assert_array_equal(skinny_linear(*drawn), whole)


def test_nan_goes_through_a_relu():
    """torch's max(NaN, 0) is NaN. Kills: a ReLU that lets NaN vanish."""
    y = skinny_linear(np.array([[np.nan], [1.0]]), np.ones((2, 1)), np.zeros(2), relu=True)
    assert np.isnan(y[0]).all() and (y[1] == 1).all()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3, 4), (5, 6), (5,)), r"expected x of shape \(T, 6\), got \(3, 4\)"),
        (((4,), (5, 4), (5,)), r"expected x of shape \(T, 4\), got \(4,\)"),
        (((3, 4), (4,), (5,)), r"expected weight of shape \(C_out, C_in\), got \(4,\)"),
        (((3, 4), (5, 4), (4,)), r"expected bias of shape \(5,\), got \(4,\)"),
    ],
)
def test_bad_input_names_expected_and_received(shapes, message):
    with pytest.raises(InputError, match=message):
        skinny_linear(*map(np.ones, shapes))
