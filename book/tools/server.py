"""The textbook on this machine: build it, serve it, open its chapters as live notebooks.

``python -m book.tools.server build|read|lab`` is what ``make book``, ``make read`` and ``make lab`` run; ``minisam
read`` and ``minisam lab`` call :func:`read` and :func:`lab`. All of it needs a source checkout (the chapters are not
part of the package) and the extra ``book``.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import webbrowser
from pathlib import Path

from minisam.console import exit_code
from minisam_kernels.runtime.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
HTML = BOOK / "_build" / "html"
LOCAL = BOOK / "_static" / "local"

# npm package -> the files of it that a page needs -> their folder under _static/local
PAGE_SCRIPTS = {
    "@jupyter-widgets/html-manager@1.0.15": (("dist/embed-amd.js", "dist/*.woff2", "dist/*.woff", "dist/*.ttf"), "."),
    "requirejs@2.3.8": (("require.js",), "."),
    "mathjax@3.2.2": (
        (
            "es5/tex-mml-chtml.js",
            "es5/output/chtml/fonts/woff-v2/*",
            "es5/input/tex/extensions/*",
            "es5/sre/**/*",
            "es5/a11y/*",
        ),
        "mathjax",
    ),
}


def _need_book() -> None:
    if not (BOOK / "_config.yml").is_file():
        raise InputError(f"expected a source checkout with the folder book/ beside minisam/, got {ROOT}")
    missing = [name for name in ("jupyter_book", "jupytext", "anywidget") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"expected the extra 'book' (pip install -e '.[book]', or make read), got no {', '.join(missing)}"
        )


def from_npm(packages: dict[str, tuple[tuple[str, ...], str]], goal: Path) -> bool:
    """Copy files of npm packages into ``goal``, once: a package with its version → (patterns of files, folder).

    Returns False, and copies nothing, where npm is missing or fails.
    """
    stamp, wanted = goal / "versions.json", json.dumps({name: files for name, (files, _) in packages.items()})
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return True
    npm = shutil.which("npm")
    if npm is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [npm, "pack", "--silent", *packages],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        if done.returncode:
            return False
        shutil.rmtree(goal, ignore_errors=True)
        for (files, target), archive in zip(packages.values(), done.stdout.split(), strict=True):
            unpacked = Path(folder) / "unpacked" / archive
            with tarfile.open(Path(folder) / archive) as tar:
                tar.extractall(unpacked, filter="data")
            for pattern in files:
                base = unpacked / "package" / pattern.split("/")[0] if "/" in pattern else unpacked / "package"
                for source in (unpacked / "package").glob(pattern):
                    if source.is_file():
                        copy = goal / target / source.relative_to(base)
                        copy.parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(source, copy)
    stamp.write_text(wanted, encoding="utf-8")
    return True


def fetch_page_scripts() -> bool:
    """Copy the scripts that a page needs from npm into ``book/_static/local``, once; False if npm fails."""
    if not from_npm(PAGE_SCRIPTS, LOCAL):
        return False
    anywidget = importlib.util.find_spec("anywidget")
    assert anywidget is not None and anywidget.origin is not None
    shutil.copyfile(Path(anywidget.origin).parent / "nbextension" / "index.js", LOCAL / "anywidget.js")
    return True


def _source_hash() -> str:
    """A hash of what a chapter's output depends on; the cache of executed chapters knows only their own cells."""
    digest = hashlib.sha256()
    for folder in (ROOT / "kernels", ROOT / "minisam"):
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".py", ".js", ".css", ".safetensors"}:
                digest.update(path.relative_to(ROOT).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _config(offline: bool) -> str:
    """``book/_config.yml``, with the page scripts of ``_static/local`` in place of the CDN's if there are any."""
    import yaml  # comes with jupyter-book

    config = yaml.safe_load((BOOK / "_config.yml").read_text(encoding="utf-8"))
    if offline:
        scripts: dict[str, dict[str, str]] = {"local/require.js": {}, "widgets-local.js": {}, "local/embed-amd.js": {}}
        config["sphinx"]["config"] |= {"mathjax_path": "local/mathjax/tex-mml-chtml.js", "nb_ipywidgets_js": scripts}
    return yaml.safe_dump(config, sort_keys=False)


def build(clean: bool = False) -> int:
    """Build the textbook into ``book/_build/html``; warnings and failing cells are errors. Returns the exit code."""
    _need_book()
    start = time.perf_counter()
    stamp, current = BOOK / "_build" / "source-hash", _source_hash()
    if clean or not stamp.is_file() or stamp.read_text(encoding="utf-8") != current:
        shutil.rmtree(BOOK / "_build", ignore_errors=True)
    print("Page scripts (widgets, formulas): ", end="", flush=True)
    offline = fetch_page_scripts()
    if offline:
        print("local copies, the pages work offline")
    else:
        print("npm is missing or failed, so the pages load them from a CDN: figures and formulas need a network")
    print("Running the chapters and writing the pages; the first time takes a few minutes ...", flush=True)
    log, config = BOOK / "_build" / "build.log", BOOK / "_build" / "_config.yml"
    log.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(_config(offline), encoding="utf-8")
    command = [
        sys.executable,
        "-c",
        "from jupyter_book.cli.main import main; main()",
        "build",
        str(ROOT / "chapters"),
        "-W",
        "--keep-going",
    ]
    command += ["--config", str(config), "--toc", str(BOOK / "_toc.yml"), "--path-output", str(BOOK)]
    with log.open("w") as out:
        code = subprocess.run(
            command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, env=_environment(), check=False
        ).returncode
    if code:
        print(_why(log.read_text(encoding="utf-8")), file=sys.stderr)
        print(
            "minisam: error: the textbook did not build; the log is above and in book/_build/build.log", file=sys.stderr
        )
        return code
    for source_map in HTML.rglob("*.map"):  # 3 MB that only the theme's authors read
        source_map.unlink()
    stamp.write_text(current, encoding="utf-8")
    print(f"The textbook is in book/_build/html ({time.perf_counter() - start:.0f} s)")
    return 0


def _why(log: str) -> str:
    """What went wrong in a build: its warnings and the failing cell with its traceback."""
    log = re.sub(r"\x1b\[[0-9;]*m", "", log)
    cell = re.search(r"An error occurred while executing the following cell:.*?(?=\n\nThe above|\Z)", log, re.DOTALL)
    warnings = [line for line in log.splitlines() if "WARNING" in line or "ERROR" in line]
    return "\n".join([*warnings, cell.group()]) if cell else "\n".join(warnings) or log[-4000:]


def _environment() -> dict[str, str]:
    """For a process that runs chapters: this environment's programs first, figures that work without Python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "MINISAM_STATIC_PAGE": "1"}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing for each request."""


def server(port: int = 8000) -> http.server.ThreadingHTTPServer:
    """A server of the built pages on 127.0.0.1; the next free port if ``port`` is taken, any free one if it is 0."""
    handler = functools.partial(_Quiet, directory=str(HTML))
    for candidate in range(port, min(port + 20, 65536)) if port else (0,):
        try:
            return http.server.ThreadingHTTPServer(("127.0.0.1", candidate), handler)
        except OSError:
            continue
    raise InputError(f"expected a free port from {port} to {port + 19}, got none")


def read(port: int = 8000, open_browser: bool = True) -> int:
    """Build the textbook if need be, serve it on 127.0.0.1, open it. Runs until Ctrl-C; returns the exit code."""
    code = build()
    if code:
        return code
    with server(port) as pages:
        address = f"http://127.0.0.1:{pages.server_address[1]}/00-click.html"
        print(
            f"\nThe textbook is at {address}\nIts pages need no Python. Live notebooks: make lab. Ctrl-C stops.",
            flush=True,
        )
        screen = sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
        if open_browser and screen:  # without one, a browser for the terminal would sit in front of the server
            webbrowser.open(address)
        try:
            pages.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def lab_settings(folder: Path) -> dict[str, str]:
    """Environment variables with which JupyterLab opens chapters as notebooks; the settings go into ``folder``."""
    settings = folder / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    viewers = {"defaultViewers": {"markdown": "Jupytext Notebook", "myst": "Jupytext Notebook"}}
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    extension = "@jupyterlab/{}-extension:{}".format
    overrides = {extension("docmanager", "plugin"): viewers, extension("apputils", "notification"): quiet}
    settings.write_text(json.dumps(overrides), encoding="utf-8")
    paths = [str(folder), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    environment = {**_environment(), "JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}
    del environment["MINISAM_STATIC_PAGE"]
    return environment


def lab_command(*options: str) -> list[str]:
    """The command that starts JupyterLab on this machine with chapter 0 open."""
    chapter = str(ROOT / "chapters" / "00-click.md")
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container; Jupyter asks to be told so
        options = ("--allow-root", *options)
    return [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", f"--notebook-dir={ROOT}", *options, chapter]


def lab() -> int:
    """Open the chapters in JupyterLab. Runs until Ctrl-C; returns the exit code."""
    _need_book()
    print(
        "JupyterLab opens chapter 0 as a notebook; run its cells from the top (Shift+Enter). Ctrl-C stops.", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        try:
            return subprocess.run(lab_command(), env=lab_settings(Path(folder)), check=False).returncode
        except KeyboardInterrupt:
            return 0


def main(argv: list[str] | None = None) -> int:
    """``python -m book.tools.server build|read|lab``."""
    parser = argparse.ArgumentParser(
        prog="python -m book.tools.server", description="Build, serve or open the textbook."
    )
    parser.add_argument("what", choices=["build", "read", "lab"])
    parser.add_argument("--clean", action="store_true", help="build: run every chapter again")
    parser.add_argument("--port", type=int, default=8000, help="read: the first port to try (default 8000)")
    parser.add_argument("--no-browser", action="store_true", help="read: only print the address")
    chosen = parser.parse_args(argv)
    if chosen.what == "build":
        return exit_code(lambda: build(clean=chosen.clean))
    return exit_code(lambda: read(chosen.port, not chosen.no_browser) if chosen.what == "read" else lab())


if __name__ == "__main__":
    sys.exit(main())
