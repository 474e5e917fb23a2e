"""BLAS at one thread: the library's own pool (``threads``) shares the work out, and BLAS's threads keep out of its way.

Whoever comes first sets BLAS to one thread, and the number that was set before comes back when the last one leaves;
calls may nest and overlap in any number of Python threads. A forked child begins with BLAS as it was before.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from threadpoolctl import OpenBLASController, ThreadpoolController


def _set(numbers: Iterable[tuple[Any, int]]) -> None:
    """Set each BLAS, a ``LibController`` of threadpoolctl, to its number of threads.

    threadpoolctl 3.8 obeys only the first thread that limits OpenBLAS and silently ignores the others. Here one caller
    may limit and another restore, one lock around both, so no thread keeps a claim. Older versions know none.
    """
    clear = getattr(OpenBLASController, "clear_controlling_thread", lambda force: None)
    clear(force=True)
    for library, number in numbers:
        library.set_num_threads(number)
    clear(force=True)


class _Hold:
    """How many callers hold BLAS at one thread, and what was set before the first of them came."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # may be taken again, by a finaliser that forks while it is held
        self.controller: ThreadpoolController | None = None
        self.before: list[tuple[Any, int]] = []  # each BLAS and the number of its threads before the first caller came
        self.users: set[object] = set()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        user = object()
        try:
            with self.lock:
                if not self.users:
                    self.controller = self.controller or ThreadpoolController()
                    libraries = [each for each in self.controller.lib_controllers if each.user_api == "blas"]
                    self.before = [(library, library.num_threads) for library in libraries]
                    _set((library, 1) for library in libraries)  # after it is known what to restore: Ctrl-C may come
                self.users.add(user)
            yield
        finally:
            try:
                self.leave(user)
            except BaseException:  # Ctrl-C in the middle of it
                self.leave(user)
                raise

    def leave(self, user: object) -> None:
        """One caller less; the last one restores BLAS. To be told twice does no harm."""
        with self.lock:
            self.users.discard(user)
            if not self.users:
                self.restore()

    def restore(self) -> None:
        """BLAS as it was before the first caller came."""
        _set(self.before)
        self.before = []


_hold = _Hold()


def _begin_again() -> None:
    """In a forked child: nobody holds BLAS. A caller that was inside at the fork leaves the parent's ``_Hold``."""
    global _hold
    _hold.restore()
    _hold.lock.release()
    _hold = _Hold()


if hasattr(os, "register_at_fork"):  # the lock is held over the fork, so that no other thread is halfway through
    os.register_at_fork(
        before=lambda: _hold.lock.acquire(), after_in_parent=lambda: _hold.lock.release(), after_in_child=_begin_again
    )


def blas_at_one_thread() -> AbstractContextManager[None]:
    """Hold BLAS at one thread. Around many calls of ``parallel_for`` it saves each of them from setting it."""
    return _hold()
