"""Properties of ``linear``. Each names the wrong versions that it kills; ``tests/mutants.py`` breaks them in."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.layers.linear import ROWS, TOLERANCE, linear, linear_numpy, row_pieces
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "forgets the bias": ("            y += bias", "            pass"),
    "forgets the residual": ("            y += update[pieces[i]]", "            pass"),
    "adds the first piece's residual everywhere": ("update[pieces[i]]", "update[pieces[0]][: len(y)]"),
    "leaves out the last piece": ("range(0, tokens, rows)]", "range(0, max(1, tokens - rows + 1), rows)]"),
    "leaves out the last row of a piece": ("min(i + rows, tokens)", "min(i + rows, tokens) - 1"),
    "reads the weight the other way round": (
        "np.matmul(source[pieces[i]], weight.T",
        "np.matmul(source[pieces[i]], weight.reshape(weight.T.shape)",
    ),
    "cuts across images": ("(len(x) if x.ndim == 4 else 1)", "1"),
    "readable version forgets the bias": ("y if bias is None else y + bias", "y"),
    "readable version forgets the residual": ("y if residual is None else y + residual", "y"),
    "casts to float16": ("np.matmul(source[pieces[i]]", "np.matmul(source[pieces[i]].astype(np.float16).astype('f4')"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    c_in, c_out = draw(sizes(0, 70, edges=(1, 16, 64))), draw(sizes(0, 40, edges=(1, 16)))
    rows = draw(sizes(1, 2 * ROWS + 1, edges=(ROWS, 2 * ROWS)))
    lead = draw(st.sampled_from([(), (1,), (rows,), (2, 3), (0,), (2, 1, 5), (2, 3, ROWS // 2)]))
    bias, residual = draw(st.none() | arrays((c_out,))), draw(st.none() | arrays((*lead, c_out)))
    return draw(arrays((*lead, c_in))), draw(arrays((c_out, c_in))), bias, residual


def magnitude(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, residual: np.ndarray | None = None
) -> np.ndarray:
    """Σ |x| |W| + |b| + |residual|."""
    return linear_numpy(*(None if a is None else np.abs(a.astype(np.float64)) for a in (x, weight, bias, residual)))


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version forgets the bias, the residual."""
    double = [None if a is None else a.astype(np.float64) for a in drawn]
    assert_close(linear_numpy(*double), oracle(ops.linear, *drawn), magnitude(*drawn), 1e-4)


@given(inputs())
def test_compiled_is_torch(drawn):
    """Agrees within its stated accuracy, at the ends of pieces too. Kills: forgets the bias, forgets the residual,
    leaves out the last piece, the last row of a piece, reads the weight the other way round, casts to float16."""
    assert_close(linear(*drawn), oracle(ops.linear, *drawn), magnitude(*drawn), TOLERANCE)


@given(sizes(0, 3), sizes(0, 40), sizes(1, 20))
def test_every_row_is_in_one_piece(images, tokens, rows):
    """Kills: leaves out the last piece, leaves out the last row of a piece."""
    seen = np.zeros((images, tokens), int)
    for piece in row_pieces((images, tokens, 7), rows):
        assert 0 < seen[piece].size <= rows
        seen[piece] += 1
    assert (seen == 1).all()


def test_images_are_cut_one_by_one():
    """No product sees rows of two images. Kills: cuts across images."""
    with mock.patch.object(np, "matmul", wraps=np.matmul) as product:
        linear(np.ones((3, 5, 7, 2)), np.ones((4, 2)), residual=np.ones((3, 5, 7, 4)))
    assert [call.args[0].shape for call in product.mock_calls] == [(35, 2)] * 3


def test_each_piece_gets_its_own_residual():
    """Kills: adds the first piece's residual everywhere."""
    residual = np.arange(4 * ROWS + 6, dtype=np.float32).reshape(-1, 2)
    np.testing.assert_array_equal(linear(np.ones((len(residual), 1)), np.zeros((2, 1)), residual=residual), residual)


@given(inputs())
def test_is_linear(drawn):
    """Law: f(2x) − f(0) = 2 (f(x) − f(0)), exactly up to rounding, and f(0) is the bias."""
    x, weight, bias, _ = drawn
    zero = linear(np.zeros_like(x), weight, bias)
    np.testing.assert_array_equal(zero, np.broadcast_to(0 if bias is None else bias, zero.shape))
    doubled = linear(2 * x, weight, bias)
    assert_close(doubled, 2.0 * linear(x, weight, bias) - zero, 2 * magnitude(*drawn[:3]), TOLERANCE)


@given(arrays((ROWS + 3, 5)))
def test_identity_changes_nothing(x):
    """Law: with W = 1 and no bias every number comes back exactly. Kills: leaves out the last row, casts to float16."""
    np.testing.assert_array_equal(linear(x, np.eye(5)), x)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        (np.ones((2, 4)), np.ones((3, 5)), None, r"expected x of shape \(..., 5\), got \(2, 4\)"),
        (np.float32(1), np.ones((3, 5)), None, r"expected x of shape \(..., 5\), got \(\)"),
        (np.ones((2, 4)), np.ones(4), None, r"expected weight of shape \(C_out, C_in\), got \(4,\)"),
        (np.ones((2, 4)), np.ones((3, 4)), np.ones(4), r"expected bias of shape \(3,\), got \(4,\)"),
        (np.ones((2, 4), complex), np.ones((3, 4)), None, "expected x to hold real numbers, got dtype complex128"),
    ],
)
def test_bad_input_names_expected_and_received(x, weight, bias, message):
    with pytest.raises(InputError, match=message):
        linear(x, weight, bias)


def test_a_residual_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"expected residual of shape \(2, 3\), got \(1, 3\)"):
        linear(np.ones((2, 4)), np.ones((3, 4)), None, np.ones((1, 3)))
