"""one_pixel: what an outline that is off by a few pixels costs, for objects of every size. A figure of chapter 1.

Every object of a few held-out scenes is grown by d pixels on all sides, and compared with itself. A disc of the same
area would get

    IoU = (r / (r + d))²,   r = √(area / π)

and in the plane no shape does better: of all shapes of one area the disc gains least when it grows.
"""

from __future__ import annotations

import functools
from typing import Any

import ipywidgets as widgets
import numpy as np

from minisam.figures.score import band_of, measures
from minisam.figures.shared.states import Axis, State, states
from minisam_kernels.runtime.errors import InputError

QUESTION = (
    "Every outline is drawn one pixel too far out, all around. Which objects lose more than a tenth of their IoU by "
    "it: those below 20 pixels across, below 40, or below 80?"
)
PIXELS = (1, 2, 4, 8)
MEASURES = {"iou": "IoU", "dice": "Dice", "accuracy": "pixel accuracy", "boundary": "boundary IoU"}
SIZE = 256


@functools.cache
def objects(scenes: int = 12) -> list[np.ndarray]:
    """The masks (SIZE, SIZE) bool of the first held-out scenes that keep a margin to the image's border."""
    from minisam.world import HELD_OUT, render

    far = max(PIXELS) + 1
    masks = []
    for number in range(scenes):
        for mask in render(HELD_OUT + number, SIZE).masks:
            inner = mask.segmentation[far:-far, far:-far]
            if mask.area >= 30 and inner.sum() == mask.area:
                masks.append(np.array(mask.segmentation))
    return masks


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """mask (H, W) bool → with all pixels whose centre is within ``pixels`` of one of its own."""
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~mask) <= pixels


def measured(mask: np.ndarray, pixels: int) -> dict[str, float]:
    """``measures`` of the grown mask against the mask, computed on the part of the image where they lie."""
    y, x = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    band, far = band_of(mask.shape), pixels + 1
    window = np.s_[max(y[0] - far, 0) : y[-1] + far + 1, max(x[0] - far, 0) : x[-1] + far + 1]
    part = mask[window]
    values = measures(grown(part, pixels), part, band)
    values["accuracy"] = 1 - (1 - values["accuracy"]) * part.size / mask.size
    return values


def disc(area: np.ndarray | float, pixels: float) -> Any:
    """IoU of a disc with the same disc grown."""
    r = np.sqrt(np.asarray(area) / np.pi)
    return (r / (r + pixels)) ** 2


def one_pixel(scenes: int = 12, source: str = "") -> widgets.VBox:
    """The figure over the objects of ``scenes`` held-out scenes. Raises ``InputError`` for less than one."""
    if scenes < 1:
        raise InputError(f"expected at least one scene, got {scenes}")
    masks = objects(scenes)
    areas = np.array([mask.sum() for mask in masks], float)
    table = {d: [measured(mask, d) for mask in masks] for d in PIXELS}
    axes = [Axis("Measure", list(MEASURES.values())), Axis("Outline off by", [f"{d} px" for d in PIXELS])]

    def draw(i: int, j: int) -> State:
        key = list(MEASURES)[i]
        return state(areas, np.array([values[key] for values in table[PIXELS[j]]]), key, PIXELS[j])

    return states(axes, draw, QUESTION, source)


def state(areas: np.ndarray, values: np.ndarray, key: str, pixels: int) -> State:
    """areas and values (objects,) of one measure → the image and its words."""
    across = 2 * np.sqrt(areas / np.pi)
    small, large = values[across < 20], values[across >= 40]
    words = f"Outline {pixels} px too far out, {len(values)} objects. Median {MEASURES[key]}"
    parts = [(small, "below 20 px across"), (values[(across >= 20) & (across < 40)], "from 20 to 40 px")]
    parts += [(large, "of 40 px and more")]
    groups = [f"{np.median(part):.2f} {name} ({len(part)})" for part, name in parts if len(part)]
    return State(_draw(across, values, key, pixels), f"{words}: {', '.join(groups)}.")


def _draw(across: np.ndarray, values: np.ndarray, key: str, pixels: int) -> Any:
    import matplotlib.pyplot as plt

    with plt.rc_context({"font.size": 12}):
        figure, axes = plt.subplots(figsize=(6, 3.5))
        axes.scatter(
            across, values, s=22, marker="o", facecolor="#0072b2", edgecolor="white", linewidth=0.4, label="object"
        )
        if key in ("iou", "dice"):
            x = np.geomspace(5, 250, 100)
            curve = disc(np.pi * x**2 / 4, pixels)
            axes.plot(x, curve if key == "iou" else 2 * curve / (1 + curve), "--", color="#d55e00", label="a disc")
            axes.legend(loc="lower right", fontsize=11)
        axes.set_xscale("log")
        axes.set_xticks([10, 20, 40, 80, 160], ["10", "20", "40", "80", "160"])
        axes.minorticks_off()
        axes.set(
            xlim=(5, 250),
            ylim=(0, 1.03),
            xlabel="size: diameter of a disc of the same area, pixels",
            ylabel=MEASURES[key],
        )
        axes.grid(alpha=0.3)
    return figure
