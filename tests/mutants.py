"""Break every kernel on purpose and show that the tests notice: ``python tests/mutants.py [op …]``.

Each ``tests/test_<op>.py`` holds a table ``MUTANTS``: wrong version → (text in ``<op>.py``, its replacement). For each
one the kernels are copied to a temporary folder, the text is replaced there, and the op's own tests run against the
copy, uncompiled. A mutant that survives, a text that is not found, or tests that fail without a mutant are errors.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).parent
KERNELS = TESTS.parent / "kernels"


def table(op: str) -> dict[str, tuple[str, str]]:
    """The literal ``MUTANTS`` of ``tests/test_<op>.py``, read without importing it."""
    for node in ast.parse((TESTS / f"test_{op}.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "MUTANTS":
            return ast.literal_eval(node.value)
    raise SystemExit(f"expected tests/test_{op}.py to hold a table MUTANTS, found none")


def ops() -> list[str]:
    """Every kernel file that has a test file of its own."""
    return sorted(p.stem for p in KERNELS.glob("minisam_kernels/*.py") if (TESTS / f"test_{p.stem}.py").exists())


def run(op: str, change: tuple[str, str] | None) -> tuple[bool, str]:
    """Run the op's tests against a copy with ``change`` made in it. Returns (did they pass, the end of the output)."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(KERNELS, Path(folder) / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
        if change:
            path = Path(folder) / "kernels" / "minisam_kernels" / f"{op}.py"
            source = path.read_text()
            if change[0] not in source:
                raise SystemExit(f"expected {op}.py to hold {change[0]!r}, which a mutant replaces")
            path.write_text(source.replace(change[0], change[1]))
        environment = dict(
            os.environ, PYTHONPATH=str(Path(folder) / "kernels"), NUMBA_DISABLE_JIT="1", HYPOTHESIS_PROFILE="fast"
        )
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:cov",
            "--no-header",
            f"test_{op}.py",
        ]
        result = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True, timeout=600)
        return result.returncode == 0, result.stdout[-2000:]


def main(chosen: list[str]) -> int:
    """Print a line a mutant; return 1 if any survives."""
    jobs = [(op, name, change) for op in chosen or ops() for name, change in {"": None, **table(op)}.items()]
    survivors = 0
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        for (op, name, _), (passed, output) in zip(jobs, pool.map(lambda job: run(job[0], job[2]), jobs), strict=True):
            wrong = passed == bool(name)
            survivors += wrong
            verdict = (
                ("passes unbroken" if passed else "FAILS UNBROKEN") if not name else "SURVIVED" if passed else "killed"
            )
            print(f"{op:20} {name or '(as it is)':50} {verdict}", flush=True)
            if wrong and not name:
                print(output)
    print(f"{len(jobs)} runs in {time.perf_counter() - start:.0f} s, {survivors} wrong")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
