"""A logit is signed evidence: the same logits cut at other heights. The last figure of chapter 7."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np

from minisam.figures.shared.decoder_steps import decode_steps
from minisam.figures.shared.overlay import BLUE, ORANGE, VERMILION, YELLOW
from minisam.figures.shared.paint import canvas, look, mark, painted, photograph, signed, style
from minisam.figures.shared.states import Axis, State, states
from minisam.model.preprocess import postprocess_masks
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.sam import Sam


def cut(logits: np.ndarray, threshold: float) -> tuple[np.ndarray, float, float]:
    """logits (H, W) → the mask above ``threshold``, its share of the image, and its IoU with the mask above 0."""
    mask, plain = logits > threshold, logits > 0
    union = (mask | plain).sum()
    return mask, float(mask.mean()), float((mask & plain).sum() / union) if union else 1.0


def thresholds(
    image: np.ndarray | None = None,
    point: tuple[float, float] | None = None,
    heights: tuple[float, ...] | None = None,
    sam: Sam | None = None,
    source: str = "",
) -> widgets.VBox:
    """Move the threshold. image (H, W, 3) uint8; point (x, y) in its pixels; heights: logits at which to cut,
    by default −1, 0, 1 and shares of what the logits reach.

    The logits are those of the mask with the highest score, enlarged to the image before the cut.
    """
    if heights is not None and len(heights) == 0:
        raise InputError("expected at least one height, got none")
    predictor, image, points = look(image, point, sam)
    steps = decode_steps(predictor, points, np.array([1]))
    best = steps.best
    original = (image.shape[0], image.shape[1])
    logits = postprocess_masks(steps.logits[[best]], original, predictor.model.config.image_size, None)[0]
    if heights is None:
        low, high = np.quantile(logits, [0.02, 0.999])
        shares = np.array([0.1, 0.3, 0.6, 0.9])
        heights = tuple(np.unique(np.round([-1, 0, 1, *(min(low, 0) * shares), *(max(high, 0) * shares)], 2)).tolist())

    @style
    def draw(index: int) -> State:
        return draw_cut(image, points[0], logits, heights[index], best)

    question = (
        "The mask is where the logit exceeds 0. If the threshold moves to +1, how much of the mask goes? Where will it "
        "go first?"
    )
    start = int(np.argmin(np.abs(np.array(heights))))
    return states([Axis("Threshold", [signed(t) for t in heights], start)], draw, question, source)


def draw_cut(image: np.ndarray, point: np.ndarray, logits: np.ndarray, height: float, best: int) -> State:
    """One state: the outline at ``height`` (and dashed at 0), and the histogram of logits with the cut."""
    _, area, overlap = cut(logits, height)
    figure, ((left, right),) = canvas(1, 2, (7, 3.3), (0.01, 0.97, 0.18, 0.9), (0.3, 0), (1.4, 1))
    photograph(left, image, f"Logit above {signed(height)}")
    for level, colour, dashes in ((0, ORANGE, "dashed"), (height, YELLOW, "solid")):
        if logits.min() < level < logits.max():
            left.contour(logits, [level], colors=[colour], linewidths=2, linestyles=dashes)
    mark(left, point)
    low, high = np.quantile(logits, [0.005, 1])
    right.hist(logits.ravel(), bins=np.linspace(low, high + 1e-6, 60), color=BLUE)
    right.axvline(height, color=VERMILION, linewidth=2.5)
    right.axvline(0, color="black", linewidth=1, linestyle="--")
    right.set(yscale="log", xlim=(min(low, -1.2), max(high, 1.2)), xlabel="logit", title="Pixels (log scale)")
    words = (
        f"Cut at logit {signed(height)}, probability {1 / (1 + np.exp(-height)):.3f}: mask {best} covers {area:.1%} of "
        f"the image; IoU with the mask cut at 0: {overlap:.2f}."
    )
    return State(painted(figure), words)
