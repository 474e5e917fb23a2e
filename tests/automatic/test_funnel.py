"""The funnel: every candidate has a fate, and each filter's count is what the records show without it."""

from __future__ import annotations

import numpy as np
import pytest
from test_automatic import ALL, Answers, answering, squares

from minisam import SamAutomaticMaskGenerator
from minisam.automatic.funnel import KEPT, STEPS, Funnel

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a step not recorded": ("minisam/automatic/run.py", "        self.drop(masks, step)\n", ""),
    "recorded as another one": (
        "minisam/automatic/generator.py",
        'step = "stability" if not stable else',
        'step = "crop_edge" if not stable else',
    ),
    "recorded for the wrong mask": (
        "minisam/automatic/generator.py",
        "funnel.fates[point, index] =",
        "funnel.fates[point, 0] =",
    ),
    "what is kept counted as dropped": (
        "minisam/automatic/run.py",
        "        self.funnel.fates.flat[[mask.candidate for mask in kept]] = KEPT\n",
        "",
    ),
    "a filter after the others that is not recorded": (
        "minisam/automatic/run.py",
        "        self.drop(masks, step)\n",
        '        step == "regions" or self.drop(masks, step)\n',
    ),
    "advice without a margin": ("minisam/automatic/funnel.py", "math.floor(100 * best - 1e-3) / 100", "round(best, 2)"),
    "advice by the mean": ("minisam/automatic/funnel.py", "np.quantile(scores, 0.9)", "np.mean(scores)"),
}


def run(answers: Answers, size: tuple[int, int] = (128, 256), **settings) -> tuple[list[dict], Funnel]:
    generator = SamAutomaticMaskGenerator(answering(answers), **settings)
    assert generator.funnel is None
    found = generator.generate(np.zeros((*size, 3), np.uint8))
    assert generator.funnel is not None
    return found, generator.funnel


def test_each_filter_in_turn():
    """What is left after a step is what a generator gives whose later filters are off. Kills: a step not recorded,
    recorded as another one, recorded for the wrong mask, and what is kept counted as dropped."""
    steps = {
        "predicted_iou": {"pred_iou_thresh": 0.6},
        "stability": {"stability_score_thresh": 0.2},
        "box_nms": {"box_nms_thresh": 0.5},
    }
    settings: dict = {"points_per_side": 4, **ALL}
    found, funnel = run(Answers(1), **settings)
    assert funnel.counts() == {"candidates": 48} | dict.fromkeys(STEPS, 48)
    before = 48
    for step, setting in steps.items():
        settings |= setting
        found, funnel = run(Answers(1), **settings)
        assert len(found) == funnel.counts()[step] == list(funnel.counts().values())[-1] < before, step
        before = len(found)
    kept = {(*record["point_coords"][0], np.float32(record["predicted_iou"])) for record in found}
    points, masks = np.nonzero(funnel.fates == KEPT)
    assert {(*funnel.points[i], funnel.predicted_iou[i, m]) for i, m in zip(points, masks)} == kept
    scores = {(record["predicted_iou"], record["stability_score"]) for record in found}
    assert {(float(funnel.predicted_iou[i, m]), float(funnel.stability[i, m])) for i, m in zip(points, masks)} == scores
    low = funnel.fates == STEPS.index("predicted_iou")
    assert (funnel.predicted_iou[low] <= np.float32(0.6)).all() and np.isnan(funnel.stability[low]).all()
    unstable = funnel.fates == STEPS.index("stability")
    assert not (funnel.stability[unstable] >= np.float32(0.2)).any()


def test_crops():
    """Points of the image first, then crop after crop; masks that a crop cuts off, and doubles between crops."""
    settings = {"points_per_side": 2, "crop_n_layers": 1, "crop_overlap_ratio": 0.0, **ALL}
    found, funnel = run(Answers(1), (256, 512), crop_nms_thresh=0.3, **settings)
    counts = funnel.counts()
    assert counts["candidates"] == 3 * 4 * 5 > counts["crop_edge"] == counts["box_nms"] > counts["crop_nms"]
    assert len(found) == counts["crop_nms"] and not (funnel.fates[:4] == STEPS.index("crop_edge")).any()
    assert funnel.points[:5].tolist() == [[128, 64], [384, 64], [128, 192], [384, 192], [64, 32]]
    for record in found:
        assert record["point_coords"][0] in funnel.points.tolist()
    text = f"60 candidates → 60 after predicted_iou → 60 after stability → {counts['crop_edge']} after crop_edge → "
    assert str(funnel) == text + f"{counts['box_nms']} after box_nms → {counts['crop_nms']} after crop_nms"


