"""The annotator, simulated: where a person would click next, and the rounds that a model plays with one.

Two annotators share a file. The one of training (paper, appendix A) clicks on any pixel of what is wrong, so that a
model learns from all of them; ``minisam.training.prompts`` is the same one in torch, for a batch of masks, and a test
compares the two click by click. The one of an evaluation (paper, section 7.1) is deterministic: it clicks on the centre
of an error, the pixel farthest from the error's boundary.

Coordinates are (x, y) in pixels of the image, and a pixel (row, column) is clicked at (column, row), the convention of
the official code. The half pixel comes later, in the position encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from minisam_kernels.losses.iou import iou_numpy
from minisam_kernels.masks.box_from_mask import box_from_mask
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor

ROUNDS = 11  # of one mask in the paper's training
PAUSES = 5  # one round in so many brings no new point: 2 of the 10 after the first, as in the paper

Point = tuple[int, int]
Click = tuple[Point, int]  # (x, y), and the label: 1 for foreground, 0 for background


@dataclass(frozen=True)
class Chances:
    """All that is random in one interaction.

    An interaction with ``box`` < ½ begins with a box, whose ``noise`` (4,) is standard normal. ``points`` (rounds,),
    uniform in [0, 1), choose pixels. One round without a new point comes before the later point number ``pause``.
    """

    box: float
    noise: np.ndarray
    points: np.ndarray
    pause: int


def draw(seed: int, rounds: int = ROUNDS) -> Chances:
    """Draw the chances of one interaction."""
    rng = np.random.default_rng(seed)
    pause = int(rng.integers(max(1, sum(new_points(rounds, rounds)))))
    return Chances(float(rng.random()), rng.normal(size=4), rng.random(rounds), pause)


def new_points(rounds: int, pause: int) -> list[bool]:
    """For each round after the first: does it bring a new point?

    Of eleven rounds two do not: one before the point number ``pause`` of the eight, and the last. Shorter interactions
    keep the share: six to ten rounds end with one, and five or fewer have none.
    """
    pauses = min(2, (rounds - 1) // PAUSES)
    new = [True] * (rounds - 1 - pauses)
    if pauses == 2:
        new.insert(min(pause, len(new)), False)
    return new + [False] * (pauses > 0)


def chance_by_area(areas: np.ndarray) -> np.ndarray:
    """The chance of each object to be asked for, ∝ √area: else most would belong to crowds of small things."""
    weights = areas**0.5
    return weights / weights.sum()


# ---- training: any pixel, a noisy box ------------------------------------------------------------------------------


def sample_pixel(region: np.ndarray, chance: float) -> Point:
    """Pixel number ⌊chance · pixels⌋ of a region (H, W) bool in reading order: uniform if ``chance`` is."""
    rows, columns = np.nonzero(region)
    if not len(rows):
        raise InputError("expected a region of at least 1 pixel, got none")
    number = int(chance * len(rows))
    return int(columns[number]), int(rows[number])


def noisy_box(mask: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The box (4,) xyxy of a mask (S, S), every coordinate moved by σ = 10 % of its side, at most 20 of 1024 pixels."""
    if not mask.any():
        raise InputError("expected a mask of at least 1 pixel, got none")
    size = mask.shape[1]
    box = box_from_mask(mask[None])[0].astype(np.float32)
    sides = np.tile(box[2:] - box[:2], 2)
    limit = 20 * size / 1024
    return (box + np.clip(noise * 0.1 * sides, -limit, limit)).clip(0, size - 1)


def correction(predicted: np.ndarray, truth: np.ndarray, chance: float) -> Click:
    """A click on any pixel where two masks (H, W) bool differ.

    A missed pixel becomes a foreground point, a wrongly covered one a background point. Where nothing differs, a pixel
    of the truth is confirmed.
    """
    wrong = predicted ^ truth
    x, y = sample_pixel(wrong if wrong.any() else truth, chance)
    return (x, y), int(truth[y, x])


