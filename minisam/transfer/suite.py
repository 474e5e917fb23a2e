"""All tasks in one go: every job in a process of its own, a report that grows with each, and resuming from it.

The report is ``suite.json``, written whole or not at all after every job, and ``suite.md``, made from it. A job has a
process of its own, so that its wall time and its peak memory are its own, and so that one that fails, or that the
system ends, costs a line of the report and not the others' results.

A job whose result is in the report is not run again while what it was made from is the same: its command, the code of
the packages, the weights and other files of the project that it read (noted while it runs), and the folder of real sets
if it read there.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import multiprocessing
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import minisam_kernels
from minisam.console import compilation, explain, progress, terminated_by_exception
from minisam.files.atomic import make_folder, write_text
from minisam.reports.environment import ROOT, commit, environment, peak_bytes
from minisam.reports.tables import gigabytes, machine, seconds
from minisam.transfer.report import Job, Table, markdown
from minisam_kernels.runtime.errors import InputError

NAME = "suite"  # of the report's two files
PACKAGES = (ROOT / "minisam", Path(minisam_kernels.__file__).resolve().parent)
ABOVE = ("figures", "exercises", "commands", "engine", "benchmark", "verify", "export")  # rooms that no job imports
KEPT = (*PACKAGES, ROOT / "benchmarks" / "transfer" / "models")  # what is read here is noted, file by file

DONE = {"tables", "seconds", "compiling", "peak_bytes", "commit", "inputs"}  # what is read of a job with a result
Entry = dict[str, Any]  # of one job: its command and either tables, times, memory and inputs, or why it failed
Jobs = Callable[[], Sequence[Job]]  # called again in every process: it and what it holds must be picklable


# ---- what a job was made from ------------------------------------------------------------------------------


def digest(path: Path) -> str:
    """SHA-256 of a file or of a folder with all below it, 16 digits of it; empty if it is not there."""
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        names = "".join(f"{file.relative_to(path).as_posix()} {digest(file)}\n" for file in files)
        return hashlib.sha256(names.encode()).hexdigest()[:16]
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


@functools.cache
def code() -> str:
    """One digest of every module that a job may import."""
    modules = [file for package in PACKAGES for file in sorted(package.rglob("*.py"))]
    below = [file for file in modules if not any(file.is_relative_to(PACKAGES[0] / room) for room in ABOVE)]
    return hashlib.sha256("".join(map(digest, below)).encode()).hexdigest()[:16]


@contextmanager
def files_read() -> Iterator[set[Path]]:
    """The files that this process opens for reading from now on. It cannot be undone: the process should end soon."""
    paths: set[Path] = set()

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and not isinstance(arguments[0], int) and not (arguments[2] or 0) & os.O_WRONLY:
            paths.add(Path(os.fsdecode(arguments[0])))

    sys.addaudithook(hear)
    yield paths


def inputs(paths: set[Path], real: Path | None) -> dict[str, str]:
    """Name → digest: "code"; of ``paths`` those of the project that are no code; the real sets if any is among them."""
    known = {"code": code()}
    for path in sorted({path.resolve() for path in paths}):
        if any(path.is_relative_to(folder) for folder in KEPT) and path.is_file() and "__pycache__" not in path.parts:
            if path.suffix != ".py":
                known[path.relative_to(ROOT).as_posix()] = digest(path)
        elif real is not None and path.is_relative_to(real.resolve()):
            known["real"] = ""
    return known | ({"real": digest(real)} if real is not None and "real" in known else {})


def fresh(entry: Entry | None, job: Job, real: Path | None) -> bool:
    """Whether the report's entry is what the job would give again."""
    if entry is None or "tables" not in entry or entry["command"] != job.command:
        return False
    now = {"code": code(), "real": digest(real) if real is not None else ""}
    return all(known == (now[name] if name in now else digest(ROOT / name)) for name, known in entry["inputs"].items())


# ---- in the job's process ----------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A cell as JSON has it: NumPy's numbers become Python's, what is not finite becomes None."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    raise InputError(f"expected cells of text and numbers, got {type(value).__name__}")


def described(table: Table) -> Entry:
    """A table as JSON has it."""
    for row in table.rows:
        if len(row) != len(table.columns):
            raise InputError(f"expected rows of {len(table.columns)} cells in {table.title!r}, got {len(row)}")
    return asdict(table) | {"rows": [[plain(value) for value in row] for row in table.rows]}


