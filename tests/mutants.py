"""Break every kernel on purpose and show that the tests notice: ``python tests/mutants.py [op …]``.

Each ``test_<op>.py`` holds a table ``MUTANTS``: wrong version → (text in ``<op>.py``, its replacement). For each
one the kernels are copied to a temporary folder, the text is replaced there, and the op's own tests run against the
copy, uncompiled, with few random examples and, should a mutant survive those, with many. A mutant that survives both, a
text that is not found, or tests that fail without a mutant are errors.
"""

from __future__ import annotations

import ast
import contextlib
import io
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
KERNELS = TESTS.parent / "kernels"


def table(op: str) -> dict[str, tuple[str, str]]:
    """The literal ``MUTANTS`` of ``test_<op>.py``, read without importing it."""
    for node in ast.parse(test_file(op).read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "MUTANTS":
            return ast.literal_eval(node.value)
    raise SystemExit(f"expected test_{op}.py to hold a table MUTANTS, found none")


def kernel_file(op: str) -> Path:
    """``<folder>/<op>.py`` in ``kernels/minisam_kernels``."""
    return next(KERNELS.glob(f"minisam_kernels/*/{op}.py"))


def test_file(op: str) -> Path:
    """The tests of a kernel: the same folder below ``tests/kernels``."""
    return TESTS / "kernels" / kernel_file(op).parent.name / f"test_{op}.py"


def ops() -> list[str]:
    """Every kernel file that has a test file of its own."""
    return sorted(p.stem for p in KERNELS.glob("minisam_kernels/*/[!_]*.py") if test_file(p.stem).exists())


def run(job: tuple[str, str, tuple[str, str] | None]) -> tuple[bool, str]:
    """Run the op's tests against a copy with the change made in it: (did they pass, the end of what they printed)."""
    op, _, change = job
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(KERNELS, Path(folder) / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
        if change:
            path = Path(folder) / kernel_file(op).relative_to(TESTS.parent)
            source = path.read_text()
            if change[0] not in source:
                return True, f"expected {op}.py to hold {change[0]!r}, which this mutant replaces"
            path.write_text(source.replace(change[0], change[1]))
        output = ""
        for profile in ("mutants", "mutants-many") if change else ("mutants",):
            passed, output = pytest_in_child(op, folder, profile)
            if not passed:
                return False, output
        return True, output


TOO_LONG = 120  # seconds: a mutant whose tests take longer hangs, which is a way to be noticed


def pytest_in_child(op: str, folder: str, profile: str) -> tuple[bool, str]:
    """pytest on one file, in a fork of this process: torch, numba and hypothesis are imported already, ours are not."""
    report = Path(folder) / "report"
    child = os.fork()
    if child == 0:
        code = 1
        signal.alarm(TOO_LONG)
        with open(report, "w") as file, contextlib.suppress(BaseException):
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), write_through=True)
            os.environ["HYPOTHESIS_PROFILE"] = profile
            sys.path.insert(0, str(Path(folder) / "kernels"))
            import numpy as np
            import pytest

            np.empty, np.empty_like = poisoned(np.empty), poisoned(np.empty_like)
            options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:cov", "--no-header", "--tb=short"]
            code = int(pytest.main([*options, str(test_file(op))]))
            import minisam_kernels

            if not minisam_kernels.__file__.startswith(folder):
                code = 3  # the tests did not see the copy
        os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        return False, f"no end after {TOO_LONG} s"
    if code not in (0, 1):
        raise SystemExit(
            f"expected the tests of {op} to pass or fail, got exit code {code}:\n{report.read_text()[-2000:]}"
        )
    return code == 0, report.read_text()[-2000:]


def poisoned(allocate: Callable[..., Any]) -> Callable[..., Any]:
    """``allocate`` with NaN for the leftovers in memory: what a kernel forgets to write must not be right by chance."""

    def allocate_poison(*arguments: Any, **options: Any) -> Any:
        array = allocate(*arguments, **options)
        if array.dtype.kind == "f":
            array.fill(float("nan"))
        return array

    return allocate_poison


def main(chosen: list[str]) -> int:
    """Print a line a mutant; return 1 if any survives."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    import hypothesis  # noqa: F401
    import numba  # noqa: F401
    import pytest  # noqa: F401
    import torch

    torch.set_num_threads(1)
    jobs = [(op, name, change) for op in chosen or ops() for name, change in {"": None, **table(op)}.items()]
    wrong = 0
    start = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        for (op, name, _), (passed, output) in zip(jobs, pool.imap(run, jobs), strict=True):
            verdict = ("SURVIVED" if passed else "killed") if name else ("passes" if passed else "FAILS")
            print(f"{op:20} {name or '(as it is)':50} {verdict}", flush=True)
            if passed == bool(name):
                wrong += 1
                print(output)
    print(f"{len(jobs)} runs in {time.perf_counter() - start:.0f} s, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
