"""Metric and truth: a specialist with a data set's habits, a generalist without, the same boxes, two annotations.

    python -m minisam.transfer.specialist benchmarks/transfer/specialist.json

Three kinds of models, three seeds of each, from ``minisam.experiments``: the *generalist* never saw the group of
domains (``left_out``), the *specialist* was trained on that group as the second annotator draws it
(``minisam.world.annotators``), its *control* on the same scenes with exact masks. A fourth row, tiny, is a better
generalist that has seen all domains. All get the boxes of one simulated detector (``detect``), which has learnt from
the second annotator, as detectors have from their data set's. Their masks are graded under the exact truth and under
annotators who are 0 to 3 pixels late; the specialist's own is 2 pixels late.

AP is COCO's (``average_precision``), without categories. Boundary IoU is that of the two rims, the pixels of a mask
within 2 % of the image's diagonal of its outline (Cheng et al. 2021). Both means of IoU are over found objects.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.annotator import tight_box
from minisam.console import exit_code, progress
from minisam.files.atomic import write_text
from minisam.transfer.report import Job, Table, markdown
from minisam.transfer.stored_models import GROUPS, MODELS, SEEDS
from minisam.world import HELD_OUT, Scene, render
from minisam.world.annotators import annotate
from minisam_kernels import InputError
from minisam_kernels.losses.iou import iou_numpy
from minisam_kernels.masks import rle

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor

GROUP, SCENES = "indoors", 100
SIZE, SCALE = 192, 2  # scenes are twice as large as the models see them
SMALLEST, LARGEST = 512, 0.25  # pixels (two around a smaller one are half of it), and share of the image: no walls
SEEN = "tiny, has seen the group"
KINDS = {"generalist": f"sam-{GROUP}", "specialist": "specialist-second", "control": "specialist-exact"}
STYLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"second": annotate, "exact": lambda mask: mask}
LATE = (0, 1, 2, 3)
ANNOTATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": STYLES["exact"],
    **{f"{late} pixel{'s' * (late != 1)} late": partial(annotate, late=late) for late in LATE},
}
OWN = "2 pixels late"  # the specialist's
MISSED, NOISE, FALSE_ALARMS = 0.1, 0.05, 1.0


def whole_objects(scene: Scene) -> np.ndarray:
    """The masks (N, S, S) bool of a scene's wholes that are neither tiny nor most of the image.

    The smallest has 512 of 192² pixels, in scenes of other sizes as large a share.
    """
    pixels = scene.image.shape[0] * scene.image.shape[1]
    kept = [
        mask.segmentation
        for mask in scene.masks
        if mask.level == "whole" and SMALLEST / SIZE**2 <= mask.area / pixels <= LARGEST
    ]
    return np.stack(kept) if kept else np.zeros((0, *scene.image.shape[:2]), bool)


@dataclass(frozen=True)
class Detections:
    """What a detector says about an image.

    Attributes
    ----------
    boxes : ndarray, shape (B, 4), float64
        x0, y0, x1, y1 in pixels.
    scores : ndarray, shape (B,), float64
        In [0, 1].
    objects : ndarray, shape (B,), int64
        The number of the object that a box is meant for; −1: of none.
    """

    boxes: np.ndarray
    scores: np.ndarray
    objects: np.ndarray


def detect(masks: np.ndarray, rng: np.random.Generator) -> Detections:
    """Simulate a detector on the annotated masks (N, H, W) bool of an image.

    It misses one object in ten. Every side of a box is off by a normal error of 5 % of the box's extent. Its score is
    the box's IoU with the tight one, plus a normal error of .1. On average one box per image is of nothing: anywhere,
    a sixth to two thirds of the image wide and high, with a score from 0 to .8. Scores are cut to [0, 1].
    """
    height, width = masks.shape[1:]
    limits = np.array([width, height, width, height]) - 1.0
    boxes, scores, objects = [], [], []
    for number, mask in enumerate(masks):
        chance, noise, error = rng.random(), rng.normal(size=4), rng.normal()
        if chance < MISSED or not mask.any():
            continue
        tight = tight_box(mask).astype(float)
        box = (tight + NOISE * noise * np.tile(tight[2:] - tight[:2] + 1, 2)).clip(0, limits)
        boxes.append(box)
        scores.append(_box_iou(box, tight) + 0.1 * error)
        objects.append(number)
    for _ in range(rng.poisson(FALSE_ALARMS)):
        sides = rng.uniform(1 / 6, 2 / 3, 2) * (width, height)
        corner = rng.uniform(0, (width, height) - sides)
        boxes.append(np.concatenate([corner, corner + sides]).clip(0, limits))
        scores.append(rng.uniform(0, 0.8))
        objects.append(-1)
    return Detections(
        np.array(boxes).reshape(-1, 4), np.clip(np.array(scores, float), 0, 1), np.array(objects, np.int64)
    )


def _box_iou(a: np.ndarray, b: np.ndarray) -> float:
    both = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + 1
    inter = float(np.prod(both.clip(0)))
    return inter / (float(np.prod(a[2:] - a[:2] + 1)) + float(np.prod(b[2:] - b[:2] + 1)) - inter)


@dataclass(frozen=True)
class Case:
    """A scene, its objects under every annotation, (A, N, S, S) bool, and what the detector says."""

    seed: int
    image: np.ndarray
    annotated: np.ndarray
    found: Detections

    @cached_property
    def rims(self) -> np.ndarray:
        """The rims of ``annotated``, (A, N, S, S)."""
        rims = [rim(mask) for masks in self.annotated for mask in masks]
        return np.array(rims, bool).reshape(self.annotated.shape)


def case(seed: int) -> Case:
    """The held-out scene number ``seed`` of the group."""
    scene = render(HELD_OUT + seed, SIZE, GROUPS[GROUP])
    truth = whole_objects(scene)
    annotated = np.array([[draw(mask) for mask in truth] for draw in ANNOTATIONS.values()], bool)
    annotated = annotated.reshape(len(ANNOTATIONS), *truth.shape)
    own = annotated[list(ANNOTATIONS).index(OWN)]
    return Case(seed, scene.image, annotated, detect(own, np.random.default_rng([HELD_OUT, seed])))


def box_masks(predictor: SamPredictor, image: np.ndarray, boxes: np.ndarray, feedback: bool = False) -> np.ndarray:
    """One mask for each box (B, 4) → (B, H, W) bool; ``feedback``: a second round sees the first one's logits."""
    masks = np.zeros((len(boxes), *image.shape[:2]), bool)
    if len(boxes):
        predictor.set_image(image)
    for n, box in enumerate(boxes):
        answer, _, low_res = predictor.predict(box=box, multimask_output=False)
        if feedback:
            answer, _, _ = predictor.predict(box=box, mask_input=low_res, multimask_output=False)
        masks[n] = answer[0]
    return masks


