"""The chapters as live notebooks: "Restart Kernel and Run All Cells" works in each, and the first figure answers soon.

The strict build (``book_pages.pages``) runs every chapter as a notebook already: by nbclient, from its own folder, with
a fresh kernel, and a failing cell stops it. It sets one variable that a live notebook does not have,
``MINISAM_STATIC_PAGE``. So here only those chapters run once more, without it, whose cells or figures ask for it.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from book.tools import server as book_server

pytestmark = pytest.mark.book
CHAPTERS = book_server.ROOT / "chapters"
VARIABLE = "MINISAM_STATIC_PAGE"
WIDGET = "application/vnd.jupyter.widget-view+json"
SOON, PATIENCE = 3, 5  # seconds to the first answer; what a loaded build machine may take more, as a factor


def live_chapters() -> list[Path]:
    """The chapters that run otherwise in a live notebook than in the build."""
    figures = book_server.ROOT / "minisam" / "figures"
    asking = "|".join(path.stem for path in figures.glob("*.py") if VARIABLE in path.read_text())
    uses = re.compile(rf"{VARIABLE}|minisam\.figures\.({asking})\b")
    return [path for path in sorted(CHAPTERS.glob("[0-9][0-9]-*.md")) if uses.search(path.read_text())]


@pytest.fixture
def live(tmp_path: Path) -> dict[str, str]:
    """The environment that ``make lab`` gives to kernels."""
    environment = book_server.lab_settings(tmp_path)
    assert VARIABLE not in environment
    return environment


def test_no_chapter_is_left_out() -> None:
    """Kills: a variable under another name, after which nothing would run here."""
    assert {"00-click", "11-performance"} <= {path.stem for path in live_chapters()}
    assert f'"{VARIABLE}": "1"' in Path(book_server.__file__).read_text()


@pytest.mark.parametrize("chapter", live_chapters(), ids=lambda chapter: chapter.stem)
def test_restart_and_run_all(chapter: Path, live: dict[str, str]) -> None:
    import jupytext
    from nbclient import NotebookClient

    notebook = jupytext.read(chapter)
    metadata = {"metadata": {"path": str(CHAPTERS)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=metadata).execute(env=live)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [out for cell in cells for out in cell.outputs if out.output_type == "error"]
    assert any(WIDGET in out.get("data", {}) for cell in cells for out in cell.outputs)


def first_answer(cell: str, live: dict[str, str]) -> tuple[float, dict[str, Any], int]:
    """Run the cell of the click figure in a new kernel and send what the page's side sends: the seconds from running it
    to the masks of a click, what the answer says, and how many masks came with it."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", cwd=str(CHAPTERS), env=live)
    try:
        models: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            assert message["msg_type"] != "error", message["content"]
            view = message["content"].get("data", {}).get(WIDGET)
            if message["msg_type"] in ("display_data", "execute_result") and view:
                models.append(view["model_id"])

        start = time.perf_counter()
        client.execute_interactive(cell, timeout=300, output_hook=hear)
        prompt = {"kind": "prompt", "id": 1, "picture": 0, "points": [[238, 164]], "labels": [1], "box": None}
        data = {"method": "custom", "content": {**prompt, "multimask": True}}
        client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": models[-1], "data": data}))
        while True:
            message = client.get_iopub_msg(timeout=300)
            answer = message["content"].get("data", {}).get("content", {}) if message["msg_type"] == "comm_msg" else {}
            assert answer.get("kind") != "error", answer
            if answer.get("kind") == "masks":
                return time.perf_counter() - start, answer, len(message["buffers"])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_the_first_figure_answers_soon(live: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Chapter 0's first cell in a fresh kernel, kernels compiled before: from running it to the masks of a click."""
    import jupytext

    cell = next(cell.source for cell in jupytext.read(CHAPTERS / "00-click.md").cells if cell.cell_type == "code")
    first_answer(cell, live)  # compiles what is not compiled yet
    seconds, answer, masks = first_answer(cell, live)
    with capsys.disabled():
        print(f"\nthe first figure answered {seconds:.1f} s after its cell was run")
    assert masks == 3 and len(answer["iou"]) == 3 and answer["id"] == 1
    assert seconds < SOON * PATIENCE
