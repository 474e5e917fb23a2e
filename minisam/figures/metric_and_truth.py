"""Figure F8 of chapter 14: who is ahead depends on whose annotation counts. See also ``blind_rater``.

    from minisam.figures.metric_and_truth import metric_and_truth
    metric_and_truth()                # benchmarks/transfer/specialist.json, and the models beside it

``python -m minisam.transfer.specialist`` measured the file: a generalist that never saw a group of domains and a
specialist that was trained on it as a second annotator draws it, both prompted with the boxes of one simulated
detector. The bars are AP from the file, a dot for each seed. The object beside them is computed here, with the models
of seed 0: it is the largest one that the detector found in its scene, and the scenes are the first that have one.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minisam.figures.shared.overlay import BLUE, GREEN, SKY, VERMILION, outline, show
from minisam.figures.shared.paint import painted, style
from minisam.figures.shared.states import Axis, State, states
from minisam.reports.environment import ROOT
from minisam.transfer.specialist import ANNOTATIONS, OWN, box_masks, by_kind, case, model_path
from minisam.transfer.stored_models import MODELS
from minisam_kernels.losses.iou import iou
from minisam_kernels.runtime.errors import InputError

FILE = ROOT / "benchmarks" / "transfer" / "specialist.json"
RIVALS = ("generalist", "specialist")
COLOURS = {"generalist": BLUE, "specialist": VERMILION, "control": GREEN, "tiny": "#999999"}
HATCHES = {"generalist": "", "specialist": "//", "control": "..", "tiny": "--"}
LINES = {"generalist": "solid", "specialist": "dashed"}
PAPER = "Paper, COCO: SAM 46.5, ViTDet 51.0; LVIS: 44.7 and 46.6."


@dataclass(frozen=True)
class Example:
    """An object of a held-out scene, cut out with its surroundings.

    ``image`` (H, W, 3) uint8; ``box`` (4,) float64, the detector's, in its pixels; ``annotated`` (A, H, W) bool, under
    each of ``ANNOTATIONS``; ``masks``: the rivals'.
    """

    seed: int
    image: np.ndarray
    box: np.ndarray
    annotated: np.ndarray
    masks: dict[str, np.ndarray]

    def iou(self, kind: str, annotation: int) -> float:
        """IoU of a rival's mask with the object under an annotation."""
        return float(iou(self.masks[kind][None], self.annotated[[annotation]])[0])


@functools.cache
def examples(count: int, models: Path = MODELS) -> list[Example]:
    """The first ``count`` scenes with an object that the detector found; the largest of each. Raises ``InputError``
    where a model is missing."""
    from minisam import SamPredictor, load

    predictors = {kind: SamPredictor(load(model_path(kind, 0, models))) for kind in RIVALS}
    several: list[Example] = []
    seed = 0
    while len(several) < count:
        one = case(seed)
        exact = one.annotated[0]
        found = [n for n, number in enumerate(one.found.objects) if number >= 0]
        if found:
            n = max(found, key=lambda n: int(exact[one.found.objects[n]].sum()))
            masks = {kind: box_masks(p, one.image, one.found.boxes[[n]])[0] for kind, p in predictors.items()}
            annotated = one.annotated[:, one.found.objects[n]]
            several.append(_cut(seed, one.image, one.found.boxes[n], annotated, masks))
        seed += 1
    return several


