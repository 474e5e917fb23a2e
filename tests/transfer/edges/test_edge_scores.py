"""ODS, OIS, AP and R50 against pyEdgeEval on 52 pictures, against scikit-learn, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc, average_precision_score, precision_recall_curve

from minisam.transfer.edges.baselines import sobel_map
from minisam.transfer.edges.bsds import boundaries, labels_of
from minisam.transfer.edges.scores import (
    average_precision,
    count_matches,
    cuts,
    f_measure,
    recall_at_half,
    recall_precision,
    summarise,
    thresholds,
)
from minisam.world import HELD_OUT, render
from minisam_kernels import InputError
from strategies import seeds

MUTANTS = {
    "precision of the last annotator": (
        "minisam/transfer/edges/scores.py",
        "            any_of_them |= matched\n",
        "            any_of_them = matched\n",
    ),
    "a best threshold per image in ODS": (
        "minisam/transfer/edges/scores.py",
        "    recall, precision = recall_precision(every.sum(axis=0))\n",
        "    recall, precision = recall_precision(every).mean(axis=0)\n",
    ),
    "the mean of images in OIS": (
        "minisam/transfer/edges/scores.py",
        "every[np.arange(len(every)), best].sum(axis=0))))",
        "every[np.arange(len(every)), best])).mean())",
    ),
    "area beyond the curve": (
        "minisam/transfer/edges/scores.py",
        "precision[first], left=0, right=0)",
        "precision[first])",
    ),
    "no lines between thresholds": (
        "minisam/transfer/edges/scores.py",
        "BETWEEN = 101",
        "BETWEEN = 2",
    ),
}
PICTURES, SIDE, COUNT = 52, 64, 6
SHARE = 0.03  # of the diagonal: 2.7 pixels, so that pixels have many neighbours in so small a picture


@pytest.fixture(scope="module")
def pictures():
    """Scenes of the world: Sobel's soft map, and three annotators, of whom one sees no parts and one is clumsy."""
    listed = []
    for number in range(PICTURES):
        scene = render(HELD_OUT + number, SIDE)
        masks = np.array([mask.segmentation for mask in scene.masks])
        whole = np.array([mask.parent is None for mask in scene.masks])
        drawn = [boundaries(labels_of(masks)), boundaries(labels_of(masks[whole]))]
        drawn.append(np.roll(drawn[0], (1 + number % 2, 2), (0, 1)))
        listed.append((sobel_map(scene.image), drawn))
    return listed


def test_equal_to_pyedgeeval(pictures):
    """All of its pipeline beside all of ours: thresholds, thinning, correspondence, sums, four scores.

    Its AUC is BSDS's AP; what it calls AP is a sum of 100 interpolated precisions that is divided by 101.
    """
    program = pytest.importorskip("pyEdgeEval.common.binary_label", reason="installed where there is a C++ compiler")
    curves = pytest.importorskip("pyEdgeEval.visualization.pr_curve", reason="installed where there is a C++ compiler")
    ours = [count_matches(cuts(edges, COUNT), drawn, SHARE) for edges, drawn in pictures]
    theirs = []

    def evaluate(sample):
        options = {"thresholds": thresholds(COUNT), "pred": sample["edges"], "gts": sample["drawn"]}
        theirs.append(program.evaluate_boundaries_threshold_multiple_gts(**options, max_dist=SHARE))
        return theirs[-1]

    samples = [{"name": str(n), "edges": edges, "drawn": drawn} for n, (edges, drawn) in enumerate(pictures)]
    _, curve, overall = program.calculate_metrics(evaluate, thresholds(COUNT).tolist(), samples, nproc=1)
    points = np.array([[row[key] for key in ("threshold", "recall", "precision", "f1")] for row in curve])
    expected = overall["ODS_f1"], overall["OIS_f1"], overall["AUC"], curves._calc_r50(points[points[:, 1] >= 1e-3])
    np.testing.assert_allclose(summarise(ours), expected, atol=0.002)
    # and the counts that they are made of, which differ a little: its thinning ends before it is done
    counts, reference = np.array(ours), np.array(theirs).transpose(0, 2, 1)
    np.testing.assert_array_equal(counts[..., 1], reference[..., 1])
    totals = reference.sum(axis=(0, 1))
    np.testing.assert_allclose(counts.sum(axis=(0, 1)), totals, rtol=0.002)


