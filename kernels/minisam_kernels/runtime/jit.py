"""``jit``, the decorator of the kernels: how every compiled loop is compiled; ``exact_jit``, where bits must agree.

``fastmath`` is a set of five named freedoms, never ``True``. It lets LLVM reorder sums (``reassoc``, which is what
makes a reduction use vector registers), fuse a multiply with an add (``contract``), divide by multiplying with a
reciprocal (``arcp``), ignore the sign of zero (``nsz``) and use an approximate elementary function (``afn``). What it
leaves out are ``nnan`` and ``ninf``: with those the compiler may assume that no NaN and no infinity exists and delete
the code that looks for them.

``error_model="numpy"`` makes a division by zero give inf or NaN instead of an exception, ``nogil`` lets Python threads
run kernels side by side (see ``threads``). The machine code is kept on disk (see ``cache``). ``forceinline`` makes what
a kernel calls a part of its own code. Without it both have a copy, optimised apart, which may add in another order: a
process that had just compiled them ran the one, a process that found the caller on disk the other, and their bits
differed.

``exact_jit`` grants none of the freedoms: every operation is IEEE's, in the order in which it is written, and the bits
are those that NumPy computes from the same expression. ``resize`` is compiled so, because ``mask_runs`` must give the
same pixels by another route, and ``nms``, where one rounding more or less keeps another box. It costs them nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

from minisam_kernels.runtime.cache import Cache

FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}


def compiler(fastmath: set[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that compiles a function at its first call; ``NUMBA_DISABLE_JIT=1`` leaves functions as Python."""

    def compile_lazily(function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Any = numba.njit(fastmath=fastmath, error_model="numpy", nogil=True, forceinline=True)(function)
        if compiled is not function:
            compiled._cache = Cache(compiled)
        return compiled

    return compile_lazily


jit = compiler(FASTMATH)
exact_jit = compiler(set())
