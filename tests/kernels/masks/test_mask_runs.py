"""Properties of ``mask_runs``. Each names the wrong versions that it kills."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from minisam.model.preprocess import input_size, postprocess_masks
from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.layers.resize import resize
from minisam_kernels.losses.stability_score import stability_score
from minisam_kernels.masks import strip_bits
from minisam_kernels.masks.box_from_mask import box_from_mask
from minisam_kernels.masks.mask_runs import mask_runs, mask_runs_numpy
from minisam_kernels.masks.rle import decode, encode
from oracles import oracle
from strategies import arrays, seeds, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "threshold ignored": ("[threshold - offset, threshold, threshold + offset]", "[-offset, 0, offset]"),
    "stability upside down": ("numbers[:, 0] / numbers[:, 1]", "numbers[:, 1] / numbers[:, 0]"),
    "inner count of what is decided": ("(level > 2)", "(level > 1)"),
    "outer count of what is decided": ("(level > 0)", "(level > 1)"),
    "decided below the threshold is inside": ("else 1 if level > 1", "else 1 if level > 0"),
    "the outer resize is always left out": ("columns, same, limits, s,", "columns, True, limits, s,"),
    "a decided word is never written": (
        "                        strip.words[j, b] = word\n",
        "                        strip.words[j, b] = 0\n",
    ),
    "box from the last row": ("min(i, numbers[4])", "i"),
    "box misses what is decided": ("                strip.seen[b] |= word\n", ""),
    "box ends at the image's end": ("changes[state[0] - state[0] % 2] - 1", "changes[state[0]] - 1"),
    "box in rows and columns": ("numbers[:, 3:], stab", "numbers[:, [4, 3, 6, 5]], stab"),
    "the masks share their counts": ("state, numbers[m])", "state, numbers[0])"),
    "the masks share their state": ("        state[:] = 1, 0\n", "        state[:] = 1, state[1] * (m > 0)\n"),
    "area of what is outside": ("range(1, state[0], 2)", "range(0, state[0], 2)"),
    "crop forgotten in the readable version": ("[:, : input_size[0], : input_size[1]]", ""),
}


@st.composite
def places(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int], int, tuple[int, int]]:
    """(h, w), (h', w'), S, (H, W): a square cut below or at the right, the same size again, smaller, larger, tiny."""
    low = draw(sizes(1, 14)), draw(sizes(1, 20))
    square = draw(st.one_of(st.just(4 * max(low)), sizes(1, 80)))
    cut = draw(st.sampled_from([(square, square), (square, (square + 1) // 2), ((square + 2) // 3, square)]))
    new = draw(
        st.one_of(st.just(cut), st.sampled_from([(1, 1), (3, 3)]), st.tuples(sizes(1, 70, (32,)), sizes(1, 140, (64,))))
    )
    return low, cut, square, new


@st.composite
def masks(draw: st.DrawFn, low: tuple[int, int]) -> np.ndarray:
    """Logits (M, h, w): noise, smooth ones, some that lie on the thresholds, flat ones, NaN and infinity in some."""
    shape = (draw(st.sampled_from([2, 1, 0])), *low)
    rng = np.random.default_rng(draw(seeds))
    kind = draw(st.sampled_from(["noise", "slope", "ties", "flat", "steps", "wild"]))
    x = np.array(draw(arrays(shape, spikes=kind == "noise", scale=draw(st.sampled_from([0.5, 5.0])))))
    if kind in ("slope", "wild"):
        down, across = (np.linspace(-1, 1, n) * rng.choice([-4, 8]) for n in low)
        x = 0.05 * x + across + down[:, None]
    elif kind == "ties":
        x = np.round(2 * x) / 2
    elif kind == "flat":
        x = np.broadcast_to(rng.choice([-9, -1, -0.5, 0, 0.5, 1, 9]), shape)
    elif kind == "steps":
        x = np.broadcast_to(np.repeat(rng.choice([-9.0, -0.5, 0.5, 9.0], -(-low[0] // 4)), 4)[: low[0], None], shape)
    x = np.array(x, np.float32)
    if kind == "wild" and x.size:
        x.reshape(-1)[rng.integers(0, x.size, 2)] = rng.choice([np.nan, np.inf, -np.inf, 3e38], 2)
    return x


limits = st.sampled_from([(0.0, 1.0), (0.0, 1.0), (0.5, 0.0), (-1.0, 0.5)])


def assert_same(ours, theirs) -> None:
    assert [counts.dtype for counts in ours.counts] == [np.int64] * len(ours.areas)
    assert [counts.tolist() for counts in ours.counts] == [list(counts) for counts in theirs[0]]
    np.testing.assert_array_equal(ours.areas, theirs[1])
    np.testing.assert_array_equal(ours.boxes, theirs[2])
    np.testing.assert_array_equal(*(np.asarray(s, np.float32) for s in (ours.stability, theirs[3])))


@given(places(), limits, seeds)
def test_numpy_is_torch(place, limit, seed):
    """Where no pixel is on a threshold. Kills: crop forgotten in the readable version."""
    low, cut, square, new = place
    logits = np.random.default_rng(seed).standard_normal((2, *low))
    z = oracle(ops.resize, oracle(ops.resize, logits, (square, square))[:, : cut[0], : cut[1]], new)
    assume(all((np.abs(z - t) > 1e-9).all() for t in (limit[0] - limit[1], limit[0], limit[0] + limit[1])))
    ours = mask_runs_numpy(logits, cut, square, new, *limit)
    assert_same(ours, ops.mask_runs(torch.from_numpy(logits), cut, square, new, *limit))


@given(places(), limits, st.data())
def test_compiled_is_the_readable_version(place, limit, data):
    """To the bit, NaN, infinity and ties too, so no pixel is excused. Kills: every wrong version of the mask, the
    counts, the box and what is decided."""
    low, cut, square, new = place
    x = data.draw(masks(low))
    assert_same(mask_runs(x, cut, square, new, *limit), mask_runs_numpy(x, cut, square, new, *limit))


@given(places(), limits, st.data())
def test_compiled_is_the_other_kernels(place, limit, data):
    """Law: what it replaces is two resizes and five kernels. Kills: threshold ignored, stability
    upside down, both counts, decided below the threshold is inside, the outer resize always left out, the box."""
    low, cut, square, new = place
    x = data.draw(masks(low))
    part = resize(x, (square, square))[:, : cut[0], : cut[1]]
    z = resize(part, new)
    mask = z > np.float32(limit[0])
    expected = encode(mask), mask.sum(axis=(1, 2)), box_from_mask(mask), stability_score(z, *limit)
    assert_same(mask_runs(x, cut, square, new, *limit), expected)


def test_is_the_predictors_mask():
    """The image's sizes as the predictor takes them, for tall, wide, small and large ones."""
    rng = np.random.default_rng(0)
    for height, width in ((64, 64), (48, 64), (100, 41), (3, 3), (1, 1), (1, 90), (129, 70)):
        low = 4 * np.cumsum(rng.standard_normal((2, 16, 16)), axis=1).astype(np.float32)
        masks = postprocess_masks(low, (height, width), 64, 0.0)
        runs = mask_runs(low, input_size(height, width, 64), 64, (height, width))
        for mask, counts in zip(masks, runs.counts, strict=True):
            np.testing.assert_array_equal(decode(counts, (height, width)), mask)


