"""Edge maps from masks: against scipy's Sobel filter, and what a map may not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from minisam.predictor import SamPredictor
from minisam.sam import build
from minisam.transfer.edges.boundaries import (
    Masks,
    ask,
    compose,
    edge_map,
    image_logits,
    mask_edges,
    mask_edges_numpy,
    normalised,
    probabilities,
    without_duplicates,
)
from minisam_kernels import InputError
from small_models import SMALL, picture
from strategies import seeds

MUTANTS = {
    "inner boundaries": (
        "minisam/transfer/edges/boundaries.py",
        "            if z[i, j] > 0:\n",
        "            if z[i, j] <= 0:\n",
    ),
    "logits instead of probabilities": (
        "minisam/transfer/edges/boundaries.py",
        "p[a, b] = 1 / (1 + np.exp(-z[row, column]))",
        "p[a, b] = z[row, column]",
    ),
    "zeros around the image": (
        "minisam/transfer/edges/boundaries.py",
        "above, below = max(i - 1, 0), min(i + 1, height - 1)",
        "above, below = i - 1, min(i + 1, height - 1)",
    ),
    "the last mask alone": ("minisam/transfer/edges/boundaries.py", "if slope > edges[i, j]:", "if slope > 0:"),
    "masks that predicted IoU drops": (
        "minisam/transfer/edges/boundaries.py",
        "some = (runs.areas > 0) & ~np.isnan(scores)",
        "some = (runs.areas > 0) & (scores > 0.5)",
    ),
}


def masks_of(logits: np.ndarray) -> Masks:
    """Masks whose logits have the image's size already: the second resize leaves them as they are."""
    count, side, _ = logits.shape
    boxes = np.zeros((count, 4), np.int64)
    return Masks(logits, np.ones(count, np.float32), boxes, np.zeros((count, 2)), (side, side), side)


@given(st.integers(2, 12), st.integers(1, 4), seeds)
def test_loop_equals_scipy(side, count, seed):
    """Rough and flat logits, masks at the frame. Kills: inner boundaries, logits instead of probabilities, zeros around
    the image."""
    rng = np.random.default_rng(seed)
    logits = (rng.standard_normal((count, side, side)) * rng.choice([0.1, 3, 300])).astype(np.float32)
    logits[rng.random(logits.shape) < 0.2] = 0
    expected = np.array([mask_edges_numpy(one.astype(float)) for one in logits])
    np.testing.assert_allclose(mask_edges(masks_of(logits), range(count)), expected, atol=1e-6)


@given(st.integers(2, 10), st.integers(1, 40), seeds)
def test_composition_is_the_normalised_maximum(side, count, seed):
    """In any order, more masks than are resized at once. Kills: the last mask alone."""
    rng = np.random.default_rng(seed)
    masks = masks_of(rng.standard_normal((count, side, side)).astype(np.float32))
    expected = normalised(mask_edges(masks, range(count)).max(axis=0))
    np.testing.assert_array_equal(compose(masks, rng.permutation(count)), expected)
    assert expected.min() >= 0 and expected.max() <= 1


def test_a_straight_edge():
    """A mask of the right half: its edge is one column, just outside, with the slope of p there, and no frame."""
    x = np.arange(8) - 4.5
    logits = np.broadcast_to(x, (8, 8)).astype(np.float32)
    edges = mask_edges(masks_of(logits[None]), [0])[0]
    assert (edges[:, np.arange(8) != 4] == 0).all()
    p = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(edges[:, 4], (p[5] - p[3]) / 2, rtol=1e-6)


def test_no_masks_no_edges():
    masks = masks_of(np.zeros((0, 6, 6), np.float32))
    assert not compose(masks, []).any()


@pytest.fixture(scope="module")
def predictor():
    predictor = SamPredictor(build(SMALL, seed=3))
    predictor.set_image(picture(40, 60))
    return predictor


def test_every_point_gives_its_three_masks(predictor):
    """No score drops a mask, only emptiness, and each is the predictor's own. Kills: masks that predicted IoU drops."""
    masks = ask(predictor, 4)
    n = 0
    for y in (np.arange(4) + 0.5) * 10:
        for x in (np.arange(4) + 0.5) * 15:
            coords = np.array([[x, y]])
            own, scores, _ = predictor.predict(coords, np.array([1]), multimask_output=True, return_logits=True)
            for logits, score in zip(own, scores):
                if (logits > 0).any():
                    np.testing.assert_allclose(image_logits(masks, [n])[0], logits, atol=1e-5)
                    np.testing.assert_allclose(masks.scores[n], score, rtol=1e-5)
                    rows, columns = np.nonzero(image_logits(masks, [n])[0] > 0)
                    box = [columns.min(), rows.min(), columns.max(), rows.max()]
                    assert masks.boxes[n].tolist() == box and masks.points[n].tolist() == [x, y]
                    n += 1
    assert n == len(masks.scores) > 0


def test_an_edge_map_is_made_of_all_this(predictor):
    edges = edge_map(predictor, 3)
    assert edges.shape == (40, 60) and edges.min() >= 0 and edges.max() <= 1
    masks = ask(predictor, 3)
    kept = without_duplicates(masks)
    p = probabilities(masks, kept)
    slope = [np.hypot(ndimage.sobel(one, 0, mode="nearest"), ndimage.sobel(one, 1, mode="nearest")) for one in p]
    outer = [ndimage.binary_dilation(one > 0.5, np.ones((3, 3))) & ~(one > 0.5) for one in p]
    expected = normalised(np.max([s * o for s, o in zip(slope, outer)], axis=0))
    np.testing.assert_allclose(compose(masks, kept), expected, atol=2e-5)


def test_bad_input(predictor):
    with pytest.raises(InputError, match=r"points_per_side of at least 1, got 0"):
        ask(predictor, 0)
    with pytest.raises(InputError, match="an image to be set"):
        ask(SamPredictor(build(SMALL)))
    plain = SamPredictor(build(SMALL), plain=True)
    plain.set_image(picture(20, 20))
    with pytest.raises(InputError, match="fused decoder"):
        ask(plain)
