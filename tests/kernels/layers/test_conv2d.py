"""Properties of ``conv2d``. Each names the wrong versions that it kills."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.layers import conv2d as module
from minisam_kernels.layers.conv2d import TOLERANCE, conv2d, conv2d_numpy
from oracles import assert_close, oracle
from strategies import arrays

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "flips the kernel": ("(first + i) + u - padding", "(first + i) + kernel_height - 1 - u - padding"),
    "transposes the kernel": ("weight.transpose(2, 3, 1, 0)", "weight.transpose(3, 2, 1, 0)"),
    "every tile is the first": ("stride * (first + i)", "stride * i"),
    "no stride along the row": ("stride * j + v", "j + v"),
    "reads around the left and upper edge": ("0 <= y < height and 0 <= z < width", "y < height and z < width"),
    "pads with ones": ("out[i, j, u, v, c] = np.float32(0)", "out[i, j, u, v, c] = np.float32(1)"),
    "forgets the bias": ("target += bias", "pass"),
    "takes 1×1 with a stride for plain 1×1": ("kernel_width == stride == 1 and", "kernel_width == 1 and"),
    "takes 1×1 with padding for plain 1×1": ("stride == 1 and padding == 0", "stride == 1"),
    "readable version flips the kernel": ("weight[:, :, u, v].T", "weight[:, :, -1 - u, -1 - v].T"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, int, int]:
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (2, 2), (1, 3), (3, 2)]))
    stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    size = [draw(st.integers(max(1, k - 2 * padding), 7)) for k in kernel]
    in_channels, out_channels = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    x = draw(arrays((draw(st.sampled_from([1, 2, 0])), *size, in_channels)))
    bias = draw(st.one_of(st.none(), arrays((out_channels,))))
    return x, draw(arrays((out_channels, in_channels, *kernel))), bias, stride, padding


def magnitude(x, weight, bias, stride, padding) -> np.ndarray:
    """Σ |weight · x| + |bias| in float64."""
    x, weight = np.abs(x.astype(np.float64)), np.abs(weight.astype(np.float64))
    return conv2d_numpy(x, weight, None if bias is None else np.abs(bias.astype(np.float64)), stride, padding)


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version flips the kernel."""
    x, weight, bias, stride, padding = drawn
    double = [None if a is None else a.astype(np.float64) for a in (x, weight, bias)]
    expected = oracle(ops.conv2d, *drawn)
    assert_close(conv2d_numpy(*double, stride, padding), expected, magnitude(*drawn), 1e-4)


@given(inputs(), st.sampled_from([1, 40, 1 << 17]))
def test_compiled_is_torch(drawn, tile):
    """For any size of a piece of work. Kills: every tile is the first, no stride along the row, reads around the edge,
    pads with ones, forgets the bias, 1×1 with a stride or with padding taken for plain 1×1, transposes the kernel."""
    with patch.object(module, "TILE", tile):
        actual = conv2d(*drawn)
    assert_close(actual, oracle(ops.conv2d, *drawn), magnitude(*drawn), TOLERANCE)


@given(arrays((1, 1, 3, 2), spikes=False))
def test_a_single_bright_pixel_shows_the_kernel(weight):
    """Law: this is a correlation, so the image of one pixel is the kernel turned by 180°. Kills: flips the kernel,
    transposes the kernel."""
    x = np.zeros((1, 5, 3, 1), np.float32)
    x[0, 2, 1, 0] = 1
    expected = np.zeros((1, 3, 2, 1), np.float32)
    expected[0, :, :, 0] = weight[0, 0, ::-1, ::-1]
    np.testing.assert_array_equal(conv2d(x, weight), expected)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (1, 1), (2, 0), (2, 1)])
def test_one_by_one(stride, padding):
    """A 1×1 kernel reads single pixels, and some of them lie in the padding. Kills: takes 1×1 with a stride or with
    padding for plain 1×1."""
    x, weight = np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4, 1), np.full((1, 1, 1, 1), 2)
    p = padding
    expected = 2 * np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))[:, ::stride, ::stride]
    np.testing.assert_array_equal(conv2d(x, weight, None, stride, padding), expected)


@pytest.mark.parametrize("size", [1, 3])
def test_an_image_of_zeros_becomes_the_bias(size):
    """Law. Kills: forgets the bias."""
    y = conv2d(np.zeros((1, 4, 5, 2)), np.ones((3, 2, size, size)), [1, 2, 3], padding=size // 2)
    np.testing.assert_array_equal(y, np.broadcast_to([1, 2, 3], (1, 4, 5, 3)))


X, W = np.ones((1, 4, 4, 3)), np.ones((2, 3, 3, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[0], W), r"expected x of shape \(B, H, W, C\), got \(4, 4, 3\)"),
        ((X, W[0]), r"expected weight of shape \(C_out, C_in, kh, kw\), got \(3, 3, 3\)"),
        ((X[..., :2], W), r"expected weight of shape \(2, 2, 3, 3\), got \(2, 3, 3, 3\)"),
        ((X, W, np.ones(3)), r"expected bias of shape \(2,\), got \(3,\)"),
        ((X, W, None, 0), "expected stride >= 1 and padding >= 0, got 0 and 0"),
        ((X, W, None, 1, -1), "expected stride >= 1 and padding >= 0, got 1 and -1"),
        ((X[:, :2], W), r"expected a kernel of size .* = \(2, 4\), got \(3, 3\)"),
        ((X, W[:, :, :0]), r"expected a kernel of size from \(1, 1\) .*, got \(0, 3\)"),
    ],
)
def test_bad_input_names_expected_and_received(arguments, message):
    with pytest.raises(InputError, match=message):
        conv2d(*arguments)
