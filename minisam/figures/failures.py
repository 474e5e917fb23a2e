"""Figures of chapter 15: where the model fails on scenes whose truth is known, and what is measurably odd about them.

    from minisam.figures.failures import gallery, suspects
    gallery()          # the objects with the lowest true IoU, with their measurements
    suspects()         # IoU against thickness, size, contrast and disconnectedness

Each object of some held-out scenes gets one click on its centre, the pixel farthest from its border, and is credited
with the *best* of the three masks: so what is left is not ambiguity, or not only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.annotator import centre_point
from minisam.figures.shared.overlay import BLUE, ORANGE, SKY, VERMILION, layout, outline, point, show, tint
from minisam.figures.shared.states import Axis, State, states
from minisam.figures.shared.subjects import scenes_with_objects
from minisam.figures.three_masks import overlaps
from minisam.world import HELD_OUT
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.sam import Sam

SEEDS = tuple(range(HELD_OUT + 200, HELD_OUT + 212))
MANY, LEAST, MOST = 10, 0.001, 0.9  # objects per scene; their area as a share of the image
RING = 5  # pixels around an object that count as its surroundings

# property → what a small or large value means, unit, and whether small values are the suspicious ones
PROPERTIES = {
    "thickness": ("thin", "px", True),
    "size": ("small", "% of the image", True),
    "contrast": ("hardly different from what is around it", "", True),
    "scattered": ("in pieces", "% outside the largest piece", False),
}


def thickness(mask: np.ndarray) -> float:
    """The diameter in pixels of the largest circle in a mask (H, W): twice the largest distance to the outside."""
    from scipy.ndimage import distance_transform_edt

    return 2 * float(distance_transform_edt(np.pad(mask, 1)).max())


def contrast(image: np.ndarray, mask: np.ndarray) -> float:
    """Distance of the mean colours inside a mask and in a ring around it, in units of their spread; image (H, W, 3).

    The spread is the root of the mean of both variances, summed over colours. 0 is perfect camouflage; where there is
    no outside it is 0 too.
    """
    from scipy.ndimage import binary_dilation

    ring = binary_dilation(mask, iterations=RING) & ~mask
    if not ring.any() or not mask.any():
        return 0.0
    inside, outside = image[mask].astype(float), image[ring].astype(float)
    spread = np.sqrt((inside.var(axis=0).sum() + outside.var(axis=0).sum()) / 2)
    return float(np.linalg.norm(inside.mean(axis=0) - outside.mean(axis=0)) / max(spread, 1.0))


def scattered(mask: np.ndarray) -> float:
    """The share of a mask's pixels in per cent that are not in its largest connected piece (8 neighbours)."""
    from scipy.ndimage import label

    pieces, count = label(mask, np.ones((3, 3)))
    if not count:
        return 0.0
    areas = np.bincount(pieces.ravel())[1:]
    return 100 * float(1 - areas.max() / areas.sum())


