"""The textbook as a reader gets it: built from clean with warnings as errors, served on this machine, used in a
browser without a network. ``book_pages.py`` holds the built pages and the browser; ``test_book_pages.py`` looks at
every page for what all of them must be, ``test_book_notebooks.py`` at the chapters as notebooks.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from book.tools import server as book_server
from waiting import wait_for

pytest_plugins = ["book_pages"]
pytestmark = pytest.mark.book
FOLDER = book_server.ROOT / "chapters"
CHAPTERS = [*sorted(FOLDER.glob("[0-9][0-9]-*.md")), FOLDER / "ablations.md"]


class Figure:
    """ClickFigure on the open page, seen as a reader sees it."""

    def __init__(self, window: Any, address: str) -> None:
        self.window = window
        window.get(f"{address}/00-click.html")
        self.find = lambda selector: window.find_element("css selector", f".ms-click {selector}")
        wait_for(lambda: window.find_elements("css selector", ".ms-click .ms-canvas"), "the figure")
        self.canvas = self.find(".ms-canvas")
        wait_for(lambda: self.canvas.size["height"] > 100 and self.readout(), "the image")
        wait_for(lambda: "Static page" in self.find(".ms-mode").text, "the figure's note that no Python answers")
        window.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.canvas)

    def readout(self) -> str:
        return self.find(".ms-readout").text

    def pixels(self) -> str:
        return self.window.execute_script("return arguments[0].toDataURL()", self.canvas)

    def click(self, x: float, y: float) -> None:
        """Click at a fraction of the image's width and height."""
        from selenium.webdriver import ActionChains

        size = self.canvas.size
        offset = round((x - 0.5) * size["width"]), round((y - 0.5) * size["height"])
        ActionChains(self.window).move_to_element_with_offset(self.canvas, *offset).click().perform()

    def keys(self, *keys: str) -> None:
        self.canvas.send_keys(*keys)


def test_chapters_are_notebooks_of_at_most_600_lines() -> None:
    """A chapter without the jupytext header silently runs nothing."""
    assert CHAPTERS
    for chapter in CHAPTERS:
        text = chapter.read_text()
        assert text.startswith("---\njupytext:"), chapter
        assert "{code-cell}" in text and len(text.splitlines()) <= 600, chapter


def test_equations_that_docstrings_name_are_in_a_chapter() -> None:
    """A kernel says ``eq-…`` of the equation that it computes; a chapter must have it, once."""
    labels = re.findall(r"^\$\$ \((eq-[\w-]+)\)$", "\n".join(c.read_text() for c in CHAPTERS), re.MULTILINE)
    assert len(labels) == len(set(labels)) and len(labels) > 30
    sources = [*(book_server.ROOT / "kernels").rglob("*.py"), *(book_server.ROOT / "minisam").rglob("*.py")]
    named = {name for path in sources for name in re.findall(r"\beq-[a-z][\w-]*", path.read_text())}
    assert named and named <= set(labels), sorted(named - set(labels))


def test_pages_are_small_and_ask_no_other_host(pages: Path) -> None:
    sizes = {page.name: page.stat().st_size for page in pages.glob("*.html")}
    assert max(sizes.values()) < 6_000_000, sizes
    assert sum(path.stat().st_size for path in pages.rglob("*") if path.is_file()) < 65_000_000
    if not (book_server.LOCAL / "versions.json").is_file():
        pytest.skip("no npm here, so the pages load their scripts from a CDN")
    for page in sizes:
        loaded = re.findall(r'<(?:script|link|img)\b[^>]*?(?:src|href)="(https?:[^"]+)"', (pages / page).read_text())
        assert not loaded, page


def test_click_changes_the_mask(address: str, browser: Any) -> None:
    figure = Figure(browser, address)
    assert "guess" in figure.readout().lower(), "predict first, then reveal"
    assert not figure.find(".ms-list").is_displayed()
    guess = figure.pixels()
    figure.find(".ms-reveal").click()
    first, revealed = figure.readout(), figure.pixels()
    assert re.search(r"Mask \d of 3: predicted IoU \d\.\d\d, covers .*% of the image", first)
    assert revealed != guess

    figure.click(0.08, 0.1)
    second = figure.readout()
    assert second != first and "nearest to" in second
    assert figure.pixels() != revealed

    start = time.perf_counter()
    figure.click(0.5, 0.6)
    assert figure.readout() != second
    assert time.perf_counter() - start < 5  # a hang, not a benchmark

    figure.find(".ms-clear").click()
    assert figure.readout().startswith("No prompt")


