"""Figure of chapter 9: a real experiment with the grading of three masks, drawn from the file that it wrote.

    from minisam.figures.multimask import multimask
    multimask()                       # benchmarks/training/multimask.json

``python -m minisam.experiments.ambiguity FILE`` trains and writes it: for each seed three very small models from the
same first weights on the same images. One is graded by the best of its three masks, one by their mean, one has a
single mask. Here nothing is trained, and no torch is needed: the numbers are read and averaged.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minisam.figures.shared.overlay import BLUE, GREEN, VERMILION
from minisam.figures.shared.states import Axis, State, states
from minisam_kernels.runtime.errors import InputError

FILE = Path(__file__).parents[2] / "benchmarks" / "training" / "multimask.json"
RULES = {"best": "best of three", "mean": "mean of three", "single": "one mask"}
COLOURS = {"best": BLUE, "mean": VERMILION, "single": GREEN}
HATCHES = {"best": "", "mean": "//", "single": ".."}
LINES = {"best": "solid", "mean": "dashed", "single": "dotted"}


def read(path: str | Path = FILE) -> dict[str, Any]:
    """The file of the experiment. Raises ``InputError`` where there is none."""
    try:
        report: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        assert report["runs"]
    except (OSError, ValueError, KeyError, AssertionError) as error:
        raise InputError(f"expected a file that python -m minisam.experiments.ambiguity wrote, got {path}") from error
    return report


def summary(run: dict[str, Any]) -> dict[str, Any]:
    """What one training came to, as means over its ambiguous points.

    ``oracle``, ``chosen`` (2,): IoU with the innermost and the outermost truth, of the best mask, and of the mask with
    the highest predicted IoU. ``covered``: the share of points where some mask has an IoU above ½ with the inner truth
    and some mask one with the outer. ``silent``: the share of points where no mask has a pixel of the outer truth.
    ``undecided``: share of the outer truth's pixels with a probability between ¼ and ¾. ``wins`` (M, 2): the share of
    points where mask m has the highest IoU with the inner and with the outer truth, among points where one has any; NaN
    where none ever has.
    """
    ends, chosen, undecided = [], [], []
    wins: list[list[np.ndarray]] = [[], []]
    for answer in run["answers"]:
        iou = np.nan_to_num(np.array(answer["iou"], float))[:, [0, -1]]  # (M, 2)
        ends.append(iou.max(axis=0))
        chosen.append(iou[int(np.argmax(answer["predicted"]))])
        for column, best in enumerate(iou.max(axis=0)):
            if best > 0:
                top = iou[:, column] == best
                wins[column].append(top / top.sum())
        undecided.append(np.mean(answer["undecided"]))
    return {
        "oracle": np.mean(ends, axis=0),
        "chosen": np.mean(chosen, axis=0),
        "covered": float(np.mean((np.array(ends) > 0.5).all(axis=1))),
        "silent": float(np.mean(np.array(ends)[:, 1] == 0)),
        "undecided": float(np.mean(undecided)),
        "wins": np.stack([np.mean(w, axis=0) if w else np.full(len(iou), np.nan) for w in wins], axis=1),
    }


def by_rule(report: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """ "best", "mean", "single" → the runs of the seeds."""
    return {rule: [run for run in report["runs"] if run["settings"]["multimask"] == rule] for rule in RULES}


def multimask(path: str | Path = FILE, question: str = "", source: str = "") -> Any:
    """Buttons over four views of the experiment in ``path``."""
    report = read(path)
    views: dict[str, Callable[[dict[str, Any]], State]] = {
        "while training": curves, "IoU afterwards": levels, "silent, undecided": openness, "who wins what": wins,
    }  # fmt: skip
    return states([Axis("look at", list(views))], lambda i: list(views.values())[i](report), question, source)


def _axes(width: float = 6.6, count: int = 1) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 3.4), layout="constrained")
    return figure, figure.subplots(1, count)


def curves(report: dict[str, Any]) -> State:
    """IoU of the training's own prompts by step: of the most confident mask, and of the best."""
    figure, (left, right) = _axes(6.8, 2)
    last = {}
    for rule, runs in by_rule(report).items():
        for number, run in enumerate(runs):
            steps = [line["step"] for line in run["log"]]
            best = "iou_1" if rule == "single" else "oracle_1"
            style = {"color": COLOURS[rule], "linestyle": LINES[rule], "linewidth": 1.6}
            for axes, key in ((left, "iou_1"), (right, best)):
                axes.plot(steps, [line[key] for line in run["log"]], label=RULES[rule] if not number else None, **style)
            last[rule, number] = np.mean([[line["iou_1"], line[best]] for line in run["log"][-5:]], axis=0)
    left.set(title="the mask with the highest score", ylabel="mean IoU")
    right.set(title="the best of the masks there are")
    top = 1.05 * max(axes.get_ylim()[1] for axes in (left, right))
    for axes in (left, right):
        axes.set(xlabel="training step", ylim=(0, top))
        axes.grid(alpha=0.3)
    left.legend(fontsize=10, frameon=False)
    lines = "Over the last five lines of each log (scored mask, best mask): "
    parts = []
    for rule, runs in by_rule(report).items():
        ends = np.mean([last[rule, number] for number in range(len(runs))], axis=0)
        parts.append(f"{RULES[rule]} {ends[0]:.3f}, {ends[1]:.3f}")
    return State(figure, lines + "; ".join(parts) + ". A line is a seed; half of the prompts are boxes.")


