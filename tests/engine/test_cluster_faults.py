"""Real processes that are killed: workers, the client, the scheduler; a disk that is full; poison.

Each test fills a store with ``toy_pictures.annotate`` in place of the model, and compares it with the store of a run in
which nothing happened, file by file and byte by byte.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import toy_pictures as toy
from minisam.engine import worker
from minisam.engine.annotation import Result, annotate_folder
from minisam.engine.store import Store, find_pictures
from minisam.engine.worker import Recipe
from waiting import wait_for

pytest.importorskip("distributed")
from minisam.engine import cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL"),
]
NAMES = [f"{'slow' if number % 2 else 'sub/slow'}{number:02}" for number in range(24)]
PATIENCE = 600.0  # seconds, on a machine with other work


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``in`` of pictures, the store ``undisturbed/out``, and workers that run the stand-in."""
    folder = toy.folder_of(tmp_path / "in", NAMES)
    monkeypatch.setattr(worker, "annotate", toy.annotate)
    monkeypatch.setattr(cluster, "annotate", toy.annotate)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    (tmp_path / "undisturbed").mkdir()
    (tmp_path / "run").mkdir()
    result = annotate_folder(toy.recipe_of(folder, tmp_path / "undisturbed" / "out"))
    assert result.whole
    return tmp_path


def recipe_of(place: Path) -> Recipe:
    return toy.recipe_of(place / "in", place / "run" / "out")


