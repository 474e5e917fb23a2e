"""Properties of ``implied_layer_norm``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import decoder_ops as ops
from minisam_kernels import InputError
from minisam_kernels.decoder.implied_layer_norm import (
    TOLERANCE,
    basis_numpy,
    implied_layer_norm,
    implied_layer_norm_numpy,
    implied_layer_norm_tile,
    implied_layer_norm_tiles,
)
from oracles import assert_close, oracle
from strategies import arrays, seeds, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "forgets the image": ("total = of_image + _2", "total = _2"),
    "forgets the product": ("_2 * scale[n] * across[n]", "_0"),
    "the product counts once": ("_2 * scale[n] * across[n]", "scale[n] * across[n]"),
    "the image without its scale": ("of_image = scale[n] * scale[n] * length[n]", "of_image = length[n]"),
    "forgets the basis": ("across[n] + square[n]", "across[n]"),
    "every group is the first": ("group = features[g * rows : (g + 1) * rows]", "group = features[:rows]"),
    "every group's way is the first's": (
        "add_head_products(values[g], cross[g], products)",
        "add_head_products(values[g], cross[0], products)",
    ),
    "products run on from group to group": (
        "        products[:] = _0\n",
        "        products[:] = _0 if g == 0 else products\n",
    ),
    "forgets the bias": ("range(heads * tokens + 1)", "range(heads * tokens)"),
    "the last token counts by the first's weight": (
        "if h < heads and t < tokens - 1 else group[rows - 1]",
        "if h < heads and t < tokens - 1 else group[0]",
    ),
    "divides by the sum": ("np.sqrt(total / channels + eps)", "np.sqrt(total + eps)"),
    "every prompt is the first": ("implied_layer_norm_tile(values[b]", "implied_layer_norm_tile(values[0]"),
    "every prompt's mixture is the first's": ("mixed[b], eps", "mixed[0], eps"),
    "every prompt has the first's scale": ("length, used[scale]", "length, features[0, scale]"),
    "all features are scaled": ("features[b, : mixed.shape[1]]", "features[b]"),
    "forgets eps": ("np.sqrt(total / channels + eps)", "np.sqrt(total / channels)"),
    "no floor under a square": ("total = total if not total < _0 else _0", "total = total"),
    "ratio of the first pixel": ("worst = ratio if ratio > worst else worst", "worst = ratio if n == 0 else worst"),
    "readable version forgets eps": ("(y**2).mean(axis=0) + eps", "(y**2).mean(axis=0)"),
    "readable basis leaves out the bias": (" + ways[g, -1:]]", "]"),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """z, ways, values, scale, features: rows of z and ways with mean 0, a constant feature as the decoder has them."""
    groups, heads, tokens = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    width, channels, pixels = draw(st.sampled_from([1, 3, 4])), draw(st.integers(2, 12)), draw(sizes(1, 20, edges=(8,)))
    rng = np.random.default_rng(draw(seeds))
    z, ways = rng.standard_normal((channels, pixels)), rng.standard_normal((groups, heads * width + 1, channels))
    z, ways = z - z.mean(axis=0), ways - ways.mean(axis=2, keepdims=True)
    features = rng.uniform(0, 1, (groups * (heads * (tokens - 1) + 1), pixels))
    values = draw(arrays((groups, heads, tokens, width), scale=1.0, spikes=False))
    scale = rng.uniform(0.2, 3, pixels)
    return tuple(np.asarray(a, np.float32) for a in (z, ways, values, scale, features))


def magnitude(z, ways, values, scale, features, eps) -> np.ndarray:
    """|features / σ| · (1 + Σ|terms| / (|y|² + C ε)), (K, P) in float64."""
    z, ways, values, scale, features = (a.astype(np.float64) for a in (z, ways, values, scale, features))
    rows = basis_numpy(np.abs(ways), np.abs(values))
    y = scale * z + basis_numpy(ways, values).T @ features
    terms = ((scale * np.abs(z) + rows.T @ np.abs(features)) ** 2).sum(axis=0)
    size = (y**2).sum(axis=0) + len(z) * eps
    return np.abs(features) / np.sqrt(size / len(z)) * (1 + terms / size)


@given(inputs(), st.sampled_from([1e-5, 1e-2]))
def test_numpy_is_torch(drawn, eps):
    """Kills: readable version forgets eps, readable basis leaves out the bias."""
    double = [a.astype(np.float64) for a in drawn]
    expected = oracle(ops.implied_layer_norm, *drawn, eps)
    assert_close(implied_layer_norm_numpy(*double, eps), expected, 100 * magnitude(*drawn, eps), 1e-1)


@given(inputs(), st.sampled_from([1e-5, 1e-2]))
def test_compiled_is_torch(drawn, eps):
    """Kills: all that forget or take the wrong group, weight or factor."""
    actual, _ = implied_layer_norm(*drawn, eps)
    # rows have mean 0 up to a rounding, and the oracle takes the mean off once more
    assert_close(actual, oracle(ops.implied_layer_norm, *drawn, eps), 2 * magnitude(*drawn, eps), TOLERANCE)


def cancelling(rest: float) -> tuple[np.ndarray, ...]:
    """z = (1, −1) · 1 and a basis of −(1 − rest): what is left is ``rest`` of it; the second pixel is harmless."""
    z = np.array([[1, 1], [-1, -1]], np.float32)
    ways = np.array([[[0, 0], [1, -1]]], np.float32)
    return z, ways, np.zeros((1, 1, 1, 1), np.float32), np.ones(2, np.float32), np.array([[rest - 1, 0]], np.float32)


def test_the_ratio_tells_where_the_parts_cancel():
    """Law: it is the terms over the sum, at the worst pixel. Kills: ratio of the first pixel."""
    z, ways, values, scale, features = cancelling(0.01)
    expected = (1 + 0.99**2) / 0.01**2
    for order in (slice(None), slice(None, None, -1)):
        _, ratio = implied_layer_norm(z[:, order], ways, values, scale, features[:, order], 1e-12)
        np.testing.assert_allclose(ratio, expected, rtol=1e-2)


def test_a_sum_that_is_nothing_gives_no_nan():
    """A square that rounding makes negative counts as 0. Kills: no floor under a square."""
    for factor in np.linspace(0.3, 3, 50, dtype=np.float32):
        z, ways, values, scale, features = cancelling(0.0)
        y, ratio = implied_layer_norm(factor * z, factor * ways * 1.0000001, values, scale, features, 1e-30)
        assert np.isfinite(y[:, 1]).all() and ratio > 1e3 and not np.isnan(y).any()


def test_prompts_side_by_side():
    """Law: each is what it is alone; features of later layers stay. Kills: every prompt is the first, every prompt's
    mixture is the first's, has the first's scale, all features are scaled."""
    rng = np.random.default_rng(3)
    batch, heads, tokens, width, pixels = 3, 2, 2, 3, 9
    values = rng.standard_normal((batch, 1, heads, tokens, width)).astype(np.float32)
    cross, length = rng.standard_normal((1, heads * width + 1, pixels)).astype(np.float32), np.full(pixels, 50, "f")
    mixed, features = rng.uniform(1, 2, (2, batch, 5, pixels)).astype(np.float32)
    mixed, expected, sizes = mixed[:, :3].copy(), features.copy(), (np.float32(1e-5), np.float32(8))
    worst, ratios = [], np.empty(batch, np.float32)
    for b in range(batch):
        used = features[b, :3].copy()
        worst.append(implied_layer_norm_tile(values[b], cross, length, features[b, 2], mixed[b], *sizes, used))
        expected[b, :3] = used
    implied_layer_norm_tiles(values, cross, length, 2, mixed, *sizes, features, ratios)
    np.testing.assert_array_equal(features, expected)
    np.testing.assert_array_equal(ratios, worst)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((6,), (1, 9, 6), (1, 2, 3, 4), (5,), (5, 5)), r"expected z of shape \(C, P\), got \(6,\)"),
        (
            ((6, 5), (1, 9, 6), (2, 3, 4), (5,), (5, 5)),
            r"expected values of shape \(groups, heads, T, D\), got \(2, 3, 4\)",
        ),
        (((6, 5), (1, 8, 6), (1, 2, 3, 4), (5,), (5, 5)), r"expected ways of shape \(1, 9, 6\), got \(1, 8, 6\)"),
        (((6, 5), (1, 9, 6), (1, 2, 3, 4), (4,), (5, 5)), r"expected scale of shape \(5,\), got \(4,\)"),
        (((6, 5), (1, 9, 6), (1, 2, 3, 4), (5,), (6, 5)), r"expected features of shape \(5, 5\), got \(6, 5\)"),
    ],
)
def test_bad_input_names_expected_and_received(shapes, message):
    with pytest.raises(InputError, match=message):
        implied_layer_norm(*map(np.ones, shapes), 1e-5)