def _cut(seed: int, image: np.ndarray, box: np.ndarray, annotated: np.ndarray, masks: dict[str, np.ndarray]) -> Example:
    """A square around all of the masks, with a tenth of its side as margin."""
    rows, columns = np.nonzero(annotated.any(axis=0) | np.any(list(masks.values()), axis=0))
    side = min(int(1.2 * max(np.ptp(rows), np.ptp(columns))) + 6, min(image.shape[:2]))
    corner = []
    for values, length in ((rows, image.shape[0]), (columns, image.shape[1])):
        corner.append(int(np.clip((values.min() + values.max() + 1 - side) // 2, 0, length - side)))
    window = np.s_[corner[0] : corner[0] + side, corner[1] : corner[1] + side]
    moved = box - [corner[1], corner[0], corner[1], corner[0]]
    cut = {kind: mask[window] for kind, mask in masks.items()}
    return Example(seed, image[window], moved, annotated[:, *window], cut)


def read(path: str | Path = FILE) -> dict[str, Any]:
    """The file of the experiment. Raises ``InputError`` where there is none."""
    try:
        report: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        if report["annotations"] != list(ANNOTATIONS) or not set(RIVALS) <= set(by_kind(report, "ap")):
            raise ValueError("other annotations, or a rival is missing")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"expected a file that python -m minisam.transfer.specialist wrote, got {path}") from error
    return report


def metric_and_truth(
    path: str | Path = FILE, objects: int = 3, models: Path = MODELS, question: str = "", source: str = ""
) -> Any:
    """Buttons over the annotation that counts, and over ``objects`` examples."""
    report = read(path)
    if objects < 1:
        raise InputError(f"expected at least one object to show, got {objects}")
    several = examples(objects, models)
    names = [name if name != OWN else f"{name} (the specialist's)" for name in ANNOTATIONS]
    axes = [Axis("annotation that counts", names), Axis("object", [str(n + 1) for n in range(objects)])]
    question = question or (
        "Both get the same boxes. The specialist has learnt from an annotator who is two pixels late. Who has the "
        "higher AP when the exact masks count, and who when the annotator's count?"
    )
    return states(axes, lambda a, n: draw(report, several[n], a), question, source)


def words(report: dict[str, Any], example: Example, annotation: int) -> str:
    """AP of both under the annotation, who is ahead and by how much, and the object's IoU."""
    ap = {kind: values[:, annotation].mean() for kind, values in by_kind(report, "ap").items()}
    gap = ap["specialist"] - ap["generalist"]
    ahead = "specialist" if gap > 0 else "generalist"
    name = list(ANNOTATIONS)[annotation]
    counts = "The exact masks count" if name == "exact" else f"An annotator {name} counts"
    this = " and ".join(f"{example.iou(kind, annotation):.2f} the {kind}'s" for kind in RIVALS)
    return (
        f"{counts}: AP {ap['generalist']:.3f} for the generalist, {ap['specialist']:.3f} for the specialist; "
        f"the {ahead} is ahead by {abs(gap):.3f}. This object: IoU {this} mask. {PAPER}"
    )


@style
def draw(report: dict[str, Any], example: Example, annotation: int) -> State:
    """The object with the annotation and both masks; beside it AP of every kind of model."""
    from matplotlib.figure import Figure

    name = list(ANNOTATIONS)[annotation]
    figure = Figure(figsize=(7.4, 3.4), dpi=100)
    figure.subplots_adjust(0.01, 0.13, 0.98, 0.9, wspace=0.62)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.05))
    truth = example.annotated[annotation]
    pale = example.image.astype(float)
    pale[~truth] = 0.45 * pale[~truth] + 0.55 * 255
    show(left, pale.astype(np.uint8), f"in full colour: {name}")
    for kind in RIVALS:
        outline(left, example.masks[kind], SKY if kind == "generalist" else VERMILION, LINES[kind], 2.2)
    left.set_xlabel("blue, solid: generalist\nred, dashed: specialist", fontsize=10)
    values = by_kind(report, "ap")
    for row, (kind, runs) in enumerate(values.items()):
        base, now = kind.split(",")[0], runs[:, annotation]
        right.barh(row, now.mean(), 0.62, color=COLOURS[base], hatch=HATCHES[base], edgecolor="white")
        right.plot(now, np.full(len(now), row), "o", color="white", markeredgecolor="black", markersize=6)
        right.text(now.max() + 0.02, row, f"{now.mean():.3f}", va="center", fontsize=12)
    right.set_yticks(range(len(values)), [kind.replace(", ", ",\n") for kind in values], fontsize=10.5)
    top = max(float(runs.max()) for runs in values.values())
    right.set(xlim=(0, min(1.0, top + 0.2)), ylim=(len(values) - 0.5, -0.5), title="AP")
    right.spines[["top", "right"]].set_visible(False)
    text = words(report, example, annotation)
    alt = f"An object, annotated: {name}; the generalist's outline solid, the specialist's dashed; bars of AP. {text}"
    return State(painted(figure), text, alt)
