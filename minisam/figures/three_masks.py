"""Figure of chapter 9: one click, three masks, beside every truth that the click could have meant.

    from minisam.figures.three_masks import three_masks
    three_masks()                                     # scenes of the world, whose parts are known
    three_masks(image, point=(x, y))                  # an image of yours, without truths

Everything shown is measured: the masks and the predicted IoU by the model, the true IoU and the containment by counting
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.figures.shared.overlay import GREEN, ORANGE, PURPLE, SKY, STYLES, layout, outline, point, show, tint
from minisam.figures.shared.states import Axis, State, states
from minisam.world import HELD_OUT
from minisam.world.nested import Question, question
from minisam.world.scene import SIZE
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.sam import Sam

SEEDS = tuple(HELD_OUT + number for number in (9, 8, 19, 1, 32, 24, 35, 14))  # three truths around each point
TRUTH_COLOURS = (ORANGE, GREEN, SKY)  # subpart, part, whole: the inner one first
MASK_COLOUR = PURPLE


def containment(masks: np.ndarray) -> np.ndarray:
    """masks (K, H, W) bool → (K, K): the share of mask i (row) that lies inside mask j (column). Empty: NaN."""
    flat = masks.reshape(len(masks), -1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return (flat @ flat.T) / flat.sum(axis=1, keepdims=True)


def overlaps(masks: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """masks (M, H, W), truths (K, H, W) bool → their IoU (M, K)."""
    a, b = (m.reshape(len(m), m.shape[1] * m.shape[2]).astype(np.float64) for m in (masks, truths))
    both = a @ b.T
    return both / (a.sum(axis=1)[:, None] + b.sum(axis=1) - both)


@dataclass(frozen=True)
class Answers:
    """What the model says to one click: three masks (3, H, W), predicted IoU (3,), IoU with the truths (3, K), and how
    much of each mask lies in each (3, 3)."""

    image: np.ndarray
    point: tuple[int, int]
    truths: np.ndarray
    names: tuple[str, ...]
    masks: np.ndarray
    predicted: np.ndarray
    true: np.ndarray
    inside: np.ndarray


def answers(sam: Sam, image: np.ndarray, click: tuple[int, int], truths: np.ndarray, names: Sequence[str]) -> Answers:
    """Ask the model for three masks at ``place`` (x, y) and measure them."""
    from minisam import SamPredictor

    predictor = SamPredictor(sam)
    predictor.set_image(image)
    masks, predicted, _ = predictor.predict(np.array([click], float), np.array([1]), multimask_output=True)
    return Answers(image, click, truths, tuple(names), masks, predicted, overlaps(masks, truths), containment(masks))


@lru_cache(maxsize=32)
def known(seed: int, size: int = SIZE) -> Question:
    """The ambiguous point of a scene with three truths, drawn ``size`` pixels wide."""
    scene_and_point = question(seed, size, depth=3, least=0.004)
    if scene_and_point is None:
        raise InputError(f"expected the seed of a scene with a part in a part in a whole, got {seed}")
    return scene_and_point


def three_masks(
    image: np.ndarray | None = None, point: tuple[int, int] | None = None, sam: Sam | None = None,
    seeds: Sequence[int] = SEEDS, question: str = "", source: str = "",
) -> Any:  # fmt: skip
    """A slider over clicks and one over the three masks of each.

    image (H, W, 3) uint8 with point (x, y) in pixels: one click on an image of yours, whose truths nobody knows.
    Without them the clicks are on scenes of the world: ``seeds``. sam: a model, ``minisam.load("tiny")`` if not given.
    Raises ``InputError`` for an image without a point.
    """
    import minisam

    sam = sam or minisam.load("tiny")
    if image is not None:
        if point is None:
            raise InputError("expected a point (x, y) with the image, got none")
        asked = [answers(sam, image, point, np.zeros((0, *image.shape[:2]), bool), ())]
        clicks = ["your image"]
    else:
        if not len(seeds):
            raise InputError("expected at least one seed of a scene, got none")
        scenes = [known(seed) for seed in seeds]
        named = [[f"{n} ({level})" for n, level in zip(q.names, q.levels)] for q in scenes]
        asked = [answers(sam, q.scene.image, q.point, q.truths, names) for q, names in zip(scenes, named)]
        clicks = [q.names[0] for q in scenes]
    axes = [Axis("click on", clicks), Axis("mask", ["1", "2", "3"], int(asked[0].predicted.argmax()))]
    return states(axes, lambda i, k: draw(asked[i], k), question, source)


def words(a: Answers, k: int) -> str:
    """One mask in numbers."""
    order = int((a.predicted > a.predicted[k]).sum()) + 1
    sentences = f"Mask {k + 1} of 3: predicted IoU {a.predicted[k]:.2f} (number {order} of the three)"
    sentences += f", covers {a.masks[k].mean():.1%} of the image."
    if len(a.truths):
        measured = ", ".join(f"{iou:.2f} with {name}" for iou, name in zip(a.true[k], a.names))
        sentences += f" True IoU: {measured}."
    others = [j for j in range(3) if j != k]
    if a.masks[k].any():
        shares = " and ".join(f"{a.inside[k, j]:.0%} of it in mask {j + 1}" for j in others)
        sentences += f" Containment: {shares}."
    return sentences


def draw(a: Answers, k: int) -> State:
    """The truths around the point; mask ``k``; its IoU with each truth; what lies in what."""
    figure, (left, middle, right) = layout(0.95, (6.4, 5.9))
    show(left, a.image, "what the click could mean" if len(a.truths) else "the click")
    for truth, colour, style in reversed(list(zip(a.truths, TRUTH_COLOURS, STYLES))):
        outline(left, truth, colour, style)
    point(left, *a.point)
    show(middle, tint(a.image, a.masks[k], MASK_COLOUR, dim=0.6), f"mask {k + 1} of the model")
    outline(middle, a.masks[k], MASK_COLOUR)
    point(middle, *a.point)
    bars(right, a, k)
    return State(figure, words(a, k), f"A click, the truths around it, and mask {k + 1}. {words(a, k)}")


def bars(axes: Any, a: Answers, k: int) -> None:
    """Predicted IoU and, where truths are known, the true ones, as bars with their numbers."""
    names = ["predicted IoU", *(f"IoU: {name}" for name in a.names)]
    values = [float(a.predicted[k]), *a.true[k].tolist()]
    colours, hatches = [MASK_COLOUR, *TRUTH_COLOURS], ["", "//", "..", "xx"]
    for row, (value, colour, hatch) in enumerate(zip(values, colours, hatches)):
        axes.barh(row, max(value, 0.0), color=colour, hatch=hatch, edgecolor="white", height=0.62)
        axes.text(0.02, row - 0.36, f"{names[row]}  {value:.2f}", va="bottom", fontsize=10)
    axes.set(xlim=(0, 1.05), ylim=(len(values) - 0.5, -0.75), yticks=[], xticks=[0, 0.5, 1])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title("how good a mask", fontsize=11)
