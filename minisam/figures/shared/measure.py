"""What the chapters measure with: an error in the unit that the kernels state theirs in, and a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

EPS = float(np.finfo(np.float32).eps)  # from 1 to the next float32


def worst(got: np.ndarray, exact: np.ndarray, size: np.ndarray | float) -> float:
    """The largest |got − exact| in units of eps · ``size``, the sum of what was added, without signs."""
    return float((np.abs(got - exact) / (EPS * (np.asarray(size) + np.finfo(np.float32).tiny))).max())


def milliseconds(work: Callable[[], Any], repeat: int = 5) -> float:
    """Milliseconds that one call of ``work`` takes, the quickest of ``repeat``. A first call, which may compile, is not
    counted."""
    times = []
    for _ in range(1 + repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:])
