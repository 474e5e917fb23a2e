"""How the figures of chapters 5 to 7 put numbers on an image: one font size, colours for every eye, and where things
lie.

Colours are Okabe and Ito's. A signed number is purple below zero and orange above (``PuOr``), with the line of zero
drawn; an unsigned one is blue, the more the less of the image shows through. Nothing is told by colour alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from minisam.figures.shared.decoder_steps import within_picture
from minisam.figures.shared.overlay import BLUE, SKY, YELLOW
from minisam.predictor import SamPredictor
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from minisam.sam import Sam

style = rc_context({"font.size": 13, "axes.titlesize": 13, "figure.titlesize": 14, "hatch.linewidth": 0.6})


def look(
    image: np.ndarray | None = None, point: tuple[float, float] | None = None, sam: Sam | None = None
) -> tuple[SamPredictor, np.ndarray, np.ndarray]:
    """A predictor, in its plain form, that has seen ``image``; the image (H, W, 3) uint8; the point (1, 2) as (x, y).

    Without arguments: the tiny model, a cup of coffee, and a point on the coffee. An image's own default point is its
    centre.
    """
    import minisam
    from minisam.figures.click import photos

    if image is None:
        photo = photos(["coffee"])[0]
        image, point = photo.image, photo.point if point is None else point
    image = np.asarray(image)
    if point is None:
        point = (image.shape[1] // 2, image.shape[0] // 2)
    if np.shape(point) != (2,):
        raise InputError(f"expected a point as (x, y), got {point!r}")
    predictor = SamPredictor(minisam.load("tiny") if sam is None else sam, plain=True)
    predictor.set_image(image)
    return predictor, image, np.array([point], np.float64)


def canvas(
    rows: int,
    columns: int,
    size: tuple[float, float] = (7, 3.5),
    margins: tuple[float, float, float, float] = (0.02, 0.98, 0.03, 0.9),
    gaps: tuple[float, float] = (0.1, 0.25),
    widths: tuple[float, ...] | None = None,
) -> tuple[Figure, np.ndarray]:
    """A matplotlib figure of ``size`` inches and its axes (rows, columns).

    Margins (left, right, bottom, top) as shares of the figure and gaps (across, down) as shares of an axis are said,
    because finding them out (``layout="constrained"``) takes longer than the drawing. ``widths`` of the columns are
    relative.
    """
    figure = Figure(figsize=size, dpi=110)
    left, right, bottom, top = margins
    figure.subplots_adjust(left, bottom, right, top, wspace=gaps[0], hspace=gaps[1])
    return figure, figure.subplots(rows, columns, squeeze=False, width_ratios=widths)


def side_by_side(image: np.ndarray, columns: int = 2, rows: int = 1, scale: bool = True) -> tuple[Figure, np.ndarray]:
    """A canvas for ``rows`` × ``columns`` maps of ``image``, each with its title, and room for a ``scale`` at the
    right."""
    width, title, right = 7.0, 0.36, 0.88 if scale else 0.99
    cell = width * (right - 0.01) / columns
    height = min(0.96 * cell * image.shape[0] / image.shape[1], 5.0)
    total = rows * (height + title) + 0.06
    margins = (0.01, right, 0.05 / total, 1 - title / total)
    return canvas(rows, columns, (width, total), margins, (0.04, title / height))


def scale(figure: Figure, drawn: Any, label: str = "") -> None:
    """The colours' scale, in the room that ``side_by_side`` left."""
    figure.colorbar(drawn, cax=figure.add_axes((0.9, 0.15, 0.018, 0.65)), label=label)


def painted(figure: Figure) -> np.ndarray:
    """The figure as pixels, (H, W, 3) uint8: for ``states``, which then need not draw it twice to cut its margins."""
    agg = FigureCanvasAgg(figure)
    agg.draw()
    return np.asarray(agg.buffer_rgba())[..., :3].copy()


def bare(axes: Axes, image: np.ndarray, title: str = "") -> None:
    """Keep to the image, without ticks: a place in an image needs no axis."""
    axes.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5), xticks=[], yticks=[], title=title)


