"""Properties of ``norm_linear``. Each names the wrong versions that it kills; ``tests/mutants.py`` breaks them in."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_layer_norm import magnitude as norm_magnitude

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.layers.layer_norm import layer_norm
from minisam_kernels.layers.linear import linear
from minisam_kernels.layers.norm_linear import TOLERANCE, norm_linear, norm_linear_numpy
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "forgets the norm": ("np.matmul(normal, weight.T", "np.matmul(rows, weight.T"),
    "forgets the bias": ("        y += bias", "        pass"),
    "reads the weight the other way round": ("normal, weight.T", "normal, weight.reshape(weight.T.shape)"),
    "swaps scale and shift": ("rows, norm_weight, norm_bias, np", "rows, norm_bias, norm_weight, np"),
    "another eps": ("np.float32(eps), normal", "np.float32(1e-6), normal"),
    "writes to the first image only": ("y = target[pieces[i]]", "y = target[0, pieces[i][1]]"),
    "readable version forgets the norm": ("layer_norm_numpy(x, norm_weight, norm_bias, eps), weight", "x, weight"),
    "readable version forgets the bias": ("eps), weight, bias)", "eps), weight)"),
}
small_pieces = mock.patch.dict(norm_linear.__globals__, ROWS=3)


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    c_in, c_out = draw(sizes(1, 40, edges=(8, 16))), draw(sizes(0, 40, edges=(8, 16)))
    lead = draw(st.sampled_from([(1,), (2,), (0,), (2, 3), (3, 4, 2), (2, 1, 7), (1, 0, 3), (2, 300)]))
    x, weight = draw(arrays((*lead, c_in))), draw(arrays((c_out, c_in)))
    norm = draw(arrays((c_in,))), draw(arrays((c_in,)))
    return x, *norm, weight, draw(arrays((c_out,))), draw(st.sampled_from([1e-6, 1e-1]))


def magnitude(x, norm_weight, norm_bias, weight, bias, eps) -> np.ndarray:
    """Σ n |W| + |b|, where n is the norm's own magnitude."""
    weight, bias = (np.abs(a.astype(np.float64)) for a in (weight, bias))
    return norm_magnitude(x, norm_weight, norm_bias, eps) @ weight.T + bias


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version forgets the norm, the bias."""
    double = [a.astype(np.float64) for a in drawn[:-1]]
    assert_close(norm_linear_numpy(*double, drawn[-1]), oracle(ops.norm_linear, *drawn), magnitude(*drawn), 1e-4)


@given(inputs())
def test_compiled_is_torch(drawn):
    """Agrees within its stated accuracy. Kills: forgets the norm, forgets the bias, reads the weight the other way
    round, swaps scale and shift, another eps, writes to the first image only."""
    assert_close(norm_linear(*drawn), oracle(ops.norm_linear, *drawn), magnitude(*drawn), TOLERANCE)


@given(inputs())
def test_is_the_two_operations(drawn):
    """However the work is cut. Kills: forgets the norm, swaps scale and shift, writes to the first image only."""
    x, norm_weight, norm_bias, weight, bias, eps = drawn
    expected = linear(layer_norm(x, norm_weight, norm_bias, eps), weight, bias)
    with small_pieces:
        assert_close(norm_linear(*drawn), expected.astype(np.float64), magnitude(*drawn), 2 * TOLERANCE)


@given(inputs())
def test_an_image_does_not_see_the_others(drawn):
    """Bit by bit: each image alone gives what it gives among others. Kills: writes to the first image only."""
    x, *rest = drawn
    together = norm_linear(x, *rest)
    for b in range(len(x)):
        np.testing.assert_array_equal(together[b], norm_linear(x[b : b + 1], *rest)[0])


ONE, TWO = np.ones(4), np.ones(3)


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        ((2, 5), (ONE, ONE, np.ones((3, 4)), TWO), r"expected x of shape \(B, ..., 4\), got \(2, 5\)"),
        ((4,), (ONE, ONE, np.ones((3, 4)), TWO), r"expected x of shape \(B, ..., 4\), got \(4,\)"),
        ((2, 0), (ONE, ONE, np.ones((3, 0)), TWO), r"expected x of shape \(B, ..., 1\), got \(2, 0\)"),
        ((2, 4), (ONE, ONE, ONE, TWO), r"expected weight of shape \(C_out, C_in\), got \(4,\)"),
        ((2, 4), (TWO, ONE, np.ones((3, 4)), TWO), r"expected norm_weight of shape \(4,\), got \(3,\)"),
        ((2, 4), (ONE, TWO, np.ones((3, 4)), TWO), r"expected norm_bias of shape \(4,\), got \(3,\)"),
        ((2, 4), (ONE, ONE, np.ones((3, 4)), ONE), r"expected bias of shape \(3,\), got \(4,\)"),
    ],
)
def test_bad_input_names_expected_and_received(x, arguments, message):
    with pytest.raises(InputError, match=message):
        norm_linear(np.ones(x), *arguments, eps=1e-6)