def _bars(axes: Any, groups: list[str], values: dict[str, np.ndarray]) -> None:
    """values: rule → (seeds, groups). A bar a rule and group at the seeds' mean, one dot per seed."""
    width = 0.8 / len(values)
    for number, (rule, shares) in enumerate(values.items()):
        lefts = np.arange(len(groups)) + (number - (len(values) - 1) / 2) * width
        axes.bar(lefts, shares.mean(axis=0), 0.92 * width, color=COLOURS[rule], hatch=HATCHES[rule], edgecolor="white",
                 label=RULES[rule])  # fmt: skip
        for row in shares:
            axes.plot(lefts, row, "o", color="white", markeredgecolor="black", markersize=5)
    axes.set_xticks(range(len(groups)), groups, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def levels(report: dict[str, Any]) -> State:
    """IoU with the innermost and the outermost truth of held-out points."""
    summaries = {rule: [summary(run) for run in runs] for rule, runs in by_rule(report).items()}
    groups = [
        "inner truth,\nbest mask",
        "outer truth,\nbest mask",
        "inner truth,\nscored mask",
        "outer truth,\nscored mask",
    ]
    values = {rule: np.array([[*s["oracle"], *s["chosen"]] for s in each]) for rule, each in summaries.items()}
    figure, axes = _axes()
    _bars(axes, groups, values)
    axes.set(ylabel="mean IoU", title="ambiguous points of held-out scenes")
    axes.legend(fontsize=10, frameon=False)
    lines = []
    for rule, each in summaries.items():
        inner, outer, a, b = values[rule].mean(axis=0)
        covered = np.mean([s["covered"] for s in each])
        lines.append(f"{RULES[rule]}: inner {inner:.3f}, outer {outer:.3f} (scored mask {a:.3f}, {b:.3f}), both above "
                    f"one half at {covered:.0%} of the points")  # fmt: skip
    return State(figure, "Mean IoU with the inner and outer truth, best mask. " + "; ".join(lines) + ".")


def openness(report: dict[str, Any]) -> State:
    """How often there is no answer at all, and how much of the object is left open."""
    summaries = {rule: [summary(run) for run in runs] for rule, runs in by_rule(report).items()}
    figure, (left, right) = _axes(6.8, 2)
    lines = []
    for axes, key, group in (
        (left, "silent", "no mask touches\nthe object"),
        (right, "undecided", "pixels with p\nfrom ¼ to ¾"),
    ):
        values = {rule: np.array([[s[key]] for s in each]) for rule, each in summaries.items()}
        _bars(axes, [group], values)
        axes.set(ylim=(0, 1.3), ylabel="share")
        lines.append(", ".join(f"{RULES[rule]} {v.mean():.0%}" for rule, v in values.items()))
    right.legend(fontsize=10, frameon=False)
    return State(figure, f"Points where no mask touches the object: {lines[0]}. Its pixels left undecided: {lines[1]}.")


def wins(report: dict[str, Any]) -> State:
    """Which mask token is best for the inner and which for the outer truth, for each training with three."""
    runs = [(rule, run) for rule, several in by_rule(report).items() if rule != "single" for run in several]
    from matplotlib.figure import Figure

    figure, lines = Figure(figsize=(5.6, 2.6 * -(-len(runs) // 2)), layout="constrained"), []
    axes = figure.subplots(-(-len(runs) // 2), 2, squeeze=False).ravel()
    for panel, (rule, run) in zip(axes, runs):
        share = summary(run)["wins"]
        panel.imshow(share, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for i, j in np.ndindex(share.shape):
            known, dark = not np.isnan(share[i, j]), share[i, j] <= 0.55
            panel.text(j, i, f"{share[i, j]:.0%}" if known else "–", ha="center", va="center", fontsize=11,
                       color="white" if dark else "black")  # fmt: skip
        panel.set_xticks([0, 1], ["inner", "outer"], fontsize=10)
        panel.set_yticks(range(3), [f"mask {k}" for k in (1, 2, 3)], fontsize=10)
        panel.set_title(f"{RULES[rule]}, seed {run['settings']['seed']}", fontsize=11)
        inner, outer = (
            "nobody" if np.isnan(v).any() else ", ".join(f"{x:.0%}" for x in v) for v in share.T
        )  # fmt: skip
        lines.append(f"{RULES[rule]}, seed {run['settings']['seed']}: inner {inner}; outer {outer}")
    return State(figure, "Share of points where masks 1, 2, 3 are the best for a truth. " + ". ".join(lines) + ".")
