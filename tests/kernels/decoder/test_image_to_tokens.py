"""Properties of ``image_to_tokens``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import decoder_ops as ops
from minisam_kernels import InputError
from minisam_kernels.decoder.image_to_tokens import (
    TOLERANCE,
    image_to_tokens,
    image_to_tokens_numpy,
    image_to_tokens_tile,
    image_to_tokens_tiles,
)
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
    "every head has the first's bias": ("bias[h * others + t]", "bias[t]"),
    "every head's queries are the first's": ("q[h * width : (h + 1) * width]", "q[:width]"),
    "every head's positions are the first's": (
        "position[h * width : (h + 1) * width], positioned",
        "position[:width], positioned",
    ),
    "known queries without scale and position": ("            queries = positioned\n", ""),
    "every prompt is the first": ("image_to_tokens_tile(k[b], bias[b]", "image_to_tokens_tile(k[0], bias[0]"),
    "every prompt has the first's scale": ("features[b, scale], group", "features[0, scale], group"),
    "every group is the first": ("start = group * (count + 1)", "start = 0"),
    "no row of ones": ("        features[b, start + count] = _1\n", ""),
    "the first layer scales": ("group > 0, rows", "True, rows"),
    "does not normalise": ("row[n] *= totals[n]", "row[n] *= _1"),
    "readable version forgets the last": ("(np.exp(-largest) + weights.sum", "(weights.sum"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray | None, ...]:
    heads, others = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    width, pixels = draw(st.sampled_from([1, 3, 4, 8])), draw(sizes(1, 40, edges=(8, 16)))
    k, bias = draw(arrays((heads, others, width))), draw(arrays((heads, others)))
    shapes = ((heads, width, pixels), (pixels,), (heads, others, pixels))
    known = tuple(draw(arrays(shape)) for shape in shapes) if draw(st.booleans()) else (None, None, None)
    return k, bias, draw(arrays((heads, width, pixels))), *known


def magnitude(k, bias, q, position, scale, scores) -> np.ndarray:
    """1 + largest Σ of a score's absolute terms, over the tokens of a head."""
    k, bias, q = (np.abs(a.astype(np.float64)) for a in (k, bias, q))
    terms = k @ q + bias[..., None]
    if scores is not None:
        position, scale, scores = (np.abs(a.astype(np.float64)) for a in (position, scale, scores))
        terms = k @ (scale * q + position) + bias[..., None] + scores
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
        weights = version(k, np.zeros((1, 2), np.float32), q)
        np.testing.assert_allclose(weights[0], [[1, 0, 1 / 3], [0, 1, 1 / 3]], atol=1e-6)
        weights = version(-np.abs(k), np.zeros((1, 2), np.float32), np.abs(q))
        np.testing.assert_allclose(weights[0], [[0, 0, 1 / 3], [0, 0, 1 / 3]], atol=1e-6)


@given(inputs())
def test_weights_leave_the_rest_to_the_last_token(drawn):
    """Law: each is in [0, 1] and a head's sum is at most 1. Kills: does not normalise."""
    weights = image_to_tokens(*drawn)
    assert (weights >= 0).all() and (weights.sum(axis=1) <= 1 + 1e-6).all()


@pytest.mark.parametrize("group", [0, 2])
def test_prompts_side_by_side(group):
    """Law: each is what it is alone, in its group of features, and nothing else changes. Kills: every prompt is the
    first, has the first's scale, every group is the first, no row of ones, the first layer scales."""
    rng = np.random.default_rng(2)
    batch, heads, others, width, pixels = 3, 2, 2, 3, 9
    k = rng.standard_normal((batch, heads, others, width)).astype(np.float32)
    bias = rng.standard_normal((batch, heads * others)).astype(np.float32)
    q, position = rng.standard_normal((2, heads * width, pixels)).astype(np.float32)
    features = rng.standard_normal((batch, 15, pixels)).astype(np.float32)
    expected, rows = features.copy(), slice(5 * group, 5 * group + 4)
    for b in range(batch):
        scores = features[b, rows].copy()
        image_to_tokens_tile(k[b], bias[b], q, position, features[b, 4].copy(), group > 0, scores)
        expected[b, rows], expected[b, rows.stop] = scores, 1
    image_to_tokens_tiles(k, bias, q, position, 4, group, features)
    np.testing.assert_array_equal(features, expected)


def test_some_of_what_is_known():
    ones = np.ones((2, 3, 4))
    with pytest.raises(InputError, match="expected position, scale and scores together, got some of them"):
        image_to_tokens(ones, np.ones((2, 3)), np.ones((2, 4, 5)), scores=np.ones((2, 3, 5)))


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
        image_to_tokens(np.ones(k), np.ones(bias), np.ones(q), np.ones(q), np.ones(q[-1]), np.ones(scores))
