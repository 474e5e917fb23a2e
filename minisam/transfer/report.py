"""What a task of the suite returns: tables, which the suite writes as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from minisam.reports import tables


@dataclass(frozen=True)
class Table:
    """Figures under names.

    Attributes
    ----------
    title : str
    columns : list of str
        The first names what a row is.
    rows : list of list
        Of texts and numbers, as many as there are columns; None where there is no figure.
    notes : list of str
        What a reader must know to read it: counts, seeds, what was seen in training.
    """

    title: str
    columns: list[str]
    rows: list[list[Any]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """A task of the suite: a ``name`` to resume by, the ``command`` that repeats it alone, and what it runs."""

    name: str
    command: str
    run: Callable[[], list[Table]]


def markdown(table: Table) -> str:
    """Write a table as Markdown, numbers with three digits."""
    rows = [table.columns, *([_cell(value) for value in row] for row in table.rows)]
    return "\n\n".join([f"**{table.title}**", tables.markdown(rows), *table.notes])


def _cell(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
