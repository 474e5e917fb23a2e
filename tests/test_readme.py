"""What the project says of itself: its Python type-checks, its tree is real, its version is the same everywhere."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import minisam

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def mypy(folder: Path, *options: str) -> list[str]:
    """The errors that mypy finds in the files of ``folder``, with the packages of this checkout beside them."""
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--cache-dir", ".mypy_cache/texts"]
    files = sorted(map(str, folder.glob("*.py")))
    assert files, "nothing to check"
    result = subprocess.run([*command, *options, *files], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode in (0, 1), result.stdout + result.stderr
    return [line for line in result.stdout.splitlines() if ": error:" in line]


@pytest.mark.slow
def test_the_snippets_of_the_readme_type_check(tmp_path: Path) -> None:
    """As one program. Kills: a list of points where the signature asks for an array."""
    snippets = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
    assert len(snippets) >= 2
    (tmp_path / "snippets.py").write_text("".join(snippets), encoding="utf-8")
    assert mypy(tmp_path, "--strict") == []


# In a notebook a name is given a new value of another type, and an exercise's answer is `...` until it is solved; mypy
# does not follow `*weights` into the arguments that come after. Checked is that every name and attribute exists.
NOTEBOOK = "assignment no-redef operator arg-type call-arg misc var-annotated index call-overload"


@pytest.mark.slow
def test_the_code_of_the_chapters_type_checks(tmp_path: Path) -> None:
    """Each chapter's cells as one program, without those of a shell. Kills: a name that has moved."""
    for path in (ROOT / "chapters").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        cells = re.findall(r"^```\{code-cell\}[^\n]*\n(?:---\n.*?^---\n|(?::[^\n]*\n)*)(.*?)^```", text, re.M | re.S)
        cells = [cell for cell in cells if not re.search(r"^\s*[%!]", cell, re.M)]
        if cells:
            name = re.sub(r"\W", "_", f"chapter_{path.stem}") + ".py"
            (tmp_path / name).write_text("\n".join(cells), encoding="utf-8")
    ignored = [f"--disable-error-code={code}" for code in NOTEBOOK.split()]
    errors = mypy(tmp_path, "--allow-redefinition-new", "--local-partial-types", *ignored)
    assert [error for error in errors if '"Dispatcher[' not in error] == [], "a compiled function has a __name__"


def tree() -> dict[str, int]:
    """The folders that README's "What is where" names, with how far each is indented."""
    block = README.split("## What is where")[1].split("```")[1]
    folders: dict[str, int] = {}
    parents: list[str] = []
    for line in block.strip("\n").splitlines():
        indent = (len(line) - len(line.lstrip())) // 2
        for name in re.findall(r"([\w/]+/)(?=\s|$)", re.split(r"\s{3,}", line.strip())[0]):
            path = "".join(parents[:indent]) + name
            folders[path.rstrip("/")] = indent
            last = name
        parents[indent:] = [last]
    return folders


def test_the_tree_is_the_real_one() -> None:
    """Every folder that the README names exists, and no room of the project or of the package is missing there."""
    named = set(tree())
    assert all((ROOT / name).is_dir() for name in named), [name for name in named if not (ROOT / name).is_dir()]
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z"]
        files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        real = {path.split("/")[0] for path in files if "/" in path and not path.startswith(".")}
        for package in ("minisam", "kernels/minisam_kernels"):
            below = (path.removeprefix(package + "/") for path in files if path.startswith(package + "/"))
            real |= {f"{package}/{path.split('/')[0]}" for path in below if "/" in path}
        assert real <= named | {"kernels"}, f"not in README: {sorted(real - named)}"


def test_the_version_stands_in_one_place() -> None:
    assert f"\nversion: {minisam.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {minisam.__version__} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def help_of(makefile: str) -> str:
    """What ``make help`` prints."""
    return "\n".join(re.findall(r"^#   (.*)$", makefile, re.M))


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.M))
    assert sorted(targets) == sorted(re.findall(r"^#   make ([a-z-]+) ", makefile, re.M))
    variables = re.findall(r"^([A-Z]+) +\?=", makefile, re.M)
    assert variables and all(f"{name}=" in help_of(makefile) for name in (*variables, "DATA")), variables
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.M)
    assert phony and sorted(phony[1].split()) == sorted(targets)


@pytest.mark.slow
def test_the_wheel_has_what_runs_and_nothing_else(tmp_path: Path) -> None:
    """Both packages, whole, with the weights and what figures load; neither tests nor the book's tools."""
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"minisam-{minisam.__version__}-py3-none-any.whl"
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    packages = {"minisam": ROOT / "minisam", "minisam_kernels": ROOT / "kernels" / "minisam_kernels"}
    files = {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in packages.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == files and {"minisam/weights/tiny.safetensors", "minisam/figures/click.js"} <= names
