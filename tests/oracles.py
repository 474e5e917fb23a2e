"""How results are compared: the torch oracle in float64, and tolerances that follow from the size of the sums.

``EPS`` is float32's 2⁻²³. A sum of n products carries an error of at most about n·eps·Σ|terms|, and in practice a small
multiple of √n·eps·Σ|terms|; every kernel names its multiple, ``TOLERANCE``, in its own file, and the test supplies
the magnitude Σ|terms| by computing the same operation on absolute values.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

EPS = float(np.finfo(np.float32).eps)
KERNELS = Path(__file__).parents[1] / "kernels" / "minisam_kernels"
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
    """|actual − expected| ≤ tolerance · eps · magnitude everywhere; NaN and inf stand where the oracle has them.

    What fails is shown at its worst place: the index, what came and what was wanted, and the file of the kernel.
    """
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}{_kernel()}"
    allowed = np.broadcast_to(tolerance * EPS * (np.asarray(magnitude) + np.finfo(np.float32).tiny), expected.shape)
    finite = np.isfinite(expected)
    with np.errstate(invalid="ignore"):  # inf − inf
        error = np.abs(actual.astype(np.float64) - expected)
    equal = (actual == expected.astype(actual.dtype)) | (np.isnan(actual) & np.isnan(expected))
    bad = np.where(finite, ~(error <= allowed) | ~np.isfinite(actual), ~equal)
    if bad.any():
        excess = np.where(bad, np.nan_to_num(error - allowed, nan=np.inf), -np.inf)
        index = tuple(int(i) for i in np.unravel_index(np.argmax(excess), excess.shape))
        got, wanted, most = (float(values[index]) for values in (actual, expected, allowed))
        message = f"at {list(index)}: got {got:.9g}, wanted {wanted:.9g}, error {abs(got - wanted):.3g} > {most:.3g}"
        raise AssertionError(f"{message}; {np.count_nonzero(bad)} of {bad.size} differ{_kernel()}")


def _kernel() -> str:
    """Where to look: the file of the kernel that the calling test is of, if it is one."""
    for frame in inspect.stack():
        test = Path(frame.filename)
        file = KERNELS / test.parent.name / f"{test.stem.removeprefix('test_')}.py"
        if test.name.startswith("test_") and file.is_file():
            return f" (see {file.relative_to(KERNELS.parents[1])})"
    return ""


def blas_threads() -> set[int]:
    """The number of threads that NumPy's BLAS is set to. SciPy may have brought its own, which nobody here uses."""
    found = [library for library in ThreadpoolController().info() if library["user_api"] == "blas"]
    numpys = [library for library in found if "numpy" in library["filepath"]]
    return {library["num_threads"] for library in numpys or found}
