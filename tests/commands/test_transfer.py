"""``minisam transfer``: every task is there, and the suite says what it would run."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import refused, run
from minisam.commands import transfer
from minisam.transfer import suite as module

TASKS = ("points", "clicks", "left-out", "edges", "proposals", "instances", "text", "suite")


@pytest.mark.parametrize("task", TASKS)
def test_every_task_explains_itself(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "transfer", task, "--help")
    assert code == 0 and out.startswith(f"usage: minisam transfer {task}") and err == ""


def test_the_suite_lists_its_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names differ, and begin with those that chapter 14 shows tables of; real sets are found in DIR or in DIR/dev."""
    code, out, _ = run(capsys, "transfer", "suite", "--list")
    names = [line.split(":")[0] for line in out.splitlines()]
    assert code == 0 and len(set(names)) == len(names)
    for start in ("left-out", "clicks", "edges", "proposals", "specialist", "text"):
        assert any(name.startswith(start) for name in names)
    for folder in ("cells", "dev/leaves", "train/bsds500", "train/coco_people"):
        (tmp_path / folder).mkdir(parents=True)
    _, out, _ = run(capsys, "transfer", "suite", "--list", "--real", str(tmp_path))
    more = {line.split(":")[0] for line in out.splitlines()} - set(names)
    assert more >= {"edges-bsds500", "proposals-leaves", "instances-leaves", "instances-detector"}
    assert "proposals-cells" not in more
    _, out, _ = run(capsys, "transfer", "suite", "--list", "--real", str(tmp_path / "dev"))
    assert "proposals-leaves" in out and "bsds500" not in out


def test_the_suite_says_how_many_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple] = []

    def count(*arguments: object) -> int:
        asked.append(arguments)
        return len(asked) - 1

    monkeypatch.setattr(module, "suite", count)
    code, out, _ = run(capsys, "transfer", "suite", "-o", str(tmp_path), "--only", "text", "--processes", "2")
    assert code == 0 and "every job has its result" in out
    jobs, folder, *others = asked[0]
    assert (folder, *others) == (tmp_path, ["text"], 2, False, None)
    assert [job.name for job in jobs()] == [job.name for job in transfer.jobs()]
    code, out, _ = run(capsys, "transfer", "suite", "-o", str(tmp_path), "--again")
    assert code == 1 and "1 job failed" in out


def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, said in (
        (["suite", "--real", str(tmp_path / "nowhere")], "expected a folder of sets, got"),
        (["suite", "-o", str(tmp_path), "--only", "walls"], "expected the beginning of a job's name (left-out, "),
        (["suite", "--processes", "0"], "expected a whole number above 0"),
    ):
        assert said in refused(capsys, "transfer", *words)
    assert list(tmp_path.iterdir()) == []