def files(out: Path) -> dict[str, bytes]:
    """Everything in a store but the manifest, whatever its name is."""
    found = (path for path in sorted(out.rglob("*")) if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def same(place: Path) -> bool:
    """Whether the store is the undisturbed run's: every picture one whole file, and nothing else."""
    return files(place / "run" / "out") == files(place / "undisturbed" / "out")


def latest(place: Path, known: set[int]) -> int | None:
    """The process of the latest attempt, if it is not known."""
    notes = sorted((place / "run" / "attempts").glob("*"), key=lambda path: path.stat().st_mtime_ns)
    process = int(notes[-1].name.rsplit("-", 2)[1]) if notes else None
    return None if process in known else process


@contextmanager
def meanwhile(work: Callable[[threading.Event], object]) -> Iterator[None]:
    """Run ``work`` beside, until the block ends."""
    over, errors = threading.Event(), []

    def run() -> None:
        try:
            work(over)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not errors, errors


def kill(place: Path, times: int, pause: Callable[[], float], over: threading.Event, killed: set[int]) -> None:
    """Kill the worker that began the latest picture, so many times, with pauses."""
    while len(killed) < times and not over.is_set():
        process = latest(place, killed)
        if process is None:
            time.sleep(0.05)
            continue
        os.kill(process, signal.SIGKILL)
        killed.add(process)
        over.wait(pause())


@pytest.mark.parametrize("pause", [0.0, 15.0])
def test_a_worker_is_killed_twice(place: Path, pause: float) -> None:
    """At once, and 15 s apart. At most the pictures that were with a dead worker are begun again."""
    killed: set[int] = set()
    with meanwhile(lambda over: kill(place, 2, lambda: pause, over, killed)):
        result = annotate_folder(recipe_of(place), workers=2)
    assert (result.done, result.masks, result.failed, result.stopped) == (len(NAMES), len(NAMES), {}, "")
    assert same(place) and 1 <= len(killed) <= 2
    again = sum(map(len, toy.attempts(place / "run" / "out").values())) - len(NAMES)
    assert again <= len(killed) * cluster.IN_FLIGHT


def test_twenty_kills_at_random_moments(place: Path) -> None:
    rng, killed = random.Random(0), set[int]()
    with meanwhile(lambda over: kill(place, 20, lambda: rng.uniform(0, 3), over, killed)):
        result = annotate_folder(recipe_of(place), workers=2)
    assert not result.stopped and result.done + len(result.failed) == len(NAMES)
    # The first blame may be for waiting beside another picture; each one after it took a worker.
    assert len(result.failed) * (cluster.DEATHS - 1) <= len(killed)
    result = annotate_folder(recipe_of(place), workers=1, again=True)
    assert result.whole and same(place)


def test_poison(place: Path) -> None:
    """It is a failure after four workers, and the others are as if it was not there."""
    toy.folder_of(place / "in", ["sub/poison"])
    result = annotate_folder(recipe_of(place), workers=2)
    assert list(result.failed) == ["sub/poison.png"] and result.done == len(NAMES) and not result.stopped
    assert "4 workers that died with it" in result.failed["sub/poison.png"]
    assert len(toy.attempts(place / "run" / "out")["sub/poison"]) == cluster.DEATHS
    os.unlink(place / "run" / "out" / "failed.jsonl")
    assert same(place)


PROGRAM = """
import sys
import toy_pictures as toy
from minisam.engine import cluster
from minisam.engine.annotation import annotate_folder
if __name__ == "__main__":
    cluster.annotate = toy.annotate
    result = annotate_folder(toy.recipe_of(*sys.argv[1:3]), workers=2)
    sys.exit(0 if result.whole else 3)
"""


def alive(process: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_the_client_is_killed_and_begun_again(place: Path) -> None:
    """Its workers end with it, what is whole stays, and the second run does the rest. A third one has nothing to do."""
    program = place / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(place / "in"), str(place / "run" / "out")]
    first = subprocess.Popen(command)
    store = Store(place / "run" / "out")

    def done() -> int:
        return sum(store.has(picture.name) for picture in find_pictures(place / "in"))

    wait_for(lambda: done() >= 4 or first.poll() is not None, "four pictures", PATIENCE)
    first.kill()
    first.wait()
    workers = {process for each in toy.attempts(store.folder).values() for process in each}
    wait_for(lambda: not any(map(alive, workers)), "the workers to end", 60)
    before = done()
    assert 4 <= before < len(NAMES)
    assert subprocess.run(command, timeout=PATIENCE, check=False).returncode == 0
    assert same(place)
    again = sum(map(len, toy.attempts(store.folder).values())) - len(NAMES)
    assert again <= 2  # those that were half done
    assert annotate_folder(recipe_of(place), workers=2).before == len(NAMES)


@contextmanager
def dask(*arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command of Dask's, to the end of the block."""
    with open(log, "wb") as file:
        command = [sys.executable, "-m", "dask", *arguments]
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=log.parent, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def scheduler(place: Path, name: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A scheduler and two workers of one thread, as the recipe says: the process and the address."""
    log = place / f"{name}.log"
    with dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0", log=log) as process:
        address = wait_for(lambda: re.search(rb"tcp://127.0.0.1:\d+", log.read_bytes()), "a scheduler", PATIENCE)
        address = address[0].decode()
        workers = ("--nworkers", "2", "--nthreads", "1", "--no-dashboard")
        log = place / f"{name}-workers.log"
        with dask("worker", address, *workers, log=log):
            wait_for(lambda: log.read_bytes().count(b"Registered to") == 2, "two workers", PATIENCE)
            yield process, address


def test_the_scheduler_is_lost(place: Path) -> None:
    """The run ends within the time that was given, says so, and goes on at another scheduler."""
    with scheduler(place, "first") as (process, address):

        def stop(over: threading.Event) -> None:
            wait_for(lambda: len(toy.attempts(place / "run" / "out")) >= 4 or over.is_set(), "pictures", PATIENCE)
            process.kill()

        with meanwhile(stop):
            result = annotate_folder(recipe_of(place), scheduler=address, wait=60)
    assert f"at {address}, got none for 60 s" in result.stopped and not result.failed
    assert 0 < result.done < len(NAMES) and not list((place / "run" / "out").rglob("*.tmp"))
    with scheduler(place, "second") as (_, address):
        assert annotate_folder(recipe_of(place), scheduler=address, wait=PATIENCE).whole
    assert same(place)


def test_a_full_disk(place: Path) -> None:
    """A file system of 120 kB: what is whole stays, the run stops and says why, and goes on where there is room."""
    disk = place / "run" / "out"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a file system")
    large = recipe_of(place)._replace(settings='{"large": 1}')
    try:
        result = annotate_folder(large, workers=2)
        assert "No space left on device" in result.stopped and not result.failed and not result.whole
        assert 0 < result.done < len(NAMES) and not list(disk.rglob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=30m", str(disk)], check=True)
        assert annotate_folder(large, workers=2).whole
        assert annotate_folder(large._replace(store=str(place / "undisturbed" / "large"))).whole
        assert files(disk) == files(place / "undisturbed" / "large")
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_two_workers_as_they_are(place: Path) -> None:
    """Each is a process of one thread, the dashboard can be reached, and no folder of Dask's is left."""
    pytest.importorskip("bokeh")
    before = dict(os.environ)
    lines: list[str] = []
    pages: list[bytes] = []

    def tell(result: Result, outcome: Any) -> None:
        if outcome is not None and not pages:
            with urllib.request.urlopen(lines[0].partition(": ")[2], timeout=60) as page:
                pages.append(page.read())

    assert annotate_folder(recipe_of(place), workers=2, tell=tell, say=lines.append).whole
    assert len(lines) == 1 and b"Dask" in pages[0] and same(place)
    processes = {process for each in toy.attempts(place / "run" / "out").values() for process in each}
    assert dict(os.environ) == before and not list(Path(tempfile.gettempdir()).glob("minisam-*"))
    assert len(processes) == 2 and os.getpid() not in processes and not any(map(alive, processes))
