"""``minisam segment``: several boxes, cutouts, annotations for other tools, coordinates of any sign, stretching."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minisam
from command_line import refused, run
from minisam.checkpoints.checkpoint import save_checkpoint
from minisam.files.images import read_image, save_png
from small_models import SMALL, picture

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "the last box alone": (
        "minisam/commands/segment.py",
        "boxes = check_prompts(size, boxes=options.box)[2]",
        "boxes = check_prompts(size, boxes=options.box[-1:])[2]",
    ),
    "a cutout of the first box": (
        "minisam/commands/segment.py",
        "255 * masks[best].any(axis=0)",
        "255 * masks[best[0]]",
    ),
    "the best of all prompts as each prompt's": (
        "minisam/commands/segment.py",
        "per_prompt * np.arange(len(answer[1]))",
        "0 * np.arange(len(answer[1]))",
    ),
    "ids from 0": ("minisam/commands/segment.py", '"id": number + 1', '"id": number'),
    "a negative number as an option": (
        "minisam/commands/main.py",
        "        self._negative_number_matcher",
        "        self._other_matcher",
    ),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a photo of 40 × 30 pixels, a mask, and weights of a very small model; commands run in it."""
    monkeypatch.chdir(tmp_path)
    save_png("photo.png", picture(30, 40))
    save_png("mask.png", np.pad(np.ones((10, 20), bool), ((5, 15), (5, 15))))
    save_checkpoint("small.safetensors", minisam.build(SMALL, seed=1).state_dict(), SMALL)
    return tmp_path


def segment(capsys, *arguments):
    return run(capsys, "segment", "photo.png", "--checkpoint", "small.safetensors", *arguments)


def test_several_boxes(place, capsys):
    """Each box is a prompt of its own. Kills: the last box alone, a cutout of the first box, the best of all prompts as
    each prompt's, ids from 0."""
    boxes = [[2, 3, 20, 25], [22, 1, 40, 30], [5, 5, 12, 12]]
    words = [word for box in boxes for word in ("--box", ",".join(map(str, box)))]
    code, out, err = segment(capsys, *words, "--masks", "m", "--cutout", "c.png", "-o", "o.png", "--json")
    assert code == 0 and err == ""
    report = json.loads(out)
    predictor = minisam.SamPredictor(minisam.load(place / "small.safetensors"))
    predictor.set_image("photo.png")
    masks, iou, _ = predictor.predict_batch(boxes=boxes)
    assert report["prompts"]["boxes"] == boxes and report["prompts"]["box"] is None and len(report["masks"]) == 9
    for number, (entry, mask) in enumerate(zip(report["masks"], masks.reshape(9, 30, 40))):
        np.testing.assert_array_equal(read_image(f"m_{number}.png")[..., 0] > 0, mask)
        assert entry["file"] == f"m_{number}.png" and entry["prompt"] == number // 3 and entry["id"] == number + 1
    best = [3 * i + int(scores.argmax()) for i, scores in enumerate(iou)]
    assert report["best_of_prompts"] == best and report["best"] == int(iou.argmax())
    with Image.open("c.png") as cutout:
        assert cutout.mode == "RGBA" and cutout.size == (40, 30)
        pixels = np.asarray(cutout)
    np.testing.assert_array_equal(pixels[..., :3], read_image("photo.png"))
    np.testing.assert_array_equal(pixels[..., 3], 255 * masks.reshape(9, 30, 40)[best].any(axis=0))
    assert report["cutout"] == "c.png" and report["overlay"] == "o.png"
    code, out, _ = segment(capsys, *words, "--single", "--masks", "s")
    assert (
        code == 0
        and out.count("← most confident") == 3
        and sorted(place.glob("s_*.png")) == [place / f"s_{i}.png" for i in range(3)]
    )


def test_annotations_are_cocos(place, capsys):
    """pycocotools reads them: the mask, its area and its box, whose width is a number of columns."""
    pycocotools = pytest.importorskip("pycocotools.mask")
    report = json.loads(segment(capsys, "--box", "2,3,30,20", "--json")[1])
    for number, entry in enumerate(report["masks"]):
        mask = pycocotools.decode([entry["segmentation"]])[..., 0].astype(bool)
        assert entry["segmentation"]["size"] == [30, 40] and entry["area"] == mask.sum()
        assert entry["bbox"] == [int(value) for value in pycocotools.toBbox(entry["segmentation"])]
        assert entry["id"] == number + 1 and entry["image_id"] == "photo" and entry["category_id"] == 1
        assert entry["iscrowd"] == 0 and entry["score"] == entry["predicted_iou"]


@pytest.mark.parametrize(
    ("box", "used", "line"),
    [
        ("-0.4,3,20,25", [0, 3, 20, 25], False),
        ("2,3,40.3,30.9", [2, 3, 40, 30], False),
        ("-1,-1,41,31", [0, 0, 40, 30], False),
        ("-.5,3,1e1,25", [0, 3, 10, 25], False),
        ("-20,3,20,25", [0, 3, 20, 25], True),
        ("2,3,400,300", [2, 3, 40, 30], True),
        ("-1e3,-1e3,1e3,1e3", [0, 0, 40, 30], True),
        ("2,-7.5,20,25", [2, 0, 20, 25], True),
        ("39.5,3,42,25", [39.5, 3, 40, 25], True),
        ("0, 0, 40, 30", [0, 0, 40, 30], False),
    ],
)
def test_boxes_of_detectors(place, capsys, box, used, line):
    code, out, err = segment(capsys, "--box", box, "--json", "-o", "o.png", "--single")
    assert code == 0 and json.loads(out)["prompts"]["box"] == used
    if line:
        assert err.startswith("minisam: expected a box inside the image of 40 × 30 pixels, got (")
        assert err.endswith("which is cut at the edge\n") and err.count("\n") == 1
    else:
        assert err == ""


