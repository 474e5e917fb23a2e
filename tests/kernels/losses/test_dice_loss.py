"""Properties of ``dice_loss`` and its backward. Each names the wrong versions that it kills."""

from __future__ import annotations

from unittest.mock import patch

import loss_laws as laws
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels.losses import dice_loss as module
from minisam_kernels.losses.dice_loss import TOLERANCE, dice_loss, dice_loss_backward, dice_loss_numpy
from oracles import EPS, assert_close, oracle
from strategies import seeds

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "smooths only the denominator": ("2 * overlap + smooth, area + smooth", "2 * overlap, area + smooth"),
    "overlap counted once": ("return 2 * overlap + smooth", "return overlap + smooth"),
    "forgets the target's area": ("count += targets[n]", "count += 0"),
    "overlap everywhere": ("p if targets[n] != 0 else np.float32(0)", "p"),
    "squares the probabilities": ("area += p\n", "area += p * p\n"),
    "counts wrap at 256": ("area + np.float64(count)", "area + np.float64(count % 256)"),
    "every piece is the first": ("part = slice(t * TILE, (t + 1) * TILE)", "part = slice(0, TILE)"),
    "backward: forgets the sigmoid's slope": ("out[n] = p * q *", "out[n] = p *"),
    "backward: inside and outside swapped": (
        "(outside if targets[n] == 0 else inside)",
        "(inside if targets[n] == 0 else outside)",
    ),
    "backward: only the overlap moves": (
        "(grad * numerator / denominator**2)",
        "(0 * grad * numerator / denominator**2)",
    ),
    "backward: grad ignored": (
        "(numerator - 2 * denominator) / denominator**2",
        "(numerator - 2 * denominator) / denominator**2 / grad",
    ),
    "backward: wrong by rounding where p is near 1": ("sigmoid(-logits[n])", "np.float32(1) - sigmoid(logits[n])"),
    "readable version without smoothing": ("(2 * overlap + smooth) / (area + smooth)", "2 * overlap / area"),
}

SMOOTHS = st.sampled_from([1.0, 0.5, 100.0])


@st.composite
def inputs(draw: st.DrawFn, scale: float | None = None) -> tuple[np.ndarray, np.ndarray, float]:
    return *draw(laws.masks(0, scale)), draw(SMOOTHS)


def slope_size(grad: np.ndarray, logits: np.ndarray, targets: np.ndarray, smooth: float) -> np.ndarray:
    """p (1 − p) · 3/D · |grad| in float64, what float32 cannot hold at all, and autograd's own rounding of 1 − p."""
    z = np.abs(logits.astype(np.float64))
    p, q = 1 / (1 + np.exp(-z)), np.exp(-z) / (1 + np.exp(-z))
    area = np.where(logits > 0, p, q).sum(axis=(1, 2), keepdims=True) + targets.sum(axis=(1, 2), keepdims=True) + smooth
    return (p * q + 2.0**-52 / EPS) * 3 / area * np.abs(grad.astype(np.float64))[:, None, None] + np.finfo(
        np.float32
    ).tiny / EPS


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version without smoothing."""
    logits, targets, smooth = drawn
    assert_close(dice_loss_numpy(logits.astype(np.float64), targets, smooth), oracle(ops.dice_loss, *drawn), 1.0, 1e-4)


@given(inputs(), laws.TILES)
def test_compiled_is_torch(drawn, tile):
    """Kills: smooths only the denominator, overlap counted once, forgets the target's area, overlap everywhere,
    squares the probabilities, every piece is the first."""
    with patch.object(module, "TILE", tile):
        actual = dice_loss(*drawn)
    assert_close(actual, oracle(ops.dice_loss, *drawn), 1.0, TOLERANCE)


@given(inputs(), seeds, laws.TILES)
def test_backward_is_autograd(drawn, seed, tile):
    """Torch's autograd in float64. Kills: every backward mutant."""
    grad, expected = laws.slope_by_autograd(ops.dice_loss, seed, *drawn)
    with patch.object(module, "TILE", tile):
        actual = dice_loss_backward(grad, *drawn)
    assert_close(actual, expected, slope_size(grad, *drawn), TOLERANCE)


@given(inputs(scale=2.0), seeds)
def test_backward_is_the_slope(drawn, seed):
    """Law: ⟨backward, d⟩ is what the readable loss gains over a small step along d, halved differences in float64.
    Kills: every backward mutant but the last."""
    step = 1e-4
    grad, d, expected = laws.gain_by_differences(dice_loss_numpy, seed, step, *drawn)
    actual = (dice_loss_backward(grad, *drawn) * d).sum()
    # a third derivative along d is below (Σ|d|)³, since all sums change by at most ¼ Σ|d| a unit and D ≥ ½
    allowed = (np.abs(grad) * np.abs(d).sum(axis=(1, 2)) ** 3).sum() * step**2
    assert abs(actual - expected) <= allowed + TOLERANCE * EPS * (slope_size(grad, *drawn) * np.abs(d)).sum()


def test_perfect_is_0_and_nothing_at_all_is_0():
    """Law: a certain, right mask costs nothing; with smoothing, so does finding nothing where there is nothing.
    Kills: smooths only the denominator, overlap counted once, forgets the target's area."""
    targets = np.zeros((2, 3, 3), bool)
    targets[0, 1] = True
    np.testing.assert_array_equal(dice_loss(np.where(targets, 1e4, -1e4), targets), [0, 0])


@pytest.mark.parametrize("size", [88.0, 89.0, 1e3, 1e10, 1.75e38, float(np.finfo(np.float32).max), np.inf])
def test_any_logit_has_a_loss_and_a_slope(size):
    """To infinity: p is 0 or 1, and the slope is p (1 − p) = 0. Kills nothing here: it pins what the document says."""
    logits = np.array([size, -size, size, -size], np.float32).reshape(1, 2, 2)
    targets = np.array([0, 0, 1, 1]).reshape(1, 2, 2)
    np.testing.assert_allclose(dice_loss(logits, targets), [1 - 3 / 5], rtol=1e-6)
    np.testing.assert_allclose(dice_loss_numpy(logits, targets), [1 - 3 / 5], rtol=1e-6)
    np.testing.assert_allclose(dice_loss_backward([1], logits, targets), np.zeros((1, 2, 2)), atol=1e-37)


def test_nothing_at_all_without_smoothing_is_nan():
    """Kills nothing here: it pins what the document says."""
    logits, targets = np.full((1, 2, 2), -1e4), np.zeros((1, 2, 2))
    assert (
        np.isnan(dice_loss(logits, targets, 0.0)).all() and np.isnan(dice_loss_backward([1], logits, targets, 0)).all()
    )


def test_a_mask_of_many_pixels():
    """Kills: counts wrap at 256."""
    np.testing.assert_allclose(dice_loss(np.zeros((1, 20, 20)), np.ones((1, 20, 20)), 0.0), 1 / 3, rtol=1e-6)


def test_many_pieces_make_one_mask():
    """Kills: every piece is the first."""
    laws.check_that_pieces_make_one_mask(module, dice_loss, dice_loss_backward)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *laws.BAD_MASKS,
        ((laws.ONE, laws.ONE, -1), "expected smooth >= 0, got -1"),
    ],
)
def test_bad_input_names_expected_and_received(arguments, message):
    laws.check_messages(dice_loss, dice_loss_backward, arguments, message)
