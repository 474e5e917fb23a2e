"""The second annotator: his line goes around what it should, two pixels late, and has the 16 corners that matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes, label

from minisam.world import render
from minisam.world.annotators import CRUMB, annotate, draw_lines
from minisam_kernels import InputError

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "an edge that is not late": ("minisam/world/annotators.py", "distance_transform_edt(~piece) <= late", "piece"),
    "crumbs that are drawn": ("minisam/world/annotators.py", "< least:", "< 0:"),
    "a line aside": ("minisam/world/annotators.py", "np.array([left, top]) - late - 1", "np.array([left, top]) - late"),
    "the largest triangle first": (
        "minisam/world/annotators.py",
        "if areas[i] < areas[least]:",
        "if areas[i] > areas[least]:",
    ),
    "triangles that are not measured again": (
        "minisam/world/annotators.py",
        "for i in (least - 1, least):",
        "for i in (least,):",
    ),
    "pixels by their corner": ("minisam/world/annotators.py", "(2 * x + 1 - ax)", "(2 * x - ax)"),
}


@st.composite
def objects(draw: st.DrawFn) -> np.ndarray:
    """Discs, rings, bars and noise, some cut off by the border, in images of any shape."""
    height, width = draw(st.sampled_from([(1, 1), (1, 9), (12, 3), (30, 41), (40, 33)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(0, 4))):
        far = np.hypot(x - rng.uniform(-3, width + 3), y - rng.uniform(-3, height + 3))
        mask |= (far < rng.uniform(1, 12)) & (far >= rng.choice([0, 2, 4]))
    return mask ^ (rng.random(mask.shape) < draw(st.sampled_from([0, 0, 0.02, 0.3])))


def late_and_filled(mask: np.ndarray, late: int) -> np.ndarray:
    """By definition: each piece that is no crumb, all pixels at most ``late`` from one of it, its holes filled."""
    size = mask.shape
    y, x = np.mgrid[-late - 1 : size[0] + late + 1, -late - 1 : size[1] + late + 1]
    drawn = np.zeros(x.shape, bool)
    pieces, count = label(mask)
    for number in range(1, count + 1):
        rows, columns = np.nonzero(pieces == number)
        if len(rows) >= CRUMB * mask.sum():
            squares = (x[..., None] - columns) ** 2 + (y[..., None] - rows) ** 2
            drawn |= binary_fill_holes(squares.min(axis=-1) <= late**2, np.ones((3, 3)))
    return drawn[late + 1 : late + 1 + size[0], late + 1 : late + 1 + size[1]]


@given(objects(), st.integers(0, 3))
def test_with_all_corners_the_line_goes_around_the_late_object(mask: np.ndarray, late: int) -> None:
    """Kills: an edge that is not late, crumbs that are drawn, a line
    aside, pixels by their corner."""
    before = mask.copy()
    assert np.array_equal(annotate(mask, 10**6, late), late_and_filled(mask, late))
    assert np.array_equal(mask, before)


def simplified(corners: np.ndarray, keep: int) -> np.ndarray:
    """Visvalingam and Whyatt's rule, every triangle measured anew each time."""
    kept = corners.tolist()
    while len(kept) > keep:
        twice = []
        for i, (bx, by) in enumerate(kept):
            (ax, ay), (cx, cy) = kept[i - 1], kept[(i + 1) % len(kept)]
            twice.append(abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)))
        del kept[twice.index(min(twice))]
    return np.array(kept)


@given(objects(), st.integers(3, 20), st.integers(0, 3))
def test_the_corners_that_matter(mask: np.ndarray, corners: int, late: int) -> None:
    """Kills: the largest triangle first, triangles that are not measured again."""
    every, some = draw_lines(mask, 10**6, late), draw_lines(mask, corners, late)
    assert len(every) == len(some)
    for full, line in zip(every, some):
        assert len(line) <= corners and np.array_equal(line, simplified(full, corners))


@given(objects(), st.integers(3, 20))
def test_pixels_inside_are_those_that_shapely_finds(mask: np.ndarray, corners: int) -> None:
    shapely = pytest.importorskip("shapely")
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
    inside = np.zeros(mask.shape, bool)
    for line in draw_lines(mask, corners):
        polygon = shapely.Polygon(line)
        if not polygon.is_valid:  # a line that crosses itself has another inside by another rule
            return
        inside |= shapely.contains_xy(polygon, x, y)
    on_the_line = np.zeros(mask.shape, bool)
    for line in draw_lines(mask, corners):
        on_the_line |= shapely.distance(shapely.LinearRing(line), shapely.points(x, y)) < 1e-9
    assert np.array_equal(annotate(mask, corners) & ~on_the_line, inside & ~on_the_line)


def test_known_objects() -> None:
    """Kills: an edge that is not late, crumbs that are drawn, a line aside, pixels by their corner."""
    square = np.zeros((20, 20), bool)
    square[5:15, 5:15] = True
    assert np.array_equal(annotate(square, late=0), square)
    assert draw_lines(square, late=0)[0].tolist() == [[5, 5], [15, 5], [15, 15], [5, 15]]
    square[8:12, 8:12] = False
    assert annotate(square, late=0).sum() == 100, "the hole is filled"
    assert annotate(square).sum() == 14 * 14 - 4 * 3, "two pixels on each side, three less in each corner"
    square[0:2, 0:2] = True
    assert annotate(square, late=0).sum() == 100, "4 of 88 pixels are a crumb"
    assert not annotate(np.zeros((4, 5), bool)).any() and draw_lines(np.zeros((4, 5), bool)) == []


def test_scenes_are_annotated_the_same_every_time() -> None:
    masks = [mask.segmentation for mask in render(3, 96, "kitchen").masks if mask.area > 150]
    assert masks
    for mask in masks:
        drawn = annotate(mask)
        assert drawn.shape == mask.shape and drawn.dtype == bool and np.array_equal(drawn, annotate(mask))
        assert all(len(line) <= 16 for line in draw_lines(mask))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 3)),), "a mask .H, W. of bool, got .2, 3. of float64"),
        ((np.zeros((1, 2, 3), bool),), "a mask .H, W. of bool"),
        ((np.zeros((2, 3), bool), 2), "at least 3 corners"),
        ((np.zeros((2, 3), bool), 16, -1), "got 16 and -1"),
    ],
)
def test_bad_input_is_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        annotate(*arguments)
