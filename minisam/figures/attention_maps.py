"""Where the decoder's tokens look, by layer, token and head: the first figure of chapter 6.

``reading(steps, layer, token)`` gives the weights that the model itself used, one map per head. They were computed
again from the same queries and keys, and a test holds them against the model's own output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np

from minisam.figures.shared.decoder_steps import Steps, decode_steps, within_picture
from minisam.figures.shared.paint import heat, look, mark, painted, side_by_side, style
from minisam.figures.shared.states import Axis, State, states

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor
    from minisam.sam import Sam


def readers(steps: Steps) -> list[str]:
    """The attentions from tokens to the image, in the order in which they happen."""
    return [name for name in steps.weights if name.endswith("token_to_image")]


def reading(steps: Steps, layer: int, token: int) -> np.ndarray:
    """Attention number ``layer`` from token number ``token`` → (heads, h, w), each head's weights summing to 1."""
    weights = steps.weights[readers(steps)[layer]][:, token]
    side = round(weights.shape[1] ** 0.5)
    return weights.reshape(len(weights), side, side)


def attention_maps(
    image: np.ndarray | None = None,
    point: tuple[float, float] | None = None,
    sam: Sam | None = None,
    source: str = "",
) -> widgets.VBox:
    """Choose a layer and a token, see what each head reads. image (H, W, 3) uint8; point (x, y) in its pixels."""
    predictor, image, points = look(image, point, sam)
    steps = decode_steps(predictor, points, np.array([1]))
    names = readers(steps)
    layers = [f"block {i}" for i in range(len(names) - 1)] + ["the last"]

    @style
    def draw(layer: int, token: int) -> State:
        return draw_reading(predictor, image, points[0], steps, layer, token, layers[layer])

    question = (
        "Five tokens of the decoder know nothing of the image when they begin: they are the same for every click. "
        "Where will they look first, and where in the last attention? Will the heads agree?"
    )
    axes = [Axis("Attention", layers), Axis("Token", steps.names, 1)]
    return states(axes, draw, question, source)


def draw_reading(
    predictor: SamPredictor, image: np.ndarray, point: np.ndarray, steps: Steps, layer: int, token: int, name: str
) -> State:
    """One state: the token's weights, one map per head, each with colours up to its own largest weight."""
    maps = reading(steps, layer, token)
    figure, axes = side_by_side(image, 2, -(-len(maps) // 2), scale=False)
    places = []
    for head, (ax, weights) in enumerate(zip(axes.flat, maps)):
        heat(ax, predictor, image, weights, f"head {head}: up to {weights.max():.3f}")
        mark(ax, point)
        places.append(f"head {head} {spread(weights):.0f}")
    for ax in axes.flat[len(maps) :]:
        ax.set_axis_off()
    inside = within_picture(maps, predictor)[0].sum(axis=(1, 2)).mean()
    words = (
        f"Token “{steps.names[token]}” in {name}. Over how many of the {maps[0].size} image tokens the weight is "
        f"spread (e to the entropy): {', '.join(places)}. On the image, not on its padding: {inside:.0%} of it."
    )
    return State(painted(figure), words)


def spread(weights: np.ndarray) -> float:
    """e^entropy: how many places would hold the weight if it were spread evenly over them, 1 to the number of all."""
    p = weights[weights > 0]
    return float(np.exp(-(p * np.log(p)).sum()))
