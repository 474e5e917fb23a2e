"""Commands and snippets of the documents, as a reader meets them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CARD = "minisam/weights/README.md"
CHAPTERS = [f"chapters/{path.name}" for path in sorted((ROOT / "chapters").glob("*.md"))]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", CARD, *CHAPTERS]
PROGRAMS = r"(?:[A-Z_]+=\S+ )*(?:minisam|make|python3?|pip|git|torchrun|jupyter|jupytext-config|\.venv/bin/[\w-]+) "
FENCE = re.compile(r"^ *(`{3,})([^\n]*)\n(.*?)^ *\1`*$", re.MULTILINE | re.DOTALL)


def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def commands(document: str) -> list[str]:
    """Every command of a document, in its order: indented lines, those of bash blocks, and those within a sentence."""
    found: list[tuple[int, str]] = []

    def shell(block: re.Match[str]) -> str:
        """Note a block's lines, if it is one of bash, and blank it out."""
        if block[2].strip() in ("bash", "sh", "shell", "console"):
            found.extend((block.start() + n, line) for n, line in enumerate(block[3].splitlines()) if line.strip())
        return " " * len(block[0])

    prose = FENCE.sub(shell, text(document))
    lines = [(m.start(), m[1]) for m in re.finditer(r"^(?: {4}| {7})(\S.*)$", prose, re.MULTILINE)]
    found += [(at, line) for at, line in lines if re.match(PROGRAMS, line)]
    spans = [(m.start(), m[1]) for m in re.finditer(r"`([^`\n]+)`", prose) if re.match(PROGRAMS, m[1])]
    inside = {at for at, _ in spans for start, line in lines if start <= at < start + len(line) + 8}
    found += [(at, span) for at, span in spans if at not in inside]
    return [re.sub(r"\s+#\s.*$", "", command).strip() for _, command in sorted(found)]


def options(document: str) -> set[str]:
    """The options that a document names by themselves, as in `--minutes`."""
    spans = re.findall(r"`(--[a-z][^`\n]*)`", FENCE.sub("", text(document)))
    return {option for span in spans for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", span)}


def snippets(document: str) -> list[str]:
    """The blocks of Python that a document shows; the cells of a chapter are none, and run when the book is built."""
    return [block[3] for block in FENCE.finditer(text(document)) if block[2].strip() == "python"]
