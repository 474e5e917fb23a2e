"""Break the code on purpose and show that the tests notice: ``python tests/mutants.py [--slow] [op, folder, file …]``.

A test file holds a table ``MUTANTS`` of wrong versions. For each one the code is copied to a temporary folder and
changed there, and tests run against the copy, with few random examples and, should the mutant survive those, with many.

``tests/kernels/<folder>/test_<op>.py``: name → (text in ``<op>.py``, its replacement). All tests of the file run, and
the kernel is plain Python.

Any other test file: name → (path from the root, text in that file, its replacement). The name is quoted from a
docstring of the file, where it stands after "Kills:", and only tests whose docstrings quote it run; slow ones only with
``--slow``. The kernels are not copied: they are compiled, and their code comes from the cache. So does that of
``minisam/world``, except for what the change reaches.

A mutant that survives, a text that is not found, a name that no docstring quotes, or tests that fail without a mutant
are errors. So is whatever pytest cannot finish. Tests that do not end count as failed, after a time that is many times
what they need without a mutant.
"""

from __future__ import annotations

import ast
import collections
import contextlib
import gc
import importlib
import io
import math
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
KERNELS = "kernels/minisam_kernels"
LIMIT = 120  # seconds that a mutant's tests may take, or
SLOWER = 10  # times what they take without a mutant: there are more random examples, and its file is compiled anew
LONGEST = 900  # seconds that tests may take without a mutant
# What the children find imported: nothing of this project
SHARED = ("torch", "numba", "hypothesis.extra.numpy", "pytest", "scipy.ndimage", "PIL.Image", "safetensors.numpy")
SHARED += ("matplotlib.pyplot", "ipywidgets", "pycocotools.mask")
NO_END = "no end after"
UNUSED = ("cacheprovider", "cov", "xdist", "anyio")  # plugins of pytest
NO_RESULT = 70  # a child's exit code when pytest did not come to an end


class Job(NamedTuple):
    """Tests to run against a copy in which ``old`` is ``new``; without a name, against the code as it is."""

    tests: Path
    functions: tuple[str, ...]  # of the test file; none: all
    name: str = ""
    file: str = ""
    old: str = ""
    new: str = ""
    limit: int = LONGEST

    @property
    def of_kernel(self) -> bool:
        return self.tests.is_relative_to(TESTS / "kernels")

    @property
    def label(self) -> str:
        return self.tests.relative_to(TESTS).as_posix()

    @property
    def folder(self) -> str:
        return self.tests.parent.relative_to(ROOT).as_posix()


class Result(NamedTuple):
    """Did the tests pass? Where nobody can say: the wrong answer, and why."""

    passed: bool
    output: str  # the end of what they printed
    seconds: float


def table(tree: ast.Module) -> dict[str, Any] | None:
    """The literal ``MUTANTS`` of a test file, read without importing it."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and getattr(target, "id", "") == "MUTANTS":
            assert node.value is not None
            return ast.literal_eval(node.value)
    return None


def jobs_of(tests: Path, slow: bool) -> list[Job]:
    """The tests as they are, then one job per mutant; none where the file has no table and need not have one.

    Of a file that is not a kernel's, mutants that only slow tests notice are left out unless ``slow``."""
    tree = ast.parse(tests.read_text())
    mutants = table(tree)
    if tests.is_relative_to(TESTS / "kernels"):
        op = tests.stem.removeprefix("test_")
        kernel = next(ROOT.glob(f"{KERNELS}/{tests.parent.name}/{op}.py"), None)
        if kernel is None:
            return []
        if mutants is None:
            raise SystemExit(f"expected test_{op}.py to hold a table MUTANTS, found none")
        file = kernel.relative_to(ROOT).as_posix()
        return [Job(tests, ()), *(Job(tests, (), name, file, old, new) for name, (old, new) in mutants.items())]
    kills, quick = {}, set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            _, _, text = (ast.get_docstring(node) or "").partition("Kills:")
            kills[node.name] = " ".join(text.split())
            if slow or "pytest.mark.slow" not in map(ast.unparse, node.decorator_list):
                quick.add(node.name)
    jobs = []
    for name, (file, old, new) in (mutants or {}).items():
        functions = tuple(function for function, text in kills.items() if name in text)
        if not functions:
            raise SystemExit(f"expected {tests.name} to quote {name!r} after a 'Kills:', found it in no docstring")
        if quick.intersection(functions):
            jobs.append(Job(tests, tuple(f for f in functions if f in quick), name, file, old, new))
    named = tuple(dict.fromkeys(function for job in jobs for function in job.functions))
    return [Job(tests, named), *jobs] if jobs else []


