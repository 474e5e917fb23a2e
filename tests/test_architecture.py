"""Which room may import which: the contracts in pyproject.toml hold, and each of them notices the arrow it forbids."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter")
ROOT = Path(__file__).parents[1]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-logo', '--no-cache'])"


def lint(folder: Path) -> tuple[int, str]:
    """The exit code and the output of import-linter for the tree in ``folder``."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(folder / "kernels")])}
    command = [sys.executable, "-c", LINT]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
    return result.returncode, result.stdout + result.stderr


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and of their contracts."""
    folder = tmp_path_factory.mktemp("tree")
    only_python = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.js", "*.css")
    for package in ("minisam", "kernels"):
        shutil.copytree(ROOT / package, folder / package, ignore=only_python)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_contracts_hold(tree: Path) -> None:
    code, output = lint(tree)
    assert code == 0 and "0 broken" in output, output


@pytest.mark.parametrize(
    "file, line, contract",
    [
        ("minisam/model/config.py", "from minisam.predictor import SamPredictor", "Arrows go down only"),
        ("minisam/training/loop.py", "from minisam.verify import stages", "Arrows go down only"),  # the same floor
        ("minisam/new_room/__init__.py", "", "minisam.new_room"),  # a folder that no contract names
        ("minisam/transfer/points.py", "def f():\n    from minisam.commands import segment", "Arrows go down only"),
        ("kernels/minisam_kernels/masks/nms.py", "import minisam.files.atomic", "The kernels know nothing"),
        ("minisam/model/state.py", "from minisam.reports import tables", "The model imports kernels and files"),
        ("minisam/automatic/crops.py", "def f():\n    import minisam", "No room takes names from the package's root"),
        ("minisam/predictor.py", "import torch.nn.functional", "torch only in"),
        ("minisam/files/images.py", "import matplotlib.pyplot", "Plots only in"),
        ("minisam/commands/main.py", "import book.tools.server", "The book's tools nowhere, dask only in engine"),
        ("minisam/engine/worker.py", "from distributed import get_worker", "dask only in engine/cluster"),
    ],
)
def test_a_forbidden_arrow_is_named(tree: Path, file: str, line: str, contract: str) -> None:
    path = tree / file
    before = path.read_text(encoding="utf-8") if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{before or ''}\n{line}\n", encoding="utf-8")
    try:
        code, output = lint(tree)
    finally:
        if before is None:
            shutil.rmtree(path.parent)
        else:
            path.write_text(before, encoding="utf-8")
    broken = output.partition("Broken contracts")[2] or output
    assert code == 1 and contract in broken, output
