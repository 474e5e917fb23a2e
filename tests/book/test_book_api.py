"""The API page: no kernel and no public name is missing."""

from __future__ import annotations

import re
from pathlib import Path

import minisam

ROOT = Path(minisam.__file__).parents[1]


def test_every_kernel_and_public_name_is_on_the_page() -> None:
    """A kernel's file is one with a NumPy version to read; what kernels share, and files of loops, need no place."""
    page, folder = (ROOT / "chapters" / "api.md").read_text(), ROOT / "kernels" / "minisam_kernels"
    files = {".".join(path.relative_to(folder).with_suffix("").parts): path for path in folder.glob("*/[!_]*.py")}
    kernels = {name for name, path in files.items() if re.search(r"^def \w+_numpy\(", path.read_text(), re.MULTILINE)}
    modules = re.findall(r"automodule:: minisam_kernels\.(\S+)", page)
    assert len(modules) == len(set(modules)) and kernels <= set(modules) <= set(files)
    named = set(re.findall(r"(?:auto(?:function|class|exception)|py:data):: (\w+)$", page, re.MULTILINE))
    assert named == set(minisam.__all__) - {"CONFIGS"}
