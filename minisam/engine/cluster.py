"""Many pictures on many processes, with Dask distributed: workers may die at any time, and no good picture is lost.

A task is a picture. Its masks are in a file before its worker says so, so that a worker that dies takes nothing with it
but the picture that it was at. What distributed does by itself, measured with 2026.8, would not do:

- When a worker dies, every task that was waiting there is blamed for it, and tasks blamed more often than
  ``allowed-failures`` (3) raise ``KilledWorker``. ``retries`` does not count for it. Here the first blame ends a task
  (``allowed-failures`` 0), and its picture is set aside. Once all others are done, those set aside are tried with one
  picture per worker, so that only the guilty one is blamed: after ``DEATHS`` workers it is a failure with a reason.
- A worker of a ``LocalCluster`` that dies again about 15 s after it died, or while it starts, is lost for good, and
  futures wait for ever. Here workers are counted, missing ones are opened anew, and where that does not help the whole
  cluster is. Pictures that no worker knows any more are handed out again.
- A result lies in its worker's memory and dies with it: asking for it may wait. Here it is asked for with a time limit,
  and the picture handed out again; its file is there, so that costs nothing.
- Workers stop taking tasks when their memory is 80 % full, for ever if it stays so. Here they do not; at 95 % of its
  share of the memory a worker is ended, which is a death as any other.
- A function of ``__main__`` is sent by value and compiles anew in every worker. ``worker.annotate`` is imported there.

Any scheduler will do, ``annotate(…, scheduler=ADDRESS)``, if the client and all workers see the pictures, the weights
and the store under the same paths, have the same minisam, and each worker has one thread:

- by hand (tested): ``dask scheduler``, then on each machine ``dask worker tcp://HOST:8786 --nworkers N --nthreads 1``;
- SSH (untested): ``dask ssh --nworkers N --nthreads 1 HOST HOST …``, which starts both;
- Slurm (untested): ``dask_jobqueue.SLURMCluster(cores=1, processes=1, memory="4GB")``, and its ``scheduler_address``;
- Kubernetes (untested): ``dask_kubernetes.operator.KubeCluster(image=…)`` with an image that has ``minisam[engine]``
  and a volume for the pictures, and its ``scheduler_address``.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
import uuid
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster

from minisam.engine.store import Picture
from minisam.engine.worker import ONE_THREAD, PICTURE, Outcome, Recipe, annotate
from minisam_kernels import InputError

IN_FLIGHT = 4  # tasks per worker: one that runs, and some that wait there
DEATHS = 4  # workers that a picture may cost
LOOK = 2.0  # seconds between two looks at the workers
ANSWER = 30.0  # seconds that a result or the scheduler may take to come
REOPEN = 20.0  # seconds that a worker may be missing until its process is looked at, and opened anew if there is none
REBUILD, TIMES = 180.0, 3  # seconds without any worker until all of the cluster is made anew; how often in a row
STALLED = 60.0  # seconds without a result until the scheduler is asked whether it still knows the tasks
# Of our own workers, which share this terminal; freed memory goes back to the system, as distributed has it
ENVIRONMENT = ONE_THREAD | {"PYTHONWARNINGS": "ignore", "MALLOC_TRIM_THRESHOLD_": "65536"}
CONFIG: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.deploy.lost-worker-timeout": "24h",
    "distributed.comm.timeouts.connect": "120s",  # a machine with other work may need that long
    "distributed.nanny.pre-spawn-environ": ENVIRONMENT,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
}


class Lost(InputError):
    """The workers or the scheduler are gone, and did not come back in time."""


class Crew:
    """A client with its workers, in a cluster of its own or at a scheduler somewhere.

    Parameters
    ----------
    workers : int
        Processes of one thread on this machine; without ``scheduler``.
    scheduler : str or None
        An address such as "tcp://10.0.0.1:8786".
    wait : float
        Seconds that the scheduler, or the only worker, may be away.

    Attributes
    ----------
    width : int
        How many workers there are now.
    dashboard : str
        Its address, or "" where there is none.
    """

    def __init__(self, workers: int, scheduler: str | None, wait: float) -> None:
        self.workers, self.scheduler, self.wait = workers, scheduler, wait
        self.width, self.rebuilt, self.dashboard = 0, 0, ""
        self.whole = self.seen = self.looked = time.monotonic()  # all workers there, any of them, the last look
        self.reopened = 0.0
        self._open()

    def _open(self) -> None:
        self.stack = ExitStack()
        self.cluster: LocalCluster | None = None
        try:
            if self.scheduler is None:
                folder = tempfile.mkdtemp(prefix="minisam-")
                self.stack.callback(shutil.rmtree, folder, ignore_errors=True)
                self.stack.callback(_put_back, dict(os.environ))
                self.stack.enter_context(dask.config.set(CONFIG))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the dashboard's usual port may be taken: another one is
                    self.cluster = LocalCluster(
                        n_workers=self.workers, threads_per_worker=1, processes=True, silence_logs=logging.CRITICAL,
                        local_directory=folder, env=ENVIRONMENT, dashboard_address="127.0.0.1:8787",
                    )  # fmt: skip
                self.stack.callback(_quietly, self.cluster.close, timeout=10)
            self.client = _client(self.cluster or self.scheduler, self.wait if self.scheduler else REBUILD)
            self.stack.callback(_quietly, self.client.close, timeout=10)
            self.dashboard = self.client.dashboard_link or ""
            self.look(again=True)
        except BaseException:
            self.stack.close()
            raise

    def close(self) -> None:
        """End the tasks that run, and the workers if they are ours."""
        self.stack.close()

    def look(self, again: bool = False) -> bool:
        """Count the workers and bring missing ones back; whether the cluster was built anew, and all tasks are gone.

        Raises
        ------
        Lost
            If nobody is there for longer than ``wait``, and cannot be brought back.
        """
        now = time.monotonic()
        if now - self.looked < LOOK and not again:
            return False
        self.looked = now
        try:
            self.width = int(self._ask("identity", n_workers=0)["n_workers"])
        except Exception:
            self.width = 0
        now = time.monotonic()
        self.seen = now if self.width else self.seen
        if self.cluster is None:
            if now - self.seen > self.wait:
                what = "worker" if self.client.status == "running" else "scheduler"
                raise Lost(f"expected a {what} at {self.scheduler}, got none for {self.wait:.0f} s")
            return False
        if self.width:
            self.rebuilt = 0
        if self.width >= self.workers:
            self.whole = now
        elif now - self.seen > REBUILD:
            if self.rebuilt == TIMES:
                raise Lost(f"expected {self.workers} workers on this machine, got none after {TIMES} new starts")
            self.close()
            self.rebuilt += 1
            self.seen = self.whole = time.monotonic()
            self._open()
            return True
        elif now - max(self.whole, self.reopened) > REOPEN:
            self.reopened = now
            self._replace()
        return False

    def _replace(self) -> None:
        """Open workers of our cluster anew whose processes are gone."""
        cluster = self.cluster
        assert cluster is not None
        with suppress(Exception):
            for name, nanny in list(cluster.workers.items()):
                if not nanny.is_alive():
                    del cluster.workers[name]
                    with suppress(Exception):
                        cluster.sync(nanny.close, timeout=5, callback_timeout=10)
            cluster.scale(self.workers)  # opens whatever of its list is missing

    def runs(self, keys: set[str]) -> bool:
        """Whether a worker still has one of the tasks; True where the scheduler does not answer."""
        try:
            return any(key in keys for running in self._ask("processing").values() for key in running)
        except Exception:
            return True

    def _ask(self, what: str, **arguments: Any) -> Any:
        """One question to the scheduler, with a time limit."""
        return self.client.sync(getattr(self.client.scheduler, what), callback_timeout=ANSWER, **arguments)


def _client(where: Any, wait: float) -> Client:
    try:
        return Client(where, timeout=wait, set_as_default=False)
    except (OSError, ValueError, TypeError, ImportError) as error:
        wanted, reason = f"a scheduler at {str(where)[:100]} within {wait:.0f} s", " ".join(str(error).split())[:200]
        raise InputError(f"expected {wanted}, got none ({reason})") from error


def _put_back(environment: dict[str, str]) -> None:
    """Undo what distributed does to this process's environment, from which it starts workers."""
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def _quietly(call: Callable[..., Any], **arguments: Any) -> None:
    """Close something, which may be gone already."""
    with suppress(Exception):
        call(**arguments)


