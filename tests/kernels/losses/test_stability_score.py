"""Properties of ``stability_score``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.losses.iou import iou
from minisam_kernels.losses.stability_score import stability_score, stability_score_numpy
from oracles import oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "inner mask not strict": ("logits[m, n] > high", "logits[m, n] >= high"),
    "outer mask not strict": ("logits[m, n] > low", "logits[m, n] >= low"),
    "upside down": ("counts[m, 0], counts[m, 1] = inner, outer", "counts[m, 0], counts[m, 1] = outer, inner"),
    "offset on one side only": ("np.float32(threshold - offset)", "np.float32(threshold)"),
    "threshold ignored": (
        "np.float32(threshold + offset), np.float32(threshold - offset)",
        "np.float32(offset), np.float32(-offset)",
    ),
    "an empty mask is stable": ("counts[m, 1] = inner, outer", "counts[m, 1] = inner + (outer == 0), max(outer, 1)"),
    "readable version not strict": ("logits > threshold + offset", "logits >= threshold + offset"),
}

thresholds, offsets = st.sampled_from([0.0, -0.5, 2.0]), st.sampled_from([0.0, 0.5, 1.0])


@st.composite
def inputs(draw: st.DrawFn) -> np.ndarray:
    """Logits, some rounded to halves so that many lie exactly on a threshold."""
    shape = (draw(st.integers(0, 3)), draw(sizes(0, 18)), draw(sizes(0, 18, edges=(8, 16))))
    logits = draw(arrays(shape, scale=draw(st.sampled_from([0.3, 2.0]))))
    return np.round(2 * logits) / 2 if draw(st.booleans()) else logits


@given(inputs(), thresholds, offsets)
def test_numpy_is_torch(logits, threshold, offset):
    """Kills: readable version not strict."""
    expected = oracle(ops.stability_score, logits, threshold, offset)
    np.testing.assert_array_equal(stability_score_numpy(logits, threshold, offset), expected)


@given(inputs(), thresholds, offsets)
def test_compiled_is_torch(logits, threshold, offset):
    """Exact counts, the nearest float32. Kills: inner mask not strict, outer mask not strict, upside down, offset on
    one side only, threshold ignored."""
    expected = oracle(ops.stability_score, logits, threshold, offset)
    np.testing.assert_array_equal(stability_score(logits, threshold, offset), expected.astype(np.float32))


@given(inputs(), thresholds, offsets)
def test_is_the_iou_of_the_two_masks(logits, threshold, offset):
    """Law: what it replaces is two masks and their IoU. Kills: inner or outer mask not strict, upside down."""
    inner, outer = logits > np.float32(threshold + offset), logits > np.float32(threshold - offset)
    np.testing.assert_array_equal(stability_score(logits, threshold, offset), iou(inner, outer))


def test_logits_on_a_threshold_are_outside():
    """Kills: inner mask not strict, outer mask not strict."""
    logits = np.array([[[1.0, 1.5, -1.0, -0.5]]])
    assert stability_score(logits)[0] == np.float32(1 / 3)


def test_an_empty_mask_has_no_stability():
    """0/0 is NaN, which fails every comparison. Kills: an empty mask is stable."""
    score = stability_score(np.full((1, 2, 2), -5.0))[0]
    assert np.isnan(score) and not score >= 0.95


def test_nan_is_above_no_threshold():
    """Kills nothing here: it pins what the document says."""
    assert stability_score(np.array([[[np.nan, 3.0, 0.0]]]))[0] == 0.5


@pytest.mark.parametrize(
    ("logits", "offset", "message"),
    [
        (np.ones((2, 2)), 1.0, r"expected logits of shape \(M, H, W\), got \(2, 2\)"),
        (np.ones((1, 2, 2)), -1.0, "expected offset >= 0, got -1.0"),
        (np.ones((1, 2, 2)), float("nan"), "expected offset >= 0, got nan"),
        (np.array([[["a"]]]), 1.0, "expected logits to hold real numbers, got dtype <U1"),
    ],
)
def test_bad_input_names_expected_and_received(logits, offset, message):
    with pytest.raises(InputError, match=message):
        stability_score(logits, 0.0, offset)
