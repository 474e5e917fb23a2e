"""Elementary functions of one float32 number that LLVM can turn into vector instructions.

LLVM keeps a call of the C library's ``exp`` or ``erf`` inside a loop as it is, one number at a time. The functions here
are polynomials without a branch: inlined into a kernel's loop they run eight numbers at once. Measured on numbers that
lie in cache, one core with AVX2, against the same loop over ``math``: exp 0.41 ns a number instead of 3.1, erf 0.42 ns
instead of 23; sigmoid takes 0.63 ns and log1p_exp 1.1 ns, exp2 0.26 ns. ::

    exp x        = 2ⁿ · eʳ,  n = round(x / ln 2), r = x − n ln 2 ∈ [−ln 2 / 2, ln 2 / 2], eʳ a polynomial of degree 6
    exp2 x       = 2ⁿ · 2ʳ,  n = round(x), r = x − n, 2ʳ a polynomial of degree 6
    erf x        = x · P(x²) / Q(x²), both of degree 5, for |x| ≤ 3.92, where float32's erf has become ±1
    sigmoid x    = 1 / (1 + exp(−x))
    log1p_exp x  = log(1 + eˣ) = max(x, 0) + log1p(t), t = exp(−|x|);  log1p(t) = 2 artanh(s), s = t / (2 + t)
                   (softplus; −log sigmoid(x) is log1p_exp(−x))

The compiler may merge the two parts of ln 2 again (``reassoc``), which a fused multiply–add makes harmless.
The coefficients are minimax fits by Lawson's iteratively reweighted least squares (C. L. Lawson 1961), made for this
file; artanh is its Taylor series. Each function takes and returns one float32.

=========  ====  ==================  =================  ======================================================
function   NaN   −∞                  +∞                 error, at most
=========  ====  ==================  =================  ======================================================
exp        NaN   0                   ∞                  EXP_TOLERANCE · eps, relative; 0 below −87.68, ∞ above 88.37
exp2       NaN   0                   not for x > 127    EXP2_TOLERANCE · eps, relative, above −126; 0 below −127
erf        NaN   −1                  1                  ERF_TOLERANCE · eps, absolute; also relative to ``|erf x|``
sigmoid    NaN   0                   1                  SIGMOID_TOLERANCE · eps, relative; 0 below −88.37
log1p_exp  NaN   0                   ∞                  LOG1P_EXP_TOLERANCE · eps, relative; 0 below −87.68
=========  ====  ==================  =================  ======================================================
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.runtime.jit import jit

EXP_TOLERANCE = 4.0
EXP2_TOLERANCE = 2.0
ERF_TOLERANCE = 6.0
SIGMOID_TOLERANCE = 6.0
LOG1P_EXP_TOLERANCE = 6.0

# Every constant is float32: a Python float would make the whole loop double and halve the width of its vectors.
_0, _1, _2 = np.float32(0), np.float32(1), np.float32(2)
_EXP_LOWEST, _EXP_HIGHEST = np.float32(-88.0), np.float32(88.7)  # at them n is −127 and 128
_LOG2_E = np.float32(1 / np.log(2))
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(np.log(2) - 0.693359375)  # n · _LN2_HIGH is exact
_E2, _E3, _E4, _E5, _E6 = np.array([0.49999993, 0.1666652, 0.04166839, 0.00836875, 0.00138145], np.float32)

_EXP2_LOWEST = np.float32(-127.0)  # its 2ⁿ is exactly 0
_B1, _B2, _B3, _B4, _B5, _B6 = np.array(
    [0.693147203, 0.240226479, 0.0555033247, 0.00961843736, 0.00133988747, 0.000153533612], np.float32
)

_ERF_END = np.float32(3.92)
_P0, _P1, _P2, _P3, _P4, _P5 = np.array(
    [1.1283791461367, 0.1904072290265, 0.0527488082498, 0.0037656505793, 0.0002848836040, 2.0500829422e-06], np.float32
)
_Q1, _Q2, _Q3, _Q4, _Q5 = np.array(
    [0.5020767539797, 0.1141094305551, 0.0149692848120, 0.0011625438796, 3.8091716483e-05], np.float32
)

_A1, _A2, _A3, _A4, _A5, _A6, _A7 = (np.float32(1 / (2 * k + 1)) for k in range(1, 8))  # artanh s = Σ s²ᵏ⁺¹/(2k+1)


@jit
def exp(x):
    """eˣ. The bits of 2ⁿ are n + 127 in the place of the exponent; there n = −127 means exactly 0 and n = 128 means ∞,
    so the ends need no cases of their own. Comparisons with NaN are false: t stays NaN, but n becomes a number.
    """
    t = _EXP_HIGHEST if x > _EXP_HIGHEST else x
    n = np.rint((t if t > _EXP_LOWEST else _EXP_LOWEST) * _LOG2_E)
    t = _EXP_LOWEST if t < _EXP_LOWEST else t
    r = t - n * _LN2_HIGH - n * _LN2_LOW
    e = _1 + r + r * r * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * _E6))))
    return e * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@jit
def exp2(x):
    """2ˣ for x ≤ 127, for a softmax whose scores come times 1 / ln 2: two thirds of the time of ``exp``."""
    n = np.rint(x if x > _EXP2_LOWEST else _EXP2_LOWEST)
    r = (_EXP2_LOWEST if x < _EXP2_LOWEST else x) - n
    e = _1 + r * (_B1 + r * (_B2 + r * (_B3 + r * (_B4 + r * (_B5 + r * _B6)))))
    return e * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@jit
def erf(x):
    """2/√π ∫₀ˣ exp(−t²) dt. Exactly ±1 outside ±3.92, so that 1 + erf x is exactly 0 far to the left."""
    t = -_ERF_END if x < -_ERF_END else x
    t = _ERF_END if t > _ERF_END else t
    u = t * t
    p = _P0 + u * (_P1 + u * (_P2 + u * (_P3 + u * (_P4 + u * _P5))))
    q = _1 + u * (_Q1 + u * (_Q2 + u * (_Q3 + u * (_Q4 + u * _Q5))))
    y = t * p / q
    y = -_1 if x < -_ERF_END else y
    return _1 if x > _ERF_END else y


@jit
def sigmoid(x):
    """1 / (1 + e⁻ˣ): accurate for negative x too, because there it is 1 / e⁻ˣ."""
    return _1 / (_1 + exp(-x))


@jit
def log1p_exp(x):
    """log(1 + eˣ) without overflow, and accurate where it is tiny."""
    t = exp(-abs(x))
    s = t / (_2 + t)  # 0 ≤ s ≤ 1/3: these eight terms leave 1/3¹⁶/17, eps/85
    w = s * s
    series = _1 + w * (_A1 + w * (_A2 + w * (_A3 + w * (_A4 + w * (_A5 + w * (_A6 + w * _A7))))))
    return (x if not x < _0 else _0) + _2 * s * series
