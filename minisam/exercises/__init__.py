"""``check("3.2", answer)``: is exercise 2 of chapter 3 solved? The answer meets property tests, not one stored number.

``minisam/exercises/chapter_03.py`` holds the tests of chapter 3: ``EXERCISES`` maps the exercise's number to a
function that takes the answer and returns a hint, or "" when every property holds. Whatever an answer does, ``check``
prints one line and never raises, so that a chapter keeps running.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from minisam_kernels.runtime.errors import InputError

__all__ = ["check", "same", "verdict"]

Test = Callable[[Any], str]


def find(number: str) -> Test:
    """The test of exercise ``number``, "chapter.exercise"."""
    chapter, _, exercise = str(number).partition(".")
    try:
        module = importlib.import_module(f"minisam.exercises.chapter_{int(chapter):02d}")
        test: Test = module.EXERCISES[exercise]
    except (ValueError, ModuleNotFoundError, KeyError):
        raise InputError(f"expected the number of an exercise, like '3.2', got {number!r}") from None
    return test


def verdict(number: str, answer: Any) -> str:
    """What is off about ``answer``, in words; "" if nothing is."""
    test = find(number)
    try:
        return test(answer)
    except Exception as error:  # the reader's function raised, or gave something that cannot be compared
        return f"your answer raised {type(error).__name__}: {error}"


def check(number: str, answer: Any) -> None:
    """Print whether the exercise is solved. ``...`` as ``answer`` means "not tried yet"."""
    if answer is ...:
        find(number)
        print(f"○ {number}: not tried yet. Replace the dots and run the cell again.")
        return
    wrong = verdict(number, answer)
    print(f"✗ {number}: {wrong}" if wrong else f"✓ {number}")


def same(out: Any, want: Any, hint: str, tolerance: float = 1e-6) -> str:
    """An empty text where ``out`` has ``want``'s shape and its values within ``tolerance``, absolute and relative;
    else what is different, and ``hint``."""
    import numpy as np

    if out is None:
        return f"got None: does your function return something? {hint}"
    out, want = np.asarray(out), np.asarray(want)
    if out.dtype == object:
        return f"expected numbers, got {out.dtype}. {hint}"
    if out.shape != want.shape:
        return f"expected shape {want.shape}, got {out.shape}. {hint}"
    if want.dtype.kind in "bUS":
        off = int((out != want).sum())
        return f"{off} of {want.size} entries differ. {hint}" if off else ""
    if np.allclose(out, want, rtol=tolerance, atol=tolerance, equal_nan=True):
        return ""
    if want.ndim == 0:
        return f"got {out:.6g}, which is not it. {hint}"
    return f"the largest difference is {np.nanmax(np.abs(out - want)):.4g}. {hint}"
