"""Properties of ``strip_bits``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minisam_kernels.layers.resize import resize
from minisam_kernels.masks.block_levels import MIXED, WILD, plan
from minisam_kernels.masks.mask_changes import STRIP, WORD
from minisam_kernels.masks.strip_bits import strip_bits, strip_bits_numpy
from strategies import arrays, seeds, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "mask not strict": ("if z > middle", "if z >= middle"),
    "inner mask not strict": ("z > upper", "z >= upper"),
    "outer mask not strict": ("z > lower", "z >= lower"),
    "the outer resize is left out beside NaN": ("if same and levels[b] == MIXED:", "if same:"),
    "the outer resize is always left out": ("if same and levels[b] == MIXED:", "if levels[b] == MIXED:"),
    "a row stands for both": ("a, b = above % 2, below % 2", "a, b = above % 2, above % 2"),
    "the square is not cut to the strip": ("outer, outer.first[0], wide", "outer, np.uint64(0), wide"),
    "keeps the bits of the block above": ("        bits[:] = 0\n", "        bits *= np.uint32(b > 0)\n"),
    "computes what is decided": ("(levels >= MIXED)", "(levels < 9)"),
    "forgets where it has seen ones": ("            strip.seen[b] |= bits[j]\n", ""),
    "readable version computes the first strip": ("part[s * STRIP : (s + 1) * STRIP]", "part[:STRIP]"),
    "readable version is not strict": ("(z > limits[1])", "(z >= limits[1])"),
}

LIMITS = np.float32([-1, 0, 1])


@st.composite
def cases(draw: st.DrawFn) -> tuple:
    """x (h, w), ``plan``'s sizes: noise, numbers on the limits, NaN and infinity in some."""
    low = draw(sizes(1, 14)), draw(sizes(1, 20))
    square = draw(st.one_of(st.just(4 * max(low)), sizes(1, 80)))
    cut = draw(st.sampled_from([(square, square), (square, (square + 1) // 2), ((square + 2) // 3, square)]))
    new = draw(st.one_of(st.just(cut), st.tuples(sizes(1, 70, (32,)), sizes(1, 140, (64,)))))
    x = np.array(draw(arrays(low, spikes=False, scale=1.0)))
    kind = draw(st.sampled_from(["noise", "ties", "flat", "wild"]))
    rng = np.random.default_rng(draw(seeds))
    if kind == "ties":
        x = np.round(x)
    elif kind == "flat":
        x[:] = rng.choice(LIMITS)
    elif kind == "wild":
        x.reshape(-1)[rng.integers(0, x.size, 2)] = rng.choice([np.nan, np.inf, -np.inf], 2)
    return np.array(x, np.float32), (low, square, cut, new)


def twice(x: np.ndarray, sizes: tuple) -> np.ndarray:
    """z (H, W): the two resizes, whole."""
    _, square, cut, new = sizes
    return resize(resize(x[None], (square, square))[:, : cut[0], : cut[1]], new)[0]


def words_of(mask: np.ndarray) -> np.ndarray:
    """mask (H, W) → words (W, H/32)."""
    padded = np.pad(mask, ((0, -len(mask) % WORD), (0, 0)))
    return np.packbits(np.ascontiguousarray(padded.T), axis=1, bitorder="little").view("<u4").astype(np.uint32)


@given(cases())
def test_compiled_is_the_readable_version(case):
    """To the bit. Kills: the three masks not strict, a row stands for both, the square is not cut to the strip, keeps
    the bits, readable version (both)."""
    x, sizes = case
    rows, columns = plan(*sizes)
    levels = np.full(rows.span.shape[1], WILD, np.uint8)
    for s in range(columns.span.shape[1]):
        words, seen, counts = strip_bits(x, rows, columns, LIMITS, s, levels)
        with np.errstate(invalid="ignore"):
            expected, above = strip_bits_numpy(x, rows, columns, LIMITS, s)
        np.testing.assert_array_equal(words[: len(expected)], expected)
        assert not words[len(expected) :].any()
        np.testing.assert_array_equal(seen, np.bitwise_or.reduce(expected, axis=0))
        np.testing.assert_array_equal(counts.sum(axis=1), above.sum(axis=1))


@given(cases(), seeds)
def test_only_undecided_blocks_of_two_resizes(case, seed):
    """Law: the bits of ``resize`` twice, or nothing; the outer one may be left out where it changes nothing, but not
    beside NaN or infinity. Kills: computes what is decided, the outer resize is left out (either), forgets where it has
    seen ones, mask not strict."""
    x, sizes = case
    rows, columns = plan(*sizes)
    undecided = MIXED if np.isfinite(x).all() else WILD
    levels = np.random.default_rng(seed).choice(np.uint8([0, 3, undecided, undecided]), rows.span.shape[1])
    with np.errstate(invalid="ignore"):
        expected = words_of(twice(x, sizes) > 0) * (levels >= MIXED)
    for s in range(columns.span.shape[1]):
        words, seen, _ = strip_bits(x, rows, columns, LIMITS, s, levels, sizes[2] == sizes[3])
        part = expected[s * STRIP : (s + 1) * STRIP]
        np.testing.assert_array_equal(words[: len(part)], part)
        np.testing.assert_array_equal(seen, np.bitwise_or.reduce(part, axis=0))


def test_beside_nan_the_outer_resize_is_computed():
    """Its taps of weight 0 spread NaN. Kills: the outer resize is left out beside NaN."""
    x = np.full((8, 8), 2, np.float32)
    x[4, 4] = np.nan
    sizes = ((8, 8), 32, (32, 32), (32, 32))
    words, _, _ = strip_bits(x, *plan(*sizes), LIMITS, 0, np.uint8([WILD]), True)
    np.testing.assert_array_equal(words[:32], words_of(twice(x, sizes) > 0))
