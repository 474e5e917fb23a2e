"""Figure F6: what it says of each stage is what the ledger holds, and the paper's numbers are labelled."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from minisam_kernels import InputError
from small_ledger import ENTRIES, TURNS, write_ledger

pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")
from minisam.figures import flywheel

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "masks of this stage alone": ("minisam/figures/flywheel.py", "if some <= stage for", "if some == stage for"),
    "masks of people alone": ("minisam/figures/flywheel.py", "sum(turn.masks for", "sum(turn.human_masks for"),
    "seconds of automatic masks": (
        "minisam/figures/flywheel.py",
        "turn.seconds / turn.human_masks if",
        "turn.seconds / turn.masks if",
    ),
    "the last round first": ("minisam/figures/flywheel.py", "(known[0], known[-1])", "(known[-1], known[0])"),
}


def test_each_stage_is_told_from_the_ledger() -> None:
    """Kills: masks of this stage alone, masks of people alone, seconds of automatic masks, the last round first."""
    first, second, third = (flywheel.words(TURNS, stage) for stage in (1, 2, 3))
    assert first.startswith(
        "Stage 1, assisted-manual, 2 rounds: human share 100% to 80%; 5.0 to 8.0 masks per picture;"
    )
    assert "30.0 to 9.4 s of a person per mask of people; held-out IoU" in first
    assert "of the model that helped, best of three, 0.500 to 0.600" in first
    assert "1 round: human share 40%; 15.0 masks per picture; 20.0 s of a person per mask of people" in second
    assert "human share 0%; 10.0 masks per picture; nobody draws" in third
    totals = [text.partition("Masks so far: ")[2].partition(".")[0] for text in (first, second, third)]
    assert totals == ["260", "860", "10,860"]
    assert "Paper: 4.3M masks, 20 to 44 per picture, 34 to 14 s" in first
    assert "10.2M masks in all" in second and "1.1B masks in all" in third and "99.1 %" in third


def test_counts_are_short() -> None:
    assert [flywheel.number(n) for n in (12, 9999, 10_860, 4.3e6, 1.1e9)] == ["12", "9,999", "10.9k", "4.3M", "1.1B"]


def test_three_clicks_after_a_guess(tmp_path: Path) -> None:
    figure = flywheel.flywheel(write_ledger(tmp_path / "ledger.jsonl"), source="#here")
    question, _, curtain = figure.children
    assert "Guess first" in question.value and curtain.selected_index == 0, "hidden until the guess"
    control, stack, link = curtain.children[1].children
    assert [name for name, _ in control.options] == ["1: assisted-manual", "2: semi-automatic", "3: fully automatic"]
    assert len(stack.children) == 3 and "#here" in link.value
    for stage, child in enumerate(stack.children, 1):
        assert "<img" in child.value and f"Stage {stage}, " in child.value and "Paper: " in child.value


def test_many_rounds_have_room() -> None:
    many = [dataclasses.replace(TURNS[0], round=n) for n in range(1, 10)] + TURNS[2:]
    state = flywheel.draw(many, 3)
    assert state.picture.ndim == 3 and "9 rounds" in flywheel.words(many, 1)
    bare = [dataclasses.replace(turn, held_out=None, human_share=None) for turn in TURNS]
    assert "held-out" not in flywheel.words(bare, 1) and "human share –" in flywheel.words(bare, 1)


def test_a_ledger_of_part_of_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a ledger of all three stages, got .* without fully automatic"):
        flywheel.flywheel(write_ledger(tmp_path / "half.jsonl", ENTRIES[:-2]))
    with pytest.raises(InputError, match="expected a ledger, got"):
        flywheel.flywheel(tmp_path / "none.jsonl")
