"""Properties of ``head_products`` and ``head_moments``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import decoder_ops as ops
from minisam_kernels import InputError
from minisam_kernels.decoder.head_products import (
    TOLERANCE,
    head_moments,
    head_moments_numpy,
    head_products,
    head_products_numpy,
    scale_and_add,
)
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "sums without their position": ("row[n] * scale[n] + other[n]", "row[n] * scale[n]"),
    "sums without their scale": ("row[n] * scale[n] + other[n]", "row[n] + other[n]"),
    "products: every head is the first": ("target = y[h * tokens + t]", "target = y[t]"),
    "products: overwrites": ("target[n] += a0", "target[n] = a0"),
    "products: counts the last channel twice": (
        "a3 = a[h, t, d3] if d + 3 < width else np.float32(0)",
        "a3 = a[h, t, d3]",
    ),
    "products: leaves out the second channel": ("a1 = a[h, t, d1] if d + 1 < width", "a1 = a[h, t, d1] if d + 1 < 0"),
    "moments: every head's weights are the first's": ("weights = y[h * tokens + t]", "weights = y[t]"),
    "moments: the last of four is the third": ("s3 += weights[n] * x3[n]", "s3 += weights[n] * x2[n]"),
    "moments: leaves out the last image token": ("for n in range(weights.size)", "for n in range(weights.size - 1)"),
    "readable version of products overwrites": ("return y + a @ x", "return a @ x"),
    "readable version of moments forgets to transpose": (
        "return y @ x.transpose(0, 2, 1)",
        "return y @ x.reshape(len(x), x.shape[2], -1)",
    ),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    heads, tokens = draw(st.integers(1, 3)), draw(st.integers(0, 5))
    width, pixels = draw(sizes(1, 12, edges=(4, 8))), draw(sizes(1, 40, edges=(8, 16)))
    return tuple(draw(arrays((heads, *s))) for s in ((tokens, width), (width, pixels), (tokens, pixels)))


def absolute(*drawn: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.abs(a.astype(np.float64)) for a in drawn)


@given(inputs())
def test_numpy_is_torch(drawn):
    """Kills: both readable versions'."""
    a, x, y = (b.astype(np.float64) for b in drawn)
    products, moments = head_products_numpy(*absolute(*drawn)), head_moments_numpy(*absolute(y, x))
    assert_close(head_products_numpy(a, x, y), oracle(ops.head_products, *drawn), products, 1e-4)
    assert_close(head_moments_numpy(y, x), oracle(ops.head_moments, y, x), moments, 1e-4)


@given(inputs())
def test_products_are_torchs(drawn):
    """Kills: every one of products'."""
    expected, magnitude = oracle(ops.head_products, *drawn), head_products_numpy(*absolute(*drawn))
    assert_close(head_products(*drawn), expected, magnitude, TOLERANCE)


@given(inputs())
def test_moments_are_torchs(drawn):
    """Kills: every one of moments'."""
    _, x, y = drawn
    expected, magnitude = oracle(ops.head_moments, y, x), head_moments_numpy(*absolute(y, x))
    assert_close(head_moments(y, x), expected, magnitude, TOLERANCE)


@given(inputs())
def test_one_is_the_others_transpose(drawn):
    """Law: ⟨A X, Y⟩ = ⟨A, Y Xᵀ⟩."""
    a, x, y = drawn
    left = (head_products(a, x, np.zeros(y.shape)).astype(np.float64) * y).sum()
    right = (head_moments(y, x).astype(np.float64) * a).sum()
    magnitude = (head_products_numpy(*absolute(a, x), 0) * np.abs(y)).sum()
    assert_close(np.array(left), np.array(right), magnitude, 2 * TOLERANCE)


@pytest.mark.parametrize(
    ("a", "x", "y", "message"),
    [
        ((2, 4), (2, 4, 5), (2, 3, 5), r"expected a of shape \(heads, T, D\), got \(2, 4\)"),
        ((2, 3, 4), (4, 5), (2, 3, 5), r"expected x of shape \(heads, D, P\), got \(4, 5\)"),
        ((2, 3, 4), (2, 3, 5), (2, 3, 5), r"expected x of shape \(2, 4, 5\), got \(2, 3, 5\)"),
        ((2, 3, 4), (2, 4, 5), (2, 3, 6), r"expected y of shape \(2, 3, 5\), got \(2, 3, 6\)"),
    ],
)
def test_bad_input_names_expected_and_received(a, x, y, message):
    with pytest.raises(InputError, match=message):
        head_products(np.ones(a), np.ones(x), np.ones(y))


def test_lists_will_do_and_words_will_not():
    """Kills: a y that is taken as it is."""
    a, x, y = np.ones((1, 2, 3)), np.ones((1, 3, 2)), np.zeros((1, 2, 2))
    np.testing.assert_array_equal(head_products(a.tolist(), x.tolist(), y.tolist()), head_products(a, x, y))
    with pytest.raises(InputError, match="expected y to hold real numbers, got dtype complex128"):
        head_products(a, x, y * 1j)
    with pytest.raises(InputError, match=r"expected a to hold numbers, got \[\[1"):
        head_products([[1], [1, 2]], x, y)


def test_bad_input_of_moments():
    with pytest.raises(InputError, match=r"expected x of shape \(2, 4, 5\), got \(2, 4, 6\)"):
        head_moments(np.ones((2, 3, 5)), np.ones((2, 4, 6)))


@given(arrays((3, 17)), arrays((17,)), arrays((3, 17)))
def test_scale_and_add(x, scale, position):
    """Kills: sums without their position, without their scale."""
    out = np.empty((3, 17), np.float32)
    x, scale, position = map(np.ascontiguousarray, (x, scale, position))
    scale_and_add(x, scale, position, out)
    expected = x.astype(np.float64) * scale + position
    assert_close(out, expected, np.abs(x.astype(np.float64) * scale) + np.abs(position), 1)
