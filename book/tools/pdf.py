"""The textbook as one PDF, printed page by page by a Chromium without a window: ``python -m book.tools.pdf``.

``make pdf`` runs it. ``book/_static/print.js`` reveals every figure and opens every folded cell, the print part of
``book/_static/book.css`` leaves out what paper cannot do, and here the pages are joined: page numbers go on, links to
other pages of the book lead to them inside the file, and the headings become its outline. It needs the extra ``book``
and one of the browsers in ``BROWSERS``.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from book.tools import server as book_server
from minisam.console import exit_code
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from pypdf import PdfReader, PdfWriter

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "headless disable-gpu disable-quic no-first-run disable-sync disable-component-update disable-background-networking"
    " disable-dev-shm-usage"
)
SECONDS = 300  # for one page; most take under ten
PDF = book_server.BOOK / "_build" / "minisam.pdf"
UNFINISHED = " — minisam"  # how the title of a page ends until print.js has made all figures show their pictures


def page_names() -> list[str]:
    """The pages in the order of the table of contents; the index of names is of no use on paper."""
    toc = (book_server.BOOK / "_toc.yml").read_text(encoding="utf-8")
    return [name for name in re.findall(r"^(?:root:| +- file:) (\S+)$", toc, re.MULTILINE) if name != "genindex"]


def browser() -> str:
    """The path of a Chromium."""
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        raise InputError(f"expected a browser that prints, one of {', '.join(BROWSERS)}, got none on the PATH")
    return found


class Printer:
    """A Chromium without a window, of which nothing is asked but this machine's pages; a context manager."""

    def __init__(self) -> None:
        self.chromium = browser()

    def __enter__(self) -> Printer:
        from websocket import create_connection  # websocket-client

        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        flags = [*FLAGS.split(), f"user-data-dir={self.profile.name}", "remote-debugging-port=0"]
        flags.append("host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container
            flags.append("no-sandbox")
        quiet = subprocess.DEVNULL
        command = [self.chromium, *(f"--{flag}" for flag in flags), "about:blank"]
        self.process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            file = Path(self.profile.name) / "DevToolsActivePort"
            port = self._wait(lambda: file.read_text(encoding="utf-8").split()[0], "the number of its port")
            tabs = f"http://127.0.0.1:{port}/json/list"
            pages = self._wait(lambda: json.load(urllib.request.urlopen(tabs)), "an empty page")
            address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            self.socket = create_connection(address, timeout=SECONDS, suppress_origin=True)
        except BaseException:
            self.__exit__()
            raise
        self.asked = 0
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.profile.cleanup()

    def _wait(self, ask: Callable[[], Any], what: str) -> Any:
        """The first answer of ``ask`` that is true; one that raises OSError is none. ``what`` is awaited, in words."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                answer = ask()
                if answer:
                    return answer
            time.sleep(0.1)
        raise InputError(f"expected {what} within {SECONDS} s from {self.chromium}, got nothing")

    def ask(self, method: str, **params: Any) -> Any:
        """The result of a command of Chromium's DevTools protocol."""
        self.asked += 1
        self.socket.send(json.dumps({"id": self.asked, "method": method, "params": params}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == self.asked:
                if "error" in answer:
                    raise InputError(f"expected {self.chromium} to know {method}, got {answer['error']['message']}")
                return answer["result"]

    def pdf(self, address: str, first: int = 1) -> bytes:
        """The page at ``address`` as a PDF whose pages are numbered from ``first``, once all its figures are there."""
        self.ask("Page.navigate", url=f"{address}?print={first}")

        def ready() -> bool:
            state = "document.readyState === 'complete' && location.href !== 'about:blank' && document.title"
            title = self.ask("Runtime.evaluate", expression=f"{state} || ''")["result"].get("value", UNFINISHED)
            return bool(title) and not title.endswith(UNFINISHED)

        self._wait(ready, f"every figure of {address}")
        options = {"printBackground": True, "preferCSSPageSize": True, "generateTaggedPDF": False}
        return base64.b64decode(self.ask("Page.printToPDF", **options)["data"])


def headings(page: str) -> list[tuple[int, str, str]]:
    """The h1 and h2 of a built page: level, words, id."""
    found = re.findall(r'<h([12])>((?:(?!</h[12]>).)*?)<a class="headerlink" href="#([^"]+)"', page, re.DOTALL)
    return [(int(level), html.unescape(re.sub(r"<[^>]+>", "", words)).strip(), name) for level, words, name in found]


def book_pdf(pages: Sequence[str] = (), goal: Path = PDF) -> int:
    """Print ``pages`` of the built book (names without .html; all by default) into the PDF ``goal``; its page count."""
    from pypdf import PdfReader, PdfWriter

    chosen = list(pages) or page_names()
    missing = [name for name in chosen if not (book_server.HTML / f"{name}.html").is_file()]
    if missing:
        raise InputError(f"expected names of pages in {book_server.HTML}, got {', '.join(missing)}")
    parts: dict[str, PdfReader] = {}
    starts: dict[str, int] = {}
    writer = PdfWriter()
    with book_server.server(port=0) as server, Printer() as printer:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}/"
        try:
            for name in chosen:
                starts[name] = len(writer.pages)
                parts[name] = PdfReader(io.BytesIO(printer.pdf(f"{base}{name}.html", starts[name] + 1)))
                for page in parts[name].pages:
                    writer.add_page(page)
                print(f"{name}: {len(parts[name].pages)} pages", flush=True)
        finally:
            server.shutdown()
    targets = {name: _targets(writer, parts[name], starts[name]) for name in chosen}
    for name in chosen:
        for number in range(starts[name], starts[name] + len(parts[name].pages)):
            _mend_links(writer, number, name, base, targets)
    _outline(writer, targets)
    writer.add_metadata({"/Title": "Segment Anything, from scratch", "/Author": "The minisam authors"})
    writer.compress_identical_objects()
    goal.parent.mkdir(parents=True, exist_ok=True)
    writer.write(goal)
    return len(writer.pages)


def _targets(writer: PdfWriter, part: PdfReader, start: int) -> dict[str, Any]:
    """The ids of a page → destinations in the whole book; "" is its beginning."""
    from pypdf.generic import ArrayObject, FloatObject, NameObject, NullObject

    def place(number: int, left: Any, top: Any) -> ArrayObject:
        where = [FloatObject(value) if value is not None else NullObject() for value in (left, top)]
        page = writer.pages[start + number].indirect_reference
        assert page is not None
        return ArrayObject([page, NameObject("/XYZ"), *where, NullObject()])

    found = {"": place(0, None, None)}
    for name, target in part.named_destinations.items():
        number = part.get_destination_page_number(target)
        if number is not None and number >= 0:
            found[unquote(name.removeprefix("/"))] = place(number, target.left, target.top)
    return found


def _mend_links(writer: PdfWriter, number: int, name: str, base: str, targets: dict[str, dict[str, Any]]) -> None:
    """Links of page ``number``, which belongs to ``name``: into the file where they lead into the book; none to what
    only the server has."""
    from pypdf.generic import ArrayObject, NameObject

    page, kept = writer.pages[number], ArrayObject()
    for reference in page.get("/Annots") or []:
        link = reference.get_object()
        address = str(link.get("/A", {}).get("/URI", ""))
        if "/Dest" in link or address.startswith(base):
            inside = f"{name}.html#{str(link['/Dest']).removeprefix('/')}" if "/Dest" in link else address[len(base) :]
            file, _, anchor = inside.partition("#")
            there = targets.get(file.partition("?")[0].removesuffix(".html"))
            if there is None:
                continue
            link.pop("/A", None)
            link[NameObject("/Dest")] = there.get(unquote(anchor), there[""])
        link.pop("/StructParent", None)  # the tree that it counts in belongs to the part
        kept.append(reference)
    page.pop("/StructParents", None)
    page[NameObject("/Annots")] = kept


def _outline(writer: PdfWriter, targets: dict[str, dict[str, Any]]) -> None:
    """The book's headings as bookmarks."""
    from pypdf.generic import Fit

    numbers = {page.indirect_reference: number for number, page in enumerate(writer.pages)}
    for name, there in targets.items():
        chapter: Any = None
        for level, words, anchor in headings((book_server.HTML / f"{name}.html").read_text(encoding="utf-8")):
            place = there[""] if level == 1 else there.get(anchor, there[""])
            number = numbers[list.__getitem__(place, 0)]
            top = place[3] if isinstance(place[3], float) else None
            above = None if level == 1 else chapter
            made = writer.add_outline_item(title=words, page_number=number, parent=above, fit=Fit.xyz(top=top))
            chapter = made if level == 1 else chapter


def main(argv: list[str] | None = None) -> int:
    """``python -m book.tools.pdf [PAGE …]``."""
    parser = argparse.ArgumentParser(prog="python -m book.tools.pdf", description="Print the textbook into one PDF.")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="pages as built, such as 08-losses (default: all)")
    parser.add_argument("-o", "--output", type=Path, default=PDF, help="default: book/_build/minisam.pdf")
    chosen = parser.parse_args(argv)

    def work() -> int:
        browser()
        code = 0 if chosen.pages else book_server.build()
        if not code:
            count = book_pdf(chosen.pages, chosen.output)
            print(f"{chosen.output}: {count} pages, {chosen.output.stat().st_size / 1e6:.1f} MB")
        return code

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
