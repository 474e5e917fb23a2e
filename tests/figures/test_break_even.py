"""The break-even on the page: the run's rounds are on the right side of it, and a slow model is never worth it."""

from __future__ import annotations

from pathlib import Path

import pytest

from minisam.engine.clock import Clock
from minisam_kernels import InputError
from small_ledger import TURNS, write_ledger

pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")
from minisam.figures import break_even as module

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "masks of people for masks of clicks": (
        "minisam/figures/break_even.py",
        "turn.accepted / turn.clicks",
        "turn.human_masks / turn.clicks",
    ),
    "slower that is called quicker": (
        "minisam/figures/break_even.py",
        '"slower" if seconds > polygon',
        '"slower" if seconds < polygon',
    ),
    "a limit that is always said": ("minisam/figures/break_even.py", "if edge >= 1:", "if edge >= 9:"),
    "rows for columns": (
        "minisam/figures/break_even.py",
        "seconds[0][c], seconds[1][p], most",
        "seconds[1][p], seconds[0][c], most",
    ),
    "a look that only polygons need": ("minisam/figures/break_even.py", "turn.polygon - clock.look", "turn.polygon"),
}


def test_rounds_are_on_their_side() -> None:
    """Kills: masks of people for masks of clicks, slower that is called quicker, a limit that is always said."""
    marks = module.marks_of(TURNS)
    assert [(mark.name, mark.chance) for mark in marks] == [("1.1", 0.1), ("1.2", 0.3), ("2.1", 0.25)]
    text = module.words(marks, 4, 20, 6)
    assert "fewer than 20% of the clicks give a good mask, assistance is slower" in text
    assert "1.1: 10% of clicks, 29.4 s, slower; 1.2: 30% of clicks, 14.1 s, quicker" in text
    slow = module.words(marks, 16, 10, 6)
    assert "no model is good enough" in slow and "quicker" not in slow and "160%" not in slow
    assert "Rounds" not in module.words([], 4, 20, 6)


def test_a_picture_for_each_pair_of_seconds() -> None:
    """Kills: rows for columns."""
    figure = module.break_even(None, clicks=(2, 30), polygons=(25,), source="#x")
    click, polygon, stack, _ = figure.children[2].children[1].children
    assert click.description == "seconds per click" and polygon.description == "seconds per polygon"
    pictures = [child.children[0].value for child in stack.children]
    assert "A click takes 2 s, a polygon 25 s" in pictures[0] and "no model is good enough" in pictures[1]
    assert "Rounds of the run" not in pictures[0] and "Guess first" in figure.children[0].value


def test_it_begins_at_the_seconds_of_the_run(tmp_path: Path) -> None:
    """Kills: a look that only polygons need."""
    path = write_ledger(tmp_path / "ledger.jsonl")
    figure = module.break_even(path, clicks=(2,), polygons=(5,))
    click, polygon, stack = figure.children[2].children[1].children
    own = Clock()
    corners = f"{10 * own.vertex:.3g}, the run's"
    assert [name for name, _ in polygon.options] == ["5", corners] and polygon.index == 1
    assert [name for name, _ in click.options] == ["2", f"{own.click + own.wait + own.check:.3g}, the run's"]
    now = stack.children[click.index].children[polygon.index].value
    assert "Rounds of the run (stage.round): 1.1: 11% of clicks" in now and "2.1: 100% of clicks" in now
    assert module.own_seconds(TURNS[3:]) is None


def test_odd_seconds_are_refused(tmp_path: Path) -> None:
    for options in ({"clicks": (0,)}, {"polygons": ()}, {"most": 0}, {"clicks": (-1.0, 2)}):
        with pytest.raises(InputError, match="expected seconds above 0 and at least 1 click"):
            module.break_even(None, **options)
    with pytest.raises(InputError, match="expected a ledger, got"):
        module.break_even(tmp_path / "none.jsonl")
