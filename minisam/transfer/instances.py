"""Instances: a detector's boxes become masks. Detector → SAM, composed without any training.

The paper's third task (section 7.4): each box is a prompt, and the mask inherits the box's score and category. One
refinement: the logits of the most confident of three masks go back in, beside the box. The figure is mask AP
(``average_precision``) before and after it.

Boxes come from a detector's results in COCO's form (``--boxes``), or from OpenCV's people detector, which needs no
weights file (``--detector hog``: histograms of oriented gradients and a linear SVM, Dalal and Triggs 2005; OpenCV 5 no
longer has it), or from what is drawn (``--detector truth``): then only the masks can be wrong.

The masks can be written as a results file in COCO's form. It has no ``bbox``: pycocotools would take small, medium and
large from the box instead of the mask.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.console import add_model, load_model, need, progress
from minisam.transfer.proposals import add_data
from minisam.transfer.report import Job, Table, markdown
from minisam_kernels import InputError

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor
    from minisam.transfer.sets import LabelledImage, LabelledSet

BATCH = 16  # boxes at a time, for their masks of the image's size
STEPS = {"single": "single mask", "confident": "most confident of three", "feedback": "single, one mask fed back"}
LARGEST = 1e9  # number in a results file, in pixels or of a score; NaN is not below it
RESULTS = "a results file in COCO's form (a list of image_id, category_id, bbox and score)"


@dataclass(frozen=True)
class Box:
    """x0, y0, x1, y1 in pixels of the image, its category and its score."""

    corners: tuple[float, float, float, float]
    category: int
    score: float


Detector = Callable[["LabelledImage", np.ndarray], list[Box]]


@dataclass
class Results:
    """Boxes of a results file by image, and how many were left out, by reason."""

    boxes: dict[int | str, list[Box]]
    refused: Counter[str] = field(default_factory=Counter)
    asked: set[int | str] = field(default_factory=set)

    def __call__(self, image: LabelledImage, pixels: np.ndarray) -> list[Box]:
        """The boxes of an image: by its id, or by its file's name, with or without the ending."""
        name = next((n for n in (image.id, image.path.name, image.path.stem) if n in self.boxes), None)
        if name is None:
            return []
        self.asked.add(name)
        return self.boxes[name]

    def left_out(self) -> Counter[str]:
        """What no image got."""
        others = sum(len(boxes) for name, boxes in self.boxes.items() if name not in self.asked)
        return self.refused + Counter({"boxes of images that were not measured": others})


def read_boxes(path: str | Path) -> Results:
    """Read a results file. Boxes without area, and what is no box, are counted and left out."""
    from minisam.transfer.coco import is_category, read_large_json

    values = read_large_json(Path(path), RESULTS)
    if not isinstance(values, list) or not all(isinstance(entry, dict) for entry in values):
        raise InputError(f"expected {RESULTS}, got {path}, which is no list of them")
    boxes: dict[int | str, list[Box]] = defaultdict(list)
    refused: Counter[str] = Counter()
    for entry in values:
        image, corners, category = entry.get("image_id"), entry.get("bbox"), entry.get("category_id", 0)
        numbers = [*corners, entry.get("score")] if isinstance(corners, list) else []
        finite = len(numbers) == 5 and all(isinstance(n, int | float) and abs(n) <= LARGEST for n in numbers)
        if not finite or not is_category(category) or type(image) not in (int, str):
            refused["entries without an image, a category, four numbers as bbox and a score"] += 1
        elif min(numbers[2:4]) <= 0:
            refused["boxes without area"] += 1
        else:
            x, y, width, height, score = map(float, numbers)
            boxes[image].append(Box((x, y, x + width, y + height), category, score))
    if not boxes:
        raise InputError(f"expected {RESULTS}, got {path} without any box")
    return Results(dict(boxes), refused)


def hog_people(category: int) -> Detector:
    """OpenCV's people detector; ``InputError`` with OpenCV 5."""
    need("transfer", "cv2")
    import cv2 as opencv

    cv2: Any = opencv  # whose types do not know all of it
    if not hasattr(cv2, "HOGDescriptor"):
        wanted = "OpenCV 4, which has the people detector (pip install 'opencv-python-headless<5')"
        raise InputError(f"expected {wanted}, got OpenCV {cv2.__version__}")
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())

    def detect(image: LabelledImage, pixels: np.ndarray) -> list[Box]:
        found, scores = hog.detectMultiScale(pixels[..., ::-1], winStride=(8, 8), padding=(16, 16), scale=1.05)
        boxes = []
        for (x, y, w, h), score in zip(found, np.ravel(scores)):  # its window has a margin (OpenCV's peopledetect)
            corners = (x + 0.1 * w, y + 0.07 * h, x + 0.9 * w, y + 0.87 * h)
            boxes.append(Box(corners, category, float(score)))
        return boxes

    return detect


