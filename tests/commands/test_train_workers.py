"""``minisam train --workers``: processes are counted before any is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from minisam.commands.main import main


def test_thousands_of_workers_are_refused_before_one_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path / "t"), "--steps", "1", "--workers", "999999"]) == 2
    assert "expected --workers of at most 256, got 999999" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()