def test_several_blocks_and_strips():
    """An edge that crosses some blocks and leaves others decided on either side, in every combination. Kills: a
    decided word is never written, box misses what is decided, decided below the threshold is inside, inner and outer
    count of what is decided."""
    y, x = np.mgrid[:32, :48]
    disc = 5 - 0.9 * np.hypot(y - 14, x - 22)
    halves = np.where(x > 24, 9, -9), np.where(y > 16, 9, -9)
    logits = np.float32([disc, -disc, *halves, np.full_like(disc, 0.5), np.full_like(disc, 9)])
    for cut, new in (((128, 192), (128, 192)), ((128, 192), (100, 150)), ((120, 192), (150, 240))):
        assert_same(mask_runs(logits, cut, 192, new), mask_runs_numpy(logits, cut, 192, new))


def test_an_edge_between_two_blocks():
    """Where nothing is interpolated, the last row of a block can differ from a decided one below."""
    logits = np.full((1, 96, 2), -9, np.float32)
    logits[0, 63] = 9
    assert mask_runs(logits, (96, 96), 96, (96, 96)).boxes.tolist() == [[0, 63, 95, 63]]
    assert_same(mask_runs(logits, (96, 96), 96, (96, 96)), mask_runs_numpy(logits, (96, 96), 96, (96, 96)))


