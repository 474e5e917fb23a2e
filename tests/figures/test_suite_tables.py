"""The tables that chapter 14 shows are those of the suite's report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minisam.figures import suite_tables
from minisam_kernels import InputError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    table = {"title": "ODS", "columns": ["map", "ODS"], "rows": [["SAM", 0.5], ["Sobel", None]], "notes": ["On 3."]}
    done = {"command": "minisam transfer edges", "tables": [table], "seconds": 62.0, "peak_bytes": 5e8, "commit": "abc"}
    jobs = {"edges world": done, "edges real": {"command": "x", "failed": "?"}, "text": done | {"seconds": 1.0}}
    path = tmp_path / "suite.json"
    path.write_text(json.dumps({"jobs": jobs}))
    return path


def test_a_page_has_the_command_the_table_and_the_time(path: Path) -> None:
    page = suite_tables.page("edges", "OD", path)
    assert page.startswith("    minisam transfer edges\n\n**ODS**\n\n| map | ODS |\n")
    assert "| SAM | 0.500 |\n| Sobel | – |" in page and "On 3." in page
    assert page.endswith("*edges world: 62 s, 0.50 GB at most, commit abc.*")
    assert suite_tables.tables("edges", path)["ODS"].rows[0] == ["SAM", 0.5]
    assert "| all | 63 s | – |" in suite_tables.times(path).data
    assert suite_tables.ours("edges", path=path).data == suite_tables.page("edges", path=path)


def test_what_was_not_measured_is_an_error(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="begins with 'points', got edges world, edges real, text"):
        suite_tables.page("points", path=path)
    with pytest.raises(InputError, match="title, got ODS"):
        suite_tables.page("edges", "AP", path)
    with pytest.raises(InputError, match="expected the report of minisam transfer suite"):
        suite_tables.entries(path=tmp_path / "none.json")
