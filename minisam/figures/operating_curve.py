"""Thresholds and what they leave: few good masks or many bad ones. A figure of chapter 13.

    from minisam.figures.operating_curve import operating_curve
    operating_curve()                 # benchmarks/engine/audit.json

``minisam engine audit`` measured the file: for each pair of thresholds how many masks per picture stay, and which share
of them has an IoU above .9 and .75 with the truth. The slider moves the threshold of stability; along a line moves that
of the predicted IoU. SA-1B's own thresholds are marked, and those that the audit chose.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.engine.audit import BOUNDS, Curve
from minisam.figures.shared.overlay import BLUE, ORANGE, VERMILION
from minisam.figures.shared.paint import painted, style
from minisam.figures.shared.states import Axis, State, states
from minisam.reports.environment import ROOT
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

FILE = ROOT / "benchmarks" / "engine" / "audit.json"
SA1B = (0.88, 0.95)  # predicted IoU, stability (paper, section 4)
LOOKS = {0.75: (BLUE, "o", "solid"), 0.9: (ORANGE, "s", "dashed")}


@dataclass(frozen=True)
class Audit:
    """What the figure shows of a report: the curve, the chosen thresholds, and what they gave on other pictures."""

    curve: Curve
    choice: dict[str, Any] | None
    other: dict[str, Any] | None


def read(path: str | Path = FILE) -> Audit:
    """The curve of a report; ``InputError`` where the file is missing, is no report, or has no curve."""
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        curve = Curve.from_json(report["curve"])
        for entry in (report["choice"], report["on_other_split"]):
            if entry is not None:
                [float(entry[name]) for name in ("pred_iou_thresh", "stability_score_thresh", "share", "per_picture")]
        if not curve.masks.size or curve.pictures < 1:
            raise ValueError("an empty curve")
    except (OSError, ValueError, KeyError, TypeError) as error:
        wanted = "expected a report of minisam engine audit --truth with a curve"
        raise InputError(f"{wanted}, got {path} ({error!r:.80})") from error
    return Audit(curve, report["choice"], report["on_other_split"])


def operating_curve(path: str | Path = FILE, question: str = "", source: str = "") -> ipywidgets.VBox:
    """A slider over the threshold of stability. ``source``: the address of this code, for the link below the figure.

    Raises ``InputError`` where there is no report with a curve.
    """
    audit = read(path)
    stable = audit.curve.stability
    start = int(np.abs(stable - (audit.choice["stability_score_thresh"] if audit.choice else stable[0])).argmin())
    question = question or (
        "SA-1B keeps a mask if its predicted IoU is at least .88 and its stability at least .95. A small model is less "
        "sure of itself. How many of its masks will these thresholds leave in a picture: about 20, about 5, or fewer "
        "than 1?"
    )
    axis = Axis("stability at least", [f"{value:g}" for value in stable], start)
    return states([axis], lambda s: draw(audit, s), question, source)


def sa1b_point(curve: Curve) -> tuple[int, int] | None:
    """Where SA-1B's thresholds are on the curve; None if they were not measured."""
    p = np.flatnonzero(np.isclose(curve.predicted_iou, SA1B[0]))
    s = np.flatnonzero(np.isclose(curve.stability, SA1B[1]))
    return (int(p[0]), int(s[0])) if len(p) and len(s) else None


def _at(curve: Curve, p: int, s: int) -> str:
    if not curve.masks[p, s]:
        return "no mask"
    shares = " and ".join(f"{curve.share(bound)[p, s]:.0%} above {bound:g}" for bound in BOUNDS)
    return f"{curve.per_picture()[p, s]:.1f} masks per picture, {shares}"


def words(audit: Audit, s: int) -> str:
    """Both ends of the line, SA-1B's thresholds, and the chosen ones."""
    curve = audit.curve
    last = int(np.flatnonzero(curve.masks[:, s])[-1]) if curve.masks[:, s].any() else 0
    text = f"Stability at least {curve.stability[s]:g}: with predicted IoU above {curve.predicted_iou[0]:g} "
    text += f"{_at(curve, 0, s)}; above {curve.predicted_iou[last]:g} {_at(curve, last, s)}."
    if (at := sa1b_point(curve)) is not None:
        text += f" SA-1B's thresholds (.88, .95): {_at(curve, *at)}."
    if choice := audit.choice:
        text += (
            f" Chosen on {curve.pictures} pictures: predicted IoU above {choice['pred_iou_thresh']:g}, stability at "
            f"least {choice['stability_score_thresh']:g}: {choice['per_picture']:.1f} masks per picture, "
            f"{choice['share']:.0%} above {choice['bound']:g}"
        )
        text += "" if choice["reached"] else f", short of the wanted {choice['least']:.0%}"
        if audit.other:
            other = audit.other
            text += f"; on other pictures {other['per_picture']:.1f} and {other['share']:.0%}"
        text += "."
    return text


@style
def draw(audit: Audit, s: int) -> State:
    """Share of good masks against masks per picture, along the predicted IoU; other stabilities pale."""
    from matplotlib.figure import Figure

    curve = audit.curve
    figure = Figure(figsize=(7.4, 4.6), dpi=100)
    figure.subplots_adjust(0.11, 0.14, 0.97, 0.9)
    axes = figure.subplots()
    yield_ = curve.per_picture()
    for bound, (colour, marker, line) in LOOKS.items():
        share = 100 * curve.share(bound)
        axes.plot(yield_, share, color="#DDDDDD", lw=1, zorder=1)
        axes.plot(yield_[:, s], share[:, s], marker, ls=line, color=colour, ms=7, label=f"IoU above {bound:g}")
    for p in _labelled(curve, s):
        at = (yield_[p, s], 100 * curve.share(0.75)[p, s])
        axes.annotate(f"{curve.predicted_iou[p]:g}", at, (5, 7), textcoords="offset points", fontsize=10.5)
    if (at_sa1b := sa1b_point(curve)) is not None and curve.masks[at_sa1b]:
        y = 100 * curve.share(0.75)[at_sa1b]
        axes.plot(yield_[at_sa1b], y, "D", color="white", mec="black", ms=11, label="SA-1B's thresholds", zorder=4)
    if choice := audit.choice:
        axes.axhline(100 * choice["least"], color="black", lw=1, ls=":")
        place = choice["per_picture"], 100 * choice["share"]
        axes.plot(*place, "*", color=VERMILION, mec="black", ms=20, label="chosen", zorder=5)
    axes.set(xlabel="masks per picture", ylabel="share of masks, %", ylim=(-3, 106), xlim=(0, None))
    axes.set_title(f"Stability at least {curve.stability[s]:g}; numbers: predicted IoU above", fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=11, loc="best")
    text = words(audit, s)
    return State(painted(figure), text, f"Share of good masks falls as masks per picture rise. {text}")


def _labelled(curve: Curve, s: int, most: int = 5) -> list[int]:
    """Thresholds that leave masks, some of them, spread over the line."""
    some = np.flatnonzero(curve.masks[:, s])
    return some[np.unique(np.linspace(0, len(some) - 1, most).round().astype(int))].tolist() if len(some) else []
