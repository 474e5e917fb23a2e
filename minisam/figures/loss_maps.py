"""Where a loss pulls: maps of the loss of every pixel and of its gradient, on real logits of the tiny model.

``focal_maps`` turns γ and α, ``loss_maps`` compares cross-entropy, focal, dice and their sum on objects of three sizes.
Logits and truth are those of ``subjects``: of the three masks the one that training would grade, the one of lowest 20 ·
focal + dice. All numbers come from ``minisam_kernels.losses.focal_loss`` and ``minisam_kernels.losses.dice_loss``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np

from minisam.figures.shared.states import Axis, State, states
from minisam.figures.shared.subjects import Subject, subjects
from minisam_kernels.losses.dice_loss import dice_loss, dice_loss_backward
from minisam_kernels.losses.focal_loss import focal_loss, focal_loss_backward
from minisam_kernels.runtime.errors import InputError

GAMMAS, ALPHAS = (0.0, 1.0, 2.0, 5.0), (0.25, 0.5, 0.75)
EASY = 0.9  # a pixel is easy if its right answer has at least this probability
ONE = np.ones(1, np.float32)
LOSSES = {
    "cross-entropy": lambda z, g: 2 * focal_loss_backward(ONE, z, g, 0.5, 0.0),
    "20 · focal": lambda z, g: 20 * focal_loss_backward(ONE, z, g),
    "dice": lambda z, g: dice_loss_backward(ONE, z, g),
    "20 · focal + dice": lambda z, g: 20 * focal_loss_backward(ONE, z, g) + dice_loss_backward(ONE, z, g),
}
VALUES = {
    "cross-entropy": lambda z, g: 2 * focal_loss(z, g, 0.5, 0.0),
    "20 · focal": lambda z, g: 20 * focal_loss(z, g),
    "dice": lambda z, g: dice_loss(z, g),
    "20 · focal + dice": lambda z, g: 20 * focal_loss(z, g) + dice_loss(z, g),
}


def graded(subject: Subject) -> int:
    """Which of the three masks has the lowest loss."""
    truths = np.repeat(subject.truth[None], len(subject.logits), axis=0)
    return int(VALUES["20 · focal + dice"](subject.logits, truths).argmin())


def logits_of(subject: Subject) -> np.ndarray:
    """(H, W) float32: the logits of that mask."""
    return np.asarray(subject.logits[graded(subject)], np.float32)


def right(subject: Subject) -> np.ndarray:
    """(H, W): the probability that every pixel gives to its right answer."""
    z = logits_of(subject)
    return 1 / (1 + np.exp(np.where(subject.truth, -z, z).astype(float)))


def focal_map(subject: Subject, alpha: float, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Loss of every pixel (H, W), and its slope with respect to the pixel's logit (H, W): the mean's, times H · W."""
    z, g = logits_of(subject), subject.truth
    each = focal_loss(z.reshape(-1, 1, 1), g.reshape(-1, 1, 1), alpha, gamma).reshape(z.shape)
    return each, focal_loss_backward(ONE, z[None], g[None], alpha, gamma)[0] * z.size


def share(part: np.ndarray, values: np.ndarray) -> float:
    """How much of the sum of |values| lies in ``part`` (H, W) bool; NaN where all are 0."""
    total = np.abs(values).sum(dtype=float)
    return float(np.abs(values[part]).sum(dtype=float) / total) if total else float("nan")


def focal_maps(
    subject: Subject | None = None,
    gammas: Sequence[float] = GAMMAS,
    alphas: Sequence[float] = ALPHAS,
    source: str = "",
) -> widgets.VBox:
    """γ and α over one object (default: a cup). Raises ``InputError`` for a γ below 0, an α outside of 0 to 1."""
    if any(gamma < 0 for gamma in gammas) or any(not 0 <= alpha <= 1 for alpha in alphas):
        raise InputError(f"expected gammas >= 0 and alphas in [0, 1], got {list(gammas)} and {list(alphas)}")
    chosen = subjects(["a cup"])[0] if subject is None else subject
    question = (
        "Most pixels of the image are right already. With γ = 0, how much of the whole gradient do those hold that "
        f"are right with a probability of {EASY:g} or more? And with γ = 2?"
    )
    axes = [Axis("γ", [f"{g:g}" for g in gammas]), Axis("α", [f"{a:g}" for a in alphas])]
    return states(axes, lambda i, j: focal_state(chosen, alphas[j], gammas[i]), question, source)


