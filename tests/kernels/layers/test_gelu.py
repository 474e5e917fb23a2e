"""Properties of ``gelu``. Each names the wrong versions that it kills; ``tests/mutants.py`` breaks them in."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.layers.gelu import TOLERANCE, gelu, gelu_numpy
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "the approximation by tanh": (
        "_HALF * x[i] * (_1 + erf(x[i] * _SQRT_HALF))",
        "_HALF * x[i] * (_1 + np.tanh(np.float32(0.7978846) * (x[i] + np.float32(0.044715) * x[i] * x[i] * x[i])))",
    ),
    "a sigmoid instead of Φ": (
        "_HALF * x[i] * (_1 + erf(x[i] * _SQRT_HALF))",
        "x[i] / (_1 + np.exp(np.float32(-1.702) * x[i]))",
    ),
    "forgets √½": ("erf(x[i] * _SQRT_HALF)", "erf(x[i])"),
    "leaves out the last piece": ("-(-x.size // SIZE)", "max(1, x.size // SIZE)"),
    "readable version forgets √½": ("math.erf(t * math.sqrt(0.5))", "math.erf(t)"),
}
PIECE = 32  # so that the ends of pieces are met by small arrays
small_pieces = mock.patch.dict(gelu.__globals__, SIZE=PIECE)

shapes = st.one_of(
    st.sampled_from([(0,), (3, 0), (2, 3, 4)]), sizes(1, 3 * PIECE, edges=(PIECE, 2 * PIECE)).map(lambda n: (n,))
)


@given(arrays(shapes, scale=3.0))
def test_numpy_is_torch(x):
    """The readable version, in float64, is torch's. Kills: readable version forgets √½."""
    assert_close(gelu_numpy(x.astype(np.float64)), oracle(ops.gelu, x), np.abs(x), 1e-4)


@small_pieces
@given(arrays(shapes, scale=3.0))
def test_compiled_is_torch(x):
    """Agrees within its stated accuracy. Kills: the approximation by tanh, a sigmoid instead of Φ, forgets √½,
    leaves out the last piece."""
    assert_close(gelu(x), oracle(ops.gelu, x), np.abs(x), TOLERANCE)


@given(arrays((20,), scale=3.0))
def test_mirror(x):
    """Law: x Φ(x) − (−x) Φ(−x) = x, because Φ(x) + Φ(−x) = 1. Kills: no symmetric mistake, but any other."""
    assert_close(gelu(x) - gelu(-x), x.astype(np.float64), 2 * np.abs(x), TOLERANCE)


def test_limits():
    """NaN stays, +∞ stays, −∞ · 0 is NaN as in torch; far to the left it is 0, not −x · eps."""
    x = np.array([np.nan, np.inf, -np.inf, -1e4, 1e4, 0.0] * 8, np.float32)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(gelu(x), np.array([np.nan, np.inf, np.nan, 0, 1e4, 0] * 8, np.float32))
    assert gelu(np.float32(0)).shape == ()


def test_bad_input_names_expected_and_received():
    with pytest.raises(InputError, match="expected x to hold real numbers, got dtype <U1"):
        gelu(np.array(["a"]))
