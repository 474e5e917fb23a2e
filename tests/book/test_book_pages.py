"""What every page of the built textbook must be: open to all readers, readable on a phone, without a dead link, and
whole on paper.

``MINISAM_BOOK_SCREENSHOTS`` names a folder that gets an image of every page at both widths (``make screenshots``).
"""

from __future__ import annotations

import base64
import html
import html.parser
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from book_pages import need_browser

from book.tools import pdf as book_pdf
from book.tools import server as book_server
from book.tools import streams as book_streams
from waiting import wait_for

pytest_plugins = ["book_pages"]
pytestmark = pytest.mark.book

AXE = {"axe-core@4.14.1": (("axe.min.js",), ".")}
NAMES = sorted({path.stem for path in (book_server.ROOT / "chapters").glob("*.md")} | {"genindex", "search"})
SMALLEST = 12  # px, of any text on a phone
FIGURES = """const places = document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]');
return [...places].every((script) =>
  script.closest(".cell_output").querySelector(".ms-states, .ms-click, .jupyter-widgets:not(:empty)"))"""
THEME = "return document.documentElement.dataset.theme === arguments[0]"
REVEAL = """for (const details of document.querySelectorAll("details")) details.open = true;
for (const button of document.querySelectorAll(".ms-guess:not([hidden]) .ms-reveal")) button.click();
const guesses = ".ms-states > .widget-toggle-buttons button:last-child";
for (const button of document.querySelectorAll(guesses)) button.click();"""
AT_REST = """return document.getAnimations().every((animation) =>
  animation.playState !== "running" || animation.effect.getComputedTiming().endTime === Infinity)"""
