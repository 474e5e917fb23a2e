"""For the tests of the textbook: its pages, built once for all of them, a server of these, and a browser.

``MINISAM_BOOK_HTML`` names pages that are already built. The browser tests need chromium and its driver and are
skipped, saying so, where there are none. A test module loads the fixtures with ``pytest_plugins = ["book_pages"]``.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from book.tools import pdf as book_pdf
from book.tools import server as book_server


@pytest.fixture(scope="session")
def pages() -> Path:
    ready = os.environ.get("MINISAM_BOOK_HTML")
    if ready:
        return Path(ready)
    start = time.perf_counter()
    assert book_server.build(clean=True) == 0, "the book does not build; its log is above"
    print(f"book built from clean in {time.perf_counter() - start:.0f} s")
    return book_server.HTML


@pytest.fixture(scope="session")
def address(pages: Path) -> Iterator[str]:
    monkey = pytest.MonkeyPatch()
    monkey.setattr(book_server, "HTML", pages)
    with book_server.server(port=0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
    monkey.undo()


@pytest.fixture
def browser() -> Iterator[Any]:
    need_browser()
    logs = {"performance": "ALL", "browser": "ALL"}
    with book_pdf.chrome("no-sandbox", "window-size=1280,1600", logs=logs) as window:
        yield window


def need_browser() -> None:
    """Skip the test where there is no Chromium or no driver of it; nothing is fetched."""
    if not any(map(shutil.which, book_pdf.BROWSERS)) or not shutil.which("chromedriver"):
        pytest.skip("no chromium with chromedriver on this machine: the pages are built but not clicked")
