"""One kind of error for bad input: a single line that names what was expected and what came."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class InputError(ValueError):
    """The caller's input is at fault. The message names what was expected and what came."""


def reason(error: Exception, length: int = 120) -> str:
    """What ``error`` says, or the system about it, in one line of at most ``length`` characters; else its type."""
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:length] or type(error).__name__


def expect_ndim(name: str, array: np.ndarray, ndim: int, shape: str) -> None:
    """Raise unless ``array`` has ``ndim`` axes; ``shape`` is the expected shape in words, such as ``(B, H, W, C)``."""
    if array.ndim != ndim:
        raise InputError(f"expected {name} of shape {shape}, got {array.shape}")


def expect_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise unless ``array`` has exactly ``shape``."""
    if array.shape != shape:
        raise InputError(f"expected {name} of shape {shape}, got {array.shape}")


def as_float32(name: str, array: npt.ArrayLike) -> np.ndarray:
    """``array`` as C-contiguous float32, the one layout and dtype that compiled kernels take; numbers only."""
    try:
        array = np.asarray(array)
    except ValueError as error:  # lists of several lengths
        raise InputError(f"expected {name} to hold numbers, got {array!r:.60}") from error
    if array.dtype.kind not in "fiub":
        raise InputError(f"expected {name} to hold real numbers, got dtype {array.dtype}")
    return np.asarray(array, dtype=np.float32, order="C")  # keeps a single number without axes


def as_zeros_and_ones(name: str, array: npt.ArrayLike) -> np.ndarray:
    """``array`` as C-contiguous uint8; booleans, or numbers that are all exactly 0 or 1."""
    array = np.ascontiguousarray(array)
    if array.dtype == bool:
        return array.view(np.uint8)
    if not ((array == 0) | (array == 1)).all():
        raise InputError(f"expected {name} to hold only 0 and 1, got other values of dtype {array.dtype}")
    return array.astype(np.uint8)
