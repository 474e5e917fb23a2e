"""AP and AR are pycocotools', lvis-api's and, of one curve, scikit-learn's."""

from __future__ import annotations

import contextlib
import copy
import io
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn import metrics

from minisam.transfer.average_precision import RECALLS, THRESHOLDS, Objects, Tally
from minisam.transfer.labelled import Annotation, LabelledImage
from minisam.transfer.mask_matching import RIGHT, overlaps, pack
from minisam_kernels import InputError
from minisam_kernels.masks import rle

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "an object found twice": (
        "minisam/transfer/mask_matching.py",
        "taken[s, t, chosen] = True",
        "taken[s, t, chosen] = False",
    ),
    "a crowd found once": ("minisam/transfer/mask_matching.py", "free = crowd[g] or not taken", "free = not taken"),
    "ignored objects first": (
        "minisam/transfer/mask_matching.py",
        "for second in (False, True)",
        "for second in (True, False)",
    ),
    "a crowd's whole area in its IoU": (
        "minisam/transfer/mask_matching.py",
        "value = both / (area[d] if crowd[g] else area[d] + g_area[g] - both)",
        "value = both / (area[d] + g_area[g] - both)",
    ),
    "the later of equal runs lost": ("minisam/transfer/mask_matching.py", "j += 2 - 2 * a_first", "j += 2"),
    "boxes one pixel short": (
        "minisam/transfer/mask_matching.py",
        "max(box[d, 0], g_box[g, 0]) + 1",
        "max(box[d, 0], g_box[g, 0])",
    ),
    "no largest precision": ("minisam/transfer/mask_matching.py", "best[d - 1] = max(best[d - 1], best[d])", "pass"),
    "answers beyond k": (
        "minisam/transfer/average_precision.py",
        "chosen = rank[order] < limit",
        "chosen = rank[order] <= limit",
    ),
    "a range without its ends": (
        "minisam/transfer/average_precision.py",
        "(objects.area > high)",
        "(objects.area >= high)",
    ),
    "no federation": ("minisam/transfer/average_precision.py", "if judged is not None:", "if False:"),
    "all categories are complete": (
        "minisam/transfer/average_precision.py",
        "outside[s] = not_drawn | ",
        "outside[s] = ",
    ),
    "unstable sizes": ("minisam/transfer/mask_matching.py", "(total - 1) // height", "total // height"),
}
SIZE = (110, 130)  # so that all sizes, from small to large, occur


def blob(rng: np.random.Generator, like: np.ndarray | None = None) -> np.ndarray:
    """An ellipse with holes, or a mask moved a little."""
    if like is not None:
        return np.roll(like, rng.integers(-3, 4, 2), (0, 1))
    y, x = np.ogrid[: SIZE[0], : SIZE[1]]
    (cy, cx), (ry, rx) = rng.uniform(0, SIZE), rng.uniform(3, 70, 2)
    mask = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
    return mask & ~((y % 7 == 3) & (x % 5 > 2)) if rng.random() < 0.5 else mask


def draw(seed: int, images: int = 4, lvis: bool = False) -> tuple[dict, list[dict]]:
    """A set in COCO's schema, and results: scores with ties, crowds, areas on a range's end, images without objects."""
    rng = np.random.default_rng(seed)
    pictures, annotations, answers = [], [], []
    for number in range(1, images + 1):
        picture = {"id": number, "height": SIZE[0], "width": SIZE[1], "file_name": f"{number}.png"}
        if lvis:
            picture |= {"neg_category_ids": rng.permutation(4)[:1].tolist(), "not_exhaustive_category_ids": [3]}
        pictures.append(picture)
        masks = [blob(rng) for _ in range(rng.integers(0, 7))]
        for mask in masks:
            area = rng.choice([float(mask.sum()), 32.0**2, 96.0**2], p=[0.8, 0.1, 0.1])
            crowd = int(not lvis and rng.random() < 0.2)
            annotations.append(
                {"image_id": number, "category_id": int(rng.integers(4)), "iscrowd": crowd, "area": area}
            )
            annotations[-1] |= {"id": len(annotations), "segmentation": code(mask), "bbox": [0, 0, 9, 9]}
        for _ in range(rng.integers(0, 25)):
            mask = blob(rng, masks[rng.integers(len(masks))] if masks and rng.random() < 0.7 else None)
            score = float(np.round(rng.random(), 1))
            answers.append({"image_id": number, "category_id": int(rng.integers(4)), "score": score})
            answers[-1]["segmentation"] = code(mask)
    categories = [{"id": c, "name": str(c), "frequency": "rcff"[c]} for c in range(4)]
    return {"info": {}, "images": pictures, "annotations": annotations, "categories": categories}, answers


