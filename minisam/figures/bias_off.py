"""bias_off: the masks of one click with parts of the encoder's positions set to zero.

The tables of relative positions, or the absolute positions, are replaced by zeros; all other weights stay. The model
was trained with them, so this shows what it has come to rely on, not what a model without them could learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.figures.click import Photo, photos
from minisam.figures.shared.overlay import GREEN
from minisam.figures.shared.states import Axis, State, states
from minisam.figures.shared.tokens import mark
from minisam.sam import Sam
from minisam_kernels.losses.iou import iou
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

OFF = ("nothing", "absolute positions", "relative, windows", "relative, global", "all relative")
QUESTION = (
    "Relative positions are one of two terms in a score. Set to zero, what will be left of the masks: the same, worse "
    "outlines, something else altogether? Which are missed more, those of the windowed or those of the global blocks?"
)


def without(sam: Sam, off: str) -> Sam:
    """A copy of the model with some positions zero: ``off`` is one of ``OFF``."""
    if off not in OFF:
        raise InputError(f"expected one of {', '.join(OFF)}, got {off!r}")
    state = sam.state_dict()
    wide = {f"image_encoder.blocks.{i}." for i in sam.config.encoder_global_attn_indexes}

    def zero(name: str) -> bool:
        if name == "image_encoder.pos_embed":
            return off == "absolute positions"
        if ".rel_pos_" not in name:
            return False
        is_global = any(name.startswith(block) for block in wide)
        return off == "all relative" or off == ("relative, global" if is_global else "relative, windows")

    return Sam(sam.config, {name: np.zeros_like(v) if zero(name) else v for name, v in state.items()})


def masks_of(sam: Sam, photo: Photo) -> tuple[np.ndarray, np.ndarray]:
    """Masks (3, H, W) and their scores (3,) for the photo's own point."""
    from minisam import SamPredictor

    predictor = SamPredictor(sam)
    predictor.set_image(photo.image)
    masks, scores, _ = predictor.predict(np.array([photo.point]), np.array([1]))
    return masks, scores


def bias_off(
    sam: Sam | None = None,
    images: Sequence[Photo | str] = ("chelsea", "coffee", "astronaut"),
    off: Sequence[str] = OFF,
    source: str = "",
) -> ipywidgets.VBox:
    """Buttons for the photographs and for what is zero. ``images``: names, or ``Photo``s with a point. Raises
    ``InputError`` for a photo without a point or another name in ``off``."""
    if sam is None:
        import minisam

        sam = minisam.load("tiny")
    chosen = [photos([image])[0] if isinstance(image, str) else image for image in images]
    if not chosen or any(photo.point is None for photo in chosen):
        raise InputError("expected photographs that each have a point")
    models: Mapping[str, Sam] = {name: without(sam, name) for name in off}
    normal = [masks_of(sam, photo) for photo in chosen]

    def draw(which: int, at: int) -> State:
        photo, name = chosen[which], off[at]
        usual, usual_scores = normal[which]
        masks, scores = masks_of(models[name], photo)
        overlap = iou(masks, usual)
        best = int(usual_scores.argmax())
        words = (
            f"{photo.title}; set to zero: {name}. The three masks have an IoU of "
            f"{', '.join(f'{v:.2f}' for v in overlap)} with the usual ones, and scores of "
            f"{', '.join(f'{v:.2f}' for v in scores)} (usually {', '.join(f'{v:.2f}' for v in usual_scores)}). "
            f"The usual favourite is mask {best + 1}."
        )
        return State(_panels(photo, masks, usual, overlap), words)

    axes = [Axis("Picture", [photo.title for photo in chosen]), Axis("Set to zero", list(off))]
    return states(axes, draw, QUESTION, source)


def _panels(photo: Photo, masks: np.ndarray, usual: np.ndarray, overlap: np.ndarray) -> Any:
    import matplotlib.pyplot as plt

    assert photo.point is not None
    height, width = photo.image.shape[:2]
    figure, all_axes = plt.subplots(1, 3, figsize=(7.5, 2.5 * height / width + 0.45))
    figure.subplots_adjust(0.005, 0.01, 0.995, 0.86, wspace=0.03)
    grey = photo.image.mean(axis=2)
    green = np.array([int(GREEN[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    for k, axes in enumerate(all_axes):
        axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
        axes.imshow(np.dstack([np.broadcast_to(green, (height, width, 3)), 0.6 * masks[k]]))
        if usual[k].any() and not usual[k].all():
            axes.contour(usual[k], levels=[0.5], colors="white", linewidths=1.5, linestyles="dashed")
        mark(axes, photo.point)
        axes.set_title(f"mask {k + 1}: IoU {overlap[k]:.2f}", fontsize=17)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure
