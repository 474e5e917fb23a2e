"""The API page: what becomes of a docstring, and that no kernel is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import minisam
from book.tools.docstrings import as_rest

ROOT = Path(minisam.__file__).parents[1]


def rest(text: str) -> str:
    return "\n".join(as_rest(text.split("\n")))


def test_equations_are_literal_blocks() -> None:
    """Kills: a block that is opened twice, one that reST has opened itself, a marker without empty lines."""
    assert rest("An op.\n\n    y = x\n    z = |y|\n\nwhere |x| is its length.") == (
        "An op.\n\n::\n\n    y = x\n    z = |y|\n\nwhere \\|x\\| is its length."
    )
    assert rest("As here::\n\n    y = x") == "As here::\n\n    y = x"
    assert rest("one\n    still one") == "one\n    still one"
    assert rest("One.\n\n    a\n\n    b\n\nTwo.").count("::") <= 2


def test_titles_are_fields_and_arguments_definitions() -> None:
    """Kills: fields that run into the paragraph before, second lines that leave their field."""
    text = "See there.\nShapes: x (N,) →\nfloat32 (N,).\nErrors: none.\n\nAnd: this stays."
    assert rest(text) == "See there.\n\n:Shapes: x (N,) →\n    float32 (N,).\n:Errors: none.\n\nAnd: this stays."
    assert rest("Good.\n\nsize: of it,\n    in pixels\na, b: two") == (
        "Good.\n\n``size``\n    of it,\n    in pixels\n``a``, ``b``\n    two"
    )
    assert rest("It has\nsize: its size") == "It has\nsize: its size", "a list of arguments stands by itself"
    assert rest("a: one\nErrors: none") == "``a``\n    one\n\n:Errors: none"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("``size``² tokens", "``size``\\ ² tokens"),
        ("``a``'s and ``b``, (``c``) ``|d|``", "``a``'s and ``b``, (``c``) ``|d|``"),
    ],
)
def test_code_ends_where_it_ends(text: str, same: str) -> None:
    assert rest(text) == same


def test_every_kernel_and_public_name_is_on_the_page() -> None:
    page = (ROOT / "chapters" / "api.md").read_text()
    kernels = {path.stem for path in (ROOT / "kernels" / "minisam_kernels").glob("*/[!_]*.py")}
    assert set(re.findall(r"automodule:: minisam_kernels\.\w+\.(\w+)", page)) == kernels
    named = set(re.findall(r"auto(?:function|class|exception|data):: (\w+)", page))
    assert named == set(minisam.__all__) - {"CONFIGS"}
