"""``jit``, the decorator of the kernels: how every compiled loop is compiled; ``exact_jit``, where bits must agree.

``fastmath`` is a set of five named freedoms, never ``True``. It lets LLVM reorder sums (``reassoc``, which is what
makes a reduction use vector registers), fuse a multiply with an add (``contract``), divide by multiplying with a
reciprocal (``arcp``), ignore the sign of zero (``nsz``) and use an approximate elementary function (``afn``). What it
leaves out are ``nnan`` and ``ninf``: with those the compiler may assume that no NaN and no infinity exists and delete
the code that looks for them.

``error_model="numpy"`` makes a division by zero give inf or NaN instead of an exception, ``nogil`` lets Python threads
run kernels side by side (see ``threads``), and ``cache`` keeps the machine code on disk. Numba looks only at the
changes in a function's own file; here one kernel may call a function of another file, so the cache entry is stamped
with a hash of the whole package. ``forceinline`` makes what a kernel calls a part of its own code. Without it both have
a copy, optimised apart, which may add in another order: a process that had just compiled them ran the one, a process
that found the caller on disk the other, and their bits differed.

``exact_jit`` grants none of the freedoms: every operation is IEEE's, in the order in which it is written, and the bits
are those that NumPy computes from the same expression. ``resize`` is compiled so, because ``mask_runs`` must give the
same pixels by another route, and ``nms``, where one rounding more or less keeps another box. It costs them nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}


def compiler(package: Path, fastmath: set[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that compiles a function at its first call; ``NUMBA_DISABLE_JIT=1`` leaves functions as Python.

    Cached code is stale as soon as any source file of ``package``, a folder, changes.
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    stamp = digest.hexdigest()

    def compile_lazily(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {"error_model": "numpy", "nogil": True, "cache": True, "forceinline": True}
        compiled = numba.njit(fastmath=fastmath, **options)(function)
        cache_file = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
        if cache_file is not None:  # numba's own stamp is the file's time and size; ours stands beside it
            cache_file._source_stamp = (cache_file._source_stamp, stamp)
        return compiled

    return compile_lazily


jit = compiler(Path(__file__).parents[1], FASTMATH)
exact_jit = compiler(Path(__file__).parents[1], set())