@given(seeds)
def test_equal_to_scikit_learn_without_tolerance(seed):
    """Where only the same pixel matches and nothing is thinned, edges are a classification of pixels."""
    rng = np.random.default_rng(seed)
    drawn = rng.random((14, 15)) < 0.3
    edges = np.where(drawn, rng.beta(3, 2, drawn.shape), rng.beta(2, 3, drawn.shape))
    levels = [edges >= t for t in np.sort(edges, axis=None)]
    recall, precision = recall_precision(count_matches(levels, [drawn], max_distance=0))
    expected_precision, expected_recall, _ = precision_recall_curve(drawn.ravel(), edges.ravel())
    np.testing.assert_allclose(precision, expected_precision[:-1])
    np.testing.assert_allclose(recall, expected_recall[:-1])
    # the area: scikit-learn's has no grid of recalls, and its curve goes on to (0, 1)
    ours = average_precision(np.append(recall, 0), np.append(precision, 1))
    assert ours == pytest.approx(auc(expected_recall, expected_precision), abs=0.02)
    assert ours == pytest.approx(average_precision_score(drawn.ravel(), edges.ravel()), abs=0.03)


def test_by_hand():
    """Two images, two thresholds. Kills: a best threshold per image in ODS, the mean of images in OIS, area beyond the
    curve."""
    first = np.array([[8, 10, 6, 12], [4, 10, 4, 4]])
    second = np.array([[5, 10, 5, 5], [1, 10, 1, 1]])
    scores = summarise([first, second])
    # recall 13/20, 5/20, precision 11/17, 5/5
    recall, precision = np.array([0.65, 0.25]), np.array([11 / 17, 1])
    assert scores.ods == pytest.approx(2 * 0.65 * (11 / 17) / (0.65 + 11 / 17), abs=1e-3)
    # each image's own best: the first threshold for both (F .615 and .571; .667 and .182)
    assert scores.ois == pytest.approx(2 * 0.65 * (11 / 17) / (0.65 + 11 / 17))
    grid = [p / 100 for p in range(25, 66)]
    area = sum(1 + (r - 0.25) / 0.4 * (11 / 17 - 1) for r in grid) / 100
    assert scores.ap == pytest.approx(area) == pytest.approx(average_precision(recall, precision))
    assert scores.r50 == pytest.approx(0.65)  # no precision is as low as one half: the lowest


def test_ods_is_read_between_thresholds():
    """F is 1/3 at both ends of the line and .6 in its middle. Kills: no lines between thresholds."""
    assert summarise([np.array([[10, 10, 2, 10], [2, 10, 10, 10]])]).ods == pytest.approx(0.6)


def test_a_pixel_that_any_annotator_drew_is_right():
    """Each draws one of two pixels. Kills: precision of the last annotator."""
    drawn = np.zeros((2, 40, 40), bool)
    drawn[0, 5, 5] = drawn[1, 30, 30] = True
    counts = count_matches([drawn.any(axis=0)], list(drawn))
    np.testing.assert_array_equal(counts, [[2, 2, 2, 2]])


@given(st.integers(1, 6), st.integers(1, 5), seeds)
def test_bounds(images, count, seed):
    """All within 0 and 1, and ODS is at least F at every threshold."""
    rng = np.random.default_rng(seed)
    totals = rng.integers(0, 30, (images, count, 2))
    totals[..., 0] = totals[:, :1, 0]
    hits = rng.integers(0, totals + 1)
    counts = np.stack([hits[..., 0], totals[..., 0], hits[..., 1], totals[..., 1]], axis=-1)
    scores = summarise(counts)
    assert all(np.isnan(value) or 0 <= value <= 1 + 1e-12 for value in scores)
    assert scores.ods >= f_measure(*recall_precision(counts.sum(axis=0))).max()


def test_perfect_and_empty():
    drawn = np.zeros((30, 30), bool)
    drawn[10, 3:20] = drawn[10:25, 20] = True
    perfect = summarise([count_matches([drawn, drawn], [drawn, drawn])])
    assert perfect.ods == perfect.ois == 1 and perfect.r50 == 1
    nothing = summarise([count_matches([~drawn & drawn] * 3, [drawn])])
    assert nothing[:3] == (0, 0, 0) and np.isnan(nothing.r50)
    assert np.isnan(recall_at_half(np.array([0.5, 0.6]), np.array([0.2, 0.3])))


def test_bad_input():
    with pytest.raises(InputError, match="at least one annotator"):
        count_matches([np.zeros((3, 3), bool)], [])
    with pytest.raises(InputError, match=r"shape \(3, 3\), got \(4, 3\)"):
        count_matches([np.zeros((4, 3), bool)], [np.zeros((3, 3), bool)])
