"""How a wrong number is shown: where it is, what came, what was wanted, and which file computes it."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from oracles import EPS, assert_close

WANTED = np.array([[0.5, -2.0, 3.0], [1e-3, 4.0, np.inf]])
FAR = 1e3 * EPS


@pytest.mark.parametrize(
    ("index", "got"),
    [
        ((0, 0), 0.75), ((0, 1), 2.0), ((0, 2), np.nan), ((1, 0), 0.0), ((1, 1), 4.0 + FAR), ((1, 1), -np.inf),
        ((1, 2), 7.0), ((1, 2), np.nan), ((1, 2), -np.inf), ((0, 2), np.inf), ((1, 0), -1e-3),
    ],
)  # fmt: skip
def test_the_index_and_both_numbers(index, got):
    """One wrong number of six, NaN and infinities among them."""
    actual = WANTED.astype(np.float32)
    assert_close(actual, WANTED, np.abs(WANTED), 2.0)
    actual[index] = got
    with pytest.raises(AssertionError) as caught:
        assert_close(actual, WANTED, np.where(np.isfinite(WANTED), np.abs(WANTED), 1.0), 2.0)
    message = str(caught.value)
    assert f"at {list(index)}: got {np.float32(got):.9g}, wanted {WANTED[index]:.9g}, error" in message
    assert message.endswith("1 of 6 differ"), "no kernel's test: no file is named"


def test_the_worst_of_several():
    actual = np.array([1.0, 1.1, 1.5, 1.2], np.float32)
    with pytest.raises(AssertionError, match=r"at \[2\]: got 1.5, wanted 1, .*; 3 of 4 differ"):
        assert_close(actual, np.ones(4), 1.0, 4.0)


@pytest.mark.parametrize(
    "name", ["layers/gelu", "attn/attention", "masks/nms", "losses/iou", "decoder/merge_tiles", "runtime/elementary"]
)
def test_the_kernels_file(monkeypatch, name):
    """Where the caller is a kernel's test; shapes as well as numbers."""
    folder, op = name.split("/")
    frames = [type("Frame", (), {"filename": f"/somewhere/tests/kernels/{folder}/test_{op}.py"})]
    monkeypatch.setattr(inspect, "stack", lambda: frames)
    with pytest.raises(AssertionError, match=rf"\(see kernels/minisam_kernels/{name}.py\)$"):
        assert_close(np.zeros(2, np.float32), np.ones(2), 1.0, 4.0)
    with pytest.raises(AssertionError, match=rf"expected \(3,\) \(see kernels/minisam_kernels/{name}.py\)$"):
        assert_close(np.zeros(2, np.float32), np.ones(3), 1.0, 4.0)
