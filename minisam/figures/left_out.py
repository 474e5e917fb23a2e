"""The decoder with a part left out: what each part is worth for one click. The third figure of chapter 6."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np

from minisam.figures.shared.decoder_steps import PARTS, Steps, decode_steps, overlap, within_picture
from minisam.figures.shared.paint import look, mark, outlined, painted, style
from minisam.figures.shared.states import Axis, State, states

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor
    from minisam.sam import Sam

LEFT_OUT = ("nothing", *PARTS)


def left_out(
    image: np.ndarray | None = None,
    point: tuple[float, float] | None = None,
    sam: Sam | None = None,
    source: str = "",
) -> widgets.VBox:
    """Choose what the decoder has to do without; the mask is that of the token with the highest score when it has
    everything. image (H, W, 3) uint8; point (x, y) in its pixels."""
    predictor, image, points = look(image, point, sam)
    whole = decode_steps(predictor, points, np.array([1]))
    best = whole.best

    @style
    def draw(part: int) -> State:
        steps = decode_steps(predictor, points, np.array([1]), without=[LEFT_OUT[part]] if part else [])
        return draw_left_out(predictor, image, points[0], LEFT_OUT[part], steps, whole, best)

    question = (
        "The weights were trained with every part in place. Which part, left out, will spoil the mask most: the "
        "image's answer to the tokens, the positions of the image, or the last look at it?"
    )
    return states([Axis("Without", LEFT_OUT)], draw, question, source)


def draw_left_out(
    predictor: SamPredictor, image: np.ndarray, point: np.ndarray, part: str, steps: Steps, whole: Steps, best: int
) -> State:
    """One state: the mask without ``part`` and (dashed) with everything, and the logits without it."""
    title = "Nothing left out" if part == "nothing" else f"Without {part}"
    logits, all_in = steps.logits[best], whole.logits[best]
    figure, left = outlined(predictor, image, title, logits, f"Logits of mask {best}", dashed=all_in)
    mark(left, point)
    got, want = (within_picture(grid, predictor)[0] for grid in (logits, all_in))
    words = (
        f"Left out: {part}. Mask {best} covers {(got > 0).mean():.1%} of the image, its IoU with the whole decoder's "
        f"mask is {overlap(logits, all_in, predictor):.2f}, and the logits differ by up to "
        f"{np.abs(got - want).max():.2f}."
    )
    return State(painted(figure), words)
