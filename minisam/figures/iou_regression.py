"""iou_regression: what the model says about its masks against what they get. Predicted IoU and true IoU.

One click in the middle of every object of a few held-out scenes (``minisam.transfer.held_out.world_cases``), three
masks each.
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
    said, got = [], []
    for case in world_cases(scenes, SIZE):
        if not case.masks:
            continue
        predictor.set_image(case.image)
        points = np.array([[centre_point(truth)] for truth in case.masks])
        masks, scores, _ = predictor.predict_batch(points, np.ones((len(points), 1), int))
        said.append(scores)
        got += [iou(three, np.repeat(truth[None], 3, axis=0)) for three, truth in zip(masks, case.masks, strict=True)]
    return np.concatenate(said).astype(float), np.array(got, float)


def errors(said: np.ndarray, got: np.ndarray) -> dict[str, float]:
    """Mean squared error of the predictions, of the best constant (the mean of the truth), and both spreads."""
    return {
        "mse": float(((said - got) ** 2).mean()),
        "constant": float(got.var()),
        "spread said": float(said.std()),
        "spread got": float(got.std()),
        "bias": float((said - got).mean()),
    }


def iou_regression(scenes: int = 8, source: str = "") -> widgets.VBox:
    """The figure over ``scenes`` held-out scenes. Raises ``InputError`` for less than one."""
    if scenes < 1:
        raise InputError(f"expected at least one scene, got {scenes}")
    said, got = predictions(scenes)
    names = ["all three", "mask 1", "mask 2", "mask 3"]
    return states([Axis("Masks", names)], lambda i: state(said, got, names[i], i - 1), QUESTION, source)


def state(said: np.ndarray, got: np.ndarray, name: str, which: int) -> State:
    """said, got (objects, 3); ``which``: one of the three masks, or −1 for all."""
    if which >= 0:
        said, got = said[:, which], got[:, which]
    found = errors(said, got)
    words = f"{name}, {said.size} predictions: mean squared error {found['mse']:.4f}; the best constant would have "
    words += (
        f"{found['constant']:.4f}. Standard deviation of the predicted IoU {found['spread said']:.3f}, of the true "
    )
    words += f"one {found['spread got']:.3f}; predicted minus true, on average {found['bias']:+.3f}."
    return State(_draw(said, got, max(which, 0)), words)


def _draw(said: np.ndarray, got: np.ndarray, first: int) -> Any:
    import matplotlib.pyplot as plt

    with plt.rc_context({"font.size": 12}):
        figure, axes = plt.subplots(figsize=(6, 3.8))
        axes.plot([0, 1], [0, 1], "--", color="gray", label="as it should be")
        axes.axvline(float(got.mean()), color="#d55e00", linestyle=":", label="the best constant")
        styles = (("o", "#e69f00"), ("s", "#56b4e9"), ("^", "#009e73"))
        columns = said.T if said.ndim == 2 else [said]
        for k, (x, y) in enumerate(zip(columns, got.T if got.ndim == 2 else [got], strict=True), first):
            marker, colour = styles[k]
            axes.scatter(
                x, y, s=26, marker=marker, color=colour, edgecolor="black", linewidth=0.4, label=f"mask {k + 1}"
            )
        top = max(1.0, float(said.max())) + 0.03
        axes.set(xlim=(min(0.0, float(said.min())) - 0.03, top), ylim=(-0.03, 1.03))
        axes.set(xlabel="predicted IoU", ylabel="true IoU")
        axes.legend(fontsize=10, loc="center left", bbox_to_anchor=(1, 0.5))
        axes.grid(alpha=0.3)
        figure.tight_layout()
    return figure
