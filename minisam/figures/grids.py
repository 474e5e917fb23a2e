"""More points, more masks? The generator with grids from coarse to fine: what it finds, and what it takes.

Everything is ``SamAutomaticMaskGenerator.generate_encoded`` on one encoded image; seconds are this machine's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.figures.funnel import overlay
from minisam.figures.shared.candidates import ask, fitting
from minisam.figures.shared.states import Axis, State, states
from minisam_kernels.masks import rle
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

    from minisam.sam import Sam

SIDES = (1, 2, 4, 6, 8, 12, 16, 20)


@dataclass(frozen=True)
class Answer:
    """A grid's records and the seconds that they took."""

    side: int
    records: list[dict[str, Any]]
    seconds: float
    covered: float  # share of the image that some mask holds


def measure(sam: Sam, image: np.ndarray, sides: Sequence[int], **settings: Any) -> list[Answer]:
    """The generator's answers for every grid. ``settings``: the generator's arguments."""
    import minisam

    predictor = minisam.SamPredictor(sam)
    predictor.set_image(image)
    answers = []
    for side in sides:
        generator = minisam.SamAutomaticMaskGenerator(
            sam, points_per_side=side, output_mode="uncompressed_rle", **settings
        )
        start = time.perf_counter()
        records = generator.generate_encoded(predictor)
        seconds = time.perf_counter() - start
        union = np.zeros(image.shape[:2], bool)
        for record in records:
            union |= rle.decode(record["segmentation"]["counts"], image.shape[:2])
        answers.append(Answer(side, records, seconds, float(union.mean())))
    return answers


def words(grid: Answer) -> str:
    """The numbers of a grid."""
    points = grid.side**2
    each = 1e3 * grid.seconds / points
    areas = [record["area"] for record in grid.records]
    smallest = f", the smallest of {min(areas)} pixels" if areas else ""
    return (
        f"{grid.side} × {grid.side} points: {3 * points} candidates in {grid.seconds:.2f} s, {each:.1f} ms per point. "
        f"{len(grid.records)} masks stay{smallest}; together they cover {grid.covered:.0%} of the image."
    )


class _Drawn:
    """A record in the form that ``overlay`` wants."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.counts, self.iou = record["segmentation"]["counts"], record["predicted_iou"]


def draw(image: np.ndarray, answers: Sequence[Answer], index: int) -> State:
    """The image with the masks of a grid; beside it, masks and time by grid."""
    import matplotlib.pyplot as plt

    grid = answers[index]
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.8, 3.4), width_ratios=(1.3, 1))
    left.imshow(overlay(image, [_Drawn(record) for record in grid.records]))  # type: ignore[misc]
    middles = (np.arange(grid.side) + 0.5) / grid.side
    x, y = np.meshgrid(middles * image.shape[1], middles * image.shape[0])
    left.plot(x.ravel(), y.ravel(), "k+", ms=5)
    left.set_axis_off()
    left.set_title(f"{len(grid.records)} masks from {grid.side}² points", fontsize=12)
    sides = [f.side for f in answers]
    right.plot(sides, [len(f.records) for f in answers], "o-", color="#0072B2", label="masks")
    right.plot(grid.side, len(grid.records), "o", color="#0072B2", ms=13, mec="black")
    right.set_xlabel("points per side", fontsize=11)
    right.set_ylabel("masks", fontsize=11)
    other = right.twinx()
    other.plot(sides, [f.seconds for f in answers], "s--", color="#D55E00", label="seconds")
    other.set_ylabel("seconds", fontsize=11)
    handles = [*right.get_lines()[:1], *other.get_lines()]
    right.legend(handles=handles, loc="upper left", fontsize=10.5)
    figure.tight_layout()
    text = words(grid)
    return State(figure, text, f"The image with outlines, and curves of masks and seconds by grid. {text}")


def grids(
    image: np.ndarray | None = None, sam: Sam | None = None, sides: Sequence[int] = SIDES, source: str = "",
    **settings: Any,
) -> ipywidgets.VBox:  # fmt: skip
    """A slider over the points per side. ``image`` (H, W, 3) uint8.

    ``settings``: the generator's arguments; without, thresholds that a third of a coarse grid's candidates pass. Raises
    ``InputError`` without sides, and what the generator raises.
    """
    import minisam
    from minisam.figures.click import photos

    if not len(sides):
        raise InputError("expected at least one number of points per side, got none")
    sam = minisam.load("tiny") if sam is None else sam
    image = photos(["coffee"])[0].image if image is None else image
    if not settings:
        predictor = minisam.SamPredictor(sam)
        predictor.set_image(image)
        rules = fitting(ask(predictor, 6))
        settings = {
            "pred_iou_thresh": rules.pred_iou_thresh,
            "stability_score_thresh": rules.stability_score_thresh,
            "stability_score_offset": rules.stability_score_offset,
        }
    answers = measure(sam, image, sides, **settings)
    return states(
        [Axis("points per side", [str(side) for side in sides], len(sides) // 2)],
        lambda i: draw(image, answers, i),
        "Twice as many points per side are four times as many questions. How many times as many masks will they find?",
        source,
    )