def rim(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask (H, W) bool within 2 % of the image's diagonal of its outline, measured in squares."""
    from scipy.ndimage import minimum_filter

    band = max(1, round(0.02 * float(np.hypot(*mask.shape))))
    return mask & ~minimum_filter(mask, 2 * band + 1, mode="constant", cval=False)  # in one direction, then the other


def measure(predictor: SamPredictor, cases: Sequence[Case], feedback: bool = False) -> dict[str, list[float]]:
    """AP, AP at .5 and .75, mean IoU and mean boundary IoU of a model, each under every annotation in turn."""
    answers = [box_masks(predictor, one.image, one.found.boxes, feedback) for one in cases]
    edges = [np.array([rim(mask) for mask in masks], bool).reshape(masks.shape) for masks in answers]
    figures: dict[str, list[float]] = {name: [] for name in ("ap", "ap50", "ap75", "iou", "boundary")}
    for a in range(len(ANNOTATIONS)):
        for name, value in zip(("ap", "ap50", "ap75"), average_precisions(cases, answers, a)):
            figures[name].append(value)
        ious, rims = [], []
        for one, masks, outlines in zip(cases, answers, edges):
            own = one.found.objects >= 0
            numbers = one.found.objects[own]
            ious.append(iou_numpy(masks[own], one.annotated[a, numbers]))
            rims.append(iou_numpy(outlines[own], one.rims[a, numbers]))
        figures["iou"].append(float(np.nan_to_num(np.concatenate(ious)).mean()))
        figures["boundary"].append(float(np.nan_to_num(np.concatenate(rims)).mean()))
    return figures


def average_precisions(cases: Sequence[Case], answers: Sequence[np.ndarray], annotation: int) -> list[float]:
    """AP, AP at .5 and AP at .75 of the masks ``answers[i]`` (B, H, W) of each case, under one of ``ANNOTATIONS``."""
    from minisam.transfer.average_precision import Objects, Tally

    tally = Tally((100,), by_category=False)
    for one, masks in zip(cases, answers):
        objects = Objects.of(rle.encode(one.annotated[annotation]), SIZE)
        tally.add(objects, Objects.of(rle.encode(masks), SIZE, score=one.found.scores))
    summary = tally.summary()
    return [float(summary[name] or 0.0) for name in ("AP", "AP50", "AP75")]


def model_path(kind: str, seed: int, models: Path = MODELS) -> Path:
    """The file of the model of a kind and seed; ``InputError`` where it is not there."""
    path = models / f"{KINDS[kind]}-{seed}.safetensors"
    if not path.is_file():
        raise InputError(f"expected the {kind} of seed {seed} in {models}, got no {path.name}")
    return path


def evaluate(models: Path = MODELS, scenes: int = SCENES, seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Measure every model that is there, the generalist also with one mask fed back (as the paper does with SAM)."""
    from minisam.checkpoints.loading import load
    from minisam.predictor import SamPredictor

    wanted = [
        (kind, seed) for kind in KINDS for seed in seeds if (models / f"{KINDS[kind]}-{seed}.safetensors").is_file()
    ]
    if not wanted:
        raise InputError(f"expected models {', '.join(KINDS.values())} in {models}, got none")
    cases = [case(seed) for seed in range(scenes)]
    found = np.concatenate([one.found.objects for one in cases])
    report: dict[str, Any] = {
        "group": GROUP, "scenes": scenes, "size": SIZE, "annotations": list(ANNOTATIONS), "own": OWN,
        "objects": int(sum(one.annotated.shape[1] for one in cases)),
        "found": int((found >= 0).sum()), "false_alarms": int((found < 0).sum()), "runs": [],
    }  # fmt: skip
    with progress(total=len(wanted), unit="model", desc="specialist") as bar:
        for kind, seed in wanted:
            predictor = SamPredictor(load(model_path(kind, seed, models)))
            for feedback in (False, True) if kind == "generalist" else (False,):
                name = f"{kind}, one mask fed back" if feedback else kind
                report["runs"].append({"kind": name, "seed": seed, **measure(predictor, cases, feedback)})
            bar.update()
    report["runs"].append({"kind": SEEN, "seed": None, **measure(SamPredictor(load("tiny")), cases)})
    return report


def by_kind(report: dict[str, Any], figure: str) -> dict[str, np.ndarray]:
    """A figure of every kind of model: (seeds, annotations)."""
    kinds = dict.fromkeys(run["kind"] for run in report["runs"])
    return {kind: np.array([run[figure] for run in report["runs"] if run["kind"] == kind]) for kind in kinds}


def tables(report: dict[str, Any]) -> list[Table]:
    """Means over seeds with their range, under the exact truth and under the specialist's own annotation; then AP
    under all of them."""
    both = [report["annotations"].index(name) for name in ("exact", OWN)]
    values = {figure: by_kind(report, figure) for figure in ("ap", "ap75", "iou", "boundary")}
    names = {"ap": "AP", "ap75": "AP75", "iou": "mean IoU", "boundary": "boundary IoU"}
    columns = ["", *(f"{name}, {a}" for a in ("exact", OWN) for name in names.values()), "seeds"]
    rows = [
        [kind, *(spread(values[f][kind][:, a]) for a in both for f in names), len(values["ap"][kind])]
        for kind in values["ap"]
    ]
    note = (
        f"{report['scenes']} held-out scenes of {report['size']} pixels of the group {report['group']}, "
        f"{report['objects']} whole objects; the detector finds {report['found']} and gives {report['false_alarms']} "
        f"boxes of nothing. Means over seeds, and between which values they lie. IoU: over the found objects."
    )
    every = [
        [kind, *(spread(values["ap"][kind][:, a]) for a in range(len(report["annotations"])))] for kind in values["ap"]
    ]
    return [
        Table("The same boxes, two annotations", columns, rows, [note]),
        Table("AP under each annotation", ["", *report["annotations"]], every),
    ]


def spread(values: np.ndarray) -> str:
    """Mean of seeds, least and most."""
    between = f" ({values.min():.3f}–{values.max():.3f})" if len(values) > 1 else ""
    return f"{values.mean():.3f}{between}"


def jobs(models: Path = MODELS, scenes: int = SCENES) -> list[Job]:
    """The suite's job; a minute or two of one core."""
    command = "python -m minisam.transfer.specialist benchmarks/transfer/specialist.json"
    return [Job("specialist", command, partial(_job, models, scenes))]


def _job(models: Path, scenes: int) -> list[Table]:
    return tables(evaluate(models, scenes))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments; write JSON, and beside it the tables as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m minisam.transfer.specialist", description=__doc__.split("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--models", type=Path, default=MODELS, help="where the trained models are")
    parser.add_argument("--scenes", type=int, default=SCENES)
    options = parser.parse_args(arguments)
    report = evaluate(options.models, options.scenes)
    write_text(options.output, json.dumps(report).replace('{"kind"', '\n{"kind"') + "\n")  # a line for each model
    write_text(options.output.with_suffix(".md"), page(report))
    print(page(report))


def page(report: dict[str, Any]) -> str:
    """The report as Markdown, the command first."""
    command = jobs()[0].command + (f" --scenes {report['scenes']}" if report["scenes"] != SCENES else "")
    head = f"# Metric and truth\n\n    {command}\n\n"
    return head + "\n\n".join(markdown(table) for table in tables(report)) + "\n"


if __name__ == "__main__":
    sys.exit(exit_code(main))
