"""What the chapters include and name exists: found here in seconds, and by the build only after minutes."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

import minisam

ROOT = Path(minisam.__file__).parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.md"))
TEXTS = [*CHAPTERS, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "minisam" / "weights" / "README.md"]
INCLUDE = re.compile(r"^```\{(?:literal)?include\} (\S+)\n((?::.*\n)*)", re.MULTILINE)
PATH = re.compile(r"\b(?:kernels|minisam|tests|book|benchmarks|chapters)/[\w./-]+\.(?:py|js|css|md|json|yml)\b")
IMPORT = re.compile(r"^from (minisam[\w.]*) import (?:\(([^)]*)\)|(.*))$", re.MULTILINE)
DOTTED = re.compile(r"(?<![\w/])minisam(?:_kernels)?(?:\.\w+)+")


def members(source: str) -> set[str]:
    """The functions and classes of a module, and "Class.method"."""
    tree = ast.parse(source)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    methods = {f"{c.name}.{item.name}" for c in classes for item in c.body if isinstance(item, ast.FunctionDef)}
    return methods | {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or leads to something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            value = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(value, part):
                return part in getattr(value, "__annotations__", {})
            value = getattr(value, part)
        return True
    return False


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_included_files_and_their_parts_exist(chapter: Path) -> None:
    """Kills: a file that has moved, a function that has another name, a mark that is no longer in the file."""
    for file, options in INCLUDE.findall(chapter.read_text()):
        path = chapter.parent / file
        assert path.is_file(), file
        text = path.read_text()
        for key, value in re.findall(r"^:([\w-]+): *(.*)$", options, re.MULTILINE):
            if key == "pyobject":
                assert value in members(text), (file, value)
            elif key in ("start-after", "start-at", "end-before", "end-at"):
                assert value.strip("\"'") in text, (file, value)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_modules_that_a_text_names_exist(path: Path) -> None:
    """Paths such as ``minisam/sam.py``, dotted names such as ``minisam.sam.Sam``, in text and code, and imports."""
    text = path.read_text()
    paths = {file for file in PATH.findall(text) if "silu" not in file}  # a kernel that CONTRIBUTING imagines
    missing = [file for file in paths if not (ROOT / file).is_file()]
    missing += [name for name in set(DOTTED.findall(text)) if not exists(name)]
    for module, several, line in IMPORT.findall(text):
        names = [name.split(" as ")[0].strip() for name in (several or line.split("#")[0]).split(",")]
        missing += [f"{module}.{name}" for name in names if name and not exists(f"{module}.{name}")]
    assert not missing
