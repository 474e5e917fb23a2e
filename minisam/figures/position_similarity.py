"""How similar the encoding of one point is to that of every other: the figure of Fourier features in chapter 5.

``similarity(gaussian, point, side)`` is the inner product of real encodings; ``expected(distance, deviation)`` is what
it would be with endlessly many features. Points are (x, y) in [0, 1], with the half pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np

from minisam.figures.shared.overlay import BLUE, ORANGE
from minisam.figures.shared.paint import canvas, painted, style
from minisam.figures.shared.states import Axis, State, states
from minisam_kernels.layers.position_encoding import position_encoding, position_grid
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.sam import Sam


def similarity(gaussian: np.ndarray, point: tuple[float, float], side: int) -> np.ndarray:
    """gaussian (2, C/2) → (side, side): the inner product of ``place``'s encoding with every cell centre's, over C/2,
    so that a place is 1 to itself."""
    return position_grid((side, side), gaussian) @ position_encoding(np.array(point), gaussian) / gaussian.shape[1]


def expected(distance: np.ndarray, deviation: float = 1.0) -> np.ndarray:
    """exp(−8π² σ² d²): the mean over Gaussian matrices of standard deviation σ; d as a share of the image's side."""
    return np.exp(-8 * np.pi**2 * deviation**2 * np.square(distance))


def position_similarity(sam: Sam | None = None, side: int = 40, columns: int = 7, source: str = "") -> widgets.VBox:
    """Move a place and watch its similarity to all others, with the model's own matrix and with a far wider one.

    ``side``: cells each way; ``columns``: places along x. ``sam``: by default the tiny model.
    """
    import minisam

    if side < 2 or columns < 1:
        raise InputError(f"expected side >= 2 and columns >= 1, got {side} and {columns}")
    own = (minisam.load("tiny") if sam is None else sam).prompt_encoder.gaussian
    wide = np.random.default_rng(0).standard_normal((2, 4096)).astype(np.float32)
    matrices = {f"the model's, {own.shape[1]} columns": own, "4096 fresh columns": wide}
    xs = [(int((i + 0.5) * side / columns) + 0.5) / side for i in range(columns)]
    ys = {name: (int(share * side) + 0.5) / side for name, share in (("top", 0.2), ("middle", 0.5), ("bottom", 0.8))}

    @style
    def draw(matrix: int, down: int, right: int) -> State:
        gaussian, point = list(matrices.values())[matrix], (xs[right], list(ys.values())[down])
        return draw_similarity(gaussian, point, side)

    axes = [
        Axis("Matrix", list(matrices)),
        Axis("Height", list(ys), 1),
        Axis("Place", [f"x = {x:.3f}" for x in xs], columns // 3),
    ]
    question = (
        "Two places are encoded as sines and cosines of random sums of x and y. One place is fixed. Where in the "
        "image will the encodings be similar to its own? And what changes when the place moves?"
    )
    return states(axes, draw, question, source)


def draw_similarity(gaussian: np.ndarray, point: tuple[float, float], side: int) -> State:
    """One state: the map, and its row through the place beside the expectation."""
    values = similarity(gaussian, point, side)
    row, column = int(point[1] * side), int(point[0] * side)
    centres = (np.arange(side) + 0.5) / side
    distance = np.hypot(*np.meshgrid(centres - point[0], centres - point[1]))
    spread = float(np.abs(values[distance > 0.3]).max())
    figure, ((left, right),) = canvas(1, 2, (7, 3.5), (0.08, 0.98, 0.16, 0.9), (0.22, 0))
    drawn = left.imshow(values, cmap="PuOr_r", vmin=-1, vmax=1, extent=(0, 1, 1, 0))
    left.plot(*point, "x", color="black", markersize=11, markeredgewidth=2.5)
    left.set(title="Similarity to ×", xlabel="x", ylabel="y", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    figure.colorbar(drawn, ax=left, shrink=0.75, ticks=[-1, 0, 1])
    fine = np.linspace(0, 1, 300)
    right.plot(fine, expected(fine - point[0]), "--", color=ORANGE, linewidth=2.5, label="expected")
    right.plot(centres, values[row], "o", color=BLUE, markersize=4.5, label="computed")
    right.set(title="Along the row of ×", xlabel="x", ylim=(-0.55, 1.35), xticks=[0, 0.5, 1])
    right.axhline(0, color="black", linewidth=0.8)
    right.legend(loc="upper center", ncols=2, frameon=False, fontsize=11, columnspacing=0.8, handlelength=1.4)
    beside = values[row, column + 1 if column + 1 < side else column - 1]
    words = (
        f"Place ({point[0]:.3f}, {point[1]:.3f}), {gaussian.shape[1]} columns. Similarity to itself "
        f"{values[row, column]:.2f}, to the cell beside it {beside:.2f} (expected {expected(np.array(1 / side)):.2f}); "
        f"farther away than 0.3 of the side it is expected to vanish, and its largest size there is {spread:.2f}."
    )
    return State(painted(figure), words)
