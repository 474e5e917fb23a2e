"""The chapters elsewhere: as notebooks to download, on Binder and Colab, published by a workflow, as a PDF."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from book_pages import need_browser

from book.tools import pdf as book_pdf
from book.tools import server as book_server
from book.tools.downloads import _launch, notebook, repository
from minisam_kernels.runtime.errors import InputError

pytest.importorskip("jupytext")
ROOT = book_server.ROOT
CHAPTERS = [*sorted((ROOT / "chapters").glob("[0-9][0-9]-*.md")), ROOT / "chapters" / "ablations.md"]
ADDRESS = "https://github.com/owner/name"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_a_chapter_becomes_a_notebook(chapter: Path) -> None:
    """Kills: cells lost on the way, outputs that travel along, a notebook that nbformat does not take."""
    import nbformat

    book = nbformat.reads(notebook(chapter), as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert len(code) == chapter.read_text().count("```{code-cell}") + 1
    assert not any(cell.outputs for cell in code)
    assert book.metadata.kernelspec.name == "python3"


def test_the_first_cell_does_nothing_inside_the_project_and_installs_it_elsewhere() -> None:
    """Kills: a first cell that no Python reads, that fetches without an address, or that forgets to install."""
    from IPython.core.inputtransformer2 import TransformerManager

    cells = [json.loads(notebook(CHAPTERS[0], address))["cells"][0]["source"] for address in ("", ADDRESS)]
    inside, elsewhere = (TransformerManager().transform_cell("".join(cell)) for cell in cells)
    ran: list[Any] = []
    fake = f"import subprocess\nsubprocess.run = lambda command, check: ran.append(command)\n{elsewhere}"
    fake = fake.replace('importlib.util.find_spec("minisam")', "None")
    before, path = os.getcwd(), list(sys.path)
    run = subprocess.run
    try:
        exec(compile(inside, "<first cell>", "exec"), {"get_ipython": None})
        assert sys.path == path
        shell = SimpleNamespace(run_line_magic=lambda name, line: ran.append((name, line)))
        exec(compile(fake, "<first cell>", "exec"), {"get_ipython": lambda: shell, "ran": ran})
    finally:
        subprocess.run, sys.path[:] = run, path
    folder = str(Path(before) / "minisam-project")
    assert [str(part) for part in ran[0]] == ["git", "clone", "--depth=1", ADDRESS, folder]
    assert ran[1][-2:] == ["-e", f"{folder}[book]"]
    assert ran[2][0] == "cd"


def test_the_repository_is_named_or_not() -> None:
    assert repository({}) == ("", "")
    assert repository({"MINISAM_REPOSITORY": f"{ADDRESS}.git"}) == (ADDRESS, "owner/name")
    for wrong in ("github.com/owner/name", "https://github.com/owner", f"{ADDRESS}/tree/main"):
        with pytest.raises(InputError, match="expected MINISAM_REPOSITORY like"):
            repository({"MINISAM_REPOSITORY": wrong})


def test_a_page_has_a_binder_button_only_if_the_repository_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def buttons(**context: Any) -> list[dict[str, str]]:
        context["header_buttons"] = []
        _launch(None, "00-click", "page.html", context, None)
        return context["header_buttons"]

    monkeypatch.delenv("MINISAM_REPOSITORY", raising=False)
    assert buttons(ipynb_source="00-click.ipynb") == []
    monkeypatch.setenv("MINISAM_REPOSITORY", ADDRESS)
    assert buttons() == [], "a page that is no notebook"
    (button,) = buttons(ipynb_source="00-click.ipynb")
    assert button["url"] == "https://mybinder.org/v2/gh/owner/name/HEAD?urlpath=lab/tree/chapters/00-click.md"


def test_workflow_and_binder_name_what_there_is() -> None:
    """They cannot be run here; what they call must exist."""
    import yaml

    flow = yaml.safe_load((ROOT / ".github/workflows/pages.yml").read_text())
    steps = [step for job in flow["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert commands and {command.split()[1] for command in commands} <= set(targets)
    paths = {step["with"]["path"] for step in steps if "path" in step.get("with", {})}
    assert paths == {path.relative_to(ROOT).as_posix() for path in (book_pdf.PDF, book_server.HTML)}

    script = ROOT / "binder" / "postBuild"
    assert os.access(script, os.X_OK)
    called = [line.split()[0] for line in script.read_text().splitlines() if line and not line.startswith(("#", "set"))]
    for program in called:
        assert (Path(sys.executable).parent / program).is_file(), program
    assert "-e .[book]" in (ROOT / "binder" / "requirements.txt").read_text().splitlines()


def test_the_pdf_has_the_pages_of_the_table_of_contents_in_order() -> None:
    names = book_pdf.page_names()
    assert names[:2] == ["index", "00-click"] and names[-1] == "bibliography"
    assert set(names) == {path.stem for path in (ROOT / "chapters").glob("*.md")} - {"genindex"}


def test_headings_become_bookmarks() -> None:
    page = '<h1>no link</h1><h1>A &amp; <em>B</em><a class="headerlink" href="#a-b" title="x">#</a></h1><h3>C</h3>'
    page += '<h2>D<a class="headerlink" href="#d">#</a></h2>'
    assert book_pdf.headings(page) == [(1, "A & B", "a-b"), (2, "D", "d")]


def test_two_small_pages_as_one_pdf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kills: printing before the page's title says that its figures are there; links that still lead to the server."""
    from pypdf import PdfReader

    need_browser()
    monkeypatch.setattr(book_server, "HTML", tmp_path)
    head, script = "<meta charset=utf-8>", "document.body.append(location.search); document.title = 'ready'"
    for name, other in ("ab", "ba"):
        heading = f'<h1>Page {name}<a class="headerlink" href="#top">#</a></h1><a href="{other}.html">next</a>'
        late = f"<script>setTimeout(() => {{ {script} }}, 500)</script>"
        (tmp_path / f"{name}.html").write_text(f"{head}<title>{name}{book_pdf.UNFINISHED}</title>{heading}{late}")
    assert book_pdf.book_pdf(["a", "b"], tmp_path / "two.pdf") == 2
    book = PdfReader(tmp_path / "two.pdf")
    for number, page in enumerate(book.pages, 1):
        assert f"?print={number}" in page.extract_text()
        links = [link.get_object() for link in page["/Annots"]]
        assert [link["/Dest"][0].get_object() for link in links if "/A" not in link][-1] == book.pages[2 - number]
        assert not [link for link in links if "127.0.0.1" in str(link.get("/A", ""))]
    assert [(item.title, book.get_destination_page_number(item)) for item in book.outline] == [
        ("Page a", 0),
        ("Page b", 1),
    ]


def test_pdf_of_unknown_pages_or_without_a_browser(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    monkeypatch.setattr(book_server, "HTML", tmp_path)
    with pytest.raises(InputError, match=r"expected names of pages in .*, got no-such-page"):
        book_pdf.book_pdf(["no-such-page"], tmp_path / "x.pdf")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert book_pdf.main(["no-such-page"]) == 2
    assert capsys.readouterr().err.startswith("minisam: error: expected a browser that prints")
