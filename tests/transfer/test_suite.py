"""The suite with toy jobs: what is reported, resumed, run anew; what fails, and what an interrupted run leaves."""

from __future__ import annotations

import functools
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from minisam.reports.environment import ROOT
from minisam.transfer import suite as module
from minisam.transfer.report import Job, Table
from minisam.transfer.suite import suite
from minisam_kernels import InputError

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a failed job counts as done": (
        "minisam/transfer/suite.py",
        'entry is None or "tables" not in entry',
        "entry is None",
    ),
    "processes that go on after an interruption": ("minisam/transfer/suite.py", "process.terminate()", "pass"),
    "changed weights that nobody notices": ("minisam/transfer/suite.py", "digest(ROOT / name))", "known)"),
}
CARD = ROOT / "minisam" / "weights" / "README.md"


def counted(folder: Path, name: str) -> list[Table]:
    """Note in a file that the job ran, and read a file of the packages and one of the real sets."""
    with open(folder / f"{name}.runs", "a", encoding="utf-8") as file:
        file.write("x")
    CARD.read_bytes()
    for real in sorted((folder / "real").glob("*")):
        real.read_bytes()
    return [Table(f"Of {name}", ["set", "IoU", "n"], [["a", np.float32(0.5), np.int64(3)], ["b", np.nan, None]])]


def large(folder: Path) -> list[Table]:
    """Hold 300 MB for a moment."""
    counted(folder, "large")
    return [Table("Large", ["what", "bytes"], [["sum", int(np.ones(300_000_000, np.uint8).sum())]])]


def broken(folder: Path) -> list[Table]:
    """Fail while a file says so."""
    counted(folder, "broken")
    if (folder / "break").exists():
        print("on the way")
        raise InputError("expected a set\nwith masks, got none")
    return []


def killed(folder: Path) -> list[Table]:
    """As the system does for want of memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def slow(folder: Path) -> list[Table]:
    """Wait to be interrupted, for seconds unless a file says that it was."""
    (folder / "slow.pid").write_text(str(os.getpid()))
    for _ in range(200):
        if not (folder / "awake").exists():
            time.sleep(0.05)
    return counted(folder, "slow")


def listed(folder: Path, *names: str) -> list[Job]:
    """Jobs as a task lists them."""
    known = {"large": large, "broken": broken, "killed": killed, "slow": slow}
    runs = {name: functools.partial(known[name], folder) for name in names if name in known}
    runs |= {name: functools.partial(counted, folder, name) for name in names if name not in known}
    return [Job(name, f"minisam transfer {name}", runs[name]) for name in names]


def runs(folder: Path, name: str) -> int:
    """How often a job ran."""
    path = folder / f"{name}.runs"
    return len(path.read_text()) if path.exists() else 0


def report(folder: Path) -> dict:
    return json.loads((folder / "out" / "suite.json").read_text(encoding="utf-8"))["jobs"]


def test_it_reports_measures_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Kills: changed weights that nobody notices. A failed job is one line; peak memory is each job's own."""
    (tmp_path / "real").mkdir()
    (tmp_path / "break").touch()
    (tmp_path / "real" / "a.png").write_bytes(b"1")
    jobs = functools.partial(listed, tmp_path, "large", "clicks", "broken")
    run = functools.partial(suite, jobs, tmp_path / "out", real=tmp_path / "real")
    assert run() == 1
    entries = report(tmp_path)
    assert list(entries) == ["large", "clicks", "broken"]
    assert entries["clicks"]["tables"][0]["rows"] == [["a", 0.5, 3], ["b", None, None]]
    assert entries["broken"] == {"command": "minisam transfer broken", "failed": "expected a set with masks, got none"}
    assert entries["large"]["peak_bytes"] > 300e6 > entries["clicks"]["peak_bytes"] > 10e6
    assert set(entries["clicks"]["inputs"]) == {"code", "real", "minisam/weights/README.md"}
    assert "broken: failed: expected a set with masks" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").glob("*.log")] == ["broken.log"]
    assert "on the way" in (tmp_path / "out" / "broken.log").read_text()
    page = (tmp_path / "out" / "suite.md").read_text(encoding="utf-8")
    assert "## clicks\n\n    minisam transfer clicks\n" in page and "| a | 0.500 | 3 |" in page
    assert "| broken | failed |" in page and "Failed: expected a set with masks, got none" in page

    (tmp_path / "break").unlink()
    assert run() == 0
    assert [runs(tmp_path, name) for name in ("large", "clicks", "broken")] == [1, 1, 2]
    assert "2 of 3 jobs are in" in capsys.readouterr().out
    assert not list((tmp_path / "out").glob("*.log"))

    text = (tmp_path / "out" / "suite.json").read_text(encoding="utf-8")
    (tmp_path / "out" / "suite.json").write_text(text.replace(module.digest(CARD), "0" * 16, 1))  # large's
    assert run() == 0 and [runs(tmp_path, name) for name in ("large", "clicks", "broken")] == [2, 1, 2]

    (tmp_path / "real" / "b.png").write_bytes(b"2")
    assert run(only=["clicks"]) == 0
    assert [runs(tmp_path, name) for name in ("large", "clicks", "broken")] == [2, 2, 2]
    assert run(only=["cli"], again=True) == 0 and runs(tmp_path, "clicks") == 3
    assert list(report(tmp_path)) == ["large", "clicks", "broken"]


