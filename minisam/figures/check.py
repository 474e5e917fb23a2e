"""``check(name, value)``: is an exercise solved? It says what is off and never raises, so a chapter keeps running."""

from __future__ import annotations

import numpy as np


def check(name: str, value: object, expected: object, hint: str = "", tolerance: float = 1e-6) -> None:
    """Compare ``value`` with ``expected`` (numbers, strings or arrays) and print the outcome in one line.

    ``...`` as ``value`` means "not tried yet". Numbers agree within ``tolerance``, absolute and relative.
    """
    if value is ...:
        print(f"○ {name}: not tried yet. Replace the dots and run the cell again.")
        return
    wrong = _difference(value, expected, tolerance)
    print(f"✗ {name}: {wrong}. {hint}".rstrip() if wrong else f"✓ {name}")


def _difference(value: object, expected: object, tolerance: float) -> str:
    """What is different, in words; empty if nothing is."""
    if isinstance(expected, str) or expected is None:
        return "" if value == expected else f"got {value!r}, which is not the answer"
    try:
        got, want = np.asarray(value), np.asarray(expected)
        if got.shape != want.shape:
            return f"expected shape {want.shape}, got {got.shape}"
        if want.dtype == bool:
            off = int((got != want).sum())
            return f"{off} of {want.size} entries differ" if off else ""
        if np.allclose(got, want, rtol=tolerance, atol=tolerance):
            return ""
        return (
            f"the largest difference is {np.abs(got - want).max():.4g}"
            if want.ndim
            else f"got {got}, which is not the answer"
        )
    except (TypeError, ValueError):
        return f"expected something like {type(expected).__name__}, got {type(value).__name__}"
