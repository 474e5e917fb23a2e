"""Masks on images: a tint, an outline, a point. Every figure that shows a mask draws it with these.

Colours are those of Okabe and Ito; what matters also differs by the outline's style and by words. Coordinates are
(x, y) in pixels, x to the right, y down.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILION, PURPLE, BLACK = "#0072B2", "#D55E00", "#CC79A7", "#000000"
STYLES = ("solid", "dashed", "dotted")


def rgb(colour: str) -> np.ndarray:
    """ "#RRGGBB" → (3,) from 0 to 255."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float32)


def tint(image: np.ndarray, mask: np.ndarray, colour: str, amount: float = 0.55, dim: float = 1.0) -> np.ndarray:
    """The image (H, W, 3) uint8 with the pixels of ``mask`` (H, W) mixed with a colour; ``dim`` darkens the rest."""
    out = image.astype(np.float32)
    out[~mask] *= dim
    out[mask] = (1 - amount) * out[mask] + amount * rgb(colour)
    return out.round().astype(np.uint8)


def outline(axes: Any, mask: np.ndarray, colour: str, style: str = "solid", width: float = 1.8) -> None:
    """The border of a mask, with a thin black one under it, so that it is seen on any ground."""
    padded = np.pad(mask.astype(float), 1)
    for line, tone, kind in ((width + 1.6, BLACK, "solid"), (width, colour, style)):
        x, y = (np.arange(side) - 1 for side in padded.shape[::-1])
        if padded.any():
            axes.contour(x, y, padded, [0.5], colors=[tone], linewidths=line, linestyles=[kind])


def point(axes: Any, x: float, y: float, label: int = 1, size: float = 13.0) -> None:
    """A foreground point is a white plus, a background point a white cross, both edged in black."""
    marker, colour = ("P", "white") if label else ("X", "white")
    axes.plot([x], [y], marker, color=colour, markeredgecolor="black", markeredgewidth=1.5, markersize=size)


def layout(below: float = 0.75, size: tuple[float, float] = (6.4, 5.4)) -> tuple[Any, list[Any]]:
    """A figure with two images side by side and a wide plot under them, ``below`` times as high: legible on a phone.

    Returns the figure and the three axes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    named = figure.subplot_mosaic([["left", "right"], ["below", "below"]], height_ratios=(1, below))
    return figure, [named["left"], named["right"], named["below"]]


def show(axes: Any, picture: np.ndarray, title: str = "") -> None:
    """An image without ticks, pixels as they are."""
    axes.imshow(picture, interpolation="nearest")
    axes.set(xticks=[], yticks=[], xlim=(-0.5, picture.shape[1] - 0.5), ylim=(picture.shape[0] - 0.5, -0.5))
    axes.set_title(title, fontsize=11)
