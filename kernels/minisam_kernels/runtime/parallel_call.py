"""One call of ``parallel_for``: which pieces are begun, who works at them, and how it ends.

The caller and the pool's helpers all run ``Call.work``. A piece is taken under a lock, so each is run once. The caller
comes back from ``wait`` when no piece runs any more, also after an exception or Ctrl-C: otherwise a piece could still
write into an array that the caller has given up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

inside = threading.local()  # ``yes``: this thread runs pieces;  ``call``: of which call


class Call:
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
        inside.call = self
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
        inside.call = None
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


def cancelled() -> bool:
    """Whether the ``parallel_for`` whose piece asks has failed elsewhere: a piece that waits for another one asks."""
    call = getattr(inside, "call", None)
    return call is not None and call.error is not None
