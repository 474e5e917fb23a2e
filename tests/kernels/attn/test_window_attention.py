"""Properties of ``window_attention``. Each names the wrong versions that it kills (``mutants.py``)."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_attention import magnitude as attention_magnitude

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.attn import window_pieces
from minisam_kernels.attn.attention import attention
from minisam_kernels.attn.window import window_partition, window_unpartition
from minisam_kernels.attn.window_attention import TOLERANCE, window_attention, window_attention_numpy
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "appended tokens are zeros": ("bias[1, first + head, d] * scale", "bias[1, first + head, d] * 0"),
    "appended values are zeros": ("= bias[2, first + head, d]", "= bias[2, first + head, d] * 0"),
    "appended keys are not scaled": ("bias[1, first + head, d] * scale", "bias[1, first + head, d]"),
    "forgets to scale the scores": ("token[1, first + head, d] * scale", "token[1, first + head, d]"),
    "bias from the scaled query": ("np.matmul(q, tables.T", "np.matmul(q * np.float32(D**-0.5), tables.T"),
    "every window is the first": ("left + window * size + s]", "left + s]"),
    "heads of the first piece": ("token[0, first + head, d]", "token[0, head, d]"),
    "a query's place in a whole window": ("rel_pos(scores, terms, 0, w,", "rel_pos(scores, terms, 0, size,"),
    "forgets to divide": ("np.float32(1) / totals[window, head, r, s]", "np.float32(1)"),
    "the wrong image": ("_gather(\n            images[b]", "_gather(\n            images[0]"),
    "readable version appends zeros": ("    padded[:] = bias\n", "    padded[:] = 0\n"),
}
small_pieces = mock.patch.object(window_pieces, "SCORES", 20)


@st.composite
def inputs(draw: st.DrawFn):
    """Images with whole windows only, with windows that are padded, and with one that is larger than they are."""
    num_heads, D, B = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 4])), draw(st.integers(1, 2))
    size = draw(st.integers(1, 4))
    H, W = draw(sizes(1, 9, edges=(size, 2 * size))), draw(sizes(1, 9, edges=(size, 2 * size)))
    qkv = draw(arrays((B, H, W, 3 * num_heads * D), scale=1.0, spikes=False))
    bias = draw(arrays((3 * num_heads * D,), scale=1.0, spikes=False))
    if draw(st.booleans()):
        return qkv, bias, num_heads, size
    tables = [draw(arrays((draw(st.sampled_from([2 * size - 1, 3])), D), scale=1.0, spikes=False)) for _ in range(2)]
    return qkv, bias, num_heads, size, *tables


def filled(qkv: np.ndarray, bias: np.ndarray, size: int) -> np.ndarray:
    """The windows as SAM makes them, the appended tokens' q, k, v set to the bias."""
    real = window_partition(np.ones_like(qkv[..., :1]), size)
    return window_partition(qkv, size) + (1 - real) * bias


def magnitude(qkv, bias, num_heads, size, *tables) -> np.ndarray:
    windows = attention_magnitude(filled(qkv, bias, size), num_heads, *tables)
    H, W = qkv.shape[1:3]
    rows = -(-H // size)
    grid = windows.reshape(len(qkv), rows, -(-W // size), size, size, -1).transpose(0, 1, 3, 2, 4, 5)
    return grid.reshape(len(qkv), rows * size, -(-W // size) * size, -1)[:, :H, :W]


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version appends zeros."""
    double = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in drawn]
    assert_close(window_attention_numpy(*double), oracle(ops.window_attention, *drawn), magnitude(*drawn), 1e-4)


@given(inputs())
def test_compiled_is_torch(drawn):
    """Agrees within its stated accuracy. Kills: appended tokens or values are zeros, appended keys are not scaled,
    forgets to scale the scores, bias from the scaled query, every window is the first, a query's place in a whole
    window, forgets to divide, the wrong image."""
    assert_close(window_attention(*drawn), oracle(ops.window_attention, *drawn), magnitude(*drawn), TOLERANCE)


@small_pieces
@given(inputs())
def test_small_pieces_change_nothing(drawn):
    """However the work is cut. Kills: heads of the first piece, every window is the first."""
    assert_close(window_attention(*drawn), oracle(ops.window_attention, *drawn), magnitude(*drawn), TOLERANCE)


@given(inputs())
def test_is_attention_over_windows_that_are_cut_out(drawn):
    """Law: the constant tokens stand for SAM's appended ones. Kills: appended tokens are zeros."""
    qkv, bias, num_heads, size, *tables = drawn
    y = attention(filled(qkv, bias, size), num_heads, *tables)
    expected = window_unpartition(y, size, qkv.shape[1:3]).astype(np.float64)
    assert_close(window_attention(*drawn), expected, magnitude(*drawn), 2 * TOLERANCE)


@given(inputs())
def test_an_image_does_not_see_the_others(drawn):
    """Bit by bit: each image alone gives what it gives among others. Kills: the wrong image."""
    qkv, *rest = drawn
    together = window_attention(*drawn)
    for b in range(len(qkv)):
        np.testing.assert_array_equal(together[b], window_attention(qkv[b : b + 1], *rest)[0])


def test_no_image_at_all():
    assert window_attention(np.empty((0, 2, 3, 12)), np.empty(12), 2, 2).shape == (0, 2, 3, 4)


ONE = np.ones((3, 4))


@pytest.mark.parametrize(
    ("qkv", "bias", "num_heads", "size", "tables", "message"),
    [
        ((2, 2, 12), 12, 1, 2, (), r"expected qkv of shape \(B, H, W, 3 \* C\), got \(2, 2, 12\)"),
        ((1, 2, 2, 12), 4, 1, 2, (), r"expected bias of shape \(12,\), got \(4,\)"),
        ((1, 2, 2, 12), 12, 3, 2, (), r"expected a last axis of qkv that is a multiple of 3 \* 3, got 12"),
        ((1, 2, 2, 12), 12, 1, 0, (), "expected window_size >= 1, got 0"),
        ((1, 2, 2, 12), 12, 1, 2, (ONE, None), "expected both rel_pos_h and rel_pos_w or neither, got one"),
        ((1, 2, 2, 12), 12, 1, 2, (ONE, ONE[:, :2]), r"expected rel_pos_w of shape \(3, 4\), got \(3, 2\)"),
    ],
)
def test_bad_input_names_expected_and_received(qkv, bias, num_heads, size, tables, message):
    with pytest.raises(InputError, match=message):
        window_attention(np.ones(qkv), np.ones(bias), num_heads, size, *tables)
