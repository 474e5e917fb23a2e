"""The same rough mask, fed in as different numbers: why a mask prompt has to be logits. A figure of chapter 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np

from minisam.figures.shared.decoder_steps import decode_steps, overlap, within_picture
from minisam.figures.shared.paint import at_point, look, mark, outlined, painted, signed, style
from minisam.figures.shared.states import Axis, State, states
from minisam.model.preprocess import binary_mask_to_logits
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor
    from minisam.sam import Sam

FORMS = {
    "no mask": (0.0, False),
    "0 and 1": (1.0, True),
    "0 and 8": (8.0, True),
    "−1 and +1": (1.0, False),
    "−4 and +4": (4.0, False),
    "−8 and +8": (8.0, False),
    "−32 and +32": (32.0, False),
    "all zeros": (0.0, True),
}


def as_prompt(mask: np.ndarray, form: str, predictor: SamPredictor) -> np.ndarray | None:
    """A yes/no mask (H, W) → the numbers (1, L, L) of ``form``, one of ``FORMS``; None for no mask at all."""
    strength, binary = FORMS[form]
    if form == "no mask":
        return None
    signed = binary_mask_to_logits(mask, predictor.model.config, 1.0)
    return strength * np.maximum(signed, 0) if binary else strength * signed


def ellipse(shape: tuple[int, ...], centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """A filled ellipse (H, W) bool; centre and radii as (x, y) in pixels."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 < 1


def mask_prompt(
    image: np.ndarray | None = None,
    point: tuple[float, float] | None = None,
    masks: dict[str, np.ndarray] | None = None,
    sam: Sam | None = None,
    source: str = "",
) -> widgets.VBox:
    """A click and a rough mask, given in eight forms. image (H, W, 3) uint8, point (x, y), masks name → (H, W) bool.

    Each answer is mask token 0's, the single mask that several prompts ask for.
    """
    predictor, image, points = look(image, point, sam)
    height, width = image.shape[:2]
    if masks is None:
        x, y = points[0]
        masks = {
            "around the point": ellipse(image.shape, (x, y + 0.1 * height), (0.2 * width, 0.33 * height)),
            "somewhere else": ellipse(image.shape, (0.83 * width, 0.3 * height), (0.13 * width, 0.2 * height)),
        }
    wrong = [name for name, mask in masks.items() if np.shape(mask) != (height, width)]
    if wrong or not masks:
        raise InputError(f"expected masks of shape {(height, width)}, got others for {', '.join(wrong) or 'none'}")
    forms, names = list(FORMS), list(masks)

    @style
    def draw(which: int, form: int) -> State:
        return draw_prompt(predictor, image, points, masks[names[which]], forms[form])

    question = (
        "A click, and a rough mask (dashed) beside it. Fed in as 0 and 1, will the model take the mask for a mask? "
        "And what will it do with a mask in the wrong place?"
    )
    return states([Axis("Rough mask", names), Axis("Given as", forms, 1)], draw, question, source)


def draw_prompt(predictor: SamPredictor, image: np.ndarray, point: np.ndarray, rough: np.ndarray, form: str) -> State:
    """One state: the click, the rough mask (dashed), the answer's outline, and its logits."""
    prompt = as_prompt(rough, form, predictor)
    logits = decode_steps(predictor, point, np.array([1]), mask_input=prompt).logits[0]
    given = binary_mask_to_logits(rough, predictor.model.config, 1.0)[0]
    figure, left = outlined(predictor, image, f"Given: {form}", logits, "Logits of the answer", dashed=given)
    mark(left, point[0])
    covered = (within_picture(logits, predictor)[0] > 0).mean()
    words = (
        f"Rough mask given as {form}: the answer covers {covered:.1%} of the image, its IoU with the rough mask is "
        f"{overlap(logits, given, predictor):.2f}, and its logit at the click is "
        f"{signed(at_point(predictor, logits, point[0]))}."
    )
    return State(painted(figure), words)
