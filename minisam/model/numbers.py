"""Numbers that a caller gives, as arrays of real numbers, or one line that says why they are none."""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np

from minisam_kernels import InputError
from minisam_kernels.runtime.errors import reason

MOST_PIXELS = 1 << 32  # of an image: its three masks take 12 GB
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


def shown(value: Any) -> str:
    """A value in one line of at most 60 characters."""
    try:
        text = " ".join(_short.repr(value).split())
    except Exception:  # Python writes no whole number of more than 4300 digits
        text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:59]}…"


def as_array(name: str, values: Any) -> np.ndarray:
    """What NumPy makes of ``values``; ``InputError`` if it makes nothing of them."""
    try:
        return np.asarray(values)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # lists of several lengths; tensors on a GPU, in bfloat16, or that require their gradient
        raise InputError(f"expected {name} to hold numbers, got {shown(values)} ({reason(error)})") from error


def as_numbers(name: str, values: Any, kinds: str = "iuf") -> np.ndarray:
    """``values`` as float64, every number finite, in float32 too. ``kinds`` are NumPy's letters of the types allowed:
    neither complex numbers, dates, texts nor objects, which whole numbers beyond 64 bits become."""
    array = as_array(name, values)
    if array.size and array.dtype.kind not in kinds:
        raise InputError(f"expected {name} to hold numbers, got {array.dtype} {shown(values)}")
    with np.errstate(over="ignore"):  # of a longer type
        array = array.astype(np.float64, copy=False) if array.size else np.zeros(array.shape)
    if not np.isfinite(array).all():
        raise InputError(f"expected {name} to be finite, got {array[~np.isfinite(array)][0]}")
    if (np.abs(array) > np.finfo(np.float32).max).any():
        raise InputError(f"expected {name} to hold numbers of float32, got {np.abs(array).max():g}")
    return array


def as_size(size: Any, name: str = "original_size") -> tuple[int, int]:
    """(H, W) as two whole numbers of at least 1."""
    array = as_numbers(name, size)
    if array.shape != (2,) or (array != array.round()).any() or array.min() < 1 or array.prod() > MOST_PIXELS:
        raise InputError(f"expected {name} as (H, W) in pixels, got {shown(size)}")
    height, width = (int(side) for side in array)
    return height, width