# ---- evaluation: the centre, the tight box -------------------------------------------------------------------------


def _depth(mask: np.ndarray) -> np.ndarray:
    """The distance of every pixel of a mask (H, W) to what lies outside, also outside the image."""
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]


def _deepest(depth: np.ndarray) -> Point:
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(column), int(row)


def centre_point(mask: np.ndarray) -> Point:
    """The pixel of a mask (H, W) bool that is farthest from whatever lies outside, also outside the image."""
    return _deepest(_depth(mask))


def next_click(predicted: np.ndarray, truth: np.ndarray) -> Click:
    """A click on the centre of the larger error between two masks (H, W) bool.

    Larger is the error, missing or too much, whose centre is farther from its boundary. Where nothing differs, the
    truth's centre is confirmed.
    """
    missing, extra = _depth(truth & ~predicted), _depth(predicted & ~truth)
    if not missing.any() and not extra.any():
        return centre_point(truth), 1
    return (_deepest(missing), 1) if missing.max() >= extra.max() else (_deepest(extra), 0)


def tight_box(mask: np.ndarray) -> np.ndarray:
    """x0, y0, x1, y1 of a mask (H, W) bool: the first, and one past the last, column and row that it covers."""
    return box_from_mask(mask[None])[0] + (0, 0, 1, 1)


# ---- rounds with a predictor ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Round:
    """What the model was given in a round, and what it answered.

    Given were ``points`` (P, 2) with ``labels`` (P,) and the ``box`` or None; ``new`` says whether one of them was new,
    ``fed`` whether logits were fed back. The answer is a ``mask`` (H, W) with its ``predicted`` and its true ``iou``.
    """

    points: np.ndarray
    labels: np.ndarray
    box: np.ndarray | None
    new: bool
    fed: bool
    mask: np.ndarray
    predicted: float
    iou: float


def interact(
    predictor: SamPredictor,
    truth: np.ndarray,
    first: Point | None,
    box: np.ndarray | None,
    new: Sequence[bool],
    click: Callable[[int, np.ndarray], Click],
) -> Iterator[Round]:
    """Yield the rounds of an interaction about ``truth`` (H, W) bool; the predictor has seen the image already.

    Round 1 has the ``first`` point or the ``box``. It asks for three masks and goes on with the one of the highest
    predicted IoU. Each later round asks for the single mask, with every prompt so far and the last low-resolution
    logits; if it is ``new``, it has one more point: ``click(number of the round from 0, last mask)``.
    """
    points = [] if first is None else [first]
    labels = [1] * len(points)
    logits = mask = None
    for number, brings_point in enumerate([True, *new]):
        if number and brings_point:
            assert mask is not None
            point, label = click(number, mask)
            points, labels = [*points, point], [*labels, label]
        masks, predicted, low_res = predictor.predict(
            point_coords=np.array(points, float) if points else None,
            point_labels=np.array(labels) if points else None,
            box=box,
            mask_input=logits,  # logits, not yes and no
            multimask_output=number == 0,
        )
        best = int(predicted.argmax())
        mask, logits = masks[best], low_res[best : best + 1]
        iou = float(iou_numpy(mask[None], truth[None])[0])
        coords = np.array(points, float).reshape(-1, 2)
        yield Round(coords, np.array(labels, int), box, brings_point, number > 0, mask, float(predicted[best]), iou)


def play(predictor: SamPredictor, truth: np.ndarray, chances: Chances, rounds: int = ROUNDS) -> Iterator[Round]:
    """Yield the rounds of training about ``truth`` (S, S) bool: see ``interact``."""
    if not truth.any():
        raise InputError("expected a truth of at least 1 pixel, got none")
    box = noisy_box(truth, chances.noise) if chances.box < 0.5 else None
    first = sample_pixel(truth, float(chances.points[0])) if box is None else None

    def click(number: int, mask: np.ndarray) -> Click:
        return correction(mask, truth, float(chances.points[number]))

    yield from interact(predictor, truth, first, box, new_points(rounds, chances.pause), click)