def code(mask: np.ndarray) -> dict:
    return {"size": list(mask.shape), "counts": rle.to_string(rle.encode(mask[None])[0]).decode()}


def tally(truth: dict, answers: list[dict], lvis: bool = False, **settings) -> Tally:
    """Ours, of the same files."""
    groups = {c["id"]: c["frequency"] for c in truth["categories"]} if lvis else None
    counted = Tally(groups=groups, per_image=300 if lvis else None, **settings)
    for picture in truth["images"]:
        drawn = [a for a in truth["annotations"] if a["image_id"] == picture["id"]]
        given = [a for a in answers if a["image_id"] == picture["id"]]
        runs = [[rle.from_string(a["segmentation"]["counts"], SIZE) for a in some] for some in (drawn, given)]
        categories = [[a["category_id"] for a in some] for some in (drawn, given)]
        area, crowd = [a["area"] for a in drawn], [a["iscrowd"] for a in drawn]
        objects = Objects.of(runs[0], SIZE[0], categories[0], area=area, crowd=crowd)
        found = Objects.of(runs[1], SIZE[0], categories[1], [a["score"] for a in given])
        judged = None if not lvis else picture["neg_category_ids"]
        counted.add(objects, found, judged, picture.get("not_exhaustive_category_ids", ()))
    return counted


@given(seed=st.integers(0, 10**6), by_category=st.booleans(), limits=st.sampled_from([(1, 10, 100), (2, 5, 8)]))
def test_curves_are_those_of_pycocotools(seed, by_category, limits):
    """Every element. Kills: an object found twice, a crowd's whole area in its IoU, the later of equal runs lost, no
    largest precision, answers beyond k, a range without its ends."""
    truth, answers = draw(seed)
    if not answers:
        return
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        theirs = COCOeval(coco, coco.loadRes(copy.deepcopy(answers)), "segm")
        theirs.params.useCats, theirs.params.maxDets = int(by_category), list(limits)
        theirs.evaluate()
        theirs.accumulate()
    ours = tally(truth, answers, max_dets=limits, by_category=by_category)
    curves = ours.result(range(4) if by_category else [0])
    np.testing.assert_array_equal(curves.precision, theirs.eval["precision"])
    np.testing.assert_array_equal(curves.recall, theirs.eval["recall"])
    np.testing.assert_array_equal(curves.score, theirs.eval["scores"])
    if limits == (1, 10, 100):
        with contextlib.redirect_stdout(io.StringIO()):
            theirs.summarize()
        figures = ours.summary()
        names = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR@1", "AR@10", "AR@100"]
        values = [figures[n] for n in (*names, "AR@100_small", "AR@100_medium", "AR@100_large")]
        np.testing.assert_array_equal([-1 if value is None else value for value in values], theirs.stats)


@settings(max_examples=4)
@given(seed=st.integers(0, 10**6))
def test_figures_are_those_of_lvis_api(seed):
    """lvis-api 0.5.3, with np.float, which NumPy has no more; with categories, for without them it finds no object at
    all (it looks for category −1). Kills: no federation."""
    pytest.importorskip("lvis")
    from lvis import LVIS, LVISEval, LVISResults

    truth, answers = draw(seed, lvis=True)
    if not answers or not truth["annotations"]:
        return
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr(np, "float", float, raising=False)
        patch.setattr(LVIS, "_load_json", lambda self, path: copy.deepcopy(truth))
        patch.setattr(logging.Logger, "warn", logging.Logger.warning, raising=False)  # gone in Python 3.13
        lvis = LVIS("truth.json")
        theirs = LVISEval(lvis, LVISResults(lvis, copy.deepcopy(answers)), "segm")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    ours = tally(truth, answers, True, max_dets=(300,))
    curves = ours.result(range(4))
    np.testing.assert_array_equal(curves.precision[..., 0], theirs.eval["precision"])
    np.testing.assert_array_equal(curves.recall[..., 0], theirs.eval["recall"])
    figures, names = ours.summary(), {"APs": "AP_small", "APm": "AP_medium", "APl": "AP_large"}
    names |= {name: name for name in ("AP", "AP50", "AP75")} | {f"AP{group}": f"AP_{group}" for group in "rcf"}
    for theirs_name, name in names.items():
        value = -1 if figures.get(name) is None else figures[name]
        assert value == pytest.approx(theirs.get_results()[theirs_name], abs=1e-15), name


