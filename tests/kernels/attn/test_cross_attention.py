"""Properties of ``cross_attention``. Each names the wrong versions that it kills."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.attn import cross_attention as module
from minisam_kernels.attn.cross_attention import TOLERANCE, cross_attention, cross_attention_numpy
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "few queries: forgets the scale": ("weigh_many_keys(scores, scale,", "weigh_many_keys(scores, 1,"),
    "few queries: tiles count alike": (
        "share = np.exp(scale * (largest - largest.max(axis=1, keepdims=True)))",
        "share = np.ones_like(largest)",
    ),
    "few queries: shares without the scale": ("share = np.exp(scale * (", "share = np.exp(1 * ("),
    "few queries: sums without shares": ("(totals * share).sum", "totals.sum"),
    "few queries: every tile is the first": (
        "part = slice(t * tile, (t + 1) * tile)\n        keys, values = (_split(x[b % len(x), part]",
        "part = slice(0, tile)\n        keys, values = (_split(x[b % len(x), part]",
    ),
    "few keys: forgets the scale": ("softmax_few_keys(scores, scale,", "softmax_few_keys(scores, 1,"),
    "always the first prompt's keys": ("_split(x[b % len(x)], num_heads)", "_split(x[0], num_heads)"),
    "always the first prompt's queries": ("_split(q[b % len(q)], num_heads)", "_split(q[0], num_heads)"),
    "head width before heads": (
        "x.reshape(len(x), num_heads, x.shape[1] // num_heads).transpose(1, 0, 2)",
        "x.reshape(len(x), x.shape[1] // num_heads, num_heads).transpose(2, 0, 1)",
    ),
    "readable version scales by the width": ("np.sqrt(width).astype", "np.float64(width).astype"),
    "readable version: head width before heads": (
        "x.reshape(*x.shape[:2], num_heads, width).transpose(0, 2, 1, 3)",
        "x.reshape(*x.shape[:2], width, num_heads).transpose(0, 3, 1, 2)",
    ),
}

SMALL_TILES = patch.object(module, "TILE", 16)  # the smallest tile there is, so that a test has several


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Few and many on either side, and each of q, k, v for every prompt or one for all."""
    few, many = draw(st.integers(1, 6)), draw(sizes(1, 35, edges=(16, 32)))
    queries, keys = draw(st.sampled_from([(few, many), (many, few), (0, few)]))
    heads = draw(st.integers(1, 3))
    channels = heads * draw(st.sampled_from([1, 2, 5, 8]))
    batch = draw(st.sampled_from([1, 2, 3, 0]))
    q, k, v = (draw(arrays((draw(st.sampled_from([1, batch])), n, channels))) for n in (queries, keys, keys))
    return q, k, v, heads


