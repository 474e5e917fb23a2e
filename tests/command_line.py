"""Commands run in this process: their exit code and what they print."""

from __future__ import annotations

from pathlib import Path

from minisam.commands.main import main
from minisam.console import COMPILING


def run(capsys, *arguments):
    """The exit code, stdout, and stderr without the line that a machine sees whose cache of kernels is empty."""
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err.replace(f"{COMPILING}\n", "")


def refused(capsys, *arguments):
    """Run in a folder of the test's own, and check what every refusal has in common; returns the line."""
    assert not Path("pyproject.toml").exists()  # other tests write there meanwhile
    before = {path: path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()}
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == ""
    assert err.startswith("minisam: error: ") and err.count("\n") == 1 and err.endswith("\n")
    assert "expected" in err
    assert {path: path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()} == before
    return err
