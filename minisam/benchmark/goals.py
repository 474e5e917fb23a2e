"""What was asked for, beside what was measured. Every figure is computed here from the report's data, none is typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Report = dict[str, Any]
OURS = "minisam"


@dataclass(frozen=True)
class Goal:
    """``kind``: "ratio" to ``peer``'s time, "gain" over the workload called ``peer``, "share" of BLAS's peak, to be
    reached; "seconds" and "bytes", not to be exceeded."""

    workload: str
    kind: str
    target: float
    peer: str = ""


GOALS: dict[str, tuple[Goal, ...]] = {
    "vit_b": (
        Goal("encode", "ratio", 4, "reference"),
        Goal("encode", "ratio", 1.2, "onnxruntime"),
        Goal("encode", "share", 0.75),
        Goal("encode", "bytes", 1.2e9),
        Goal("prompts-1", "ratio", 5, "reference"),
        Goal("prompts-1", "ratio", 3.5, "onnxruntime"),
        Goal("prompts-1", "seconds", 0.010),
        Goal("prompts-64", "ratio", 10, "reference"),
        Goal("everything", "ratio", 12, "reference"),
        Goal("everything", "bytes", 1.2e9),
        Goal("everything-filtered", "gain", 1, "everything"),
    ),
    "tiny": (
        Goal("encode", "seconds", 0.060),
        Goal("prompts-1", "seconds", 0.004),
        Goal("everything", "seconds", 2.0),
    ),
}


def result(report: Report, workload: str, contender: str) -> dict[str, Any] | None:
    """A contender's figures of a workload; None where it was not run or failed."""
    for row in report["workloads"]:
        if row["name"] == workload:
            found = row["results"].get(contender)
            return found if found and "failed" not in found else None
    return None


def ratio(report: Report, workload: str, peer: str) -> float | None:
    """How many times longer than ours the peer takes: the ratio of the medians."""
    ours, theirs = result(report, workload, OURS), result(report, workload, peer)
    return theirs["median"] / ours["median"] if ours and theirs else None


def blas_peak(report: Report) -> float | None:
    """GFLOP/s of NumPy's best product of matrices in this run, with all threads: alone, or in turns with the rest."""
    rates = [rates.get(OURS) for rates in [report["blas_peak"].get(str(report["threads"]), {})]]
    rates += [row["results"].get("blas", {}).get("gflops") for row in report["workloads"]]
    return max((rate for rate in rates if rate), default=None)


def share(report: Report, workload: str, contender: str = OURS) -> float | None:
    """The part of BLAS's peak at which a contender does the counted arithmetic."""
    found, peak = result(report, workload, contender), blas_peak(report)
    return found["gflops"] / peak if found and peak and "gflops" in found else None


def measured(report: Report, goal: Goal) -> float | None:
    """The goal's figure; None where this run does not have it."""
    if goal.kind == "ratio":
        return ratio(report, goal.workload, goal.peer)
    if goal.kind == "share":
        return share(report, goal.workload)
    found = result(report, goal.workload, OURS)
    if found is None:
        return None
    if goal.kind == "gain":
        other = result(report, goal.peer, OURS)
        return other["median"] / found["median"] if other else None
    if goal.kind == "seconds":
        return found["median"]
    return max([found["peak_bytes"], *(_peaks_of_batches(report) if goal.workload == "everything" else ())])


def _peaks_of_batches(report: Report) -> list[float]:
    """Our memory for everything at each number of points in a batch, where that was measured: it must not matter."""
    curves = [series["curves"].get(OURS, []) for series in report.get("scaling", []) if series["name"] == "batch"]
    return [point["peak_bytes"] for curve in curves for point in curve if "peak_bytes" in point]


def met(goal: Goal, value: float) -> bool:
    """Whether ``value`` is on the right side of the target."""
    return value >= goal.target if goal.kind in ("ratio", "gain", "share") else value <= goal.target


def compare(report: Report) -> list[dict[str, Any]]:
    """A row for each goal of the report's model."""
    rows = []
    for goal in GOALS.get(report["model"]["name"], ()):
        value = measured(report, goal)
        rows.append({"goal": goal, "measured": value, "met": None if value is None else met(goal, value)})
    return rows
