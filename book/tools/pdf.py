"""The textbook as one PDF, printed page by page by a Chromium without a window: ``python -m book.tools.pdf``.

``make pdf`` runs it. ``book/_static/print.js`` reveals every figure and opens every folded cell, the print part of
``book/_static/book.css`` leaves out what paper cannot do, and here the pages are joined: page numbers go on, links to
other pages of the book lead to them inside the file, and the headings become its outline. It needs the extra ``book``
and one of the browsers in ``BROWSERS``, which selenium drives.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import os
import re
import shutil
import sys
import threading
from collections.abc import Sequence
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
    *("headless", "disable-gpu", "disable-quic", "no-first-run", "disable-sync", "disable-component-update"),
    *("disable-background-networking", "disable-dev-shm-usage"),
    "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
SECONDS = 300  # for one page; most take under ten
PDF = book_server.BOOK / "_build" / "minisam.pdf"
UNFINISHED = " — minisam"  # how the title of a page ends until print.js has made all figures show their images


def page_names() -> list[str]:
    """The pages in the order of the table of contents; the index of names is of no use on paper."""
    toc = (book_server.BOOK / "_toc.yml").read_text(encoding="utf-8")
    return [name for name in re.findall(r"^(?:root:| +- file:) (\S+)$", toc, re.MULTILINE) if name != "genindex"]


def browser() -> str:
    """The path of a Chromium."""
    path = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if path is None:
        raise InputError(f"expected a browser that prints, one of {', '.join(BROWSERS)}, got none on the PATH")
    return path


def chrome(*flags: str, logs: dict[str, str] | None = None) -> Any:
    """Selenium's driver of a Chromium without a window that reaches this machine's pages only; a context manager.

    ``flags`` are further command-line options, without their dashes; ``logs`` are the levels of what it keeps.
    Where ``chromedriver`` is not on the PATH, selenium fetches one.
    """
    from selenium import webdriver
    from selenium.common import WebDriverException

    options = webdriver.ChromeOptions()
    options.binary_location = browser()
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container
        flags += ("no-sandbox",)
    for flag in (*FLAGS, *flags):
        options.add_argument(f"--{flag}")
    if logs:
        options.set_capability("goog:loggingPrefs", logs)
    try:
        return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    except WebDriverException as error:
        raise InputError(f"expected {options.binary_location} to start with chromedriver, got {error.msg}") from error


def print_page(window: Any, address: str, first: int = 1) -> bytes:
    """The page at ``address`` as a PDF whose pages are numbered from ``first``, once all its figures are there."""
    from selenium.common import TimeoutException
    from selenium.webdriver.support.wait import WebDriverWait

    window.get(f"{address}?print={first}")
    try:
        WebDriverWait(window, SECONDS).until(lambda _: window.title and not window.title.endswith(UNFINISHED))
    except TimeoutException as error:
        raise InputError(f"expected every figure of {address} within {SECONDS} s, got not all") from error
    options = {"printBackground": True, "preferCSSPageSize": True, "generateTaggedPDF": False}
    return base64.b64decode(window.execute_cdp_cmd("Page.printToPDF", options)["data"])


def headings(page: str) -> list[tuple[int, str, str]]:
    """The h1 and h2 of a built page: level, words, id."""
    matches = re.findall(r'<h([12])>((?:(?!</h[12]>).)*?)<a class="headerlink" href="#([^"]+)"', page, re.DOTALL)
    return [(int(level), html.unescape(re.sub(r"<[^>]+>", "", words)).strip(), name) for level, words, name in matches]


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
    with book_server.server(port=0) as server, chrome() as window:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}/"
        try:
            for name in chosen:
                starts[name] = len(writer.pages)
                parts[name] = PdfReader(io.BytesIO(print_page(window, f"{base}{name}.html", starts[name] + 1)))
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

    def destination(number: int, left: Any, top: Any) -> ArrayObject:
        corner = [FloatObject(value) if value is not None else NullObject() for value in (left, top)]
        page = writer.pages[start + number].indirect_reference
        assert page is not None
        return ArrayObject([page, NameObject("/XYZ"), *corner, NullObject()])

    destinations = {"": destination(0, None, None)}
    for name, target in part.named_destinations.items():
        number = part.get_destination_page_number(target)
        if number is not None and number >= 0:
            destinations[unquote(name.removeprefix("/"))] = destination(number, target.left, target.top)
    return destinations


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
            anchors = targets.get(file.partition("?")[0].removesuffix(".html"))
            if anchors is None:
                continue
            link.pop("/A", None)
            link[NameObject("/Dest")] = anchors.get(unquote(anchor), anchors[""])
        link.pop("/StructParent", None)  # the tree that it counts in belongs to the part
        kept.append(reference)
    page.pop("/StructParents", None)
    page[NameObject("/Annots")] = kept


def _outline(writer: PdfWriter, targets: dict[str, dict[str, Any]]) -> None:
    """The book's headings as bookmarks."""
    from pypdf.generic import Fit

    numbers = {page.indirect_reference: number for number, page in enumerate(writer.pages)}
    for name, anchors in targets.items():
        chapter: Any = None
        for level, words, anchor in headings((book_server.HTML / f"{name}.html").read_text(encoding="utf-8")):
            target = anchors[""] if level == 1 else anchors.get(anchor, anchors[""])
            number = numbers[list.__getitem__(target, 0)]
            top = target[3] if isinstance(target[3], float) else None
            parent = None if level == 1 else chapter
            item = writer.add_outline_item(title=words, page_number=number, parent=parent, fit=Fit.xyz(top=top))
            chapter = item if level == 1 else chapter


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