def test_keys_and_slider(address: str, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    figure = Figure(browser, address)
    figure.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    cross = re.search(r"Cross at \((\d+), (\d+)\)", figure.readout())
    assert cross
    figure.keys(Keys.ENTER)
    assert "Mask" in figure.readout()
    figure.keys("1")
    seen = [(figure.readout(), figure.pixels())]
    for k in (2, 3):
        figure.find(".ms-slider").send_keys(Keys.ARROW_RIGHT)
        assert figure.find("output").text == f"{k} of 3"
        assert figure.find(".ms-slider").get_attribute("aria-valuetext") == f"{k} of 3"
        seen.append((figure.readout(), figure.pixels()))
    assert all(f"Mask {k} of 3" in words for k, (words, _) in enumerate(seen, 1))
    assert len({pixels for _, pixels in seen}) == 3
    figure.keys(Keys.DELETE)
    assert figure.readout().startswith("No prompt")


def test_static_page_says_what_it_cannot_do(address: str, browser: Any) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    figure = Figure(browser, address)
    assert "make lab" in figure.find(".ms-mode").text
    assert not any(
        tool.is_enabled() for tool in browser.find_elements("css selector", ".ms-tools input:not([value='1'])")
    )
    ActionChains(browser).key_down(Keys.SHIFT).move_to_element(figure.canvas).click_and_hold().move_by_offset(
        60, 40
    ).release().key_up(Keys.SHIFT).perform()
    assert "Boxes need the live notebook" in figure.find(".ms-status").text


def test_every_picture_has_words_and_masks(address: str, browser: Any) -> None:
    from selenium.webdriver.support.select import Select

    figure = Figure(browser, address)
    menu = Select(figure.find(".ms-picture"))
    seen = set()
    for option in range(len(menu.options)):
        menu.select_by_index(option)
        wait_for(lambda: figure.find(".ms-reveal").is_displayed(), "the question")
        seen.add((figure.canvas.get_attribute("aria-label"), figure.find(".ms-guess p").text))
        figure.find(".ms-reveal").click()
        wait_for(lambda: "Mask" in figure.readout(), "a mask")
    assert len(seen) == len(menu.options) >= 3


def test_a_mask_is_painted_and_scored(address: str, browser: Any) -> None:
    """The figure of chapter 1: a guess, then keys and mouse; every act changes the counts, and undoing brings them
    back."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.select import Select

    browser.get(f"{address}/01-measure.html")
    wait_for(lambda: browser.find_elements("css selector", ".ms-score .ms-canvas"), "the figure")
    find = lambda selector: browser.find_element("css selector", f".ms-score {selector}")  # noqa: E731
    read = lambda: re.sub(r"^You guessed .*?; the IoU is [\d.]+\. ", "", find(".ms-readout").text)  # noqa: E731
    canvas = find(".ms-canvas")
    wait_for(lambda: canvas.size["height"] > 100 and read(), "the image")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    assert "IoU" not in read(), "the score is shown before the guess"
    find(".ms-mine").send_keys(Keys.ARROW_RIGHT)
    find(".ms-reveal").click()
    first = wait_for(lambda: "IoU" in read() and read(), "the score")

    canvas.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert read() != first, "arrow keys move the mask"
    canvas.send_keys("z", "z")
    assert read() == first, "undone"
    canvas.send_keys("+")
    assert read() != first, "grown by a pixel"
    canvas.send_keys("z", "a", Keys.ENTER, *[Keys.SHIFT + Keys.ARROW_UP] * 12)
    painted = read()
    assert painted != first, "painted by keyboard"
    drag = ActionChains(browser).move_to_element_with_offset(canvas, -canvas.size["width"] // 4, 0).click_and_hold()
    drag.move_by_offset(40, 30).move_by_offset(10, -40).release().perform()
    assert read() != painted, "painted with the mouse"
    start = Select(find(".ms-start"))
    for name, iou in (("the truth itself", "1.000"), ("nothing", "0.000")):
        start.select_by_visible_text(name)
        wait_for(lambda iou=iou: f"IoU {iou}" in read(), f"IoU {iou} of {name}", 10)


class States:
    """One figure of ``minisam.figures.shared.states`` on the open page, as a reader with mouse or keyboard sees it."""

    def __init__(self, window: Any, root: Any) -> None:
        self.window, self.root = window, root
        window.execute_script("arguments[0].scrollIntoView({block: 'start'})", root)

    def all(self, selector: str) -> list[Any]:
        return [element for element in self.root.find_elements("css selector", selector) if element.is_displayed()]

    def seen(self) -> tuple[str, str]:
        """The words and the image that are shown."""
        shown = self.all("figure")
        assert len(shown) <= 1, "two states at once"
        if not shown:
            return "", ""
        image = shown[0].find_element("css selector", "img")
        assert image.get_attribute("alt"), "an image without words for those who do not see it"
        return shown[0].find_element("css selector", "figcaption").text, image.get_attribute("src")

    def changes(self, act: Callable[[], Any], what: str) -> str:
        """Do something; what it changed: the words, the image or both."""
        before = self.seen()
        act()
        wait_for(lambda: self.seen() != before and self.seen()[0], f"another state after {what}", 10)
        return " and ".join(n for n, a, b in zip(("words", "picture"), before, self.seen()) if a != b)

    def reveal(self) -> list[str]:
        asked = [button for button in self.all(".widget-toggle-button") if button.text.strip() == "Show me"]
        if not asked:
            assert self.seen()[0], "neither a question nor an image"
            return []
        assert not self.all("figure"), "the answer is shown before the guess"
        asked[0].click()
        wait_for(lambda: self.seen()[0], "the image after the guess", 10)
        return ["the guess, by mouse: revealed"]

    def drive(self) -> list[str]:
        """Every control by mouse and by keyboard; a line for each."""
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.keys import Keys

        lines = self.reveal()
        for box in self.all(".ms-content .widget-toggle-buttons"):
            buttons = box.find_elements("css selector", ".widget-toggle-button")
            name = box.find_element("css selector", ".widget-label").text
            others = [button for button in buttons if "mod-active" not in button.get_attribute("class")]
            if not others:
                continue
            mouse = self.changes(others[0].click, f"a click on {name}")
            back = next(b for b in buttons if b != others[0])
            keyboard = self.changes(lambda b=back: b.send_keys(Keys.ENTER), f"Enter on {name}")
            lines.append(f"{name}, {len(buttons)} buttons: mouse changed {mouse}; keyboard {keyboard}")
        for box in self.all(".ms-content .widget-slider"):
            name = box.find_element("css selector", ".widget-label").text
            handle, track = (box.find_element("css selector", s) for s in (".noUi-handle", ".noUi-target"))
            assert handle.get_attribute("aria-label") == name, f"the slider {name!r} has no name"
            wide = track.size["width"]
            goal = 0.9 if handle.location["x"] < track.location["x"] + wide / 2 else 0.1
            go = ActionChains(self.window).move_to_element_with_offset(track, round((goal - 0.5) * wide), 0).click()
            mouse = self.changes(go.perform, f"a click on the slider {name}")
            key = Keys.ARROW_LEFT if goal > 0.5 else Keys.ARROW_RIGHT
            keyboard = self.changes(lambda h=handle, k=key: h.send_keys(k), f"an arrow key on {name}")
            lines.append(f"{name}, a slider: mouse changed {mouse}; keyboard {keyboard}")
        assert len(lines) > 0
        return lines


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_figures_with_sliders(address: str, browser: Any, chapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each figure of each page, by mouse and by keyboard; prints what was tried and what changed."""
    if "figures" not in chapter.read_text() or chapter.stem == "00-click":
        pytest.skip("no figure with sliders on this page")
    browser.get(f"{address}/{chapter.stem}.html")
    figures = wait_for(lambda: browser.find_elements("css selector", ".ms-states"), "a figure with sliders")
    time.sleep(2)  # until the last of them is there
    figures = browser.find_elements("css selector", ".ms-states")
    with capsys.disabled():
        print(f"\n{chapter.stem}: {len(figures)} figures with sliders")
        for number, root in enumerate(figures, 1):
            for line in States(browser, root).drive():
                print(f"  figure {number}: {line}")
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [entry for entry in severe if "favicon" not in entry["message"]]


def test_pages_ask_no_other_host_and_raise_no_error(address: str, browser: Any, pages: Path) -> None:
    if not (book_server.LOCAL / "versions.json").is_file():
        pytest.skip("no npm here, so the pages load their scripts from a CDN")
    for page in sorted(path.name for path in pages.glob("*.html") if path.stem not in {"search", "genindex"}):
        browser.get(f"{address}/{page}")
        time.sleep(1)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if url.startswith("http") and not url.startswith(address)} == set()
    assert any(url.endswith("anywidget.js") for url in asked)
    responses = [event["params"]["response"] for event in events if event["method"] == "Network.responseReceived"]
    failed = {response["url"] for response in responses if response["status"] >= 400}
    assert failed <= {f"{address}/favicon.ico"}
    severe = [
        entry
        for entry in browser.get_log("browser")
        if entry["level"] == "SEVERE" and "favicon" not in entry["message"]
    ]
    assert not severe


