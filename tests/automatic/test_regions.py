"""Small holes and islands, crops and grids of points, and the image of all masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import ndimage

from minisam.automatic.crops import crop_boxes, cut_off, point_grid
from minisam.automatic.regions import remove_small_regions
from minisam.files.mosaic import mosaic
from minisam.files.overlay import COLOURS
from minisam.reference import automatic as reference
from strategies import seeds

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "4-neighbours": ("minisam/automatic/regions.py", ", np.ones((3, 3))", ""),
    "islands first": (
        "minisam/automatic/regions.py",
        """    window, filled = _flip_small(window, True, weights, min_area, None)
    window, removed = _flip_small(window, False, weights, min_area, corner if keep_largest else None)
""",
        """    window, removed = _flip_small(window, False, weights, min_area, corner if keep_largest else None)
    window, filled = _flip_small(window, True, weights, min_area, None)
""",
    ),
    "a margin that counts as one row": ("minisam/automatic/regions.py", "weights[0] = first", "weights[0] = 1"),
    "a margin beyond the image": (
        "minisam/automatic/regions.py",
        "min(last + 1, length))",
        "last + 1).clip(max=length - 1)",
    ),
    "≤ for <": ("minisam/automatic/regions.py", "sizes < min_area", "sizes <= min_area"),
    '"changed" only when pixels changed': (
        "minisam/automatic/regions.py",
        "return window ^ small[regions], True",
        "return window ^ small[regions], small[regions].any()",
    ),
    "the flag ignored": ("minisam/automatic/regions.py", "corner if keep_largest else None", "corner"),
    "the first one kept": ("minisam/automatic/regions.py", "small[_first_largest(regions, sizes, corner)]", "small[1]"),
    "points on the border": (
        "minisam/automatic/crops.py",
        "np.linspace(1 / (2 * side), 1 - 1 / (2 * side), side)",
        "np.linspace(0, 1, side)",
    ),
    "(y, x)": (
        "minisam/automatic/crops.py",
        "np.stack(np.meshgrid(middles, middles)",
        "np.stack(np.meshgrid(middles, middles)[::-1]",
    ),
    "rows of crops before columns": (
        "minisam/automatic/crops.py",
        """        for x0 in range(0, min(n * (w - overlap), width), w - overlap):
            for y0 in range(0, min(n * (h - overlap), height), h - overlap):
""",
        """        for y0 in range(0, min(n * (h - overlap), height), h - overlap):
            for x0 in range(0, min(n * (w - overlap), width), w - overlap):
