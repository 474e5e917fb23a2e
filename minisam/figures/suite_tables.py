"""The tables of chapter 14 that are ours: read from what ``minisam transfer suite`` wrote, never typed.

from minisam.figures.suite_tables import ours
ours("edges")                     # of every job in benchmarks/transfer/suite.json whose name begins so
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisam.reports.environment import ROOT
from minisam.reports.tables import gigabytes, seconds
from minisam.transfer.report import Table, markdown
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from IPython.display import Markdown

FILE = ROOT / "benchmarks" / "transfer" / "suite.json"


def entries(start: str = "", path: Path = FILE) -> dict[str, dict[str, Any]]:
    """The report's entries of the jobs whose names begin with ``start``, those that failed left out.

    Raises ``InputError`` where there is none.
    """
    if not path.is_file():
        raise InputError(f"expected the report of minisam transfer suite in {path.parent}, got none")
    report = json.loads(path.read_text(encoding="utf-8"))
    chosen = {name: e for name, e in report["jobs"].items() if name.startswith(start) and "tables" in e}
    if not chosen:
        raise InputError(f"expected a job of {path.name} that begins with {start!r}, got {', '.join(report['jobs'])}")
    return chosen


def tables(start: str, path: Path = FILE) -> dict[str, Table]:
    """Title → table, of all those jobs."""
    return {table["title"]: Table(**table) for e in entries(start, path).values() for table in e["tables"]}


def page(start: str, titles: str = "", path: Path = FILE) -> str:
    """Those jobs' tables whose title holds ``titles``, as Markdown: the command above, what it took below."""
    parts = []
    for name, e in entries(start, path).items():
        some = [Table(**table) for table in e["tables"] if titles in table["title"]]
        if some:
            took = f"{seconds(e['seconds'])}, {gigabytes(e['peak_bytes'])} at most, commit {e['commit'] or 'unknown'}"
            parts += [f"    {e['command']}", *map(markdown, some), f"*{name}: {took}.*"]
    if not parts:
        raise InputError(f"expected a table with {titles!r} in its title, got {', '.join(tables(start, path))}")
    return "\n\n".join(parts)


def ours(start: str, titles: str = "", path: Path = FILE) -> Markdown:
    """``page`` as what a notebook shows."""
    from IPython.display import Markdown

    return Markdown(page(start, titles, path))


def times(path: Path = FILE) -> Markdown:
    """What every job took, and all of them together."""
    from IPython.display import Markdown

    rows = [[name, seconds(e["seconds"]), gigabytes(e["peak_bytes"])] for name, e in entries("", path).items()]
    total = sum(e["seconds"] for e in entries("", path).values())
    return Markdown(
        markdown(Table("The suite", ["job", "took", "peak memory"], [*rows, ["all", seconds(total), None]]))
    )
