"""Chapter 14: its solutions and hints, what its text says, and that its tables are in the suite's report."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import chapter
from minisam.annotator import centre_point, tight_box
from minisam.exercises import chapter_14, verdict
from minisam.world import HELD_OUT, render
from minisam_kernels.losses.iou import iou_numpy

pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")
pytest.importorskip("skimage")

import minisam
from minisam.figures import oracle_gap, suite_tables
from minisam.model.config import get_config

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "an answer that takes the same object again": (
        "minisam/exercises/chapter_14.py",
        "free[candidates.argmax()] = False",
        "free[candidates.argmax()] = counts != []",
    ),
}
SOLUTIONS = chapter.solutions(14)
TEXT = chapter.path(14).read_text(encoding="utf-8")


def test_every_exercise_has_a_solution() -> None:
    assert set(SOLUTIONS) == {"14.1", "14.2", "14.3"}


@pytest.mark.parametrize("number", sorted(SOLUTIONS))
def test_solutions_solve(number: str) -> None:
    """Kills: an answer that takes the same object again."""
    said = chapter.printed(SOLUTIONS[number])
    assert f"✓ {number}" in said and "✗" not in said


def first(curves: Any, threshold: float, never: float | None = None, strict: bool = False) -> np.ndarray:
    there = curves > threshold if strict else curves >= threshold
    return np.where(there.any(axis=1), there.argmax(axis=1) + 1, curves.shape[1] if never is None else never)


def near(found: Any, drawn: Any, distance: float, strict: bool = False) -> Any:
    apart = np.linalg.norm(found[:, None] - drawn[None], axis=2)
    return apart < distance if strict else apart <= distance


def nearest_first(found: Any, drawn: Any, distance: float) -> int:
    apart = np.where(near(found, drawn, distance), np.linalg.norm(found[:, None] - drawn[None], axis=2), np.inf)
    pairs = 0
    while apart.size and np.isfinite(apart.min()):
        i, j = np.unravel_index(apart.argmin(), apart.shape)
        apart[i], apart[:, j], pairs = np.inf, np.inf, pairs + 1
    return pairs


def first_free(found: Any, drawn: Any, distance: float) -> int:
    taken: set[int] = set()
    for row in near(found, drawn, distance):
        taken |= set([j for j in np.flatnonzero(row).tolist() if j not in taken][:1])
    return len(taken)


def some_recall(
    thresholds: Any = chapter_14.THRESHOLDS,
    order: int = -1,
    again: bool = False,
    best: bool = False,
    every: bool = False,
) -> Any:
    def answer(overlaps: Any, scores: Any, k: int) -> float:
        total = 0
        for t in thresholds:
            taken: set[int] = set()
            for d in np.argsort(order * scores, kind="stable")[: None if every else k]:
                row = [-1.0 if g in taken and not (again or best) else o for g, o in enumerate(overlaps[d])]
                g = int(np.argmax(row))
                if row[g] >= t and (again or g not in taken):
                    taken.add(g)
                    total += 1
            total -= len(taken) if again else 0
            total += len(taken) if again else 0
        return total / len(thresholds) / overlaps.shape[1]

    return answer


WRONG = {
    "from 0": ("14.1", lambda c, t: (first(c, t) - 1).mean(), "number 1"),
    "above": ("14.1", lambda c, t: first(c, t, strict=True).mean(), "equal to the threshold"),
    "the last": (
        "14.1",
        lambda c, t: (c.shape[1] - (c >= t)[:, ::-1].argmax(axis=1)).mean(),
        "first time counts|number 1",
    ),
    "without the failed": (
        "14.1",
        lambda c, t: first(c, t, np.nan)[(c >= t).any(axis=1)].mean(),
        "counts as all clicks",
    ),
    "the failed are 0": ("14.1", lambda c, t: first(c, t, 0).mean(), "counts as all clicks"),
    "one more": ("14.1", lambda c, t: first(c, t, c.shape[1] + 1).mean(), "counts as all clicks"),
    "the sum": ("14.1", lambda c, t: first(c, t).sum(), "mean"),
    "many to one": ("14.2", lambda f, d, r: int(near(f, d, r).any(axis=1).sum()), "taken"),
    "one to many": ("14.2", lambda f, d, r: int(near(f, d, r).sum()), "taken"),
    "the smaller count": (
        "14.2",
        lambda f, d, r: min(int(near(f, d, r).any(axis=0).sum()), int(near(f, d, r).any(axis=1).sum())),
        "most pairs",
    ),
    "nearest first": ("14.2", nearest_first, "nearest first"),
    "first come": ("14.2", first_free, "Both can|nearest first"),
    "nearer than": ("14.2", lambda f, d, r: nearest_first(f, d, r - 1e-9), "equal to the limit"),
    "one threshold": ("14.3", some_recall([0.5]), "six of the ten"),
    "above the threshold": ("14.3", some_recall(chapter_14.THRESHOLDS + 1e-9), "six of the ten"),
    "twice": ("14.3", some_recall(again=True), "found once"),
    "worst first": ("14.3", some_recall(order=1), "best by score|falling score"),
    "all answers": ("14.3", some_recall(every=True), "k best"),
    "only its best": ("14.3", some_recall(best=True), "next best free"),
}


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")  # of wrong answers
@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_get_a_hint(name: str) -> None:
    number, answer, hint = WRONG[name]
    assert re.search(hint, verdict(number, answer)), verdict(number, answer)


# ---- what the text says ------------------------------------------------------------------------------------


def test_claim_two_old_detectors_find_a_face_and_every_coin() -> None:
    """The cell's own code: each box gives a mask that fills much of it and hardly leaves it."""
    cell = re.search(r"```\{code-cell\} ipython3\n(import numpy.*?)```", TEXT, re.DOTALL)
    assert cell
    names: dict[str, Any] = {}
    exec(compile(cell[1], "<chapter 14>", "exec"), names)
    (_, faces), (_, coins) = names["results"]
    assert len(faces) == 1 and len(coins) == 24
    for _, (left, top, right, bottom), mask in [*faces, *coins]:
        inside = mask[max(int(top) - 4, 0) : int(bottom) + 4, max(int(left) - 4, 0) : int(right) + 4].sum()
        assert inside > 0.95 * mask.sum() > 0.4 * (right - left) * (bottom - top)


