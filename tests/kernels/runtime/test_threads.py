"""Properties of ``parallel_for``. Each names the wrong versions that it kills; ``tests/mutants.py`` breaks them in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from minisam_kernels import InputError
from minisam_kernels.attn.attention import attention
from minisam_kernels.layers.gelu import gelu
from minisam_kernels.layers.linear import linear
from minisam_kernels.runtime import threads
from minisam_kernels.runtime.threads import blas_at_one_thread, num_threads, parallel_for
from oracles import blas_threads

# wrong version → (text in the file, its replacement)
MUTANTS = {
    "leaves out the last piece": ("call = Call(function, count)", "call = Call(function, count - 1)"),
    "does not hold BLAS": ("    with blas_at_one_thread():", "    if True:"),
    "keeps the caller's arrays": ("        del call\n", ""),
    "stays inside after the end": ("inside.yes = False", "pass"),
    "a nested call uses the pool": ('getattr(inside, "yes", False)', "False"),
    "a child keeps its parent's threads": ("    _pool = _Pool()\n\n\nif", "    pass\n\n\nif"),
    "ignores MINISAM_THREADS": ("    if text:\n", "    if False:\n"),
    "any number of threads": ("< int(text) <= _MOST", "< int(text)"),
    "gives up with the first thread": ("except (RuntimeError, MemoryError):", "except ZeroDivisionError:"),
    "asks every time": ("                        self.count = self.helpers + 1\n", "                        break\n"),
}


@contextmanager
def pool_of(count: int):
    """``parallel_for`` with ``count`` threads, whatever the machine has."""
    pool = threads._Pool()
    pool.count = count
    with mock.patch.object(threads, "_pool", pool):
        yield
    for _ in range(pool.helpers):
        pool.queue.put(None)


@given(st.integers(0, 40), st.integers(1, 5))
def test_every_piece_once(count, thread_count):
    """Kills: leaves out the last piece."""
    seen = []
    with pool_of(thread_count):
        parallel_for(seen.append, count)
    assert Counter(seen) == Counter(range(count))


def test_threads_work_side_by_side():
    """Two pieces that wait for each other both end. Kills: stays inside after the end (the second call hangs)."""
    with pool_of(2):
        for _ in range(2):
            barrier = threading.Barrier(2)
            parallel_for(lambda i, barrier=barrier: barrier.wait(timeout=20), 2)


def blas_held_inside() -> set[int]:
    seen: list[set[int]] = []
    parallel_for(lambda i: seen.append(blas_threads()), 2)
    return set().union(*seen)


def test_blas_is_held_and_restored():
    """One thread inside, what was set before outside: after a plain call, an exception, and around many calls. Kills:
    does not hold BLAS."""
    for count in (1, 2):
        with threadpool_limits(2, user_api="blas"), pool_of(count):
            assert blas_held_inside() == {1}
            assert blas_threads() == {2}
            with blas_at_one_thread():
                assert blas_held_inside() == {1}
                assert blas_threads() == {1}
            assert blas_threads() == {2}
            with pytest.raises(ZeroDivisionError):
                parallel_for(lambda i: 1 // (i - 1), 3)
            assert blas_threads() == {2}


def test_no_array_outlives_the_call():
    """What a piece refers to is free once the call is over, although the helpers live on. Kills: keeps the caller's
    arrays."""
    with pool_of(3):
        for _ in range(3):
            array = np.zeros(4)
            barrier = threading.Barrier(3)
            parallel_for(lambda i, array=array, barrier=barrier: barrier.wait(timeout=20), 3)
            gone = weakref.ref(array)
            del array
            for _ in range(200):  # a helper may still be on its way back to the queue
                if gone() is None:
                    break
                time.sleep(0.01)
            assert gone() is None


def test_a_nested_call_stays_in_its_thread():
    """A piece's own pieces run one after the other in its thread. Kills: a nested call uses the pool."""
    pairs = []

    def outer(i: int) -> None:
        me = threading.get_ident()

        def inner(j: int) -> None:
            time.sleep(0.002)
            pairs.append((i, j, threading.get_ident() == me))

        parallel_for(inner, 8)

    with pool_of(3):
        parallel_for(outer, 2)
    assert sorted(pairs) == [(i, j, True) for i in range(2) for j in range(8)]