def drawn(image: LabelledImage, pixels: np.ndarray) -> list[Box]:
    """The tight boxes of the objects that are drawn, all with the score 1."""
    from minisam.annotator import tight_box

    boxes = []
    for annotation in image.objects():
        x0, y0, x1, y1 = map(float, tight_box(annotation.mask()))
        boxes.append(Box((x0, y0, x1, y1), annotation.category, 1.0))
    return boxes


def segment(predictor: SamPredictor, boxes: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Run lengths of a mask for each box (B, 4) of the image that is set, for each of ``STEPS``."""
    from minisam_kernels.masks import rle

    runs: dict[str, list[np.ndarray]] = {step: [] for step in STEPS}
    for start in range(0, len(boxes), BATCH):
        some = boxes[start : start + BATCH]
        masks, _, _ = predictor.predict_batch(boxes=some, multimask_output=False)
        runs["single"] += rle.encode(masks[:, 0])
        masks, iou, logits = predictor.predict_batch(boxes=some, multimask_output=True)
        each, best = np.arange(len(some)), iou.argmax(axis=1)
        runs["confident"] += rle.encode(masks[each, best])
        masks, _, _ = predictor.predict_batch(
            boxes=some, mask_input=logits[each, best][:, None], multimask_output=False
        )
        runs["feedback"] += rle.encode(masks[:, 0])
    return runs


def inside(boxes: list[Box], size: tuple[int, int]) -> list[Box]:
    """The boxes cut at the edge of an image (H, W), without those that lie outside."""
    cut = []
    for box in boxes:
        x0, y0, x1, y1 = np.clip(box.corners, 0, (size[1], size[0]) * 2).tolist()
        if x0 < x1 and y0 < y1:
            cut.append(Box((x0, y0, x1, y1), box.category, box.score))
    return cut


def evaluate(
    predictor: SamPredictor, labelled: LabelledSet, detector: Detector, only: int | None = None
) -> dict[str, Any]:
    """Measure mask AP of a detector's boxes on a set.

    Parameters
    ----------
    predictor : SamPredictor
    labelled : LabelledSet
    detector : callable
        ``detector(image, pixels)`` gives the boxes: ``read_boxes``, ``hog_people``, ``drawn``.
    only : int, optional
        Only objects of this category are to be found; those of others do not count.

    Returns
    -------
    dict
        Among others ``figures`` for each of ``STEPS``, and ``results``, the last step's masks in COCO's form.

    Raises
    ------
    InputError
        If there is no object to be found, or no box in any image.

    Notes
    -----
    A set with frequencies is measured as LVIS does it, 300 answers per image; others as COCO does it. Without
    categories in the set, all are one.
    """
    from minisam.transfer.average_precision import Objects, Tally
    from minisam_kernels.masks import rle

    by_category, lvis = bool(labelled.categories) and only is None, bool(labelled.groups)
    limits, per_image = ((300,), 300) if lvis else ((1, 10, 100), None)
    tallies = {step: Tally(limits, by_category, labelled.groups, per_image) for step in STEPS}
    images, objects, regions, count, outside, unlisted = 0, 0, 0, 0, 0, 0
    results: list[dict[str, Any]] = []
    with progress(total=len(labelled), unit="image", desc="transfer instances") as bar:
        for image in labelled:
            bar.update()
            with labelled.skipping(image):
                pixels, truth = image.read(), Objects.drawn(image)
                if only is not None:
                    truth = truth.choose(np.flatnonzero(truth.category == only))
                given = detector(image, pixels)
                boxes = inside(given, image.size)
                outside += len(given) - len(boxes)
                if by_category:
                    unlisted += sum(box.category not in labelled.categories for box in boxes)
                    boxes = [box for box in boxes if box.category in labelled.categories]
                predictor.set_image(pixels)
                runs = segment(predictor, np.array([box.corners for box in boxes], float).reshape(-1, 4))
                category, score = [box.category for box in boxes], [box.score for box in boxes]
                for step, tally in tallies.items():
                    answers = Objects.of(runs[step], image.size[0], category, score)
                    tally.add(truth, answers, image.judged if by_category else None, image.incomplete)
                for box, mask in zip(boxes, runs["feedback"]):
                    code = {"size": list(image.size), "counts": rle.to_string(mask).decode()}
                    entry = {"image_id": image.id, "category_id": box.category, "segmentation": code}
                    results.append(entry | {"score": box.score})
                objects, regions = objects + int((~truth.crowd).sum()), regions + int(truth.crowd.sum())
                images, count = images + 1, count + len(boxes)
    kinds = {"boxes outside their image": outside, "boxes of categories that the set does not have": unlisted}
    kinds |= detector.left_out() if isinstance(detector, Results) else {}
    labelled.left_out |= {what: str(number) for what, number in kinds.items() if number}
    if not objects or not count:
        raise labelled.nothing("a box" if objects else "an object to be found", images, regions)
    return {
        "set": labelled.name,
        "model": predictor.model.config.name,
        "images": images,
        "objects": objects,
        "boxes": count,
        "figures": {step: tally.summary() for step, tally in tallies.items()},
        "left_out": dict(labelled.left_out),
        "results": results,
    }


def tables(reports: dict[str, dict[str, Any]]) -> list[Table]:
    """A row for each report and step."""
    keys = shown(next(iter(reports.values())))
    rows = []
    for label, report in reports.items():
        for step, name in STEPS.items():
            rows.append([f"{label}, {name}", *(report["figures"][step][key] for key in keys)])
    notes = [f"{n}: {r['images']} images, {r['objects']} objects, {r['boxes']} boxes" for n, r in reports.items()]
    notes += [f"{n}: left out {what}: {why}" for n, r in reports.items() for what, why in r["left_out"].items()]
    return [Table("Masks of boxes: average precision", ["", *(k.replace("_", ", ") for k in keys)], rows, notes)]


def shown(report: dict[str, Any]) -> list[str]:
    """The figures that tables have: AP, and AR with the most answers."""
    figures = report["figures"]["single"]
    most = [key for key in figures if "_" not in key][-1]
    return [key for key in figures if key.startswith(("AP", most))]


def add(parsers: Any) -> None:
    """``minisam transfer instances`` and its options."""
    parser = parsers.add_parser(
        "instances",
        help="AP of the masks of a detector's boxes",
        description="Mask AP of boxes from a detector, each a prompt: the single mask, the most confident of three, "
        "and the single one after that mask was fed back.",
    )
    add_data(parser)
    add_model(parser)
    parser.add_argument("--boxes", metavar="PATH", help="a detector's results as JSON in COCO's form")
    what = "hog: OpenCV's people detector (OpenCV 4); truth: the boxes of what is drawn"
    parser.add_argument("--detector", choices=("hog", "truth"), help=what)
    parser.add_argument("--json", metavar="PATH", help="write the figures as JSON as well")
    parser.add_argument("--results", metavar="PATH", help="write the masks as results in COCO's form")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """``minisam transfer instances``."""
    from minisam.files.atomic import check_outputs, write_text
    from minisam.predictor import SamPredictor
    from minisam.transfer.sets import read_set

    if options.data is None or (options.boxes is None) == (options.detector is None):
        raise InputError("expected images with masks and either --boxes or --detector, got others")
    check_outputs([options.json, options.results], options.data, options.boxes, options.checkpoint)
    labelled = read_set(options.data, options.images, options.split, options.limit, options.every)
    detector, only = choose_detector(options.boxes, options.detector, labelled)
    report = evaluate(SamPredictor(load_model(options)), labelled, detector, only)
    results = report.pop("results")
    for path, text in ((options.json, json.dumps(report, indent=1)), (options.results, json.dumps(results))):
        if path is not None:
            write_text(path, f"{text}\n")
    print(*map(markdown, tables({f"{report['model']}, {report['set']}": report})), sep="\n\n")
    return 0


def choose_detector(boxes: str | None, name: str | None, labelled: LabelledSet) -> tuple[Detector, int | None]:
    """What gives the boxes, and the one category that it finds; None for all."""
    if boxes is not None:
        return read_boxes(boxes), None
    if name == "truth":
        return drawn, None
    person = next((number for number, called in labelled.categories.items() if called == "person"), None)
    if person is None and labelled.categories:
        raise InputError(f"expected a set with the category person, got {labelled.name} without it")
    return hog_people(person or 0), person


def jobs(real: Path | None = None, drawn_sets: Path | None = None) -> list[Job]:
    """With ``real``: tiny on the sets in that folder, from the boxes of what is drawn; the detector of people on
    ``drawn_sets``' coco_people, if that is there."""
    found = []
    for folder in sorted(real.iterdir()) if real is not None else []:
        if folder.is_dir():
            command = f"minisam transfer instances {folder} --detector truth --limit 20"
            found.append(Job(f"instances-{folder.name}", command, partial(_real, folder, "truth", 20)))
    if drawn_sets is not None and (drawn_sets / "coco_people").is_dir():
        folder = drawn_sets / "coco_people"
        command = f"minisam transfer instances {folder} --detector hog --limit 60"
        found.append(Job("instances-detector", command, partial(_real, folder, "hog", 60)))
    return found


def _real(folder: Path, detector: str, limit: int) -> list[Table]:
    from minisam.checkpoints.loading import load
    from minisam.predictor import SamPredictor
    from minisam.transfer.sets import read_set

    labelled = read_set(folder, limit=limit)
    report = evaluate(SamPredictor(load("tiny")), labelled, *choose_detector(None, detector, labelled))
    return tables({f"tiny (has seen), {folder.name}, {detector}": report})
