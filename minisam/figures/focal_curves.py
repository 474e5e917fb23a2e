"""focal_curves: the focal loss of one pixel and its slope, against the probability given to the right answer.

Both come from ``minisam_kernels.losses.focal_loss``, asked about masks of one pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np

from minisam.figures.shared.states import Axis, State, states
from minisam_kernels.losses.focal_loss import focal_loss, focal_loss_backward
from minisam_kernels.runtime.errors import InputError

QUESTION = (
    "A pixel is right with probability 0.9. Against cross-entropy (the dashed line), how much of its loss is left with "
    "γ = 2: a half, a tenth, or a hundredth?"
)
GAMMAS, ALPHAS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0), (0.25, 0.5, 0.75)
P = np.linspace(0.005, 0.995, 199)  # the probability given to the right answer


def pixels(target: int, alpha: float, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Loss and |slope| with respect to the logit at the probabilities ``P`` of the right answer, ``target`` 0 or 1."""
    z = np.log(P / (1 - P)) * (1 if target else -1)
    logits, targets = z.reshape(-1, 1, 1).astype(np.float32), np.full((len(P), 1, 1), target, np.uint8)
    slope = focal_loss_backward(np.ones(len(P), np.float32), logits, targets, alpha, gamma)
    return focal_loss(logits, targets, alpha, gamma), np.abs(slope[:, 0, 0])


def focal_curves(gammas: Sequence[float] = GAMMAS, alphas: Sequence[float] = ALPHAS, source: str = "") -> widgets.VBox:
    """The figure. Raises ``InputError`` for a γ below 0 or an α outside of 0 to 1."""
    if any(gamma < 0 for gamma in gammas) or any(not 0 <= alpha <= 1 for alpha in alphas):
        raise InputError(f"expected gammas >= 0 and alphas in [0, 1], got {list(gammas)} and {list(alphas)}")
    axes = [Axis("γ", [f"{g:g}" for g in gammas]), Axis("α", [f"{a:g}" for a in alphas])]
    return states(axes, lambda i, j: state(gammas[i], alphas[j]), QUESTION, source)


def state(gamma: float, alpha: float) -> State:
    """The curves for one pair, and how much is left of the cross-entropy at three probabilities."""
    left = [(1 - p) ** gamma for p in (0.5, 0.9, 0.99)]
    words = f"γ = {gamma:g}, α = {alpha:g}. Of the cross-entropy is left, α aside: {left[0]:.3g} at a probability of "
    words += f"0.5 for the right answer, {left[1]:.3g} at 0.9, {left[2]:.3g} at 0.99. A foreground pixel counts "
    words += f"{alpha:g}, a background pixel {1 - alpha:g}."
    return State(_draw(gamma, alpha), words)


def _draw(gamma: float, alpha: float) -> Any:
    import matplotlib.pyplot as plt

    with plt.rc_context({"font.size": 12}):
        figure, panels = plt.subplots(1, 2, figsize=(6.2, 3.1))
        styles = ((1, "#0072b2", "-", "foreground pixel"), (0, "#e69f00", "-.", "background pixel"))
        panels[0].plot(P, -np.log(P), "--", color="gray", label="cross-entropy")
        panels[1].plot(P, 1 - P, "--", color="gray")
        for target, colour, line, name in styles:
            for panel, values in zip(panels, pixels(target, alpha, gamma), strict=True):
                panel.plot(P, values, line, color=colour, linewidth=2, label=name)
        panels[0].set(ylim=(0, 3), ylabel="loss")
        panels[1].set(ylim=(0, 1.05), ylabel="|slope| along the logit")
        for panel in panels:
            panel.set(xlim=(0, 1), xlabel="p of the right answer")
            panel.grid(alpha=0.3)
        panels[0].legend(fontsize=10)
        figure.tight_layout()
    return figure
