"""ScoreFigure: a mask over the truth. Move it, paint on it, and read what it scores. The figure of chapter 1.

The page counts by itself (``score.js``), so the figure is the same with a kernel and without one. ``measures`` here
gives the same numbers with the kernels, and a test compares the two. Masks travel to the page in COCO's own text
(``minisam_kernels.masks.rle_text``).

IoU, Dice and pixel accuracy come from four counts: pixels in both, missed, spilled, in neither. Boundary IoU (Cheng et
al. 2021) is the IoU of the two rims, the pixels of each mask within ``band`` pixels of its outline; the authors' band
is 2 % of the image's diagonal, measured in squares, and the image's border counts as outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from minisam.figures.shared.encoding import jpeg, mask_text
from minisam.figures.shared.subjects import Subject, subjects
from minisam_kernels.losses.iou import iou
from minisam_kernels.masks.box_from_mask import box_from_mask
from minisam_kernels.runtime.errors import InputError

HERE = Path(__file__).parent


def counts(mask: np.ndarray, truth: np.ndarray) -> dict[str, int]:
    """The four kinds of pixels of two masks (H, W) bool."""
    kinds = {"both": mask & truth, "missed": ~mask & truth, "spilled": mask & ~truth, "neither": ~mask & ~truth}
    return {kind: int(pixels.sum()) for kind, pixels in kinds.items()}


def band_of(shape: tuple[int, ...]) -> int:
    """The width in pixels of boundary IoU's rim for an image (H, W): 2 % of the diagonal, at least 1."""
    return max(1, round(0.02 * float(np.hypot(shape[0], shape[1]))))


def rim(mask: np.ndarray, band: int) -> np.ndarray:
    """The pixels of a mask (H, W) bool with something outside of it in their square of 2 · ``band`` + 1 pixels."""
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(mask, np.ones((2 * band + 1, 2 * band + 1), bool))


def measures(mask: np.ndarray, truth: np.ndarray, band: int | None = None) -> dict[str, float]:
    """IoU, Dice, pixel accuracy and boundary IoU of two masks (H, W) bool; NaN where it is 0/0.

    Raises ``InputError`` when they are not bool (H, W) of one shape."""
    i = float(iou(mask[None], truth[None])[0])
    area = int(mask.sum()) + int(truth.sum())
    band = band_of(mask.shape) if band is None else band
    return {
        "iou": i,
        "dice": 2 * int((mask & truth).sum()) / area if area else float("nan"),
        "accuracy": float((mask == truth).mean()),
        "boundary": float(iou(rim(mask, band)[None], rim(truth, band)[None])[0]),
    }


class ScoreFigure(anywidget.AnyWidget):
    """Move and paint a mask, and see IoU, Dice, pixel accuracy and boundary IoU. See ``score``."""

    _esm = "".join((HERE / name).read_text(encoding="utf-8") for name in ("shared/canvas.js", "score.js"))
    _css = "".join((HERE / name).read_text(encoding="utf-8") for name in ("click.css", "score.css"))

    subjects: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    source = traitlets.Unicode().tag(sync=True)


def score(objects: Subject | Sequence[Subject] | None = None, source: str = "") -> ScoreFigure:
    """The figure for one object or several; without any, for three scenes with the answers of the tiny model.

    Each begins with the mask of the model that came closest to the truth. ``source``: the address of this code, for the
    link below the figure. Raises ``InputError`` without an object, or when a truth is empty.
    """
    several = [objects] if isinstance(objects, Subject) else subjects(ORDER) if objects is None else list(objects)
    if not several:
        raise InputError("expected at least one object, got none")
    return ScoreFigure(subjects=[_packed(subject) for subject in several], source=source)


ORDER = ("a cup", "a pullover", "a car")


def _packed(subject: Subject) -> dict[str, Any]:
    """What the page gets: a JPEG to look at, and masks as COCO's text."""
    truth = subject.truth
    if not truth.any():
        raise InputError(f"expected {subject.title} to have pixels, got an empty truth")
    x0, y0, x1, y1 = box_from_mask(truth[None])[0]
    box = np.zeros_like(truth)
    box[y0 : y1 + 1, x0 : x1 + 1] = True
    starts = [(f"the model's mask {k + 1}", mask) for k, mask in enumerate(subject.masks)]
    starts += [("the box around the truth, filled", box), ("the whole image", np.ones_like(truth))]
    starts += [("nothing", np.zeros_like(truth)), ("the truth itself", truth)]
    return {
        "title": subject.title,
        "alt": subject.alt,
        "question": f"White line: the true outline of {subject.title}. Hatched: the mask of the model that came "
        "closest to it, green where it is right. How large is its IoU, on a scale from 0 to 1?",
        "jpeg": jpeg(subject.image, 90),
        "width": truth.shape[1],
        "height": truth.shape[0],
        "point": subject.point,
        "band": band_of(truth.shape),
        "truth": mask_text(truth),
        "starts": [{"name": name, "text": mask_text(mask)} for name, mask in starts],
        "start": subject.closest,
    }
