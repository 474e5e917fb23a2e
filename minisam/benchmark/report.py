"""The report: text for the terminal and a Markdown page, both from the same tables of the same data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minisam.reports.tables import Report, Table, gigabytes, machine, markdown, plain, read_reports, seconds

SCHEMA = 1  # of the JSON: a number that grows when older readers could not read it
OURS = "minisam"
ORDER = ("vit_b", "tiny")  # models on the page; others follow
Picture = dict[str, str]  # file, title, alt

HOW = """\
Every contender has a process of its own, new for each row, and the processes take turns; in between they are stopped,
so that threads of one that still spin cannot slow down another. All have the same weights, the same number of threads
and the same inputs, and each keeps its library's own settings otherwise. The first calls do not count; they are shown
apart. Times are medians, with the middle half of the measurements in brackets; **n×** says how many times longer than
minisam that contender takes. Memory is the largest resident size of the process, libraries and weights included.
`OPENBLAS_CORETYPE` and `OPENBLAS_L2_SIZE` are removed from the environment, for they can force BLAS to older kernels;
where they were set, a column shows what that costs. GFLOP/s count the plain form's arithmetic
(`minisam/benchmark/flops.py`), whatever a contender really computes; the peak is the best of NumPy's own matrix
products in the same run."""


def read_folder(folder: Path) -> list[Report]:
    """Every model's figures, in the page's order."""

    def position(report: Report) -> tuple[int, str]:
        name = report["model"]["name"]
        return (ORDER.index(name) if name in ORDER else len(ORDER), name)

    return sorted(read_reports(folder, SCHEMA, "minisam bench"), key=position)


# ------------------------------------------------------------------------------------------------------- numbers


def result_of(report: Report, workload: str, contender: str) -> dict[str, Any] | None:
    """A contender's figures for a workload; None where it was not run or failed."""
    for row in report["workloads"]:
        if row["name"] == workload:
            figures = row["results"].get(contender)
            return figures if figures and "failed" not in figures else None
    return None


def ratio(report: Report, workload: str, peer: str) -> float | None:
    """How many times longer than ours the peer takes: the ratio of the medians."""
    ours, theirs = result_of(report, workload, OURS), result_of(report, workload, peer)
    return theirs["median"] / ours["median"] if ours and theirs else None


def blas_peak(report: Report) -> float | None:
    """GFLOP/s of NumPy's best product of matrices in this run, with all threads: alone, or in turns with the rest."""
    rates = [report["blas_peak"].get(str(report["threads"]), {}).get(OURS)]
    rates += [row["results"].get("blas", {}).get("gflops") for row in report["workloads"]]
    return max((rate for rate in rates if rate), default=None)


def share(report: Report, workload: str, contender: str = OURS) -> float | None:
    """The part of BLAS's peak at which a contender does the counted arithmetic."""
    figures, peak = result_of(report, workload, contender), blas_peak(report)
    return figures["gflops"] / peak if figures and peak and "gflops" in figures else None


def _spread(result: dict[str, Any], per: int) -> str:
    middle, (low, high) = result["median"] / per, (q / per for q in result["quartiles"])
    unit = seconds(middle).split()[1]
    scale = {"s": 1.0, "ms": 1e3, "µs": 1e6}[unit]
    return f"{seconds(middle)} ({low * scale:.3g}–{high * scale:.3g})"


# -------------------------------------------------------------------------------------------------------- tables


def times(report: Report) -> Table:
    """A row for each workload, a column for each contender."""
    names = list(report["contenders"])
    table = [[report["model"]["name"], *(report["contenders"][name]["title"] for name in names)]]
    for row in report["workloads"]:
        cells = []
        for name in names:
            result = row["results"].get(name)
            if result is None or "failed" in result:
                cells.append("–" if result is None else result["failed"])
                continue
            longer = ratio(report, row["name"], name) if name != OURS else None
            cells.append(_spread(result, row["per"]) + (f", **{longer:.1f}×**" if longer else ""))
        table.append([row["title"], *cells])
    return table


def memory(report: Report) -> Table:
    """Peak of each process."""
    names = list(report["contenders"])
    table = [["largest resident size", *(report["contenders"][name]["title"] for name in names)]]
    for row in report["workloads"]:
        results = [result_of(report, row["name"], name) for name in names]
        title = row["title"].removesuffix(", each") + (" in a call" if row["per"] > 1 else "")
        table.append([title, *(gigabytes(result["peak_bytes"]) if result else "–" for result in results)])
    return table


def rates(report: Report) -> Table:
    """GFLOP/s of the plain form's arithmetic, and their share of BLAS's peak."""
    names = list(report["contenders"])
    table = [["GFLOP/s (share of the peak)", "GFLOP", *(report["contenders"][name]["title"] for name in names)]]
    for row in report["workloads"]:
        if not row["gflop"]:
            continue
        cells = []
        for name in names:
            result, part = result_of(report, row["name"], name), share(report, row["name"], name)
            cells.append(f"{result['gflops']:.0f} ({part:.0%})" if result and part else "–")
        table.append([row["title"].removesuffix(", each"), f"{row['gflop']:.4g}", *cells])
    for threads, peaks in report["blas_peak"].items():
        title = f"peak of matrix products, {threads} thread{'s' * (threads != '1')}"
        table.append([title, "", *(f"{peaks[name]:.0f}" if name in peaks else "–" for name in names)])
    peak = blas_peak(report)
    if peak:
        title = "peak that the shares are of: NumPy's best, alone or in turns with the rest"
        table.append([title, "", f"{peak:.0f}", *["–"] * (len(names) - 1)])
    return table


