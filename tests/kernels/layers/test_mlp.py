"""Properties of ``mlp``. Each names the wrong versions that it kills; ``tests/mutants.py`` breaks them in."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_norm_linear import magnitude as norm_linear_magnitude

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.layers.mlp import TOLERANCE, mlp, mlp_numpy
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "forgets the norm": ("np.matmul(normal, weight1.T", "np.matmul(rows, weight1.T"),
    "forgets GELU": ("        _gelu_rows(hidden, bias1)", "        hidden += bias1"),
    "forgets the first bias": ("t = row[c] + bias[c]", "t = row[c]"),
    "forgets the second bias": ("(update[i, c] + bias[c])", "update[i, c]"),
    "forgets the sum": ("x[i, c] + (update", "(update"),
    "GELU without the root": ("erf(t * _SQRT_HALF)", "erf(t)"),
    "swaps scale and shift": ("rows, norm_weight, norm_bias, np", "rows, norm_bias, norm_weight, np"),
    "another eps": ("np.float32(eps), normal", "np.float32(1e-6), normal"),
    "adds the norm instead of x": ("_add_rows(rows, normal, bias2", "_add_rows(normal, normal, bias2"),
    "writes to the first image only": ("bias2, target[pieces[i]]", "bias2, target[0, pieces[i][1]]"),
    "readable version forgets the sum": ("return x + linear_numpy", "return linear_numpy"),
    "readable version forgets GELU": ("gelu_numpy(hidden), weight2", "hidden, weight2"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    C, width = draw(sizes(1, 20, edges=(8, 16))), draw(sizes(0, 40, edges=(8, 16, 32)))
    lead = draw(st.sampled_from([(1,), (2,), (0,), (2, 3), (3, 4, 2), (2, 1, 7), (1, 0, 3), (2, 270)]))
    x, norm = draw(arrays((*lead, C))), (draw(arrays((C,))), draw(arrays((C,))))
    first, second = (draw(arrays((width, C))), draw(arrays((width,)))), (draw(arrays((C, width))), draw(arrays((C,))))
    return x, *norm, *first, *second, draw(st.sampled_from([1e-6, 1e-1]))


def magnitude(x, norm_weight, norm_bias, weight1, bias1, weight2, bias2, eps) -> np.ndarray:
    """|x| + Σ h |W₂| + |b₂|, h = Σ n |W₁| + |b₁|."""
    hidden = norm_linear_magnitude(x, norm_weight, norm_bias, weight1, bias1, eps)
    x, weight2, bias2 = (np.abs(a.astype(np.float64)) for a in (x, weight2, bias2))
    return x + hidden @ weight2.T + bias2


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version forgets the sum, GELU."""
    double = [a.astype(np.float64) for a in drawn[:-1]]
    assert_close(mlp_numpy(*double, drawn[-1]), oracle(ops.mlp, *drawn), magnitude(*drawn), 1e-4)


@given(inputs())
def test_compiled_is_torch(drawn):
    """Agrees within its stated accuracy. Kills: forgets the norm, GELU, the sum, swaps scale and shift, another eps,
    adds the norm instead of x, writes to the first image only."""
    assert_close(mlp(*drawn), oracle(ops.mlp, *drawn), magnitude(*drawn), TOLERANCE)


def tame(lead: tuple[int, ...], C: int, width: int) -> list[np.ndarray]:
    """Numbers as in a model: every layer keeps the size of what it gets."""
    rng = np.random.default_rng(C)
    shapes = [(*lead, C), (C,), (C,), (width, C), (width,), (C, width), (C,)]
    scales = [1, 1, 1, C**-0.5, 1, width**-0.5, 1]
    return [(rng.standard_normal(shape) * scale).astype(np.float32) for shape, scale in zip(shapes, scales)]


@pytest.mark.parametrize("rows", [1, 3, 256])
def test_however_the_work_is_cut(rows):
    """On tame numbers, where no term hides another. Kills: forgets the first bias, forgets the second bias, GELU
    without the root, forgets GELU, forgets the sum, writes to the first image only."""
    drawn = [*tame((2, 3, 5), 12, 48), 1e-6]
    with mock.patch.dict(mlp.__globals__, ROWS=rows):
        assert_close(mlp(*drawn), oracle(ops.mlp, *drawn), magnitude(*drawn), TOLERANCE)


def test_an_image_does_not_see_the_others():
    """Bit by bit: each image alone gives what it gives among others. Kills: writes to the first image only."""
    x, *rest = tame((3, 4, 80), 16, 64)
    together = mlp(x, *rest, 1e-6)
    for b in range(len(x)):
        np.testing.assert_array_equal(together[b], mlp(x[b : b + 1], *rest, 1e-6)[0])


@given(arrays((2, 3, 4)))
def test_no_update_leaves_x(x):
    """Law: with W₂ = 0 and b₂ = 0 every number comes back exactly. Kills: forgets the sum, adds the norm instead of
    x."""
    one, weight = np.ones(4), np.zeros((4, 6))
    np.testing.assert_array_equal(mlp(x, one, one, weight.T, np.ones(6), weight, np.zeros(4), 1e-6), x)


ONE, TWO, WIDE, BACK = np.ones(4), np.ones(3), np.ones((3, 4)), np.ones((4, 3))


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        ((4,), (ONE, ONE, WIDE, TWO, BACK, ONE), r"expected x of shape \(B, ..., C\) with C >= 1, got \(4,\)"),
        ((2, 0), (ONE, ONE, WIDE, TWO, BACK, ONE), r"expected x of shape \(B, ..., C\) with C >= 1, got \(2, 0\)"),
        ((2, 4), (ONE, ONE, ONE, TWO, BACK, ONE), r"expected weight1 of shape \(hidden, C\), got \(4,\)"),
        ((2, 4), (ONE, ONE, BACK, TWO, BACK, ONE), r"expected weight1 of shape \(4, 4\), got \(4, 3\)"),
        ((2, 4), (ONE, ONE, WIDE, TWO, WIDE, ONE), r"expected weight2 of shape \(4, 3\), got \(3, 4\)"),
        ((2, 4), (TWO, ONE, WIDE, TWO, BACK, ONE), r"expected norm_weight of shape \(4,\), got \(3,\)"),
        ((2, 4), (ONE, TWO, WIDE, TWO, BACK, ONE), r"expected norm_bias of shape \(4,\), got \(3,\)"),
        ((2, 4), (ONE, ONE, WIDE, ONE, BACK, ONE), r"expected bias1 of shape \(3,\), got \(4,\)"),
        ((2, 4), (ONE, ONE, WIDE, TWO, BACK, TWO), r"expected bias2 of shape \(4,\), got \(3,\)"),
    ],
)
def test_bad_input_names_expected_and_received(x, arguments, message):
    with pytest.raises(InputError, match=message):
        mlp(np.ones(x), *arguments, eps=1e-6)
