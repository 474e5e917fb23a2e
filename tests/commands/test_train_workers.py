"""``minisam train --workers``: processes are counted before any is started."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from minisam.commands.main import main
from minisam.console import count


def test_thousands_of_workers_are_refused_before_one_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path / "t"), "--steps", "1", "--workers", "999999"]) == 2
    assert "expected --workers of at most 256, got 999999" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(("text", "wanted"), [("-1", "of at least 0"), ("9" * 19, "of at most 18 digits")])
def test_a_count_says_what_is_wrong_with_it(text: str, wanted: str) -> None:
    with pytest.raises(ArgumentTypeError, match=f"expected a whole number {wanted}, got"):
        count(text)