def copy_with_change(job: Job, copy: Path) -> None:
    """A project of links to files of this one; only the changed file is one of its own.

    The cache goes with the copy, and compiled code is found there wherever it is what this project's would be. Of what
    is compiled anew, only the code as it is becomes part of this project's cache.
    """
    top = "kernels" if job.of_kernel else "minisam"
    for path in ROOT.iterdir():
        if path.name != top and not path.name.startswith("."):
            (copy / path.name).symlink_to(path)
    shutil.copytree(ROOT / top, copy / top, copy_function=os.symlink, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [copy / top, *(path for path in (copy / top).rglob("*") if path.is_dir())]:
        cache = ROOT / folder.relative_to(copy) / "__pycache__"
        cache.mkdir(exist_ok=True)
        if job.name:
            shutil.copytree(cache, folder / cache.name, copy_function=os.symlink)
        else:
            (folder / cache.name).symlink_to(cache)
    if job.name:
        source = (ROOT / job.file).read_text()
        if job.old not in source or Path(job.file).parts[0] != top:
            raise ValueError(f"expected {job.file} in {top} to hold {job.old!r}, which {job.name!r} replaces")
        (copy / job.file).unlink()
        (copy / job.file).write_text(source.replace(job.old, job.new))


def run(job: Job) -> Result:
    """The tests against a copy with the change; with more random examples, should it survive few."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        copy, passed, output = Path(folder) / "copy", True, ""
        copy.mkdir()
        try:
            copy_with_change(job, copy)
            for profile in ("mutants", "mutants-many") if job.name else ("mutants",):
                if passed:
                    passed, output = pytest_in_child(job, copy, profile)
        except ValueError as error:
            passed, output = bool(job.name), str(error)
    return Result(passed, output, time.perf_counter() - start)


def pytest_in_child(job: Job, copy: Path, profile: str) -> tuple[bool, str]:
    """pytest on one file, in a fork of this process: torch, numba and hypothesis are imported already, ours are not."""
    report = copy.parent / "report"
    child = os.fork()
    if child == 0:
        code = NO_RESULT
        os.setpgid(0, 0)  # a group of its own, with what the tests start
        signal.alarm(job.limit)
        with open(report, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), write_through=True)
            os.environ["HYPOTHESIS_PROFILE"] = profile
            try:
                code = pytest_here(job, copy)
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
        os._exit(code)
    try:
        _, status = os.waitpid(child, 0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        return False, f"{NO_END} {job.limit} s"
    if code not in (0, 1):
        raise ValueError(
            f"expected the tests of {job.label} to pass or fail, got exit code {code} with the mutant {job.name!r}:\n"
            f"{report.read_text()[-2000:]}"
        )
    return code == 0, report.read_text()[-2000:]


def pytest_here(job: Job, copy: Path) -> int:
    """pytest's exit code, or 3 where the tests did not see the copy."""
    import numba
    import numpy as np
    import pytest

    paths = [str((copy if job.of_kernel else ROOT) / "kernels"), str(copy)]
    sys.path[:0] = paths
    os.chdir(copy)  # where programs that the tests start look first
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)  # for programs that the tests start
    if job.of_kernel:
        os.environ["NUMBA_DISABLE_JIT"] = "1"
        numba.config.DISABLE_JIT = 1
        np.empty, np.empty_like = poisoned(np.empty), poisoned(np.empty_like)
    options = ["-x", "-q", "--no-header", "--tb=short", *(f"-pno:{name}" for name in UNUSED)]
    code = int(pytest.main([*options, *([f"{job.tests}::{f}" for f in job.functions] or [str(job.tests)])]))
    package = importlib.import_module("minisam_kernels" if job.of_kernel else "minisam")
    return code if Path(str(package.__file__)).is_relative_to(copy) else 3


