"""Training of the data engine's box head: a small network on the frozen image embedding (``minisam.engine.box_head``).

The paper trains Faster R-CNN on the masks of the first stage, with one class, "object". Here a perceptron with one
hidden layer looks at each cell of the embedding: is the middle of an object here, and where are its sides? Cells
without a middle count less, for what nobody has drawn yet may be an object too.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minisam_kernels import InputError

HIDDEN, BATCH, RATE = 64, 32, 3e-3


def train_head(
    features: np.ndarray, scores: np.ndarray, boxes: np.ndarray, weights: np.ndarray, steps: int, seed: int
) -> dict[str, np.ndarray]:
    """Train the head.

    Parameters
    ----------
    features : ndarray, shape (N, h, w, C), float32
        Embeddings of N views.
    scores, weights : ndarray, shape (N, h, w), float32
        1 where an object has its middle, else 0; and how much a cell counts.
    boxes : ndarray, shape (N, h, w, 4), float32
        There: the middle's offset from the cell's, in cells, and the logarithm of the sides, in views.
    steps, seed : int

    Returns
    -------
    dict of ndarray
        ``w1`` (C, H), ``b1`` (H,), ``w2`` (H, 5), ``b2`` (5,), float32.

    Raises
    ------
    InputError
        If there is no object to learn from.
    """
    if not scores.any():
        raise InputError("expected at least one object to train the box head with, got none")
    torch.manual_seed(seed)
    inputs = features.shape[-1]
    net = nn.Sequential(nn.Linear(inputs, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 5))
    with torch.no_grad():  # objects are rare: begin with that
        net[2].bias[0] = -4.0
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.01)
    x, y, b, w = (torch.from_numpy(np.ascontiguousarray(a)) for a in (features, scores, boxes, weights))
    rng = np.random.default_rng(seed)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        some = torch.from_numpy(rng.integers(len(x), size=min(BATCH, len(x))))
        loss = head_loss(net(x[some]), y[some], b[some], w[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    first, last = net[0], net[2]
    arrays = {"w1": first.weight.T, "b1": first.bias, "w2": last.weight.T, "b2": last.bias}
    return {name: value.detach().numpy().copy() for name, value in arrays.items()}


def head_loss(answers: Tensor, scores: Tensor, boxes: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross entropy of the score, and smooth L1 of the boxes where there are any; both per object."""
    objects = scores.sum().clamp(min=1)
    wrong = F.binary_cross_entropy_with_logits(answers[..., 0], scores, weights, reduction="sum")
    moved = (F.smooth_l1_loss(answers[..., 1:], boxes, reduction="none").sum(-1) * scores).sum()
    return (wrong + moved) / objects
