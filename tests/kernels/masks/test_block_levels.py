"""Properties of ``block_levels``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam_kernels.layers.resize import resize
from minisam_kernels.masks.block_levels import HUGE, MIXED, WILD, block_levels, block_levels_numpy, plan
from minisam_kernels.masks.mask_changes import STRIP, WORD
from strategies import arrays, seeds, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "no margin": ("low, high = low - margin, high + margin", "low, high = low, high"),
    "a margin of 1 eps": ("np.float32(8 * 2.0**-23)", "np.float32(2.0**-23)"),
    "a margin of the lowest": ("largest = np.maximum(-low, high)", "largest = np.maximum(low, -low)"),
    "no margin for underflow": ("np.float32(1e-37), np", "np.float32(0), np"),
    "forgets the last row of a block": ("range(top + 1, bottom)", "range(top + 1, bottom - 1)"),
    "forgets the last column of a strip": ("column_span[1, s])", "column_span[1, s] - 1)"),
    "NaN is a number": ("if not largest < HUGE:", "if largest >= HUGE:"),
    "infinity is a number": ("if not largest < HUGE:", "if largest != largest:"),
    "one limit too few": ("+ np.int64(low > limits.upper)", "+ np.int64(high > limits.upper)"),
    "mixed counts as outside": ("above if above == maybe else MIXED", "above"),
    "the second tap is left out": ("inner.second[outer.second[ends]] + 1", "inner.first[outer.second[ends]] + 1"),
    "readable version without a margin": ("np.abs(part).max() * MARGIN + TINY", "np.float32(0)"),
}

LIMITS = np.float32([-1, 0, 1])


@st.composite
def plans(draw: st.DrawFn) -> tuple:
    """(h, w), S, (h', w'), (H, W), as ``plan`` takes them."""
    low = draw(sizes(1, 20)), draw(sizes(1, 20))
    square = draw(sizes(1, 80, edges=(1, 40)))
    cut = draw(st.sampled_from([square, (square + 1) // 2])), square
    new = draw(st.one_of(st.just(cut), st.tuples(sizes(1, 100, edges=(32, 64)), sizes(1, 150, edges=(64, 128)))))
    return low, square, cut, new


@st.composite
def logits(draw: st.DrawFn, shape: tuple[int, int]) -> np.ndarray:
    """Logits of which many blocks are decided: smooth, or close to a limit."""
    x = np.array(draw(arrays(shape, spikes=False, scale=1.0)))
    rng = np.random.default_rng(draw(seeds))
    kind = draw(st.sampled_from(["slope", "close", "large", "tiny", "wild"]))
    if kind == "slope":
        x = 0.1 * x + np.linspace(-3, 3, shape[1], dtype=np.float32)
    elif kind == "close":
        x = (rng.choice(LIMITS) + np.float32(2e-7) * np.abs(x)).astype(np.float32)
    elif kind == "large":
        x = np.float32(1e4) * np.abs(x) + 2
    elif kind == "tiny":
        x = np.float32(1e-44) * np.abs(x).round()
    else:
        x[rng.integers(shape[0]), rng.integers(shape[1])] = rng.choice([np.nan, np.inf, -np.inf, HUGE])
    return x.astype(np.float32)


@given(plans(), st.data())
def test_compiled_is_the_readable_version(sizes, data):
    """Kills: no margin, a margin of 1 eps, a margin of the lowest, forgets the last row, forgets the last column, NaN
    is a number, infinity is a number, one limit too few, mixed counts as outside, readable version without a margin."""
    x = data.draw(logits(sizes[0]))
    rows, columns = plan(*sizes)
    np.testing.assert_array_equal(block_levels(x, rows, columns, LIMITS), block_levels_numpy(x, rows, columns, LIMITS))


@given(plans(), st.data())
def test_what_is_decided_is_so(sizes, data):
    """The promise: every pixel of a block is where its level says, after both resizes, rounded as they are. Kills: no
    margin, forgets the last row, forgets the last column, NaN is a number, infinity is a number, mixed counts as
    outside, the second tap is left out."""
    low, square, cut, new = sizes
    x = data.draw(logits(low))
    levels = block_levels(x, *plan(*sizes), LIMITS)
    z = resize(resize(x[None], (square, square))[:, : cut[0], : cut[1]], new)[0]
    truth = (z[..., None] > LIMITS).sum(axis=-1)
    for (b, s), level in np.ndenumerate(levels):
        part = truth[WORD * b : WORD * (b + 1), STRIP * s : STRIP * (s + 1)]
        assert level in (MIXED, WILD) or (part == level).all()


def test_far_from_the_limits_everything_is_decided():
    """Kills: one limit too few."""
    for value, level in ((-9, 0), (-0.5, 1), (0.5, 2), (9, 3)):
        x = np.full((4, 5), value, np.float32)
        levels = block_levels(x, *plan((4, 5), 80, (70, 80), (100, 140)), LIMITS)
        assert levels.shape == (4, 3) and (levels == level).all()


@pytest.mark.parametrize("place", [(i, j) for i in range(4) for j in range(5)])
def test_every_number_of_a_block_counts(place):
    """One that differs leaves the block undecided. Kills: forgets the last row, forgets the last column."""
    x = np.full((4, 5), 5, np.float32)
    x[place] = -5
    assert block_levels(x, *plan((4, 5), 20, (16, 20), (16, 20)), LIMITS).item() == MIXED


def test_on_a_limit_nothing_is_decided():
    """Nor within eight eps of it, nor where products underflow. Kills: no margin, a margin of 1 eps, no margin for
    underflow, a margin of the lowest, readable version without a margin."""
    sizes = plan((2, 2), 8, (8, 8), (8, 8))
    for value in (1, 1 + 2.0**-23, 1 + 6 * 2.0**-23, -1 + 6 * 2.0**-24, 0, 1e-38):
        x = np.full((2, 2), value, np.float32)
        assert block_levels(x, *sizes, LIMITS).item() == block_levels_numpy(x, *sizes, LIMITS).item() == MIXED
    x = np.float32([[1 + 2.0**-20, 9e3], [9e3, 9e3]])
    assert block_levels(x, *sizes, LIMITS).item() == block_levels_numpy(x, *sizes, LIMITS).item() == MIXED


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_strange_logits_are_wild(value):
    """Only the blocks that they reach. Kills: NaN is a number, infinity is a number."""
    x = np.full((40, 40), 5, np.float32)
    x[1, 2] = value
    levels = block_levels(x, *plan((40, 40), 160, (160, 160), (160, 160)), LIMITS)
    assert levels[0, 0] == WILD and (levels.ravel()[1:] == 3).all()