def test_nan_beside_an_edge():
    """A strip with blocks of both ways. (``strip_bits`` has the wrong versions.)"""
    logits = np.tile(np.float32([-1, 1, 2]), (40, 1))[None]
    logits[0, 12:20, 1] = np.nan
    assert_same(mask_runs(logits, (120, 120), 120, (120, 120)), mask_runs_numpy(logits, (120, 120), 120, (120, 120)))
    logits[0, 12:20, 1] = np.inf
    assert_same(mask_runs(logits, (120, 120), 120, (120, 120)), mask_runs_numpy(logits, (120, 120), 120, (120, 120)))


def test_what_is_decided_is_not_computed():
    """Seen when the loops run as Python."""
    logits = np.tile(np.float32([-9, -9, -9, 9, 9, 9]), (6, 1))[None]
    with patch.object(strip_bits, "_measure", side_effect=AssertionError("computed")):
        runs = mask_runs(np.full((1, 6, 6), 5.0), (66, 66), 66, (66, 66))
        assert runs.counts[0].tolist() == [0, 66 * 66] and runs.areas[0] == 66 * 66
        assert mask_runs(-logits[:, :, :3] - 18, (66, 66), 66, (70, 99)).boxes.tolist() == [[0, 0, 0, 0]]


def test_nothing_and_no_masks():
    """0/0 is NaN, and no mask gives no mask. Kills: stability upside down."""
    empty = mask_runs(np.full((1, 2, 2), -5), (4, 4), 4, (4, 4))
    assert np.isnan(empty.stability[0]) and empty.counts[0].tolist() == [16] and empty.boxes.tolist() == [[0] * 4]
    thin = mask_runs(np.full((1, 2, 2), -0.5), (4, 4), 4, (4, 4))
    assert thin.stability[0] == 0 and thin.areas[0] == 0
    none = mask_runs(np.ones((0, 2, 2)), (4, 4), 4, (4, 4))
    assert none.counts == [] and none.boxes.shape == (0, 4) and none.stability.shape == (0,)


@pytest.mark.parametrize(
    ("shape", "cut", "new", "offset", "message"),
    [
        ((2, 2), (4, 4), (4, 4), 1.0, r"expected logits of shape \(M, h, w\), got \(2, 2\)"),
        ((1, 2, 0), (4, 4), (4, 4), 1.0, r"expected at least 1 pixel each way .* got logits \(2, 0\)"),
        ((1, 2, 2), (4, 5), (4, 4), 1.0, r"input_size within 4, got .* input_size \(4, 5\)"),
        ((1, 2, 2), (0, 4), (4, 4), 1.0, r"got logits \(2, 2\), input_size \(0, 4\), original_size \(4, 4\)"),
        ((1, 2, 2), (4, 4), (4, 0), 1.0, r"original_size \(4, 0\)"),
        ((1, 2, 2), (4, 4), (4, 4), -1.0, "expected offset >= 0, got -1.0"),
        ((1, 2, 2), (4, 4), (4, 4), float("nan"), "expected offset >= 0, got nan"),
    ],
)
def test_bad_input_names_expected_and_received(shape, cut, new, offset, message):
    with pytest.raises(InputError, match=message):
        mask_runs(np.ones(shape), cut, 4, new, 0.0, offset)
