"""Automatic masks beside the truth: every share again by pycocotools, thresholds as the generator applies them, a
person's corrections, and the command from folder to page."""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import minisam
from minisam.commands.engine_tasks import add_audit
from minisam.engine import audit_report
from minisam.engine.audit import (
    BOUNDS,
    MATCHED,
    Curve,
    audit,
    check,
    choose_thresholds,
    kept,
    on_split,
    operating_curve,
    repaint,
)
from minisam.engine.masks import as_picture, nearest, one_to_one, overlap, pictures_of
from minisam.files.formats import as_sa1b
from minisam.files.records import read_record
from minisam_kernels import InputError
from minisam_kernels.masks import rle
from small_models import SMALL, picture

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "masks of no object that count": ("minisam/engine/audit.py", "np.where(matched, every, 0.0)", "every"),
    "masks of no object among the matched": (
        "minisam/engine/audit.py",
        'every[matched], "one_to_one"',
        'every, "one_to_one"',
    ),
    "doubles that count": ("minisam/engine/audit.py", "[one_to_one(iou) for", "[nearest(iou) for"),
    "the least overlap in sum": ("minisam/engine/masks.py", "maximize=True", "maximize=False"),
    "a truth of another picture": ("minisam/engine/masks.py", "zip(records, truths)]", "zip(records, truths[::-1])]"),
    "objects for masks": ("minisam/engine/audit.py", "nearest(iou.T)", "nearest(iou)"),
    "NMS before the filter": (
        "minisam/engine/audit.py",
        "(picture.stability >= least) | (least <= 0)",
        "(picture.stability >= least) | (least <= 1)",
    ),
    "a threshold that is reached": (
        "minisam/engine/audit.py",
        "[some] > np.float32(bound)",
        "[some] >= np.float32(bound)",
    ),
    "crops as one": ("minisam/engine/audit.py", "which[some] == crop", "which[some] >= crop"),
    "the larger crop first": ("minisam/engine/audit.py", "smallest = 1 /", "smallest = -1 /"),
    "the smallest yield": ("minisam/engine/audit.py", "p, s = max(points", "p, s = min(points"),
    "quality without yield": (
        "minisam/engine/audit.py",
        "rank = (curve.masks, share) if good.any()",
        "rank = (share, curve.masks) if good.any()",
    ),
    "one mask is enough": ("minisam/engine/audit.py", "curve.masks >= max(fewest, 1)", "curve.masks >= 1"),
    "thresholds of the same split": (
        "minisam/engine/audit_report.py",
        "choice, found[1::2], truths[1::2]",
        "choice, found[::2], truths[::2]",
    ),
    "every scene the first": ("minisam/engine/audit_report.py", "render(int(number), size[0])", "render(0, size[0])"),
    "a brush of any width": (
        "minisam/engine/audit.py",
        "binary_opening(mask ^ truth, np.ones((brush, brush)))",
        "(mask ^ truth)",
    ),
    "deleted masks that were right": (
        "minisam/engine/audit.py",
        "shares(values[left], belongs[left])",
        "shares(values, belongs)",
    ),
    "another object to correct towards": ("minisam/engine/audit.py", "int(iou[m].argmax())", "0"),
}
SIDE = 40


def rectangle(x: int, y: int, width: int, height: int, side: int = SIDE) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[y : y + height, x : x + width] = True
    return mask