def first_calls(report: Report) -> Table:
    """What does not count above: reading the weights, and the first call of a process."""
    names = list(report["contenders"])
    table = [["before the first answer", *(report["contenders"][name]["title"] for name in names)]]
    for row in report["workloads"]:
        if row["name"] not in ("encode", "prompts-1"):
            continue
        results = [result_of(report, row["name"], name) for name in names]
        cells = [f"{seconds(r['load'])} + {seconds(r['first_call'])}" if r else "–" for r in results]
        table.append([f"{row['title']}: load + first call", *cells])
    for title, result in report["starts"].items():
        table.append([f"new process: {title}", seconds(result["median"]), *("–" for _ in names[1:])])
    return table


def stages(profile: dict[str, Any]) -> Table:
    """Where the time of one workload goes."""
    table = [[f"{profile['title']}: {seconds(profile['seconds'])} without timers", "time", "share", "calls"]]
    total = sum(stage["seconds"] for stage in profile["stages"])
    for stage in profile["stages"]:
        part = f"{stage['seconds'] / total:.1%}"
        table.append([stage["name"], seconds(stage["seconds"]), part, f"{stage['calls']:.4g}"])
    return table


def environment(report: Report) -> Table:
    """What the figures depend on."""
    e = report["environment"]
    versions: dict[str, str] = {}
    blas: dict[str, str] = {}
    for row in report["workloads"]:
        for name, result in row["results"].items():
            versions |= result.get("versions", {})
            if result.get("math") and name in report["contenders"]:
                blas[report["contenders"][name]["title"]] = ", ".join(result["math"])
    table = [["", ""], ["machine", machine(e)]]
    table.append(["threads of each contender", str(report["threads"])])
    table.append(["system", f"{e['system']}, Python {e['python']}"])
    table.append(["versions", ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))])
    table += [[f"matrix products of {title}", library] for title, library in blas.items()]
    pinned = ", ".join(f"{name}={value}" for name, value in e["pinned"].items())
    table.append(["pinned BLAS", pinned or "nothing was pinned"])
    weights = {"trained": "trained", "random": "random (the same arithmetic)"}[report["weights"]]
    table.append(["weights", weights])
    table.append(["command", f"`{report['command']}`" + (f" at commit {e['commit']}" if e["commit"] else "")])
    return table


def notes(report: Report) -> list[str]:
    """What a reader has to know of single rows."""
    lines = [f"{row['title']}: {row['note']}." for row in report["workloads"] if row["note"]]
    for row in report["workloads"]:
        if row["name"] == "everything-filtered":
            o = row["options"]
            limits = f"predicted IoU above {o['pred_iou_thresh']:.3g}, stability {o['stability_score_thresh']:.3g}"
            chosen = "" if report["weights"] == "trained" else ": such that a third of the candidates passes"
            lines.append(f"Thresholds: {limits}{chosen}.")
    if report["quick"]:
        lines.insert(0, "**A quick run of small work: these figures show that the benchmark works, and nothing else.**")
    return lines


# ----------------------------------------------------------------------------------------------- text and Markdown


def _tables(report: Report) -> list[tuple[str, Table]]:
    tables = [("Time", times(report)), ("Memory", memory(report)), ("Arithmetic", rates(report))]
    tables.append(("Starting", first_calls(report)))
    tables += [("Where the time goes", stages(profile)) for profile in report.get("profile", [])]
    return [(title, table) for title, table in tables if len(table) > 1]


def text(report: Report) -> str:
    """For the terminal."""
    parts = [plain(environment(report)[1:]), *(plain(table) for _, table in _tables(report)), *notes(report)]
    return "\n\n".join(parts)


def page(reports: list[Report], pictures: list[list[Picture]]) -> str:
    """The Markdown page for all models."""
    parts = ["# Benchmarks", "Written by `minisam bench --report`; no figure in it is typed.", HOW]
    for report, drawn in zip(reports, pictures):
        parts.append(f"## {report['model']['name']}")
        parts += notes(report)[:1] if report["quick"] else []
        last = ""
        for title, table in _tables(report):
            parts += [f"### {title}"] if title != last else []
            parts.append(markdown([[cell or " " for cell in row] for row in table]))
            parts += notes(report)[report["quick"] :] if title == "Time" else []
            last = title
        if drawn:
            parts.append("### How cost grows")
            parts += [f"![{picture['alt']}]({picture['file']})" for picture in drawn]
        parts += ["### Environment", markdown([[cell or " " for cell in row] for row in environment(report)])]
    return "\n\n".join(parts) + "\n"
