"""The roofline, measured: how fast a matrix product runs when it has few rows, and when it has many.

A product of (n, k) and (k, k) is 2 n k² operations on at least 4 (2 n k + k²) bytes. Their quotient is the arithmetic
intensity; a processor gives at most min(peak, bandwidth · intensity) operations per second (Williams, Waterman and
Patterson 2009). Both roofs are measured where the figure is made, on one core: the peak by a large product, the
bandwidth by dot products of two long vectors, which do one multiplication and one addition for 8 bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.figures.shared.states import Axis, State, states
from minisam_kernels.runtime.errors import InputError
from minisam_kernels.runtime.threads import blas_at_one_thread

if TYPE_CHECKING:
    import ipywidgets

ROWS = (1, 2, 4, 7, 16, 32, 64, 128, 256, 512)
WIDTH = 2048  # of the matrices: 16 MB each
MATRICES = 4  # used in turn, so that none lies in a small cache when it is needed again


@dataclass(frozen=True)
class Measured:
    """Rates in GFLOP/s, bandwidth in GB/s."""

    rows: tuple[int, ...]
    width: int
    rates: tuple[float, ...]
    peak: float
    bandwidth: float

    def intensity(self, rows: int) -> float:
        """Operations per byte of a product with so many rows."""
        return intensity(rows, self.width)

    def roof(self, intensity: float) -> float:
        """GFLOP/s that the two measured limits allow."""
        return min(self.peak, self.bandwidth * intensity)


def intensity(rows: int, width: int) -> float:
    """Operations per byte of (rows, width) · (width, width), every number of three float32 matrices moved once."""
    return 2 * rows * width**2 / (4 * (2 * rows * width + width**2))


def _best(work: Callable[[int], Any], times: int) -> float:
    best = np.inf
    for i in range(times):
        start = time.perf_counter()
        work(i)
        best = min(best, time.perf_counter() - start)
    return float(best)


def measure(rows: Sequence[int] = ROWS, width: int = WIDTH, times: int = 4) -> Measured:
    """The rates of the products, and the two roofs. One core; a second or two for the default sizes."""
    if not len(rows) or min(rows) < 1 or width < 2:
        raise InputError(f"expected rows of at least 1 and a width of at least 2, got {list(rows)} and {width}")
    with blas_at_one_thread():
        return _measure(tuple(rows), width, times)


def _measure(rows: tuple[int, ...], width: int, times: int) -> Measured:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((MATRICES, width, width), np.float32)
    x = rng.standard_normal((max(rows), width), np.float32)
    out = np.empty_like(x)
    rates = []
    for n in rows:
        seconds = _best(lambda i, n=n: np.matmul(x[:n], weights[i % MATRICES], out=out[:n]), times)  # type: ignore[misc]
        rates.append(2 * n * width**2 / seconds / 1e9)
    halves = weights.reshape(2, -1)
    bandwidth = weights.nbytes / _best(lambda _: np.dot(halves[0], halves[1]), times) / 1e9
    square = weights[:2, : width // 2, : width // 2]
    large = 2 * (width // 2) ** 3 / 1e9 / _best(lambda _: np.matmul(square[0], square[1]), times)
    return Measured(rows, width, tuple(rates), max(large, *rates), bandwidth)


def draw(measured: Measured, index: int) -> State:
    """The roof and all measured points, one of them marked."""
    import matplotlib.pyplot as plt

    n = measured.rows[index]
    across = np.geomspace(0.2, 400, 200)
    figure, axes = plt.subplots(figsize=(7, 4))
    axes.plot(
        across, [measured.roof(i) for i in across], color="black", lw=2, label="roof: min(peak, bandwidth · intensity)"
    )
    x = [measured.intensity(rows) for rows in measured.rows]
    axes.plot(x, measured.rates, "s", color="#56B4E9", mec="black", ms=8, label="measured products")
    axes.plot([x[index]], [measured.rates[index]], "o", color="#D55E00", mec="black", ms=14, label=f"{n} rows")
    axes.set(xscale="log", yscale="log", xlim=(0.2, 400))
    axes.set_xlabel("arithmetic intensity, operations per byte", fontsize=13)
    axes.set_ylabel("GFLOP/s", fontsize=13)
    axes.tick_params(labelsize=12)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=11.5, loc="lower right")
    roof = measured.roof(x[index])
    limit = "memory" if roof < measured.peak else "arithmetic"
    text = (
        f"{n} row{'s' if n > 1 else ''} times ({measured.width}, {measured.width}): {x[index]:.2g} operations per "
        f"byte. The roof there is {roof:.3g} GFLOP/s, set by {limit}; measured {measured.rates[index]:.3g} GFLOP/s. "
        f"Peak {measured.peak:.3g} GFLOP/s, bandwidth {measured.bandwidth:.3g} GB/s."
    )
    return State(figure, text, f"Rate against arithmetic intensity, a sloping roof that turns level. {text}")


def roofline(rows: Sequence[int] = ROWS, width: int = WIDTH, source: str = "") -> ipywidgets.VBox:
    """A slider over the number of rows; everything is measured when the figure is made.

    Raises ``InputError`` when there are no rows or a size is below 1.
    """
    measured = measure(rows, width)
    return states(
        [Axis("rows", [str(n) for n in rows], min(3, len(rows) - 1))],
        lambda i: draw(measured, i),
        "A prompt is 7 tokens, an image of ViT-B 4096. Per operation, which of the two is multiplied with a weight "
        "matrix faster, and by what factor?",
        source,
    )
