"""Contenders take turns at one workload after the other, each in a process that is new for each workload."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from minisam.benchmark.contenders import PEERS, TITLES
from minisam.benchmark.worker import Worker, WorkerError, environment
from minisam.benchmark.workloads import MATRIX, Series, Workload
from minisam.model.config import SamConfig
from minisam.reports.environment import available_bytes

AT_LEAST = 0.25  # seconds of one measurement: shorter work is repeated within it

Tell = Callable[[str], object]


class Runner:
    """``files``: what a worker loads; ``budget``: seconds a workload may take before its rounds end early."""

    def __init__(
        self, config: SamConfig, files: dict[str, str], threads: int, rounds: int, budget: float, tell: Tell
    ) -> None:
        self.config, self.files, self.threads = config, files, threads
        self.rounds, self.budget, self.tell = rounds, budget, tell
        self.peak_per_prompt: dict[str, float] = {}

    @contextmanager
    def worker(self, contender: str, threads: int | None = None) -> Iterator[Worker]:
        with Worker(contender, threads or self.threads, **self.files) as worker:
            yield worker

    def setup(self, picture: int) -> dict[str, float]:
        """Make the embedding that "everything" starts from; returns thresholds that a third of its masks pass."""
        with self.worker("minisam") as worker:
            worker.ask(do="prepare", kind="setup", options={"picture": picture})
            answer: dict[str, float] = worker.ask(do="result")
            return answer

    def workload(
        self,
        work: Workload,
        contenders: tuple[str, ...],
        threads: int | None = None,
        blas: bool = False,
        rounds: int | None = None,
    ) -> dict[str, Any]:
        """The row of a table: what every contender takes. One that fails has the reason in the place of figures.

        ``blas``: between the others, NumPy multiplies matrices too, which says what the machine gives at that time.
        """
        results: dict[str, dict[str, Any]] = {}
        with ExitStack() as stack:
            running: dict[str, Worker] = {}
            for name in contenders:
                if name in PEERS and work.peers is not None and name not in work.peers:
                    continue
                self.tell(f"{work.name}: {name} starts")
                try:
                    self._enough_memory(name, work, [result.get("peak_bytes", 0) for result in results.values()])
                    worker = stack.enter_context(self.worker(name, threads))
                    results[name] = self._start(worker, work, name)
                    running[name] = worker
                except WorkerError as error:
                    results[name] = {"failed": str(error)}
            if blas:
                worker = stack.enter_context(self.worker("minisam", threads))
                worker.ask(do="prepare", kind="sgemm", options={"size": MATRIX})
                worker.ask(do="run", times=2)
                running["blas"] = worker
                results["blas"] = {"calls": 3, "seconds": [], "cpu": [], "scale": 1}
            start = time.perf_counter()
            for turn in range(rounds or self.rounds):
                for name, worker in list(running.items()):
                    self.tell(f"{work.name}: round {turn + 1}, {name}")
                    try:
                        answer = worker.ask(do="run", times=results[name]["calls"])
                    except WorkerError as error:
                        results[name] = {"failed": str(error)}
                        del running[name]
                        continue
                    results[name]["seconds"].append(answer["seconds"] * results[name]["scale"])
                    results[name]["cpu"].append(answer["cpu"] * results[name]["scale"])
                if turn >= 2 and time.perf_counter() - start > self.budget * (turn + 1) / (turn + 2):
                    break  # one more round would take longer than it may
            for name, worker in running.items():
                results[name]["peak_bytes"] = worker.ask(do="peak")
        for name, result in results.items():
            self._summarise(result, work, name)
        return results

    def _start(self, worker: Worker, work: Workload, name: str) -> dict[str, Any]:
        """Prepare, and the first calls, which do not count."""
        peer = name in PEERS
        worker.ask(do="prepare", kind=work.kind, options=work.options | (work.peer_options if peer else {}))
        first = again = worker.ask(do="run")["seconds"]
        if first < 4:
            again = worker.ask(do="run")["seconds"]
        return {
            "first_call": first,
            "load": worker.loaded["seconds"],
            "versions": worker.loaded["versions"],
            "math": worker.loaded["math"],
            "peak_bytes": worker.ask(do="peak"),
            "scale": work.peer_scale if peer else 1.0,
            "calls": max(1, min(100, round(AT_LEAST / again))),
            "seconds": [],
            "cpu": [],
        }

    def _enough_memory(self, name: str, work: Workload, others: list[float]) -> None:
        """Expect of a larger batch what a smaller one took; better no figure than a machine without memory. ONNX
        Runtime keeps what it once had, so the others' peaks must find room beside its own."""
        needed, free = self.peak_per_prompt.get(name, 0) * work.options.get("count", 0), available_bytes()
        needed += max(others, default=0) if needed and name == "onnxruntime" else 0
        if needed > 0.9 * free:
            raise WorkerError(f"not run: expected to need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")

    def _summarise(self, result: dict[str, Any], work: Workload, name: str) -> None:
        if "failed" in result:
            return
        result |= spread(result["seconds"])
        if name == "blas":
            result["gflops"] = 2 * MATRIX**3 / 1e9 / min(result["seconds"])
            return
        if (count := work.options.get("count", 0)) >= 16:
            self.peak_per_prompt[name] = result["peak_bytes"] / count
        gflop = work.gflop(self.config)
        if gflop is not None:
            result["gflops"] = gflop / result["median"]

    def blas_peak(self, contenders: tuple[str, ...], threads: int, size: int = MATRIX) -> dict[str, float]:
        """GFLOP/s of the best of several products of matrices, in NumPy and in torch."""
        rates = {}
        for name in contenders:
            if name not in ("minisam", "pinned", "reference"):
                continue
            try:
                with self.worker(name, threads) as worker:
                    worker.ask(do="prepare", kind="sgemm", options={"size": size})
                    worker.ask(do="run")
                    best = min(worker.ask(do="run")["seconds"] for _ in range(max(3, self.rounds)))
                    rates[name] = 2 * size**3 / 1e9 / best
            except WorkerError:
                continue
        return rates

    def series(self, series: Series) -> dict[str, Any]:
        """Curves: for each contender, the value on the axis, the median and the quartiles, and the peak memory."""
        curves: dict[str, list[dict[str, Any]]] = {}
        for value, work, threads in series.points:
            contenders = tuple(name for name in series.contenders if name in TITLES)
            for name, result in self.workload(work, contenders, threads, rounds=min(self.rounds, 3)).items():
                kept = ("median", "quartiles", "peak_bytes", "failed")
                curves.setdefault(name, []).append({"value": value} | {k: result[k] for k in kept if k in result})
        return {"name": series.name, "axis": series.axis, "curves": curves}

    def profile(self, works: list[Workload], times: int) -> list[dict[str, Any]]:
        """Where the time goes inside ours."""
        profiles = []
        with self.worker("minisam") as worker:
            for work in works:
                self.tell(f"{work.name}: profile")
                worker.ask(do="prepare", kind=work.kind, options=work.options)
                worker.ask(do="run", times=2)
                plain = statistics.median(worker.ask(do="run")["seconds"] for _ in range(times))
                stages = worker.ask(do="profile", times=times)
                profiles.append({"title": work.title, "seconds": plain, "stages": stages})
        return profiles