RUN_AXE = """const done = arguments[arguments.length - 1];
const options = {resultTypes: ["violations"]};
axe.run(document, options).then((found) => done(found.violations), (error) => done(String(error)))"""
SMALL = """const found = {}, article = document.querySelector(".bd-article");
if (!article) return found;  // the page that searches
const words = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
while (words.nextNode()) {
  const text = words.currentNode.textContent.trim(), at = words.currentNode.parentElement;
  if (!text || !at.getClientRects().length || at.closest("mjx-container, script, style, .headerlink")) continue;
  const size = parseFloat(getComputedStyle(at).fontSize);
  if (size < arguments[0]) found[`${at.tagName} ${at.className}`] = `${size} px: ${text.slice(0, 40)}`;
}
return found"""


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, from npm."""
    folder = book_server.ROOT / "node_modules" / "axe-core"
    if not book_server.from_npm(AXE, folder):
        pytest.skip("npm is missing or failed, so axe-core is not here: the pages are not checked by it")
    return (folder / "axe.min.js").read_text()


def violations(window: Any, axe: str) -> Iterator[str]:
    """What axe-core calls serious or critical on the open page, once nothing fades in any more: half faded, any text
    lacks contrast."""
    wait_for(lambda: window.execute_script(AT_REST), "the end of all animations")
    window.execute_script(axe)
    report = window.execute_async_script(RUN_AXE)
    assert isinstance(report, list), report
    for violation in report:
        if violation["impact"] in ("serious", "critical"):
            for node in violation["nodes"]:
                yield f"{violation['id']} ({violation['help']}): {node['html'][:200]}"


@pytest.mark.parametrize("name", NAMES)
def test_page_wide_and_on_a_phone(address: str, browser: Any, axe: str, name: str) -> None:
    """At 1280 pixels in light colours and at 390 in dark ones: axe-core finds nothing serious, as the page opens and
    with everything revealed and unfolded; no text is small, nothing is wider than the page."""
    problems: dict[str, list[str]] = {}
    browser.set_script_timeout(120)
    for width, colours in ((1280, "light"), (390, "dark")):
        on_screen(browser, width)
        media = {"features": [{"name": "prefers-color-scheme", "value": colours}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        browser.get(f"{address}/{name}.html")
        # the theme's script comes after the page on a slow machine
        wait_for(partial(browser.execute_script, THEME, colours), f"{colours} colours")
        wait_for(lambda: browser.execute_script(FIGURES), "the page's figures")
        faults = list(violations(browser, axe)) if width == 1280 else []
        picture(browser, name, width)
        browser.execute_script(REVEAL)
        wait_for(lambda: browser.execute_script(FIGURES), "the page's figures")
        faults += violations(browser, axe)
        wide = browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            faults.append(f"{wide} px wider than the page")
        faults += [f"small text, {where}: {text}" for where, text in browser.execute_script(SMALL, SMALLEST).items()]
        if faults:
            problems[f"{width} px, {colours}"] = faults
    assert not problems, json.dumps(problems, indent=1, ensure_ascii=False)


def picture(window: Any, name: str, width: int) -> None:
    """The whole page as an image, if a folder for it is named: on a screen as high as the page."""
    folder = os.environ.get("MINISAM_BOOK_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        height = min(window.execute_script("return document.documentElement.scrollHeight"), 16000)  # WebP's limit
        on_screen(window, width, height)
        taken = window.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": 80})
        (Path(folder) / f"{name}-{width}.webp").write_bytes(base64.b64decode(taken["data"]))
        on_screen(window, width)


def on_screen(window: Any, width: int, height: int = 1000) -> None:
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


# ---- links ------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """The ids of a page and the addresses that it names, those in its widgets too."""

    STATE = re.compile(r'<script type="application/vnd.jupyter.widget-state\+json">(.*?)</script>', re.DOTALL)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.named: list[str] = []
        self.feed(self.STATE.sub("", text))
        for state in self.STATE.findall(text):
            for widget in json.loads(state)["state"].values():
                value, source = widget["state"].get("value"), widget["state"].get("source")
                if isinstance(value, str) and "<" in value:
                    self.feed(value)
                if isinstance(source, str) and source:
                    self.named.append(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {value for key in ("id", "name") if (value := values.get(key))}
        self.named += [value for key in ("href", "src") if (value := values.get(key)) is not None]


def dead(name: str, page: Page, everything: dict[str, Page], folder: Path) -> Iterator[str]:
    """The addresses of a page that lead nowhere, and those to other hosts that have no good form."""
    for address in page.named:
        parts = urlsplit(address)
        if parts.scheme in ("data", "mailto"):
            continue
        if parts.scheme or parts.netloc:
            if not re.fullmatch(r"https?://[\w-]+(\.[\w-]+)+(:\d+)?(/[^\s<>\"]*)?", address):
                yield f"{name}: {address}: not the form of an address"
            continue
        file = unquote(parts.path) or name
        if not (folder / file).is_file():
            yield f"{name}: {address}: no such file"
        elif parts.fragment and file in everything and unquote(parts.fragment) not in everything[file].ids:
            yield f"{name}: {address}: no such place in {file}"


def test_links_and_pictures_lead_somewhere(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files, anchors, images, downloads, scripts: on the page, and in the figures' own words. Other hosts are not
    asked; only the form of their addresses is looked at."""
    everything = {path.name: Page(path.read_text()) for path in sorted(pages.glob("*.html"))}
    count = sum(len(page.named) for page in everything.values())
    with capsys.disabled():
        print(f"\n{count} links and images on {len(everything)} pages")
    assert count > 2000
    assert [line for name, page in everything.items() for line in dead(name, page, everything, pages)] == []


def test_what_programs_print_is_in_one_piece(pages: Path) -> None:
    """Each chapter runs its own tests: a line of dots, then the count, cut nowhere. Kills: a new
    line after every piece that IPython hands on."""
    shown = re.compile(r'<div class="output stream.*?<pre>(.*?)</pre>', re.DOTALL)
    count = 0
    for path in sorted(pages.glob("[0-9]*.html")):
        for output in shown.findall(path.read_text()):
            text = html.unescape(re.sub("<[^>]+>", "", output))
            if re.search(r"\d passed", text.replace("\n", "")):
                counted = r"^\.+ +\[100%\]\n\d+ passed(, \d+ deselected)? in [\d.]+s$"
                assert re.search(counted, text.rstrip(), re.MULTILINE), text
                count += 1
    assert count >= 14