def poisoned(allocate: Callable[..., Any]) -> Callable[..., Any]:
    """``allocate`` with NaN for the leftovers in memory: what a kernel forgets to write must not be right by chance."""

    def allocate_poison(*arguments: Any, **options: Any) -> Any:
        array = allocate(*arguments, **options)
        if array.dtype.kind == "f":
            array.fill(float("nan"))
        return array

    return allocate_poison


def chosen_files(words: list[str]) -> list[Path]:
    """Test files that a word names: by path, by file name without ``test_`` and ``.py``, or by folder."""
    files = sorted(TESTS.rglob("test_*.py"))
    chosen = []
    for word in words:
        name = Path(word).name.removeprefix("test_").removesuffix(".py")
        named = [f for f in files if name == f.stem.removeprefix("test_") or name in f.relative_to(TESTS).parts[:-1]]
        if not named:
            raise SystemExit(f"expected the name of a kernel, a folder or a file of tests, got {word!r}")
        chosen += named
    return list(dict.fromkeys(chosen)) if words else files


def report(jobs: list[Job], results: Iterable[Result]) -> list[tuple[Job, Result]]:
    """Print a line per job, and what its tests printed where that is wrong; return the jobs with their results."""
    done = []
    for job, result in zip(jobs, results, strict=True):
        verdict = ("SURVIVED" if result.passed else "killed") if job.name else ("passes" if result.passed else "FAILS")
        print(f"{job.label:36} {job.name or '(as it is)':60} {verdict:8} {result.seconds:5.1f} s", flush=True)
        if result.passed == bool(job.name) or result.output.startswith(NO_END):
            print(result.output)
        done.append((job, result))
    return done


def summary(mutants: list[Job], done: list[tuple[Job, Result]]) -> int:
    """Print mutants, killed ones and seconds of work for each folder and in total; return how many were killed."""
    all_mutants = collections.Counter(job.folder for job in mutants)
    killed = collections.Counter(job.folder for job, result in done if job.name and not result.passed)
    seconds = {folder: sum(result.seconds for job, result in done if job.folder == folder) for folder in all_mutants}
    print(f"\n{'folder':24} {'mutants':>8} {'killed':>8} {'seconds':>8}")
    for folder in sorted(all_mutants):
        print(f"{folder:24} {all_mutants[folder]:8} {killed[folder]:8} {seconds[folder]:8.0f}")
    print(f"{'total':24} {len(mutants):8} {killed.total():8} {sum(seconds.values()):8.0f}")
    return killed.total()


def main(words: list[str]) -> int:
    """Print a line per mutant and the counts per folder; return 1 if any survives."""
    for module in SHARED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    gc.freeze()  # or each child would look for garbage among all that is imported
    start = time.perf_counter()
    slow = "--slow" in words
    jobs = [job for file in chosen_files([word for word in words if word != "--slow"]) for job in jobs_of(file, slow)]
    unbroken, mutants = [job for job in jobs if not job.name], [job for job in jobs if job.name]
    # Not a ``multiprocessing.Pool``: its workers may not have children, which some tests start, and when one of them
    # ends, it waits for ever.
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("fork")) as pool:
        as_is = report(unbroken, pool.map(run, unbroken))  # first: it fills the kernels' cache, which the copies share
        # Of tests that fail without a mutant nobody can say what they notice.
        limits = {job.tests: max(LIMIT, SLOWER * math.ceil(result.seconds)) for job, result in as_is if result.passed}
        testable = [job._replace(limit=limits[job.tests]) for job in mutants if job.tests in limits]
        broken = report(testable, pool.map(run, testable))
    killed = summary(mutants, as_is + broken)
    failing = len(unbroken) - len(limits)
    print(f"{killed} of {len(mutants)} mutants killed in {time.perf_counter() - start:.0f} s", end="")
    print(f"; the tests of {failing} of {len(unbroken)} files fail without a mutant")
    return int(killed < len(mutants) or failing > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
