"""One pool of threads for the whole library: Python threads that run ``nogil`` kernels, with BLAS at one thread each.

A parallel numba loop beside a threaded BLAS makes two pools fight for the same cores: measured on two cores, a kernel
of 18 µs took 4 ms and a decode of 30 ms took 300 ms. So there is one pool, here. While it works, BLAS is held at one
thread, and the number that was set before comes back when the last caller leaves.

The pieces of work are cut by the data's size, never by the number of threads, so results do not depend on it.
``MINISAM_THREADS`` sets the number; without it, it is the number of cores that the process may use.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from threadpoolctl import OpenBLASController, ThreadpoolController

from minisam_kernels.errors import InputError


def _thread_count() -> int:
    text = os.environ.get("MINISAM_THREADS", "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise InputError(f"expected MINISAM_THREADS to be a whole number above 0, got {text!r}")
    if text:
        return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _any_thread_may_set_blas() -> None:
    """threadpoolctl 3.8 obeys only the first thread that limits OpenBLAS and silently ignores the others. Here one
    caller may limit and another restore, one lock around both, so no thread keeps a claim. Older versions know none.
    """
    clear = getattr(OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


class _Pool:
    """The threads, made at the first use; a forked child forgets its parent's, which did not come along."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.executor: ThreadPoolExecutor | None = None
        self.controller: ThreadpoolController | None = None
        self.limiter: Any = None
        self.users = 0
        self.count = 0

    def start(self) -> ThreadPoolExecutor | None:
        """The executor of the helpers of the calling thread; None when there is one thread in all."""
        with self.lock:
            if self.count == 0:
                self.count = _thread_count()
            if self.executor is None and self.count > 1:
                self.executor = ThreadPoolExecutor(self.count - 1, thread_name_prefix="minisam")
            return self.executor

    @contextmanager
    def single_threaded_blas(self) -> Iterator[None]:
        """BLAS at one thread from the first caller's entry to the last caller's exit, then as it was."""
        with self.lock:
            if self.users == 0:
                self.controller = self.controller or ThreadpoolController()
                _any_thread_may_set_blas()
                self.limiter = self.controller.limit(limits=1, user_api="blas")
            self.users += 1
        try:
            yield
        finally:
            with self.lock:
                self.users -= 1
                if self.users == 0:
                    self.restore_blas()

    def restore_blas(self) -> None:
        """BLAS as it was before the first caller came."""
        if self.limiter is not None:
            _any_thread_may_set_blas()
            self.limiter.restore_original_limits()
            _any_thread_may_set_blas()
            self.limiter = None


_pool = _Pool()
_inside = threading.local()


def _forget() -> None:
    """In a forked child: a new pool, and BLAS as it was before the parent held it."""
    global _pool
    _pool.restore_blas()
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def num_threads() -> int:
    """The number of threads that ``parallel_for`` works with."""
    _pool.start()
    return _pool.count


@contextmanager
def blas_at_one_thread() -> Iterator[None]:
    """Hold BLAS at one thread over many calls of ``parallel_for``, so that each does not set and restore it."""
    with _pool.single_threaded_blas():
        yield


def parallel_for(function: Callable[[int], Any], count: int) -> None:
    """Call ``function(i)`` for every i in [0, count), each exactly once, in any order, and return when all are done.

    The calling thread works too. A call from inside ``function`` runs its pieces one after the other. The first
    exception that a piece raises is raised here once no piece runs any more; pieces not begun by then are left out.
    """
    executor = _pool.start()
    if count <= 1 or executor is None or getattr(_inside, "yes", False):
        with _pool.single_threaded_blas():
            for i in range(count):
                function(i)
        return
    pieces = iter(range(count))
    lock = threading.Lock()

    def drop_the_rest() -> None:
        with lock:
            for _ in pieces:
                pass

    def work() -> None:
        _inside.yes = True
        try:
            while True:
                with lock:
                    i = next(pieces, None)
                if i is None:
                    return
                function(i)
        except BaseException:
            drop_the_rest()
            raise
        finally:
            _inside.yes = False

    with _pool.single_threaded_blas():
        helpers = [executor.submit(work) for _ in range(min(_pool.count, count) - 1)]
        try:
            work()
            for helper in helpers:  # one that has not begun is not needed any more: another caller keeps the pool busy
                if not helper.cancel():
                    helper.result()
        finally:
            drop_the_rest()
            wait([helper for helper in helpers if not helper.cancel()])
