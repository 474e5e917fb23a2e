"""Chapter 12: its exercises, its figures (the funnel is the generator), and what its text says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import chapter
import minisam
from minisam.automatic.crops import crop_boxes
from minisam.exercises import verdict
from minisam_kernels import InputError
from minisam_kernels.losses.stability_score import stability_score
from minisam_kernels.masks import rle
from minisam_kernels.masks.nms import nms as right_nms

pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")
pytest.importorskip("skimage")
from minisam.figures import funnel, grids, stability
from minisam.figures.shared import candidates

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a threshold with the wrong strictness": (
        "minisam/figures/shared/candidates.py",
        "not c.stability >= least_stability",
        "not c.stability > least_stability",
    ),
    "another order": (
        "minisam/figures/shared/candidates.py",
        """for k in kept]


def _cleaned""",
        """for k in sorted(kept)]


def _cleaned""",
    ),
    "another offset": (
        "minisam/figures/shared/candidates.py",
        "model.mask_threshold, offset)",
        "model.mask_threshold, 1.0)",
    ),
    "cleaning without NMS": (
        "minisam/figures/shared/candidates.py",
        "    return _distinct(some, 1 - changed,",
        "    return some or (some, changed,",
    ),
}

SOLUTIONS = chapter.solutions(12)


@pytest.mark.parametrize("number", ["12.1", "12.2", "12.3", "12.4"])
def test_solutions_pass(number: str) -> None:
    printed = chapter.printed(SOLUTIONS[number])
    assert f"✓ {number}" in printed and "✗" not in printed


def overlap(a: Any, b: Any) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union else float("nan")


def some_nms(against: str = "kept", strict: bool = True, nan: float = float("nan"), order: int = -1) -> Any:
    def answer(boxes: Any, scores: Any, t: float) -> list[int]:
        kept: list[int] = []
        seen: list[int] = []
        for i in np.argsort(order * scores, kind="stable").tolist():
            others = [overlap(boxes[i], boxes[k]) for k in (kept if against == "kept" else seen)]
            others = [nan if o != o else o for o in others]
            if not any(o > t if strict else o >= t for o in others):
                kept.append(i)
            seen.append(i)
        return kept

    return answer


def divided(logits: Any, offset: float, empty: float = 0.0, strict: bool = True) -> float:
    inner, outer = (logits > offset).sum(), (logits > -offset).sum()
    if not strict:
        inner, outer = (logits >= offset).sum(), (logits >= -offset).sum()
    return inner / outer if outer else empty


WRONG = {
    "equality counts": ("12.1", some_nms(strict=False), "not above it"),
    "the gone suppress": ("12.1", some_nms(against="seen"), "gone itself suppresses"),
    "0/0 is 1": ("12.1", some_nms(nan=1.0), "0/0 is NaN"),
    "worst first": ("12.1", some_nms(order=1), "expected"),
    "in the order of the boxes": ("12.1", lambda b, s, t: np.sort(right_nms(b, s, t)), "expected"),
    "ties backwards": ("12.1", lambda b, s, t: some_nms()(b, s - 1e-9 * np.arange(len(s))[::-1], t), "expected"),
    "empty is 0": ("12.2", divided, "0/0, NaN"),
    "empty is 1": ("12.2", lambda z, d: divided(z, d, 1.0), "0/0, NaN"),
    "not strict": ("12.2", lambda z, d: divided(z, d, np.nan, False), "strict"),
    "raises": ("12.2", lambda z, d: int((z > d).sum()) / int((z > -d).sum()), "ZeroDivisionError"),
    "threshold 0": ("12.2", lambda z, d: (z > d).sum() / max((z > 0).sum(), 1), "Inner"),
    "two crops a layer": ("12.3", lambda n, L, f: sum(2**i * int(n / f**i) ** 2 for i in range(L + 1)), "2ⁱ × 2ⁱ"),
    "the factor on points": ("12.3", lambda n, L, f: sum(4**i * n * n // f**i for i in range(L + 1)), "rounded down"),
    "no image": ("12.3", lambda n, L, f: sum(4**i * int(n / f**i) ** 2 for i in range(1, L + 1)), "2ⁱ × 2ⁱ"),
    "the image's edges too": ("12.4", lambda b, c, s: any(abs(p - q) <= 20 for p, q in zip(b, c)), "image's too"),
    "below 20": (
        "12.4",
        lambda b, c, s: any(abs(p - q) < 20 and abs(p - r) > 20 for p, q, r in zip(b, c, (0, 0, s[1], s[0]))),
        "Exactly 20",
    ),
    "left and top only": (
        "12.4",
        lambda b, c, s: any(abs(p - q) <= 20 and abs(p - r) > 20 for p, q, r in zip(b[:2], c, (0, 0))),
        "right edge",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_get_a_hint(name: str) -> None:
    number, answer, word = WRONG[name]
    assert word in verdict(number, answer)


# ---- the funnel ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sam() -> minisam.Sam:
    return minisam.load("tiny")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    from minisam.figures.click import photos

    return np.ascontiguousarray(photos(["coffee"])[0].image[::2, ::2])


@pytest.fixture(scope="module")
def answers(sam: minisam.Sam, image: np.ndarray) -> candidates.Answers:
    predictor = minisam.SamPredictor(sam)
    predictor.set_image(image)
    return candidates.ask(predictor, 6)


def settings(rules: candidates.Rules) -> dict[str, Any]:
    return {name: getattr(rules, name) for name in rules.__dataclass_fields__}


@pytest.mark.parametrize("region", [0, 60])
@pytest.mark.parametrize("share", [1 / 3, 0.9])
def test_survivors_are_the_generators_records(
    sam: minisam.Sam, image: np.ndarray, answers: candidates.Answers, region: int, share: float
) -> None:
    """Kills: another order, another offset, cleaning without NMS."""
    rules = replace(candidates.fitting(answers, share), min_mask_region_area=region)
    every = candidates.candidates(answers, rules.stability_score_offset)
    left = candidates.sift(every, rules, image.shape[:2])
    generator = minisam.SamAutomaticMaskGenerator(sam, 6, **settings(rules))
    records = generator.generate_encoded(answers.predictor)
    assert len(left) == len(records) > 0
    for c, record in zip(left, records):
        assert np.array_equal(rle.decode(c.counts, image.shape[:2]), record["segmentation"])
        assert [list(c.point)] == record["point_coords"]
        assert (c.iou, c.stability, c.area) == tuple(record[k] for k in ("predicted_iou", "stability_score", "area"))
    assert sum(not c.dropped for c in every) == len(left)
    names = {"predicted IoU": "predicted_iou", "box NMS": "box_nms", "small regions": "regions", "": "kept"}
    told = [generator.funnel.reason(point, mask) for point in range(36) for mask in range(3)]
    assert [names.get(c.dropped, c.dropped) for c in every] == told
    assert all(c.reason for c in every if c.dropped)


@pytest.mark.parametrize("thresholds", [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)])
def test_extreme_rules_are_the_generators_too(
    sam: minisam.Sam, image: np.ndarray, answers: candidates.Answers, thresholds: tuple[float, float]
) -> None:
    rules = candidates.Rules(*thresholds)
    left = candidates.sift(candidates.candidates(answers), rules, image.shape[:2])
    records = minisam.SamAutomaticMaskGenerator(sam, 6, **settings(rules)).generate_encoded(answers.predictor)
    assert [c.area for c in left] == [record["area"] for record in records]


def made(iou: float, stable: float, box: tuple[int, int, int, int]) -> candidates.Candidate:
    mask = np.zeros((1, 20, 20), bool)
    mask[0, box[1] : box[3] + 1, box[0] : box[2] + 1] = True
    return candidates.Candidate((1.0, 2.0), 1, iou, stable, rle.encode(mask)[0], int(mask.sum()), np.array(box))


def test_reasons_tell_the_numbers() -> None:
    """Kills: a threshold with the wrong strictness."""
    half = float(np.float32(0.5))
    every = [
        made(half, 1.0, (0, 0, 9, 9)),  # exactly at the threshold: not above
        made(0.9, half, (0, 0, 9, 9)),  # exactly at it: stays
        made(0.8, 0.4, (0, 0, 9, 9)),
        made(0.8, float("nan"), (0, 0, 9, 9)),
        made(0.7, 0.9, (0, 0, 9, 8)),  # box IoU 72/81 with the second
    ]
    left = candidates.sift(every, candidates.Rules(0.5, 0.5), (20, 20))
    assert left == [every[1]]
    assert [c.dropped for c in every] == ["predicted IoU", "", "stability", "stability", "box NMS"]
    assert "0.500, not above 0.5" in every[0].reason and "0.400, not at least 0.5" in every[2].reason
    assert "NaN" in every[3].reason and "box IoU 0.889 above 0.7" in every[4].reason
    assert (
        np.isnan(candidates.box_iou(np.ones(4), np.ones(4)))
        and candidates.box_iou(np.r_[0, 0, 2, 2], np.r_[0, 0, 2, 1]) == 0.5
    )

    came = [funnel.words(every, candidates.Rules(0.5, 0.5), stage) for stage in range(5)]
    assert came[1].startswith("Stage 1, predicted IoU above 0.5: 5 came, 1 dropped, 4 stay.")
    assert "4 came, 2 dropped, 2 stay. 1 of the dropped were empty (NaN)." in came[2]
    assert "2 came, 1 dropped, 1 stay." in came[3] and "1 came, 0 dropped, 1 stay." in came[4]
    state = funnel.draw_examples(np.zeros((20, 20, 3), np.uint8), every, candidates.Rules(0.5, 0.5), 3, "made")
    assert "1 dropped by “box NMS”: box IoU 0.889" in state.words


def test_fitting_rules_let_a_share_pass(answers: candidates.Answers) -> None:
    rules = candidates.fitting(answers, 0.5)
    assert (answers.ious > rules.pred_iou_thresh).mean() == pytest.approx(0.5, abs=0.12)  # two digits
    assert 0 <= rules.stability_score_thresh <= 1 and rules.stability_score_offset in (1.0, 0.5, 0.2, 0.1, 0.05)
    with pytest.raises(InputError, match="share"):
        candidates.fitting(answers, 0)
    with pytest.raises(InputError, match="without"):
        candidates.ask(minisam.SamPredictor(answers.predictor.model), 2)


def test_figures_build_small(sam: minisam.Sam, image: np.ndarray) -> None:
    small = image[::2, ::2]
    rules = candidates.Rules(0.1, 0.1, stability_score_offset=0.2)
    for widget in (
        funnel.funnel({"small": small}, sam, 2, rules),
        stability.stability(small, (5, 5), sam, (0.0, 1.0)),
        grids.grids(small, sam, (1, 2), pred_iou_thresh=0.1, stability_score_thresh=0.0),
    ):
        assert "Guess first" in widget.children[0].value
    for call in (
        lambda: funnel.funnel({}, sam),
        lambda: stability.stability(offsets=(-1.0,)),
        lambda: grids.grids(sides=()),
    ):
        with pytest.raises(InputError):
            call()


# ---- stability, grids, text ------------------------------------------------------------------------------


def test_stability_is_of_the_models_logits(sam: minisam.Sam, image: np.ndarray) -> None:
    logits, iou = stability.logits_at(sam, image, (100, 80))
    predictor = minisam.SamPredictor(sam)
    predictor.set_image(image)
    masks, scores, _ = predictor.predict(np.array([[100, 80]]), np.array([1]))
    assert np.array_equal(logits > 0, masks) and np.array_equal(iou, scores)
    for offset in (0.1, 0.5):
        inner, outer = (logits[0] > offset).sum(), (logits[0] > -offset).sum()
        words = stability.words(logits[0], offset, "mask 1")
        assert f"{inner} pixels inside {outer}: stability {inner / outer:.3f}" in words
    assert "0.269 and 0.731" in stability.words(logits[0], 1.0, "")
    assert "0/0 = NaN" in stability.words(np.full((2, 2), -9.0, np.float32), 1.0, "")
    assert "1.000, which passes" in stability.words(np.full((2, 2), 9.0, np.float32), 1.0, "")


def test_grids_are_the_generators(sam: minisam.Sam, image: np.ndarray) -> None:
    rules = {"pred_iou_thresh": 0.1, "stability_score_thresh": 0.0}
    found = grids.measure(sam, image, (2,), **rules)[0]
    records = minisam.SamAutomaticMaskGenerator(sam, 2, **rules).generate(image)
    assert len(found.records) == len(records)
    union = np.any([record["segmentation"] for record in records], axis=0)
    words = grids.words(found)
    assert "2 × 2 points: 12 candidates" in words and f"{len(records)} masks stay" in words
    assert f"cover {union.mean():.0%} of the image" in words


def test_statements_of_the_text(sam: minisam.Sam, image: np.ndarray, answers: candidates.Answers) -> None:
    """Untouched masks come first after cleaning; an X loses a bar; .45 to .55 is δ = .2; 20 crops."""
    assert [round(1 / (1 + np.exp(sign * 0.2)), 2) for sign in (1, -1)] == [0.45, 0.55]
    assert len(crop_boxes((400, 600), 2, 512 / 1500)) == 21
    assert np.isnan(stability_score(np.full((1, 2, 2), -9.0, np.float32))[0])
    mixed = 0
    for area in (2, 4, 8, 15, 30, 60):  # which of them leaves some masks as they were depends on the weights
        rules = replace(candidates.fitting(answers, 0.9), min_mask_region_area=area)
        left = candidates.sift(candidates.candidates(answers, rules.stability_score_offset), rules, image.shape[:2])
        cleaned = ["cleaned" in c.reason for c in left]
        assert cleaned == sorted(cleaned)
        mixed += any(cleaned) and not all(cleaned)
    assert mixed
    y, x = np.mgrid[:100, :100]
    bars = np.stack([abs(x - y) < 4, abs(x + y - 99) < 4])
    boxes = np.array([rle.box(counts, (100, 100)) for counts in rle.encode(bars)], float)
    assert right_nms(boxes, np.array([0.9, 0.8]), 0.7).tolist() == [0]
    assert not (np.float64("nan") < 0.95) and not (np.float64("nan") >= 0.95)
