"""iou_regression: the IoU that the model predicts of its masks, against their true IoU.

Every object of a few held-out scenes (``minisam.transfer.held_out.world_cases``) gets one click in its middle and three
masks.
"""

from __future__ import annotations

import functools
from typing import Any

import ipywidgets as widgets
import numpy as np

from minisam.figures.shared.states import Axis, State, states
from minisam.world.scene import SIZE
from minisam_kernels.losses.iou import iou
from minisam_kernels.runtime.errors import InputError

QUESTION = (
    "A head is trained with a squared error to guess an IoU that it cannot see. It is unsure. Will its guesses be "
    "spread as widely as the true values, more widely, or less?"
)


@functools.cache
def predictions(scenes: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Predicted IoU and true IoU of the three masks of every object: (objects, 3) float64 each."""
    import minisam
    from minisam.annotator import centre_point
    from minisam.transfer.held_out import world_cases

    predictor = minisam.SamPredictor(minisam.load("tiny"))
    predicted, true = [], []
    for case in world_cases(scenes, SIZE):
        if not case.masks:
            continue
        predictor.set_image(case.image)
        points = np.array([[centre_point(truth)] for truth in case.masks])
        masks, scores, _ = predictor.predict_batch(points, np.ones((len(points), 1), int))
        predicted.append(scores)
        true += [iou(three, np.repeat(truth[None], 3, axis=0)) for three, truth in zip(masks, case.masks, strict=True)]
    return np.concatenate(predicted).astype(float), np.array(true, float)


def errors(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Mean squared error of the predictions, of the best constant (the mean of the truth), and both spreads."""
    return {
        "mse": float(((predicted - true) ** 2).mean()),
        "constant": float(true.var()),
        "spread predicted": float(predicted.std()),
        "spread true": float(true.std()),
        "bias": float((predicted - true).mean()),
    }


def iou_regression(scenes: int = 8, source: str = "") -> widgets.VBox:
    """The figure over ``scenes`` held-out scenes. Raises ``InputError`` for less than one."""
    if scenes < 1:
        raise InputError(f"expected at least one scene, got {scenes}")
    predicted, true = predictions(scenes)
    names = ["all three", "mask 1", "mask 2", "mask 3"]
    return states([Axis("Masks", names)], lambda i: state(predicted, true, names[i], i - 1), QUESTION, source)


def state(predicted: np.ndarray, true: np.ndarray, name: str, which: int) -> State:
    """said, got (objects, 3); ``which``: one of the three masks, or −1 for all."""
    if which >= 0:
        predicted, true = predicted[:, which], true[:, which]
    error = errors(predicted, true)
    words = (
        f"{name}, {predicted.size} predictions: mean squared error {error['mse']:.4f}; the best constant would have "
        f"{error['constant']:.4f}. Standard deviation of the predicted IoU {error['spread predicted']:.3f}, of the "
        f"true one {error['spread true']:.3f}; predicted minus true, on average {error['bias']:+.3f}."
    )
    return State(_draw(predicted, true, max(which, 0)), words)


def _draw(predicted: np.ndarray, true: np.ndarray, first: int) -> Any:
    import matplotlib.pyplot as plt

    with plt.rc_context({"font.size": 12}):
        figure, axes = plt.subplots(figsize=(6, 3.8))
        axes.plot([0, 1], [0, 1], "--", color="gray", label="as it should be")
        axes.axvline(float(true.mean()), color="#d55e00", linestyle=":", label="the best constant")
        styles = (("o", "#e69f00"), ("s", "#56b4e9"), ("^", "#009e73"))
        columns = predicted.T if predicted.ndim == 2 else [predicted]
        for k, (x, y) in enumerate(zip(columns, true.T if true.ndim == 2 else [true], strict=True), first):
            marker, colour = styles[k]
            axes.scatter(
                x, y, s=26, marker=marker, color=colour, edgecolor="black", linewidth=0.4, label=f"mask {k + 1}"
            )
        top = max(1.0, float(predicted.max())) + 0.03
        axes.set(xlim=(min(0.0, float(predicted.min())) - 0.03, top), ylim=(-0.03, 1.03))
        axes.set(xlabel="predicted IoU", ylabel="true IoU")
        axes.legend(fontsize=10, loc="center left", bbox_to_anchor=(1, 0.5))
        axes.grid(alpha=0.3)
        figure.tight_layout()
    return figure
