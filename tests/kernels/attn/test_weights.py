"""Properties of the three loops in ``weights``. Each names the wrong versions that it kills (``mutants.py``)."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minisam_kernels.attn.weights import TOLERANCE, softmax_few_keys, weigh_many_keys, weigh_with_rel_pos
from minisam_kernels.layers.softmax import softmax_numpy
from oracles import assert_close
from strategies import seeds, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "rel_pos: mixes rows and columns": (
        "h, w = (first + i) // columns, (first + i) % columns",
        "h, w = (first + i) % H, (first + i) // H",
    ),
    "rel_pos: forgets where a piece begins": ("(first + i)", "i"),
    "rel_pos: forgets the bias along a row": ("term_h[y] + term_w[x]", "term_h[y]"),
    "rel_pos: forgets the bias along a column": ("term_h[y] + term_w[x]", "term_w[x]"),
    "rel_pos: forgets the maximum": ("exp2(row[j] - largest)", "exp2(row[j])"),
    "rel_pos: weighs the padding too": ("scores[g, i, : H * W]", "scores[g, i]"),
    "many keys: forgets the scale": (
        "exp(scale * (scores[h, i, j] - largest[h, i]))",
        "exp(scores[h, i, j] - largest[h, i])",
    ),
    "many keys: does not subtract the maximum": (
        "exp(scale * (scores[h, i, j] - largest[h, i]))",
        "exp(scale * scores[h, i, j])",
    ),
    "few keys: forgets the scale": ("exp(scale * (scores[h, i, j] - largest[j]))", "exp(scores[h, i, j] - largest[j])"),
    "few keys: maximum of the first key only": ("largest[j] = scores[h, i, j] if", "largest[j] = largest[j] if"),
    "few keys: does not normalise": ("scores[h, i, j] *= totals[j]", "scores[h, i, j] *= 1"),
    "few keys: sums run on from head to head": ("            totals[j] = 0\n", ""),
}
SCALE = np.float32(0.3)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@given(sizes(1, 5), sizes(1, 5), st.booleans(), st.data())
def test_weights_with_rel_pos(H, W, biased, data):
    """Against the equation, for the queries of a piece in a grid that may be narrower than the keys'; what stands
    after the first H · W scores stays. Kills: every rel_pos mutant."""
    groups, columns, padding = data.draw(st.integers(1, 2)), data.draw(st.integers(1, W)), data.draw(st.integers(0, 2))
    first = data.draw(st.integers(0, H * columns - 1))
    n = data.draw(st.integers(1, H * columns - first))
    scores = normal(data.draw(seeds), groups, n, H * W + padding)
    terms = normal(data.draw(seeds), groups, n, (2 * H - 1 + 2 * W - 1) * biased)
    before, totals = scores.copy(), np.empty((groups, n), np.float32)
    weigh_with_rel_pos(scores, terms, first, columns, H, W, totals)

    s, size = before[..., : H * W].astype(np.float64), np.abs(before[..., : H * W]).astype(np.float64)
    for i in range(n if biased else 0):
        h, w = divmod(first + i, columns)
        for y, x in np.ndindex(H, W):
            term_h, term_w = terms[:, i, H - 1 - h + y], terms[:, i, 2 * H - 1 + W - 1 - w + x]
            s[:, i, y * W + x] += term_h.astype(np.float64) + term_w
            size[:, i, y * W + x] += np.abs(term_h) + np.abs(term_w)
    expected = 2 ** (s - s.max(axis=2, keepdims=True))
    allowed = expected * (1 + size + size.max(axis=2, keepdims=True))
    assert_close(scores[..., : H * W], expected, allowed, TOLERANCE)
    assert_close(totals, expected.sum(axis=2), allowed.sum(axis=2), TOLERANCE)
    np.testing.assert_array_equal(scores[..., H * W :], before[..., H * W :])


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 20), seeds)
def test_weights_of_many_keys(heads, queries, keys, seed):
    """Kills: both mutants of many keys."""
    scores = 10 * normal(seed, heads, queries, keys)
    before, largest, totals = scores.astype(np.float64), scores.max(axis=2), np.empty((heads, queries), np.float32)
    weigh_many_keys(scores, SCALE, largest, totals)
    spread = SCALE.astype(np.float64) * (before - largest[..., None])
    assert_close(scores, np.exp(spread), np.exp(spread) * (1 - spread), TOLERANCE)
    assert_close(totals, np.exp(spread).sum(axis=2), (np.exp(spread) * (1 - spread)).sum(axis=2), TOLERANCE)


@given(st.integers(1, 3), st.integers(1, 7), st.integers(1, 20), seeds)
def test_softmax_of_few_keys(heads, keys, queries, seed):
    """Kills: every mutant of few keys."""
    scores = 10 * normal(seed, heads, keys, queries)
    scaled = SCALE.astype(np.float64) * scores.swapaxes(1, 2)
    largest, totals = np.empty((2, queries), np.float32)
    last = scores[-1].max(axis=0)
    softmax_few_keys(scores, SCALE, largest, totals)
    expected = softmax_numpy(scaled)
    size = expected * (1 + np.ptp(scaled, axis=2, keepdims=True))
    assert_close(scores.swapaxes(1, 2), expected, size, TOLERANCE)
    np.testing.assert_array_equal(largest, last)