def focal_state(subject: Subject, alpha: float, gamma: float) -> State:
    """The two maps, and who holds how much of them."""
    loss, slope = focal_map(subject, alpha, gamma)
    easy = right(subject) >= EASY
    words = (
        f"γ = {gamma:g}, α = {alpha:g}: focal loss {loss.mean(dtype=float):.4f}. {easy.mean():.1%} of the pixels are "
    )
    words += f"easy; they hold {share(easy, loss):.1%} of the loss and {share(easy, slope):.1%} of the gradient. "
    words += f"The object is {subject.truth.mean():.1%} of the image and holds {share(subject.truth, slope):.1%} "
    words += "of the gradient."
    maps = [("loss of each pixel", loss, False), ("gradient", slope, True)]
    held = {"pixels": np.ones_like(loss), "loss": loss, "gradient": slope}
    bars = {name: (share(easy, values), share(subject.truth, values)) for name, values in held.items()}
    return State(_draw(subject, maps, bars), words)


def loss_maps(objects: Sequence[Subject] | None = None, source: str = "") -> widgets.VBox:
    """Four losses on objects of three sizes. Raises ``InputError`` without an object."""
    several = subjects() if objects is None else list(objects)
    if not several:
        raise InputError("expected at least one object, got none")
    question = (
        "Dice is one number for the whole mask. On which pixels does its gradient act: on all alike, on the wrong "
        "ones, or where the model is undecided? And will it see the car?"
    )
    axes = [Axis("Object", [subject.title for subject in several]), Axis("Loss", list(LOSSES))]
    return states(axes, lambda i, j: loss_state(several[i], list(LOSSES)[j]), question, source)


def gradient(subject: Subject, name: str) -> np.ndarray:
    """(H, W): the gradient of the named loss with respect to the logits."""
    return LOSSES[name](logits_of(subject)[None], subject.truth[None])[0]


def loss_state(subject: Subject, name: str) -> State:
    """One loss on one object: its value, where its gradient lies."""
    slope, mask = gradient(subject, name), logits_of(subject) > 0
    value = float(VALUES[name](logits_of(subject)[None], subject.truth[None])[0])
    wrong = mask != subject.truth
    words = (
        f"{subject.title}, {name}: loss {value:.4f}, sum of the gradient's sizes {np.abs(slope).sum(dtype=float):.4f}."
    )
    words += f" The object is {subject.truth.mean():.1%} of the image and holds {share(subject.truth, slope):.0%} of "
    words += f"it; the wrong pixels are {wrong.mean():.1%} and hold {share(wrong, slope):.0%}."
    return State(_draw(subject, [("gradient", slope * slope.size, True)], {}), words)


def _draw(subject: Subject, maps: Sequence[tuple[str, np.ndarray, bool]], bars: dict[str, tuple[float, float]]) -> Any:
    """The image with truth and mask; maps, of a loss (from 0 on) or of a gradient (which has a sign); bars."""
    import matplotlib.pyplot as plt

    rows = 2 if bars else 1
    with plt.rc_context({"font.size": 12}):
        figure, grid = plt.subplots(rows, 2, figsize=(6, 2.9 * rows), layout="constrained")
        panels = grid.ravel()
        panels[0].imshow(subject.image)
        panels[0].contour(logits_of(subject), [0], colors="#e69f00", linewidths=1.2, linestyles="--")
        panels[0].set_title("truth —, mask - -", fontsize=12)
        for panel, (name, values, signed) in zip(panels[1:], maps, strict=False):
            top = max(float(np.quantile(np.abs(values), 0.999)), 1e-12)
            drawn = panel.imshow(
                values,
                cmap="PuOr" if signed else "cividis",
                vmin=-top if signed else 0,
                vmax=top,
            )
            figure.colorbar(drawn, ax=panel, fraction=0.046, pad=0.03)
            panel.set_title(f"{name}: − lifts, + lowers" if signed else name, fontsize=12)
        outlines = ["white", *("black" if signed else "white" for _, _, signed in maps)]
        for panel, colour in zip(panels, outlines, strict=False):
            panel.contour(subject.truth.astype(float), [0.5], colors=colour, linewidths=0.9)
            panel.set_axis_off()
        if bars:
            _bars(panels[3], bars)
    return figure


def _bars(panel: Any, bars: dict[str, tuple[float, float]]) -> None:
    """How much easy pixels and the object hold."""
    y = np.arange(len(bars))
    easy, inside = np.nan_to_num(np.array(list(bars.values()))).T
    panel.barh(y - 0.2, easy, 0.36, color="#56b4e9", edgecolor="black", hatch="//", label="easy pixels")
    panel.barh(y + 0.2, inside, 0.36, color="#e69f00", edgecolor="black", hatch="..", label="the object")
    panel.set_yticks(y, bars)
    panel.set(xlim=(0, 1), ylim=(len(bars) - 0.4, -0.6), xticks=[0, 0.5, 1])
    panel.set_xticklabels(["0", "½", "all"])
    panel.set_title("who holds how much", fontsize=12)
    panel.legend(fontsize=10, loc="upper center", bbox_to_anchor=(0.4, -0.12), ncol=2, handlelength=1.2)
