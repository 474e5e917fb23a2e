"""Properties of the checks of input. Each names the wrong versions that it kills (``tests/mutants.py``)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam_kernels.runtime.errors import InputError, as_float32, as_zeros_and_ones, expect_ndim, expect_shape

# wrong version → (text in the file, its replacement)
MUTANTS = {
    "too many axes pass": ("array.ndim != ndim", "array.ndim < ndim"),
    "the number of axes is enough": ("array.shape != shape", "array.ndim != len(shape)"),
    "no booleans": ('"fiub"', '"fiu"'),
    "complex numbers lose a part": ('"fiub"', '"fiubc"'),
    "text is numbers": ('"fiub"', '"fiubU"'),
    "a number gets an axis": ("np.asarray(array, dtype=np.float32", "np.array(array, ndmin=1, dtype=np.float32"),
    "strides stay": ('dtype=np.float32, order="C"', "dtype=np.float32"),
    "doubles stay": ("dtype=np.float32, ", ""),
    "a half is one": ("(array == 0) | (array == 1)", "(array >= 0) & (array <= 1)"),
    "zeros alone": ("(array == 0) | (array == 1)", "(array == 0)"),
    "one wrong number is no harm": (").all():", ").any():"),
    "the caller's dtype stays": ("return array.astype(np.uint8)", "return array"),
}
shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
dtypes = st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.int8, np.uint8, np.bool_])


@given(shapes, shapes)
def test_the_shape_that_was_asked_for(came, asked):
    """Kills: too many axes pass, the number of axes is enough."""
    checks = (expect_ndim, len(asked), str(asked)), (expect_shape, asked)
    for (check, *wanted), fits in zip(checks, (len(came) == len(asked), came == asked)):
        try:
            check("x", np.zeros(came), *wanted)
            message = ""
        except InputError as error:
            message = str(error)
        assert message == ("" if fits else f"expected x of shape {asked}, got {came}")


@given(shapes, dtypes, st.booleans(), st.integers(0, 99))
def test_numbers_of_every_kind_in_any_layout(shape, dtype, turned, seed):
    """Kills: no booleans, a number gets an axis, strides stay, doubles stay."""
    array = np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)
    array = array.T if turned else array
    result = as_float32("x", array)
    assert result.dtype == np.float32 and result.shape == array.shape and result.flags.c_contiguous
    np.testing.assert_array_equal(result, array)


def test_what_is_ready_is_not_copied():
    ready = np.zeros((2, 3), np.float32)
    assert as_float32("x", ready) is ready
    truth = np.zeros((2, 3), bool)
    assert as_zeros_and_ones("x", truth).base is truth


@pytest.mark.parametrize(
    "value, message",
    [
        ([[1, 2], [3]], "numbers, got [[1, 2], [3]]"),
        (np.ones(2, complex), "real numbers, got dtype complex128"),
        (np.array(["1"]), "real numbers, got dtype <U1"),
        (None, "real numbers, got dtype object"),
    ],
)
def test_what_is_no_number(value, message):
    """Kills: complex numbers lose a part, text is numbers."""
    with pytest.raises(InputError) as error:
        as_float32("x", value)
    assert str(error.value) == f"expected x to hold {message}"


@given(st.lists(st.sampled_from([0, 1]), min_size=1, max_size=6), dtypes, st.sampled_from([None, 0.5, 2, -1, np.nan]))
def test_zeros_and_ones(values, dtype, wrong):
    """Kills: a half is one, zeros alone, one wrong number is no harm, the caller's dtype stays."""
    array = np.array(values).astype(dtype)
    result = as_zeros_and_ones("x", array)
    assert result.dtype == np.uint8 and result.tolist() == values
    if wrong is not None:
        with pytest.raises(InputError, match="expected x to hold only 0 and 1, got other values of dtype float64"):
            as_zeros_and_ones("x", np.append(array.astype(np.float64), wrong))
