"""Every kernel as a few torch operators: the oracle of the tests and of ``minisam verify``.

One function per kernel, with the kernel's name, its channels-last shapes and its argument order; tensors of any float
dtype on any device go in and come out. The tests call them in float64.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """x (..., C) → (..., C)."""
    return F.layer_norm(x, (x.shape[-1],), weight, bias, eps)
