"""The funnel of the automatic generator: what comes in at every stage, what stays, and why the others do not.

The candidates and their fates come from ``candidates``: the real model, the real rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.figures.shared.candidates import STAGES, Candidate, Rules, ask, candidates, fitting, sift
from minisam.figures.shared.states import Axis, State, states
from minisam_kernels.masks import rle
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

    from minisam.sam import Sam

# Okabe–Ito, and a marker for each, so that neither is needed alone
FATES = {
    "predicted IoU": ("#D55E00", "x"),
    "stability": ("#E69F00", "+"),
    "box NMS": ("#CC79A7", "s"),
    "small regions": ("#F0E442", "v"),
    "": ("#56B4E9", "o"),
}
EXAMPLES = 6


def after(every: list[Candidate], stage: int) -> tuple[list[Candidate], list[Candidate]]:
    """Those that are left when STAGES[: stage + 1] are done, and those that the last of these dropped."""
    done = set(STAGES[: stage + 1])
    left = [c for c in every if c.dropped not in done or not c.dropped]
    return left, [c for c in every if c.dropped == STAGES[stage]]


def words(every: list[Candidate], rules: Rules, stage: int) -> str:
    """How many came, how many stay, and the commonest example of what was dropped."""
    left, gone = after(every, stage)
    rule = {
        "asked": f"{len(every) // 3} points, three masks each",
        "predicted IoU": f"predicted IoU above {rules.pred_iou_thresh:g}",
        "stability": f"stability at least {rules.stability_score_thresh:g} at ±{rules.stability_score_offset:g}",
        "box NMS": f"of boxes whose IoU is above {rules.box_nms_thresh:g} the best",
        "small regions": f"holes and islands under {rules.min_mask_region_area} pixels cleaned",
    }[STAGES[stage]]
    if stage == 0:
        return f"{rule}: {len(left)} candidates."
    text = f"Stage {stage}, {rule}: {len(left) + len(gone)} came, {len(gone)} dropped, {len(left)} stay."
    if STAGES[stage] == "stability":
        empty = sum(c.stability != c.stability for c in gone)
        text += f" {empty} of the dropped were empty (NaN)."
    return text + (f" Dropped for example: {gone[0].reason}." if gone else "")


def overlay(image: np.ndarray, some: Iterable[Candidate]) -> np.ndarray:
    """The image with the outlines of masks, the least sure first."""
    shown = (0.6 * image + 60).clip(0, 255)
    colours = ([0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [0, 0, 0], [230, 159, 0])
    for k, c in enumerate(sorted(some, key=lambda c: c.iou)[-60:]):
        mask = rle.decode(c.counts, image.shape[:2])
        inside = mask.copy()
        for shift in ((2, 0), (-2, 0), (0, 2), (0, -2)):
            inside &= np.roll(mask, shift, (0, 1))
        shown[mask & ~inside] = colours[k % len(colours)]
    return shown.astype(np.uint8)


def draw_map(image: np.ndarray, every: list[Candidate], rules: Rules, stage: int, title: str) -> State:
    """The masks that are left, and at every point the fates so far."""
    import matplotlib.pyplot as plt

    left, _ = after(every, stage)
    figure, axes = plt.subplots(figsize=(6.4, 5.2 if image.shape[0] < image.shape[1] else 6.4))
    axes.imshow(overlay(image, left) if stage else image)
    points: dict[tuple[float, float], list[Candidate]] = {}
    for c in every:
        points.setdefault(c.point, []).append(c)
    shown: dict[str, list[tuple[float, float]]] = {}
    done = set(STAGES[: stage + 1])
    for point, three in points.items():
        alive = [c for c in three if c.dropped not in done or not c.dropped]
        fate = "" if alive else max((c.dropped for c in three), key=STAGES.index)
        shown.setdefault(fate, []).append(point)
    for fate, where in shown.items():
        colour, marker = FATES[fate]
        label = f"{len(where)} points with a mask" if not fate else f"{len(where)} lost their last mask: {fate}"
        edge: dict[str, Any] = {} if marker in "x+" else {"edgecolors": "black", "linewidths": 0.6}
        x, y = np.array(where).T
        axes.scatter(x, y, s=34, c=colour, marker=marker, label=label, zorder=3, **edge)
    axes.set_axis_off()
    axes.legend(fontsize=10.5, loc="upper left", bbox_to_anchor=(0, 0), frameon=False)
    axes.set_title(f"{title}: after “{STAGES[stage]}”", fontsize=12)
    text = words(every, rules, stage)
    return State(figure, text, f"{title} with the grid of points and the outlines of the masks that are left. {text}")


def examples(gone: list[Candidate], count: int = EXAMPLES) -> list[Candidate]:
    """Some of the dropped, spread over them."""
    return [gone[i] for i in np.unique(np.linspace(0, len(gone) - 1, min(count, len(gone))).round().astype(int))]


def draw_examples(image: np.ndarray, every: list[Candidate], rules: Rules, stage: int, title: str) -> State:
    """A few of the masks that the stage dropped (after the last one or before the first: that stay), with reasons."""
    import textwrap

    import matplotlib.pyplot as plt

    left, gone = after(every, stage)
    some = examples(gone if stage else left)
    figure, grid = plt.subplots(2, 3, figsize=(7.4, 5.4))
    told = []
    for k, axes in enumerate(grid.flat):
        axes.set_axis_off()
        if k >= len(some):
            continue
        c = some[k]
        mask = rle.decode(c.counts, image.shape[:2])
        shown = 0.5 * image + 64.0
        shown[mask] = 0.45 * shown[mask] + 0.55 * np.array([0, 114, 178])
        axes.imshow(shown.astype(np.uint8))
        axes.plot(*c.point, "P", color="#F0E442", mec="black", ms=9)
        reason = c.reason if stage else f"mask {c.number}: predicted IoU {c.iou:.3f}, stability {c.stability:.3f}"
        axes.set_title("\n".join(textwrap.wrap(reason, 28)[:4]), fontsize=9.5)
        told.append(reason)
    figure.tight_layout(h_pad=2.5)
    what = f"dropped by “{STAGES[stage]}”" if stage else "of those asked for"
    text = f"{title}, {len(some)} {what}: " + "; ".join(told) + "." if some else f"{title}: none {what}."
    return State(figure, text, f"Small images of masks. {text}")


def funnel(
    pictures: dict[str, np.ndarray] | None = None,
    sam: Sam | None = None,
    points_per_side: int = 12,
    rules: Rules | None = None,
    source: str = "",
) -> ipywidgets.VBox:
    """Buttons for the image, the stage, and the view: where on the image, or which masks and why.

    ``pictures``: title → (H, W, 3) uint8. ``rules``: without, thresholds that a third of the candidates pass, and a
    third of these, because a small model is not sure of itself. Raises ``InputError`` without an image.
    """
    import minisam
    from minisam.figures.click import photos
    from minisam.world import HELD_OUT, render

    if pictures is None:
        pictures = {"photo": photos(["coffee"])[0].image, "world scene": render(HELD_OUT + 3).image}
    if not pictures:
        raise InputError("expected at least one image, got none")
    predictor = minisam.SamPredictor(minisam.load("tiny") if sam is None else sam)
    known = []
    for title, image in pictures.items():
        predictor.set_image(image)
        answers = ask(predictor, points_per_side)
        used = rules or replace(fitting(answers), min_mask_region_area=100)
        every = candidates(answers, used.stability_score_offset)
        sift(every, used, image.shape[:2])
        known.append((image, every, used, title))
    views = (draw_map, draw_examples)

    def draw(picture: int, stage: int, view: int) -> State:
        image, every, used, title = known[picture]
        return views[view](image, every, used, stage, title)

    axes = [Axis("picture", list(pictures)), Axis("stage", STAGES), Axis("view", ("where", "which and why"))]
    question = f"{points_per_side**2} points are asked for three masks each. How many different masks will be left?"
    return states(axes, draw, question, source)
