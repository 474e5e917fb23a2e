"""Figures of chapter 9 without a network: what a loss asks for when one click has several right answers.

    from minisam.figures.averaging import averaging, winners
    averaging()        # one output: the mask with the least expected loss, for four losses and three mixes of truths
    winners()          # three outputs, graded by their best or by their mean, from several random starts

The "model" is nothing but free logits, one per pixel, so what is seen is what the loss wants and no fault of a network.
The losses and their gradients are kernels (``minisam_kernels.losses.focal_loss``, ``dice_loss``), the truths those
around a point of a scene of the world. The descent is Adam (Kingma and Ba 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minisam.figures.shared.overlay import PURPLE, STYLES, outline, point, show, tint
from minisam.figures.shared.states import Axis, State, states
from minisam.figures.three_masks import SEEDS, TRUTH_COLOURS, known, overlaps
from minisam_kernels.losses.dice_loss import dice_loss, dice_loss_backward
from minisam_kernels.losses.focal_loss import focal_loss, focal_loss_backward
from minisam_kernels.losses.stability_score import stability_score
from minisam_kernels.runtime.errors import InputError

Grade = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

MIXES = {
    "each equally often": (1 / 3, 1 / 3, 1 / 3),
    "mostly the innermost": (0.6, 0.2, 0.2),
    "mostly the whole": (0.2, 0.2, 0.6),
}  # how often the inner, the middle and the outer truth is meant
EVERY = 4  # rows and columns: a fourth of the scene's side is plenty for logits that know nothing of each other


def sum_of(focal: float, dice: float, alpha: float = 0.25, gamma: float = 2.0) -> Grade:
    """focal · focal loss + dice · dice loss: logits, targets (M, H, W) → losses (M,) and their slopes (M, H, W)."""

    def grade(logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ones = np.ones(len(logits), np.float32)
        losses, slopes = np.zeros(len(logits), np.float32), np.zeros(logits.shape, np.float32)
        if focal:
            losses += focal * focal_loss(logits, targets, alpha, gamma)
            slopes += focal * focal_loss_backward(ones, logits, targets, alpha, gamma)
        if dice:
            losses += dice * dice_loss(logits, targets)
            slopes += dice * dice_loss_backward(ones, logits, targets)
        return losses, slopes

    return grade


LOSSES = {
    "cross-entropy": sum_of(2, 0, alpha=0.5, gamma=0),  # α = ½ halves it
    "focal": sum_of(1, 0),
    "dice": sum_of(0, 1),
    "20·focal + dice": sum_of(20, 1),
}


def descend(
    truths: np.ndarray, shares: Sequence[float], grade: Grade, outputs: int = 1, rule: str = "best",
    steps: int = 200, rate: float = 0.2, seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Logits (outputs, H, W) that minimise the expected loss over the truths (K, H, W), truth k with chance shares[k].

    rule "best": a truth is graded against the output with the least loss; "mean": against all, and the losses averaged.
    Returns the logits and the expected loss before each step (steps,).
    """
    if rule not in ("best", "mean"):
        raise InputError(f'expected rule "best" or "mean", got {rule!r}')
    if len(truths) != len(shares):
        raise InputError(f"expected a share for each of {len(truths)} truths, got {len(shares)}")
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 0.5, (outputs, *truths.shape[1:])).astype(np.float32)
    first, second = np.zeros_like(logits), np.zeros_like(logits)
    expected = np.zeros(steps)
    for step in range(steps):
        slope = np.zeros_like(logits)
        for truth, share in zip(truths, shares):
            losses, slopes = grade(logits, np.repeat(truth[None], outputs, axis=0))
            weight = np.full(outputs, 1 / outputs, np.float32)
            if rule == "best":
                weight = (np.arange(outputs) == losses.argmin()).astype(np.float32)
            expected[step] += share * float(weight @ losses)
            slope += share * weight[:, None, None] * slopes
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope**2  # Adam
        mean, square = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.99 ** (step + 1))
        logits -= rate * mean / (np.sqrt(square) + 1e-9)
    return logits, expected


def rings(probability: np.ndarray, truths: np.ndarray) -> list[float]:
    """The mean of probability (H, W) in the innermost truth, in what each next one adds, and outside all."""
    inner = [np.zeros(probability.shape, bool), *truths]
    parts = [b & ~a for a, b in zip(inner, truths)] + [~truths[-1]]
    return [float(probability[part].mean()) for part in parts]


def stability(logits: np.ndarray) -> float:
    """The IoU of the mask cut at logit +1 with that cut at −1."""
    return float(stability_score(logits[None])[0])


