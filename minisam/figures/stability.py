"""How far a mask moves when its threshold moves: real logits, an offset, and the quotient of two areas.

The outer mask is z > −δ, the inner one z > +δ, for the logits z of the image's size; stability is |inner| / |outer|.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minisam.figures.shared.states import Axis, State, states
from minisam_kernels.losses.stability_score import stability_score
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

    from minisam.sam import Sam

OFFSETS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
BAND = np.array([240, 228, 66])  # Okabe–Ito's yellow
INNER = np.array([0, 114, 178])  # and blue


def logits_at(sam: Sam, image: np.ndarray, point: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(3, H, W) logits of a point (x, y), of the image's size, and the three predicted IoU."""
    import minisam

    predictor = minisam.SamPredictor(sam)
    predictor.set_image(image)
    logits, iou, _ = predictor.predict(np.array([point]), np.array([1]), return_logits=True)
    return logits, iou


def words(logits: np.ndarray, offset: float, which: str) -> str:
    """The numbers of one mask's logits (H, W) at an offset."""
    inner, outer = int((logits > offset).sum()), int((logits > -offset).sum())
    low, high = (1 / (1 + np.exp(sign * offset)) for sign in (1, -1))
    score = float(stability_score(logits[None], 0.0, offset)[0])
    verdict = "passes" if score >= 0.95 else "fails"
    text = f"{score:.3f}, which {verdict} ≥ 0.95" if score == score else "0/0 = NaN, which fails every comparison"
    return (
        f"{which}, δ = {offset:g}: thresholds at probability {low:.3f} and {high:.3f}. "
        f"{inner} pixels inside {outer}: stability {text}."
    )


def draw(image: np.ndarray, logits: np.ndarray, offset: float, which: str) -> State:
    """The image with the inner mask and the band between the two; beside it, how many pixels have which logit."""
    import matplotlib.pyplot as plt

    inner, outer = logits > offset, logits > -offset
    shown = (0.45 * image + 0.55 * image.mean()).astype(float)
    shown[inner] = 0.45 * shown[inner] + 0.55 * INNER
    band = outer & ~inner
    shown[band] = 0.25 * shown[band] + 0.75 * BAND
    rows, columns = np.indices(band.shape)
    shown[band & ((rows + columns) % 8 < 2)] = 0  # hatched: not by colour alone
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.5), width_ratios=(1.35, 1))
    left.imshow(shown.astype(np.uint8))
    left.set_axis_off()
    left.set_title("blue: z > +δ. Hatched: z > −δ only", fontsize=11.5)
    most = float(np.clip(np.ceil(np.quantile(np.abs(logits), 0.99)), 2, 10))
    right.hist(np.clip(logits.ravel(), -most, most), bins=np.linspace(-most, most, 61), color="#999999")
    right.axvspan(-offset, offset, color="#F0E442", alpha=0.6, hatch="//", ec="black", lw=0)
    right.axvline(0, color="black", lw=1)
    right.set(yscale="log")
    right.set_xlabel(f"logit z (beyond ±{most:g} at the ends)", fontsize=11)
    right.set_title("pixels by logit", fontsize=11.5)
    right.tick_params(labelsize=10)
    figure.tight_layout()
    text = words(logits, offset, which)
    return State(figure, text, f"Two masks of one set of logits, the band between them hatched. {text}")


def stability(
    image: np.ndarray | None = None,
    point: Sequence[float] | None = None,
    sam: Sam | None = None,
    offsets: Sequence[float] = OFFSETS,
    source: str = "",
) -> ipywidgets.VBox:
    """A slider over the offset in logits, buttons for the three masks of a point.

    ``image`` (H, W, 3) uint8, ``point`` (x, y) in its pixels. Raises ``InputError`` for an offset below 0.
    """
    import minisam
    from minisam.figures.click import photos

    if not len(offsets) or not all(offset >= 0 for offset in offsets):
        raise InputError(f"expected offsets of at least 0, got {list(offsets)}")
    if image is None:
        photo = photos(["chelsea"])[0]
        image, point = photo.image, photo.point
    point = (image.shape[1] / 2, image.shape[0] / 2) if point is None else point
    logits, iou = logits_at(minisam.load("tiny") if sam is None else sam, image, point)
    names = [f"mask {i + 1}" for i in range(len(logits))]
    start = min(range(len(offsets)), key=lambda i: abs(offsets[i] - 1))
    return states(
        [Axis("mask", names, int(iou.argmax())), Axis("offset δ", [f"{offset:g}" for offset in offsets], start)],
        lambda i, j: draw(image, logits[i], offsets[j], names[i]),
        "The threshold moves from 0 to +1, and to −1. By how many per cent does the mask's area change?",
        source,
    )