def spread(seconds: list[float]) -> dict[str, Any]:
    """Median and quartiles."""
    if len(seconds) == 1:
        return {"median": seconds[0], "quartiles": [seconds[0], seconds[0]]}
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return {"median": middle, "quartiles": [low, high]}


FIRST_MASK = (
    "import numpy as np, minisam; p = minisam.SamPredictor(minisam.load({weights!r}));"
    "p.set_image(np.full((300, 451, 3), 99, np.uint8)); p.predict([[200, 150]], [1])"
)


def starts(weights: str, threads: int, rounds: int, empty_cache: str | None) -> dict[str, dict[str, Any]]:
    """Seconds of new processes: the import, the first mask, and, with an empty folder for the compiler's cache, the
    first mask of a machine on which nothing is compiled."""
    programs = {"import minisam": "import minisam", "first mask": FIRST_MASK.format(weights=weights)}

    def seconds(program: str, **more: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True, env=environment(threads, False) | more)
        return time.perf_counter() - start

    measured: dict[str, dict[str, Any]] = {}
    for name, program in programs.items():
        seconds(program)
        times = [seconds(program) for _ in range(rounds)]
        measured[name] = {"seconds": times} | spread(times)
    if empty_cache is not None:
        times = [seconds(programs["first mask"], NUMBA_CACHE_DIR=empty_cache)]
        measured["first mask, nothing compiled"] = {"seconds": times} | spread(times)
    return measured
