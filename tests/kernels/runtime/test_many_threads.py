"""The model among other threads and processes: the same bits as alone, and nobody waits for ever."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

from minisam.predictor import SamPredictor
from minisam.sam import Sam, build
from minisam_kernels.layers.linear import linear
from small_models import shallow

CONFIG = shallow("tiny", 10, 8)
POINT = ([[40.0, 30.0]], [1])


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (60 + seed, 80, 3), dtype=np.uint8)


def segment(sam: Sam, seed: int) -> list[np.ndarray]:
    """Features, logits and scores of one image and one point, with a predictor of one's own."""
    predictor = SamPredictor(sam)
    predictor.set_image(image(seed))
    return [predictor.get_image_embedding(), *predictor.predict(*POINT, return_logits=True)]


def same_bits(ours: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, two in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(one, two)


def hammer(work: Callable[[int], None], count: int) -> None:
    """``work(t)`` in ``count`` Python threads that begin together; what one of them raises is raised here."""
    barrier, errors = threading.Barrier(count), []

    def run(t: int) -> None:
        try:
            barrier.wait(timeout=60)
            work(t)
        except BaseException as error:
            errors.append(error)

    callers = [threading.Thread(target=run, args=(t,), daemon=True) for t in range(count)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=120)
        assert not caller.is_alive(), "a thread waits for ever"
    if errors:
        raise errors[0]


@pytest.fixture(scope="module")
def sam() -> Sam:
    return build(CONFIG, seed=2)


def test_a_predictor_for_each_thread_and_one_model(sam):
    """Four threads, each with images of its own, share the weights and the pool."""
    expected = [segment(sam, t) for t in range(4)]

    def work(t: int) -> None:
        for k in range(5):
            same_bits(segment(sam, (t + k) % 4), expected[(t + k) % 4])

    hammer(work, 4)


def test_one_predictor_asked_by_many_threads(sam):
    """An image once set, any number of threads may ask about it at once."""
    predictor = SamPredictor(sam)
    predictor.set_image(image(0))
    points = [([[10.0 * t + 5, 30.0]], [1]) for t in range(5)]
    expected = [predictor.predict(*point, return_logits=True) for point in points]

    def work(t: int) -> None:
        for k in range(8):
            point = (t + k) % 5
            same_bits(predictor.predict(*points[point], return_logits=True), expected[point])

    hammer(work, 4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_while_other_threads_work(sam):
    """Children forked in the middle of it all compute the same bits, and the parent goes on."""
    expected, stop = segment(sam, 1), threading.Event()
    x = np.random.default_rng(0).standard_normal((600, 32)).astype(np.float32)
    y = linear(x, x[:40])

    def busy() -> None:
        while not stop.is_set():
            linear(x, x[:300])

    workers = [threading.Thread(target=busy, daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(60)  # a child that hangs ends
                code = 1
                try:
                    same_bits([linear(x, x[:40])], [y])
                    same_bits(segment(sam, 1), expected)
                    code = 0
                finally:
                    os._exit(code)
            same_bits(segment(sam, 1), expected)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for worker in workers:
            worker.join(timeout=60)
    assert not any(worker.is_alive() for worker in workers)


def in_a_process(seed: int) -> list[np.ndarray]:
    return segment(build(CONFIG, seed=2), seed)


@pytest.mark.slow
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_worker_processes(sam, method):
    """A process pool of every kind: spawn imports anew, fork takes along what the parent was."""
    expected = [segment(sam, seed) for seed in range(2)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        results = pool.map_async(in_a_process, range(2)).get(timeout=180)
    for ours, theirs in zip(results, expected, strict=True):
        same_bits(ours, theirs)


@pytest.mark.slow
def test_compiled_now_or_found_on_disk(tmp_path):
    """A process that compiles every kernel and one that finds them on disk give the same bits. Kills: ``jit`` without
    ``forceinline``."""
    script = "import hashlib; from test_many_threads import *\n"
    script += "print(hashlib.sha256(b''.join(a.tobytes() for a in segment(build(CONFIG, seed=2), 0))).hexdigest())"
    settings = {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    runs = [
        subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=True) for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout != ""
