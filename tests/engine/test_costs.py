"""Break-even by simulation, costs by hand, ledgers that are whole, cut off or damaged."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minisam.engine import costs
from minisam.engine.costs import (
    assisted_seconds,
    break_even,
    break_even_target,
    cost_table,
    measured_seconds,
    read_summaries,
)
from minisam_kernels import InputError
from small_ledger import SUMMARIES, write_ledger

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a polygon that is free": ("minisam/engine/costs.py", "(1 - share[-1]) * polygon", "(1 - share[-1]) * click"),
    "a first click that is free": ("minisam/engine/costs.py", "np.append(0, share[:-1])", "share"),
    "the break-even upside down": ("minisam/engine/costs.py", "return click / polygon", "return polygon / click"),
    "a person who goes on": (
        "minisam/engine/costs.py",
        "np.maximum.accumulate(iou >= target, axis=1)",
        "(iou >= target)",
    ),
    "the highest target": ("minisam/engine/costs.py", "click, polygon) > polygon)", "click, polygon) < polygon)"),
    "stages that are paid for every picture": (
        "minisam/engine/costs.py",
        "hours = (once + person * count)",
        "hours = ((once + person) * count)",
    ),
    "the first round of a stage": ("minisam/engine/costs.py", "last = some[-1]\n", "last = some[0]\n"),
    "half a line that counts": ("minisam/engine/costs.py", 'text.split("\\n")[:-1]', 'text.split("\\n")'),
    "workers that do not share": ("minisam/engine/costs.py", "machine_hours / workers / 24", "machine_hours / 24"),
}


# ---- the break-even --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chance, most", [(0.3, 1), (0.3, 5), (0.05, 8), (0.9, 3), (1, 2), (0, 4)])
def test_expected_seconds_are_those_of_many_people(chance: float, most: int) -> None:
    """Simulated, object by object. Kills: a polygon that is free, a first click that is free."""
    rng = np.random.default_rng(0)
    good = rng.random((200_000, most)) < chance
    clicks = np.where(good.any(axis=1), good.argmax(axis=1) + 1, most)
    seconds = 3.0 * clicks + 20.0 * ~good.any(axis=1)
    error = 4 * seconds.std() / np.sqrt(len(seconds)) + 1e-9
    assert abs(assisted_seconds(chance, 3, 20, most) - seconds.mean()) <= error


@pytest.mark.parametrize("most", [1, 3, 10])
def test_below_the_break_even_polygons_are_quicker(most: int) -> None:
    """However many clicks are tried. Kills: the break-even upside down."""
    edge = break_even(3, 20)
    assert assisted_seconds(edge, 3, 20, most) == pytest.approx(20)
    assert assisted_seconds(0.9 * edge, 3, 20, most) > 20 > assisted_seconds(1.1 * edge, 3, 20, most)
    assert break_even(25, 20) > 1 and assisted_seconds(1, 25, 20, most) > 20, "too slow for any model"


def test_measured_models() -> None:
    """Kills: a person who goes on, the highest target."""
    iou = np.array([[0.9, 0.2, 0.2], [0.1, 0.8, 0.85], [0.1, 0.2, 0.3], [0.6, 0.7, 0.95]])
    # target .8: one click, two, three in vain and a polygon, three
    assert measured_seconds(iou, 0.8, 2, 10) == pytest.approx((2 + 4 + (6 + 10) + 6) / 4)
    assert measured_seconds(iou, 0.99, 2, 10) == pytest.approx(16)
    assert break_even_target(iou, [0.5, 0.8, 0.92, 0.99], 2, 10) == 0.92
    assert break_even_target(iou, [0.1], 2, 10) is None
    slow = measured_seconds(iou, 0.8, 6, 10)
    assert slow > 10 and break_even_target(iou, [0.5, 0.8], 6, 10) == 0.5, "the same masks, but a slow model"


def test_odd_numbers_are_one_line() -> None:
    for call, message in (
        (lambda: break_even(0, 1), "expected click to be a number above 0, got 0"),
        (lambda: break_even(1, float("nan")), "expected polygon to be a number above 0, got nan"),
        (lambda: assisted_seconds(1.5, 1, 1, 1), "expected a chance from 0 to 1, got 1.5"),
        (lambda: assisted_seconds(0.5, 1, 1, 0), "expected most to be"),
        (lambda: measured_seconds(np.zeros(3), 0.5, 1, 1), r"\(O, K\), got \(3,\)"),
        (lambda: cost_table([]), "at least one summary, got none"),
        (lambda: cost_table(SUMMARIES, []), "pictures and workers of at least 1"),
        (lambda: cost_table(SUMMARIES, [0]), "pictures and workers of at least 1"),
        (lambda: cost_table(SUMMARIES, polygon=-1), "expected polygon to be"),
    ):
        with pytest.raises(InputError, match=message):
            call()


# ---- the ledger ------------------------------------------------------------------------------------------------------


def test_ledgers_are_read_to_their_last_whole_line(tmp_path: Path) -> None:
    """Kills: half a line that counts."""
    path = write_ledger(tmp_path / "ledger.jsonl")
    assert read_summaries(path) == SUMMARIES
    text = path.read_text()
    path.write_text(text + '{"event": "summary", "sta')  # killed while it wrote
    assert read_summaries(path) == SUMMARIES
    for bad, message in (
        (text + "{\n", "expected a ledger of the data engine .* line 9: '{'"),
        (text + "[1]\n", "expected a ledger of the data engine"),
        (text + '{"event": "summary", "stage": 1}\n', "expected a number as round in a summary"),
        (text.replace('"stage": 2', '"stage": 7'), "expected stage 1, 2 or 3 with pictures and masks"),
        (text.replace('"seconds": 3000.0', '"seconds": "3000"'), "expected a number as seconds"),
        ('{"event": "start"}\n', "a summary for each round, got .* without any"),
        ("", "a summary for each round"),
    ):
        path.write_text(bad)
        with pytest.raises(InputError, match=message):
            read_summaries(path)
    for wrong in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(InputError, match="expected a ledger of the data engine"):
            read_summaries(wrong)


# ---- the costs -------------------------------------------------------------------------------------------------------


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


def test_costs_of_a_million_pictures() -> None:
    """Worked out by hand. Kills: stages that are paid for every picture, the first round of a stage, workers that do
    not share."""
    table = cost_table(SUMMARIES, [1_000_000], workers=4, wage=20, machine_hour=0.5, polygon=30)
    rows = {row[0]: row[2:] for row in table.rows}
    assert list(rows) == [
        "polygons, no model", "stage 1, assisted-manual", "stage 2, semi-automatic", "stage 3, fully automatic",
        "the engine: people once",
    ]  # fmt: skip
    assert [number(rows["stage 1, assisted-manual"][i]) for i in (0, 1, 3)] == [8e6, pytest.approx(20_833, 1e-3), 278]
    assert rows["stage 1, assisted-manual"][4] == "2.89" and number(rows["polygons, no model"][1]) == 83_333
    machine = number(rows["stage 3, fully automatic"][3])
    assert machine == 556 and rows["stage 3, fully automatic"][1] == "0"
    assert number(rows["stage 3, fully automatic"][4]) == pytest.approx(machine / 4 / 24, rel=2e-3)
    people = (3000 + 1500 + 4000) / 3600  # of all human rounds, once
    engine = rows["the engine: people once"]
    assert number(engine[1]) == pytest.approx(people, abs=6e-3) and number(engine[3]) == machine
    assert number(engine[5]) == pytest.approx(people * 20 + 5e6 / 9 / 1000 * 0.5, rel=2e-3)
    assert "days are those of 4 workers" in table.notes[0] and "20 (person)" in table.notes[0]


def test_what_is_not_measured_is_not_invented() -> None:
    bare = [{key: value for key, value in entry.items() if key != "machine_seconds"} for entry in SUMMARIES[:2]]
    table = cost_table(bare, [1000])
    assert len(table.rows) == 1 and table.rows[0][5:] == [None, None] and "money" not in table.columns


def test_the_command_prints_the_table(tmp_path: Path, capsys: Any) -> None:
    path = write_ledger(tmp_path / "ledger.jsonl")
    parser = argparse.ArgumentParser()
    costs.add(parser.add_subparsers())

    def run(*words: object) -> int:
        options = parser.parse_args(["costs", *map(str, words)])
        return int(options.run(options))

    assert run(path) == 0
    printed = capsys.readouterr().out
    assert (
        "| stage 3, fully automatic | 11,000,000 | 110,000,000 | 0 | 0 | 6,111 |" in printed and "money" not in printed
    )
    assert run(path, "--pictures", 50, "--wage", 10, "--machine-hour", 0, "--polygon", 30) == 0
    assert "| polygons, no model | 50.0 | 500 | 4.17 |" in capsys.readouterr().out
    for words, message in (
        ((path, "--wage", 3), "expected --wage and --machine-hour together"),
        ((path, "--wage", -3, "--machine-hour", 1), "expected --wage of at least 0, got -3"),
        ((tmp_path / "none",), "expected a ledger"),
    ):
        with pytest.raises(InputError, match=message):
            run(*words)
    assert json.loads(path.read_text().splitlines()[1])["event"] == "summary"
