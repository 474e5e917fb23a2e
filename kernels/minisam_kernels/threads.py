"""One pool of threads for the whole library: Python threads that run ``nogil`` kernels, with BLAS at one thread each.

A parallel numba loop beside a threaded BLAS makes two pools fight for the same cores: measured on two cores, a kernel
of 18 µs took 4 ms and a decode of 30 ms took 300 ms. So there is one pool, here, and BLAS stays out of it (``blas``).

The pieces of work are cut by the data's size, never by the number of threads, so results do not depend on it.
``MINISAM_THREADS`` sets the number; without it, it is the number of cores that the process may use. Any number of
Python threads may call at once, and a process may fork meanwhile: the child gets a pool of its own.

A call costs 9 µs when there is nothing to do (two threads; an executor with futures takes 14).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from minisam_kernels.blas import blas_at_one_thread
from minisam_kernels.errors import InputError

__all__ = ["blas_at_one_thread", "num_threads", "parallel_for"]


def _thread_count() -> int:
    text = os.environ.get("MINISAM_THREADS", "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise InputError(f"expected MINISAM_THREADS to be a whole number above 0, got {text!r}")
    if text:
        return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Call:
    """One call of ``parallel_for``: how many of its pieces have been begun, and how many threads are at work."""

    def __init__(self, function: Callable[[int], Any], count: int) -> None:
        self.function, self.count, self.begun = function, count, 0
        self.workers: set[int] = set()  # threads, by number: leaving twice does no harm
        self.error: BaseException | None = None
        self.lock, self.rung = threading.Lock(), threading.Lock()
        self.rung.acquire()  # the last worker rings: a lock, because Ctrl-C in the middle of an Event can break it

    def work(self) -> None:
        """Take piece after piece until none is left. A thread that comes when none is left does not count."""
        with self.lock:
            if self.begun >= self.count:
                return
            self.workers.add(threading.get_ident())
        _inside.call = self
        try:
            while True:
                with self.lock:
                    i = self.begun
                    if i >= self.count:
                        break
                    self.begun = i + 1
                self.function(i)
        except BaseException as error:
            self.cancel(error)
        _inside.call = None
        self.leave()

    def leave(self) -> None:
        """This thread works no more; the last one rings."""
        with self.lock:
            self.workers.discard(threading.get_ident())
            if not self.workers and self.begun >= self.count and self.rung.locked():
                self.rung.release()

    def cancel(self, error: BaseException) -> None:
        """Begin no more pieces, and remember why."""
        with self.lock:
            self.error = self.error or error
            self.begun = self.count  # leave out the rest

    def over(self) -> bool:
        """Whether no piece runs and none will."""
        with self.lock:
            return not self.workers and self.begun >= self.count

    def wait(self) -> None:
        """The caller's end: return when no piece runs any more, also when Ctrl-C comes; raise the first exception."""
        while True:
            try:
                self.leave()  # again, should Ctrl-C have come in the middle of it
                if self.over():
                    break
                self.rung.acquire(timeout=0.1)  # in vain when Ctrl-C came right after it was got: hence the time
            except BaseException as error:
                self.cancel(error)
        if self.error is not None:
            raise self.error


class _Pool:
    """The helping threads, begun at the first use. They wait at one queue; a call goes in once for each of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queue: SimpleQueue[_Call | None] = SimpleQueue()
        self.count = self.helpers = 0

    def start(self) -> int:
        """The number of threads, the caller's included."""
        if self.helpers + 1 != self.count:
            with self.lock:
                self.count = self.count or _thread_count()
                while self.helpers + 1 < self.count:
                    threading.Thread(target=_help, args=(self.queue,), name="minisam", daemon=True).start()
                    self.helpers += 1
        return self.count


def _help(queue: SimpleQueue[_Call | None]) -> None:
    """A helper's life: work at each call that comes, end at None. Between calls it keeps no caller's arrays alive."""
    _inside.yes = True
    while (call := queue.get()) is not None:
        call.work()
        del call


_pool = _Pool()
_inside = threading.local()


def _forget() -> None:
    """In a forked child: a new pool, because no helper came along."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def num_threads() -> int:
    """The number of threads that ``parallel_for`` works with."""
    return _pool.start()


def cancelled() -> bool:
    """Whether the ``parallel_for`` whose piece asks has failed elsewhere: a piece that waits for another one asks."""
    call = getattr(_inside, "call", None)
    return call is not None and call.error is not None


def parallel_for(function: Callable[[int], Any], count: int) -> None:
    """Call ``function(i)`` for every i in [0, count), each exactly once, in any order, and return when all are done.

    The calling thread works too. A call from inside ``function`` runs its pieces one after the other. The first
    exception that a piece raises is raised here once no piece runs any more; pieces not begun by then are left out.
    """
    pool, nested = _pool, getattr(_inside, "yes", False)
    threads = pool.start()
    with blas_at_one_thread():
        if count <= 1 or threads == 1 or nested:
            for i in range(count):
                function(i)
            return
        call = _Call(function, count)
        try:
            for _ in range(min(threads, count) - 1):
                pool.queue.put(call)
            _inside.yes = True
            call.work()
        except BaseException as error:
            call.cancel(error)
        finally:
            _inside.yes = False
            _inside.call = None
        call.wait()
