"""From image tokens to pixels: what the mask decoder's features are at every size. A figure of chapter 7.

Features have many channels; what is shown are their three main directions (``three_colours``, a principal component
analysis), as red, green and blue. A transposed convolution writes every corner of a token with weights of its own, so
there is a pattern that repeats in every token; ``without_pattern`` takes its mean off first, and says how much of the
variance it was. That is a view of real features, not a part of the model. Logits are shown as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np

from minisam.figures.shared.decoder_steps import decode_steps, within_picture
from minisam.figures.shared.paint import (
    bare,
    coarse,
    edge,
    evidence,
    look,
    mark,
    painted,
    photograph,
    side_by_side,
    signed,
    style,
)
from minisam.figures.shared.states import Axis, State, states
from minisam.model.preprocess import postprocess_masks

if TYPE_CHECKING:
    from minisam.sam import Sam

STAGES = ("tokens", "doubled once", "doubled twice", "logits", "logits, enlarged", "mask")


def three_colours(features: np.ndarray) -> np.ndarray:
    """features (h, w, C) → (h, w, 3) in 0 … 1: along their three main directions, each from its 1st to its 99th
    hundredth."""
    centred = features.reshape(-1, features.shape[2]).astype(np.float64)
    centred -= centred.mean(axis=0)
    _, _, directions = np.linalg.svd(centred.T @ centred)
    main = centred @ directions[:3].T
    low, high = np.quantile(main, 0.01, axis=0), np.quantile(main, 0.99, axis=0)
    return np.clip((main - low) / np.maximum(high - low, 1e-12), 0, 1).reshape(*features.shape[:2], -1)


def without_pattern(features: np.ndarray, period: int) -> tuple[np.ndarray, float]:
    """features (h, w, C), each token ``period`` × ``period`` of them → the same minus the mean of every place within a
    token, and the share of the variance that goes with it."""
    height, width, channels = features.shape
    blocks = features.reshape(height // period, period, width // period, period, channels).astype(np.float64)
    rest = (blocks - blocks.mean(axis=(0, 2), keepdims=True)).reshape(features.shape)
    whole = np.square(features - features.mean(axis=(0, 1))).sum()
    return rest, float(1 - np.square(rest).sum() / whole) if whole else 0.0


def upscaling(
    image: np.ndarray | None = None,
    point: tuple[float, float] | None = None,
    sam: Sam | None = None,
    source: str = "",
) -> widgets.VBox:
    """Six stages on the way from the last image tokens to the mask, the whole image and a close-up of the click.

    image (H, W, 3) uint8; point (x, y) in its pixels. The logits are those of the mask with the highest score.
    """
    predictor, image, points = look(image, point, sam)
    steps = decode_steps(predictor, points, np.array([1]))
    best = steps.best
    side = round(len(steps.images[-1]) ** 0.5)
    grids = (steps.images[-1].reshape(side, side, -1), steps.halfway, steps.features)
    # whole tokens that show the image: the padding's features are others, and would take a direction of their own
    inside, extent = within_picture(np.empty((side, side)), predictor)
    views = []
    for i, grid in enumerate(grids):
        rows, columns = (n * 2**i for n in inside.shape)
        views.append(without_pattern(grid[:rows, :columns], 2**i))
    size = predictor.model.config.image_size
    original = (image.shape[0], image.shape[1])
    enlarged = postprocess_masks(steps.logits[[best]], original, size, None)[0]
    mask = postprocess_masks(steps.logits[[best]], original, size, 0.0)[0]
    close = 0.22 * max(original)

    @style
    def draw(stage: int) -> State:
        figure, ((left, right),) = side_by_side(image, scale=False)
        for ax, title in ((left, STAGES[stage]), (right, "around the click")):
            if stage < 3:
                ax.imshow(three_colours(views[stage][0]), extent=extent, interpolation="nearest")
            elif stage == 3:
                evidence(ax, predictor, image, steps.logits[best])
            elif stage == 4:
                largest = np.quantile(np.abs(enlarged), 0.99)
                ax.imshow(enlarged, cmap="PuOr_r", vmin=-largest, vmax=largest)
            else:
                photograph(ax, np.where(mask[..., None], image, image // 4))
            if stage == 4 and enlarged.min() < 0 < enlarged.max():
                ax.contour(enlarged, [0], colors=["black"], linewidths=1.5)
            bare(ax, image, title)
            if stage < 3:
                edge(ax, predictor, coarse(steps.logits[best]), "white")
            mark(ax, points[0])
        half = close * np.array([1, original[0] / original[1]])
        right.set(xlim=points[0][0] + np.array([-1, 1]) * half[0], ylim=points[0][1] + np.array([1, -1]) * half[1])
        return State(painted(figure), _words(stage))

    def _words(stage: int) -> str:
        if stage < 3:
            rows, columns, channels = grids[stage].shape
            pixels = max(original) / columns
            pattern = f", without the pattern that repeats in every token ({views[stage][1]:.0%} of the variance)"
            return (
                f"{STAGES[stage]}: {rows} × {columns} places with {channels} features each; a place stands for "
                f"{pixels:.1f} × {pixels:.1f} pixels of the image. Colours are the features' three main directions"
                f"{pattern if stage else ''}."
            )
        if stage == 3:
            shown = within_picture(steps.logits[best], predictor)[0]
            return (
                f"Logits of mask {best}: {steps.logits[best].shape[0]} × {steps.logits[best].shape[1]} numbers, from "
                f"{signed(shown.min())} to {signed(shown.max())} within the image."
            )
        if stage == 4:
            return f"The same logits for each of {original[0]} × {original[1]} pixels, by bilinear interpolation."
        return f"Logits above 0: {mask.sum()} pixels, {mask.mean():.1%} of the image."

    question = (
        "The decoder starts from few tokens and ends with a mask as fine as the image. At which step does the detail "
        "come in, and which steps cannot add any?"
    )
    return states([Axis("Stage", STAGES, 0)], draw, question, source)
