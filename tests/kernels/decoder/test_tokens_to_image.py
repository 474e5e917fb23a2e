"""Properties of ``tokens_to_image``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import decoder_ops as ops
from minisam_kernels import InputError
from minisam_kernels.decoder.tokens_to_image import (
    TOLERANCE,
    tokens_to_image,
    tokens_to_image_numpy,
    tokens_to_image_tile,
    tokens_to_image_tiles,
)
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "does not subtract the maximum": ("e = exp(row[n] - top)", "e = exp(row[n])"),
    "the maximum leaves out the lanes": ("top = lanes[i] if lanes[i] > top else top", "top = top"),
    "the maximum leaves out the end": ("top = row[n] if row[n] > top else top", "top = top"),
    "columns behind the end count": (
        "for n in range(count):\n                e =",
        "for n in range(pixels):\n                e =",
    ),
    "weights behind the end stay": ("            row[count:] = np.float32(0)\n", ""),
    "moments behind the end stay": ("            target[count:] = np.float32(0)\n", ""),
    "values without their scale": ("target[n] = e * scale[n]", "target[n] = e"),
    "every head's values are the first's": ("v[h * width : (h + 1) * width]", "v[:width]"),
    "leftovers count for scores": ("    if not known:\n        scores[:] = np.float32(0)\n", ""),
    "known keys without scale and position": ("            keys = positioned\n", ""),
    "every head's positions are the first's": (
        "position[h * width : (h + 1) * width], positioned",
        "position[:width], positioned",
    ),
    "every prompt is the first": ("tokens_to_image_tile(q[b], k,", "tokens_to_image_tile(q[0], k,"),
    "every prompt has the first's scale": ("features[b, scale], known", "features[0, scale], known"),
    "readable version without the scale": ("(scale * v).transpose", "v.transpose"),
    "readable version without the position": ("(scale * k + position)", "(scale * k)"),
    "readable version without the features' scores": ("(factors @ features).reshape(heads, tokens, -1)", "0"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    heads, tokens, known = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.sampled_from([0, 1, 5]))
    width, pixels = draw(st.sampled_from([1, 3, 4, 8])), draw(sizes(1, 70, edges=(8, 16, 32, 64)))
    shapes = ((heads, tokens, width), *[(heads, width, pixels)] * 3, (pixels,))
    return tuple(draw(arrays(s)) for s in (*shapes, (heads * tokens, known), (known, pixels)))


def magnitudes(q, k, position, v, scale, factors, features) -> tuple[np.ndarray, np.ndarray]:
    """(1 + largest Σ of a score's terms) times the largest value, for both results."""
    drawn = (q, k, position, v, scale, factors, features)
    q, k, position, v, scale, factors, features = (np.abs(a.astype(np.float64)) for a in drawn)
    scores = 1 + (q @ (scale * k + position) + (factors @ features).reshape(len(q), q.shape[1], -1)).max(
        axis=2
    )  # (heads, T)
    values = (scale * v).max(axis=2)[:, None]  # (heads, 1, D)
    return scores[..., None] * values, scores.reshape(-1, 1) * features.max(axis=1, initial=0)


@given(inputs())
def test_numpy_is_torch(drawn):
    """Kills: readable version without the scale, without the position, without the features' scores."""
    double = [a.astype(np.float64) for a in drawn]
    for i, size in enumerate(magnitudes(*drawn)):
        expected = oracle(lambda *a, i=i: ops.tokens_to_image(*a)[i], *drawn)
        assert_close(tokens_to_image_numpy(*double)[i], expected, size, 1e-4)


@given(inputs(), st.sampled_from([8, 16, 256]))
def test_compiled_is_torch(drawn, tile):
    """Several tiles, the last one short. Kills: all that leave out or count too much, values without their scale, every
    head's values or places are the first's, known keys without scale and position."""
    for i, size in enumerate(magnitudes(*drawn)):
        expected = oracle(lambda *a, i=i: ops.tokens_to_image(*a)[i], *drawn)
        assert_close(tokens_to_image(*drawn, tile=tile)[i], expected, size, TOLERANCE)


@pytest.mark.parametrize("position", [0, 7, 8, 21, 22])
def test_huge_scores_do_not_overflow(position):
    """A score of 10⁵ chooses one image token wherever it stands, the others' being 10⁴. Kills: does not subtract the
    maximum, the maximum leaves out the lanes, the end."""
    k = np.full((1, 1, 23), 1e4, np.float32)
    k[0, 0, position] = 1e5
    v = np.arange(23, dtype=np.float32)
    q, ones = np.ones((1, 1, 1), np.float32), np.ones(23, np.float32)
    mixed, rest = tokens_to_image(q, k, 0 * k, v[None, None], ones, np.zeros((1, 1)), v[None], tile=8)
    assert mixed[0, 0, 0] == position and rest[0, 0] == position


def test_no_known_scores_means_none():
    """Kills: leftovers count for scores, weights behind the end stay, moments behind the end stay."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal(s).astype(np.float32) for s in ((1, 2, 3), (3, 8), (3, 8)))
    answers = []
    for leftover in (0, 5):
        scores, moments = (
            np.full((2, 8), leftover, np.float32) * np.arange(8, dtype=np.float32),
            np.empty((1, 2, 3), np.float32),
        )
        largest, totals = np.empty((2, 2), np.float32)
        tokens_to_image_tile(q, k, k, v, np.ones(8, np.float32), False, 6, scores, largest, totals, moments)
        assert (scores[:, 6:] == 0).all() and (scores[:, :6] > 0).all()
        answers.append((scores, largest, totals, moments))
    for one, other in zip(*answers):
        np.testing.assert_array_equal(one, other)


def test_prompts_side_by_side():
    """Law: each is what it is alone. Kills: every prompt is the first, every prompt has the first's scale."""
    rng = np.random.default_rng(1)
    batch, heads, tokens, width, pixels = 3, 2, 2, 3, 9
    q = rng.standard_normal((batch, heads, tokens, width)).astype(np.float32)
    k, position, v = rng.standard_normal((3, heads * width, pixels)).astype(np.float32)
    features = rng.standard_normal((batch, 4, pixels)).astype(np.float32)
    scores = rng.standard_normal((batch, heads * tokens, pixels)).astype(np.float32)
    shapes = (scores.shape[:2], scores.shape[:2], q.shape)
    together = (scores.copy(), *(np.empty(shape, np.float32) for shape in shapes))
    tokens_to_image_tiles(q, k, position, v, 7, 2, True, features, *together)
    for b in range(batch):
        alone = (scores[b].copy(), *(np.empty(shape[1:], np.float32) for shape in shapes))
        tokens_to_image_tile(q[b], k, position, v, features[b, 2], True, 7, *alone)
        for one, other in zip(alone, together):
            np.testing.assert_array_equal(one, other[b])


@pytest.mark.parametrize(
    ("q", "k", "v", "features", "message"),
    [
        ((2, 4), (1, 4, 5), (1, 4, 5), (6, 5), r"expected q of shape \(heads, T, D\), got \(2, 4\)"),
        ((1, 2, 4), (1, 3, 5), (1, 4, 5), (6, 5), r"expected k of shape \(1, 4, 5\), got \(1, 3, 5\)"),
        ((1, 2, 4), (1, 4, 5), (1, 4, 6), (6, 5), r"expected position of shape \(1, 4, 5\), got \(1, 4, 6\)"),
        ((1, 2, 4), (1, 4, 5), (1, 4, 5), (6, 7), r"expected features of shape \(6, 5\), got \(6, 7\)"),
        ((1, 2, 4), (1, 4, 0), (1, 4, 0), (6, 0), r"expected at least one image token, got k of shape \(1, 4, 0\)"),
    ],
)
def test_bad_input_names_expected_and_received(q, k, v, features, message):
    with pytest.raises(InputError, match=message):
        tokens_to_image(
            np.ones(q), np.ones(k), np.ones(v), np.ones(v), np.ones(k[2]), np.ones((2, 6)), np.ones(features)
        )
