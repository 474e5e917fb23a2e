"""Properties of ``rle``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.masks.box_from_mask import box_from_mask
from minisam_kernels.masks.rle import area, box, decode, encode, from_string, rle_numpy, to_string, uncrop
from strategies import LAYOUTS, lay_out, seeds, sizes

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
    "a run ends in its first column": ("(end - 1) // max(height, 1) - column + 1", "end // end"),
    "a column too many": ("(end - 1) // max(height, 1)", "end // max(height, 1)"),
    "empty runs count": ("start[start < end], end[start < end]", "start, end"),
    "toggles from the second row": ("out[i, j] ^= out[i - 1, j]", "out[i, j] = out[i - 1, j]"),
    "area of what is False": ("(counts)[1::2]", "(counts)[::2]"),
    "box ends behind the mask": ("bottom.max() - 1", "bottom.max()"),
    "a crop's columns are not moved": ("(x0 + column)", "column"),
    "a crop's rows are not moved": ("* size[0] + y0", "* size[0]"),
    "columns are not joined": ("changes[1:, 0] == changes[:-1, 1]", "changes[1:, 0] < 0"),
    "zeros behind the last pixel": ("if len(changes) and changes[-1] == size[0] * size[1]:", "if False:"),
    "sums are not checked": ("not fits or counts.sum() != pixels", "not fits"),
    "negative counts pass": ("(counts < 0) | (counts > pixels)", "counts > pixels"),
    "sums beyond 64 bits pass": ("(counts < 0) | (counts > pixels)", "counts < 0"),
}


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """(M, H, W) bool of any size, 0 too: noise, blocks, checkerboards, all or nothing."""
    shape = (draw(st.integers(0, 2)), draw(sizes(0, 70, edges=(0, 8, 32, 64))), draw(sizes(0, 70, edges=(0, 64))))
    rng = np.random.default_rng(draw(seeds))
    kind = draw(st.sampled_from(["noise", "blocks", "checkerboard", "nothing", "all", "columns"]))
    if kind == "noise":
        mask = rng.random(shape) < draw(st.sampled_from([0.02, 0.5, 0.98]))
    elif kind == "blocks":
        mask = np.zeros(shape, bool)
        for m in range(shape[0]):
            for _ in range(3):
                (y0, y1), (x0, x1) = (np.sort(rng.integers(0, n + 1, 2)) for n in shape[1:])
                mask[m, y0:y1, x0:x1] ^= True
    elif kind == "columns":
        mask = np.broadcast_to(rng.random(shape[2]) < 0.5, shape)
    else:
        mask = np.full(shape, kind == "all")
        if kind == "checkerboard":
            mask = np.broadcast_to(np.add.outer(np.arange(shape[1]), np.arange(shape[2])) % 2 == 0, shape)
    return lay_out(mask, draw(st.sampled_from(LAYOUTS)))


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
    """Law. Kills: a run ends in its first column, a column too many, toggles from the second row."""
    for mask, counts in zip(masks, encode(masks), strict=True):
        again = decode(counts, mask.shape)
        assert again.dtype == bool and again.flags.c_contiguous
        np.testing.assert_array_equal(again, mask)


@given(masks())
def test_area_and_box_are_those_of_the_mask(masks):
    """Kills: area of what is False, box ends behind the mask."""
    for mask, counts, expected in zip(masks, encode(masks), box_from_mask(masks), strict=True):
        assert area(counts) == mask.sum()
        np.testing.assert_array_equal(box(counts, mask.shape), expected)


@given(masks(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_uncrop_is_decode_pad_encode(masks, left, top, right, bottom):
    """Kills: a crop's columns are not moved, a crop's rows are not moved, columns are not joined, a column too many."""
    for mask, counts in zip(masks, encode(masks), strict=True):
        whole = np.pad(mask, ((top, bottom), (left, right)))
        crop_box = (left, top, left + mask.shape[1], top + mask.shape[0])
        np.testing.assert_array_equal(uncrop(counts, crop_box, whole.shape), rle_numpy(whole))


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


def test_a_crop_of_full_height_is_joined_across_columns():
    """Kills: columns are not joined, a column too many."""
    assert uncrop([2, 4], (1, 0, 4, 2), (2, 5)).tolist() == [4, 4, 2]
    assert uncrop([2, 4], (1, 0, 4, 2), (3, 5)).tolist() == [6, 2, 1, 2, 4]


def test_a_crop_that_ends_in_the_images_last_pixel():
    """No run of no zeros at the end: the text is pycocotools' to the byte. Kills: zeros behind the last pixel."""
    whole = np.zeros((3, 5), bool)
    whole[1:, 2:] = True
    counts = uncrop([0, 6], (2, 1, 5, 3), (3, 5))
    assert counts.tolist() == [7, 2, 1, 2, 1, 2] and to_string(counts) == cocos(whole)
    assert uncrop([0, 15], (0, 0, 5, 3), (3, 5)).tolist() == [0, 15]


def test_empty_runs_inside_are_read():
    """Other writers put zeros between. Kills: empty runs count."""
    assert decode([1, 1, 0, 1, 1, 0], (2, 2)).T.ravel().tolist() == [False, True, True, False]
    assert box([4, 0], (2, 2)).tolist() == box([3, 0, 1], (2, 2)).tolist() == [0, 0, 0, 0]


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


@pytest.mark.parametrize(
    "counts", [[1, 2], [5], [1.0, 3.0], [-1, 5], [-1, 4, 1], [[4]], [2, 2**63 - 1, 2**63 - 1, 4, 0]]
)
def test_bad_counts_name_expected_and_received(counts):
    """Kills: sums are not checked, negative counts pass."""
    for read in (decode, box):
        with pytest.raises(InputError, match=r"expected whole numbers >= 0 that sum to 2 · 2, got \[") as error:
            read(counts, (2, 2))
        assert "\n" not in str(error.value)


def test_a_crop_outside_of_its_image():
    with pytest.raises(InputError, match=r"expected a crop inside an image of size \(2, 3\), got \(0, 0, 4, 2\)"):
        uncrop([8], (0, 0, 4, 2), (2, 3))