def test_live_in_jupyterlab(browser: Any, tmp_path: Path) -> None:
    """``make lab``: a chapter opens as a notebook, and Python answers points, boxes and the flag."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--no-browser", f"--port={port}", "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True")
    command = [*book_server.lab_command(*options, f"--LabApp.workspaces_dir={tmp_path}"), "--log-level=ERROR"]
    with (tmp_path / "lab.log").open("w") as log:
        lab = subprocess.Popen(command, env=book_server.lab_settings(tmp_path), stdout=log, stderr=log)
    try:
        wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "JupyterLab", 90)
        browser.get(f"http://127.0.0.1:{port}/lab/tree/chapters/00-click.md")
        wait_for(lambda: browser.find_elements("css selector", ".jp-Notebook .jp-CodeCell"), "a notebook", 90)
        idle = "return document.querySelector('#jp-main-statusbar')?.innerText.includes('| Idle')"
        wait_for(lambda: browser.execute_script(idle), "a kernel", 90)
        for _ in range(2):  # the text above the figure, then the figure
            browser.execute_script("window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')")
        find = lambda selector: browser.find_element("css selector", f".ms-click {selector}")  # noqa: E731
        wait_for(lambda: browser.find_elements("css selector", ".ms-click .ms-mode[data-live='true']"), "Python", 120)
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", find(".ms-canvas"))
        wait_for(lambda: find(".ms-reveal").is_displayed(), "the question")
        browser.execute_script("arguments[0].click()", find(".ms-reveal"))
        first = wait_for(lambda: "of 3" in find(".ms-readout").text and find(".ms-readout").text, "three masks")
        canvas = find(".ms-canvas")
        ActionChains(browser).move_to_element_with_offset(canvas, 60, 40).context_click().perform()
        both = wait_for(lambda: "Background point" in find(".ms-readout").text and find(".ms-readout").text, "a point")
        assert both.startswith(first.split(".")[0])
        browser.execute_script("arguments[0].click()", find(".ms-multi"))
        wait_for(lambda: "Mask 1 of 1" in find(".ms-readout").text, "one mask with multimask_output=False")
        browser.execute_script("arguments[0].click()", find(".ms-clear"))
        drag = ActionChains(browser).key_down(Keys.SHIFT).move_to_element(canvas).click_and_hold()
        drag.move_by_offset(60, 40).release().key_up(Keys.SHIFT).perform()
        wait_for(lambda: re.search(r"Box from .* Mask 1 of 1", find(".ms-readout").text), "the mask of a box")
        assert find(".ms-status").text.startswith("Decoded in")
    finally:
        browser.save_screenshot(str(tmp_path / "lab.png"))
        lab.terminate()
        lab.wait(20)
