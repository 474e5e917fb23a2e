"""Properties of ``mask_pixels``. Each names the wrong versions that it kills."""

from __future__ import annotations

import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from test_mask_runs import masks, places

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.layers.resize import resize
from minisam_kernels.masks import mask_pixels as module
from minisam_kernels.masks import strip_bits
from minisam_kernels.masks.mask_pixels import mask_pixels, mask_pixels_numpy
from oracles import oracle
from strategies import seeds

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "threshold ignored": ("np.float32(threshold)", "np.float32(0)"),
    "what is decided is inside": ("= levels[s, b] > 0", "= True"),
    "what is decided is left out": ("                pixels[:] = levels[s, b] > 0\n", ""),
    "the outer resize is always left out": ("cut == (height, width), limits", "True, limits"),
    "every row is the first": ("bits[j] >> np.uint32(i) &", "bits[j] >> np.uint32(0) &"),
    "every piece is the first": ("index % pieces * at_once", "0"),
    "the last strip is left out": ("min(begin + at_once, strips)", "min(begin + at_once, max(strips - 1, 1))"),
    "every mask is the first": ("_mask_pixels(logits[m]", "_mask_pixels(logits[0]"),
    "words of the strip before": ("bits[j] = strip.words[j, b]", "bits[j] = strip.words[max(j, 1) - 1, b]"),
    "crop forgotten in the readable version": ("[:, : input_size[0], : input_size[1]]", ""),
    "threshold not strict in the readable version": ("[..., 0] > threshold", "[..., 0] >= threshold"),
}

TILES = st.sampled_from([1, 1 << 13, 1 << 18])
thresholds = st.sampled_from([0.0, 0.5, -1.0])


@given(places(), thresholds, seeds)
def test_numpy_is_torch(place, threshold, seed):
    """Where no pixel is on the threshold. Kills: crop forgotten in the readable version."""
    low, cut, square, new = place
    logits = np.random.default_rng(seed).standard_normal((2, *low))
    z = oracle(ops.resize, oracle(ops.resize, logits, (square, square))[:, : cut[0], : cut[1]], new)
    assume((np.abs(z - threshold) > 1e-9).all())
    np.testing.assert_array_equal(mask_pixels_numpy(logits, cut, square, new, threshold), z > threshold)


@given(places(), thresholds, TILES, st.data())
def test_compiled_is_the_readable_version_and_two_resizes(place, threshold, tile, data):
    """To the bit, NaN, infinity and ties too, for pieces of any size. Kills: every wrong version of the compiled one,
    and threshold not strict in the readable version."""
    low, cut, square, new = place
    x = data.draw(masks(low))
    with patch.object(module, "TILE", tile):
        ours = mask_pixels(x, cut, square, new, threshold)
    assert ours.dtype == bool and ours.shape == (len(x), *new)
    np.testing.assert_array_equal(ours, mask_pixels_numpy(x, cut, square, new, threshold))
    z = resize(resize(x, (square, square))[:, : cut[0], : cut[1]], new)
    np.testing.assert_array_equal(ours, z > np.float32(threshold))


def test_several_blocks_and_strips():
    """Edges that cross some blocks and leave others decided on either side, several masks and pieces. Kills: all that
    is wrong with what is decided, every row, piece and mask is the first, the last strip is left out, words of the
    strip before."""
    y, x = np.mgrid[:32, :48]
    disc = 5 - 0.9 * np.hypot(y - 14, x - 22)
    logits = np.float32([disc, -disc, np.where(x > 24, 9, -9), np.where(y > 16, 9, -9), 0 * disc, 0 * disc + 9])
    for cut, new in (((128, 192), (128, 192)), ((128, 192), (100, 150)), ((120, 192), (150, 240))):
        for tile in (1, 1 << 14, 1 << 18):
            with patch.object(module, "TILE", tile):
                ours = mask_pixels(logits, cut, 192, new)
            np.testing.assert_array_equal(ours, mask_pixels_numpy(logits, cut, 192, new))


def test_what_is_decided_is_not_computed():
    """Seen when the loops run as Python."""
    with patch.object(strip_bits, "_measure", side_effect=AssertionError("computed")):
        assert mask_pixels(np.full((1, 6, 6), 5.0), (66, 66), 66, (66, 66)).all()
        assert not mask_pixels(np.full((1, 6, 6), -5.0), (66, 66), 66, (70, 99)).any()


def test_no_image_of_floats():
    logits = np.random.default_rng(0).standard_normal((1, 8, 8)).astype(np.float32)
    mask_pixels(logits, (64, 64), 64, (300, 300))  # what is made once, and the machine code, is not counted
    tracemalloc.start()
    mask = mask_pixels(logits, (64, 64), 64, (300, 300))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * mask.nbytes


@pytest.mark.parametrize(
    ("shape", "cut", "new", "message"),
    [
        ((2, 2), (4, 4), (4, 4), r"expected logits of shape \(M, h, w\), got \(2, 2\)"),
        ((1, 2, 0), (4, 4), (4, 4), r"expected at least 1 pixel each way .* got logits \(2, 0\)"),
        ((1, 2, 2), (4, 5), (4, 4), r"input_size within 4, got .* input_size \(4, 5\)"),
        ((1, 2, 2), (0, 4), (4, 4), r"got logits \(2, 2\), input_size \(0, 4\), original_size \(4, 4\)"),
        ((1, 2, 2), (4, 4), (4, 0), r"original_size \(4, 0\)"),
    ],
)
def test_bad_input_names_expected_and_received(shape, cut, new, message):
    with pytest.raises(InputError, match=message):
        mask_pixels(torch.ones(shape).numpy(), cut, 4, new)
