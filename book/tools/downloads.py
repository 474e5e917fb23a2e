"""A Sphinx extension for the textbook: each chapter's page offers the chapter as a notebook, without its outputs.

The theme's download button finds it as ``_sources/<page>.ipynb``. Where the address of the project's repository is
given, as the GitHub Pages workflow does (``MINISAM_REPOSITORY=https://github.com/owner/name``), the notebook's first
cell knows it and each chapter also has a button that opens it on Binder; without, no page names an address that may
not exist. ``book/_config.yml`` names this module among its extensions; nothing else imports it.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

from minisam_kernels.runtime.errors import InputError

ELSEWHERE = """\
# Only where this notebook lies outside of the project, such as on Colab: put in the
# address of the project's repository, then run this cell. Inside the project it does nothing.
REPOSITORY = "{repository}"

import importlib.util, pathlib, subprocess, sys

if REPOSITORY and importlib.util.find_spec("minisam") is None:
    folder = pathlib.Path("minisam-project").absolute()
    if not folder.exists():
        subprocess.run(["git", "clone", "--depth=1", REPOSITORY, folder], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", f"{{folder}}[book]"], check=True)
    sys.path[:0] = [str(folder), str(folder / "kernels")]
    %cd {{folder}}/chapters
if "google.colab" in sys.modules:  # figures that are not Colab's own
    from google.colab import output

    output.enable_custom_widget_manager()
"""


def repository(environment: Any = os.environ) -> tuple[str, str]:
    """The repository's address and its "owner/name" from ``MINISAM_REPOSITORY``; two empty texts without it."""
    address = environment.get("MINISAM_REPOSITORY", "").removesuffix("/").removesuffix(".git")
    if not address:
        return "", ""
    match = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", address)
    if match is None:
        raise InputError(f"expected MINISAM_REPOSITORY like https://github.com/owner/name, got {address!r}")
    return address, match.group(1)


def notebook(source: Path, address: str = "") -> str:
    """A chapter (MyST Markdown with a jupytext header) → the JSON of a notebook that brings its own project."""
    import jupytext
    import nbformat

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a cell may say "python" or "ipython3"; it means the same
        made = jupytext.read(source)
    cell = nbformat.v4.new_code_cell(ELSEWHERE.format(repository=address), id="elsewhere")
    made.cells.insert(0, cell)
    made.metadata.pop("jupytext", None)
    return str(nbformat.writes(made))


def _offer(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Before the theme makes its buttons: write the notebook and say where it is."""
    source = Path(app.srcdir) / f"{page}.md"
    if not source.is_file() or not source.read_text(encoding="utf-8").startswith("---\njupytext:"):
        return
    goal = Path(app.outdir) / "_sources" / f"{page}.ipynb"
    goal.parent.mkdir(exist_ok=True)
    goal.write_text(notebook(source, repository()[0]), encoding="utf-8")
    context["ipynb_source"] = goal.name


def _launch(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """After the theme made its buttons: one more that opens the chapter on Binder, if the repository is known."""
    name = repository()[1]
    if name and "ipynb_source" in context:
        address = f"https://mybinder.org/v2/gh/{name}/HEAD?urlpath=lab/tree/chapters/{page}.md"
        button = {"type": "link", "url": address, "text": "Binder", "icon": "fas fa-rocket", "label": "binder-button"}
        context["header_buttons"].append({**button, "tooltip": "Open this chapter live on Binder"})


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("html-page-context", _offer, priority=400)
    app.connect("html-page-context", _launch, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
