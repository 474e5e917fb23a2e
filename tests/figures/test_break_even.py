"""The break-even on the page: the run's rounds are on the right side of it, and a slow model is never worth it."""

from __future__ import annotations

from pathlib import Path

import pytest

from minisam_kernels import InputError
from small_ledger import SUMMARIES, write_ledger

pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")
from minisam.figures import break_even as module

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "masks of people for masks of clicks": (
        "minisam/figures/break_even.py",
        'entry["accepted"] / entry["clicks"]',
        'entry["human_masks"] / entry["clicks"]',
    ),
    "slower that is called quicker": (
        "minisam/figures/break_even.py",
        '"slower" if seconds > polygon',
        '"slower" if seconds < polygon',
    ),
    "a limit that is always said": (
        "minisam/figures/break_even.py",
        "    if edge >= 1:\n        text",
        "    if edge >= 9:\n        text",
    ),
    "rows for columns": (
        "minisam/figures/break_even.py",
        "clicks[c], polygons[p], most",
        "polygons[p], clicks[c], most",
    ),
}


def test_rounds_are_on_their_side() -> None:
    """Kills: masks of people for masks of clicks, slower that is called quicker, a limit that is always said."""
    marks = module.marks_of(SUMMARIES)
    assert [(mark.name, mark.chance) for mark in marks] == [("1.1", 0.1), ("1.2", 0.3), ("2.1", 0.25)]
    text = module.words(marks, 4, 20, 6)
    assert "fewer than 20% of the clicks give a good mask, assistance is slower" in text
    assert "1.1: 10% of clicks, 29.4 s, slower; 1.2: 30% of clicks, 14.1 s, quicker" in text
    slow = module.words(marks, 16, 10, 6)
    assert "no model is good enough" in slow and "quicker" not in slow and "160%" not in slow
    assert "Rounds" not in module.words([], 4, 20, 6)


def test_a_picture_for_each_pair_of_seconds(tmp_path: Path) -> None:
    """Kills: rows for columns."""
    path = write_ledger(tmp_path / "ledger.jsonl")
    figure = module.break_even(path, clicks=(2, 30), polygons=(25,), source="#x")
    click, polygon, stack, _ = figure.children[2].children[1].children
    assert click.description == "seconds per click" and polygon.description == "seconds per polygon"
    pictures = [child.children[0].value for child in stack.children]
    assert "A click takes 2 s, a polygon 25 s" in pictures[0] and "no model is good enough" in pictures[1]
    assert "1.1: 10% of clicks" in pictures[0] and "Guess first" in figure.children[0].value
    alone = module.break_even(None, clicks=(2,), polygons=(25,))
    assert "Rounds of the run" not in alone.children[2].children[1].children[2].children[0].children[0].value


def test_odd_seconds_are_refused(tmp_path: Path) -> None:
    for options in ({"clicks": (0,)}, {"polygons": ()}, {"most": 0}, {"clicks": (-1.0, 2)}):
        with pytest.raises(InputError, match="expected seconds above 0 and at least 1 click"):
            module.break_even(None, **options)
    with pytest.raises(InputError, match="expected a ledger of the data engine"):
        module.break_even(tmp_path / "none.jsonl")
