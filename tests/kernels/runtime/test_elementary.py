"""Properties of the elementary functions. Each names the wrong versions that it kills (see ``mutants.py``)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minisam_kernels.runtime import elementary
from minisam_kernels.runtime.jit import jit
from oracles import EPS, oracle
from strategies import seeds

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "exp rounds down": ("np.rint((t", "np.floor((t"),
    "exp with a coarse ln 2": ("- n * _LN2_LOW", ""),
    "exp drops its last term": ("_E5 + r * _E6", "_E5"),
    "exp is 2ⁿ too large": ("np.int32(127))", "np.int32(128))"),
    "exp loses NaN": ("t = _EXP_LOWEST if t < _EXP_LOWEST else t", "t = t if t > _EXP_LOWEST else _EXP_LOWEST"),
    "exp does not reach 0": ("np.float32(-88.0)", "np.float32(-87.3)"),
    "exp does not reach infinity": ("np.float32(88.7)", "np.float32(88.3)"),
    "exp2 rounds down": ("n = np.rint(x if", "n = np.floor(x if"),
    "exp2 drops its last terms": ("_B4 + r * (_B5 + r * _B6)", "_B4"),
    "exp2 loses NaN": ("(_EXP2_LOWEST if x < _EXP2_LOWEST else x)", "(x if x > _EXP2_LOWEST else _EXP2_LOWEST)"),
    "exp2 does not reach 0": ("np.float32(-127.0)", "np.float32(-126.0)"),
    "exp2 goes below 0": ("(_EXP2_LOWEST if x < _EXP2_LOWEST else x) - n", "x - n"),
    "erf drops its last term": ("_P4 + u * _P5", "_P4"),
    "erf does not reach 1": ("return _1 if x > _ERF_END else y", "return y"),
    "erf ends too early": ("np.float32(3.92)", "np.float32(3.2)"),
    "erf does not reach -1": ("y = -_1 if x < -_ERF_END else y", "y = -_A1 if x < -_ERF_END else y"),
    "sigmoid of the other sign": ("(_1 + exp(-x))", "(_1 + exp(x))"),
    "log1p_exp overflows": ("exp(-abs(x))", "exp(abs(x))"),
    "log1p_exp forgets the linear part": ("(x if not x < _0 else _0) + ", ""),
    "log1p by fewer terms": ("_A3 + w * (_A4 + w * (_A5 + w * (_A6 + w * _A7)))", "_A3 + w * _A4"),
}


@jit
def _exp(x, out):
    for i in range(x.size):
        out[i] = elementary.exp(x[i])


@jit
def _exp2(x, out):
    for i in range(x.size):
        out[i] = elementary.exp2(x[i])


@jit
def _erf(x, out):
    for i in range(x.size):
        out[i] = elementary.erf(x[i])


@jit
def _sigmoid(x, out):
    for i in range(x.size):
        out[i] = elementary.sigmoid(x[i])


@jit
def _log1p_exp(x, out):
    for i in range(x.size):
        out[i] = elementary.log1p_exp(x[i])


def each(loop, x) -> np.ndarray:
    """The function on every number of x, through a loop that LLVM can vectorise, as kernels use it."""
    x = np.ascontiguousarray(x, np.float32)
    out = np.empty_like(x)
    loop(x, out)
    return out


def softplus(x: torch.Tensor) -> torch.Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


# loop, torch's function, the stated error in eps, an interval where the function is a normal float32
TABLE = {
    "exp": (_exp, torch.exp, elementary.EXP_TOLERANCE, (-87.3, 88.3)),
    "exp2": (_exp2, torch.exp2, elementary.EXP2_TOLERANCE, (-126.0, 127.0)),
    "erf": (_erf, torch.special.erf, elementary.ERF_TOLERANCE, (-30.0, 30.0)),
    "sigmoid": (_sigmoid, torch.sigmoid, elementary.SIGMOID_TOLERANCE, (-87.3, 1e4)),
    "log1p_exp": (_log1p_exp, softplus, elementary.LOG1P_EXP_TOLERANCE, (-87.3, 1e4)),
}


@pytest.mark.parametrize("name", TABLE)
@given(seed=seeds, width=st.sampled_from([0.01, 1.0, 6.0, 1e4]))
def test_is_torch(name, seed, width):
    """Relative error as stated. Kills: exp rounds down, coarse ln 2, drops its last term, 2ⁿ too large; erf drops its
    last term, ends too early; sigmoid of the other sign; log1p_exp overflows, forgets the linear part, fewer terms."""
    loop, function, tolerance, interval = TABLE[name]
    x = np.random.default_rng(seed).uniform(-width, width, 400).clip(*interval).astype(np.float32)
    x[:6] = *interval, 0.0, 3.92, -3.92, 1e-6
    expected = oracle(function, x)
    assert (np.abs(each(loop, x) - expected) <= tolerance * EPS * np.abs(expected)).all()


@pytest.mark.parametrize(
    ("loop", "limits"),
    [
        (_exp, (np.nan, 0, 0, 1, np.inf, np.inf)),
        (_erf, (np.nan, -1, -1, 0, 1, 1)),
        (_sigmoid, (np.nan, 0, 0, 0.5, 1, 1)),
        (_log1p_exp, (np.nan, 0, 0, np.float32(np.log(2)), 1e4, np.inf)),
    ],
)
def test_limits(loop, limits):
    """Exactly these at NaN and at both ends. Kills: exp loses NaN, does not reach 0, does not reach infinity."""
    x = np.array([np.nan, -np.inf, -1e4, 0.0, 1e4, np.inf] * 8)
    np.testing.assert_array_equal(each(loop, x), np.array(limits * 8, np.float32))


@given(st.lists(st.floats(-(2.0**100), -126, width=32), min_size=1, max_size=20))
def test_exp2_ends_at_0(x):
    """NaN stays, whole numbers are exact, and below the smallest normal number it falls to 0. Kills: exp2 loses NaN,
    does not reach 0, goes below 0, rounds down."""
    y = each(_exp2, x)
    assert (y >= 0).all() and (y <= 2.0**-126).all() and (y[np.array(x) <= -127] == 0).all()
    whole = np.arange(-126, 128)
    np.testing.assert_array_equal(each(_exp2, whole), 2.0**whole)
    np.testing.assert_array_equal(each(_exp2, [np.nan, -np.inf] * 8), [np.nan, 0] * 8)


@given(st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=20))
def test_exp_of_a_sum_is_the_product(x):
    """Law: eˣ e⁻ˣ = 1. Kills: exp is 2ⁿ too large, exp with a coarse ln 2."""
    x = np.array(x, np.float32)
    assert (np.abs(each(_exp, x).astype(np.float64) * each(_exp, -x) - 1) <= 2 * elementary.EXP_TOLERANCE * EPS).all()


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_mirror_laws(x):
    """erf is odd, sigmoid(x) + sigmoid(−x) = 1, softplus(x) − softplus(−x) = x. Kills: erf does not reach −1, log1p_exp
    forgets the linear part."""
    x = np.array(x, np.float32)
    np.testing.assert_array_equal(each(_erf, -x), -each(_erf, x))
    assert (np.abs(each(_sigmoid, x) + each(_sigmoid, -x) - 1) <= 2 * EPS).all()
    x = x[np.isfinite(x)]
    difference = each(_log1p_exp, x).astype(np.float64) - each(_log1p_exp, -x)
    assert (np.abs(difference - x) <= 2 * elementary.LOG1P_EXP_TOLERANCE * EPS * (np.abs(x) + np.log(2))).all()


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=50))
def test_never_leaves_its_range(x):
    """0 ≤ exp, sigmoid, softplus; |erf| and sigmoid stay below 1 but for rounding."""
    assert (each(_exp, x) >= 0).all() and (each(_log1p_exp, x) >= 0).all()
    assert (np.abs(each(_erf, x)) <= 1 + 2 * EPS).all()
    assert (each(_sigmoid, x) >= 0).all() and (each(_sigmoid, x) <= 1).all()
