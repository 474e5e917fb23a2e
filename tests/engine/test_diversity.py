"""Size, concavity and position of masks: known shapes, scikit-image's hull, sets that differ in one thing alone."""

from __future__ import annotations

import numpy as np
import pytest

from minisam.engine.diversity import Shapes, balanced, centre_histogram, compare, describe, hull_area, shapes_of
from minisam_kernels import InputError
from minisam_kernels.masks import rle

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a size that is an area": (
        "minisam/engine/diversity.py",
        "float(np.sqrt(area / (height * width)))",
        "area / (height * width)",
    ),
    "rows for columns": ("minisam/engine/diversity.py", "centres.append((x, y))", "centres.append((y, x))"),
    "a centre half a pixel off": ("minisam/engine/diversity.py", "(column + 0.5)", "column"),
    "a hull of the left corners": ("minisam/engine/diversity.py", "for dx in (0, 1)", "for dx in (0, 0.5)"),
    "a hull that misses the lowest pixels": (
        "minisam/engine/diversity.py",
        "np.maximum.reduceat(bottom, first)",
        "bottom[first]",
    ),
    "concavities of different sizes": (
        "minisam/engine/diversity.py",
        "one.concavity, other.concavity, first, second",
        "one.concavity, other.concavity",
    ),
    "bins that one set does not reach": (
        "minisam/engine/diversity.py",
        "(counts[0] > 0) & (counts[1] > 0)",
        "(counts[0] > 0) | (counts[1] > 0)",
    ),
}


def disc(x: float, y: float, radius: float, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    rows, columns = np.indices(size)
    return (rows + 0.5 - y) ** 2 + (columns + 0.5 - x) ** 2 <= radius**2


def ring(x: float, y: float, radius: float) -> np.ndarray:
    return disc(x, y, radius) & ~disc(x, y, 0.6 * radius)


def test_known_shapes() -> None:
    """Kills: a size that is an area, rows for columns, a centre half a pixel off."""
    rectangle, corner, pixel = (np.zeros((60, 80), bool) for _ in range(3))
    rectangle[10:40, 20:60] = True
    corner[0:20, 0:20] = True
    corner[10:20, 10:20] = False  # an L: its hull lacks a triangle of 50
    pixel[7, 3] = True
    shapes = shapes_of([np.stack([rectangle, corner, pixel]), np.zeros((1, 60, 80), bool)])
    np.testing.assert_allclose(shapes.size, np.sqrt([0.25, 300 / 4800, 1 / 4800]))
    np.testing.assert_allclose(shapes.concavity, [0, 1 - 300 / 350, 0], atol=1e-12)
    np.testing.assert_allclose(shapes.centre[0], [40 / 80, 25 / 60])
    np.testing.assert_allclose(shapes.centre[2], [3.5 / 80, 7.5 / 60])
    assert shapes.per_picture.tolist() == [3, 0], "an empty mask is none"


def test_hull_is_that_of_scikit_image() -> None:
    """With the pixels' corners, as polygon area. Kills: a hull of the left corners, a hull that misses the lowest
    pixels."""
    measure = pytest.importorskip("skimage.measure")
    from scipy.spatial import ConvexHull

    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = np.zeros((30, 40), bool)
        for _ in range(3):
            y, x = rng.integers(0, 25, 2)
            mask[y : y + rng.integers(1, 6), x : x + rng.integers(1, 9)] = True
        mask &= rng.random(mask.shape) < 0.8
        area = hull_area(rle.encode(mask[None])[0], mask.shape)
        rows, columns = np.nonzero(mask)
        corners = np.concatenate([np.stack([columns + dx, rows + dy], 1) for dx in (0, 1) for dy in (0, 1)])
        assert area == pytest.approx(ConvexHull(corners).volume)
        # scikit-image counts pixels whose middle is inside of the hull: not the same, but near
        pixels = measure.regionprops(mask.astype(np.uint8))[0].area_convex
        assert abs(area - pixels) < 0.5 * (2 * sum(mask.shape))
    assert hull_area(np.array([1200]), (30, 40)) == 0


def test_description_counts_pictures_and_places() -> None:
    shapes = shapes_of([np.stack([disc(70, 10, 5)] * 12), np.stack([disc(10, 50, 5)] * 4)])
    numbers = describe(shapes)
    assert numbers["masks_per_picture"] == 8 and numbers["per_picture"]["up to 10"] == 0.5
    assert numbers["per_picture"]["11 to 50"] == 0.5 and sum(numbers["per_picture"].values()) == 1
    assert numbers["size"]["0.05"] == numbers["size"]["0.95"]
    places = centre_histogram(shapes)
    assert places[1, 7] == pytest.approx(0.75) and places[6, 1] == pytest.approx(0.25), "[row, column]"
    none = describe(shapes_of([np.zeros((0, 4, 4), bool)]))
    assert none["size"] is None and none["per_picture"]["up to 10"] == 1 and np.sum(none["centres"]) == 0
    with pytest.raises(InputError, match="at least 1 picture, got none"):
        shapes_of([])


def test_concavity_is_compared_at_like_sizes() -> None:
    """Large rings and small discs beside small rings and large discs. Kills: concavities of different sizes, bins that
    one set does not reach."""
    large, small = [ring(40, 30, 25)], [disc(40, 30, 8)]
    one = shapes_of([np.stack(large * 6 + small * 2)])
    other = shapes_of([np.stack(large * 2 + small * 6)])
    distance = compare(one, other)
    assert distance["concavity"] == pytest.approx(0, abs=1e-12), "at each size they are alike"
    assert distance["concavity_means"][0] == pytest.approx(distance["concavity_means"][1])
    assert distance["size"] > 0.1 and distance["centre"] == 0
    first, second = balanced(one, other)
    assert first.sum() == pytest.approx(1) and second.sum() == pytest.approx(1)
    assert first[0] == pytest.approx(1 / 12) and second[0] == pytest.approx(1 / 4)
    more = shapes_of([np.stack([*large * 6, *small * 2, disc(40, 30, 2.5)])])
    assert balanced(more, other)[0][-1] == 0 and compare(more, other)["concavity"] == pytest.approx(0, abs=1e-12)


def test_sets_that_share_nothing() -> None:
    left, right = shapes_of([disc(10, 10, 6)[None]]), shapes_of([disc(60, 50, 6)[None]])
    distance = compare(left, right)
    assert distance["centre"] == 1 and distance["size"] == 0
    nothing = Shapes(np.zeros(0), np.zeros(0), np.zeros((0, 2)), np.array([0]))
    assert set(compare(left, nothing).values()) == {None}
    apart = compare(left, shapes_of([disc(40, 30, 25)[None]]))
    assert apart["concavity"] is None and apart["size"] > 0