""",
    ),
    "the overlap of the longer side": (
        "minisam/automatic/crops.py",
        "overlap_ratio * min(size)",
        "overlap_ratio * max(size)",
    ),
    "of every layer the same": ("minisam/automatic/crops.py", " * (2 / n)", ""),
    "empty crops": ("minisam/automatic/crops.py", "min(n * (h - overlap), height)", "n * (h - overlap)"),
    "< 20": ("minisam/automatic/crops.py", "np.abs(boxes - crop) <= EDGE", "np.abs(boxes - crop) < EDGE"),
    "the image's edges too": ("minisam/automatic/crops.py", "near_crop & ~near_image", "near_crop"),
    "one axis": ("minisam/automatic/crops.py", ".any(axis=1))", "[:, ::2].any(axis=1))"),
    "colours in turn": ("minisam/files/mosaic.py", "np.lexsort((taken, met))[0]", "np.lexsort((taken,))[0]"),
    "the inner one drawn first": ("minisam/files/mosaic.py", "for mask in masks:", "for mask in list(masks)[::-1]:"),
    "painting the window instead of the mask": (
        "minisam/files/mosaic.py",
        "inside = mask[window]",
        "inside = np.ones_like(mask[window])",
    ),
}


def blobs(seed: int, height: int, width: int, share: float) -> np.ndarray:
    """A mask of pixels and, where the seed is odd, of blocks, so that regions have many sizes."""
    rng = np.random.default_rng(seed)
    block = 1 + seed % 3
    coarse = rng.random((-(-height // block), -(-width // block))) < share
    return np.repeat(np.repeat(coarse, block, 0), block, 1)[:height, :width]


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """A mask that fills its image, or lies somewhere in a larger one, which is empty or full around it."""
    size = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    mask = blobs(draw(seeds), *size, draw(st.sampled_from((0.0, 0.2, 0.5, 0.8, 1.0))))
    pads = ((draw(st.integers(0, 9)), draw(st.integers(0, 9))), (draw(st.integers(0, 9)), draw(st.integers(0, 9))))
    return np.pad(mask, pads, constant_values=draw(st.booleans()))


def ring_and_block() -> np.ndarray:
    """A ring of 8 pixels around a hole of 1, and 20 pixels elsewhere."""
    mask = np.zeros((9, 12), bool)
    mask[1:4, 1:4] = mask[4:8, 6:11] = True
    mask[2, 2] = False
    return mask


@example(ring_and_block(), 9)
@example(np.eye(3, dtype=bool), 2)
@given(masks(), st.integers(0, 90))
def test_holes_are_filled_and_islands_removed_as_in_the_whole_picture(mask, min_area):
    """The window with weights gives what labelling the whole image gives, holes first. Kills: 4-neighbours, islands
    first, a margin that counts as one row, a margin beyond the image, ≤ for <, "changed" only when pixels changed."""
    before = mask.copy()
    expected, filled = reference.remove_small_regions(mask, min_area, "holes")
    expected, removed = reference.remove_small_regions(expected, min_area, "islands")
    found, changed = remove_small_regions(mask, min_area)
    np.testing.assert_array_equal(found, expected)
    assert changed == (filled or removed)
    np.testing.assert_array_equal(mask, before)


@given(masks(), st.integers(0, 90))
def test_as_opencv_counts_them(mask, min_area):
    """The same with OpenCV's regions, which the released code uses."""
    cv2 = pytest.importorskip("cv2")
    expected = mask
    for holes in (True, False):
        _, regions, stats, _ = cv2.connectedComponentsWithStats((expected ^ holes).astype(np.uint8), connectivity=8)
        small = stats[:, -1] < min_area
        small[0] = False
        if not holes and len(small) > 1 and small[1:].all():
            small[1 + stats[1:, -1].argmax()] = False
        expected = expected ^ small[regions]
    np.testing.assert_array_equal(remove_small_regions(mask, min_area)[0], expected)


def test_a_mask_of_crumbs():
    """The largest crumb stays, or with ``keep_largest=False`` none. Kills: the flag ignored, the first one kept."""
    mask = np.zeros((30, 40), bool)
    mask[2, 3:5] = mask[10:12, 10:12] = mask[20, 20] = True
    found, changed = remove_small_regions(mask, 9)
    assert changed and found.sum() == 4 and found[10:12, 10:12].all()
    found, changed = remove_small_regions(mask, 9, keep_largest=False)
    assert changed and not found.any()


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_of_equal_islands_the_first_block_stays(corner):
    """Blocks of 2 × 2 pixels are read row after row. Kills: the first pixel's island, blocks counted from the mask's
    box, columns before rows."""
    mask = np.zeros((9, 20), bool)
    mask[4 + corner[0], 2 + corner[1]] = mask[5 - corner[0], 9] = mask[8, 0] = True
    kept, _ = remove_small_regions(mask, 5)
    assert np.argwhere(kept).tolist() == [[4 + corner[0], 2 + corner[1]]]


@given(seeds, st.integers(2, 60), st.integers(2, 60), st.sampled_from((0.02, 0.1, 0.2)))
def test_of_equal_islands_opencvs_first_stays(seed, height, width, share):
    """Single pixels and other small islands: OpenCV decides which of the largest stays."""
    cv2 = pytest.importorskip("cv2")
    mask = np.random.default_rng(seed).random((height, width)) < share
    _, regions, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    expected = regions == 1 + stats[1:, -1].argmax() if mask.any() else mask
    kept, _ = reference.remove_small_regions(mask, mask.size + 1, "islands")
    np.testing.assert_array_equal(kept, expected)
    # Ours fills holes first: here the background is one region, and too large to be one.
    if (~mask).sum() > mask.sum() + 1 and ndimage.label(~mask, np.ones((3, 3)))[1] == 1:
        np.testing.assert_array_equal(remove_small_regions(mask, int(mask.sum()) + 1)[0], expected)


# ------------------------------------------------------------------------------------------------ points and crops


