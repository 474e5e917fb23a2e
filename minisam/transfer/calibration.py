"""Does the predicted IoU mean what it says? Reliability bins, and how far off it is on average."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minisam.files.atomic import atomic

BINS = 10


def calibration(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Sort (predicted, true) IoU of many masks into bins of equal width by the predicted one (clipped to [0, 1]).

    ``gap``: mean predicted − mean true. ``error``: the bins' |mean predicted − mean true|, weighted by their counts
    (the expected calibration error). ``mean_absolute``: |predicted − true| of each mask, averaged.
    """
    predicted, true = np.array(pairs, float).reshape(-1, 2).T
    bin_of = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
    bins = []
    for number in range(BINS):
        inside = bin_of == number
        means = [float(values[inside].mean()) if inside.any() else None for values in (predicted, true)]
        low, high = number / BINS, (number + 1) / BINS
        bins.append({"low": low, "high": high, "count": int(inside.sum()), "predicted": means[0], "true": means[1]})
    full = [b for b in bins if b["count"]]
    off = sum(b["count"] * abs(b["predicted"] - b["true"]) for b in full)  # type: ignore[operator]
    return {
        "masks": len(predicted),
        "predicted": float(predicted.mean()),
        "true": float(true.mean()),
        "gap": float(predicted.mean() - true.mean()),
        "error": float(off / len(predicted)),
        "mean_absolute": float(abs(predicted - true).mean()),
        "bins": bins,
    }


def draw(report: dict[str, Any], path: str | Path) -> None:
    """Draw the reliability of every kind of prompt as a PNG: a point per bin, as large as the bin is full."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for kind in ("point_three", "box_three", "clicks"):
        if kind in report["calibration"]:
            entry = report["calibration"][kind]
            full = [b for b in entry["bins"] if b["count"]]
            sizes = [300 * b["count"] / entry["masks"] + 6 for b in full]
            means = [b["predicted"] for b in full], [b["true"] for b in full]
            axes.plot(*means, linewidth=1, label=f"{kind.replace('_', ', ')}: error {entry['error']:.3f}")
            axes.scatter(*means, s=sizes)
    axes.set(xlabel="predicted IoU", ylabel="true IoU", xlim=(0, 1), ylim=(0, 1), title=report["folder"])
    axes.legend(frameon=False)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
