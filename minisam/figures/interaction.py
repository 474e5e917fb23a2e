"""The annotator of appendix A in NumPy, and an interaction of eleven rounds with the predictor. Figure of chapter 10.

    from minisam.figures.interaction import interaction
    interaction()                        # objects of the world's scenes, whose masks are exact
    interaction(image, truth)            # a picture and a mask of yours

It is ``minisam.training.prompts`` and ``rounds.play`` once more, for one mask at a time and without torch, so that the
book can be read without it; where torch is installed a test plays both with the same chances and compares them.
Coordinates are (x, y) in pixels of a picture of side S.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.figures.shared.overlay import BLUE, SKY, VERMILION, layout, outline, show, tint
from minisam.figures.shared.overlay import point as mark
from minisam.figures.shared.states import Axis, State, states
from minisam.figures.three_masks import overlaps
from minisam.world import HELD_OUT, render
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor
    from minisam.sam import Sam

ROUNDS = 11
OBJECTS = ((HELD_OUT + 9, 4), (HELD_OUT + 35, 3), (HELD_OUT + 8, 12))  # scene, number of a mask


@dataclass(frozen=True)
class Chances:
    """All that is random in one interaction: ``box`` < ½ begins with a box; ``noise`` (4,) is standard normal;
    ``points`` (rounds,) in [0, 1) choose pixels; one round without a new point comes before later point ``pause``."""

    box: float
    noise: np.ndarray
    points: np.ndarray
    pause: int


def draw(seed: int, rounds: int = ROUNDS) -> Chances:
    """The chances of one interaction."""
    rng = np.random.default_rng(seed)
    pause = int(rng.integers(max(1, sum(new_points(rounds, rounds)))))
    return Chances(float(rng.random()), rng.normal(size=4), rng.random(rounds), pause)


def new_points(rounds: int, pause: int) -> list[bool]:
    """For each round after the first: does it bring a new point? Of ten, two do not: one at ``pause`` and the last."""
    pauses = min(2, (rounds - 1) // 5)
    new = [True] * (rounds - 1 - pauses)
    if pauses == 2:
        new.insert(min(pause, len(new)), False)
    return new + [False] * (pauses > 0)


def sample_pixel(region: np.ndarray, chance: float) -> tuple[int, int]:
    """(x, y) of pixel number ⌊chance · pixels⌋ of a region (H, W) in reading order: uniform if ``chance`` is."""
    rows, columns = np.nonzero(region)
    if not len(rows):
        raise InputError("expected a region of at least 1 pixel, got none")
    number = int(chance * len(rows))
    return int(columns[number]), int(rows[number])


def noisy_box(mask: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The box (4,) xyxy of a mask (S, S), every coordinate moved by σ = 10 % of its side, at most 20 of 1024 pixels."""
    rows, columns = np.nonzero(mask)
    size = mask.shape[1]
    box = np.array([columns.min(), rows.min(), columns.max(), rows.max()], np.float32)
    sides = np.tile(box[2:] - box[:2], 2)
    limit = 20 * size / 1024
    return (box + np.clip(noise * 0.1 * sides, -limit, limit)).clip(0, size - 1)


def correction(predicted: np.ndarray, truth: np.ndarray, chance: float) -> tuple[tuple[int, int], int]:
    """A click where the masks differ: on what is missing a foreground point (1), on what is too much a background
    point (0). Where nothing differs, a pixel of the truth is confirmed."""
    wrong = predicted ^ truth
    x, y = sample_pixel(wrong if wrong.any() else truth, chance)
    return (x, y), int(truth[y, x])


@dataclass(frozen=True)
class Round:
    """What the model was given and what it answered. ``points`` (P, 2) and ``labels`` (P,), the ``box`` or None; was
    there a ``new`` prompt, and were logits ``fed`` back; the ``mask`` (S, S), its ``predicted`` and true ``iou``."""

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None
    new: bool
    fed: bool
    mask: np.ndarray
    predicted: float
    iou: float


def play(predictor: SamPredictor, truth: np.ndarray, chances: Chances, rounds: int = ROUNDS) -> Iterator[Round]:
    """Yield the rounds of one interaction about ``truth`` (S, S); the predictor has seen the picture already.

    Round 1 asks for three masks and goes on with the one of the highest predicted IoU; all later rounds ask for the
    single mask, with every prompt so far and the last low-resolution logits.
    """
    if not truth.any():
        raise InputError("expected a truth of at least 1 pixel, got none")
    box = noisy_box(truth, chances.noise) if chances.box < 0.5 else None
    points: list[tuple[int, int]] = [] if box is not None else [sample_pixel(truth, float(chances.points[0]))]
    labels = [1] * len(points)
    plan = [True, *new_points(rounds, chances.pause)]
    logits = mask = None
    for number in range(rounds):
        if number and plan[number]:
            assert mask is not None
            place, label = correction(mask, truth, float(chances.points[number]))
            points, labels = [*points, place], [*labels, label]
        masks, predicted, low_res = predictor.predict(
            point_coords=np.array(points, float) if points else None,
            point_labels=np.array(labels) if points else None,
            box=box,
            mask_input=logits,  # logits, not yes and no
            multimask_output=number == 0,
        )
        best = int(predicted.argmax())
        mask, logits = masks[best], low_res[best : best + 1]
        iou = float(overlaps(mask[None], truth[None])[0, 0])
        coords = np.array(points, float).reshape(-1, 2)
        yield Round(coords, np.array(labels, int), box, plan[number], number > 0, mask, float(predicted[best]), iou)