@given(st.integers(1, 40))
def test_points_are_middles_of_cells(side):
    """Kills: points on the border, columns before rows, (y, x)."""
    grid = point_grid(side)
    np.testing.assert_allclose(grid, reference.point_grid(side), atol=1e-15)
    cells = np.floor(grid * side).astype(int)
    np.testing.assert_array_equal(cells[:, 0] + side * cells[:, 1], np.arange(side * side))


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 3), st.sampled_from((0.0, 512 / 1500, 0.5, 0.99)))
def test_crops_are_the_plain_ones_and_cover_the_picture(height, width, layers, ratio):
    """Kills: rows of crops before columns, the overlap of the longer side, of every layer the same, empty crops."""
    crops = crop_boxes((height, width), layers, ratio)
    assert crops == reference.crop_boxes((height, width), layers, ratio)
    for layer in range(layers + 1):
        seen = np.zeros((height, width), bool)
        for (x0, y0, x1, y1), number in crops:
            assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
            if number == layer:
                seen[y0:y1, x0:x1] = True
        assert seen.all()


def test_crops_of_a_photo():
    """Numbers worked out by hand: 600 × 400, overlaps ⌊.3413 · 400⌋ = 136 and 68."""
    crops = crop_boxes((400, 600), 2, 512 / 1500)
    assert len(crops) == 1 + 4 + 16
    assert crops[0] == ((0, 0, 600, 400), 0)
    assert crops[1:5] == [
        ((0, 0, 368, 268), 1), ((0, 132, 368, 400), 1), ((232, 0, 600, 268), 1), ((232, 132, 600, 400), 1)
    ]  # fmt: skip
    assert crops[5] == ((0, 0, 201, 151), 2) and crops[20] == ((399, 249, 600, 400), 2)


def test_near_a_crops_inner_edge():
    """Within 20 pixels of the crop's edge and not of the image's. Kills: < 20, the image's edges too, one axis."""
    crop, size = (100, 0, 300, 200), (200, 400)
    boxes = {
        (130, 30, 200, 100): False, (121, 30, 200, 100): False, (120, 30, 200, 100): True,
        (130, 0, 279, 199): False, (130, 0, 280, 199): True, (130, 0, 299, 199): True,
    }  # fmt: skip
    np.testing.assert_array_equal(cut_off(np.array(list(boxes)), crop, size), list(boxes.values()))
    turned = np.array(list(boxes))[:, [1, 0, 3, 2]]
    np.testing.assert_array_equal(cut_off(turned, (0, 100, 200, 300), (400, 200)), list(boxes.values()))
    assert not cut_off(np.array([[0, 0, 399, 199]]), (0, 0, 400, 200), size).any()


# ------------------------------------------------------------------------------------------------ the image of all


def test_masks_that_touch_have_other_colours():
    """A chequerboard of squares, one of them with a mask inside. Kills: colours in turn, the inner one drawn first."""
    image = np.full((60, 80, 3), 200, np.uint8)
    squares = []
    for y in range(0, 60, 20):
        for x in range(0, 80, 20):
            mask = np.zeros((60, 80), bool)
            mask[y : y + 20, x : x + 20] = True
            squares.append(mask)
    inner = np.zeros((60, 80), bool)
    inner[26:34, 26:34] = True
    out = mosaic(image, [*squares, inner])
    colour = out[5::20, 5::20].reshape(3, 4, 3).astype(int)  # inside every square, away from outlines
    assert (colour[1:] != colour[:-1]).any(axis=2).all() and (colour[:, 1:] != colour[:, :-1]).any(axis=2).all()
    assert (out[30, 30] != out[22, 22]).any(), "inside another"
    assert len({tuple(c) for c in colour.reshape(-1, 3)}) == len(COLOURS)
    assert (image == 200).all()


def test_pixels_without_a_mask_stay():
    """Kills: painting the window instead of the mask. An empty mask changes nothing."""
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    mask = blobs(5, 20, 30, 0.4)
    out = mosaic(image, [np.zeros((20, 30), bool), mask])
    np.testing.assert_array_equal(out[~mask], image[~mask])
    assert (out[mask] != image[mask]).any(axis=1).all()
    np.testing.assert_array_equal(mosaic(image, []), image)
