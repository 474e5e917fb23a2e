"""Figure of chapter 10: which of the three masks is closest to a whole, a part, a subpart, and which one is surest.

    from minisam.figures.who_wins import who_wins
    who_wins()

One point, uniform in the object as in a first round of training, for every object of some held-out scenes of the world.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.annotator import sample_pixel
from minisam.figures.shared.overlay import BLUE, ORANGE, SKY
from minisam.figures.shared.states import Axis, State, states
from minisam.figures.shared.subjects import scenes_with_objects
from minisam.figures.three_masks import overlaps
from minisam.world import HELD_OUT
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.sam import Sam

LEVELS = ("subpart", "part", "whole")
COLOURS, HATCHES = (ORANGE, BLUE, SKY), ("//", "", "..")
SEEDS = tuple(range(HELD_OUT + 100, HELD_OUT + 110))
MANY = 12  # objects of a scene at most, so that a crowd does not speak for all
LEAST, MOST = 0.002, 0.9  # of the image


@dataclass(frozen=True)
class Answers:
    """For N objects: ``level`` (N,) as a number of ``LEVELS``, true ``iou`` and ``predicted`` IoU (N, 3) of the three
    masks, and their ``area`` (N, 3) as a share of the image."""

    level: np.ndarray
    iou: np.ndarray
    predicted: np.ndarray
    area: np.ndarray


def ask(sam: Sam, seeds: Sequence[int] = SEEDS, chance: int = 0) -> Answers:
    """One click on every object that is neither tiny nor nearly everything."""
    from minisam import SamPredictor

    predictor, rng = SamPredictor(sam), np.random.default_rng(chance)
    rows: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
    for scene, objects in scenes_with_objects(seeds, rng, LEAST, MOST, MANY):
        predictor.set_image(scene.image)
        points = np.array([[sample_pixel(m.segmentation, float(rng.random()))] for m in objects], float)
        masks, predicted, _ = predictor.predict_batch(points, np.ones((len(objects), 1)))
        for truth, three, score in zip(objects, masks, predicted):
            iou = overlaps(three, truth.segmentation[None])[:, 0]
            rows.append((LEVELS.index(truth.level), iou, score, three.mean(axis=(1, 2))))
    if not rows:
        raise InputError(f"expected scenes with objects, got none in {list(seeds)}")
    level, iou, predicted, area = (np.array(column) for column in zip(*rows))
    return Answers(level, iou, predicted, area)


def shares(winner: np.ndarray, level: np.ndarray) -> np.ndarray:
    """winner (N,) 0, 1 or 2, level (N,) → (3 levels, 3 masks): how often each mask wins among objects of a level."""
    table = np.array([[((level == row) & (winner == mask)).sum() for mask in range(3)] for row in range(3)], float)
    return table / np.maximum(table.sum(axis=1, keepdims=True), 1)


def who_wins(sam: Sam | None = None, seeds: Sequence[int] = SEEDS, question: str = "", source: str = "") -> Any:
    """Buttons: the closest mask, the surest mask, and how large the masks are. sam: ``minisam.load("tiny")``."""
    import minisam

    answers = ask(sam or minisam.load("tiny"), seeds)
    axes = [Axis("count", ["closest to the truth", "highest predicted IoU", "area of the masks"])]
    return states(axes, lambda i: draw(answers, i), question, source)


def draw(answers: Answers, view: int) -> State:
    """A bar for each mask in each level of object."""
    from matplotlib.figure import Figure

    counts = [int((answers.level == row).sum()) for row in range(3)]
    if view < 2:
        values = shares((answers.iou if view == 0 else answers.predicted).argmax(axis=1), answers.level)
        label = "share of the objects"
    else:
        values = np.array(
            [answers.area[answers.level == row].mean(axis=0) if n else [0] * 3 for row, n in enumerate(counts)]
        )
        label = "mean share of the image"
    figure = Figure(figsize=(7.2, 3.3), layout="constrained")
    axes = figure.subplots()
    for mask in range(3):
        centres = np.arange(3) + 0.27 * (mask - 1)
        axes.bar(centres, values[:, mask], 0.25, color=COLOURS[mask], hatch=HATCHES[mask], edgecolor="white",
                 label=f"mask {mask + 1}")  # fmt: skip
        for x, value in zip(centres, values[:, mask]):
            axes.text(x, value, f"{value:.0%}", ha="center", va="bottom", fontsize=10)
    axes.set_xticks(
        range(3), [f"the click was in a {name}\n({n} objects)" for name, n in zip(LEVELS, counts)], fontsize=10
    )
    title = ("which mask is closest", "which mask is surest", "how large the masks are")[view]
    axes.set(ylabel=label, title=title, ylim=(0, 1.25 * max(values.max(), 0.01)))
    axes.legend(fontsize=10, frameon=False, ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    levels = [
        f"{name}: " + ", ".join(f"mask {k + 1} {v:.0%}" for k, v in enumerate(row)) for name, row in zip(LEVELS, values)
    ]
    return State(figure, f"{title.capitalize()} ({label}). " + "; ".join(levels) + ".")
