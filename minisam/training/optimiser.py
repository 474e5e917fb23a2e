"""The optimiser turns gradients into steps: AdamW, as in appendix A, or Muon for the matrices and AdamW for the rest.

Muon (Jordan et al. 2024) replaces the gradient of a weight matrix, after momentum, by the nearest orthogonal matrix,
so that every direction moves by the same length. Scaled to the size of AdamW's steps (Liu et al. 2025, equation 4) it
takes AdamW's learning rate and weight decay. It is not what SAM was trained with.

Rates that are good for Muon can be too high for the rest: norms, biases, convolutions. At 1.5e-3 for 1500 steps the
norm between the two transposed convolutions went to weights near 0 and biases of −4, where GELU is flat, and the
gradient grew fivefold. ``others`` slows that part. At 0.3 of 1e-3, with three masks per image instead of two, the
gradient went from 1.6 to 1.9 in 1800 steps; which of the three changes did it was not tried.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from minisam.training.initialisation import parameter_groups
from minisam.training.settings import Common

MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")


class Optimiser:
    """One or two of torch's optimisers that act as one; each group of weights has a ``scale`` of the learning rate."""

    def __init__(self, model: nn.Module, settings: Common, device: torch.device) -> None:
        groups = parameter_groups(model, settings, settings.config().encoder_depth)
        fused = {"fused": True} if device.type == "cuda" else {}
        # with Muon, the weights of linear layers leave AdamW; what stays learns at ``others`` times the rate
        matrices = [group for group in groups if group["matrices"]] if settings.optimizer == "muon" else []
        others = [group for group in groups if not (matrices and group["matrices"])]
        for group in others if matrices else ():
            group["scale"] *= settings.others
        self.parts: list[Any] = [torch.optim.AdamW(others, lr=settings.lr, betas=(0.9, 0.999), **fused)]
        if matrices:
            self.parts.append(torch.optim.Muon(matrices, lr=settings.lr, adjust_lr_fn="match_rms_adamw"))

    def step(self, rate: float) -> None:
        """Make one step at this learning rate."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate * group["scale"]
            part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state_dict(self, compact: bool = False) -> list[dict[str, Any]]:
        """Return the state of each part; ``compact`` rounds the moments to bfloat16."""
        states = [part.state_dict() for part in self.parts]
        # the tables in a state are the optimiser's own: put new ones in their stead, and leave them as they are
        for state in states if compact else ():
            state["state"] = {
                number: {key: value.bfloat16() if key in MOMENTS else value for key, value in values.items()}
                for number, values in state["state"].items()
            }
        return states

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Go on from the state of each part."""
        if len(states) != len(self.parts):
            raise ValueError(f"the state of {len(self.parts)} optimisers expected, {len(states)} found")
        for part, state in zip(self.parts, states):
            part.load_state_dict(state)