@pytest.mark.parametrize(
    "point", ["-1,5", "-.5,5", "-1e2,5,-", "-0.1,5", "5,-1", "40.1,5", "5,31,+", "-1,-1", "-5,5,0", "-1.,2"]
)
def test_points_outside_are_named(place, capsys, point):
    """Also where the first number is negative. Kills: a negative number as an option."""
    line = refused(capsys, "segment", "photo.png", "--checkpoint", "small.safetensors", "--point", point)
    x, y = (float(part) for part in point.split(",")[:2])
    assert f"expected points inside the image of 40 × 30 pixels, got ({x:g}, {y:g})" in line


@pytest.mark.parametrize("point", ["40,5", "5,30", "40,30", "0,0"])
def test_points_on_the_edge(place, capsys, point):
    """Detectors give x = width; so does predict's caller."""
    code, out, _ = segment(capsys, "--point", point, "--json", "--single")
    assert code == 0 and len(json.loads(out)["masks"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--point", "-a,5"], "expected one argument"),
        (["--point", "-1"], "expected x,y"),
        (["--point", "1e999,5"], "finite, got inf"),
        (["--point", "9" * 5000 + ",5"], "finite, got inf"),
        (["--point", "1,2,3,4" * 9999], "expected x,y"),
        (["--box", "-1,-1"], "expected x0,y0,x1,y1"),
        (["--box", "-9,-9,-1,-1"], "a part inside the image"),
        (["--box", "1,2,3,nan"], "finite"),
        (["--box", "1,2,30,20", "--box", "50,2,60,20"], "a part inside the image of 40 × 30 pixels, got (50,"),
        (["--box", "1,2,30,20", "--box", "5,6,20,20", "--point", "5,5"], "with one box, got 2 boxes"),
        (["--box", "1,2,30,20", "--box", "5,6,20,20", "--mask", "mask.png"], "with one box, got 2 boxes"),
        (["--box", "1,2,30,20", "--stretch", "gamma"], "percentile"),
    ],
)  # fmt: skip
def test_bad_prompts_are_short_lines(place, capsys, arguments, words):
    code, out, err = segment(capsys, *arguments, "-o", "o.png", "--cutout", "c.png")
    assert code == 2 and out == "" and words in err and err.count("\n") == 1 and len(err) < 300
    assert sorted(os.listdir()) == ["mask.png", "photo.png", "small.safetensors"]


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (["--cutout", "c.jpg"], "expected a cutout whose name ends in .png"),
        (["--cutout", "c"], "expected a cutout whose name ends in .png"),
        (["-o", "nowhere/o.png"], "expected an existing folder to write 'o.png' into, got nowhere"),
        (["--cutout", "nowhere/deep/c.png"], "expected an existing folder to write 'c.png' into, got nowhere/deep"),
        (["--masks", "nowhere/m"], "expected an existing folder"),
        (["--cutout", "photo.png"], "other than the input"),
        (["--cutout", "link.png"], "other than the input"),
        (["--cutout", "folder.png"], "got the folder"),
        (["--cutout", "o.png", "-o", "o.png"], "different files"),
        (["--cutout", "./m_2.png", "--masks", "m"], "different files"),
        (["--masks", "photo.png/x"], "expected an existing folder"),
    ],
)
def test_outputs_are_checked_before_the_model(place, capsys, outputs, words):
    Path("folder.png").mkdir()
    Path("link.png").symlink_to("photo.png")
    arguments = ["segment", "photo.png", "--checkpoint", "nowhere.pth", "--point", "1,1", *outputs]
    assert words in refused(capsys, *arguments)


def test_points_and_a_box_and_a_cutout(place, capsys):
    code, out, _ = segment(
        capsys, "--point", "20,10", "--point", "3,3,-", "--box", "1,1,35,25", "--mask", "mask.png", "--cutout", "c.png"
    )
    assert code == 0 and "wrote c.png" in out and Image.open("c.png").mode == "RGBA"


def test_an_image_of_few_bits(place, capsys):
    """A line says that it is nearly black; --stretch shows what is in it."""
    dark = (picture(30, 40)[..., 0].astype(np.uint16) + 1) * 15  # 12 bits
    Image.fromarray(dark).save("dark.png")
    arguments = ["segment", "dark.png", "--checkpoint", "small.safetensors", "--point", "5,5", "-o"]
    code, _, err = run(capsys, *arguments, "o.png")
    assert code == 0 and err.startswith("minisam: the image is nearly black") and "--stretch percentile" in err
    code, _, err = run(capsys, *arguments, "s.png", "--stretch", "percentile", "--cutout", "c.png")
    assert code == 0 and err == ""
    assert read_image("o.png").mean() < 60 < 90 < np.asarray(Image.open("c.png"))[..., :3].mean()
