"""The report of ``minisam verify`` as a page: where and with what it ran, a summary by part, and every line.

The page of the textbook, ``chapters/parity.md``, shows what ``page`` makes of the reports in ``benchmarks/cpu/parity``.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

from minisam.reports.tables import Report, Table, machine, markdown, read_reports, seconds

SCHEMA = "verify-1"
ORDER = ("vit_h", "vit_l", "vit_b", "tiny")  # of the models; then by dtype, the most exact first
DTYPES = ("float64", "float32", "bfloat16", "float16")

HOW = """\
Every kernel is compared with the same operation in PyTorch in float64; its error is given in units of eps · the sum of
the absolute terms, and the tolerance is the one of the kernel's own file. The model is compared stage by stage, each
stage with the errors of all earlier ones in it: the largest and the mean difference, divided by the stage's largest
number. Images are noise, square or padded with zeros from two thirds of the height on; with random weights these
have the scale of trained ones. Products of matrices in float32 are never shortened to TF32. In bfloat16 and float16 the
tolerance is a budget: 2 · √n · u after n roundings of a number, u = 2⁻⁸ or 2⁻¹¹; masks are compared by IoU, without the
pixels that lie nearer to the threshold than one rounding of the largest logit. Hugging Face's `SamModel` has the same
weights. Times are of one call, to give an idea; the benchmarks measure."""


def versions(*packages: str) -> dict[str, str]:
    """Of those that are installed."""
    numbers = {}
    for name in packages:
        try:
            numbers[name] = version(name)
        except PackageNotFoundError:
            continue
    return numbers


def read_folder(folder: Path) -> list[Report]:
    """Every report in the folder, in the page's order."""

    def position(report: Report) -> tuple[int, str, int]:
        name, dtype = report["model"]["name"], report["dtype"]
        return (ORDER.index(name) if name in ORDER else len(ORDER), name, DTYPES.index(dtype))

    return sorted(read_reports(folder, SCHEMA, "minisam verify"), key=position)


def parts(report: Report) -> dict[str, list[dict[str, Any]]]:
    """Lines by what stands before the first colon of their name: kernel, encoder, decoder, Hugging Face."""
    named = groupby(report["lines"], key=lambda line: line["what"].split(": ")[0])
    return {name: list(lines) for name, lines in named}


def number(value: float | None) -> str:
    """With two digits; what is not a number says so."""
    return "not a number" if value is None else f"{value:.2g}"


def summary(report: Report) -> Table:
    """A row for each part: how many comparisons, how many within tolerance, and the worst, as a share of its own."""
    table = [["part", "comparisons", "within tolerance", "nearest to its tolerance", "share of it"]]
    for name, lines in parts(report).items():
        shares = [(line["error"] or 0.0) / line["tolerance"] if line["tolerance"] else 0.0 for line in lines]
        failed = [i for i, line in enumerate(lines) if not line["passed"]]
        worst = failed[0] if failed else max(range(len(lines)), key=shares.__getitem__)
        good = len(lines) - len(failed)
        what = lines[worst]["what"].split(": ", 1)[1]
        share = "**exceeded**" if failed else f"{shares[worst]:.1%}"
        table.append([name, str(len(lines)), str(good) if not failed else f"**{good}**", what, share])
    return table


def lines(part: list[dict[str, Any]]) -> Table:
    """All lines of a part."""
    table = [["", "shape", "largest error", "mean error", "tolerance", "unit", "here", "torch", "note"]]
    for line in part:
        times = [seconds(line[key]) if line[key] else "" for key in ("seconds_here", "seconds_there")]
        error = number(line["error"]) if line["passed"] else f"**{number(line['error'])}**"
        row = [line["what"].split(": ", 1)[1], line["shape"], error, number(line["mean"])]
        table.append([*row, number(line["tolerance"]), line["unit"], *times, line["note"]])
    return table


def environment(report: Report) -> Table:
    """What the report depends on."""
    device, ours = report["device"], report["environment"]
    torch = "the same processor"
    if device["type"] == "cuda":
        torch = f"{device['name']}, {device['memory_gb']} GB, CUDA {device['cuda']}"
    commit = f" at commit {ours['commit']}" if ours["commit"] else ""
    packages = ", ".join(f"{name} {number}" for name, number in sorted(report["versions"].items()))
    return [
        ["", ""],
        ["machine", machine(ours)],
        ["torch computes on", torch],
        ["versions", f"{ours['system']}, Python {ours['python']}, {packages}"],
        ["weights", report["weights"]],
        ["command", f"`{report['command']}`{commit}"],
    ]


def title(report: Report) -> str:
    """The model, its depth, where and in what torch computed."""
    where, model = report["device"].get("name", "the CPU"), report["model"]
    dtype = f" in {report['dtype']}" if "dtype" in report else ""
    return f"{model['name']}, {model['encoder_depth']} blocks, torch{dtype} on {where}"


def page(reports: list[Report]) -> str:
    """The Markdown page of all reports, however many there are."""
    text = ["# Does it match?", "Written by `minisam verify --report`; no figure in it is typed.", HOW]
    if not reports:
        text.append("There is no report yet.")
    for report in reports:
        text += [f"## {title(report)}", markdown(filled(environment(report))), markdown(summary(report))]
        for name, part in parts(report).items():
            text += [f"<details><summary>Every line: {name}</summary>", markdown(filled(lines(part))), "</details>"]
    return "\n\n".join(text) + "\n"


def filled(table: Table) -> Table:
    """Empty cells as a space, which every reader of Markdown takes."""
    return [[cell or " " for cell in row] for row in table]
