"""Properties of ``gelu_masks``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import decoder_ops as ops
from minisam_kernels import InputError
from minisam_kernels.decoder.gelu_masks import TOLERANCE, gelu_masks, gelu_masks_numpy
from oracles import assert_close, oracle
from strategies import arrays, seeds, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "forgets the bias": ("target[n] = clipped_gelu(row[n] + b)", "target[n] = clipped_gelu(row[n])"),
    "every corner is the first": ("row, target, b = y[inner * channels + c]", "row, target, b = y[c]"),
    "counts half": (
        "vectors.reshape(1, masks, channels), bent",
        "vectors.reshape(1, masks, channels), bent * _HALF",
    ),
    "runs on from corner to corner": (
        "        answers[:] = _0\n",
        "        answers[:] = _0 if inner == 0 else answers\n",
    ),
    "rows and columns of the outer corner exchanged": (
        "2 * (corner // 2) + inner // 2, 2 * (corner % 2)",
        "2 * (corner % 2) + inner // 2, 2 * (corner // 2)",
    ),
    "rows and columns of the inner corner exchanged": (
        "+ inner // 2, 2 * (corner % 2) + inner % 2",
        "+ inner % 2, 2 * (corner % 2) + inner // 2",
    ),
    "leaves out a row that is not whole": ("-(-(first + count) // width)", "(first + count) // width"),
    "pads a tile's first row": ("max(first, i * width)", "i * width"),
    "every row begins with the tile": ("answers[m, n - first]", "answers[m, n - max(first, i * width)]"),
    "rows run on": ("4 * (n - i * width) + right", "4 * (n - first // width * width) + right"),
    "readable version forgets the bias": (" + bias[:, None]))", "))"),
}


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


@given(images())
def test_numpy_is_torch(drawn):
    """Kills: readable version forgets the bias."""
    (y, *_), bias, vectors, _ = drawn
    y, bias, vectors = (a.astype(np.float64) for a in (y, bias, vectors))
    size = mask_magnitude(y, bias, vectors)
    assert_close(gelu_masks_numpy(y, bias, vectors), oracle(ops.gelu_masks, y, bias, vectors), size, 1e-4)


@given(images(), st.sampled_from([1, 4, 8, 64]), seeds)
def test_masks_are_put_together(drawn, tile, seed):
    """Tiles in any order, the last one padded with leftovers, give the image. Kills: all wrong compiled versions."""
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
