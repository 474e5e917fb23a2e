"""Chapter 9: its solutions, hints, figures and the claims of its text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import chapter
from minisam.exercises import verdict

pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")

import minisam
from minisam.figures import averaging, multimask, three_masks
from minisam.figures.averaging import LOSSES, MIXES, Small, descend, rings, stability
from minisam.figures.shared.states import encode
from minisam.figures.three_masks import SEEDS, answers, containment, known, overlaps
from minisam.world import HELD_OUT, nested
from minisam_kernels.losses.iou import iou
from minisam_kernels.runtime.errors import InputError

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a slope without the shares": ("minisam/figures/averaging.py", "slope += share * weight", "slope += weight"),
    "a loss without its sign": ("minisam/figures/averaging.py", "logits -= rate", "logits += rate"),
    "rules exchanged": ("minisam/figures/averaging.py", 'if rule == "best":', 'if rule == "mean":'),
    "a point outside": ("minisam/world/nested.py", "(int(column), int(row))", "(int(row), int(column))"),
    "levels out of order": ("minisam/world/nested.py", "for mask in masks))", "for mask in masks[::-1]))"),
    "the middle truth for the outer one": ("minisam/figures/multimask.py", "[:, [0, -1]]", "[:, [0, 1]]"),
    "the oracle for the scored mask": (
        "minisam/figures/multimask.py",
        'iou[int(np.argmax(answer["predicted"]))]',
        "iou.max(axis=0)",
    ),
    "None as a number": (
        "minisam/figures/multimask.py",
        'np.nan_to_num(np.array(answer["iou"], float))',
        'np.array(answer["iou"], float)',
    ),
}

SOLUTIONS = chapter.solutions(9)


def test_every_exercise_has_a_solution() -> None:
    assert set(SOLUTIONS) == {"9.1", "9.2", "9.3", "9.4"}


@pytest.mark.parametrize("number", sorted(SOLUTIONS))
def test_solutions_solve(number: str) -> None:
    said = chapter.printed(SOLUTIONS[number])
    assert f"✓ {number}" in said and "✗" not in said


def winner(losses: np.ndarray, slopes: np.ndarray, one: float = 1.0) -> np.ndarray:
    gradient, rows = np.zeros_like(slopes), np.arange(len(losses))
    gradient[rows, losses.argmin(1)] = slopes[rows, losses.argmin(1)] * one
    return gradient


def inside(masks: np.ndarray) -> np.ndarray:
    flat = masks.reshape(len(masks), -1).astype(float)
    return flat @ flat.T / flat.sum(1, keepdims=True)


def wrong_way(masks: np.ndarray) -> np.ndarray:
    return inside(masks).T


def as_iou(masks: np.ndarray) -> np.ndarray:
    return overlaps(masks, masks)


def tied(losses: np.ndarray, slopes: np.ndarray) -> tuple[float, np.ndarray]:
    least = losses == losses.min(axis=1, keepdims=True)
    return losses.min(axis=1).mean(), slopes * least[..., None, None] / len(losses)


WRONG = [
    ("9.1", lambda q, alpha: q, "another p"),
    ("9.1", lambda q, alpha: (1 - alpha) * q / ((1 - alpha) * q + alpha * (1 - q)), "foreground"),
    ("9.1", lambda q, alpha: alpha * q, "share q itself"),
    ("9.2", lambda l, s: (l.mean(0).min(), winner(l, s, 1 / len(l))), "mean over the batch first"),
    ("9.2", lambda l, s: (l.min(1).mean(), winner(l, s)), "right but for the mean"),
    ("9.2", lambda l, s: (l.min(1).mean(), s / len(l)), "more than one mask"),
    ("9.2", tied, "argmin takes the first"),
    ("9.2", lambda l, s: l.min(1).mean(), "two things"),
    ("9.3", wrong_way, "wrong way round"),
    ("9.3", as_iou, "symmetric"),
    ("9.3", lambda m: np.nan_to_num(inside(m)), "NaN"),
    ("9.4", lambda a, b, c, d: a / c, "both cuts"),
    ("9.4", lambda a, b, c, d: b / c, "logit above"),
    ("9.4", lambda a, b, c, d: 1.0, "rings"),
]


@pytest.mark.parametrize("number, wrong, hint", WRONG)
def test_wrong_answers_get_a_hint(number, wrong, hint) -> None:
    assert hint in verdict(number, wrong)


# ---- the claims ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene() -> Small:
    return Small.of(SEEDS[0])


@pytest.mark.parametrize("mix", MIXES)
def test_cross_entropy_settles_on_the_average(scene: Small, mix: str) -> None:
    """Kills: a slope without the shares, best where there is one output, a loss without its sign."""
    logits, expected = descend(scene.truths, MIXES[mix], LOSSES["cross-entropy"])
    q = np.tensordot(MIXES[mix], scene.truths, axes=1)
    assert abs(1 / (1 + np.exp(-logits[0])) - q).max() < 0.02
    assert expected[-1] < expected[0] / 5


def test_the_average_is_the_middle_truth_and_unstable(scene: Small) -> None:
    logits = descend(scene.truths, (1 / 3,) * 3, LOSSES["cross-entropy"])[0]
    assert overlaps(logits > 0, scene.truths)[0].argmax() == 1
    assert overlaps(logits > 0, scene.truths)[0, 1] > 0.99
    areas = scene.truths.sum(axis=(1, 2))
    assert stability(logits[0]) == pytest.approx(areas[0] / areas[2], abs=0.01)


def test_focal_drops_what_two_of_three_mean_and_dice_does_not_average(scene: Small) -> None:
    shares = (1 / 3,) * 3
    focal = 1 / (1 + np.exp(-descend(scene.truths, shares, LOSSES["focal"])[0][0]))
    dice = 1 / (1 + np.exp(-descend(scene.truths, shares, LOSSES["dice"])[0][0]))
    assert rings(focal, scene.truths)[1] < 0.5
    assert all(p < 0.02 or p > 0.98 for p in rings(dice, scene.truths))


def test_graded_by_the_mean_all_three_become_one(scene: Small) -> None:
    """Kills: rules exchanged; and the winner of chapter 9 may find one, two or three truths, by its start."""
    grade, thirds, found = LOSSES["20·focal + dice"], (1 / 3,) * 3, []
    mean = descend(scene.truths, thirds, grade, 3, "mean")[0] > 0
    assert np.array_equal(mean[0], mean[1]) and np.array_equal(mean[0], mean[2])
    for start in (0, 3):
        best = descend(scene.truths, thirds, grade, 3, "best", seed=start)[0] > 0
        found.append(int((overlaps(best, scene.truths).max(axis=0) > 0.9).sum()))
    assert min(found) < 3 and max(found) == 3


def test_descend_says_what_it_needs(scene: Small) -> None:
    with pytest.raises(InputError, match='"best" or "mean"'):
        descend(scene.truths, (1, 1, 1), LOSSES["dice"], rule="worst")
    with pytest.raises(InputError, match="a share for each of 3"):
        descend(scene.truths, (1, 1), LOSSES["dice"])


# ---- measures and truths ---------------------------------------------------------------------------------


def test_containment_and_overlaps_of_known_masks() -> None:
    masks = np.zeros((3, 4, 6), bool)
    masks[0, 0, :2], masks[1, :2, :4] = True, True
    assert np.allclose(containment(masks), [[1, 1, 0], [0.25, 1, 0], [np.nan] * 3], equal_nan=True)
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 8, 9)) < 0.5, rng.random((2, 8, 9)) < 0.5
    for k in range(2):
        assert np.allclose(overlaps(a, b)[:, k], iou(a, np.repeat(b[k : k + 1], 3, axis=0)))


def test_truths_around_a_point_are_nested() -> None:
    """Kills: a point outside, levels out of order, a part of nearly all of its whole."""
    found = [known(seed) for seed in SEEDS]
    assert len({q.seed for q in found}) == len(SEEDS)
    for q in found:
        x, y = q.point
        assert q.truths[:, y, x].all() and q.levels == ("subpart", "part", "whole")
        assert (containment(q.truths)[0] == 1).all() and containment(q.truths)[1, 2] == 1
        areas = q.truths.sum(axis=(1, 2))
        assert (areas[1:] >= nested.LARGER * areas[:-1]).all()
        assert q.seed >= HELD_OUT


def test_questions_are_the_first_scenes_that_ask_something() -> None:
    found = list(nested.questions(2, size=64, domain="facade"))
    assert [q.seed for q in found] == sorted({q.seed for q in found}) and found[0].scene.image.shape == (64, 64, 3)
    again = nested.question(found[1].seed, 64, domain="facade")
    assert again is not None and again.point == found[1].point


# ---- the figures -----------------------------------------------------------------------------------------


def test_three_masks_show_what_the_predictor_answers() -> None:
    q = known(SEEDS[0])
    sam = minisam.load("tiny")
    a = answers(sam, q.scene.image, q.point, q.truths, q.names)
    predictor = minisam.SamPredictor(sam)
    predictor.set_image(q.scene.image)
    masks, scores, _ = predictor.predict(np.array([q.point]), np.array([1]))
    assert np.array_equal(a.masks, masks) and np.array_equal(a.predicted, scores)
    said = three_masks.draw(a, 1).words
    true = iou(masks[1:2], q.truths[2:])[0]
    assert f"predicted IoU {scores[1]:.2f}" in said and f"{true:.2f} with {q.names[2]}" in said
    assert f"{containment(masks)[1, 0]:.0%} of it in mask 1" in said


def test_three_masks_of_a_picture_of_ones_own() -> None:
    image = known(SEEDS[0]).scene.image[::2, ::2].copy()
    figure = three_masks.three_masks(image, point=(60, 50), question="?")
    assert figure.children and "True IoU" not in str(figure.children[-1].children[-1].children)
    with pytest.raises(InputError, match="point"):
        three_masks.three_masks(image)
    with pytest.raises(InputError, match="seed"):
        three_masks.three_masks(seeds=())


def test_averaging_and_winners_say_what_they_draw(scene: Small) -> None:
    logits = descend(scene.truths, (1 / 3,) * 3, LOSSES["cross-entropy"], steps=120)[0]
    state = averaging.draw_average(scene, logits[0], "title")
    assert "0.67 in the rest of the head" in state.words and "1.00 with head" in state.words
    assert len(encode(state.picture)) > 5000
    three = np.stack([np.where(truth, 3.0, -3.0) for truth in scene.truths])
    assert "Truths found (IoU above 0.9): 3 of 3" in averaging.draw_winners(scene, three, "title").words
    assert averaging.averaging(losses=["dice"], mixes=["mostly the whole"], steps=2).children
    assert averaging.winners(starts=(0,), steps=2).children
    with pytest.raises(InputError, match="expected losses of"):
        averaging.averaging(losses=["hinge"])
    with pytest.raises(InputError, match="start"):
        averaging.winners(starts=())


# ---- the recorded run ------------------------------------------------------------------------------------


def test_recorded_run_compares_like_with_like() -> None:
    """One file, two seeds; runs of a seed differ in ``multimask`` alone, and began alike."""
    report = multimask.read()
    assert len(report["commit"]) == 40 and len(report["runs"]) == 6
    for seed in {run["settings"]["seed"] for run in report["runs"]}:
        runs = [dict(run["settings"]) for run in report["runs"] if run["settings"]["seed"] == seed]
        assert [s.pop("multimask") for s in runs] == ["best", "mean", "single"]
        assert runs[0] == runs[1] == runs[2]
    for run in report["runs"]:
        assert run["log"][-1]["step"] == run["settings"]["steps"]
        areas = [answer["areas"] for answer in run["answers"]]
        assert areas == [answer["areas"] for answer in report["runs"][0]["answers"]]
        masks = 1 if run["settings"]["multimask"] == "single" else 3
        assert all(np.shape(a["iou"]) == (masks, len(a["areas"])) for a in run["answers"])


def test_recorded_run_is_of_today_s_settings() -> None:
    ambiguity = pytest.importorskip("minisam.experiments.ambiguity", exc_type=ImportError)
    for run in multimask.read()["runs"]:
        s = run["settings"]
        today = ambiguity.settings(s["multimask"], s["seed"])
        assert {**type(today)().plain(), **s} == today.plain(), "settings that came later stand at their defaults"


def test_recorded_run_shows_what_the_text_says() -> None:
    """The text beside the recorded run, as numbers; a new run needs a new text where this fails."""
    runs = {
        rule: [multimask.summary(run) for run in several]
        for rule, several in multimask.by_rule(multimask.read()).items()
    }
    for best, mean, single in zip(*runs.values()):
        assert best["oracle"][1] > 0.5 and best["silent"] < 0.1
        for other in (mean, single):
            assert other["oracle"][1] < 0.05 and other["silent"] > 0.9 and other["undecided"] > 0.8
            assert other["undecided"] > best["undecided"] + 0.3
        assert best["oracle"][0] < 0.1 and best["covered"] == 0
        assert best["wins"].argmax(axis=0).tolist() == [0, 0] and best["wins"][0].min() > 0.8


def a_run(rule: str, seed: int = 0) -> dict:
    """Two points, three masks: IoU (mask, truth) written by hand."""
    first = {"areas": [40, 400], "iou": [[0.9, 0.1], [0.2, 0.8], [0.0, 0.0]], "predicted": [0.1, 0.9, 0.2]}
    second = {
        "areas": [40, 90, 400],
        "iou": [[0.3, 0.5, 0.2], [0.1, 0.2, 0.4], [None, 0, 0]],
        "predicted": [0.5, 0.2, 0.1],
    }
    first |= {"alike": [0.1, None, 0.3], "undecided": [0.0, 0.3, 0.6]}
    second |= {"alike": [0.2, None, None], "undecided": [0.0, 0.0, 0.0]}
    log = [{"step": 20, "loss": 1.0, "iou_1": 0.25, "oracle_1": 0.5, "lr": 0.1}]
    return {"settings": {"multimask": rule, "seed": seed}, "log": log, "answers": [first, second]}


def test_summary_of_known_answers() -> None:
    """Kills: the middle truth for the outer one, the oracle for the scored mask, None as a number."""
    s = multimask.summary(a_run("best"))
    assert np.allclose(s["oracle"], [0.6, 0.6]) and np.allclose(s["chosen"], [0.25, 0.5])
    assert s["covered"] == 0.5 and s["silent"] == 0 and s["undecided"] == pytest.approx(0.15)
    assert np.allclose(s["wins"], [[1, 0], [0, 1], [0, 0]])
    empty = a_run("mean")
    for answer in empty["answers"]:
        answer["iou"] = [[0.0 for _ in answer["areas"]] for _ in range(3)]
    empty["answers"][1]["iou"][2][0] = empty["answers"][1]["iou"][2][2] = 0.1
    s = multimask.summary(empty)
    assert s["silent"] == 0.5 and np.allclose(s["wins"], [[0, 0], [0, 0], [1, 1]])
    empty["answers"].pop()
    assert np.isnan(multimask.summary(empty)["wins"]).all()
    assert "inner nobody; outer nobody" in multimask.wins({"runs": [empty]}).words


def test_multimask_draws_the_file(tmp_path: Path) -> None:
    report = {"runs": [a_run(rule) for rule in multimask.RULES]}
    file = tmp_path / "run.json"
    file.write_text(json.dumps(report))
    assert multimask.multimask(file).children
    assert "inner 0.600, outer 0.600 (scored mask 0.250, 0.500)" in multimask.levels(report).words
    assert "one mask 0%. Its pixels left undecided: best of three 15%" in multimask.openness(report).words
    assert "best of three, seed 0: inner 100%, 0%, 0%; outer 0%, 100%, 0%" in multimask.wins(report).words
    assert "best of three 0.250, 0.500" in multimask.curves(report).words
    with pytest.raises(InputError, match="ambiguity"):
        multimask.read(tmp_path / "none.json")