def annotate_all(
    recipe: Recipe,
    pictures: Iterable[Picture],
    workers: int = 1,
    scheduler: str | None = None,
    wait: float = 60.0,
    tell: Callable[[str], object] | None = None,
) -> Iterator[Outcome]:
    """Annotate pictures with many workers; yield each one's outcome as it is done. To leave early ends the workers.

    Parameters
    ----------
    recipe : Recipe
    pictures : iterable of Picture
        Each is taken when a worker has room for it.
    workers : int
        Processes of one thread on this machine.
    scheduler : str, optional
        The address of a scheduler, whose workers are used in place of those.
    wait : float
        Seconds that the scheduler, or its only worker, may be away.
    tell : callable, optional
        Is told the dashboard's address.

    Raises
    ------
    InputError
        If there is no scheduler, or its workers cannot run the tasks at all.
    Lost
        If it, or all workers, went away and did not come back.
    """
    crew = Crew(workers, scheduler, wait)
    try:
        if tell is not None and crew.dashboard:
            tell(crew.dashboard)
        yield from _Run(crew, recipe, pictures)
    finally:
        crew.close()


class _Run:
    """The pictures on their way: those waiting, those with a worker, those set aside because one died with them."""

    def __init__(self, crew: Crew, recipe: Recipe, pictures: Iterable[Picture]) -> None:
        self.crew, self.recipe, self.waiting = crew, recipe, iter(pictures)
        self.again: deque[Picture] = deque()  # whose task was lost for no reason of theirs
        self.aside: deque[Picture] = deque()
        self.deaths: Counter[Picture] = Counter()
        self.flying: dict[str, tuple[Future, Picture]] = {}
        self.finished: SimpleQueue[Future] = SimpleQueue()
        self.name, self.number = f"annotate-{uuid.uuid4().hex}", 0  # keys of this run alone
        self.careful = False  # one picture per worker
        self.answered = False  # whether any task has ended well
        self.heard = time.monotonic()

    def __iter__(self) -> Iterator[Outcome]:
        while self._hand_out() or self.flying:
            with suppress(Empty):
                yield from self._hear(self.finished.get(timeout=LOOK / 4))
            anew = self.crew.look()
            while not self.finished.empty():
                yield from self._hear(self.finished.get())
            stalled = self.flying and self.crew.width and time.monotonic() - self.heard > STALLED
            if stalled:
                self.heard = time.monotonic()
            if anew or (stalled and not self.crew.runs(set(self.flying)) and self.finished.empty()):
                self._all_again()

    def _next(self) -> Picture | None:
        """The next picture to hand out, or None."""
        if not self.careful:
            picture = self.again.popleft() if self.again else next(self.waiting, None)
            if picture is not None or self.flying:
                return picture
            self.careful = True
        return self.again.popleft() if self.again else self.aside.popleft() if self.aside else None

    def _hand_out(self) -> bool:
        """Give the workers as much as they may have; whether anything was given, or waits for a worker."""
        limit = self.crew.width * (1 if self.careful else IN_FLIGHT)
        while len(self.flying) < limit:
            picture = self._next()
            if picture is None:
                break
            self.number, key = self.number + 1, f"{self.name}-{self.number}"
            try:
                future = self.crew.client.submit(annotate, self.recipe, picture, key=key, pure=False)
            except Exception:  # the connection broke: a look will tell
                self.again.appendleft(picture)
                return True
            self.flying[key] = future, picture
            future.add_done_callback(self.finished.put)
            limit = self.crew.width * (1 if self.careful else IN_FLIGHT)  # care may have begun with this one
        return bool(self.again or self.aside) or (limit == 0 and not self.careful)

    def _hear(self, future: Future) -> Iterator[Outcome]:
        """What became of a task: an outcome, or its picture is to be handed out again."""
        _, picture = self.flying.pop(str(future.key), (None, None))
        if picture is None:  # it was handed out again meanwhile
            return
        self.heard = time.monotonic()
        if future.status == "finished":
            try:
                outcome = future.result(timeout=ANSWER)
            except Exception:  # its worker died with the answer, or it cannot be reached
                self.again.append(picture)
                return
            self.answered = True
            yield outcome
        elif future.status == "error":
            yield from self._blame(picture, future.exception(timeout=ANSWER))
        else:  # cancelled or lost: the scheduler forgot it
            self.again.append(picture)

    def _blame(self, picture: Picture, error: BaseException | None) -> Iterator[Outcome]:
        """A task failed, by its own picture or by another one: set it aside, or give it up."""
        if isinstance(error, KilledWorker):
            self.deaths[picture] += error.allowed_failures + 1
            dead = f"{self.deaths[picture]} workers that died with it"
            reason = f"expected a picture that a worker survives, got {dead}"
        else:  # a worker that cannot import what it is sent, say
            self.deaths[picture] += 1
            reason = " ".join(f"expected a task that ends, got {type(error).__name__}: {error}".split())[:300]
            if not self.answered and self.deaths.total() >= DEATHS:
                raise InputError(reason.replace("a task that ends", "workers that can run minisam.engine.worker"))
        if self.careful and self.deaths[picture] >= DEATHS:
            yield Outcome(picture, failure=reason, fault=PICTURE)
        else:
            self.aside.append(picture)

    def _all_again(self) -> None:
        """Whatever is on its way is handed out again, under new keys."""
        self.again.extend(picture for _, picture in self.flying.values())
        self.flying.clear()
        self.heard = time.monotonic()