def measure(image: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """All properties of one object."""
    size = 100 * float(mask.mean())
    return {"thickness": thickness(mask), "size": size, "contrast": contrast(image, mask), "scattered": scattered(mask)}


@dataclass(frozen=True)
class Case:
    """One object: the image, its truth, the click (x, y), the best of the three masks, its predicted and true IoU."""

    image: np.ndarray
    truth: np.ndarray
    name: str
    level: str
    domain: str
    point: tuple[int, int]
    mask: np.ndarray
    predicted: float
    iou: float
    measured: dict[str, float]


def collect(sam: Sam, seeds: Sequence[int] = SEEDS) -> list[Case]:
    """All cases, the worst first."""
    from minisam import SamPredictor

    predictor, rng, cases = SamPredictor(sam), np.random.default_rng(0), []
    for scene, objects in scenes_with_objects(seeds, rng, LEAST, MOST, MANY):
        predictor.set_image(scene.image)
        clicks = [centre_point(truth.segmentation) for truth in objects]
        answers = predictor.predict_batch(np.array(clicks, float)[:, None], np.ones((len(objects), 1)))[:2]
        for truth, click, masks, predicted in zip(objects, clicks, *answers):
            iou = overlaps(masks, truth.segmentation[None])[:, 0]
            k = int(iou.argmax())
            cases.append(
                Case(
                    scene.image, truth.segmentation, truth.name, truth.level, scene.domain, click, masks[k],
                    float(predicted[k]), float(iou[k]), measure(scene.image, truth.segmentation),
                )
            )  # fmt: skip
    return sorted(cases, key=lambda case: case.iou)


@lru_cache(maxsize=2)
def _tiny(seeds: tuple[int, ...]) -> list[Case]:
    import minisam

    return collect(minisam.load("tiny"), seeds)


def _cases(sam: Sam | None, seeds: Sequence[int]) -> list[Case]:
    return _tiny(tuple(seeds)) if sam is None else collect(sam, seeds)


def oddness(cases: Sequence[Case]) -> np.ndarray:
    """(N, 4): for each object and property the share of the other objects that are less suspicious, 0 to 1."""
    columns = []
    for name, (_, _, small) in PROPERTIES.items():
        values = np.array([case.measured[name] for case in cases]) * (-1 if small else 1)
        columns.append((values[:, None] > values[None]).mean(axis=1))
    return np.stack(columns, axis=1)


def gallery(
    sam: Sam | None = None, count: int = 16, seeds: Sequence[int] = SEEDS, question: str = "", source: str = ""
) -> Any:
    """A slider over the ``count`` objects with the lowest IoU. sam: ``minisam.load("tiny")`` if not given."""
    cases = _cases(sam, seeds)
    if count < 1:
        raise InputError(f"expected at least one failure to show, got {count}")
    odd = oddness(cases)
    worst = min(count, len(cases))
    axes = [Axis("failure", [f"{n + 1}: {cases[n].name}" for n in range(worst)])]
    return states(axes, lambda n: draw(cases, odd, n), question, source)


def words(cases: Sequence[Case], odd: np.ndarray, n: int) -> str:
    """What happened, and the property in which this object is most unusual."""
    case, names = cases[n], list(PROPERTIES)
    most = int(odd[n].argmax())
    sentences = f"{case.name} ({case.level}, {case.domain}): best of three has a true IoU of {case.iou:.2f}, "
    sentences += f"predicted {case.predicted:.2f}. "
    values = [f"{name} {case.measured[name]:.1f} {PROPERTIES[name][1]}".strip() for name in names]
    sentences += "Measured: " + ", ".join(values)
    if odd[n, most] > 0.5:
        what = PROPERTIES[names[most]][0]
        return sentences + f". Most unusual: {what}, more so than {odd[n, most]:.0%} of all {len(cases)} objects."
    return sentences + ". Nothing measured is unusual about it: the model failed on an ordinary object."


def draw(cases: Sequence[Case], odd: np.ndarray, n: int) -> State:
    """The truth, the mask, and how unusual the object is in each property."""
    case = cases[n]
    figure, (left, middle, right) = layout(0.95, (6.4, 5.9))
    show(left, case.image, f"what was meant: {case.name}")
    outline(left, case.truth, ORANGE, "solid", 1.5)
    show(middle, tint(case.image, case.mask, SKY, 0.6, dim=0.6), f"best of three, IoU {case.iou:.2f}")
    outline(middle, case.truth, ORANGE, "dashed", 1.2)
    for axes in (left, middle):
        point(axes, *case.point, size=9)
    for row, name in enumerate(PROPERTIES):
        right.barh(row, odd[n, row], color=VERMILION if row == odd[n].argmax() else BLUE, height=0.5,
                   hatch="//" if row == odd[n].argmax() else "", edgecolor="white")  # fmt: skip
        right.text(
            0.0, row - 0.32, f"{name}: {case.measured[name]:.1f} {PROPERTIES[name][1]}", fontsize=10, va="bottom"
        )
    right.set(xlim=(0, 1), ylim=(3.5, -0.75), yticks=[], xticks=[0, 0.5, 1])
    right.set_xlabel("share of objects less suspicious", fontsize=10)
    right.spines[["top", "right", "left"]].set_visible(False)
    return State(figure, words(cases, odd, n))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's: Pearson's correlation of the ranks, ties sharing their mean rank. NaN where one is constant."""
    ranks = []
    for values in (np.asarray(a, float), np.asarray(b, float)):
        below, equal = (values[:, None] > values).sum(axis=1), (values[:, None] == values).sum(axis=1)
        ranks.append(below + (equal - 1) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.corrcoef(*ranks)[0, 1])


def thirds(values: np.ndarray) -> list[np.ndarray]:
    """Numbers of the low, the middle and the high third; where a third or more are 0, of those and of two halves."""
    order = values.argsort(kind="stable")
    zeros = int((values == 0).sum())
    if zeros >= len(values) / 3 and (values >= 0).all():
        return [order[:zeros], *np.array_split(order[zeros:], 2)]
    return list(np.array_split(order, 3))


def suspects(sam: Sam | None = None, seeds: Sequence[int] = SEEDS, question: str = "", source: str = "") -> Any:
    """Buttons over the properties: each object a dot, IoU against the property, and the rank correlation."""
    cases = _cases(sam, seeds)
    names = list(PROPERTIES)
    return states([Axis("property", names)], lambda i: draw_suspect(cases, names[i]), question, source)


def draw_suspect(cases: Sequence[Case], name: str) -> State:
    """A scatter plot with the means of thirds."""
    from matplotlib.figure import Figure

    values = np.array([case.measured[name] for case in cases])
    iou = np.array([case.iou for case in cases])
    groups = [part for part in thirds(values) if len(part)]
    means = [float(iou[part].mean()) for part in groups]
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.scatter(values, iou, s=22, color=BLUE, alpha=0.7, edgecolor="white", label="an object")
    for part, mean in zip(groups, means):
        axes.plot([values[part].min(), values[part].max()], [mean, mean], color=VERMILION, linewidth=3)
    axes.plot([], [], color=VERMILION, linewidth=3, label="mean of a group")
    if name != "scattered":
        axes.set_xscale("symlog", linthresh=0.1)
    axes.set(xlabel=f"{name} {PROPERTIES[name][1]}".strip(), ylabel="IoU, best of three", ylim=(-0.02, 1.02))
    axes.legend(fontsize=10, frameon=False)
    axes.grid(alpha=0.3)
    sizes = ", ".join(f"{mean:.2f} ({len(part)} objects)" for part, mean in zip(groups, means))
    groups_in_words = f"{len(cases)} objects. Mean IoU in groups by {name}, from low to high: {sizes}"
    return State(figure, f"{groups_in_words}. Rank correlation {rank_correlation(values, iou):+.2f}.")
