"""How diverse the masks of a set are, as the paper compares sets (section 5, "Mask properties", figures 5 and 6)::

    size      = √(pixels of the mask / pixels of the picture)
    concavity = 1 − pixels of the mask / area of its convex hull
    centre    = the mean of its pixels' middles, x and y as shares of the picture's sides

and the number of masks per picture. A pixel is a square of side 1, so that a rectangle has the concavity 0, and so has
a single pixel. Large masks are more often concave than small ones; therefore the paper compares concavities only after
it has drawn equally many masks from bins of size. Here the same is done by weights, without a draw (``balanced``).

Distances between sets are first Wasserstein distances (scipy's), in the unit of the quantity itself; of centres the
total variation between histograms, 0 for the same and 1 for disjoint ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minisam.engine.masks import as_picture
from minisam_kernels import InputError
from minisam_kernels.masks.rle_geometry import column_pieces

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PER_PICTURE = {"up to 10": 10, "11 to 50": 50, "51 to 100": 100, "101 to 200": 200, "above 200": np.inf}  # figure 6
SIZE_BINS = np.array([0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.000001])  # of ``balanced``
CELLS = 8  # of the centres' histogram, along each side


class Shapes(NamedTuple):
    """What is compared of the masks of a set; masks without a pixel are left out."""

    size: np.ndarray  # (M,) from 0 to 1
    concavity: np.ndarray  # (M,) from 0 to below 1
    centre: np.ndarray  # (M, 2): x, y from 0 to 1
    per_picture: np.ndarray  # (P,) int64: how many masks each picture has


def hull_area(counts: np.ndarray, size: tuple[int, int]) -> float:
    """The area of the convex hull of a mask's pixels, taken as squares; 0 without any. ``counts`` are run lengths."""
    from scipy.spatial import ConvexHull

    column, top, bottom = column_pieces(counts, size)
    if not len(column):
        return 0.0
    # of each column the highest and the lowest corners are enough, left and right
    first = np.flatnonzero(np.diff(column, prepend=-1))
    x, low, high = column[first], np.minimum.reduceat(top, first), np.maximum.reduceat(bottom, first)
    corners = np.concatenate([np.stack([x + dx, y], 1) for dx in (0, 1) for y in (low, high)])
    return float(ConvexHull(corners).volume)  # scipy's name for the area in two dimensions


def shapes_of(pictures: Sequence[Any]) -> Shapes:
    """Measure the masks of a set.

    Parameters
    ----------
    pictures : sequence
        For each picture its masks, as ``minisam.engine.masks.as_picture`` takes them.

    Raises
    ------
    InputError
        Without a picture.
    """
    if not len(pictures):
        raise InputError("expected at least 1 picture, got none")
    sizes: list[float] = []
    concavities, centres, number = [], [], []
    for picture in map(as_picture, pictures):
        before = len(sizes)
        for counts in picture.counts:
            assert picture.size is not None
            height, width = picture.size
            column, top, bottom = column_pieces(counts, picture.size)
            area = int((bottom - top).sum())
            if not area:
                continue
            sizes.append(float(np.sqrt(area / (height * width))))
            concavities.append(1 - area / hull_area(counts, picture.size))
            x = ((column + 0.5) * (bottom - top)).sum() / area / width
            y = (0.5 * (top + bottom) * (bottom - top)).sum() / area / height
            centres.append((x, y))
        number.append(len(sizes) - before)
    concavity = np.maximum(np.array(concavities, float), 0)  # 1 − 1.0000000000000002
    return Shapes(
        np.array(sizes, float), concavity, np.array(centres, float).reshape(-1, 2), np.array(number, np.int64)
    )


def centre_histogram(shapes: Shapes, cells: int = CELLS) -> np.ndarray:
    """The share of centres in each of cells × cells parts of the picture, [row, column]; zeros without masks."""
    edges = np.linspace(0, 1, cells + 1)
    counted, _, _ = np.histogram2d(shapes.centre[:, 1], shapes.centre[:, 0], bins=(edges, edges))
    return np.asarray(counted / max(counted.sum(), 1))


def balanced(one: Shapes, other: Shapes, edges: np.ndarray = SIZE_BINS) -> tuple[np.ndarray, np.ndarray]:
    """Weights for the masks of two sets under which both have equally many in each bin of size that both reach.

    Zero for masks in bins that one set does not reach; all zero where no bin is shared.
    """
    bins = [np.digitize(shapes.size, edges) for shapes in (one, other)]
    counts = [np.bincount(some, minlength=len(edges) + 1) for some in bins]
    shared = (counts[0] > 0) & (counts[1] > 0)
    first, second = (
        np.where(shared[some], 1 / np.maximum(count[some], 1) / max(shared.sum(), 1), 0.0)
        for some, count in zip(bins, counts)
    )
    return first, second


def describe(shapes: Shapes) -> dict[str, Any]:
    """A set in numbers: masks per picture, quantiles of size and concavity, the centres' histogram."""

    def quantiles(values: np.ndarray) -> dict[str, float] | None:
        if not len(values):
            return None
        return {f"{q:g}": float(value) for q, value in zip(QUANTILES, np.quantile(values, QUANTILES))}

    number = shapes.per_picture
    bins, low = {}, -1.0
    for name, high in PER_PICTURE.items():
        bins[name] = float(((number > low) & (number <= high)).mean())
        low = high
    return {
        "pictures": len(number), "masks": len(shapes.size), "masks_per_picture": float(number.mean()),
        "per_picture": bins, "size": quantiles(shapes.size), "concavity": quantiles(shapes.concavity),
        "centres": centre_histogram(shapes).tolist(),
    }  # fmt: skip


def compare(one: Shapes, other: Shapes) -> dict[str, Any]:
    """How far two sets are from each other.

    Returns
    -------
    dict
        ``size`` and ``centre``: distances as above; ``concavity``: after ``balanced``, with the mean of either set as
        ``concavity_means``. None where a set has no mask, or the two share no bin of size.
    """
    from scipy.stats import wasserstein_distance

    empty: dict[str, Any] = {"size": None, "concavity": None, "concavity_means": None, "centre": None}
    if not len(one.size) or not len(other.size):
        return empty
    result = empty | {
        "size": float(wasserstein_distance(one.size, other.size)),
        "centre": float(0.5 * np.abs(centre_histogram(one) - centre_histogram(other)).sum()),
    }
    first, second = balanced(one, other)
    if first.any():
        result["concavity"] = float(wasserstein_distance(one.concavity, other.concavity, first, second))
        means = [float(np.average(s.concavity, weights=w)) for s, w in ((one, first), (other, second))]
        result["concavity_means"] = means
    return result
