"""Properties of ``focal_loss`` and its backward. Each names the wrong versions that it kills."""

from __future__ import annotations

from unittest.mock import patch

import loss_laws as laws
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels.losses import focal_loss as module
from minisam_kernels.losses.focal_loss import TOLERANCE, focal_loss, focal_loss_backward, focal_loss_numpy
from oracles import EPS, assert_close, oracle
from strategies import seeds

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "positives count like negatives": ("else alpha", "else np.float32(1) - alpha"),
    "no balance": ("total += balance * focus", "total += focus"),
    "turns down the wrong pixels": ("exp(gamma * log_wrong)", "exp(-gamma * cross_entropy)"),
    "gamma is always 2": ("exp(gamma * log", "exp(np.float32(2) * log"),
    "0 · −∞": (" if gamma > 0 else np.float32(1)", ""),
    "overflows": ("cross_entropy = log1p_exp(m)", "cross_entropy = np.log(np.float32(1) + np.exp(m))"),
    "sum instead of mean": ("sums.sum(axis=1) / pixels", "sums.sum(axis=1)"),
    "mean over all masks": ("sums.sum(axis=1) / pixels", "sums.sum(axis=1) / pixels / masks"),
    "every piece is the first": ("part = slice(t * TILE, (t + 1) * TILE)", "part = slice(0, TILE)"),
    "backward: wrong sign inside": ("if targets[n] == 0 else -alpha", "if targets[n] == 0 else alpha"),
    "backward: forgets that the weight moves": ("gamma * sigmoid(-m) * cross_entropy + sigmoid(m)", "sigmoid(m)"),
    "backward: forgets 1 − σ": ("gamma * sigmoid(-m) * cross_entropy", "gamma * cross_entropy"),
    "backward: forgets the mean": ('as_float32("grad", grad) / np.float32(pixels)', 'as_float32("grad", grad)'),
    "backward: grad of the first mask": ("np.float32(gamma), grad[m]", "np.float32(gamma), grad[0]"),
    "∞ − ∞": ("m - cross_entropy if m < _END else np.float32(0)", "m - cross_entropy"),
    "backward: overflows": ("m = _END if m > _END else m", "pass"),
    "readable version: ∞ − ∞": ("np.exp(-np.logaddexp(0, -m))", "np.exp(m - cross_entropy)"),
    "readable version: alpha on the negatives": (
        "np.where(targets == 1, alpha, 1 - alpha)",
        "np.where(targets == 1, 1 - alpha, alpha)",
    ),
}

ALPHAS, GAMMAS = st.sampled_from([0.25, 0.5, 0.0, 1.0]), st.sampled_from([2.0, 0.0, 1.0, 3.5])


@st.composite
def inputs(draw: st.DrawFn, scale: float | None = None) -> tuple[np.ndarray, np.ndarray, float, float]:
    return *draw(laws.masks(1, scale)), draw(ALPHAS), draw(GAMMAS)


def relative(logits: np.ndarray, targets: np.ndarray, gamma: float) -> np.ndarray:
    """1 + γ (1 + |m|) at every pixel: the relative error of σ(m)^γ log(1 + eᵐ) in eps. |m| is |z|."""
    return 1 + gamma * (1 + np.abs(logits.astype(np.float64)))


UNDERFLOW = float(np.finfo(np.float32).tiny) / EPS  # numbers below float32's smallest normal one become 0


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version: alpha on the negatives."""
    logits, targets, alpha, gamma = drawn
    expected = oracle(ops.focal_loss, *drawn)
    allowed = expected * relative(*drawn[:2], gamma).max(axis=(1, 2)) + UNDERFLOW
    assert_close(focal_loss_numpy(logits.astype(np.float64), targets, alpha, gamma), expected, allowed, 1e-4)


@given(inputs(), laws.TILES)
def test_compiled_is_torch(drawn, tile):
    """Kills: positives count like negatives, no balance, turns down the wrong pixels, gamma is always 2, sum instead
    of mean, mean over all masks, every piece is the first."""
    logits, targets, alpha, gamma = drawn
    with patch.object(module, "TILE", tile):
        actual = focal_loss(*drawn)
    one_by_one = (a.reshape(-1, 1, 1) for a in (logits.astype(np.float64), targets))
    losses = focal_loss_numpy(*one_by_one, alpha, gamma).reshape(logits.shape)
    allowed = (losses * relative(logits, targets, gamma)).mean(axis=(1, 2)) + UNDERFLOW
    assert_close(actual, oracle(ops.focal_loss, *drawn), allowed, TOLERANCE)


@given(inputs(), seeds, laws.TILES)
def test_backward_is_autograd(drawn, seed, tile):
    """Torch's autograd in float64. Kills: every backward mutant."""
    logits, targets, _, gamma = drawn
    grad, expected = laws.slope_by_autograd(ops.focal_loss, seed, *drawn)
    with patch.object(module, "TILE", tile):
        actual = focal_loss_backward(grad, *drawn)
    assert_close(actual, expected, np.abs(expected) * relative(logits, targets, gamma) + UNDERFLOW, TOLERANCE)


