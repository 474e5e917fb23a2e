"""Properties of ``norm_gelu``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import decoder_ops as ops
from minisam_kernels import InputError
from minisam_kernels.decoder.norm_gelu import TOLERANCE, norm_gelu, norm_gelu_numpy
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "forgets the image": ("row[n] + scale[n] * other[n] + b", "row[n] + b"),
    "the image without its scale": ("scale[n] * other[n] + b", "other[n] + b"),
    "forgets the bias": ("scale[n] * other[n] + b", "scale[n] * other[n]"),
    "means run on from corner to corner": (
        "        mean[:] = _0\n",
        "        mean[:] = _0 if first == 0 else mean\n",
    ),
    "spreads run on from corner to corner": (
        "        spread[:] = _0\n",
        "        spread[:] = _0 if first == 0 else spread\n",
    ),
    "forgets eps": ("/ np.float32(channels) + eps)", "/ np.float32(channels))"),
    "no bend": ("clipped_gelu((row[n] - mean[n]) * spread[n] * w + b)", "(row[n] - mean[n]) * spread[n] * w + b"),
    "not cut off to the left": ("t = -_ERF_END if t < -_ERF_END else t", "t = t"),
    "not cut off to the right": ("t = _ERF_END if t > _ERF_END else t", "t = t"),
    "readable version: no bend": (
        "gelu_numpy(layer_norm_numpy(y, weight, shift, eps))",
        "layer_norm_numpy(y, weight, shift, eps)",
    ),
}


@st.composite
def tiles(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    channels, pixels = draw(sizes(1, 9, edges=(4, 8))), draw(sizes(1, 24, edges=(8, 16)))
    shapes = ((4 * channels, pixels), (4 * channels, pixels), (pixels,), (4 * channels,), (channels,), (channels,))
    return tuple(draw(arrays(shape)) for shape in shapes)


def norm_magnitude(x, z, scale, bias, weight, shift) -> np.ndarray:
    """Largest (|x| + |scale z| + |b|) of a corner's channels / σ · |weight| + |shift|, (4 · C, P) in float64."""
    x, z, scale, bias, weight, shift = (a.astype(np.float64) for a in (x, z, scale, bias, weight, shift))
    y = (x + scale * z + bias[:, None]).reshape(4, len(weight), -1)
    terms = (np.abs(x) + np.abs(scale * z) + np.abs(bias)[:, None]).reshape(y.shape).max(axis=1, keepdims=True)
    size = terms / np.sqrt(y.var(axis=1, keepdims=True) + 1e-6)
    # the error of σ itself is relative: (terms / σ)² of its square at the worst
    size = size * (1 + np.minimum(size, 1e4) * 0.25)
    return (size * np.abs(weight)[:, None] + np.abs(shift)[:, None]).reshape(x.shape)


@given(tiles())
def test_numpy_is_torch(drawn):
    """Kills: readable version: no bend."""
    double = [a.astype(np.float64) for a in drawn]
    assert_close(norm_gelu_numpy(*double), oracle(ops.norm_gelu, *drawn), norm_magnitude(*drawn), 1e-4)


@given(tiles())
def test_compiled_is_torch(drawn):
    """Kills: all that forget something, means or spreads run on from corner to corner, no bend."""
    assert_close(norm_gelu(*drawn), oracle(ops.norm_gelu, *drawn), norm_magnitude(*drawn), TOLERANCE)


def test_bend_far_out():
    """GELU is 0 far to the left and x far to the right, to eps · |x|. Kills: not cut off to the left, to the right."""
    shift = np.array([-1e4, -50, -6, 6, 50, 1e4], np.float32)
    out = norm_gelu(*np.zeros((2, 24, 1)), [0], np.zeros(24), np.zeros(6), shift).reshape(4, 6)
    assert (np.abs(out - np.maximum(shift, 0)) <= 4 * np.finfo(np.float32).eps * np.abs(shift)).all()


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((8,), (8, 5), (5,), (8,), (2,), (2,)), r"expected x of shape \(4 · C, P\), got \(8,\)"),
        (((9, 5), (9, 5), (5,), (9,), (2,), (2,)), r"expected x of shape \(8, 5\), got \(9, 5\)"),
        (((8, 5), (8, 4), (5,), (8,), (2,), (2,)), r"expected z of shape \(8, 5\), got \(8, 4\)"),
        (((8, 5), (8, 5), (4,), (8,), (2,), (2,)), r"expected scale of shape \(5,\), got \(4,\)"),
        (((8, 5), (8, 5), (5,), (7,), (2,), (2,)), r"expected bias of shape \(8,\), got \(7,\)"),
        (((8, 5), (8, 5), (5,), (8,), (2,), (3,)), r"expected shift of shape \(2,\), got \(3,\)"),
    ],
)
def test_bad_input_names_expected_and_received(shapes, message):
    with pytest.raises(InputError, match=message):
        norm_gelu(*map(np.ones, shapes))
