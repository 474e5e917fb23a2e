"""Properties of ``dice_loss`` and its backward. Each names the wrong versions that it kills."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.losses import dice_loss as module
from minisam_kernels.losses.dice_loss import TOLERANCE, dice_loss, dice_loss_backward, dice_loss_numpy
from oracles import EPS, assert_close, oracle
from strategies import LAYOUTS, arrays, lay_out, seeds, sizes

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

SMOOTHS, TILES = st.sampled_from([1.0, 0.5, 100.0]), st.sampled_from([16, 1 << 14])


@st.composite
def inputs(draw: st.DrawFn, scale: float | None = None) -> tuple[np.ndarray, np.ndarray, float]:
    shape = (draw(st.integers(0, 3)), draw(sizes(0, 9)), draw(sizes(0, 9, edges=(4, 8))))
    logits = draw(arrays(shape, spikes=scale is None, scale=scale))
    targets = np.random.default_rng(draw(seeds)).random(shape) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    targets = lay_out(targets, draw(st.sampled_from(LAYOUTS))).astype(
        draw(st.sampled_from([bool, np.uint8, np.float64]))
    )
    return logits, targets, draw(SMOOTHS)


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


@given(inputs(), TILES)
def test_compiled_is_torch(drawn, tile):
    """Kills: smooths only the denominator, overlap counted once, forgets the target's area, overlap everywhere,
    squares the probabilities, every piece is the first."""
    with patch.object(module, "TILE", tile):
        actual = dice_loss(*drawn)
    assert_close(actual, oracle(ops.dice_loss, *drawn), 1.0, TOLERANCE)


@given(inputs(), seeds, TILES)
def test_backward_is_autograd(drawn, seed, tile):
    """Torch's autograd in float64. Kills: every backward mutant."""
    logits, targets, smooth = drawn
    grad = np.random.default_rng(seed).standard_normal(len(logits)).astype(np.float32)
    variable = torch.tensor(np.array(logits, np.float64), requires_grad=True)
    ops.dice_loss(variable, torch.tensor(np.array(targets)), smooth).backward(torch.from_numpy(grad).double())
    with patch.object(module, "TILE", tile):
        actual = dice_loss_backward(grad, *drawn)
    assert_close(actual, variable.grad.numpy(), slope_size(grad, *drawn), TOLERANCE)


@given(inputs(scale=2.0), seeds)
def test_backward_is_the_slope(drawn, seed):
    """Law: ⟨backward, d⟩ is what the readable loss gains over a small step along d, halved differences in float64.
    Kills: every backward mutant but the last."""
    logits, targets, smooth = drawn
    logits, rng, step = logits.astype(np.float64), np.random.default_rng(seed), 1e-4
    grad, d = rng.standard_normal(len(logits)).astype(np.float32), rng.standard_normal(logits.shape)
    ahead, behind = (dice_loss_numpy(logits + s * d, targets, smooth) for s in (step, -step))
    expected = (grad * (ahead - behind) / (2 * step)).sum()
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
    """25 pieces of 16 pixels, or one. Kills: every piece is the first."""
    logits = np.random.default_rng(0).standard_normal((2, 20, 20)).astype(np.float32)
    targets, grad = logits > 0.5, np.ones(2)
    one = dice_loss(logits, targets), dice_loss_backward(grad, logits, targets)
    with patch.object(module, "TILE", 16):
        many = dice_loss(logits, targets), dice_loss_backward(grad, logits, targets)
    for a, b in zip(one, many):
        np.testing.assert_allclose(a, b, rtol=1e-5)


ONE = np.ones((1, 2, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ONE[0], ONE[0]), r"expected logits of shape \(M, H, W\), got \(2, 2\)"),
        ((ONE, ONE[:, :1]), r"expected targets of shape \(1, 2, 2\), got \(1, 1, 2\)"),
        ((ONE, 2 * ONE), "expected targets to hold only 0 and 1, got other values of dtype float64"),
        ((ONE, ONE, -1), "expected smooth >= 0, got -1"),
    ],
)
def test_bad_input_names_expected_and_received(arguments, message):
    with pytest.raises(InputError, match=message):
        dice_loss(*arguments)
    with pytest.raises(InputError, match=message):
        dice_loss_backward(np.ones(1), *arguments)


def test_a_grad_for_every_mask():
    with pytest.raises(InputError, match=r"expected grad of shape \(1,\), got \(2,\)"):
        dice_loss_backward(np.ones(2), ONE, ONE)
