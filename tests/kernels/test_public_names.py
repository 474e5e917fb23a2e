"""The names that ``minisam_kernels`` lends from its files."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import minisam_kernels

PACKAGE = Path(minisam_kernels.__file__).parent
OPERATIONS = [name for name in minisam_kernels.__all__ if name not in ("InputError", "rle")]


def test_every_operation_is_public() -> None:
    """A file that holds a function of its own name is an operation. Kills: a new kernel that the table forgets."""
    folders = ("layers", "attn", "losses", "decoder", "masks")
    files = [path for folder in folders for path in (PACKAGE / folder).glob("[!_]*.py")]
    defined = {path.stem for path in files if f"\ndef {path.stem}(" in path.read_text()}
    private = {"window_pieces"}  # the plan of another operation
    assert len(defined) > 25 and defined - private <= set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_name_is_the_function_itself(name: str) -> None:
    """Kills: a module for its function, a table that names the wrong file."""
    function = getattr(minisam_kernels, name)
    assert function.__name__ == name
    home = import_module(function.__module__)
    assert function.__module__.startswith("minisam_kernels.") and getattr(home, name) is function
    for more in (f"{name}_numpy", f"{name}_backward"):
        assert getattr(minisam_kernels, more, None) is getattr(home, more, None)


def test_run_lengths_are_a_module() -> None:
    from minisam_kernels import rle, rle_numpy

    assert rle.rle_numpy is rle_numpy and callable(rle.encode) and callable(rle.decode)


def test_editors_see_the_same_names() -> None:
    """Kills: an import for type checkers that the table does not have, or the other way round."""
    block = next(node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    operations = {name: getattr(minisam_kernels, name) for name in seen}
    assert {name for name in seen if not name.endswith("_backward")} == {*OPERATIONS, "rle"}
    assert all(seen[name] == operations[name].__module__ for name in seen if name != "rle")


def test_an_unknown_name_is_an_attribute_error() -> None:
    for name in ("no_such_operation", "gelu_backward"):
        with pytest.raises(AttributeError, match=name):
            getattr(minisam_kernels, name)
    assert {"attention", "InputError", "rle"} <= set(dir(minisam_kernels))


def test_importing_the_package_does_not_import_numba() -> None:
    code = "import sys, minisam_kernels; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
