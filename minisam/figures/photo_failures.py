"""Figure of chapter 15: failures on photographs, where nobody gives a truth.

    from minisam.figures.photo_failures import photo_failures
    photo_failures()              # the photographs of chapter 0
    photo_failures([image])       # yours

Two things can be measured without a truth. *Agreement*: click elsewhere in a mask; a model that knows an object gives
the same mask again, as one of the three. *Islands*: pieces of a mask away from its largest one. Low agreement and many
islands are doubts, not proofs: there are objects in pieces, and a mask can be wrong every time in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.figures.shared.atlas import grid_points
from minisam.figures.shared.overlay import SKY, VERMILION, outline, point, show, tint
from minisam.figures.shared.states import Axis, State, states
from minisam.figures.three_masks import overlaps
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor
    from minisam.sam import Sam

GRID, CLICKS, SHOWN = 4, 5, 4


@dataclass(frozen=True)
class Doubt:
    """A click (x, y), the mask (H, W) that the model is surest of and its score; the worst other click and the mask
    nearest to the first one there; the mean agreement (IoU); the islands' number and share of the mask."""

    point: tuple[float, float]
    mask: np.ndarray
    predicted: float
    other: tuple[float, float]
    again: np.ndarray
    agreement: float
    islands: int
    share: float


def islands(mask: np.ndarray) -> tuple[int, float]:
    """How many pieces a mask (H, W) has beside its largest, and their share of its pixels (8 neighbours)."""
    from scipy.ndimage import label

    pieces, count = label(mask, np.ones((3, 3)))
    if count < 2:
        return 0, 0.0
    areas = np.bincount(pieces.ravel())[1:]
    return count - 1, float(1 - areas.max() / areas.sum())


def examine(
    predictor: SamPredictor, click: tuple[float, float], rng: np.random.Generator, clicks: int = CLICKS
) -> Doubt:
    """Click at ``click``, then at ``clicks`` random pixels of the mask that comes. The image must be set already."""
    masks, scores, _ = predictor.predict(np.array([click]), np.array([1]))
    best = int(scores.argmax())
    mask = masks[best]
    pixels = np.argwhere(mask)
    if not len(pixels):
        return Doubt(click, mask, float(scores[best]), click, mask, 0.0, 0, 0.0)
    others = rng.choice(pixels, clicks)[:, None, ::-1].astype(float)  # (clicks, 1, 2) as (x, y)
    threes, _, _ = predictor.predict_batch(others, np.ones((clicks, 1)))
    ious = np.array([overlaps(three, mask[None])[:, 0] for three in threes])  # (clicks, 3)
    worst = int(ious.max(axis=1).argmin())
    again = threes[worst, int(ious[worst].argmax())]
    x, y = others[worst, 0]
    return Doubt(click, mask, float(scores[best]), (x, y), again, float(ious.max(axis=1).mean()), *islands(mask))


def collect(sam: Sam, images: Sequence[np.ndarray], grid: int = GRID) -> list[list[Doubt]]:
    """For each image the clicks on a grid, the least agreement first."""
    from minisam import SamPredictor

    predictor, rng, doubts = SamPredictor(sam), np.random.default_rng(0), []
    for image in images:
        predictor.set_image(image)
        points = [(float(x), float(y)) for x, y in grid_points((image.shape[0], image.shape[1]), grid)]
        doubts.append(sorted((examine(predictor, click, rng) for click in points), key=lambda doubt: doubt.agreement))
    return doubts


def photo_failures(
    images: Sequence[np.ndarray] | None = None, sam: Sam | None = None, shown: int = SHOWN, grid: int = GRID,
    question: str = "", source: str = "",
) -> Any:  # fmt: skip
    """Buttons for an image and for its ``shown`` most doubtful clicks. images: (H, W, 3) uint8 each."""
    import minisam
    from minisam.figures.click import photos

    if images is None:
        pictures = photos()
        images, names = [p.image for p in pictures], [p.title for p in pictures]
    else:
        names = [f"image {n + 1}" for n in range(len(images))]
    if not len(images):
        raise InputError("expected at least one image, got none")
    doubts = collect(sam or minisam.load("tiny"), images, grid)
    axes = [Axis("photograph", names), Axis("doubt", [str(n + 1) for n in range(min(shown, grid**2))])]
    return states(axes, lambda i, n: draw(images[i], doubts[i], names[i], n), question, source)


def draw(image: np.ndarray, doubts: Sequence[Doubt], name: str, n: int) -> State:
    """The first click with its mask; the second with the nearest that came there."""
    from matplotlib.figure import Figure

    now = doubts[n]
    agreement = np.array([doubt.agreement for doubt in doubts])
    pair = float(np.nan_to_num(overlaps(now.again[None], now.mask[None])[0, 0]))
    figure = Figure(figsize=(6.4, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    show(left, tint(image, now.mask, SKY, 0.55, dim=0.7), f"a click: score {now.predicted:.2f}")
    show(right, tint(image, now.again, VERMILION, 0.55, dim=0.7), f"a click inside it: IoU {pair:.2f}")
    outline(right, now.mask, SKY, "dashed", 1.5)
    point(left, *now.point, size=10)
    point(right, *now.other, size=10)
    words = f"{name}, click at ({now.point[0]:.0f}, {now.point[1]:.0f}). The mask with the highest score, "
    words += f"{now.predicted:.2f}, comes again with a mean IoU of {now.agreement:.2f} from {CLICKS} clicks inside it. "
    words += f"It has {now.islands} islands, {now.share:.0%} of it. "
    return State(figure, words + f"Mean agreement over the image's {len(doubts)} clicks: {agreement.mean():.2f}.")
