"""Properties of ``scratch``. Each names the wrong versions that it kills; ``tests/mutants.py`` breaks them in."""

from __future__ import annotations

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minisam_kernels.runtime.scratch import scratch

# wrong version → (text in the file, its replacement)
MUTANTS = {
    "arrays overlap": ("        start += size\n", "        start += size // 2\n"),
    "not at cache lines": ("[-(-math.prod(shape) // _LINE) * _LINE for", "[math.prod(shape) for"),
    "the block's start is no cache line": ("-(whole.ctypes.data // 4) % _LINE", "4 + 4 * (id(whole) % 2)"),
    "block too small": ("whole[start : start + total]", "whole[start : start + total - 1]"),
    "keeps a block that is too small": ("block is None or block.size < total", "block is None"),
    "a new block each time": ("block is None or block.size < total", "True"),
    "one block for all names": ("_local.__dict__.get(name)", "_local.__dict__.get(str())"),
    "one block for all threads": ("_local = threading.local()", "_local = threading"),
}

shapes = st.lists(st.lists(st.integers(0, 9), max_size=3).map(tuple), min_size=1, max_size=5)


@given(shapes)
def test_arrays_do_not_overlap(shapes):
    """Each has its shape and begins a cache line, and what is written to one stays. Kills: arrays overlap, not at cache
    lines, the block's start is no cache line, block too small, keeps a block that is too small."""
    arrays = scratch(*shapes)
    for i, (array, shape) in enumerate(zip(arrays, shapes, strict=True)):
        assert array.shape == shape and array.dtype == np.float32 and array.flags.c_contiguous and array.flags.writeable
        assert array.ctypes.data % 64 == 0 or array.size == 0
        array.fill(i)
    for i, array in enumerate(arrays):
        assert (array == i).all()


def test_a_large_request_after_a_small_one():
    """Kills: keeps a block that is too small, block too small."""
    for size in (1, 10**4, 10**5 + 1):
        for array in scratch((size,), (3,), (size // 2,)):
            array.fill(1)


def test_the_memory_is_used_again():
    """Kills: a new block each time."""
    (first,) = scratch((100,))
    (second,) = scratch((7, 5))
    assert np.shares_memory(first, second)


def test_threads_have_their_own():
    """Kills: one block for all threads."""
    (mine,) = scratch((50,))
    theirs: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: theirs.extend(scratch((50,))))
    thread.start()
    thread.join()
    assert not np.shares_memory(mine, theirs[0])


def test_names_have_their_own():
    """What has a name stays while others come and go. Kills: one block for all names."""
    scratch((50,))
    (mine,) = scratch((50,), name="mine")
    (nobodys,) = scratch((40,))
    (again,) = scratch((5,), name="mine")
    assert not np.shares_memory(mine, nobodys) and np.shares_memory(mine, again)
