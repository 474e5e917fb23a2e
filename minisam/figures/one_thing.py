"""Figure of chapter 15: one thing changed at a time. Which property makes the model fail, and from where on?

    from minisam.figures.one_thing import one_thing
    one_thing()

A shape of noise on a ground of noise, 320 × 320 pixels, clicked inside. It is made thinner, smaller, paler, or cut in
two, and nothing else. The masks are the real model's; the images are as simple as can be, so that what changes is
known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.figures.shared.overlay import BLUE, ORANGE, SKY, layout, outline, point, show, tint
from minisam.figures.shared.states import Axis, State, states
from minisam.figures.three_masks import overlaps
from minisam.world.scene import SIZE as SIDE
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.sam import Sam

STEPS: dict[str, tuple[float, ...]] = {
    "thickness (px)": (2, 4, 6, 8, 12, 16, 24, 40),
    "diameter (px)": (4, 8, 12, 16, 24, 40, 80, 140),
    "contrast (spreads)": (0, 0.25, 0.5, 0.75, 1, 1.5, 2, 4),
    "gap in the middle (px)": (0, 2, 4, 6, 8, 12, 20, 32),
}


@dataclass(frozen=True)
class Try:
    """An image, its truth, the click and the best of three masks with its IoU; ``predicted``: the score it got."""

    image: np.ndarray
    truth: np.ndarray
    point: tuple[int, int]
    mask: np.ndarray
    iou: float
    predicted: float


def picture(changed: str, value: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """(image (320, 320, 3) uint8, truth, click): the ellipse with one property set, the others as they were.

    thickness: the short axis of an ellipse 140 long; diameter: of a disc; contrast: of a disc of 80, the difference
    of the mean greys in standard deviations of the noise; gap: a bar of 140 × 40 whose middle is cut out, so that it
    lies in two pieces, clicked on the left one.
    """
    if changed not in STEPS:
        raise InputError(f"expected one of {', '.join(STEPS)}, got {changed!r}")
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    across, along, spreads, gap = 80.0, 80.0, 4.0, 0.0
    if changed == "thickness (px)":
        across, along = value, 140.0
    elif changed == "diameter (px)":
        across = along = value
    elif changed == "contrast (spreads)":
        spreads = value
    else:
        across, along, gap = 40.0, 140.0, value
    if gap or changed.startswith("gap"):
        truth = (abs(x) < along / 2) & (abs(y) < across / 2) & (abs(x) >= gap / 2)
    else:
        truth = (2 * x / along) ** 2 + (2 * y / across) ** 2 < 1
    deviation = 12.0
    grey = 110 + deviation * np.random.default_rng(seed).normal(size=(SIDE, SIDE)) + spreads * deviation * truth
    image = np.repeat(grey.clip(0, 255).round().astype(np.uint8)[..., None], 3, axis=2)
    middle = SIDE // 2
    return image, truth, ((middle - 45, middle) if changed.startswith("gap") else (middle, middle))


def attempt(sam: Sam, changed: str, value: float, seed: int = 0) -> Try:
    """Click on the image; the best of the three masks by the truth."""
    from minisam import SamPredictor

    image, truth, click = picture(changed, value, seed)
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    masks, predicted, _ = predictor.predict(np.array([click], float), np.array([1]))
    iou = overlaps(masks, truth[None])[:, 0]
    k = int(iou.argmax())
    return Try(image, truth, click, masks[k], float(iou[k]), float(predicted[k]))


def one_thing(sam: Sam | None = None, seed: int = 0, question: str = "", source: str = "") -> Any:
    """Buttons for what is changed, a slider for how much. sam: ``minisam.load("tiny")`` if not given."""
    import minisam

    sam = sam or minisam.load("tiny")
    tries = {name: [attempt(sam, name, value, seed) for value in values] for name, values in STEPS.items()}
    names = list(STEPS)
    axes = [Axis("change", names), Axis("step", [str(n + 1) for n in range(len(next(iter(STEPS.values()))))])]
    return states(axes, lambda i, n: draw(tries[names[i]], names[i], n), question, source)


def draw(tries: list[Try], name: str, n: int) -> State:
    """The image, the mask, and the IoU over all steps."""
    now, values = tries[n], STEPS[name]
    figure, (left, middle, right) = layout(0.7)
    show(left, now.image, f"{name}: {values[n]:g}")
    show(middle, tint(now.image, now.mask, SKY, 0.6, dim=0.7), f"best of three, IoU {now.iou:.2f}")
    outline(middle, now.truth, ORANGE, "dashed", 1.4)
    point(left, *now.point, size=8)
    at = range(len(values))
    right.plot(at, [t.iou for t in tries], "o-", color=BLUE)
    right.plot([n], [now.iou], "s", markersize=11, markerfacecolor="none", markeredgecolor="black", markeredgewidth=2)
    right.set_xticks(at, [f"{value:g}" for value in values], fontsize=10)
    right.set(xlabel=name, ylabel="true IoU", ylim=(-0.03, 1.03))
    right.grid(alpha=0.3)
    words = f"{name} {values[n]:g}: true IoU {now.iou:.2f}, predicted {now.predicted:.2f}."
    return State(figure, f"{words} All steps: " + ", ".join(f"{v:g}: {t.iou:.2f}" for v, t in zip(values, tries)) + ".")
