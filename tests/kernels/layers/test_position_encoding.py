"""Properties of ``position_encoding`` and ``position_grid``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.layers.position_encoding import (
    TOLERANCE,
    position_encoding,
    position_encoding_numpy,
    position_grid,
)
from oracles import assert_close, oracle
from strategies import arrays

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "corners instead of centres": ("(np.arange(width) + 0.5) / width", "np.arange(width) / width"),
    "first and last cell at the image's edges": (
        "(np.arange(height) + 0.5) / height",
        "np.arange(height) / max(height - 1, 1)",
    ),
    "row before column": ("coords[..., 0] =", "coords[..., 1] ="),
    "stays in [0, 1]": ("two * coords[n, 0] - one", "coords[n, 0]"),
    "swaps x and y": ("x * gaussian[0, c] + y * gaussian[1, c]", "y * gaussian[0, c] + x * gaussian[1, c]"),
    "radians instead of turns": (
        "k = np.rint(two * t)",
        "t = t / np.float32(6.2831855)\n            k = np.rint(two * t)",
    ),
    "forgets the sign of odd half turns": ("sines[c] = sign * sine", "sines[c] = sine"),
    "cosine first": ("sines[c] = sign * sine", "sines[c] = sign * cosine"),
    "one term of the cosine less": ("w * (_C5 + w * _C6)", "w * _C5"),
    "one term of the sine less": ("w * (_S4 + w * _S5)", "w * _S4"),
    "readable version stays in [0, 1]": ("(2 * coords - 1) @", "coords @"),
    "readable version: cosine first": ("[np.sin(2 * np.pi * turns), np.cos", "[np.cos(2 * np.pi * turns), np.sin"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    lead = draw(st.sampled_from([(), (1,), (4,), (2, 3), (0,)]))
    return draw(arrays((*lead, 2))), draw(arrays((2, draw(st.integers(0, 9)))))


def magnitude(coords: np.ndarray, gaussian: np.ndarray) -> np.ndarray:
    """1 + 2π (|2x − 1| |G₀| + |2y − 1| |G₁|) for the sines and again for the cosines."""
    turns = (2 * np.abs(coords.astype(np.float64)) + 1) @ np.abs(gaussian.astype(np.float64))
    return np.concatenate([1 + 2 * np.pi * turns] * 2, axis=-1)


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version stays in [0, 1], cosine first."""
    actual = position_encoding_numpy(*(a.astype(np.float64) for a in drawn))
    assert_close(actual, oracle(ops.position_encoding, *drawn), magnitude(*drawn), 1e-4)


@given(inputs())
def test_compiled_is_torch(drawn):
    """Kills: stays in [0, 1], swaps x and y, radians instead of turns, forgets the sign of odd half turns, cosine
    first."""
    assert_close(position_encoding(*drawn), oracle(ops.position_encoding, *drawn), magnitude(*drawn), TOLERANCE)


def test_accuracy_over_one_turn():
    """Both series, over their whole range. Kills: one term of the cosine or of the sine less."""
    coords = np.zeros((1001, 2), np.float32)
    coords[:, 0] = np.linspace(0, 1, 1001)
    gaussian = np.array([[1], [0]], np.float32)
    assert_close(position_encoding(coords, gaussian), oracle(ops.position_encoding, coords, gaussian), 1.0, 4.0)


@given(st.integers(1, 6), st.integers(1, 6), arrays((2, 3), scale=1.0, spikes=False))
def test_grid_is_torch(height, width, gaussian):
    """Kills: corners instead of centres, first and last cell at the image's edges, row before column."""
    allowed = 1 + 2 * np.pi * np.abs(gaussian.astype(np.float64)).sum(axis=0).max()
    assert_close(
        position_grid((height, width), gaussian),
        oracle(ops.position_grid, (height, width), gaussian),
        allowed,
        TOLERANCE,
    )


def test_cells_are_encoded_at_their_half_pixel_centres():
    """The only cell of a 1×1 grid lies in the middle of the image, the origin of the encoding: sin 0 and cos 0."""
    np.testing.assert_array_equal(position_grid((1, 1), np.full((2, 2), 0.7)), [[[0, 0, 1, 1]]])


@given(inputs())
def test_opposite_points(drawn):
    """Law: (1 − x, 1 − y) has the same cosines and the opposite sines. Kills: stays in [0, 1], cosine first."""
    coords, gaussian = drawn
    encoded, mirrored = position_encoding(coords, gaussian), position_encoding(1 - coords.astype(np.float64), gaussian)
    flip = np.repeat(np.float32([-1, 1]), gaussian.shape[1])
    assert_close(encoded, (flip * mirrored).astype(np.float64), magnitude(coords, gaussian), 3 * TOLERANCE)


def test_nan_and_infinity_are_nan():
    """Kills nothing here: it pins what the document says."""
    coords = np.array([[np.nan, 0], [np.inf, 0], [0, -np.inf]])
    with np.errstate(invalid="ignore"):
        assert np.isnan(position_encoding(coords, np.ones((2, 3)))).all()


@pytest.mark.parametrize(
    ("coords", "gaussian", "message"),
    [
        ((4, 3), (2, 4), r"expected coords of shape \(..., 2\), got \(4, 3\)"),
        ((4, 2), (4, 2), r"expected gaussian of shape \(2, 2\), got \(4, 2\)"),
        ((4, 2), (4,), r"expected gaussian of shape \(2, C/2\), got \(4,\)"),
    ],
)
def test_bad_input_names_expected_and_received(coords, gaussian, message):
    with pytest.raises(InputError, match=message):
        position_encoding(np.ones(coords), np.ones(gaussian))


def test_a_number_has_no_place():
    with pytest.raises(InputError, match=r"expected coords of shape \(\.\.\., 2\), got \(\)"):
        position_encoding(0.5, np.ones((2, 3)))


def test_an_empty_grid_is_an_error():
    with pytest.raises(InputError, match=r"expected a grid of at least 1 row and 1 column, got \(0, 4\)"):
        position_grid((0, 4), np.ones((2, 3)))
