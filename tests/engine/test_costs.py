"""Break-even by simulation, costs by hand, ledgers that are whole, cut off or damaged."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minisam.commands.engine_tasks import add_costs
from minisam.engine.clock import Clock
from minisam.engine.costs import (
    assisted_seconds,
    break_even,
    break_even_target,
    cost_table,
    measured_seconds,
    read_turns,
)
from minisam_kernels import InputError
from small_ledger import ENTRIES, TURNS, write_ledger

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
        "(once + person * count) / 3600",
        "((once + person) * count) / 3600",
    ),
    "the first round of a stage": ("minisam/engine/costs.py", "last = some[-1]\n", "last = some[0]\n"),
    "masks of the model that people made": (
        "minisam/engine/costs.py",
        'one.masks - one.by.get("model", 0)',
        "one.masks",
    ),
    "work that led to nothing is free": ("minisam/engine/costs.py", '*(entry["rest"] for entry in some)', "{}"),
    "brushed masks that clicks gave": (
        "minisam/engine/costs.py",
        'one.by.get("clicks", 0)',
        'one.by.get("clicks", 0) + one.by.get("brush", 0)',
    ),
    "polygons of the first round": ("minisam/engine/costs.py", "polygons[-1] * masks", "polygons[0] * masks"),
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
        (lambda: cost_table([]), "at least one round, got none"),
        (lambda: cost_table(TURNS, []), "pictures and workers of at least 1"),
        (lambda: cost_table(TURNS, [0]), "pictures and workers of at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            call()


# ---- the ledger ------------------------------------------------------------------------------------------------------


def test_rounds_cost_what_their_actions_cost(tmp_path: Path) -> None:
    """By hand. Kills: masks of the model that people made, work that led to nothing is free, brushed masks that clicks
    gave."""
    clock = Clock(look=100, click=10, wait=0, check=1, accept=0.5, reject=0, vertex=2, stroke=5)
    first, second, third = read_turns(write_ledger(tmp_path / "ledger.jsonl"), clock)
    assert (first.stage, first.round, first.pictures, first.masks, first.human_masks) == (1, 1, 2, 3, 3)
    assert first.seconds == 3 * 100 + 9 * 10 + 10 * 2 + 2 * 5 + 100 and first.machine_seconds == 6
    assert (first.clicks, first.accepted, first.polygon, first.held_out) == (9, 1, 120.5, 0.5)
    assert first.quality == pytest.approx(0.8) and first.human_share == 1
    assert (second.masks, second.human_masks, second.human_share) == (3, 1, pytest.approx(1 / 3))
    assert second.seconds == 100 + 10 + 4 and second.held_out == 0.6
    assert (third.stage, third.masks, third.human_masks, third.seconds) == (3, 12, 0, 0) and third.polygon is None
    assert read_turns(tmp_path / "ledger.jsonl")[0].seconds == pytest.approx(
        Clock().seconds({"look": 4, "click": 9, "vertex": 10, "stroke": 2})
    )


def test_odd_ledgers_are_one_line(tmp_path: Path) -> None:
    path = write_ledger(tmp_path / "ledger.jsonl")
    whole = read_turns(path)
    path.write_text(path.read_text() + '{"task": "picture/9", "ki')  # killed while it wrote
    assert read_turns(path) == whole
    bare = {key: value for key, value in ENTRIES[2].items() if key != "rest"}
    for entries, message in (
        ([*ENTRIES, bare], r"expected a ledger of minisam engine run, got .*KeyError\('rest'\)"),
        (ENTRIES[:2], "expected a ledger with annotated pictures"),
        ([{"event": "start"}], "expected a ledger of minisam engine"),
    ):
        with pytest.raises(InputError, match=message) as error:
            read_turns(write_ledger(path, entries))
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="expected a ledger"):
        read_turns(tmp_path / "none.jsonl")


# ---- the costs -------------------------------------------------------------------------------------------------------


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


def test_costs_of_a_million_pictures() -> None:
    """Worked out by hand. Kills: stages that are paid for every picture, the first round of a stage, workers that do
    not share, polygons of the first round."""
    table = cost_table(TURNS, [1_000_000], workers=4, wage=20, machine_hour=0.5)
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == [
        "polygons, no model", "stage 1, assisted-manual", "stage 2, semi-automatic", "stage 3, fully automatic",
        "the engine: people once",
    ]  # fmt: skip
    first, last = rows["stage 1, assisted-manual"], rows["stage 3, fully automatic"]
    # 20 pictures: 160 masks, 1500 s of a person, 20 s of a machine
    assert first[:5] == ["1,000,000", "8,000,000", "20,833", "11.6", "278"] and first[5] == "2.89"
    assert number(rows["polygons, no model"][2]) == 83_333, "10 masks of 30 s"
    machine = number(last[4])
    assert machine == 556 and last[2] == "0" and number(last[5]) == pytest.approx(machine / 4 / 24, rel=2e-3)
    people = (3000 + 1500 + 4000) / 3600  # of all human rounds, once
    engine = rows["the engine: people once"]
    assert number(engine[2]) == pytest.approx(people, abs=6e-3) and number(engine[4]) == machine
    assert number(engine[6]) == pytest.approx(people * 20 + 5e6 / 9 / 1000 * 0.5, rel=2e-3)
    assert "days are those of 4 workers" in table.notes[0] and "20 (person)" in table.notes[0]


def test_half_a_run_has_its_own_rows() -> None:
    table = cost_table(TURNS[:2], [1000])
    assert [row[0] for row in table.rows] == ["polygons, no model", "stage 1, assisted-manual"]
    assert "money" not in table.columns and table.rows[0][3] == "53.3", "8 masks of 24 s"
    automatic = cost_table(TURNS[3:], [1000])
    assert [row[0] for row in automatic.rows] == ["stage 3, fully automatic", "the engine: people once"]


def test_the_command_prints_the_table(tmp_path: Path, capsys: Any) -> None:
    path = write_ledger(tmp_path / "ledger.jsonl")
    parser = argparse.ArgumentParser()
    add_costs(parser.add_subparsers())

    def run(*words: object) -> int:
        options = parser.parse_args(["costs", *map(str, words)])
        return int(options.run(options))

    assert run(path) == 0
    printed = capsys.readouterr().out
    assert "| stage 3, fully automatic | 11,000,000 | 66,000,000 | 0 | 0 | 9,167 |" in printed
    assert printed.count("polygons, no model") == 2 and "money" not in printed
    assert run(path, "--pictures", 50, "--wage", 10, "--machine-hour", 0) == 0
    printed = capsys.readouterr().out
    assert "| stage 3, fully automatic | 50 | 300 | 0 | 0 |" in printed and "| money |" in printed
    for words, message in (
        ((path, "--wage", 3), "expected --wage and --machine-hour together"),
        ((path, "--wage", -3, "--machine-hour", 1), "expected --wage of at least 0, got -3"),
        ((tmp_path / "none",), "expected a ledger"),
    ):
        with pytest.raises(InputError, match=message):
            run(*words)