@lru_cache(maxsize=16)
def scene_object(seed: int, number: int) -> tuple[np.ndarray, np.ndarray, str]:
    """The picture of a scene, its mask ``number`` and that mask's name."""
    scene = render(seed)
    if not 0 <= number < len(scene.masks):
        raise InputError(f"expected the number of one of {len(scene.masks)} masks, got {number}")
    return scene.image, scene.masks[number].segmentation, scene.masks[number].name


def cup() -> tuple[np.ndarray, np.ndarray, str]:
    """A photograph with an outline that we drew by hand: the saucer with the cup of ``skimage.data.coffee``.

    Two ellipses, judged by eye to a few pixels; nobody's ground truth, but good enough to see an annotator at work.
    """
    from minisam.figures.click import photos

    image = photos(["coffee"])[0].image
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    inside = [((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1 for cx, cy, rx, ry in CUP]
    return image, np.logical_or.reduce(inside), "cup and saucer, outlined by hand"


CUP = ((277, 222, 202, 166), (290, 113, 117, 96))  # ellipses (x, y, half width, half height)


def interaction(
    image: np.ndarray | None = None, truth: np.ndarray | None = None, sam: Sam | None = None,
    objects: Sequence[tuple[int, int]] = OBJECTS, photo: bool = True, seed: int = 0, rounds: int = ROUNDS,
    question: str = "", source: str = "",
) -> Any:  # fmt: skip
    """A slider over the rounds of an interaction, and buttons for what it is about.

    image (H, W, 3) uint8 with truth (H, W) bool: a picture of yours. Without them ``objects``, each the seed of a
    scene and the number of a mask, and with ``photo`` a photograph. sam: ``minisam.load("tiny")`` if not given.
    seed: of all chances; odd places in the list begin with a box.
    """
    import minisam

    sam = sam or minisam.load("tiny")
    if (image is None) != (truth is None):
        raise InputError("expected a picture and its truth, got one of them")
    if image is not None and truth is not None:
        about = [(image, np.asarray(truth, bool), "your object")]
    else:
        about = [scene_object(*each) for each in objects] + ([cup()] if photo else [])
    if not about:
        raise InputError("expected at least one object, got none")
    games = []
    for number, (picture, mask, _) in enumerate(about):
        predictor = minisam.SamPredictor(sam)
        predictor.set_image(picture)
        chances = draw(seed + number, rounds)
        chances = Chances(0.0 if number % 2 else 1.0, chances.noise, chances.points, chances.pause)
        games.append(list(play(predictor, mask, chances, rounds)))
    axes = [Axis("object", [name for _, _, name in about]), Axis("round", [str(n + 1) for n in range(rounds)])]
    return states(axes, lambda i, n: draw_round(*about[i], games[i], n), question, source)


def words(game: Sequence[Round], n: int) -> str:
    """What a round brought."""
    now = game[n]
    if n == 0:
        given = "a noisy box" if now.box is not None else "one point in the mask"
        begun = f"Round 1 of {len(game)}: {given}, three masks asked for, the most confident kept."
    elif not now.new:
        begun = f"Round {n + 1} of {len(game)}: no new point, only the last logits fed back."
    else:
        kind = "foreground: it was missing" if now.labels[-1] else "background: it was too much"
        x, y = now.points[-1].astype(int)
        begun = f"Round {n + 1} of {len(game)}: a point at ({x}, {y}), {kind}; the last logits fed back."
    change = f", {now.iou - game[n - 1].iou:+.2f}" if n else ""
    return f"{begun} True IoU {now.iou:.2f}{change}; predicted IoU {now.predicted:.2f}."


def draw_round(image: np.ndarray, truth: np.ndarray, name: str, game: Sequence[Round], n: int) -> State:
    """The mask of a round with its prompts; where it is wrong; the IoU so far."""
    now = game[n]
    figure, (left, middle, right) = layout(0.8)
    show(left, tint(image, now.mask, SKY, 0.5, dim=0.75), f"round {n + 1}: the mask")
    outline(left, truth, "#FFFFFF", "dashed", 1.2)
    for (x, y), label in zip(now.points, now.labels):
        mark(left, x, y, label, 8)
    if now.new and len(now.points):
        left.plot(
            *now.points[-1], "o", markersize=20, markerfacecolor="none", markeredgecolor=VERMILION, markeredgewidth=2
        )
    if now.box is not None:
        x0, y0, x1, y1 = now.box
        left.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=VERMILION, linewidth=1.5)
    missing, extra = truth & ~now.mask, now.mask & ~truth
    errors = tint(tint((image * 0.35).astype(np.uint8), missing, VERMILION, 0.9), extra, SKY, 0.9)
    show(middle, errors, "errors: missing (edged), too much")
    outline(middle, missing, VERMILION, "solid", 0.8)
    at = np.arange(1, len(game) + 1)
    right.plot(at, [r.iou for r in game], color=BLUE, marker="o", markersize=4, label="true IoU")
    right.plot(
        at,
        [r.predicted for r in game],
        color=VERMILION,
        marker="s",
        markersize=4,
        linestyle="dashed",
        label="predicted",
    )
    right.axvline(n + 1, color="0.6", linewidth=8, alpha=0.35, zorder=0)
    quiet = [m for m, r in enumerate(game) if not r.new]
    for values, shape, colour in (([r.iou for r in game], "o", BLUE), ([r.predicted for r in game], "s", VERMILION)):
        right.plot(at[quiet], [values[m] for m in quiet], shape, markersize=6, color="white", markeredgecolor=colour)
    right.set(xlabel="round", ylim=(0, 1.05), xticks=at[::2], title="IoU by round (hollow: no new point)")
    right.legend(fontsize=10, frameon=False, loc="upper left")
    right.grid(alpha=0.3)
    return State(figure, words(game, n), f"{name}. {words(game, n)}")
