"""What the tests of ``dice_loss`` and ``focal_loss`` share: what is drawn, two oracles of the slope, two laws."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from minisam_kernels import InputError
from strategies import LAYOUTS, arrays, lay_out, seeds, sizes

Loss = Callable[..., Any]
ONE = np.ones((1, 2, 2))
TILES = st.sampled_from([16, 1 << 14])
BAD_MASKS = [
    ((ONE[0], ONE[0]), r"expected logits of shape \(M, H, W\), got \(2, 2\)"),
    ((ONE, ONE[:, :1]), r"expected targets of shape \(1, 2, 2\), got \(1, 1, 2\)"),
    ((ONE, 0.5 * ONE), "expected targets to hold only 0 and 1, got other values of dtype float64"),
    ((ONE, 2 * ONE), "expected targets to hold only 0 and 1, got other values of dtype float64"),
]


@st.composite
def masks(draw: st.DrawFn, smallest: int, scale: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets of up to three masks of at least ``smallest`` × ``smallest`` pixels."""
    shape = (draw(st.integers(0, 3)), draw(sizes(smallest, 9)), draw(sizes(smallest, 9, edges=(4, 8))))
    logits = draw(arrays(shape, spikes=scale is None, scale=scale))
    targets = np.random.default_rng(draw(seeds)).random(shape) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    dtype = draw(st.sampled_from([bool, np.uint8, np.float64]))
    return logits, lay_out(targets, draw(st.sampled_from(LAYOUTS))).astype(dtype)


def slope_by_autograd(
    loss: Loss, seed: int, logits: np.ndarray, targets: np.ndarray, *options: float
) -> tuple[np.ndarray, np.ndarray]:
    """A random grad, and torch's slope times it in float64."""
    grad = np.random.default_rng(seed).standard_normal(len(logits)).astype(np.float32)
    variable = torch.tensor(np.array(logits, np.float64), requires_grad=True)
    loss(variable, torch.tensor(np.array(targets)), *options).backward(torch.from_numpy(grad).double())
    return grad, variable.grad.numpy()


def gain_by_differences(
    loss: Loss, seed: int, step: float, logits: np.ndarray, targets: np.ndarray, *options: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """A random grad and direction d, and what the readable loss gains along d: halved differences in float64."""
    logits, rng = logits.astype(np.float64), np.random.default_rng(seed)
    grad, d = rng.standard_normal(len(logits)).astype(np.float32), rng.standard_normal(logits.shape)
    ahead, behind = (loss(logits + s * d, targets, *options) for s in (step, -step))
    return grad, d, (grad * (ahead - behind) / (2 * step)).sum()


def check_that_pieces_make_one_mask(module: ModuleType, loss: Loss, backward: Loss) -> None:
    """25 pieces of 16 pixels, or one."""
    logits = np.random.default_rng(0).standard_normal((2, 20, 20)).astype(np.float32)
    targets, grad = logits > 0.5, np.ones(2)
    one = loss(logits, targets), backward(grad, logits, targets)
    with patch.object(module, "TILE", 16):
        many = loss(logits, targets), backward(grad, logits, targets)
    for a, b in zip(one, many):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def check_messages(loss: Loss, backward: Loss, arguments: tuple[Any, ...], message: str) -> None:
    """Both name what was expected and what came; and there must be a grad for every mask."""
    with pytest.raises(InputError, match=message):
        loss(*arguments)
    with pytest.raises(InputError, match=message):
        backward(np.ones(1), *arguments)
    with pytest.raises(InputError, match=r"expected grad of shape \(1,\), got \(2,\)"):
        backward(np.ones(2), ONE, ONE)