@dataclass(frozen=True)
class Small:
    """A scene at a fourth of its side: the image, the truths around its point (inner first), the point, the names."""

    image: np.ndarray
    truths: np.ndarray
    point: tuple[float, float]
    names: tuple[str, ...]

    @classmethod
    def of(cls, seed: int) -> Small:
        q, at = known(seed, 64 * EVERY), slice(EVERY // 2, None, EVERY)
        x, y = q.point
        return cls(q.scene.image[at, at], q.truths[:, at, at], (x / EVERY - 0.5, y / EVERY - 0.5), q.names)


def averaging(
    seed: int = SEEDS[0], losses: Sequence[str] = tuple(LOSSES), mixes: Sequence[str] = tuple(MIXES), steps: int = 200,
    question: str = "", source: str = "",
) -> Any:  # fmt: skip
    """One output: choose a loss and how often each truth is meant, and see what it settles on. seed: of a scene."""
    unknown = [name for name in (*losses, *mixes) if name not in {*LOSSES, *MIXES}]
    if unknown or not losses or not mixes:
        raise InputError(
            f"expected losses of {', '.join(LOSSES)} and mixes of {', '.join(MIXES)}, got {unknown or 'none'}"
        )
    scene = Small.of(seed)
    optima = {(i, j): descend(scene.truths, MIXES[mix], LOSSES[loss], steps=steps)[0][0]
             for i, loss in enumerate(losses) for j, mix in enumerate(mixes)}  # fmt: skip

    def draw(i: int, j: int) -> State:
        return draw_average(scene, optima[i, j], f"{losses[i]}; meant: {mixes[j]}")

    return states([Axis("loss", losses), Axis("what is meant", mixes)], draw, question, source)


def draw_average(scene: Small, logits: np.ndarray, title: str) -> State:
    """The probabilities that a loss settles on, and the mask that is left above one half."""
    from matplotlib.figure import Figure

    image, truths, names = scene.image, scene.truths, scene.names
    probability = 1 / (1 + np.exp(-logits.astype(float)))
    figure = Figure(figsize=(6.8, 2.7), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    show(left, image, "the click and its truths")
    show(right, tint(image, logits > 0, PURPLE, dim=0.6), "p > ½: the mask")
    drawn = middle.imshow(probability, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    middle.set(xticks=[], yticks=[])
    middle.set_title("probability p", fontsize=11)
    figure.colorbar(drawn, ax=middle, shrink=0.8, ticks=[0, 1 / 3, 0.5, 2 / 3, 1], format="%.2f")
    for truth, colour, style in reversed(list(zip(truths, TRUTH_COLOURS, STYLES))):
        outline(left, truth, colour, style, 1.5)
    for axes in (left, right):
        point(axes, *scene.point, size=10)
    levels = rings(probability, truths)
    iou = overlaps(logits[None] > 0, truths)[0]
    parts = [f"in the {names[0]}", *(f"in the rest of the {name}" for name in names[1:]), "outside"]
    words = f"{title}. Mean p: " + ", ".join(f"{p:.2f} {part}" for p, part in zip(levels, parts))
    words += ". IoU of the mask: " + ", ".join(f"{v:.2f} with {n}" for v, n in zip(iou, names))
    words += f". Stability {stability(logits):.2f}."
    return State(figure, words)


def winners(
    seed: int = SEEDS[0], starts: Sequence[int] = (0, 1, 2, 3), steps: int = 200, question: str = "", source: str = ""
) -> Any:
    """Three outputs by 20·focal + dice, graded by the best or by the mean, each from a few random starts."""
    if not len(starts):
        raise InputError("expected at least one random start, got none")
    scene = Small.of(seed)
    rules = ("best", "mean")
    found = {
        (i, j): descend(
            scene.truths, MIXES["each equally often"], LOSSES["20·focal + dice"], 3, rule, steps, seed=start
        )[0]
        for i, rule in enumerate(rules)
        for j, start in enumerate(starts)
    }

    def draw(i: int, j: int) -> State:
        return draw_winners(scene, found[i, j], f"Graded by the {rules[i]}, start {starts[j]}")

    axes = [Axis("graded by", ["best of three", "mean of three"]), Axis("random start", [str(s) for s in starts])]
    return states(axes, draw, question, source)


def draw_winners(scene: Small, logits: np.ndarray, title: str) -> State:
    """The three masks side by side with their IoU; which truths some output has found."""
    from matplotlib.figure import Figure

    image, truths, names = scene.image, scene.truths, scene.names
    iou = overlaps(logits > 0, truths)
    figure = Figure(figsize=(6.8, 2.7), layout="constrained")
    for k, axes in enumerate(figure.subplots(1, 3)):
        nearest = int(np.nan_to_num(iou[k]).argmax())
        show(
            axes,
            tint(image, logits[k] > 0, PURPLE, dim=0.6),
            f"output {k + 1}: IoU {iou[k, nearest]:.2f}\nwith {names[nearest]}",
        )
        for truth, colour, style in reversed(list(zip(truths, TRUTH_COLOURS, STYLES))):
            outline(axes, truth, colour, style, 1.2)
        point(axes, *scene.point, size=10)
    best = np.nan_to_num(iou).max(axis=0)
    words = f"{title}. The best IoU that any output has: " + ", ".join(f"{v:.2f} with {n}" for v, n in zip(best, names))
    words += f". Truths found (IoU above 0.9): {int((best > 0.9).sum())} of {len(truths)}."
    return State(figure, words)
