"""Figure of the page on ablations: what each small training reached, drawn from the file that they wrote.

    from minisam.figures.ablations import ablations
    ablations()                       # benchmarks/training/ablations.json

``python -m minisam.experiments.ablations FILE`` trains and writes it. Here nothing is trained, and no torch is needed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from minisam.figures.shared.overlay import BLUE, GREEN, VERMILION
from minisam.figures.shared.states import Axis, State, states
from minisam_kernels.runtime.errors import InputError

FILE = Path(__file__).parents[2] / "benchmarks" / "training" / "ablations.json"
SHOWN = {
    "point_confident": ("one click, most confident mask", BLUE, "o"),
    "point_best": ("one click, best of three", VERMILION, "D"),
    "box_single": ("a box, single-mask token", GREEN, "s"),
}


def read(path: str | Path = FILE) -> list[dict[str, Any]]:
    """The trainings in the file, first that which the others differ from; an ``InputError`` where it is not there."""
    try:
        runs: list[dict[str, Any]] = json.loads(Path(path).read_text(encoding="utf-8"))["runs"]
        assert runs[0]["group"] == "base"
    except (OSError, ValueError, LookupError, TypeError, AssertionError) as error:
        wanted = "a file that python -m minisam.experiments.ablations wrote, with its first line"
        raise InputError(f"expected {wanted}, got {path}") from error
    return runs


def reached(runs: list[dict[str, Any]], images: str, figure: str) -> dict[str, list[float]]:
    """Each line's name → its mean IoU on the world or on a set of photographs, one number per seed, if it has any."""
    ious: dict[str, list[float]] = {}
    for run in runs:
        if figure in run["found"].get(images, {}):
            name = run["name"] if run["group"] == "base" else f"{run['group']}: {run['name']}"
            ious.setdefault(name, []).append(run["found"][images][figure])
    return ious


def ablations(path: str | Path = FILE, question: str = "", source: str = "") -> Any:
    """Every line of the table as dots, one dot per seed, and buttons for the images that it was measured on."""
    runs = read(path)
    sets = list(runs[0]["found"])
    names = ["the world" if images == "world" else f"photos: {images}" for images in sets]
    return states([Axis("measured on", names)], lambda i: dots(runs, sets[i]), question, source)


def dots(runs: list[dict[str, Any]], images: str) -> State:
    """What was reached at one place."""
    from matplotlib.figure import Figure

    lines = list(reached(runs, images, "box_single"))
    figure = Figure(figsize=(6.8, 1.1 + 0.3 * len(lines)), layout="constrained")
    axes, sentences = figure.subplots(), []
    for key, (label, colour, marker) in SHOWN.items():
        ious = reached(runs, images, key)
        means = {name: float(np.mean(values)) for name, values in ious.items()}
        first, *others = means
        axes.axvline(means[first], color=colour, linewidth=1, linestyle="dotted")
        for name, values in ious.items():
            axes.plot(values, [lines.index(name)] * len(values), marker, color=colour, markersize=6, alpha=0.8,
                      label=label if name == first else None)  # fmt: skip
        low, high = min(others, key=means.__getitem__), max(others, key=means.__getitem__)
        sentences.append(f"{label}: {means[first]:.2f} as the others begin, lowest {means[low]:.2f} ({low}), "
                    f"highest {means[high]:.2f} ({high})")  # fmt: skip
    axes.set_yticks(range(len(lines)), lines, fontsize=10)
    axes.invert_yaxis()
    axes.set(xlabel="mean IoU; dotted: the first line's mean", xlim=(0, None))
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", fontsize=10, frameon=False, ncols=1)
    return State(figure, "Mean IoU, " + "; ".join(sentences) + ".")