def test_curve_is_the_one_of_scikit_learn():
    """At one threshold, from who was right alone. Kills: no largest precision."""
    truth, answers = draw(3, images=12)
    for a in truth["annotations"]:
        a["iscrowd"] = 0
    scores = np.random.default_rng(0).permutation(len(answers)) / len(answers)  # without ties
    answers = [a | {"score": float(score)} for a, score in zip(answers, scores)]
    counted = tally(truth, answers, by_category=False)
    right = np.concatenate([state[0, 0] == RIGHT for _, state in counted._answers[0]])
    score = np.concatenate([scores for scores, _ in counted._answers[0]])
    precision, recall, _ = metrics.precision_recall_curve(right, score)
    recall *= right.sum() / len(truth["annotations"])  # scikit-learn's is the share of what was found at all
    expected = [precision[:-1][recall[:-1] >= r].max(initial=0) for r in RECALLS]
    np.testing.assert_allclose(counted.result().precision[0, :, 0, 0, -1], expected, atol=1e-12)


@given(seed=st.integers(0, 10**6))
def test_overlaps_are_those_of_masks(seed):
    """Kills: the later of equal runs lost, boxes one pixel short, a crowd's whole area in its IoU, unstable sizes."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 6, 2)
    masks = rng.random((9, height, width)) < rng.random((9, 1, 1))
    masks[0], masks[1] = False, True
    answers, objects, crowd = masks[:5], masks[4:], rng.random(5) < 0.3
    a, b = (pack(rle.encode(some), height) for some in (answers, objects))
    np.testing.assert_array_equal(a.area, answers.sum(axis=(1, 2)))
    np.testing.assert_array_equal(a.box[1], [0, 0, width - 1, height - 1])
    start, pair, iou = np.zeros(6, np.int64), np.zeros(25, np.int64), np.zeros(25)
    overlaps(*a, *b, crowd, 0.3, pair, iou, start)
    found = {(d, int(pair[i])): iou[i] for d in range(5) for i in range(start[d], start[d + 1])}
    for d, answer in enumerate(answers):
        for g, truth in enumerate(objects):
            both, either = (answer & truth).sum(), answer.sum() if crowd[g] else (answer | truth).sum()
            if both and both / either >= 0.3:
                assert found.pop((d, g)) == both / either
    assert not found


def test_what_is_ignored():
    """A crowd takes any number of answers, an object goes before it, and a category that is not drawn completely has no
    wrong answers. Kills: a crowd found once, ignored objects first, all categories are complete."""
    left, part, right = np.zeros((3, *SIZE), bool)
    left[5:65, 5:65], part[5:45, 5:45], right[70:100, 70:100] = True, True, True
    code = [rle.encode(mask[None])[0] for mask in (left, part, right)]
    objects = Objects.of([code[0], code[1], code[2]], SIZE[0], crowd=[True, False, False])
    answers = Objects.of([code[0], code[0], code[1], code[2]], SIZE[0], score=[0.9, 0.8, 0.7, 0.6])
    counted = Tally()
    counted.add(objects, answers)  # of the first two, neither is right (IoU .44 with the object) nor wrong
    assert counted.summary()["AP"] == pytest.approx(1) and counted.summary()["AR@100"] == 1
    for incomplete, expected in (((), 0.5), ((0,), 1)):
        counted = Tally()
        counted.add(objects.choose(np.array([2])), answers.choose(np.array([0, 3])), {0}, incomplete)
        assert counted.summary()["AP"] == pytest.approx(expected)


def test_groups_without_categories():
    """The recall of each group: its objects count, those of others are ignored."""
    square, other = np.zeros((2, *SIZE), bool)
    square[5:20, 5:20], other[40:60, 40:90] = True, True
    runs = rle.encode(np.stack([square, other]))
    counted = Tally(max_dets=(1, 2), by_category=False, groups={1: "r", 2: "f"})
    counted.add(Objects.of(runs, SIZE[0], [1, 2]), Objects.of(runs[1:], SIZE[0], score=[0.5]))
    figures = counted.summary()
    assert (figures["AR@1"], figures["AR@1_f"], figures["AR@2_r"], figures["AR@2_large"]) == (0.5, 1, 0, None)


def test_no_id_matters_and_crowds_are_nobodys_to_find():
    """pycocotools never finds an object of id 0; a set of crowds alone has no figure."""
    runs = rle.encode(np.ones((1, *SIZE), bool))
    for crowd, expected in ((False, 1.0), (True, None)):
        annotation = Annotation(runs[0], SIZE, id=0, crowd=crowd)
        counted = Tally(by_category=False)
        counted.add(Objects.drawn(LabelledImage("a.png", SIZE, [annotation])), Objects.of(runs, SIZE[0], score=1.0))
        assert counted.summary()["AR@1"] == expected == pytest.approx(counted.summary()["AP"])


@settings(max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_recall_alone_is_the_same(seed):
    truth, answers = draw(seed)
    both = [tally(truth, answers, by_category=False, curves=curves) for curves in (True, False)]
    np.testing.assert_array_equal(both[0].result().recall, both[1].result().recall)
    assert "AP" not in both[1].summary() and len(THRESHOLDS) == 10


@pytest.mark.parametrize("limits", [(), (0, 1), (10, 1), (5, 5)])
def test_numbers_of_answers_rise(limits):
    with pytest.raises(InputError, match="expected rising numbers of answers"):
        Tally(max_dets=limits)


@pytest.mark.parametrize("bad", [{"score": [0.5, np.nan]}, {"score": [1, 2, 3]}, {"category": []}, {"area": "x"}])
def test_a_value_for_each_mask(bad):
    with pytest.raises(InputError, match="expected"):
        Objects.of(rle.encode(np.ones((2, 4, 4), bool)), 4, **bad)


def rectangle(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    mask = np.zeros((1, 60, 80), bool)
    mask[0, y0:y1, x0:x1] = True
    return rle.encode(mask)[0]


FIRST, SECOND = rectangle(0, 20, 0, 20), rectangle(30, 50, 30, 50)


@pytest.mark.parametrize(
    ("objects", "crowd", "answers", "ap", "recall"),
    [
        ([FIRST, SECOND], False, [FIRST, SECOND], 1, 1),
        ([FIRST], False, [rectangle(0, 20, 5, 25)], 0.3, 0.3),  # an IoU of 15 / 25: right at .5, .55 and .6
        ([FIRST], False, [FIRST, FIRST], 1, 1),  # the second one is wrong, after all recall is reached
        ([FIRST], False, [SECOND, FIRST], 0.5, 1),
        ([FIRST, SECOND], False, [FIRST, FIRST, SECOND], (51 + 50 * 2 / 3) / 101, 1),
        ([FIRST, SECOND], [False, True], [SECOND, rectangle(30, 40, 30, 40), FIRST], 1, 1),  # two in the crowd
        ([FIRST], True, [FIRST], None, None),
        ([FIRST], False, [], 0, 0),
    ],
)
def test_figures_that_a_hand_can_work_out(objects, crowd, answers, ap, recall):
    """Answers are in order of their scores. Kills: an object found twice."""
    count = Tally()
    scores = 1 - np.arange(len(answers)) / 10
    count.add(Objects.of(objects, 60, crowd=crowd), Objects.of(answers, 60, score=scores))
    figures = count.summary()
    assert (figures["AP"], figures["AR@100"]) == (None if ap is None else pytest.approx(ap), recall)