def test_failures_are_not_done() -> None:
    """Kills: a failed job counts as done."""
    job = Job("a", "minisam transfer a", list)
    entry = {"command": job.command, "tables": [], "inputs": {"code": module.code()}}
    assert module.fresh(entry, job, None)
    assert not module.fresh(None, job, None)
    assert not module.fresh({"command": job.command, "failed": "?", "inputs": {}}, job, None)
    assert not module.fresh(entry | {"command": "minisam transfer a --limit 3"}, job, None)
    assert not module.fresh(entry | {"inputs": {"code": "0" * 16}}, job, None)


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: processes that go on after an interruption."""
    jobs = functools.partial(listed, tmp_path, "slow", "killed")
    write = module.write

    def stop(*arguments: object) -> None:
        write(*arguments)  # type: ignore[arg-type]
        while not (tmp_path / "slow.pid").exists() or not (tmp_path / "slow.pid").read_text():
            time.sleep(0.05)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "write", stop)
        suite(jobs, tmp_path / "out", processes=2)
    assert runs(tmp_path, "slow") == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "slow.pid").read_text()), 0)
    assert list(report(tmp_path)) == ["killed"] and "want of memory" in report(tmp_path)["killed"]["failed"]
    (tmp_path / "awake").touch()
    assert suite(jobs, tmp_path / "out", only=["slow"]) == 0
    assert list(report(tmp_path)) == ["slow", "killed"] and runs(tmp_path, "slow") == 1


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    jobs = functools.partial(listed, tmp_path, "a", "b")
    with pytest.raises(InputError, match=r"expected the beginning of a job's name \(a, b\), got 'x'"):
        suite(jobs, tmp_path / "out", only=["x"])
    (tmp_path / "out").mkdir()
    half = '{"jobs": {"a": {"command": "minisam transfer a", "tables": []}}}'  # without what it was made from
    for text in ("{", "[]", '{"jobs": [1]}', '{"jobs": {"a": {}}}', half):
        (tmp_path / "out" / "suite.json").write_text(text)
        with pytest.raises(InputError, match="expected a report of minisam transfer suite"):
            suite(jobs, tmp_path / "out")
    with pytest.raises(ValueError, match="one name"):
        suite(functools.partial(listed, tmp_path, "a", "a"), tmp_path / "other")
    with pytest.raises(InputError, match="expected cells of text and numbers, got list"):
        module.described(Table("t", ["a"], [[[1]]]))
    with pytest.raises(InputError, match="expected rows of 1 cells in 't', got 2"):
        module.described(Table("t", ["a"], [[1, 2]]))
    assert runs(tmp_path, "a") == 0