@pytest.mark.parametrize(
    ("sides", "area", "reasons"),
    [
        ((32, 20, 4), 0, ["coverage", "kept", "kept"]),
        ((20, 4, 10), 100, ["kept", "regions", "kept"]),
        ((0, 4, 10), 100, ["stability", "regions", "kept"]),
    ],
)
def test_the_papers_rules(sides, area, reasons):
    """Masks of all of the image, of crumbs, and of nothing, each with its reason."""
    answers = Answers(0, {(0, 0): (squares(*sides), [0.9, 0.9, 0.9])})
    settings = {"points_per_side": 1, "paper_rules": True, "box_nms_thresh": 1.0, "min_mask_region_area": area}
    _, funnel = run(answers, (64, 64), **settings)
    assert [funnel.reason(0, m) for m in range(3)] == reasons


def test_a_double_once_its_island_is_gone():
    """The mask that needed no change stays. Kills: a filter after the others that is not recorded."""
    low_res = squares(10, 10, 32)
    low_res[0, 30, 30] = 16
    answers = Answers(0, {(0, 0): (low_res, [0.95, 0.9, 0.9])})
    found, funnel = run(answers, (64, 64), points_per_side=1, min_mask_region_area=100, stability_score_thresh=0)
    assert [funnel.reason(0, m) for m in range(3)] == ["regions", "kept", "box_nms"] and len(found) == 1


def test_nothing_is_left():
    """An empty list, and why."""
    found, funnel = run(Answers(1), points_per_side=4, pred_iou_thresh=1)
    assert found == []
    assert str(funnel) == "48 candidates → 0 after predicted_iou → 0 after stability → 0 after box_nms"


def test_the_last_picture_is_kept_and_an_interruption_changes_nothing():
    generator = SamAutomaticMaskGenerator(answering(Answers(1)), points_per_side=2)
    generator.generate(np.zeros((64, 64, 3), np.uint8))
    funnel = generator.funnel

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generator.generate(np.zeros((64, 64, 3), np.uint8), interrupt)
    assert generator.funnel is funnel


NAN = float("nan")


@pytest.mark.parametrize(
    ("ious", "stability", "fates", "expected"),
    [
        ([0.5], [NAN], ["predicted_iou"], {"pred_iou_thresh": "0.49", "stability_score_thresh": "0"}),
        ([0.759], [NAN], ["predicted_iou"], {"pred_iou_thresh": "0.75", "stability_score_thresh": "0"}),
        (
            [0.0, 1.0] * 50,
            [NAN] * 100,
            ["predicted_iou"] * 100,
            {"pred_iou_thresh": "0.99", "stability_score_thresh": "0"},
        ),
        ([-0.3, 0.004], [NAN] * 2, ["predicted_iou"] * 2, {"pred_iou_thresh": "0", "stability_score_thresh": "0"}),
        ([NAN, NAN], [NAN] * 2, ["predicted_iou"] * 2, {}),
        ([NAN, 0.9], [NAN, 0.4], ["predicted_iou", "stability"], {"stability_score_thresh": "0.39"}),
        ([0.9, 0.9], [0.127, NAN], ["stability"] * 2, {"stability_score_thresh": "0.12"}),
        ([0.9], [NAN], ["stability"], {"stability_score_thresh": "0"}),
        ([0.9, 0.2], [0.8, NAN], ["coverage", "predicted_iou"], {"preset": "meta"}),
        ([0.9], [0.8], ["regions"], {"preset": "meta"}),
        ([0.9, 0.1], [0.8, NAN], ["kept", "predicted_iou"], {}),
    ],
)
def test_advice(ious, stability, fates, expected):
    """Settings that keep something, where nothing was kept. Kills: advice without a margin, advice by the mean."""
    numbers = [[(*STEPS, "kept").index(fate)] for fate in fates]
    columns = (np.array(column, np.float32)[:, None] for column in (ious, stability))
    assert Funnel(np.zeros((len(ious), 2)), *columns, np.array(numbers, np.uint8)).advice() == expected
