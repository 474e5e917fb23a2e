"""Which token each pixel of the embedding attends to (image → token attention): the second figure of chapter 6."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np
from matplotlib.colors import ListedColormap

from minisam.figures.shared.decoder_steps import Steps, decode_steps, within_picture
from minisam.figures.shared.overlay import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW
from minisam.figures.shared.paint import bare, canvas, coarse, edge, look, mark, painted, photograph, style
from minisam.figures.shared.states import Axis, State, states

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor
    from minisam.sam import Sam

COLOURS = (BLUE, ORANGE, SKY, GREEN, YELLOW, VERMILION, PURPLE, "#999999", "#FFFFFF")
HATCHES = ("", "//", "..", "\\\\", "xx", "--", "++", "oo", "||")


def weights_of_pixels(steps: Steps, layer: int, head: int | None) -> np.ndarray:
    """Block ``layer``, one head or the mean of all (None) → (T, h, w): each pixel's weights over the tokens, sum 1."""
    weights = steps.weights[f"layers.{layer}.cross_attn_image_to_token"]
    chosen = weights.mean(axis=0) if head is None else weights[head]
    side = round(len(chosen) ** 0.5)
    return chosen.T.reshape(-1, side, side)


def pixel_attention(
    image: np.ndarray | None = None,
    point: tuple[float, float] | None = None,
    sam: Sam | None = None,
    source: str = "",
) -> widgets.VBox:
    """Choose a block and a head, see the token with the largest weight at every place, and the mean weights inside and
    outside the answer. image (H, W, 3) uint8; point (x, y) in its pixels."""
    predictor, image, points = look(image, point, sam)
    steps = decode_steps(predictor, points, np.array([1]))
    best = steps.best
    blocks = [f"block {i}" for i in range(predictor.model.config.decoder_depth)]
    heads = ["all, mean", *(f"head {i}" for i in range(predictor.model.config.decoder_num_heads))]

    @style
    def draw(layer: int, head: int) -> State:
        return draw_block(predictor, image, points[0], steps, layer, head - 1 if head else None, best)

    question = (
        "After the tokens have read the image, every place of the image reads the tokens. Will places inside the "
        "answer listen to another token than those outside? Will any place listen to the IoU token?"
    )
    return states([Axis("After", blocks), Axis("Head", heads)], draw, question, source)


def draw_block(
    predictor: SamPredictor,
    image: np.ndarray,
    point: np.ndarray,
    steps: Steps,
    layer: int,
    head: int | None,
    best: int,
) -> State:
    """One state: a map of the loudest token, and bars of the mean weights inside and outside mask ``best``."""
    weights = weights_of_pixels(steps, layer, head)
    shown, extent = within_picture(weights, predictor)
    loudest = shown.argmax(axis=0)
    figure, ((left, right),) = canvas(1, 2, (7, 3.6), (0.01, 0.97, 0.15, 0.9), (0.72, 0), (1.5, 1))
    photograph(left, image, "Loudest token at each place", grey=True)
    kinds = np.arange(len(steps.names) + 1) - 0.5
    colours = ListedColormap([COLOURS[i % len(COLOURS)] for i in range(len(steps.names))])
    left.imshow(loudest, cmap=colours, vmin=kinds[0], vmax=kinds[-1], extent=extent, alpha=0.7)
    for token in np.unique(loudest):  # hatching says the same as the colour
        x = extent[0] + (np.arange(loudest.shape[1]) + 0.5) * (extent[1] - extent[0]) / loudest.shape[1]
        y = extent[3] + (np.arange(loudest.shape[0]) + 0.5) * (extent[2] - extent[3]) / loudest.shape[0]
        region = (loudest == token).astype(float)
        left.contourf(x, y, region, [0.5, 1.5], colors="none", hatches=[HATCHES[token % len(HATCHES)]])
    answer = coarse(steps.logits[best])  # on the grid of image tokens
    inside = within_picture(answer, predictor)[0] > 0
    edge(left, predictor, answer, "black")
    mark(left, point)
    bare(left, image, left.get_title())
    rows = np.arange(len(steps.names))
    means = [shown[:, part].mean(axis=1) if part.any() else np.zeros(len(rows)) for part in (inside, ~inside)]
    for offset, mean, hatch, label in ((-0.2, means[0], "", "inside"), (0.2, means[1], "///", "outside")):
        bars = right.barh(rows + offset, mean, 0.38, color=COLOURS[: len(rows)], edgecolor="black", label=label)
        for bar in bars:
            bar.set_hatch(hatch)
    right.set(yticks=rows, yticklabels=steps.names, xlabel="mean weight", title="Outside: hatched")
    right.tick_params(axis="y", labelsize=11)
    right.invert_yaxis()
    loud_in, loud_out = (steps.names[int(mean.argmax())] for mean in means)
    words = (
        f"Block {layer}, {'mean of all heads' if head is None else f'head {head}'}: inside mask {best} the largest "
        f"mean weight is on “{loud_in}” ({means[0].max():.2f}), outside on “{loud_out}” ({means[1].max():.2f}); evenly "
        f"it would be {1 / len(rows):.2f}."
    )
    return State(painted(figure), words)