def photograph(axes: Axes, image: np.ndarray, title: str = "", grey: bool = False) -> None:
    """The image itself, or its brightness, pale, to lie under something."""
    if grey:
        bright = image @ np.array([0.299, 0.587, 0.114])
        axes.imshow(0.5 * bright + 127, cmap="gray", vmin=0, vmax=255)
    else:
        axes.imshow(image)
    bare(axes, image, title)


def heat(axes: Axes, predictor: SamPredictor, image: np.ndarray, grid: np.ndarray, title: str = "") -> None:
    """A grid of numbers ≥ 0 over the pale image, cell by cell: the largest covers it, zero shows it as it is."""
    photograph(axes, image, title, grey=True)
    shown, extent = within_picture(grid, predictor)
    colour = np.zeros((*shown.shape, 4))
    colour[..., :3] = to_rgb(BLUE)
    colour[..., 3] = 0.9 * np.sqrt(shown / (shown.max() or 1))
    axes.imshow(colour, extent=extent, interpolation="nearest")
    bare(axes, image, title)


def evidence(
    axes: Axes,
    predictor: SamPredictor,
    image: np.ndarray,
    grid: np.ndarray,
    title: str = "",
    largest: float = 0,
    line: bool = True,
) -> Any:
    """A grid of signed numbers over the image's place, with its ``line`` of zero; colours end at ±``largest``."""
    shown, extent = within_picture(grid, predictor)
    largest = largest or limit(shown)
    drawn = axes.imshow(shown, cmap="PuOr_r", extent=extent, vmin=-largest, vmax=largest)
    if line:
        edge(axes, predictor, grid, "black")
    bare(axes, image, title)
    return drawn


def edge(axes: Axes, predictor: SamPredictor, grid: np.ndarray, colour: str, dashed: bool = False) -> None:
    """The line where ``grid`` crosses zero, if it does."""
    shown, (left, right, bottom, top) = within_picture(grid, predictor)
    if shown.min() < 0 < shown.max():
        step = ((right - left) / shown.shape[1], (bottom - top) / shown.shape[0])
        x, y = (start + (np.arange(n) + 0.5) * s for start, n, s in zip((left, top), shown.shape[::-1], step))
        axes.contour(x, y, shown, [0], colors=[colour], linewidths=1.8, linestyles="dashed" if dashed else "solid")


def outlined(
    predictor: SamPredictor,
    image: np.ndarray,
    title: str,
    logits: np.ndarray,
    name: str,
    dashed: np.ndarray | None = None,
) -> tuple[Figure, Axes]:
    """The image with the outline of ``logits`` (and ``dashed`` another one), and beside it the logits with their
    scale, under their ``name`` → the figure, and the image's axes to go on in."""
    figure, ((left, right),) = side_by_side(image)
    photograph(left, image, title)
    if dashed is not None:
        edge(left, predictor, dashed, SKY, dashed=True)
    edge(left, predictor, logits, YELLOW)
    scale(figure, evidence(right, predictor, image, logits, name))
    return figure, left


def coarse(logits: np.ndarray) -> np.ndarray:
    """logits (4h, 4w) → (h, w): the mean over each image token, whose outline is calmer than that of the logits."""
    height, width = (side // 4 for side in logits.shape)
    return logits.reshape(height, 4, width, 4).mean(axis=(1, 3))


def signed(number: float, digits: int = 2) -> str:
    """A number with its sign, and a minus that is one: +0.57, −1.20."""
    return f"{number:+.{digits}f}".replace("-", "−")


def limit(grid: np.ndarray) -> float:
    """Where the colours of signed numbers should end: above all but the outermost hundredth."""
    return float(np.quantile(np.abs(grid), 0.99)) or 1.0


def at_point(predictor: SamPredictor, grid: np.ndarray, point: np.ndarray) -> float:
    """The number of ``grid`` (L, L) whose cell holds the pixel (x, y) of the image."""
    _, (left, right, bottom, top) = shown = within_picture(grid, predictor)
    rows, columns = shown[0].shape
    column, row = (point[0] - left) / (right - left) * columns, (point[1] - top) / (bottom - top) * rows
    return float(grid[min(int(row), rows - 1), min(int(column), columns - 1)])


def mark(axes: Axes, point: np.ndarray, shape: str = "*", colour: str = "white") -> None:
    """A point (x, y) that shows on light and dark."""
    axes.plot(*point, shape, color=colour, markersize=15, markeredgecolor="black", markeredgewidth=1.2)
