"""Properties of one call of ``parallel_for``. Each names the wrong versions that it kills."""

from __future__ import annotations

import threading
import time
from collections import Counter
from unittest import mock

import pytest
from test_threads import blas_held_inside, pool_of

from minisam_kernels.runtime.parallel_call import Call, cancelled
from minisam_kernels.runtime.threads import parallel_for

# wrong version → (text in the file, its replacement)
MUTANTS = {
    "two threads take the same piece": ("self.begun = i + 1", "self.begun, i = i + 1, i - i % 2"),
    "an exception is lost": ("            raise self.error", "            pass"),
    "goes on after an exception": ("self.begun = self.count  # leave out the rest", "pass"),
    "comes back while pieces run": ("                if self.over():", "                if True:"),
    "never cancelled": ("call.error is not None", "False"),
}


@pytest.mark.parametrize("count", [0, 1, 2, 9, 40])
def test_each_piece_is_taken_once(count):
    """By three threads that work at one call. Kills: two threads take the same piece."""
    seen = []
    call = Call(seen.append, count)
    helpers = [threading.Thread(target=call.work) for _ in range(2)]
    for helper in helpers:
        helper.start()
    call.work()
    call.wait()
    for helper in helpers:
        helper.join(timeout=20)
    assert Counter(seen) == Counter(range(count)) and call.over()


@pytest.mark.parametrize("where", ["caller", "helper"])
def test_an_exception_comes_back_and_stops_the_rest(where):
    """Raised once, here, when no piece runs any more, and most pieces are left out. Kills: an exception is lost,
    goes on after an exception, comes back while pieces run."""
    done, running = [], []

    def piece(i: int) -> None:
        running.append(i)
        time.sleep(0.005)
        mine = "caller" if threading.current_thread() is threading.main_thread() else "helper"
        if mine == where:
            running.remove(i)
            raise KeyError(where)
        time.sleep(0.05)
        done.append(i)
        running.remove(i)

    with pool_of(2):
        with pytest.raises(KeyError, match=where):
            parallel_for(piece, 50)
        assert running == [] and len(done) < 40
        assert blas_held_inside() == {1}  # and the pool still works


def test_an_interrupted_wait_waits_all_the_same():
    """Ctrl-C while a helper runs a piece: raised when no piece runs any more, and no other piece begins."""
    done = []

    def piece(i: int) -> None:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        time.sleep(0.05)
        done.append(i)

    with pool_of(2), pytest.raises(KeyboardInterrupt):
        parallel_for(piece, 50)
    assert len(done) <= 2
    call = Call(lambda i: None, 1)
    call.rung = mock.Mock(acquire=mock.Mock(side_effect=[KeyboardInterrupt, True]), locked=lambda: False)
    with pytest.raises(KeyboardInterrupt), mock.patch.object(call, "over", side_effect=[False, False, True]):
        call.wait()
    assert call.rung.acquire.call_count == 2 and call.begun == call.count


def test_a_piece_hears_that_another_one_failed():
    """A piece that waits for another need not wait for ever. Kills: never cancelled."""
    heard = []

    def piece(i: int) -> None:
        if i == 0:
            raise KeyError("first")
        end = time.monotonic() + 10
        while not cancelled() and time.monotonic() < end:
            time.sleep(0.001)
        heard.append(cancelled())

    with pool_of(2), pytest.raises(KeyError, match="first"):
        begun = threading.Barrier(2)
        parallel_for(lambda i: (begun.wait(timeout=20), piece(i)), 2)
    assert heard == [True] and not cancelled()
