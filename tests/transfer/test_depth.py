"""Depth in a mask, against a search over all pixels, SciPy and OpenCV."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt

from minisam.transfer.depth import depths
from minisam_kernels import InputError
from strategies import seeds

cv2 = pytest.importorskip("cv2")

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "an object that goes on beyond the image": (
        "minisam/transfer/depth.py",
        "column[0, x] = 1 if mask[0, x] else 0",
        "column[0, x] = 1 << 14 if mask[0, x] else 0",
    ),
    "the right edge forgotten": ("minisam/transfer/depth.py", "if x + k < width else 0", "if x + k < width else best"),
    "a search that ends too early": ("minisam/transfer/depth.py", "while k * k < best:", "while k * k < best // 2:"),
}


def by_search(mask: np.ndarray) -> np.ndarray:
    """The least squared distance to any pixel outside, all of them looked at."""
    outside = np.argwhere(~np.pad(mask, 1)) - 1
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]]
    squared = (rows[..., None] - outside[:, 0]) ** 2 + (columns[..., None] - outside[:, 1]) ** 2
    return squared.min(-1) * mask


@given(arrays(bool, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))))
def test_depth_is_the_nearest_pixel_outside(masks):
    """Kills: an object that goes on beyond the image, the right edge forgotten, a search that ends too early."""
    np.testing.assert_array_equal(depths(masks), [by_search(mask) for mask in masks])


@given(seeds, st.floats(0.9, 1))
def test_scipy_and_opencv_agree(seed, share):
    masks = np.random.default_rng(seed).random((2, 40, 57)) < share
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    scipy = np.stack([distance_transform_edt(mask) for mask in padded])[:, 1:-1, 1:-1]
    opencv = np.stack([cv2.distanceTransform(m.astype(np.uint8), cv2.DIST_L2, 0) for m in padded])[:, 1:-1, 1:-1]
    np.testing.assert_array_equal(depths(masks), np.rint(scipy**2))
    np.testing.assert_allclose(np.sqrt(depths(masks)), opencv, rtol=1e-6)


def test_a_full_mask_and_an_empty_one():
    masks = np.stack([np.ones((5, 7), bool), np.zeros((5, 7), bool)])
    np.testing.assert_array_equal(depths(masks)[0, 2], np.array([1, 2, 3, 3, 3, 2, 1]) ** 2)
    assert not depths(masks)[1].any() and depths(masks[:0]).shape == (0, 5, 7)


@pytest.mark.parametrize("masks", [np.zeros((2, 3), bool), np.zeros((1, 2, 3), np.uint8), np.zeros((1, 0, 3), bool)])
def test_what_is_no_mask(masks):
    with pytest.raises(InputError, match="expected masks"):
        depths(masks)
