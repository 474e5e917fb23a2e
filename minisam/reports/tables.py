"""Tables of reports, for a terminal and for a Markdown page, and the numbers in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minisam_kernels.runtime.errors import InputError

Report = dict[str, Any]  # the figures of one run, as JSON has them
Table = list[list[str]]  # the first row is the head


def read_reports(folder: Path, schema: int | str, command: str) -> list[Report]:
    """Every JSON file of the folder; one that ``command`` did not write, or no file at all, is an error."""
    reports = []
    for path in sorted(folder.glob("*.json")):
        try:
            figures = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            figures = None
        if not isinstance(figures, dict) or figures.get("schema") != schema:
            raise InputError(f"expected a report of {command}, got {path}")
        reports.append(figures)
    if not reports:
        raise InputError(f"expected reports of {command} in {folder}, got none")
    return reports


def seconds(value: float) -> str:
    """With three digits, in the unit that suits."""
    if value >= 1:
        return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} µs"


def gigabytes(value: float) -> str:
    """Of 10⁹ bytes."""
    return f"{value / 1e9:.2f} GB"


def machine(e: dict[str, Any]) -> str:
    """Processor, cores and memory of an environment."""
    memory = "" if e["memory_gb"] is None else f", {e['memory_gb']} GB of memory"
    cores = f"{e['cores']} cores, {e['usable_cores']} usable"
    return f"{e['processor']} ({e['family']}; {', '.join(e['vectors'])}), {cores}{memory}"


def markdown(table: Table) -> str:
    """A Markdown table, numbers to the right."""
    head, *rows = ([cell.replace("|", "\\|") for cell in row] for row in table)
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plain(table: Table) -> str:
    """Columns for a terminal."""
    table = [[cell.replace("**", "").replace("`", "") for cell in row] for row in table]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]

    def line(row: list[str]) -> str:
        cells = [cell.rjust(width) for cell, width in zip(row, widths)]
        return "  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip()

    return "\n".join(map(line, table))
