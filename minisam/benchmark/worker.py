"""A contender's process. It reads commands and writes answers, a line of JSON each, and is stopped in between.

Libraries keep threads that spin for a while after the work is done (OpenMP's, ONNX Runtime's); in a common process, or
in processes that merely wait, they would slow down whoever is next. So each contender has a process, and the operating
system stops it (SIGSTOP) until it is its turn. Every library keeps its own settings for threads but their number.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from minisam.reports.environment import PINS, peak_bytes


class WorkerError(RuntimeError):
    """The process ended, or its work failed; the message is the last line it said."""


def environment(threads: int, pinned: bool) -> dict[str, str]:
    """The variables of a worker: BLAS chooses its kernels itself unless ``pinned``; every library gets ``threads``."""
    variables = {name: value for name, value in os.environ.items() if pinned or name not in PINS}
    count = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MINISAM_THREADS")
    return variables | dict.fromkeys(count, str(threads)) | {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}


class Worker:
    """The other end, in the process that measures. Use as a context manager."""

    def __init__(self, contender: str, threads: int, **load: Any) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "minisam.benchmark.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment(threads, contender == "pinned"),
        )
        try:
            self.loaded = self.ask(do="load", contender=contender, threads=threads, **load)
        except BaseException:
            self.close()
            raise

    def ask(self, **command: Any) -> Any:
        """Let the process run, send a command, wait for the answer, stop the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self._signal("SIGCONT")
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(self._last_words())
        self._signal("SIGSTOP")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["answer"]

    def _signal(self, name: str) -> None:
        if hasattr(signal, name) and self.process.poll() is None:
            self.process.send_signal(getattr(signal, name))

    def _last_words(self) -> str:
        code = self.process.wait()
        if code == -getattr(signal, "SIGKILL", 9):
            return "the system ended the process, most likely for want of memory"
        self.log.seek(0)
        lines = [line.strip() for line in self.log if line.strip()]
        return lines[-1] if lines else f"the process ended with code {code}"

    def close(self) -> None:
        """End the process, stopped or not."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _end_with_parent() -> None:
    """A stopped process does not see that its parent is gone: on Linux the kernel ends it then."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Server:
    """What the process can be told to do."""

    def load(self, contender: str, threads: int, **load: Any) -> dict[str, Any]:
        """Import the library and read the weights → seconds, versions, BLAS."""
        from importlib.metadata import version

        start = time.perf_counter()
        from minisam.benchmark import contenders

        kind = contenders.contender(contender)
        self.contender = kind(threads=threads, **load)
        seconds = time.perf_counter() - start
        versions = {name: version(name) for name in kind.packages}
        return {"seconds": seconds, "versions": versions, "math": self.contender.math()}

    def prepare(self, kind: str, options: dict[str, Any]) -> None:
        """Get everything ready that is not measured."""
        self.call = self.contender.prepare(kind, options)

    def run(self, times: int = 1) -> dict[str, float]:
        """Do the work ``times`` times in a row → seconds of wall clock and of all cores, each."""
        start, cores = time.perf_counter(), time.process_time()
        for _ in range(times):
            self.call()
        return {"seconds": (time.perf_counter() - start) / times, "cpu": (time.process_time() - cores) / times}

    def result(self) -> Any:
        """Do the work once → what it gives."""
        return self.call()

    def profile(self, times: int) -> list[dict[str, Any]]:
        """Do the work ``times`` times with timers around its stages."""
        from minisam.benchmark.profile import profiled

        return profiled(self.call, times)

    def peak(self) -> int:
        """Bytes."""
        return peak_bytes()


def main() -> None:
    """Serve until the other end closes. Whatever a library prints goes to stderr."""
    _end_with_parent()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = Server()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"answer": getattr(server, command.pop("do"))(**command)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
