"""Properties of ``norm_gelu`` and ``gelu_masks``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import decoder_ops as ops
from minisam_kernels import InputError
from minisam_kernels.decoder.upscale import TOLERANCE, gelu_masks, gelu_masks_numpy, norm_gelu, norm_gelu_numpy
from oracles import assert_close, oracle
from strategies import arrays, seeds, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "norm: forgets the image": ("row[n] + scale[n] * other[n] + b", "row[n] + b"),
    "norm: the image without its scale": ("scale[n] * other[n] + b", "other[n] + b"),
    "norm: forgets the bias": ("scale[n] * other[n] + b", "scale[n] * other[n]"),
    "norm: means run on from corner to corner": (
        "        mean[:] = _0\n",
        "        mean[:] = _0 if first == 0 else mean\n",
    ),
    "norm: spreads run on from corner to corner": (
        "        spread[:] = _0\n",
        "        spread[:] = _0 if first == 0 else spread\n",
    ),
    "norm: forgets eps": ("/ np.float32(channels) + eps)", "/ np.float32(channels))"),
    "norm: no bend": ("_gelu((row[n] - mean[n]) * spread[n] * w + b)", "(row[n] - mean[n]) * spread[n] * w + b"),
    "bend: not cut off to the left": ("t = -_ERF_END if t < -_ERF_END else t", "t = t"),
    "bend: not cut off to the right": ("t = _ERF_END if t > _ERF_END else t", "t = t"),
    "masks: forgets the bias": ("target[n] = _gelu(row[n] + b)", "target[n] = _gelu(row[n])"),
    "masks: every corner is the first": ("row, target, b = y[inner * channels + c]", "row, target, b = y[c]"),
    "masks: counts half": (
        "vectors.reshape(1, masks, channels), bent",
        "vectors.reshape(1, masks, channels), bent * _HALF",
    ),
    "masks: runs on from corner to corner": (
        "        answers[:] = _0\n",
        "        answers[:] = _0 if inner == 0 else answers\n",
    ),
    "masks: rows and columns of the outer corner exchanged": (
        "2 * (corner // 2) + inner // 2, 2 * (corner % 2)",
        "2 * (corner % 2) + inner // 2, 2 * (corner // 2)",
    ),
    "masks: rows and columns of the inner corner exchanged": (
        "+ inner // 2, 2 * (corner % 2) + inner % 2",
        "+ inner % 2, 2 * (corner % 2) + inner // 2",
    ),
    "masks: leaves out a row that is not whole": ("-(-(first + count) // width)", "(first + count) // width"),
    "masks: pads a tile's first row": ("max(first, i * width)", "i * width"),
    "masks: every row begins with the tile": ("answers[m, n - first]", "answers[m, n - max(first, i * width)]"),
    "masks: rows run on": ("4 * (n - i * width) + right", "4 * (n - first // width * width) + right"),
    "readable version of norm: no bend": (
        "gelu_numpy(layer_norm_numpy(y, weight, shift, eps))",
        "layer_norm_numpy(y, weight, shift, eps)",
    ),
    "readable version of masks forgets the bias": (" + bias[:, None]))", "))"),
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
    """Kills: readable version of norm: no bend, readable version of masks forgets the bias."""
    double = [a.astype(np.float64) for a in drawn]
    assert_close(norm_gelu_numpy(*double), oracle(ops.norm_gelu, *drawn), norm_magnitude(*drawn), 1e-4)
    y, bias, vectors = double[0], double[4], double[5][None]
    size = mask_magnitude(y, bias, vectors)
    assert_close(gelu_masks_numpy(y, bias, vectors), oracle(ops.gelu_masks, y, bias, vectors), size, 1e-4)


@given(tiles())
def test_compiled_norm_is_torch(drawn):
    """Kills: all of norm's, and of the bend."""
    assert_close(norm_gelu(*drawn), oracle(ops.norm_gelu, *drawn), norm_magnitude(*drawn), TOLERANCE)


def test_bend_far_out():
    """GELU is 0 far to the left and x far to the right, to eps · |x|. Kills: not cut off to the left, to the right."""
    y = np.array([[-1e4, -50, -6, 6, 50, 1e4]], np.float32).repeat(4, axis=0)
    out = np.zeros((1, 4, 24), np.float32)
    gelu_masks(y, np.zeros(1), np.ones((1, 1)), 0, 0, 6, out)
    np.testing.assert_allclose(out[0, 0, 0::4], [0, 0, 0, 6, 50, 1e4], rtol=1e-6, atol=3e-3)
    assert (np.abs(out[0, 0, 0:12:4]) <= 4 * np.finfo(np.float32).eps * np.abs(y[0, :3])).all()


