"""One pool of threads for the whole library: Python threads that run ``nogil`` kernels, with BLAS at one thread each.

A parallel numba loop beside a threaded BLAS makes two pools fight for the same cores: measured on two cores, a kernel
of 18 µs took 4 ms and a decode of 30 ms took 300 ms. So there is one pool, here, and BLAS stays out of it (``blas``).

The pieces of work are cut by the data's size, never by the number of threads, so results do not depend on it.
``MINISAM_THREADS`` sets the number, at most 1024; without it, it is the number of cores that the process may use. Where
the system refuses a thread, those that could be started do the work. Any number of Python threads may call at once, and
a process may fork meanwhile: the child gets a pool of its own. How the threads of one call share its pieces and how it
ends is in ``parallel_call``.

A call costs 9 µs when there is nothing to do (two threads; an executor with futures takes 14).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from minisam_kernels.runtime.blas import blas_at_one_thread
from minisam_kernels.runtime.errors import InputError
from minisam_kernels.runtime.parallel_call import Call, cancelled, inside

__all__ = ["blas_at_one_thread", "cancelled", "num_threads", "parallel_for"]


_MOST = 1024  # threads: more than the cores of any machine, fewer than any system refuses in good health


def _thread_count() -> int:
    text = os.environ.get("MINISAM_THREADS", "")
    if text and not (text.isdecimal() and len(text) < 9 and 0 < int(text) <= _MOST):
        raise InputError(f"expected MINISAM_THREADS to be a whole number from 1 to {_MOST}, got {text[:40]!r}")
    if text:
        return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Pool:
    """The helping threads, begun at the first use. They wait at one queue; a call goes in once for each of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queue: SimpleQueue[Call | None] = SimpleQueue()
        self.count = self.helpers = 0

    def start(self) -> int:
        """The number of threads, the caller's included."""
        if self.helpers + 1 != self.count:
            with self.lock:
                self.count = self.count or _thread_count()
                while self.helpers + 1 < self.count:
                    try:
                        threading.Thread(target=_help, args=(self.queue,), name="minisam", daemon=True).start()
                        self.helpers += 1
                    except (RuntimeError, MemoryError):  # a limit on processes or memory, often a container's
                        self.count = self.helpers + 1
        return self.count


def _help(queue: SimpleQueue[Call | None]) -> None:
    """A helper's life: work at each call that comes, end at None. Between calls it keeps no caller's arrays alive."""
    inside.yes = True
    while (call := queue.get()) is not None:
        call.work()
        del call


_pool = _Pool()


def _forget() -> None:
    """In a forked child: a new pool, because no helper came along."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def num_threads() -> int:
    """The number of threads that ``parallel_for`` works with."""
    return _pool.start()


def parallel_for(function: Callable[[int], Any], count: int) -> None:
    """Call ``function(i)`` for every i in [0, count), each exactly once, in any order, and return when all are done.

    Parameters
    ----------
    function : callable
        One piece of the work. The calling thread works too; a call from inside ``function`` runs its pieces one after
        the other.
    count : int
        How many pieces there are.

    Raises
    ------
    Exception
        The first that a piece raises, once no piece runs any more; pieces not begun by then are left out.
    """
    pool, nested = _pool, getattr(inside, "yes", False)
    threads = pool.start()
    with blas_at_one_thread():
        if count <= 1 or threads == 1 or nested:
            for i in range(count):
                function(i)
            return
        call = Call(function, count)
        try:
            for _ in range(min(threads, count) - 1):
                pool.queue.put(call)
            inside.yes = True
            call.work()
        except BaseException as error:
            call.cancel(error)
        finally:
            inside.yes = False
            inside.call = None
        call.wait()