def magnitude(q: np.ndarray, k: np.ndarray, v: np.ndarray, num_heads: int) -> np.ndarray:
    """(1 + largest Σ |q k| / √D) · largest |v|, (B, Nq, C) in float64."""
    batch = min(len(x) for x in (q, k, v)) and max(len(x) for x in (q, k, v))
    q, k, v = (np.broadcast_to(np.abs(x.astype(np.float64)), (batch, *x.shape[1:])) for x in (q, k, v))
    width = q.shape[2] // num_heads
    q, k = (x.reshape(*x.shape[:2], num_heads, width).swapaxes(1, 2) for x in (q, k))
    scores = (q @ k.swapaxes(2, 3)).max(axis=3).swapaxes(1, 2) / np.sqrt(width)  # (B, Nq, heads)
    return np.repeat(1 + scores, width, axis=2) * v.max(axis=1, keepdims=True)


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version scales by the width, head width before
    heads."""
    actual = cross_attention_numpy(*(a.astype(np.float64) for a in drawn[:3]), drawn[3])
    assert_close(actual, torchs(*drawn), magnitude(*drawn), 1e-4)


@given(inputs())
def test_compiled_is_torch(drawn):
    """Both routes, several tiles. Kills: forgets the scale (both), tiles count alike, shares without the scale, sums
    without shares, every tile is the first, always the first prompt's keys, always the first prompt's queries, head
    width before heads."""
    with SMALL_TILES:
        actual = cross_attention(*drawn)
    assert_close(actual, torchs(*drawn), magnitude(*drawn), TOLERANCE)


def torchs(q: np.ndarray, k: np.ndarray, v: np.ndarray, num_heads: int) -> np.ndarray:
    """The oracle, which takes neither an empty batch nor zero queries."""
    if not (len(q) and len(k) and len(v) and q.shape[1]):
        return np.empty((min(len(q), len(k), len(v)) and max(len(q), len(k), len(v)), *q.shape[1:]))
    return oracle(ops.cross_attention, q, k, v, num_heads)


@pytest.mark.parametrize(("queries", "keys"), [(3, 40), (40, 3)])
@given(seed=st.integers(0, 2**32 - 1))
def test_huge_scores_do_not_overflow(queries, keys, seed):
    """Scores of ±10⁵ choose one key; no NaN. Kills: few queries: tiles count alike."""
    rng = np.random.default_rng(seed)
    q, k = np.full((1, queries, 2), 300, np.float32), rng.permutation(np.linspace(-300, 300, keys))
    k = np.repeat(k[None, :, None], 2, axis=2)
    v = rng.standard_normal((1, keys, 2)).astype(np.float32)
    with SMALL_TILES:
        actual = cross_attention(q, k, v, 1)
    np.testing.assert_allclose(actual, np.repeat(v[:, k[0, :, 0].argmax()][:, None], queries, axis=1), rtol=1e-6)


@given(inputs(), st.randoms(use_true_random=False))
def test_the_order_of_the_keys_is_nothing(drawn, random):
    """Law: keys are a set. Kills: every tile is the first, tiles count alike."""
    q, k, v, heads = drawn
    order = random.sample(range(k.shape[1]), k.shape[1])
    with SMALL_TILES:
        drawn_order, shuffled = cross_attention(q, k, v, heads), cross_attention(q, k[:, order], v[:, order], heads)
    assert_close(drawn_order, shuffled.astype(np.float64), magnitude(*drawn), 2 * TOLERANCE)


@given(inputs())
def test_every_query_stands_alone(drawn):
    """Law: a query by itself, which always takes the route of few queries, has the same answer. Kills: few keys:
    forgets the scale."""
    q, k, v, heads = drawn
    with SMALL_TILES:
        together = cross_attention(q, k, v, heads)
        alone = [cross_attention(q[:, i : i + 1], k, v, heads) for i in range(q.shape[1])]
    alone = np.concatenate([together[:, :0], *alone], axis=1).astype(np.float64)
    assert_close(together, alone, magnitude(*drawn), 2 * TOLERANCE)


def test_a_nan_stays_with_its_query():
    """Kills nothing here: it pins that NaN neither spreads nor disappears."""
    for queries, keys in ((2, 20), (20, 2)):
        q, k = np.ones((1, queries, 4), np.float32), np.ones((1, keys, 4), np.float32)
        q[0, 1, 0] = np.nan
        y = cross_attention(q, k, k, 2)
        assert np.isnan(y[0, 1, :2]).all() and not np.isnan(y[0, 1, 2:]).any() and not np.isnan(y[0, 0]).any()


@pytest.mark.parametrize(
    ("q", "k", "v", "heads", "message"),
    [
        ((3, 4), (1, 5, 4), (1, 5, 4), 2, r"expected q of shape \(B, N, C\), got \(3, 4\)"),
        (
            (1, 3, 4),
            (1, 5, 4),
            (1, 5, 4),
            3,
            r"expected C to be a multiple of num_heads = 3, got q of shape \(1, 3, 4\)",
        ),
        (
            (1, 3, 4),
            (1, 5, 4),
            (1, 5, 4),
            0,
            r"expected C to be a multiple of num_heads = 0, got q of shape \(1, 3, 4\)",
        ),
        ((1, 3, 4), (1, 5, 6), (1, 5, 4), 2, r"expected k of shape \(1 or 1, 5, 4\), got \(1, 5, 6\)"),
        ((2, 3, 4), (3, 5, 4), (1, 5, 4), 2, r"expected k of shape \(1 or 2, 5, 4\), got \(3, 5, 4\)"),
        ((1, 3, 4), (1, 5, 4), (1, 6, 4), 2, r"expected v of shape \(1 or 1, 5, 4\), got \(1, 6, 4\)"),
        ((1, 3, 4), (1, 0, 4), (1, 0, 4), 2, r"expected at least one key, got k of shape \(1, 0, 4\)"),
    ],
)
def test_bad_input_names_expected_and_received(q, k, v, heads, message):
    with pytest.raises(InputError, match=message):
        cross_attention(np.ones(q), np.ones(k), np.ones(v), heads)
