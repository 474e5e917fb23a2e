"""Properties of ``box_from_mask``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.masks.box_from_mask import box_from_mask, box_from_mask_numpy
from oracles import oracle
from strategies import LAYOUTS, lay_out, seeds, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "the edge behind the last pixel": ("columns[-1], bottom\n", "columns[-1] + 1, bottom + 1\n"),
    "rows before columns": (
        "boxes[m, 0], boxes[m, 1], boxes[m, 2], boxes[m, 3] = columns[0], top,",
        "boxes[m, 1], boxes[m, 0], boxes[m, 3], boxes[m, 2] = columns[0], top,",
    ),
    "keeps the columns of the mask before": ("        seen[:] = 0\n", ""),
    "keeps the rows of the mask before": (
        "        top = bottom = -1\n",
        "        top = bottom = -1 if m == 0 else top\n",
    ),
    "top is the last row": ("i if top < 0 else top", "i"),
    "an empty mask has a box": ("        if top >= 0:\n", "        if seen.size:\n            seen[0] |= top < 0\n"),
    "readable version rows before columns": (
        "columns.min(), rows.min(), columns.max()",
        "rows.min(), columns.min(), columns.max()",
    ),
}


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    shape = (draw(st.integers(0, 3)), draw(sizes(0, 20)), draw(sizes(0, 40, edges=(8, 32))))
    rng = np.random.default_rng(draw(seeds))
    density = draw(st.sampled_from([0.0, 0.003, 0.02, 0.5, 1.0]))
    return lay_out(rng.random(shape) < density, draw(st.sampled_from(LAYOUTS)))


@given(masks())
def test_numpy_is_torch(masks):
    """Kills: readable version rows before columns."""
    np.testing.assert_array_equal(box_from_mask_numpy(masks), oracle(ops.box_from_mask, masks))


@given(masks())
def test_compiled_is_torch(masks):
    """Kills: the edge behind the last pixel, rows before columns, keeps the columns, keeps the rows, top is the last
    row."""
    boxes = box_from_mask(masks)
    assert boxes.dtype == np.int64
    np.testing.assert_array_equal(boxes, oracle(ops.box_from_mask, masks))


@given(masks())
def test_the_box_holds_the_mask_and_touches_it(masks):
    """Law. Kills: the edge behind the last pixel, top is the last row."""
    for mask, (x0, y0, x1, y1) in zip(masks, box_from_mask(masks), strict=True):
        if mask.any():
            inside = mask[y0 : y1 + 1, x0 : x1 + 1]
            assert inside.sum() == mask.sum()
            assert all(side.any() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_one_pixel_and_none():
    """The last pixel is included, so one pixel has no area. Kills: the edge behind the last pixel, an empty mask has a
    box, keeps the rows of the mask before."""
    masks = np.zeros((3, 5, 7), bool)
    masks[0, 3, 4] = True
    masks[2, 1, 2] = True
    assert box_from_mask(masks).tolist() == [[4, 3, 4, 3], [0, 0, 0, 0], [2, 1, 2, 1]]


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.ones((1, 2, 2)), "expected masks to hold booleans, got dtype float64"),
        (np.ones((2, 2), bool), r"expected masks of shape \(M, H, W\), got \(2, 2\)"),
    ],
)
def test_bad_input_names_expected_and_received(masks, message):
    with pytest.raises(InputError, match=message):
        box_from_mask(masks)
