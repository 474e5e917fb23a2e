"""One place, asked about in different ways: what a label, a box or a fed-back mask changes. A figure of chapter 5.

Every answer is the plain decoder's, from tokens of the model's own prompt encoder. Labels 2 and 3 are no labels that a
user may give; here they are given all the same, one corner without the other, to see that a label is only a vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np

from minisam.figures.shared.decoder_steps import KINDS, Steps, decode_steps, overlap, watch, within_picture
from minisam.figures.shared.overlay import SKY
from minisam.figures.shared.paint import look, mark, outlined, painted, style
from minisam.figures.shared.states import Axis, State, states
from minisam.model.preprocess import apply_coords
from minisam.predictor import SamPredictor
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.sam import Sam

WAYS = (
    "label 1, foreground",
    "label 0, background",
    "label 2, top left corner",
    "label 3, bottom right corner",
    "label −1, no point",
    "a box",
    "label 1 in the box",
    "label 1 and its own answer as a mask",
)
LABELS = {0: 1, 1: 0, 2: 2, 3: 3, 4: -1}


def ask(
    predictor: SamPredictor, point: np.ndarray, box: np.ndarray, way: int, first: np.ndarray | None = None
) -> Steps:
    """The decoder's steps for ``WAYS[way]``: point (1, 2), box (4,), ``first`` the logits (1, L, L) to feed back."""
    if way in LABELS:
        assert predictor.original_size is not None
        encoder = predictor.model.prompt_encoder
        coords = apply_coords(point[None], predictor.original_size, predictor.model.config.image_size)
        coords = np.concatenate([coords, np.zeros_like(coords)], axis=1)  # and the point that is none
        sparse = encoder.embed_points(coords, np.array([[LABELS[way], -1]]))
        return watch(predictor, sparse, encoder.no_mask(), (KINDS[LABELS[way]], KINDS[-1]))
    point_too = way != 5
    return decode_steps(
        predictor,
        point if point_too else None,
        np.array([1]) if point_too else None,
        box if way in (5, 6) else None,
        first if way == 7 else None,
    )


def same_click(
    image: np.ndarray | None = None,
    point: tuple[float, float] | None = None,
    box: tuple[float, float, float, float] | None = None,
    sam: Sam | None = None,
    source: str = "",
) -> widgets.VBox:
    """Eight ways to ask about one place. image (H, W, 3) uint8; point (x, y) and box (x0, y0, x1, y1) in its pixels.

    The mask shown is always that of one mask token: the one that scores highest for label 1.
    """
    default = (75.0, 30.0, 480.0, 385.0) if image is None else None
    predictor, image, points = look(image, point, sam)
    height, width = image.shape[:2]
    if box is None:
        box = default or (0.1 * width, 0.1 * height, 0.9 * width, 0.9 * height)
    if np.shape(box) != (4,):
        raise InputError(f"expected a box as (x0, y0, x1, y1), got {box!r}")
    corners = np.array(box, np.float64)
    first = ask(predictor, points, corners, 0)
    best = first.best

    @style
    def draw(way: int) -> State:
        steps = ask(predictor, points, corners, way, first.logits[best][None])
        return draw_way(predictor, image, points[0], corners, way, steps, first, best)

    question = (
        "The same place is asked about eight times. What will the model draw when the point is called background "
        "instead of foreground? When it is called a corner? When it is called no point at all?"
    )
    return states([Axis("Asked with", WAYS)], draw, question, source)


def draw_way(
    predictor: SamPredictor,
    image: np.ndarray,
    point: np.ndarray,
    box: np.ndarray,
    way: int,
    steps: Steps,
    first: Steps,
    best: int,
) -> State:
    """One state: the prompt and the mask's outline on the image, and the logits."""
    logits = steps.logits[best]
    figure, left = outlined(predictor, image, WAYS[way][:36], logits, f"Logits of mask {best}")
    if way != 5:
        mark(left, point, "*" if LABELS.get(way, 1) == 1 else "o" if way == 1 else "X")
    if way in (5, 6):
        left.plot(box[[0, 2, 2, 0, 0]], box[[1, 1, 3, 3, 1]], "--", color=SKY, linewidth=2.5)
    mask = within_picture(logits, predictor)[0] > 0
    same = overlap(logits, first.logits[best], predictor)
    tokens = len(steps.names) - 1 - len(steps.vectors)
    words = (
        f"Asked with {WAYS[way]}: {tokens} prompt tokens. Mask {best} covers {mask.mean():.1%} of the image, "
        f"predicted IoU {steps.iou_predictions[best]:.2f}; its IoU with the answer to label 1 is {same:.2f}."
    )
    return State(painted(figure), words)
