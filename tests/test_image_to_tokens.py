"""Properties of ``image_to_tokens``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import decoder_ops as ops
from minisam_kernels import InputError
from minisam_kernels.image_to_tokens import TOLERANCE, image_to_tokens, image_to_tokens_numpy
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "forgets the last token": ("totals[n] = exp(-largest[n])", "totals[n] = _0"),
    "the last token's score is not 0": ("totals[n] = exp(-largest[n])", "totals[n] = _1"),
    "no maximum": ("largest[n] = row[n] if row[n] > largest[n] else largest[n]", "largest[n] = _0"),
    "forgets the bias": ("row[n] + b if known else b", "row[n] if known else _0"),
    "forgets what is known": ("row[n] + b if known else b", "b"),
    "takes leftovers for known": ("row[n] + b if known else b", "row[n] + b"),
    "every head is the first": ("scores[h * others : (h + 1) * others]", "scores[:others]"),
    "does not normalise": ("row[n] *= totals[n]", "row[n] *= _1"),
    "readable version forgets the last": ("(np.exp(-largest) + weights.sum", "(weights.sum"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    heads, others = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    width, pixels = draw(st.sampled_from([1, 3, 4, 8])), draw(sizes(1, 40, edges=(8, 16)))
    k, bias = draw(arrays((heads, others, width))), draw(arrays((heads, others)))
    known = draw(st.none() | arrays((heads, others, pixels)))
    return k, bias, draw(arrays((heads, width, pixels))), known


def magnitude(k: np.ndarray, bias: np.ndarray, q: np.ndarray, scores: np.ndarray | None) -> np.ndarray:
    """1 + largest Σ of a score's absolute terms, over the tokens of a head."""
    k, bias, q = (np.abs(a.astype(np.float64)) for a in (k, bias, q))
    terms = k @ q + bias[..., None] + (0 if scores is None else np.abs(scores.astype(np.float64)))
    return np.broadcast_to(1 + terms.max(axis=1, keepdims=True), terms.shape)


@given(inputs())
def test_numpy_is_torch(drawn):
    """Kills: readable version forgets the last."""
    double = [None if a is None else a.astype(np.float64) for a in drawn]
    assert_close(image_to_tokens_numpy(*double), oracle(ops.image_to_tokens, *drawn), magnitude(*drawn), 1e-4)


@given(inputs())
def test_compiled_is_torch(drawn):
    """Kills: forgets the last token, the last token's score is not 0, forgets the bias, forgets what is known, takes
    leftovers for known, every head is the first, does not normalise."""
    assert_close(image_to_tokens(*drawn), oracle(ops.image_to_tokens, *drawn), magnitude(*drawn), TOLERANCE)


def test_huge_scores_do_not_overflow():
    """Scores of ±10⁴ choose one token, which may be the implied one. Kills: no maximum."""
    for version in (image_to_tokens, image_to_tokens_numpy):
        k, q = np.array([[[1e4], [-1e4]]], np.float32), np.array([[[1, -1, 0]]], np.float32)
        weights = version(k, np.zeros((1, 2), np.float32), q, None)
        np.testing.assert_allclose(weights[0], [[1, 0, 1 / 3], [0, 1, 1 / 3]], atol=1e-6)
        weights = version(-np.abs(k), np.zeros((1, 2), np.float32), np.abs(q), None)
        np.testing.assert_allclose(weights[0], [[0, 0, 1 / 3], [0, 0, 1 / 3]], atol=1e-6)


@given(inputs())
def test_weights_leave_the_rest_to_the_last_token(drawn):
    """Law: each is in [0, 1] and a head's sum is at most 1. Kills: does not normalise."""
    weights = image_to_tokens(*drawn)
    assert (weights >= 0).all() and (weights.sum(axis=1) <= 1 + 1e-6).all()


@pytest.mark.parametrize(
    ("k", "bias", "q", "scores", "message"),
    [
        ((3, 4), (2, 3), (2, 4, 5), (2, 3, 5), r"expected k of shape \(heads, T − 1, D\), got \(3, 4\)"),
        ((2, 3, 4), (2, 4), (2, 4, 5), (2, 3, 5), r"expected bias of shape \(2, 3\), got \(2, 4\)"),
        ((2, 3, 4), (2, 3), (2, 5, 5), (2, 3, 5), r"expected q of shape \(2, 4, 5\), got \(2, 5, 5\)"),
        ((2, 3, 4), (2, 3), (2, 4, 5), (2, 3, 6), r"expected scores of shape \(2, 3, 5\), got \(2, 3, 6\)"),
    ],
)
def test_bad_input_names_expected_and_received(k, bias, q, scores, message):
    with pytest.raises(InputError, match=message):
        image_to_tokens(np.ones(k), np.ones(bias), np.ones(q), np.ones(scores))
