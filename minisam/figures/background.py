"""background: one object in an ever larger image. What happens to the losses, and to the pixels that are missed?

The logits are real ones of the tiny model, 320 × 320. The image is then enlarged by background pixels that all have
the same logit, and ``minisam_kernels.losses.focal_loss`` and ``minisam_kernels.losses.dice_loss`` are asked again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np

from minisam.figures.loss_maps import logits_of
from minisam.figures.shared.states import Axis, State, states
from minisam.figures.shared.subjects import Subject, subjects
from minisam.world.scene import SIZE
from minisam_kernels.losses.dice_loss import dice_loss, dice_loss_backward
from minisam_kernels.losses.focal_loss import focal_loss, focal_loss_backward
from minisam_kernels.runtime.errors import InputError

QUESTION = (
    "The image grows to eight times its width, by background that the model is very sure of. What happens to the "
    "focal loss, and what to the dice loss?"
)
SIDES = tuple(round(SIZE * times) for times in (1, 1.5, 2, 3, 4, 6, 8))
ADDED = (-12.0, -6.0, -3.0)  # the logit of every added pixel
Row = dict[str, float]


def enlarged(subject: Subject, side: int, added: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits and truth (side, side) with the object's own in one corner."""
    z, g = np.full((side, side), added, np.float32), np.zeros((side, side), bool)
    corner = np.s_[: len(subject.truth), : len(subject.truth)]
    z[corner], g[corner] = logits_of(subject), subject.truth
    return z, g


def measured(subject: Subject, side: int, added: float) -> Row:
    """Both losses, and the mean size of their gradient on the object's missed pixels."""
    z, g = enlarged(subject, side, added)
    missed = g & (z <= 0)
    one = np.ones(1, np.float32)
    pull = {
        "focal": focal_loss_backward(one, z[None], g[None])[0],
        "dice": dice_loss_backward(one, z[None], g[None])[0],
    }
    return {
        "focal": float(focal_loss(z[None], g[None])[0]),
        "dice": float(dice_loss(z[None], g[None])[0]),
        **{
            f"{name} pull": float(np.abs(slope[missed]).mean()) if missed.any() else 0.0 for name, slope in pull.items()
        },
    }


def background(subject: Subject | None = None, sides: Sequence[int] = SIDES, source: str = "") -> widgets.VBox:
    """The figure for one object (default: a cup). Raises ``InputError`` for a side below the image's own."""
    chosen = subjects(["a cup"])[0] if subject is None else subject
    if not sides or min(sides) < len(chosen.truth):
        raise InputError(f"expected sides of at least {len(chosen.truth)} pixels, got {list(sides)}")
    names = [f"{z:g} (p = {1 / (1 + np.exp(-z)):.2g})" for z in ADDED]
    axes = [Axis("Logit of the added background", names)]
    return states(axes, lambda i: state(chosen, sides, ADDED[i]), QUESTION, source)


def state(subject: Subject, sides: Sequence[int], added: float) -> State:
    """Losses and pulls at all sides, for one logit of the added background."""
    rows = [measured(subject, side, added) for side in sides]
    first, last = rows[0], rows[-1]
    words = f"Added background with logit {added:g}; from {sides[0]} to {sides[-1]} pixels a side: focal loss "
    words += (
        f"{first['focal']:.3g} → {last['focal']:.3g}, dice loss {first['dice']:.3f} → {last['dice']:.3f}. Pull on a "
    )
    words += f"missed pixel: focal {first['focal pull']:.2g} → {last['focal pull']:.2g}, "
    words += f"dice {first['dice pull']:.2g} → {last['dice pull']:.2g}."
    return State(_draw(sides, rows), words)


def _draw(sides: Sequence[int], rows: Sequence[Row]) -> Any:
    import matplotlib.pyplot as plt

    with plt.rc_context({"font.size": 12}):
        figure, panels = plt.subplots(1, 2, figsize=(6.2, 3.1))
        for key, colour, line in (("focal", "#0072b2", "o-"), ("dice", "#d55e00", "s--")):
            for panel, name in zip(panels, (key, f"{key} pull"), strict=True):
                values = np.array([row[name] for row in rows])
                panel.plot(sides, values / values[0], line, color=colour, label=key)
        panels[0].set_ylabel("loss, first = 1")
        panels[1].set_ylabel("pull on a missed pixel, first = 1")
        for panel in panels:
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.set_xticks(SIDES[::2], [str(side) for side in SIDES[::2]])
            panel.set(xlabel="side of the image, pixels", ylim=(0.008, 30))
            panel.grid(alpha=0.3)
            panel.legend(fontsize=11)
        figure.tight_layout()
    return figure
