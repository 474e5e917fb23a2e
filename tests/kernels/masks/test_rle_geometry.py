"""Properties of ``rle_geometry``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam_kernels import InputError
from minisam_kernels.masks.box_from_mask import box_from_mask
from minisam_kernels.masks.rle import decode, encode, rle_numpy
from minisam_kernels.masks.rle_geometry import area, box, column_pieces, uncrop
from strategies import masks

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "a run ends in its first column": ("(end - 1) // max(height, 1) - column + 1", "end // end"),
    "a column too many": ("(end - 1) // max(height, 1)", "end // max(height, 1)"),
    "empty runs count": ("start[start < end], end[start < end]", "start, end"),
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


@given(masks())
def test_pieces_are_the_pixels(masks):
    """Each piece one column's rows, none twice. Kills: a run ends in its first column, a column too many."""
    for mask in masks:
        again = np.zeros(mask.shape, int)
        for column, top, bottom in zip(*column_pieces(rle_numpy(mask), mask.shape), strict=True):
            again[top:bottom, column] += 1
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


def test_a_crop_of_full_height_is_joined_across_columns():
    """Kills: columns are not joined, a column too many."""
    assert uncrop([2, 4], (1, 0, 4, 2), (2, 5)).tolist() == [4, 4, 2]
    assert uncrop([2, 4], (1, 0, 4, 2), (3, 5)).tolist() == [6, 2, 1, 2, 4]


def test_a_crop_that_ends_in_the_images_last_pixel():
    """No run of no zeros at the end. Kills: zeros behind the last pixel."""
    whole = np.zeros((3, 5), bool)
    whole[1:, 2:] = True
    counts = uncrop([0, 6], (2, 1, 5, 3), (3, 5))
    assert counts.tolist() == rle_numpy(whole).tolist() == [7, 2, 1, 2, 1, 2]
    assert uncrop([0, 15], (0, 0, 5, 3), (3, 5)).tolist() == [0, 15]


def test_empty_runs_inside_are_read():
    """Other writers put zeros between. Kills: empty runs count."""
    assert decode([1, 1, 0, 1, 1, 0], (2, 2)).T.ravel().tolist() == [False, True, True, False]
    assert box([4, 0], (2, 2)).tolist() == box([3, 0, 1], (2, 2)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "counts", [[1, 2], [5], [1.0, 3.0], [-1, 5], [-1, 4, 1], [[4]], [2, 2**63 - 1, 2**63 - 1, 4, 0]]
)
def test_bad_counts_name_expected_and_received(counts):
    """Kills: sums are not checked, negative counts pass, sums beyond 64 bits pass."""
    for read in (decode, box):
        with pytest.raises(InputError, match=r"expected whole numbers >= 0 that sum to 2 · 2, got \[") as error:
            read(counts, (2, 2))
        assert "\n" not in str(error.value)


def test_a_crop_outside_of_its_image():
    with pytest.raises(InputError, match=r"expected a crop inside an image of size \(2, 3\), got \(0, 0, 4, 2\)"):
        uncrop([8], (0, 0, 4, 2), (2, 3))