@given(inputs(scale=2.0), seeds)
def test_backward_is_the_slope(drawn, seed):
    """Law: ⟨backward, d⟩ is what the readable loss gains over a small step along d, halved differences in float64.
    Kills: every backward mutant."""
    (logits, targets, _, gamma), step = drawn, 1e-3
    grad, d, expected = laws.gain_by_differences(focal_loss_numpy, seed, step, *drawn)
    actual = (focal_loss_backward(grad, *drawn) * d).sum()
    # the third derivative of the loss is below 40 for gamma up to 3.5: a step's error is below step² / 6 times that
    allowed = (np.abs(grad) * (np.abs(d) ** 3).mean(axis=(1, 2))).sum() * 40 * step**2 / 6
    size = (np.abs(grad)[:, None, None] * np.abs(d) * relative(logits, targets, gamma) ** 2).mean(axis=(1, 2)).sum()
    assert abs(actual - expected) <= allowed + TOLERANCE * EPS * size


def test_huge_logits_do_not_overflow():
    """±10⁴: right is 0, wrong costs 10⁴, and the slope is one α. Kills: overflows, turns down the wrong pixels."""
    logits = np.float32([[[1e4, -1e4]], [[-1e4, 1e4]]])
    targets = np.array([[[1, 0]], [[1, 0]]])
    np.testing.assert_allclose(focal_loss(logits, targets), [0, 5e3], rtol=1e-6)
    slope = focal_loss_backward(np.ones(2), logits, targets)
    np.testing.assert_allclose(slope, [[[0, 0]], [[-0.125, 0.375]]], rtol=1e-6)


EXTREMES = [87.0, 88.8, 100.0, 127.9, 128.1, 1e3, 1e10, 1.6e38, 1.75e38, 3e38, float(np.finfo(np.float32).max), np.inf]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("size", EXTREMES)
def test_any_logit_has_a_loss_and_a_slope(size, gamma):
    """As torch in float64, and the limit where torch's slope is NaN: of infinity, and of 0 to a γ below 1.
    Kills: ∞ − ∞, backward: overflows, readable version: ∞ − ∞, overflows."""
    logits = np.array([size, -size, size, -size], np.float32).reshape(4, 1, 1)
    targets = np.array([0, 0, 1, 1]).reshape(4, 1, 1)
    m = np.float64(logits.ravel()) * [1, 1, -1, -1]
    focus = np.exp(-gamma * np.logaddexp(0, -m)) if gamma else 1
    wanted = np.array([0.75, 0.75, 0.25, 0.25]) * np.logaddexp(0, m) * focus
    slope = np.where(m > 0, [0.75, 0.75, -0.25, -0.25], 0)
    if np.isfinite(size) and gamma != 0.5:
        np.testing.assert_allclose(oracle(ops.focal_loss, logits, targets, 0.25, gamma), wanted, rtol=1e-6, atol=1e-37)
        slope = laws.slope_by_autograd(ops.focal_loss, 0, logits, targets, 0.25, gamma)
        slope = (slope[1].ravel() / slope[0]).ravel()
    for loss in (focal_loss(logits, targets, gamma=gamma), focal_loss_numpy(logits, targets, gamma=gamma)):
        np.testing.assert_allclose(loss, wanted, rtol=1e-4, atol=1e-37)
    actual = focal_loss_backward(np.ones(4), logits, targets, gamma=gamma).ravel()
    np.testing.assert_allclose(actual, slope, rtol=1e-4, atol=1e-37)


def test_without_focus_it_is_half_the_cross_entropy():
    """Law: γ = 0, α = ½. Kills: gamma is always 2."""
    logits = np.float32([[[0.0]]])
    np.testing.assert_allclose(focal_loss(logits, np.ones((1, 1, 1)), 0.5, 0.0), 0.5 * np.log(2), rtol=1e-6)
    right = np.float32([[[-np.inf, np.inf]]]), np.array([[[0, 1]]])  # kills: e to the 0 · −∞
    assert focal_loss(*right, 0.5, 0.0) == focal_loss_numpy(*right, 0.5, 0.0) == 0
    assert not focal_loss_backward(np.ones(1), *right, 0.5, 0.0).any()


def test_many_pieces_make_one_mask():
    """Kills: every piece is the first."""
    laws.check_that_pieces_make_one_mask(module, focal_loss, focal_loss_backward)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *laws.BAD_MASKS,
        ((laws.ONE[:, :0], laws.ONE[:, :0]), r"expected masks of at least 1 pixel, got \(1, 0, 2\)"),
        ((laws.ONE, laws.ONE, 1.5), r"expected alpha in \[0, 1\] and gamma >= 0, got 1.5 and 2.0"),
        ((laws.ONE, laws.ONE, 0.5, -1), r"expected alpha in \[0, 1\] and gamma >= 0, got 0.5 and -1"),
    ],
)
def test_bad_input_names_expected_and_received(arguments, message):
    laws.check_messages(focal_loss, focal_loss_backward, arguments, message)
