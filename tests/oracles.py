"""How results are compared: the torch oracle in float64, and tolerances that follow from the size of the sums.

``EPS`` is float32's 2⁻²³. A sum of n products carries an error of at most about n·eps·Σ|terms|, and in practice a small
multiple of √n·eps·Σ|terms|; every kernel names its multiple, ``TOLERANCE``, in its own file, and the test supplies
the magnitude Σ|terms| by computing the same operation on absolute values.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

EPS = float(np.finfo(np.float32).eps)
DEVICE = os.environ.get("MINISAM_TEST_DEVICE", "cpu")  # where the oracle computes: pytest --device sets it


def oracle(function: Callable[..., Any], *arguments: Any, **options: Any) -> np.ndarray:
    """``minisam.reference.ops`` function on float64 copies of the arrays; other arguments pass as they are."""

    def tensor(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            array = np.array(value, dtype=bool if value.dtype == bool else np.float64)
            return torch.from_numpy(array).to(DEVICE)
        return value

    result = function(*map(tensor, arguments), **{k: tensor(v) for k, v in options.items()})
    return result.cpu().numpy()


def assert_close(actual: np.ndarray, expected: np.ndarray, magnitude: np.ndarray | float, tolerance: float) -> None:
    """|actual − expected| ≤ tolerance · eps · magnitude everywhere; NaN and inf stand where the oracle has them."""
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite].astype(actual.dtype))
    error = np.abs(actual.astype(np.float64) - expected)[finite]
    allowed = np.broadcast_to(tolerance * EPS * (np.asarray(magnitude) + np.finfo(np.float32).tiny), expected.shape)[
        finite
    ]
    assert np.isfinite(actual[finite]).all(), "not finite where the oracle is"
    worst = np.argmax(error - allowed) if error.size else 0
    assert (error <= allowed).all(), f"error {error[worst]:.3g} > allowed {allowed[worst]:.3g}"


def blas_threads() -> set[int]:
    """The number of threads that NumPy's BLAS is set to. SciPy may have brought its own, which nobody here uses."""
    found = [library for library in ThreadpoolController().info() if library["user_api"] == "blas"]
    numpys = [library for library in found if "numpy" in library["filepath"]]
    return {library["num_threads"] for library in numpys or found}
