"""A Sphinx extension for the textbook's API page: docstrings as they are written here become reStructuredText.

Three habits of this project's docstrings are not reST's. Equations are blocks that are indented after an empty line,
whose lines must not flow together; "Shapes: …", "Errors: …" or an argument's "name: …" begin a line without an empty
one before; and |x| is a length, not the name of a substitution. The first become literal blocks, the second lists of
fields and of definitions, the third is escaped. ``book/_config.yml`` names this module among its extensions; nothing
else imports it.
"""

from __future__ import annotations

import re
from typing import Any

TITLES = "Source|Shapes|Errors|Accuracy|Memory|Speed|Rounding"
FIELD = re.compile(rf"((?:{TITLES})|[a-z_]+(?:, [a-z_]+)*): (?=\S)")

LENGTH = re.compile(r"\|(?=(?:[^`]|``[^`]*``|`[^`]+`)*$)")  # a bar that is not inside of ``code``
CLOSED = re.compile(r"(?<=\w``)(?=[^\s`.,;:!?'\")\]}/’–-])")  # where ``code`` runs into what follows it


def as_rest(lines: list[str]) -> list[str]:
    """The lines of a docstring → lines of reStructuredText that mean the same."""
    out: list[str] = []
    block = False  # inside an indented block
    field = ""  # inside a "title" or a "name": its lines are to be indented
    for line in lines:
        indented, after_blank = line.startswith(" "), not out or not out[-1].strip()
        if not line.strip():
            out.append("")
            field = ""
            continue
        if indented and after_blank and not block and not _introduced(out):
            out += ["::", ""]
        block = indented and (block or after_blank)
        if not block:
            line = CLOSED.sub(r"\\ ", LENGTH.sub(r"\\|", line))
        found = None if indented else FIELD.match(line)
        kind = "" if found is None else "title" if found.group(1)[0].isupper() else "name"
        if found and (kind == "title" or after_blank or field == "name"):
            if not after_blank and field != kind:
                out.append("")
            field, names, rest = kind, found.group(1), line[found.end() :]
            if kind == "name":
                out.append(re.sub(r"\w+", r"``\g<0>``", names))
            line = f":{names}: {rest}" if kind == "title" else f"    {rest}"
        elif field and not indented:
            line = f"    {line}"
        out.append(line)
    return out


def _introduced(before: list[str]) -> bool:
    """Whether the last line that is not empty begins a literal block or a directive of reST itself."""
    last = next((line for line in reversed(before) if line.strip()), "")
    return last.rstrip().endswith("::") or last.lstrip().startswith(".. ")


def _process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """autodoc's event: change the lines in place."""
    lines[:] = as_rest(lines)


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