def work(jobs: Jobs, name: str, real: Path | None, log: Path, sender: Connection) -> None:
    """Run one job and send its entry; what it prints goes to ``log``, which stays if the job fails."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the other end decides
    entry: Entry = {}
    with open(log, "w", encoding="utf-8") as out, redirect_stdout(out), redirect_stderr(out):
        start, processor = time.perf_counter(), time.process_time()
        try:
            with files_read() as paths, progress() as bar, compilation(bar) as compiled, terminated_by_exception():
                job = next(job for job in jobs() if job.name == name)
                tables = [described(table) for table in job.run()]
            entry = {
                "tables": tables,
                "seconds": time.perf_counter() - start,
                "compiling": compiled.seconds,
                "processor_seconds": time.process_time() - processor,
                "peak_bytes": peak_bytes(),
                "commit": commit(),
                "inputs": inputs(paths, real),
            }
        except Exception as error:
            traceback.print_exc()
            entry = {"failed": explain(error)[1]}
        finally:
            if "failed" not in entry:
                log.unlink()
    sender.send(entry)


# ---- in the process that is told what to run ---------------------------------------------------------------


def chosen(jobs: Sequence[Job], only: Sequence[str]) -> list[Job]:
    """The jobs whose name begins with one of ``only``, all without."""
    names = [job.name for job in jobs]
    if len(set(names)) < len(names):
        raise ValueError(f"two jobs have one name: {sorted({name for name in names if names.count(name) > 1})}")
    for start in only:
        if not any(name.startswith(start) for name in names):
            raise InputError(f"expected the beginning of a job's name ({', '.join(names)}), got {start!r}")
    return [job for job in jobs if not only or job.name.startswith(tuple(only))]


def read(path: Path) -> Entry:
    """A report, or an empty one if there is none."""
    if not path.exists():
        return {"jobs": {}}
    try:
        report: Entry = json.loads(path.read_text(encoding="utf-8"))
        if all("command" in entry and ("failed" in entry or entry.keys() >= DONE) for entry in report["jobs"].values()):
            return report
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise InputError(f"expected a report of minisam transfer suite, got {path}")


def page(report: Entry) -> str:
    """The report as Markdown: what ran, then every table under the command that repeats it."""
    entries = report["jobs"]
    lines = ["# Zero-shot transfer", "", f"On {machine(report['environment'])}.", ""]
    lines += ["| job | took | of this, compiling | peak memory | commit |", "| --- | ---: | ---: | ---: | --- |"]
    for name, entry in entries.items():
        if "failed" in entry:
            lines.append(f"| {name} | failed | | | |")
        else:
            took, compiling = seconds(entry["seconds"]), seconds(entry["compiling"]) if entry["compiling"] else "–"
            memory = gigabytes(entry["peak_bytes"])
            lines.append(f"| {name} | {took} | {compiling} | {memory} | {entry['commit'] or '–'} |")
    for name, entry in entries.items():
        lines += ["", f"## {name}", "", f"    {entry['command']}"]
        if "failed" in entry:
            lines += ["", f"Failed: {entry['failed']}"]
        for table in entry.get("tables", []):
            lines += ["", markdown(Table(**table))]
    return "\n".join(lines) + "\n"


def write(report: Entry, folder: Path) -> None:
    """Write both files."""
    write_text(folder / f"{NAME}.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / f"{NAME}.md", page(report))


@contextmanager
def _threads(processes: int) -> Iterator[None]:
    """Inside, new processes share the cores: minisam's pool of threads has its part of them, BLAS one thread."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = {"MINISAM_THREADS": str(max(1, cores // processes)), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in share}
    os.environ.update({name: value for name, value in share.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def suite(
    jobs: Jobs,
    folder: Path,
    only: Sequence[str] = (),
    processes: int = 1,
    again: bool = False,
    real: Path | None = None,
) -> int:
    """Run the jobs that are not in the folder's report yet; how many failed.

    Parameters
    ----------
    jobs : callable
        Returns the jobs; picklable, because every process calls it and takes the one that it is for.
    folder : Path
        Of the report. A job that fails leaves its log there.
    only : sequence of str
        Only jobs whose names begin with one of these. The others' results stay in the report.
    processes : int
        Jobs at a time.
    again : bool
        Run jobs that are done already, too.
    real : Path, optional
        The folder of real sets: what is in it counts as an input of the jobs that read there.

    Raises
    ------
    InputError
        Where ``only`` names no job, the folder cannot be written, or its report is something else.
    """
    listed = list(jobs())
    asked = chosen(listed, only)
    make_folder(folder)
    entries: dict[str, Entry] = read(folder / f"{NAME}.json")["jobs"]
    waiting = [job for job in asked if again or not fresh(entries.get(job.name), job, real)]
    if done := len(asked) - len(waiting):
        print(f"{done} of {len(asked)} jobs are in {folder / NAME}.json already (--again runs them anew)")
    order = {job.name: number for number, job in enumerate(listed)}
    failed = 0
    with progress(total=len(waiting), unit="job", desc=NAME) as bar, _threads(processes):
        for job, entry in _run(jobs, waiting, processes, real, folder, bar.set_postfix_str):
            entries[job.name] = {"command": job.command, **entry}
            ordered = {name: entries[name] for name in sorted(entries, key=lambda name: order.get(name, len(order)))}
            write({"environment": environment(), "jobs": ordered}, folder)
            failed += "failed" in entry
            took = f"failed: {entry['failed']}" if "failed" in entry else seconds(entry["seconds"])
            bar.write(f"{job.name}: {took}", file=sys.stdout)
            bar.update()
    return failed


def _run(
    jobs: Jobs,
    waiting: Sequence[Job],
    processes: int,
    real: Path | None,
    folder: Path,
    tell: Callable[[str], object],
) -> Iterator[tuple[Job, Entry]]:
    """Run jobs, ``processes`` at a time; yield each with its entry as it is done. Leaving early ends the processes."""
    context = multiprocessing.get_context("spawn")  # a fork would begin with this process's memory and threads
    todo = list(waiting)
    running: dict[Any, tuple[Job, Any]] = {}  # the end that receives → the job and its process
    try:
        while todo or running:
            while todo and len(running) < processes:
                job = todo.pop(0)
                receiver, sender = context.Pipe(duplex=False)
                log = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', job.name)}.log"
                process = context.Process(target=work, args=(jobs, job.name, real, log, sender))
                process.start()
                sender.close()  # the child's end alone is open now, so that its death is heard
                running[receiver] = job, process
            tell(", ".join(job.name for job, _ in running.values()))
            ready: Any
            for ready in wait(list(running)):
                job, process = running.pop(ready)
                try:
                    entry = ready.recv()
                except EOFError:
                    process.join()
                    entry = {"failed": _last_words(process.exitcode)}
                process.join()
                yield job, entry
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _last_words(code: int | None) -> str:
    if code == -9:
        return "the system ended the process, most likely for want of memory"
    return f"the process ended with code {code}"
