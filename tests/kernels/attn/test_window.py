"""Properties of ``window_partition`` and its inverse. Each names the wrong versions that it kills (``mutants.py``)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.attn.window import (
    window_partition,
    window_partition_numpy,
    window_unpartition,
    window_unpartition_numpy,
)
from oracles import oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "pads with the edge instead of zeros": (
        "windows[j, r, s, c] = np.float32(0)",
        "windows[j, r, s, c] = x[h - 1, W - 1, c]",
    ),
    "pads a full window more": ("nh, nw = -(-H // w), -(-W // w)", "nh, nw = H // w + 1, W // w + 1"),
    "pads at the left": ("x[r, j * w + s, c]", "x[r, max(0, j * w + s - (-W % w)), c]"),
    "forgets the last rows": ("if r < h and", "if r < h - 1 and"),
    "swaps rows and columns of a window": (
        "x[r, s, c] = windows[s // w, r, s % w, c]",
        "x[r, s, c] = windows[s // w, s % w, r, c]",
    ),
    "readable version pads at the top": ("(0, -H % w), (0, -W % w)", "(-H % w, 0), (0, -W % w)"),
    "readable inverse cuts at the left": ("[:, :H, :W]", "[:, :H, nw * w - W :]"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    window_size = draw(st.integers(1, 7))
    edges = (window_size, 2 * window_size)
    shape = (draw(st.integers(0, 2)), draw(sizes(1, 15, edges)), draw(sizes(1, 15, edges)), draw(st.integers(1, 3)))
    return draw(arrays(shape)), window_size


@given(inputs())
def test_partition_is_torch(drawn):
    """Both versions are torch's, exactly. Kills: pads with the edge, pads a full window more, pads at the left, forgets
    the last rows, readable version pads at the top."""
    expected = oracle(ops.window_partition, *drawn)
    np.testing.assert_array_equal(window_partition_numpy(*drawn), expected)
    np.testing.assert_array_equal(window_partition(*drawn), expected)


@given(inputs())
def test_unpartition_is_torch(drawn):
    """Both versions are torch's, exactly. Kills: swaps rows and columns of a window, readable inverse cuts at
    the left."""
    x, window_size = drawn
    windows = np.random.default_rng(x.size).standard_normal(window_partition_numpy(x, window_size).shape)
    windows = windows.astype(np.float32)
    expected = oracle(ops.window_unpartition, windows, window_size, x.shape[1:3])
    np.testing.assert_array_equal(window_unpartition_numpy(windows, window_size, x.shape[1:3]), expected)
    np.testing.assert_array_equal(window_unpartition(windows, window_size, x.shape[1:3]), expected)


@given(inputs())
def test_there_and_back(drawn):
    """Law: the inverse brings every number back. Kills: pads at the left, forgets the last rows, swaps rows and
    columns of a window."""
    x, window_size = drawn
    np.testing.assert_array_equal(window_unpartition(window_partition(x, window_size), window_size, x.shape[1:3]), x)


@given(inputs())
def test_padding_is_zero_at_the_right_and_at_the_bottom(drawn):
    """SAM's quirk: exact zeros, after everything else. Kills: pads with the edge, pads a full window more, pads at
    the left."""
    x, window_size = drawn
    B, H, W, _ = x.shape
    windows = window_partition(np.ones_like(x), window_size)
    nh, nw = -(-H // window_size), -(-W // window_size)
    assert len(windows) == B * nh * nw
    if x.size:
        whole = window_unpartition(windows, window_size, (nh * window_size, nw * window_size))
        assert (whole[:, :H, :W] == 1).all() and not whole[:, H:].any() and not whole[:, :, W:].any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: window_partition(np.ones((4, 4, 1)), 2), r"expected x of shape \(B, H, W, C\), got \(4, 4, 1\)"),
        (lambda: window_partition(np.ones((1, 4, 4, 1)), 0), "expected window_size >= 1, got 0"),
        (
            lambda: window_unpartition(np.ones((3, 2, 2, 1)), 2, (4, 4)),
            r"expected windows of shape \(B \* 4, 2, 2, C\), got \(3, 2, 2, 1\)",
        ),
        (
            lambda: window_unpartition(np.ones((4, 2, 3, 1)), 2, (4, 4)),
            r"expected windows of shape \(B \* 4, 2, 2, C\), got \(4, 2, 3, 1\)",
        ),
        (lambda: window_unpartition(np.ones((4, 2, 2)), 2, (4, 4)), r"expected windows of shape \(B \* nW, w, w, C\)"),
    ],
)
def test_bad_input_names_expected_and_received(call, message):
    with pytest.raises(InputError, match=message):
        call()
