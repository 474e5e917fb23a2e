"""Properties of ``rle``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.masks.rle import decode, encode, from_string, rle_numpy, to_string
from strategies import masks

coco = pytest.importorskip("pycocotools.mask")

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "keeps the bits of the word above": ("            bits[:] = 0\n", ""),
    "every strip is the first": ("mask[:, first : first + columns]", "mask[:, :columns]"),
    "starts where the last mask ended": (
        "    for mask in as_masks(masks):\n        state = np.array([1, 0])\n        changes = _e",
        "    state = np.array([1, 0])\n    for mask in as_masks(masks):\n        changes = _e",
    ),
    "readable version goes along the rows": ("mask.T.ravel()", "mask.ravel()"),
    "toggles from the second row": ("out[i, j] ^= out[i - 1, j]", "out[i, j] = out[i - 1, j]"),
}


def torchs(masks: np.ndarray) -> list[np.ndarray]:
    return [counts.numpy() for counts in ops.rle(torch.from_numpy(np.array(masks)))]


def cocos(mask: np.ndarray) -> bytes:
    return coco.encode(np.asfortranarray(mask, np.uint8))["counts"]


@given(masks())
def test_numpy_is_torch(masks):
    """Kills: readable version goes along the rows."""
    for mask, expected in zip(masks, torchs(masks), strict=True):
        np.testing.assert_array_equal(rle_numpy(mask), expected)


@given(masks())
def test_compiled_is_torch_and_pycocotools(masks):
    """The same numbers, and as text the same bytes. Kills: keeps the bits of the word above, every
    strip is the first, starts where the last mask ended."""
    counts = encode(masks)
    for mask, ours, expected in zip(masks, counts, torchs(masks), strict=True):
        assert ours.dtype == np.int64
        np.testing.assert_array_equal(ours, expected)
        assert to_string(ours) == cocos(mask)
        np.testing.assert_array_equal(from_string(cocos(mask), mask.shape), ours)


@given(masks())
def test_there_and_back(masks):
    """Law. Kills: toggles from the second row."""
    for mask, counts in zip(masks, encode(masks), strict=True):
        again = decode(counts, mask.shape)
        assert again.dtype == bool and again.flags.c_contiguous
        np.testing.assert_array_equal(again, mask)


def test_runs_longer_than_two_bytes():
    """A run of more than 2¹⁶ pixels, and another mask after it. Kills: starts where the last mask ended."""
    masks = np.zeros((2, 300, 300), bool)
    masks[0, 5:, 3:] = True
    masks[1, :, 1:] = True
    first, second = encode(masks)
    assert second.tolist() == [300, 299 * 300] and first.sum() == 90000
    assert to_string(second) == cocos(masks[1])
    np.testing.assert_array_equal(decode(second, (300, 300)), masks[1])


def test_many_changes_need_room():
    """More changes than there was room for, in the first strip and again in the third (``mask_changes``)."""
    mask = np.zeros((1, 40, 300), bool)
    mask[0, ::2, :] = True
    np.testing.assert_array_equal(encode(mask)[0], rle_numpy(mask[0]))


def test_an_image_without_pixels():
    assert [counts.tolist() for counts in encode(np.zeros((1, 0, 5), bool))] == [[0]]
    assert decode([0], (0, 5)).shape == (0, 5) and to_string([0]) == b"0"


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.ones((1, 2, 2)), "expected masks to hold booleans, got dtype float64"),
        (np.ones((2, 2), bool), r"expected masks of shape \(M, H, W\), got \(2, 2\)"),
    ],
)
def test_bad_masks_name_expected_and_received(masks, message):
    with pytest.raises(InputError, match=message):
        encode(masks)