def test_claim_a_box_leaves_less_to_an_oracle_than_a_point() -> None:
    """On the chapter's own scenes, where every one is asked about one object, not five."""
    predictor = minisam.SamPredictor(minisam.load("tiny"))
    gaps = []
    for seed in range(16):
        scene = render(HELD_OUT + seed, predictor.model.config.image_size)
        truth = next(m.segmentation for m in scene.masks if m.area > 400)
        predictor.set_image(scene.image)
        prompts: tuple[dict[str, Any], ...] = (
            {"point_coords": [centre_point(truth)], "point_labels": [1]},
            {"box": tight_box(truth)},
        )
        answers = [predictor.predict(**prompt) for prompt in prompts]
        true = [iou_numpy(masks, truth[None]) for masks, _, _ in answers]
        gaps.append([t.max() - t[scores.argmax()] for t, (_, scores, _) in zip(true, answers)])
    point, box = np.mean(gaps, axis=0)
    assert point > box > 0


def test_claim_few_wholes_are_alone_of_their_name() -> None:
    """In scenes that training draws from: fewer than one in four; the rest share theirs with another."""
    alone = []
    for seed in range(40):
        names = [m.name for m in render(HELD_OUT + seed, 96).masks if m.level == "whole"]
        alone += [names.count(name) == 1 for name in names]
    assert 0.1 < np.mean(alone) < 0.3


def test_claim_images_and_texts_lie_apart() -> None:
    """The means differ by more than chance leaves, yet a crop is nearest to its own word."""
    from minisam.clip import load
    from minisam.figures.modality_gap import cloud

    points = cloud(load(), 40)
    gap = np.linalg.norm(points.images.mean(axis=0) - points.texts.mean(axis=0))
    halves = np.linalg.norm(points.images[::2].mean(axis=0) - points.images[1::2].mean(axis=0))
    cosines = points.cosines()
    assert gap > 1.5 * halves and cosines["own"] > max(cosines["images"], cosines["other"])


def test_claims_from_the_paper_agree_with_each_other() -> None:
    """16 of 23; 86.9 is less than 87.0; the distance of BSDS500 in pixels; three sizes of encoders."""
    assert sum(value > 0 for value in oracle_gap.PAPER.values()) == 16 and len(oracle_gap.PAPER) == 23
    rows = {cells[0]: cells[1:] for cells in table("| | all | small | medium |")}
    specialist, sam = (np.array([float(c) for c in rows[name]]) for name in ("ViTDet-H, trained on LVIS", "SAM"))
    ahead = dict(zip(("all", "small", "medium", "large", "frequent", "common", "rare"), sam > specialist))
    assert [name for name, wins in ahead.items() if wins] == ["medium", "common", "rare"]
    assert abs(0.0075 * np.hypot(481, 321) - 4.3) < 0.05
    edges = {cells[0]: cells[1:] for cells in table("| | ODS | OIS |")}
    hed, sam_edges = (edges[name] for name in edges if name.startswith(("HED", "SAM")))
    assert float(sam_edges[3]) > float(hed[3]) and all(float(s) < float(h) for s, h in zip(sam_edges[:3], hed))
    weights = {
        name: sum(int(np.prod(shape)) for key, shape in get_config(name).shapes().items() if "image_encoder" in key)
        for name in ("vit_b", "vit_l", "vit_h")
    }
    assert [round(w / 1e6, -1) for w in weights.values()] == [90, 310, 640]


def table(head: str) -> list[list[str]]:
    """The rows of a Markdown table of the chapter."""
    lines = TEXT[TEXT.index(head) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in lines]


def test_every_table_of_ours_was_measured() -> None:
    """Kills a page that promises a table which the suite's report does not have."""
    calls = re.findall(r'^ours\("([\w -]+)"(?:, "([^"]+)")?\)', TEXT, re.MULTILINE)
    assert {name for name, _ in calls} >= {"left-out", "edges", "proposals", "instances", "specialist", "text"}
    for name, title in calls:
        assert "| --- |" in suite_tables.page(name, title)
