"""Properties of ``nms``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.masks.nms import nms, nms_numpy
from strategies import LAYOUTS, lay_out, seeds, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "at the threshold is too much": ("> iou_threshold\n", ">= iou_threshold\n"),
    "the threshold in float32": ("np.float64(iou_threshold), np", "np.float32(iou_threshold), np"),
    "what is gone still suppresses": (
        "        if gone[i]:\n            continue\n",
        "        if gone[i]:\n            count -= 1\n",
    ),
    "over the smaller box": ("both / (own + area[j] - both)", "both / min(own, area[j])"),
    "over both boxes": ("own + area[j] - both", "own + area[j]"),
    "apart counts as overlap": ("(width if width > 0 else np.float32(0))", "abs(width)"),
    "by rising score": ('order = np.argsort(-scores, kind="stable")', 'order = np.argsort(scores, kind="stable")'),
    "ties from the last": (
        'order = np.argsort(-scores, kind="stable")',
        'order = np.argsort(scores, kind="stable")[::-1]',
    ),
    "in the order of the boxes": ("return order[kept[:count]]", "return np.sort(order[kept[:count]])"),
    "the next box is safe": ("range(i + 1, gone.size)", "range(i + 2, gone.size)"),
    "readable version keeps what touches": ("> np.float64(iou_threshold)).any()", "> np.float64(iou_threshold)).all()"),
    "NaN scores pass": ("if np.isnan(scores).any():", "if False:"),
    "boxes inside out pass": (" & (boxes[:, :2] <= boxes[:, 2:]).all(axis=1)", ""),
}

thresholds = st.sampled_from([-np.inf, -1.0, 0.0, 1 / 3, 0.5, 0.7, 1.0, 1.5, np.inf])


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Boxes on a coarse or fine grid, some without area, many the same; scores with many ties."""
    count = draw(sizes(0, 40, edges=(0, 8, 16)))
    rng = np.random.default_rng(draw(seeds))
    corner = rng.integers(0, 8, (count, 2)) + (rng.random((count, 2)) if draw(st.booleans()) else 0)
    side = rng.integers(0, 6, (count, 2)) + (rng.random((count, 2)) if draw(st.booleans()) else 0)
    boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
    scores = rng.integers(0, draw(st.sampled_from([1, 4, 1000])) + 1, count).astype(np.float32)
    layout = draw(st.sampled_from([layout for layout in LAYOUTS if layout != "broadcast"]))
    return lay_out(boxes, layout), lay_out(scores, layout)


def torchs(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> np.ndarray:
    """The definition in float32: a tie between an IoU and the threshold is a matter of one rounding."""
    return ops.nms(torch.from_numpy(boxes.copy()), torch.from_numpy(scores.copy()), iou_threshold).numpy()


@given(inputs(), thresholds)
def test_numpy_is_torch(drawn, iou_threshold):
    """Kills: readable version keeps what touches."""
    np.testing.assert_array_equal(nms_numpy(*drawn, iou_threshold), torchs(*drawn, iou_threshold))


@given(inputs(), thresholds)
def test_compiled_is_torch(drawn, iou_threshold):
    """Kills: at the threshold is too much, the threshold in float32, what is gone still suppresses, over the smaller
    box, over both boxes, apart counts as overlap, by rising score, ties from the last, in the order of the boxes, the
    next box is safe."""
    kept = nms(*drawn, iou_threshold)
    assert kept.dtype == np.int64
    np.testing.assert_array_equal(kept, torchs(*drawn, iou_threshold))


@given(inputs(), thresholds)
def test_what_stays_stays(drawn, iou_threshold):
    """Law: a second time changes nothing. Kills: what is gone still suppresses, the next box is safe."""
    boxes, scores = drawn
    kept = nms(boxes, scores, iou_threshold)
    np.testing.assert_array_equal(nms(boxes[kept], scores[kept], iou_threshold), np.arange(len(kept)))


def test_what_is_gone_suppresses_nothing():
    """A chain: the second is gone, so the third stays. Kills: what is gone still suppresses."""
    boxes = np.array([[0, 0, 4, 1], [1, 0, 5, 1], [2, 0, 6, 1]])
    assert nms(boxes, [3, 2, 1], 0.5).tolist() == [0, 2]
    assert nms(boxes, [2, 3, 1], 0.5).tolist() == [1]


def test_ties_keep_the_first():
    """Kills: ties from the last, the next box is safe."""
    boxes = np.array([[0, 0, 4, 4]] * 3)
    assert nms(boxes, [1, 1, 1], 0.5).tolist() == [0]
    assert nms(boxes, [1, 2, 2], 0.5).tolist() == [1]


def test_an_overlap_at_the_threshold_stays():
    """IoU 1/2 exactly, and 0.7, which float32 rounds down. Kills: at the threshold is too much, the threshold in
    float32."""
    assert nms([[0, 0, 2, 1], [0, 0, 1, 1]], [2, 1], 0.5).tolist() == [0, 1]
    assert float(np.float32(0.7)) < 0.7 and nms([[0, 0, 10, 1], [0, 0, 7, 1]], [2, 1], 0.7).tolist() == [0, 1]
    assert float(np.float32(0.6)) > 0.6 and nms([[0, 0, 10, 1], [0, 0, 6, 1]], [2, 1], 0.6).tolist() == [0]


def test_boxes_without_area_are_left_alone():
    """0/0 is above no threshold."""
    assert nms([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 3, 3]], [3, 2, 1], 0.0).tolist() == [0, 1, 2]


def test_thresholds_that_no_overlap_reaches():
    """From 1 on all boxes stay, below 0 only the best and what has no overlap at all with it, 0/0."""
    boxes = [[0, 0, 2, 2], [0, 0, 2, 2], [5, 5, 6, 6]]
    assert [nms(boxes, [2, 3, 1], t).tolist() for t in (1, 7, np.inf)] == [[1, 0, 2]] * 3
    assert [nms(boxes, [2, 3, 1], t).tolist() for t in (-0.1, -7, -np.inf)] == [[1]] * 3


@pytest.mark.parametrize(
    ("boxes", "scores", "threshold", "message"),
    [
        (np.ones((2, 3)), np.ones(2), 0.5, r"expected boxes of shape \(2, 4\), got \(2, 3\)"),
        (np.ones(4), np.ones(1), 0.5, r"expected boxes of shape \(N, 4\), got \(4,\)"),
        (np.ones((2, 4)), np.ones(3), 0.5, r"expected scores of shape \(2,\), got \(3,\)"),
        (np.ones((2, 4)), [1, np.nan], 0.5, "expected scores to be numbers, got NaN at 1"),
        ([[2, 0, 1, 1]], [1], 0.5, r"expected boxes with x0 <= x1 and y0 <= y1, got \[2.0, 0.0, 1.0, 1.0\]"),
        ([[0, 0, np.inf, 1]], [1], 0.5, r"expected boxes with x0 <= x1 and y0 <= y1, got \[0.0, 0.0, inf, 1.0\]"),
        (np.ones((2, 4)), np.ones(2), float("nan"), "expected iou_threshold to be a number, got nan"),
    ],
)
def test_bad_input_names_expected_and_received(boxes, scores, threshold, message):
    """Kills: NaN scores pass, boxes inside out pass."""
    with pytest.raises(InputError, match=message):
        nms(boxes, scores, threshold)