def made_up(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """True masks and automatic ones of one picture: some as good as right, some doubled, some of nothing."""
    truth = [rectangle(*rng.integers(0, 20, 2), *rng.integers(4, 20, 2)) for _ in range(rng.integers(0, 6))]
    found = [rectangle(*rng.integers(0, 20, 2), *rng.integers(1, 12, 2)) for _ in range(rng.integers(0, 4))]
    for mask in truth:
        for _ in range(rng.integers(0, 3)):
            changed = mask.copy()
            changed[rng.integers(0, SIDE, 3), rng.integers(0, SIDE, 3)] ^= True
            found.append(np.roll(changed, rng.integers(-2, 3), axis=rng.integers(2)))
    empty = np.zeros((0, SIDE, SIDE), bool)
    return np.array(truth) if truth else empty, np.array(found) if found else empty


def annotations(masks: np.ndarray, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Masks as a file has them, with scores."""
    return [
        {
            "segmentation": {"size": list(mask.shape), "counts": rle.to_string(counts).decode()},
            "area": int(mask.sum()), "bbox": [0, 0, 1, 1], "predicted_iou": float(np.float32(rng.random())),
            "stability_score": float(np.float32(rng.random())), "crop_box": [0, 0, SIDE - 1, SIDE - 1],
            "point_coords": [[0.0, 0.0]],
        }
        for mask, counts in zip(masks, rle.encode(masks))
    ]  # fmt: skip


# ---- quality ---------------------------------------------------------------------------------------------------------


def test_shares_are_those_of_pycocotools() -> None:
    """All three definitions, recomputed. Kills: masks of no object that count, masks of no object among the matched,
    doubles that count, the least overlap in sum, a truth of another picture, objects for masks."""
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(3)
    cases = [made_up(rng) for _ in range(12)]
    every, single, reached = [], [], []
    for truth, found in cases:
        one, other = ([coco.encode(np.asfortranarray(m.astype(np.uint8))) for m in some] for some in (found, truth))
        iou = np.zeros((len(found), len(truth)))
        if len(found) and len(truth):
            iou[:] = coco.iou(one, other, [0] * len(truth))
        np.testing.assert_array_equal(overlap(as_picture(found), as_picture(truth)), iou)
        every += [max(row, default=0.0) for row in iou.tolist()]
        reached += [max(column, default=0.0) for column in iou.T.tolist()]
        best = np.zeros(len(found))
        some, many = sorted((iou, iou.T), key=len)  # each of the fewer takes one of the others: try all ways
        for taken in itertools.permutations(range(len(many)), len(some)) if len(many) <= 7 else ():
            total = np.zeros(len(found))
            for i, j in enumerate(taken):
                m, n = (i, j) if some is iou or len(found) == len(some) else (j, i)
                total[m] = iou[m, n]
            best = max(best, total, key=lambda values: values.sum())
        single += best.tolist() if len(many) <= 7 else one_to_one(iou).tolist()
    report = audit([found for _, found in cases], [truth for truth, _ in cases])
    values = np.array(every)
    assert (values < MATCHED).any() and report["of_no_object"] == (values < MATCHED).sum()
    expected = {
        "all": np.where(values < MATCHED, 0, values),
        "matched": values[values >= MATCHED],
        "one_to_one": single,
    }
    for name, some in expected.items():
        assert report["mean_iou"][name] == pytest.approx(np.mean(some)), name
        for bound in BOUNDS:
            entry = report["shares"][name][f"{bound:g}"]
            assert entry["mean"] == pytest.approx(np.mean(np.array(some) > bound)), (name, bound)
            assert entry["low"] <= entry["mean"] <= entry["high"]
    for bound in BOUNDS:
        assert report["found"][f"{bound:g}"]["mean"] == pytest.approx(np.mean(np.array(reached) > bound))
    assert report["shares"]["one_to_one"]["0.75"]["mean"] < report["shares"]["all"]["0.75"]["mean"]
    assert (report["pictures"], report["masks"], report["objects"]) == (12, len(every), len(reached))


def test_pictures_without_masks_have_no_share() -> None:
    empty, one = np.zeros((0, 8, 8), bool), np.ones((1, 8, 8), bool)
    report = audit([empty], [one])
    assert report["shares"]["all"] == {"0.9": None, "0.75": None} and report["mean_iou"]["all"] is None
    assert report["found"]["0.75"]["mean"] == 0
    report = audit([one, empty], [empty, empty])
    assert report["shares"]["all"]["0.9"]["mean"] == 0 and report["shares"]["matched"]["0.9"] is None


def test_masks_are_read_from_records_and_arrays() -> None:
    masks = np.stack([rectangle(1, 2, 3, 4), rectangle(5, 5, 9, 2)])
    records = annotations(masks, np.random.default_rng(0))
    records[1]["stability_score"] = None  # of 0/0
    for some in (masks, list(masks), records, as_picture(records), [{"segmentation": mask} for mask in masks]):
        np.testing.assert_array_equal(as_picture(some).masks(), masks)
    read = as_picture(records)
    assert np.isnan(read.stability[1]) and read.predicted_iou[0] == np.float32(records[0]["predicted_iou"])
    assert as_picture([]).size is None and as_picture(masks).size == (SIDE, SIDE)


def test_bad_masks_are_one_line() -> None:
    one = np.ones((1, 8, 8), bool)
    for wrong, message in (
        ([np.ones((8, 8))], r"expected mask 0 as bool \(H, W\), got float64"),
        ([{"segmentation": None}], "expected mask 0 as bool"),
        ([{"segmentation": {"counts": "x"}}], "expected a mask of"),
        ([one[0], one[0, :4]], "expected the masks of a picture to have one size"),
    ):
        with pytest.raises(InputError, match=message):
            as_picture(wrong)
    with pytest.raises(InputError, match="of at least 1 picture, got 0 for 0"):
        audit([], [])
    with pytest.raises(InputError, match="got 1 for 2"):
        audit([one, one], [one])
    with pytest.raises(InputError, match=r"like the truth of picture 0, got \(4, 8\)"):
        pictures_of([one[:, :4]], [one])
    with pytest.raises(InputError, match="predicted_iou and stability_score, got picture 0 without"):
        operating_curve([one], [one])
    with pytest.raises(InputError, match="a bound among"):
        curve([[1]], [[1]]).share(0.6)


# ---- thresholds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [0, 1])
def test_curve_is_what_the_generator_gives(layers: int) -> None:
    """At every pair of thresholds, with crops and without. Kills: NMS before the filter, a threshold that is reached,
    crops as one."""
    sam = minisam.build(SMALL, seed=3)
    image = picture(48, 64, seed=2)
    predictor = minisam.SamPredictor(sam)
    predictor.set_image(image)
    logits, _, _ = predictor.predict(np.array([[30.0, 20.0]]), np.array([1]), return_logits=True)
    sam.mask_threshold = float(np.quantile(logits, 0.9))  # masks of all sizes, at different places
    settings: dict[str, Any] = {"points_per_side": 5, "crop_n_layers": layers, "stability_score_offset": 0.02}

    def generate(**changes: float) -> list[dict[str, Any]]:
        return minisam.SamAutomaticMaskGenerator(sam, **settings, **changes).generate(image)

    whole = generate(pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1, crop_nms_thresh=1)
    scores = as_picture(whole)
    # thresholds that are scores, so that "above" and "at least" differ
    positive = scores.predicted_iou[scores.predicted_iou > 0]
    predicted = [0.0, *np.quantile(positive, [0.1, 0.3, 0.5, 0.7, 0.9], method="nearest").tolist()]
    stable = [0.0, *np.nanquantile(scores.stability, [0.4, 0.55, 0.7, 0.85], method="nearest").tolist()]
    truth = np.stack([record["segmentation"] for record in whole[::7]])
    measured = operating_curve([whole], [truth], predicted, stable)
    counts = set()
    for (p, iou), (s, stability) in itertools.product(enumerate(predicted), enumerate(stable)):
        records = generate(pred_iou_thresh=iou, stability_score_thresh=stability)
        assert measured.masks[p, s] == len(records), (iou, stability)
        values = nearest(overlap(as_picture(records), as_picture(truth)))
        assert measured.above[:, p, s].tolist() == [(values > bound).sum() for bound in BOUNDS]
        counts.add(len(records))
    assert len(counts) > 5, counts
    again = Curve.from_json(json.loads(json.dumps(measured.as_json())))
    assert np.array_equal(again.masks, measured.masks) and np.array_equal(again.share(0.75), measured.share(0.75), True)


def test_of_two_crops_the_smaller_one_wins() -> None:
    """Although its mask has the lower score. Kills: the larger crop first."""
    records = annotations(np.stack([rectangle(5, 5, 12, 12), rectangle(5, 5, 12, 11)]), np.random.default_rng(0))
    records[0] |= {"predicted_iou": 0.9, "stability_score": 0.9, "crop_box": [0, 0, SIDE, SIDE]}
    records[1] |= {"predicted_iou": 0.6, "stability_score": 0.9, "crop_box": [0, 0, SIDE // 2, SIDE // 2]}
    some = kept(as_picture(records), 0.5, [0.5, 0.7, 0.95])
    assert [one.tolist() for one in some] == [[1], [0], []]


def curve(masks: Any, above: Any) -> Curve:
    masks = np.array(masks)
    both = np.stack([np.zeros_like(masks), np.array(above)])
    return Curve(np.linspace(0, 0.9, len(masks)), np.linspace(0, 0.8, len(masks[0])), 10, masks, both)


def test_thresholds_of_the_largest_good_yield() -> None:
    """Kills: the smallest yield, quality without yield, one mask is enough."""
    measured = curve([[900, 500, 300], [400, 200, 100], [120, 90, 3]], [[400, 300, 271], [370, 180, 99], [110, 90, 3]])
    choice = choose_thresholds(measured)
    assert (choice.pred_iou_thresh, choice.stability_score_thresh) == (0.45, 0.0) and choice.reached
    assert (choice.masks, choice.per_picture, choice.share) == (400, 40.0, 0.925)
    assert choose_thresholds(measured, least=0.95).masks == 100
    few = curve([[900, 3]], [[400, 3]])
    choice = choose_thresholds(few)
    assert not choice.reached and choice.masks == 900 and choice.share == pytest.approx(4 / 9)
    with pytest.raises(InputError, match="expected at least 1000 masks to choose thresholds by, got 900"):
        choose_thresholds(few, fewest=1000)
    equal = choose_thresholds(curve([[100, 100], [100, 100]], [[95, 95], [99, 99]]))
    assert (equal.pred_iou_thresh, equal.stability_score_thresh) == (0.9, 0.0)


def test_a_choice_is_tried_on_other_pictures() -> None:
    rng = np.random.default_rng(0)
    truth = np.stack([rectangle(2, 2, 10, 10), rectangle(20, 20, 15, 15)])
    good, bad = annotations(truth, rng), annotations(np.stack([rectangle(2, 25, 9, 9)]), rng)
    for record in good:
        record |= {"predicted_iou": 0.9, "stability_score": 0.9}
    bad[0] |= {"predicted_iou": 0.3, "stability_score": 0.9}
    first = [good + bad] * 20
    choice = choose_thresholds(operating_curve(first, [truth] * 20))
    assert choice.reached and choice.per_picture == 2 and choice.share == 1
    bad[0]["predicted_iou"] = 0.95  # on another split the model is sure of itself
    other = on_split(choice, [good + bad] * 5, [truth] * 5)
    assert other.pred_iou_thresh == choice.pred_iou_thresh and not other.reached
    assert (other.masks, other.per_picture, other.share) == (15, 3.0, pytest.approx(2 / 3))
    assert on_split(choice, [[]], [truth]).share == 0


# ---- a person's corrections ------------------------------------------------------------------------------------------


def test_a_brush_leaves_thin_errors() -> None:
    """Kills: a brush of any width."""
    truth = rectangle(10, 10, 20, 20)
    thin = rectangle(10, 10, 21, 20)  # a column too many
    assert np.array_equal(repaint(thin, truth), thin)
    thick = rectangle(10, 10, 23, 20)
    assert np.array_equal(repaint(thick, truth), truth) and np.array_equal(repaint(truth, truth), truth)
    missing = rectangle(10, 10, 15, 20)
    assert np.array_equal(repaint(missing, truth), truth)


def test_check_counts_what_changed() -> None:
    """Kills: deleted masks that were right, another object to correct towards."""
    truth = np.stack([rectangle(0, 0, 10, 10), rectangle(20, 20, 20, 20)])
    found = np.stack([rectangle(20, 20, 20, 20), rectangle(20, 20, 20, 15), rectangle(30, 0, 5, 5)])
    report = check([found], [truth])
    assert (report["pictures"], report["masks"], report["deleted"], report["untouched"]) == (1, 3, 1, 1)
    assert report["shares"]["corrected"]["0.9"]["mean"] == pytest.approx(1 / 2)
    assert report["shares"]["corrected"]["0.75"]["mean"] == pytest.approx(1 / 2), "300 of 400 is not above .75"
    assert report["shares"]["deleted_as_0"]["0.9"]["mean"] == pytest.approx(1 / 3) and report["person"] == 1
    lazy = check([found], [truth], lambda mask, thing: mask)
    assert lazy["untouched"] == 2 and lazy["shares"]["corrected"]["0.9"]["mean"] == 1
    assert lazy["person"] == pytest.approx((1 + 0.75) / 2)
    some = check([found] * 9, [truth] * 9, pictures=4)
    assert some["pictures"] == 4 and some["masks"] == 12
    assert check([found[:0]], [truth])["shares"]["corrected"]["0.9"] is None


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A store of ten pictures and their truth: good masks with high scores; at every second picture bad ones too."""
    rng = np.random.default_rng(1)
    for number in range(10):
        truth = np.stack([rectangle(2 * k, 3 * k, 12, 10) for k in range(5)])
        found = annotations(truth, rng)
        for record in found:
            record |= {"predicted_iou": 0.75, "stability_score": 1.0}
        if number % 2:
            found += annotations(np.stack([rectangle(1, 30, 30, 2)]), rng)
            found[-1] |= {"predicted_iou": 0.9, "stability_score": 1.0}
        for name, masks in (("out/pictures", found), ("truth/annotations", annotations(truth, rng))):
            path = tmp_path / name / f"{number}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(as_sa1b(f"{number}.jpg", (SIDE, SIDE), masks)))
    (tmp_path / "out" / "manifest.json").write_text("{}")
    return tmp_path / "out", tmp_path / "truth"


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    add_audit(parser.add_subparsers())
    options = parser.parse_args(["audit", *map(str, words)])
    return int(options.run(options))


def test_command_writes_figures_and_a_page(folders: tuple[Path, Path], tmp_path: Path, capsys: Any) -> None:
    """Kills: thresholds of the same split."""
    out, truth = folders
    (out / "pictures" / "bad.json").write_text("{")
    (out / "pictures" / "lonely.json").write_text((out / "pictures" / "1.json").read_text())
    path = tmp_path / "audit.json"
    assert run(out, "--truth", truth, "--json", path) == 0
    printed = capsys.readouterr().out
    report = json.loads(path.read_text())
    assert (report["quality"]["pictures"], report["quality"]["masks"], report["quality"]["of_no_object"]) == (10, 55, 5)
    assert report["quality"]["shares"]["all"]["0.9"]["mean"] == pytest.approx(50 / 55)
    assert set(report["left_out"]) == {"bad", "lonely"} and "expected its truth" in report["left_out"]["lonely"]
    assert report["splits"] == {"chosen_on": 5, "other": 5}
    assert report["choice"]["reached"] and report["choice"]["per_picture"] == 5
    assert not report["on_other_split"]["reached"] and report["on_other_split"]["per_picture"] == 6
    assert report["stored_at"] == {"pred_iou_thresh": 0.75, "stability_score_thresh": 1.0}
    assert Curve.from_json(report["curve"]).masks[0, 0] == 25
    assert report["diversity"]["distance"]["size"] > 0 and report["check"]["deleted"] == 5
    assert 0.3 < report["agreement"]["mean_iou"] < 1
    page = path.with_suffix(".md").read_text(encoding="utf-8")
    for text in (printed, page):
        assert "| masks of an object only | 1.000 [1.000, 1.000] |" in text and "500 pictures, about 50 000" in text
        assert "5 masks are of no object" in text and "| chosen on | 5 | 25 | 5.000 | 1.000 |" in text
        assert "left out bad: expected a JSON file in SA-1B's schema" in text
    assert str(tmp_path) not in page.replace(str(out), "").replace(str(truth), "")
    assert report["command"] == "minisam engine audit OUT --truth DIR --least 0.9 --pictures 500"


def test_command_without_truth_or_scores(folders: tuple[Path, Path], tmp_path: Path, capsys: Any) -> None:
    out, truth = folders
    assert run(out, "--json", tmp_path / "a.json") == 0
    report = json.loads((tmp_path / "a.json").read_text())
    assert set(report["diversity"]) == {"automatic"} and "quality" not in report and report["left_out"] == {}
    printed = capsys.readouterr().out
    assert "**Diversity**" in printed and "beside the truth" not in printed
    for path in (out / "pictures").glob("*.json"):  # what people drew has no scores
        values = json.loads(path.read_text())
        values["annotations"] = [{"segmentation": a["segmentation"]} for a in values["annotations"]]
        path.write_text(json.dumps(values))
    assert run(out, "--truth", truth) == 0
    assert "beside the truth" in capsys.readouterr().out


def test_truth_of_the_world(folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes by their numbers, at the size of the pictures. Kills: every scene the first."""
    out, truth = folders
    (out / "pictures" / "sub").mkdir()
    (out / "pictures" / "5.json").rename(out / "pictures" / "sub" / "5.json")
    (out / "pictures" / "7.json").rename(out / "pictures" / "x7.json")
    asked = []

    def render(seed: int, size: int) -> Any:
        asked.append((seed, size))
        masks = as_picture(read_record(truth / "annotations" / f"{seed}.json").annotations).masks()
        return SimpleNamespace(masks=[SimpleNamespace(segmentation=mask) for mask in masks])

    monkeypatch.setattr("minisam.world.render", render)
    assert run(out, "--world", "--json", tmp_path / "a.json") == 0
    report = json.loads((tmp_path / "a.json").read_text())
    assert sorted(asked) == [(seed, SIDE) for seed in range(10) if seed != 7]
    assert report["quality"]["pictures"] == 9 and "named by a scene's number, got 'x7'" in report["left_out"]["x7"]
    assert report["command"].startswith("minisam engine audit OUT --world --least")
    with pytest.raises(InputError, match="expected --truth or --world, got both"):
        run(out, "--world", "--truth", truth)


def test_few_masks_choose_nothing(folders: tuple[Path, Path]) -> None:
    out, truth = folders
    for path in (out / "pictures").glob("[1-9].json"):
        path.unlink()
    names, found, truths, _ = audit_report.read_folders(out, truth)
    report = audit_report.measure(found, truths)
    assert names == ["0"] and report["choice"] is None and "expected at least 20 masks" in report["no_choice"]
    assert [table.title for table in audit_report.tables(report)][-1] == "Diversity"


def test_bad_folders_are_one_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out, truth = folders
    (tmp_path / "empty").mkdir()
    for words, message in (
        ((tmp_path / "nowhere",), "expected a folder of masks in SA-1B's schema"),
        ((tmp_path / "empty",), "expected masks in SA-1B's schema in .*empty, got none$"),
        ((out, "--truth", tmp_path / "empty"), r"got none \(expected its truth"),
        ((out, "--truth", truth, "--json", tmp_path / "no" / "a.json"), "expected an existing folder"),
        ((out, "--truth", truth, "--json", tmp_path / "a.md"), "expected different files"),
    ):
        with pytest.raises(InputError, match=message) as error:
            run(*words)
        assert "\n" not in str(error.value)
    with pytest.raises(SystemExit):
        run(out, "--least", "2")
    for path in (truth / "annotations").glob("*.json"):
        path.write_text(path.read_text().replace(f"[{SIDE}, {SIDE}]", f"[{SIDE // 2}, {2 * SIDE}]"))
    with pytest.raises(InputError, match=r"expected masks of \(20, 80\) like its truth, got \(40, 40\)"):
        run(out, "--truth", truth)
    (out / "pictures" / "0.json").write_text('{"image": {}, "annotations": []}')
    _, _, _, left_out = audit_report.read_folders(out, None)
    assert "expected the size of the picture" in left_out["0"]