def mask_magnitude(y, bias, vectors) -> np.ndarray:
    """Σ |vectors| (|y| + |b|), (M, 4, P)."""
    y, bias, vectors = (np.abs(a.astype(np.float64)) for a in (y, bias, vectors))
    return np.einsum("mc,kcp->mkp", vectors, y.reshape(4, len(bias), -1) + bias[:, None])


@st.composite
def images(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """h · w image tokens as y (4 corners, 4 · C, h · w), bias, vectors, and w."""
    channels, height, width = draw(sizes(1, 9, edges=(4, 8))), draw(st.integers(1, 4)), draw(st.integers(1, 6))
    y = draw(arrays((4, 4 * channels, height * width), scale=1.0))
    return y, draw(arrays((channels,), scale=1.0)), draw(arrays((draw(st.integers(1, 3)), channels))), width


@given(images(), st.sampled_from([1, 4, 8, 64]), seeds)
def test_masks_are_put_together(drawn, tile, seed):
    """Tiles in any order, the last one padded with leftovers, give the whole image. Kills: all of masks'."""
    y, bias, vectors, width = drawn
    tokens = y.shape[2]
    height = tokens // width
    out = np.full((len(vectors), 4 * height, 4 * width), np.nan, np.float32)
    for t in np.random.default_rng(seed).permutation(-(-tokens // tile)):
        part = y[:, :, t * tile : (t + 1) * tile]
        part = np.pad(part, ((0, 0), (0, 0), (0, tile - part.shape[2])), constant_values=7)
        for corner in range(4):
            gelu_masks(part[corner], bias, vectors, corner, t * tile, width, out)
    each = [(oracle(ops.gelu_masks, c, bias, vectors), mask_magnitude(c, bias, vectors)) for c in y]
    both = []
    for corners in zip(*each):  # (corner, M, inner corner, P) → (M, 4h, 4w)
        whole = np.stack(corners).reshape(2, 2, len(vectors), 2, 2, height, width)
        both.append(whole.transpose(2, 5, 0, 3, 6, 1, 4).reshape(out.shape))
    assert_close(out, *both, TOLERANCE)


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


@pytest.mark.parametrize(
    ("y", "bias", "vectors", "message"),
    [
        ((8,), (2,), (3, 2), r"expected y of shape \(4 · C, P\), got \(8,\)"),
        ((9, 5), (2,), (3, 2), r"expected y of shape \(8, 5\), got \(9, 5\)"),
        ((8, 5), (3,), (3, 2), r"expected bias of shape \(2,\), got \(3,\)"),
        ((8, 5), (2,), (2,), r"expected vectors of shape \(M, C\), got \(2,\)"),
        ((8, 5), (2,), (2, 2), r"expected out of shape \(2, 4, 20\), got \(3, 4, 20\)"),
    ],
)
def test_bad_masks_name_expected_and_received(y, bias, vectors, message):
    with pytest.raises(InputError, match=message):
        gelu_masks(np.ones(y), np.ones(bias), np.ones(vectors), 0, 0, 5, np.zeros((3, 4, 20), np.float32))


@pytest.mark.parametrize(
    ("corner", "first", "out", "message"),
    [
        (4, 0, np.zeros((3, 4, 20), np.float32), "expected corner < 4, .* got 4, 0, float32"),
        (0, -1, np.zeros((3, 4, 20), np.float32), "expected corner < 4, .* got 0, -1, float32"),
        (0, 0, np.zeros((3, 4, 20)), "expected corner < 4, .* got 0, 0, float64"),
        (0, 0, np.zeros((3, 5, 20), np.float32), r"expected out of shape \(3, 4, 20\), got \(3, 5, 20\)"),
        (0, 0, np.zeros((3, 20), np.float32), r"expected out of shape \(M, 4h, 4w\), got \(3, 20\)"),
    ],
)
def test_nothing_is_written_outside(corner, first, out, message):
    with pytest.raises(InputError, match=message):
        gelu_masks(np.ones((8, 5)), np.ones(2), np.ones((3, 2)), corner, first, 5, out)