def test_streams_are_joined() -> None:
    """Neighbours of one name alone. Kills: stderr in stdout; text that jumps over an image; a changed notebook."""
    out, err = ({"output_type": "stream", "name": name, "text": name[3:]} for name in ("stdout", "stderr"))
    picture = {"output_type": "display_data", "data": {}}
    outputs = [out, out, err, out, picture, out]
    joined = book_streams.join_streams(outputs)
    assert [entry.get("text") for entry in joined] == ["outout", "err", "out", None, "out"]
    assert out["text"] == "out" and len(outputs) == 6 and book_streams.join_streams([]) == []


def test_a_dead_link_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "b.html").write_text('<p id="here">')
    state = {"state": {"1": {"state": {"value": '<a href="#gone">', "source": "b.html#away"}}}}
    widget = f'<script type="application/vnd.jupyter.widget-state+json">{json.dumps(state)}</script>'
    good = '<a href="b.html#here"><a href="#top" id="top"><img src="data:,"><a href="https://example.org/x?y=1#z">'
    bad = '<a href="b.html#there"><img src="no.png"><a href="https://example"><a href="c.html">'
    (tmp_path / "a.html").write_text(good + bad + widget)
    everything = {name: Page((tmp_path / name).read_text()) for name in ("a.html", "b.html")}
    lines = list(dead("a.html", everything["a.html"], everything, tmp_path))
    assert [line.split(": ")[1] for line in lines] == [
        *("b.html#there", "no.png", "https://example", "c.html", "#gone", "b.html#away")
    ]


# ---- on paper ---------------------------------------------------------------------------------


def test_printed_pages(pages: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two chapters as one PDF: figures revealed, cells unfolded, controls left out, links inside the file."""
    from pypdf import PdfReader

    monkeypatch.setattr(book_server, "HTML", pages)
    need_browser()
    goal = tmp_path / "two.pdf"
    count = book_pdf.book_pdf(["01-measure", "08-losses"], goal)
    book = PdfReader(goal)
    texts = [page.extract_text() for page in book.pages]
    start = next(number for number, text in enumerate(texts) if "Chapter 8" in text)
    assert count == len(texts) > 15 and 5 < start < count - 5
    for number, text in enumerate(texts, 1):  # the foot of a page comes first or last in its text
        assert str(number) in (text.split()[0], text.split()[-1]), "page numbers"

    whole = unicodedata.normalize("NFKC", " ".join(" ".join(texts).split()))  # fi may be one sign
    assert whole.count("the code of this figure") >= 7, "every figure shows its image"
    assert "Still guessing" not in whole and "Show the numbers" not in whole and "IoU 0." in whole
    assert 'check("8.1", answer) ✓ 8.1' in whole, "solutions are open"
    assert sum(len(page.images) for page in book.pages) >= 8

    outline = [item for item in book.outline if not isinstance(item, list)]
    assert [book.get_destination_page_number(item) for item in outline] == [0, start]
    assert sum(len(item) for item in book.outline if isinstance(item, list)) > 15
    links = [link.get_object() for page in book.pages for link in page.get("/Annots") or []]
    inside = [link["/Dest"] for link in links if "/Dest" in link]
    numbers = {page.indirect_reference: number for number, page in enumerate(book.pages)}
    assert len(inside) > 30
    of_eight = [link for page in book.pages[start:] for link in page.get("/Annots") or []]
    led = {numbers[list.__getitem__(target, 0)] for link in of_eight if (target := link.get_object().get("/Dest"))}
    assert min(led) < start, "chapter 8 names equations of chapter 1"
    assert not [link for link in links if "127.0.0.1" in str(link.get("/A", ""))]
