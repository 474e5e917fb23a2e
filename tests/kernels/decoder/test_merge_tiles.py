"""Properties of ``merge_tiles``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import decoder_ops as ops
from minisam_kernels import InputError
from minisam_kernels.decoder.merge_tiles import TOLERANCE, merge_tiles, merge_tiles_numpy
from oracles import assert_close, oracle
from strategies import arrays

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "tiles count alike": ("share = exp(largest[i, r] - top)", "share = np.float32(1)"),
    "the first tile's maximum for all": ("top = largest[i, r] if largest[i, r] > top else top", "top = top"),
    "sums without shares": ("total += share * totals[i, r]", "total += totals[i, r]"),
    "mixtures are not divided": ("rest[r, j] /= total", "rest[r, j] /= np.float32(1)"),
    "mixed is not divided": ("mixed[r, d] /= total", "mixed[r, d] /= np.float32(1)"),
    "moments of the first tile": ("share * moments[i, r, d]", "share * moments[0, r, d]"),
    "mixtures of the first tile": ("share * mixtures[i, r, j]", "share * mixtures[0, r, j]"),
    "readable version: tiles count alike": ("np.exp(largest - largest.max(axis=0))", "np.exp(0 * largest)"),
    "readable version: sums without shares": ("(share * totals[..., None])", "totals[..., None]"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """Sums of weights are at least 1, since a tile's largest score has the weight 1."""
    tiles, rows = draw(st.integers(1, 5)), draw(st.integers(0, 4))
    width, known = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    largest, totals = draw(arrays((tiles, rows))), 1 + np.abs(draw(arrays((tiles, rows))))
    return largest, totals, draw(arrays((tiles, rows, width))), draw(arrays((tiles, rows, known)))


def check(merge, drawn: tuple[np.ndarray, ...], tolerance: float) -> None:
    """Against torch; allowed is (1 + largest |score|) times the same mixture of absolute numbers."""
    largest, totals, moments, mixtures = (a.astype(np.float64) for a in drawn)
    sizes = merge_tiles_numpy(largest, totals, np.abs(moments), np.abs(mixtures))
    for i, (merged, size) in enumerate(zip(merge(*drawn), sizes, strict=True)):
        expected = oracle(lambda *a, i=i: ops.merge_tiles(*a)[i], *drawn)
        assert_close(merged, expected, (1 + np.abs(largest).max(initial=0)) * size, tolerance)


@given(inputs())
def test_numpy_is_torch(drawn):
    """Kills: readable version: tiles count alike, sums without shares."""
    check(merge_tiles_numpy, tuple(a.astype(np.float64) for a in drawn), 1e-4)


@given(inputs())
def test_compiled_is_torch(drawn):
    """Kills: tiles count alike, sums without shares, mixtures or mixed are not divided, the first tile's moments or
    mixtures."""
    check(merge_tiles, drawn, TOLERANCE)


@pytest.mark.parametrize("largest", [0, 1, 2])
def test_huge_scores_do_not_overflow(largest):
    """A tile's score of 10⁵ takes all, wherever it stands. Kills: the first tile's maximum for all."""
    scores = np.full((3, 1), 1e4, np.float32)
    scores[largest] = 1e5
    values = np.arange(3, dtype=np.float32).reshape(3, 1, 1)
    assert [a.item() for a in merge_tiles(scores, np.ones((3, 1)), values, 2 * values)] == [largest, 2 * largest]


@pytest.mark.parametrize(
    ("largest", "totals", "moments", "mixtures", "message"),
    [
        ((2,), (2,), (2, 3, 4), (2, 3, 5), r"expected largest of shape \(tiles, R\), got \(2,\)"),
        ((0, 3), (0, 3), (0, 3, 4), (0, 3, 5), r"expected at least one tile, got largest of shape \(0, 3\)"),
        ((2, 3), (2, 4), (2, 3, 4), (2, 3, 5), r"expected totals of shape \(2, 3\), got \(2, 4\)"),
        ((2, 3), (2, 3), (2, 3), (2, 3, 5), r"expected moments of shape \(tiles, R, D\), got \(2, 3\)"),
        ((2, 3), (2, 3), (1, 3, 4), (2, 3, 5), r"expected moments of shape \(2, 3, 4\), got \(1, 3, 4\)"),
        ((2, 3), (2, 3), (2, 3, 4), (2, 3), r"expected mixtures of shape \(tiles, R, K\), got \(2, 3\)"),
        ((2, 3), (2, 3), (2, 3, 4), (2, 2, 5), r"expected mixtures of shape \(2, 3, 5\), got \(2, 2, 5\)"),
    ],
)
def test_bad_input_names_expected_and_received(largest, totals, moments, mixtures, message):
    with pytest.raises(InputError, match=message):
        merge_tiles(*map(np.ones, (largest, totals, moments, mixtures)))
