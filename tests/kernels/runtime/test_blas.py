"""Properties of ``blas_at_one_thread``. Each names the wrong versions that it kills (``tests/mutants.py``)."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading

import pytest
from threadpoolctl import threadpool_limits

from minisam_kernels.runtime.blas import blas_at_one_thread
from oracles import blas_threads

# wrong version → (text in the file, its replacement)
MUTANTS = {
    "BLAS keeps all its threads": ("_set((library, 1)", "_set((library, 2)"),
    "BLAS stays at one thread": ("        _set(self.before)\n", ""),
    "only the first thread may set BLAS": ("clear(force=True)", "pass"),
    "the first to leave restores BLAS": (
        "            if not self.users:\n                self.restore",
        "            if True:\n                self.restore",
    ),
    "the second to come forgets what was set": (
        "                if not self.users:\n                    self.controller",
        "                if True:\n                    self.controller",
    ),
    "a child keeps BLAS at one thread": ("    _hold.restore()\n", ""),
    "set before it is known what to restore": (
        "                    self.before = [(library, library.num_threads) for library in libraries]\n"
        "                    _set((library, 1) for library in libraries)",
        "                    before = [(library, library.num_threads) for library in libraries]\n"
        "                    _set((library, 1) for library in libraries)\n"
        "                    self.before = before",
    ),
    "what is interrupted is not done again": (
        "                self.leave(user)\n                raise",
        "                raise",
    ),
    "a child still counts its parent's callers": ("    _hold = _Hold()\n\n\nif", "    pass\n\n\nif"),
    "a child keeps the lock": (
        "    _hold.lock.release()\n    _hold = _Hold()",
        "    _hold.users = set()",
    ),
}


def test_held_and_restored():
    """One thread inside, what was set before outside, also after an exception and in a nested call. Kills: BLAS keeps
    all its threads, BLAS stays at one thread, the first to leave restores BLAS, the second to come forgets."""
    with threadpool_limits(2, user_api="blas"):
        with blas_at_one_thread():
            assert blas_threads() == {1}
            with blas_at_one_thread():
                assert blas_threads() == {1}
            assert blas_threads() == {1}
        assert blas_threads() == {2}
        with pytest.raises(ZeroDivisionError), blas_at_one_thread():
            1 // 0  # noqa: B018
        assert blas_threads() == {2}


def test_any_thread_may_come_first_and_last():
    """One thread sets and another restores, in turn and overlapping. Kills: only the first thread may set BLAS, the
    first to leave restores BLAS, BLAS stays at one thread, the second to come forgets what was set."""
    both_in, first_out = threading.Barrier(2), threading.Event()
    seen: list[set[int]] = []

    def hold(first: bool) -> None:
        with blas_at_one_thread():
            both_in.wait(timeout=20)
            if not first:
                first_out.wait(timeout=20)
                seen.append(blas_threads())
        first_out.set()

    with threadpool_limits(2, user_api="blas"):
        for _ in range(3):
            callers = [threading.Thread(target=hold, args=(first,)) for first in (True, False)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join(timeout=30)
            assert blas_threads() == {2}
            first_out.clear()
    assert seen == [{1}] * 3


def interrupted_at(event: int) -> bool:
    """Enter and leave with Ctrl-C where the ``event``-th function begins, or has returned that is not Python's.

    The garbage collector rests meanwhile: what is raised in the callbacks that others gave it is printed and lost.
    """
    seen = 0

    def count(_: object, kind: str, __: object) -> None:
        nonlocal seen
        seen += kind in ("call", "c_return")  # where CPython looks for signals
        if seen == event:
            sys.setprofile(None)
            raise KeyboardInterrupt

    gc.disable()
    try:
        sys.setprofile(count)
        with blas_at_one_thread():
            pass
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
        gc.enable()
    return False


def test_ctrl_c_at_any_moment_restores_blas():
    """Python hears a signal at certain moments: each of them in turn. Kills: set before
    it is known what to restore, what is interrupted is not done again."""
    with threadpool_limits(2, user_api="blas"):
        event = 1
        while interrupted_at(event):
            assert blas_threads() == {2}, f"held after Ctrl-C at event {event}"
            event += 1
        assert event > 30
        with blas_at_one_thread():
            assert blas_threads() == {1}
        assert blas_threads() == {2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_begins_with_blas_as_it_was():
    """Also when the fork comes inside and the child then leaves; its other threads may hold BLAS. Kills: a child
    keeps BLAS at one thread, a child still counts its parent's callers, a child keeps the lock."""
    with threadpool_limits(2, user_api="blas"):
        child = None
        with blas_at_one_thread():
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # a child that hangs ends
                right = [blas_threads() == {2}]
                right.append(held_by_another_thread() == {1})
                right.append(blas_threads() == {2})
        if child == 0:
            os._exit(0 if all(right) and blas_threads() == {2} else 3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert blas_threads() == {2}


def held_by_another_thread() -> set[int]:
    seen: list[set[int]] = []

    def hold() -> None:
        with blas_at_one_thread():
            seen.append(blas_threads())

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join(timeout=5)
    return set().union(*seen)
