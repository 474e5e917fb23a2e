"""For the tests of chapters: the code cells of a chapter, and what its solutions print."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

CHAPTERS = Path(__file__).parents[1] / "chapters"


def path(number: int) -> Path:
    """The file of a chapter."""
    return next(CHAPTERS.glob(f"{number:02d}-*.md"))


def solutions(number: int) -> dict[str, str]:
    """The source of every solution of a chapter: exercise ("3.2") → the code of its folded cell, which stands alone."""
    found = {}
    for cell in re.findall(r"```\{code-cell\}[^\n]*\n(.*?)```", path(number).read_text(), re.DOTALL):
        title = re.search(r"code_prompt_show: \"?Solution (\d+\.\d+)\"?", cell)
        if title:
            found[title.group(1)] = re.sub(r"\A---\n.*?\n---\n", "", cell, flags=re.DOTALL)
    return found


def printed(code: str) -> str:
    """What a cell prints when it is run by itself."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "<solution>", "exec"), {"__name__": "solution"})
    return out.getvalue()
