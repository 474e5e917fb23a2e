"""GELU, the bend in a transformer's MLP: x times the chance that a normal random number is below x::

    y = x · Φ(x) = x/2 · (1 + erf(x/√2))

Chapter 2, eq-gelu. Source: Hendrycks & Gimpel 2016; ``torch.nn.functional.gelu`` with ``approximate="none"``, the form
that SAM uses, and not its approximation by tanh, which differs by up to 5·10⁻⁴.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.elementary import erf
from minisam_kernels.runtime.errors import as_float32
from minisam_kernels.runtime.jit import jit
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 4.0  # × eps × |x|; see ``gelu``
SIZE = 1 << 16  # numbers of a piece of work: 256 KB

_1, _HALF, _SQRT_HALF = np.float32(1), np.float32(0.5), np.float32(math.sqrt(0.5))


def gelu_numpy(x: np.ndarray) -> np.ndarray:
    """The equation above, number by number, with the C library's erf. x (...) → (...), in the dtype of x."""
    phi = np.array([(1 + math.erf(t * math.sqrt(0.5))) / 2 for t in x.flat], x.dtype)
    return x * phi.reshape(x.shape)


@jit
def _gelu_piece(x, out):
    """x (n,) → out (n,)."""
    for i in range(x.size):
        out[i] = _HALF * x[i] * (_1 + erf(x[i] * _SQRT_HALF))


def gelu(x: npt.ArrayLike) -> np.ndarray:
    """Multiply each number x with Φ(x).

    Parameters
    ----------
    x : array_like, shape (...)

    Returns
    -------
    ndarray, shape (...), float32
        NaN stays NaN, +∞ stays, −∞ becomes NaN as in torch (∞ · 0).

    Raises
    ------
    InputError
        If ``x`` does not hold numbers.

    Notes
    -----
    Accuracy: ``TOLERANCE · eps · |x|``, that is, erf's absolute error: 1 + erf cancels far to the left.
    """
    x = as_float32("x", x)
    out = np.empty_like(x)
    source, target = x.reshape(-1), out.reshape(-1)

    def piece(i: int) -> None:
        _gelu_piece(source[i * SIZE : (i + 1) * SIZE], target[i * SIZE : (i + 1) * SIZE])

    parallel_for(piece, -(-x.size // SIZE))
    return out
