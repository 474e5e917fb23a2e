"""The ledger: lines are added and stay, half a line is dropped and its task done again, other runs are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minisam.engine import ledger as module
from minisam.engine.clock import Clock
from minisam.engine.ledger import Ledger, read
from minisam.engine.summary import fall, sensitivity_table, stages, summary, table
from minisam_kernels import InputError

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "half a line stays": ("minisam/engine/ledger.py", "os.truncate(path, whole)", "pass"),
    "another run's ledger is continued": ("minisam/engine/ledger.py", "self.entries[0] != head", "False"),
    "a full disk leaves half a line": ("minisam/engine/ledger.py", "os.truncate(self.path, size)", "pass"),
    "rejected proposals cost nothing": ("minisam/engine/summary.py", ', *(entry["rest"] for entry in entries)', ""),
    "held-out IoU of the model that came after": (
        "minisam/engine/summary.py",
        "measured.setdefault(key, latest)",
        "measured[key] = 1.0",
    ),
    "masks that may stay are a person's": ("minisam/engine/summary.py", '1 - by.get("model", 0) / count', "1.0"),
}
HEAD = {"recipe": {"seed": 1, "steps": 2}, "start": "abc"}


def test_it_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Kills: half a line stays."""
    path = tmp_path / "run" / "ledger.jsonl"
    first = Ledger(path, HEAD)
    assert first.add("a", {"masks": (1, 2)}) == {"task": "a", "masks": [1, 2]}
    first.add("b", {"says": "ü"})
    before = path.read_bytes()
    for half in range(1, 20, 6):
        path.write_bytes(before + b'{"task": "c", "masks": []}\n'[:half])
        again = Ledger(path, HEAD)
        assert list(again.done) == ["a", "b"] and "dropped half a line" in capsys.readouterr().err
        assert path.read_bytes() == before
    again.add("c", {})
    assert path.read_bytes().startswith(before) and list(Ledger(path, HEAD).done) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="'c' a second time"):
        again.add("c", {})
    path.write_bytes(before[:7])  # killed in the first line
    assert Ledger(path, HEAD).done == {} and json.loads(path.read_text())["start"] == "abc"


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a full disk leaves half a line."""
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path, HEAD)
    before = path.read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(InputError, match=r"ledger.jsonl, got: No space left"):
        patched.setattr(module.os, "fsync", full)
        ledger.add("a", {})
    assert path.read_bytes() == before and not ledger.done
    ledger.add("a", {})


def test_other_runs_and_other_files_are_refused(tmp_path: Path) -> None:
    """Kills: another run's ledger is continued."""
    path = tmp_path / "ledger.jsonl"
    Ledger(path, HEAD).add("a", {})
    with pytest.raises(InputError, match=r"expected the run that .* recipe.steps = 2, got 3"):
        Ledger(path, {**HEAD, "recipe": {"seed": 1, "steps": 3}})
    with pytest.raises(InputError, match="start = 'abc', got 'abd'"):
        Ledger(path, {**HEAD, "start": "abd"})
    whole = path.read_text()
    for text in ("x\n" + whole, whole + "{}\n" + whole, "[1]\n", '{"task": "a"}\n'):
        path.write_text(text)
        with pytest.raises(InputError, match="expected a ledger of minisam engine"):
            Ledger(path, HEAD)
    path.write_text('{"ledger": 7}\n')
    with pytest.raises(InputError, match=r"expected a ledger of version 1, got .* of version 7"):
        read(path)
    with pytest.raises(InputError, match="expected a ledger, got"):
        read(tmp_path / "none")


def mask(by: str, iou: float, actions: dict[str, int], corners: int = 10) -> dict:
    return {"by": by, "iou": iou, "area": 9, "actions": actions, "by_hand": {"vertex": corners}}


def picture(stage: int, turn: int, *masks: dict, **rest: int) -> dict:
    number = f"picture/{stage}{turn}"
    return {"task": number, "kind": "picture", "stage": stage, "round": turn, "masks": list(masks), "rest": rest}


def measured(name: str, value: float) -> dict:
    return {"task": f"measure/{name}", "kind": "measure", "held_out": value}


def test_the_closing_table_by_hand() -> None:
    """Kills: rejected proposals cost nothing; held-out IoU of the model that came after; masks that may stay are a
    person's."""
    clock = Clock(look=1, click=1, wait=0, check=1, accept=1, reject=1, vertex=1, stroke=1)
    automatic = {"by": "model", "iou": 0.5, "area": 4, "actions": {}}
    entries = [
        measured("start", 0.4),
        picture(1, 0, mask("polygon", 0.9, {"click": 8, "vertex": 10}), mask("clicks", 0.7, {"click": 2})),
        measured("1-0", 0.5),
        picture(1, 1, mask("clicks", 0.8, {"click": 5})),
        measured("1-1", 0.6),
        picture(2, 0, mask("model", 0.8, {"check": 1}), mask("brush", 0.6, {"click": 7}), check=3, reject=3),
        measured("2-0", 0.7),
        picture(3, 0, automatic, automatic, automatic),
        measured("3-0", 0.75),
    ]
    rounds = summary(entries, clock)
    assert [(one.stage, one.round, one.held_out) for one in rounds] == [
        (1, 0, 0.4), (1, 1, 0.5), (2, 0, 0.6), (3, 0, 0.7),
    ]  # fmt: skip
    assert [one.seconds for one in rounds] == [10, 5, (1 + 7 + 6) / 2, 0]
    assert [one.time for one in rounds] == [1, 0.5, 0.7, 0]
    assert [one.human for one in rounds] == [1, 1, 0.5, 0]
    assert [one.per_picture for one in rounds] == [2, 1, 2, 3]
    assert rounds[0].quality == pytest.approx(0.8) and fall(rounds) == 0.5
    assert [one.held_out for one in stages(entries, clock)] == [0.6, 0.7, 0.75]
    shown = table(entries, clock)
    assert all(len(row) == len(shown.columns) for row in shown.rows) and len(shown.rows) == 5
    text = " ".join(shown.notes)
    assert "fell: 10.0 → 5.0 (-50%)" in text and "rose: 0.400 → 0.750 (+0.350)" in text
    assert "falls at every stage: 100% → 50% → 0%" in text and "would have been quicker" not in text

    worse = [
        entries[0],
        entries[3],
        entries[2],
        picture(1, 2, mask("polygon", 0.9, {"vertex": 12})),
        measured("1-2", 0.3),
    ]
    text = " ".join(table(worse, clock).notes)
    assert "did not fall: 5.0 → 12.0 (+140%)" in text and "did not rise" in text
    assert "In 1 of 2 rounds with a person, polygons alone would have been quicker" in text
    rows = {row[0]: row[1:] for row in sensitivity_table(worse, clock).rows}
    assert rows["vertex"][:3] == [pytest.approx(1 - 6 / 5), pytest.approx(1 - 12 / 5), pytest.approx(1 - 18 / 5)]
    assert table(entries[:1], clock).rows == []
