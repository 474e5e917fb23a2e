"""Properties of ``conv_transpose2d``. Each names the wrong versions that it kills."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.layers import conv_transpose2d as module
from minisam_kernels.layers.conv2d import conv2d
from minisam_kernels.layers.conv_transpose2d import TOLERANCE, conv_transpose2d, conv_transpose2d_numpy
from oracles import assert_close, oracle
from strategies import arrays

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "swaps rows and columns of the block": ("weight.transpose(2, 0, 3, 1)", "weight.transpose(3, 0, 2, 1)"),
    "channels before columns": ("weight.transpose(2, 0, 3, 1)", "weight.transpose(2, 0, 1, 3)"),
    "flips the block": ("weight.transpose(2, 0, 3, 1)", "weight[:, :, ::-1, ::-1].transpose(2, 0, 3, 1)"),
    "forgets the bias": ("target += both", "pass"),
    "repeats the bias by channel": ("np.tile(bias, 2)", "np.repeat(bias, 2)"),
    "loses the last piece": ("-(-batch * height // tile)", "batch * height // tile"),
    "readable version swaps rows and columns": ("y[:, u::2, v::2]", "y[:, v::2, u::2]"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    in_channels, out_channels = draw(st.integers(1, 20)), draw(st.integers(1, 9))
    x = draw(arrays((draw(st.integers(0, 2)), draw(st.integers(1, 5)), draw(st.integers(1, 5)), in_channels)))
    return x, draw(arrays((in_channels, out_channels, 2, 2))), draw(arrays((out_channels,)))


def magnitude(*drawn: np.ndarray) -> np.ndarray:
    """Σ |x · weight| + |bias| in float64."""
    return conv_transpose2d_numpy(*(np.abs(a.astype(np.float64)) for a in drawn))


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version swaps rows and columns."""
    actual = conv_transpose2d_numpy(*(a.astype(np.float64) for a in drawn))
    assert_close(actual, oracle(ops.conv_transpose2d, *drawn), magnitude(*drawn), 1e-4)


@given(inputs(), st.sampled_from([1, 100, 1 << 16]))
def test_fast_is_torch(drawn, tile):
    """For any size of a piece of work. Kills: swaps rows and columns of the block, channels before columns, flips the
    block, forgets the bias, repeats the bias by channel, loses the last piece."""
    with patch.object(module, "TILE", tile):
        actual = conv_transpose2d(*drawn)
    assert_close(actual, oracle(ops.conv_transpose2d, *drawn), magnitude(*drawn), TOLERANCE)


@given(inputs(), st.integers(0, 2**32 - 1))
def test_is_the_transpose_of_conv2d(drawn, seed):
    """Law: ⟨conv_transpose2d(x), y⟩ = ⟨x, conv2d(y)⟩ with one weight, stride 2, no bias. Kills: swaps rows and
    columns of the block, channels before columns, flips the block."""
    x, weight, bias = drawn
    up = conv_transpose2d(x, weight, np.zeros_like(bias)).astype(np.float64)
    y = np.random.default_rng(seed).standard_normal(up.shape)
    down = conv2d(y, weight, stride=2).astype(np.float64)
    size = (magnitude(x, weight, 0 * bias) * np.abs(y)).sum()
    # y is rounded to float32 in conv2d, half an eps of each term
    assert_close((up * y).sum(), (x * down).sum(), size, 2 * TOLERANCE + 1)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        ((4, 4, 3), (3, 2, 2, 2), (2,), r"expected x of shape \(B, H, W, C\), got \(4, 4, 3\)"),
        ((1, 4, 4, 3), (3, 2, 2), (2,), r"expected weight of shape \(C_in, C_out, 2, 2\), got \(3, 2, 2\)"),
        ((1, 4, 4, 3), (3, 2, 3, 3), (2,), r"expected weight of shape \(3, 2, 2, 2\), got \(3, 2, 3, 3\)"),
        ((1, 4, 4, 3), (2, 3, 2, 2), (3,), r"expected weight of shape \(3, 3, 2, 2\), got \(2, 3, 2, 2\)"),
        ((1, 4, 4, 3), (3, 2, 2, 2), (3,), r"expected bias of shape \(2,\), got \(3,\)"),
    ],
)
def test_bad_input_names_expected_and_received(x, weight, bias, message):
    with pytest.raises(InputError, match=message):
        conv_transpose2d(np.ones(x), np.ones(weight), np.ones(bias))