def test_several_python_threads_at_once():
    """Four callers share the pool: nobody waits for ever, every piece is done once with BLAS held, and it is as before.
    Kills: does not hold BLAS."""
    seen: list[list[int]] = [[] for _ in range(4)]
    held: list[set[int]] = []

    def call(t: int) -> None:
        for _ in range(5):
            parallel_for(lambda i: (seen[t].append(i), held.append(blas_threads())), 6)

    with threadpool_limits(2, user_api="blas"), pool_of(3):
        callers = [threading.Thread(target=call, args=(t,)) for t in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(timeout=60)
            assert not caller.is_alive()
        assert blas_threads() == {2}
    assert all(Counter(s) == Counter(dict.fromkeys(range(6), 5)) for s in seen)
    assert set().union(*held) == {1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_works():
    """A child forked while its parent's pool works has threads of its own. Kills: a child keeps its parent's
    threads."""
    with threadpool_limits(2, user_api="blas"), pool_of(2):
        barrier = threading.Barrier(2)
        parallel_for(lambda i: barrier.wait(timeout=20), 2)
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that hangs ends
            threads._pool.count = 2
            barrier = threading.Barrier(2)
            parallel_for(lambda i: barrier.wait(timeout=10), 2)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("seed", range(3))
def test_same_bits_for_any_number_of_threads(seed):
    """Results do not depend on the number of threads: pieces are cut by the data's size."""
    rng = np.random.default_rng(seed)
    x, weight, qkv = (rng.standard_normal(s).astype(np.float32) for s in ((1100, 24), (30, 24), (7, 3, 4, 3 * 6)))
    table = rng.standard_normal((7, 3)).astype(np.float32)
    results = []
    for count in (1, 2, 3, 5):
        with pool_of(count), mock.patch.dict(gelu.__globals__, SIZE=50):
            results.append([linear(x, weight), attention(qkv, 2, table, table), gelu(x[:20])])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_the_environment_sets_the_number(monkeypatch):
    """``MINISAM_THREADS``, else the cores that the process may use. Kills: ignores MINISAM_THREADS."""
    for value, expected in (("3", 3), ("", len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None)):
        monkeypatch.setenv("MINISAM_THREADS", value)
        with mock.patch.object(threads, "_pool", threads._Pool()):
            assert expected in (None, num_threads())


def test_a_process_ends_after_using_the_pool():
    """The helpers do not keep a process alive."""
    code = "from minisam_kernels.runtime.threads import parallel_for; parallel_for(str, 9)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env={**os.environ, "MINISAM_THREADS": "3"})


@pytest.mark.parametrize("most", range(4))
@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_threads_that_cannot_start(monkeypatch, most, error):
    """Those that could do the work, and nobody asks again. Kills: gives up with the first thread, asks every time."""
    start, asked = threading.Thread.start, []

    def start_some(thread):
        asked.append(thread)
        if len(asked) > most:
            raise error
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    seen = []
    with pool_of(9):
        for _ in range(2):
            parallel_for(seen.append, 20)
        assert (num_threads(), len(asked)) == (most + 1, most + 1)
    assert Counter(seen) == dict.fromkeys(range(20), 2)


@pytest.mark.parametrize("text", ["0", "-1", "1e9", "abc", "1025", "9" * 20, "9" * 5000, "1.5", "2 ", "+2", "0x2", "²"])
def test_a_number_of_threads_that_cannot_be(monkeypatch, text):
    """Kills: any number of threads."""
    monkeypatch.setenv("MINISAM_THREADS", text)
    with (
        pool_of(0),
        pytest.raises(InputError, match="expected MINISAM_THREADS to be a whole number from 1 to 1024") as caught,
    ):
        parallel_for(print, 2)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("3", 3), ("007", 7)])
def test_a_number_of_threads(monkeypatch, text, count):
    monkeypatch.setenv("MINISAM_THREADS", text)
    with pool_of(0):
        assert num_threads() == count
