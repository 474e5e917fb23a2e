"""Every instance that words denote, on scenes that no training saw: precision and recall at each threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.transfer.report import Table
from minisam.transfer.text import SCENES, cases

if TYPE_CHECKING:
    from minisam.automatic.generator import SamAutomaticMaskGenerator

MATCH = 0.5  # IoU from which a mask is an instance
NEARS = [round(0.2 + 0.05 * step, 2) for step in range(13)]  # thresholds that are tried


def evaluate_every(
    generator: SamAutomaticMaskGenerator, clip: Any, count: int = SCENES, first: int = 0
) -> dict[str, Any]:
    """Ask for every instance of the same words: at each threshold of ``NEARS`` counts for precision and recall.

    Denoted masks below ``SMALLEST`` are neither asked for nor counted as wrong. A random word has no instance among the
    scene's right answers, so each of its masks is wrong; how often it gets none is "refused".
    """
    from minisam.clip.crops import large_enough
    from minisam.clip.pairs import SMALLEST
    from minisam.console import progress
    from minisam.text.instances import Instances

    each = []
    with progress(total=count, unit="scene", desc="transfer text --all") as bar:
        for scene, questions in cases(count, generator.predictor.model.config.image_size, first):
            instances = Instances(scene.image, generator, clip)
            for question in questions:
                large = np.array([large_enough(mask, SMALLEST) for mask in question.masks])
                entry: dict[str, Any] = {"scene": question.scene, "text": question.text, "level": question.level}
                entry |= {"truths": int(large.sum()), "reached": matches(instances.masks, question.masks, large)[1]}
                for near in NEARS:
                    found = [instances.masks[record["mask"]] for record in instances.find(question.text, near)]
                    masks, right = matches(found, question.masks, large)
                    none = not instances.find(question.random, near)
                    entry[f"{near:g}"] = [masks, right, int(none)]
                each.append(entry)
            bar.update()
    scenes = np.array([entry["scene"] for entry in each])
    curve = {}
    for near in NEARS:
        masks, right, none = np.array([entry[f"{near:g}"] for entry in each]).T
        truths = np.array([entry["truths"] for entry in each])
        precision, recall = right.sum() / max(1, masks.sum()), right.sum() / truths.sum()
        f1 = 2 * right.sum() / (masks.sum() + truths.sum())
        curve[f"{near:g}"] = {"precision": precision, "recall": recall, "f1": f1, "refused": none.mean()}
    reached = sum(entry["reached"] for entry in each) / sum(entry["truths"] for entry in each)
    return {"scenes": len(set(scenes)), "questions": len(each), "reached": reached, "curve": curve, "each": each}


def matches(masks: list[np.ndarray], truths: np.ndarray, large: np.ndarray) -> tuple[int, int]:
    """How many masks count, and how many of them are right: in order, each takes the free truth that it fits best."""
    free, counted, right = np.ones(len(truths), bool), 0, 0
    if masks:
        a, b = (np.array(part).reshape(len(part), -1).astype(np.float32) for part in (masks, truths))
        both = a @ b.T
        for row in both / np.maximum(a.sum(1)[:, None] + b.sum(1) - both, 1):
            best = int((row * free).argmax())
            if row[best] * free[best] >= MATCH:
                free[best] = False
                right += int(large[best])
                counted += int(large[best])
            else:
                counted += 1
    return counted, right


def report_every(scenes: int, first: int = 0) -> dict[str, Any]:
    """Load tiny's automatic generator and the shipped towers, and ``evaluate_every``."""
    from minisam.automatic.crops import OWN_THRESHOLDS
    from minisam.automatic.generator import SamAutomaticMaskGenerator
    from minisam.checkpoints.loading import load
    from minisam.clip import load as load_clip

    settings: dict[str, Any] = dict(OWN_THRESHOLDS["tiny"])
    return evaluate_every(SamAutomaticMaskGenerator(load("tiny"), **settings), load_clip(), scenes, first)


def tables(report: dict[str, Any]) -> list[Table]:
    """Return precision and recall at every threshold as a table."""
    names = ("precision", "recall", "f1", "refused")
    rows = [[near, *(float(values[name]) for name in names)] for near, values in report["curve"].items()]
    notes = [
        f"{report['questions']} phrases of {report['scenes']} held-out scenes, IoU ≥ {MATCH:g}. Refused: random words "
        f"that get no mask. {report['reached']:.1%} of the instances are among the automatic masks: the highest recall."
    ]
    return [Table("Every instance: precision and recall", ["cosine from", *names], rows, notes)]
