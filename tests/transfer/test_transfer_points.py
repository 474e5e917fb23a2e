"""Means are right; classical methods find what is plain to see; both kinds of folder work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from masked_scene import scene
from minisam.annotator import tight_box
from minisam.commands.main import main
from minisam.files.images import read_image, save_png
from minisam.predictor import SamPredictor
from minisam.sam import build
from minisam.transfer import held_out, points
from minisam.transfer.calibration import calibration, draw
from minisam.transfer.gallery import worst
from minisam.transfer.points import Baselines, evaluate, find_pictures, folder_cases, table
from minisam.transfer.prompting import measure_clicks
from minisam.world import HELD_OUT, render
from minisam_kernels import InputError
from sa1b import sa1b_folder
from small_models import SMALL

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "a filled box one pixel short": (
        "minisam/transfer/baselines.py",
        "filled[y0:y1, x0:x1] = True",
        "filled[y0 : y1 - 1, x0:x1] = True",
    ),
    "a region under (y, x)": (
        "minisam/transfer/baselines.py",
        "x, y = centre_point(truth)",
        "y, x = (value % min(truth.shape) for value in centre_point(truth))",
    ),
    "objects that count alike in the mean over images": (
        "minisam/transfer/points.py",
        "np.mean([means[key] for means in by_picture.values()])",
        "np.mean([entry[key] for entry in objects])",
    ),
    "two of one image": (
        "minisam/transfer/gallery.py",
        'chosen.setdefault(entry["picture"], entry["object"])',
        'chosen[entry["picture"]] = entry["object"]',
    ),
    "the best first": (
        "minisam/transfer/gallery.py",
        'key=lambda entry: entry["point_confident"])',
        'key=lambda entry: -entry["point_confident"])',
    ),
    "a first click among the pairs": ("minisam/transfer/prompting.py", "for r in rounds[1:]]", "for r in rounds]"),
    "clicks on the centre of the truth": (
        "minisam/transfer/prompting.py",
        "return next_click(mask, truth)",
        "return centre_point(truth), 1",
    ),
    "errors that cancel between bins": (
        "minisam/transfer/calibration.py",
        'abs(b["predicted"] - b["true"])',
        '(b["predicted"] - b["true"])',
    ),
    "predictions above 1 in no bin": (
        "minisam/transfer/calibration.py",
        "np.clip((predicted * BINS).astype(int), 0, BINS - 1)",
        "(predicted * BINS).astype(int)",
    ),
    "one output counted for both": ("minisam/transfer/held_out.py", " and len(set(part) | set(whole)) > 1", ""),
    "scenes that training draws": (
        "minisam/transfer/held_out.py",
        "render(HELD_OUT + number, size)",
        "render(number, size)",
    ),
    "whole and part exchanged": (
        "minisam/transfer/held_out.py",
        "parts.append((centre_point(own), masks[i], masks[above]))",
        "parts.append((centre_point(own), masks[above], masks[i]))",
    ),
    "a part as large as its whole": ("minisam/transfer/held_out.py", " or areas[i] > DIFFERENT * areas[above]", ""),
    "names alone": (
        "minisam/transfer/points.py",
        "return [entry for entry in pictures[::every] if _digest(entry[0]) not in shown]",
        "return pictures[::every]",
    ),
    "means over both as if they were one image": (
        "minisam/transfer/points.py",
        "Path(os.path.relpath(path, folder)).as_posix()",
        "path.name",
    ),
}


def test_baselines_find_what_is_plain():
    """Kills: a filled box one pixel short, a region under (y, x)."""
    image, masks = scene()
    for factor in (1, 8):  # images below and above the size at which they work
        baselines = Baselines(image.repeat(factor, axis=0).repeat(factor, axis=1))
        for mask in masks:
            truth = mask.repeat(factor, axis=0).repeat(factor, axis=1)
            measured = baselines.measure(truth)
            assert measured["point_felzenszwalb_best"] > 0.75 and measured["box_grabcut"] > 0.9
            x0, y0, x1, y1 = tight_box(truth)
            assert measured["box_filled"] == pytest.approx(truth.sum() / ((x1 - x0) * (y1 - y0)))
            assert baselines.measure(truth) == measured, "nothing is random"


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (2, 2)])
def test_baselines_of_extreme_shapes(shape):
    measured = Baselines(np.zeros((*shape, 3), np.uint8)).measure(np.ones(shape, bool))
    assert measured["box_filled"] == measured["point_felzenszwalb"] == measured["box_grabcut"] == 1


def test_means(folder):
    """Kills: objects that count alike in the mean over images."""
    report = evaluate(SamPredictor(build(SMALL, seed=1)), folder, clicks=3)
    assert (report["pictures"], report["objects"]) == (2, 3)
    for key, value in report["per_object"].items():
        each = [entry[key] for entry in report["each"]]
        assert 0 <= value <= 1 and value == pytest.approx(np.mean(each))
        assert report["per_picture"][key] == pytest.approx((np.mean(each[:2]) + each[2]) / 2)
    for entry in report["each"]:
        for kind in ("point", "box"):
            assert entry[f"{kind}_best"] >= entry[f"{kind}_confident"]
    assert "box, GrabCut" in table(report) and "3 clicks" in table(report) and "4 clicks" not in table(report)
    assert report["calibration"]["point_three"]["masks"] == 9 and report["calibration"]["clicks"]["masks"] == 6
    assert evaluate(SamPredictor(build(SMALL, seed=1)), folder, limit=1, baselines=False)["objects"] == 2
    assert evaluate(SamPredictor(build(SMALL, seed=1)), folder, every=2, baselines=False)["pictures"] == 1


def test_command(folder, capsys):
    from minisam.checkpoints.checkpoint import save_checkpoint

    weights = folder / "w.safetensors"
    save_checkpoint(weights, build(SMALL, seed=1).state_dict(), SMALL)
    path, drawn = folder / "report.json", folder / "worst.png"
    command = ["transfer", "points", str(folder), "--checkpoint", str(weights), "--json", str(path)]
    assert main([*command, "--worst", str(drawn)]) == 0
    printed = capsys.readouterr()
    assert "2 images, 3 objects" in printed.out and printed.err == ""
    assert json.loads(path.read_text())["objects"] == 3
    assert read_image(drawn).std() > 10
    assert main([*command[:-2], "--every", "2", "--no-baselines"]) == 0
    assert "1 images, 2 objects" in capsys.readouterr().out


def test_the_worst_come_first_and_one_a_picture():
    """Kills: two of one image, the best first."""
    each = [("a", 0, 0.5), ("a", 1, 0.1), ("b", 0, 0.3), ("c", 0, 0.9)]
    report = {"each": [{"picture": p, "object": n, "point_confident": iou} for p, n, iou in each]}
    assert worst(report, 2) == [("a", 1), ("b", 0)] and len(worst(report, 9)) == 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, about NumPy 2
def test_folders_in_the_schema_of_sa1b(tmp_path):
    coco = pytest.importorskip("pycocotools.mask")
    image, masks = scene()
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations").mkdir()
    save_png(tmp_path / "images" / "a.png", image)
    codes = [coco.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    annotations = [{"segmentation": {**code, "counts": code["counts"].decode()}} for code in codes]
    record = {"image": {"file_name": "a.png", "width": 80, "height": 60}, "annotations": annotations}
    Path(tmp_path / "annotations" / "a.json").write_text(json.dumps(record))
    report = evaluate(SamPredictor(build(SMALL, seed=1)), tmp_path, baselines=False)
    assert [entry["area"] for entry in report["each"]] == [mask.sum() for mask in masks]
    (case,) = folder_cases(tmp_path / "annotations", None)  # the images lie next to it
    assert case.name == "../images/a.png"
    np.testing.assert_array_equal(case.masks, masks)


def test_bad_folders(tmp_path, folder):
    with pytest.raises(InputError, match=r"expected a folder .* got"):
        find_pictures(tmp_path / "nowhere")
    (folder / "manifest.csv").write_text("image,mask\n")
    with pytest.raises(InputError, match="at least one object"):
        find_pictures(folder)
    (folder / "manifest.csv").write_text("picture\nimages/a.png\n")
    with pytest.raises(InputError, match="columns image and mask"):
        find_pictures(folder)
    (folder / "manifest.csv").write_bytes(b"image,mask\n\xff\xfe,\xfd\n")
    with pytest.raises(InputError, match="expected a CSV file in UTF-8"):
        find_pictures(folder)
    (folder / "manifest.csv").write_text("image,mask\nimages/nothing.png,masks/a_0.png\n")
    with pytest.raises(InputError, match=r"nothing\.png, which does not exist"):
        list(folder_cases(folder, None))
    for name in ("x" * 5000, "null\0"):
        with pytest.raises(InputError, match="expected a folder of images with masks"):
            find_pictures(name)
    save_png(folder / "masks" / "a_0.png", np.ones((5, 5), bool))
    (folder / "manifest.csv").write_bytes(b"\xef\xbb\xbfimage,mask\r\nimages/a.png,masks/a_0.png\r\n")  # as Excel does
    assert find_pictures(folder) == [(folder / "images" / "a.png", [folder / "masks" / "a_0.png"])]
    (folder / "manifest.csv").write_text("image,mask\nimages/a.png,masks/a_0.png\n")
    with pytest.raises(InputError, match="expected a mask of"):
        evaluate(SamPredictor(build(SMALL)), folder, baselines=False)


class Copying:
    """A predictor that knows the truth but for a corner, until that is clicked."""

    def __init__(self, truth):
        self.truth, self.calls = truth, []

    def predict(self, point_coords, point_labels, box, mask_input, multimask_output):
        self.calls.append((point_coords.tolist(), point_labels.tolist(), mask_input, multimask_output))
        mask = self.truth.copy()
        if len(point_coords) == 1:
            mask[:4] = False
        count = 3 if multimask_output else 1
        logits = np.full((count, 4, 4), float(len(point_coords)), np.float32)
        return np.stack([mask] * count), np.linspace(0.1, 0.9, count), logits


def test_clicks_go_on_from_the_last_mask():
    """Three masks once, then one; the last logits go back in; each click is where the last mask was wrong.

    Kills: a first click among the pairs, clicks on the centre of the truth.
    """
    truth = np.zeros((12, 12), bool)
    truth[1:11, 2:9] = True
    predictor = Copying(truth)
    iou, pairs = measure_clicks(predictor, truth, 3)
    assert iou[0] < 1 and iou[1:] == [1, 1] and [pair[1] for pair in pairs["clicks"]] == [1, 1]
    assert [call[3] for call in predictor.calls] == [True, False, False]
    assert predictor.calls[0][2] is None
    assert predictor.calls[2][2].shape == (1, 4, 4) and predictor.calls[2][2].max() == 2
    x, y = predictor.calls[1][0][1]
    assert y < 4 and truth[int(y), int(x)] and predictor.calls[1][1] == [1, 1]


@given(st.lists(st.tuples(st.floats(-0.2, 1.3), st.floats(0, 1)), min_size=1, max_size=40))
def test_calibration(pairs):
    """Bins hold every mask once; a perfect prediction has no error; a constant error is its own size.

    Kills: errors that cancel between bins, predictions above 1 in no bin.
    """
    report = calibration(pairs)
    assert sum(entry["count"] for entry in report["bins"]) == len(pairs)
    assert report["error"] <= report["mean_absolute"] + 1e-9 and abs(report["gap"]) <= report["error"] + 1e-9
    assert calibration([(true, true) for _, true in pairs])["error"] < 1e-12
    assert calibration([(true + 0.25, true) for _, true in pairs])["error"] == pytest.approx(0.25)


def test_whole_and_part_must_be_two_masks():
    """Kills: one output counted for both."""
    assert held_out.both_found(np.array([[0.9, 0.1], [0.2, 0.8], [0, 0]]), 0.7)
    assert not held_out.both_found(np.array([[0.9, 0.8], [0.2, 0.1], [0, 0]]), 0.7)
    assert held_out.both_found(np.array([[0.9, 0.8], [0.8, 0.1], [0, 0]]), 0.7)
    assert not held_out.both_found(np.array([[0.9, 0.6]]), 0.7)


def test_held_out_scenes(tmp_path):
    """Seeds that training never draws; ambiguous points lie in a part and its whole; the report can be drawn.

    Kills: scenes that training draws, whole and part exchanged, a part as large as its whole.
    """
    cases = list(held_out.world_cases(20, 64))
    assert [case.name for case in cases] == [f"world {HELD_OUT + i}" for i in range(20)]
    assert any(case.parts for case in cases)
    for number, case in enumerate(cases):
        assert np.array_equal(case.image, render(HELD_OUT + number, 64).image)
        for (x, y), part, whole in case.parts:
            assert part[y, x] and whole[y, x] and (part & ~whole).sum() == 0
            assert part.sum() <= held_out.DIFFERENT * whole.sum()
    report = evaluate(SamPredictor(build(SMALL, seed=1)), None, baselines=False, clicks=2, world=6)
    assert report["ambiguity"]["points"] == sum(len(case.parts) for case in cases[:6])
    assert 0 <= report["ambiguity"]["median_iou_between_outputs"] <= 1
    assert "points inside parts" in table(report)
    json.dumps(report)
    pytest.importorskip("matplotlib")
    draw(report, tmp_path / "calibration.png")


def test_copies_are_not_held_out(tmp_path):
    """A held-out image that lies elsewhere too, here or in another folder, is left out. Kills: names alone."""
    for name, count in (("one", 5), ("other", 2)):
        sa1b_folder(tmp_path / name, count)
    one, other = tmp_path / "one" / "images", tmp_path / "other" / "images"
    for index in range(2):
        Image.new("RGB", (96, 64), (9, index, 0)).save(other / f"{index}.jpg")

    def names(*others):
        return [path.name for path, _ in points.held_out_pictures(tmp_path / "one", 2, others)]

    assert names() == names(tmp_path / "other") == ["0.jpg", "2.jpg", "4.jpg"]
    (one / "3.jpg").write_bytes((one / "2.jpg").read_bytes())
    (other / "1.jpg").write_bytes((one / "4.jpg").read_bytes())
    assert names() == ["0.jpg", "4.jpg"] and names(tmp_path / "other") == names(tmp_path / "other", tmp_path / "one")
    assert names(tmp_path / "other") == ["0.jpg"]
    assert len(points.held_out_pictures(tmp_path / "one", 1)) == 5


def test_pictures_of_one_name_are_two(tmp_path):
    """In two folders below the measured one. Kills: means over both as if they were one image."""
    for name in ("a", "b"):
        sa1b_folder(tmp_path / name, 1)
    cases = list(folder_cases(tmp_path, None))
    assert [case.name for case in cases] == ["a/images/0.jpg", "b/images/0.jpg"]


def test_a_bad_image_does_not_end_a_batch(tmp_path):
    """It is named in the report, and the others are measured; nobody has to find a crowd."""
    sa1b_folder(tmp_path)
    records = sorted((tmp_path / "annotations").glob("*.json"))
    values = json.loads(records[-1].read_text())
    values["annotations"].append(values["annotations"][0] | {"iscrowd": 1})
    records[-1].write_text(json.dumps(values))
    whole = [len(case.masks) for case in folder_cases(tmp_path, None)]
    assert whole[-1] == len(values["annotations"]) - 1
    records[0].write_text("{")
    left_out: dict[str, str] = {}
    assert [len(case.masks) for case in folder_cases(tmp_path, None, left_out=left_out)] == whole[1:]
    assert len(left_out) == 1 and "expected a JSON file in SA-1B's schema" in points.why(left_out)
    with pytest.raises(InputError, match="expected a JSON file in SA-1B's schema"):
        list(folder_cases(tmp_path, None))
