"""Boxes become masks, once and once more; results files are read with care."""

from __future__ import annotations

import argparse
import json

import cv2
import numpy as np
import pytest

from masked_scene import scene
from minisam.files.images import save_png
from minisam.sam import build
from minisam.transfer import instances
from minisam.transfer.instances import Box, Results
from minisam.transfer.sets import read_set
from minisam_kernels import InputError
from minisam_kernels.masks import rle
from small_models import SMALL

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "the first of three fed back": ("minisam/transfer/instances.py", "iou.argmax(axis=1)", "0 * iou.argmax(axis=1)"),
    "width taken for a corner": (
        "minisam/transfer/instances.py",
        "(x, y, x + width, y + height)",
        "(x, y, width, height)",
    ),
    "results with a box": (
        "minisam/transfer/instances.py",
        '{"score": box.score}',
        '{"score": box.score, "bbox": [0] * 4}',
    ),
    "boxes as they come": (
        "minisam/transfer/instances.py",
        "for box in boxes], float).reshape",
        "for box in given], float).reshape",
    ),
    "all categories to be found": ("minisam/transfer/instances.py", "if only is not None:", "if False:"),
}


class Filler:
    """Instead of a predictor: three masks of a box, its upper half, all of it, its left half; all of it where a mask
    was fed back, else its upper half."""

    model = argparse.Namespace(config=argparse.Namespace(name="filler"))

    def set_image(self, image):
        self.shape = image.shape[:2]

    def predict_batch(self, boxes, mask_input=None, multimask_output=True):
        masks = np.zeros((len(boxes), 3, *self.shape), bool)
        for three, (x0, y0, x1, y1) in zip(masks, np.asarray(boxes).astype(int)):
            assert 0 <= x0 < x1 <= self.shape[1] and 0 <= y0 < y1 <= self.shape[0]
            three[0, y0 : (y0 + y1) // 2, x0:x1] = True
            three[1, y0:y1, x0:x1] = True
            three[2, y0:y1, x0 : (x0 + x1) // 2] = True
        logits = np.broadcast_to(np.arange(3.0)[:, None, None], (len(boxes), 3, 4, 4))
        if mask_input is not None:
            assert np.shape(mask_input) == (len(boxes), 1, 4, 4) and (np.asarray(mask_input) == 1).all()
            return masks[:, 1:2], np.full((len(boxes), 1), 0.9), logits[:, 1:2]
        if multimask_output:
            return masks, np.tile([0.5, 0.9, 0.6], (len(boxes), 1)), logits
        return masks[:, :1], np.full((len(boxes), 1), 0.5), logits[:, :1]


@pytest.fixture
def squares(tmp_path):
    """Two images in COCO's schema with rectangles of two categories, as many as one batch holds and one more."""
    image, (square, _) = scene()
    small = np.zeros_like(square)
    small[40:50, 60:75] = True
    codes = [{"size": [60, 80], "counts": rle.to_string(rle.encode(m[None])[0]).decode()} for m in (square, small)]
    for number in range(2):
        save_png(tmp_path / f"{number}.png", image)
    values = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 60, "width": 80} for n in range(2)],
        "annotations": [
            {"id": 2 * n + k, "image_id": n, "category_id": k, "segmentation": codes[k]}
            for n in range(2)
            for k in range(2)
        ],
        "categories": [{"id": 0, "name": "thing"}, {"id": 1, "name": "person"}],
    }
    path = tmp_path / "squares.json"
    path.write_text(json.dumps(values))
    return path


def answers(tmp_path, *entries):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([*entries]))
    return path


RIGHT = [
    {"image_id": n, "category_id": k, "bbox": [[8, 10, 22, 20], [60, 40, 15, 10]][k], "score": 0.5}
    for n in range(2)
    for k in range(2)
]


def test_boxes_of_a_results_file(squares, tmp_path):
    """Halves before, the whole after the mask was fed back. Kills: the first of three fed back, width taken for a
    corner, results with a box, boxes as they come."""
    extra = [
        {"image_id": 0, "category_id": 0, "bbox": [5, 5, 0, 9], "score": 0.9},
        {"image_id": 0, "category_id": 0, "bbox": [200, 5, 9, 9], "score": 0.9},
        {"image_id": 0, "category_id": 0, "bbox": [5, 5, 9], "score": 0.9},
        {"image_id": [0], "category_id": 0, "bbox": [5, 5, 9, 9], "score": 0.9},
        {"image_id": 77, "category_id": 0, "bbox": [5, 5, 9, 9], "score": 0.9},
        {"image_id": 0, "category_id": 9, "bbox": [5, 5, 9, 9], "score": 0.9},
        {"image_id": 0, "category_id": 1 << 63, "bbox": [5, 5, 9, 9], "score": 0.9},
        {"image_id": 0, "category_id": 0, "bbox": [10**400, 5, 9, 9], "score": 0.9},
        {"image_id": 0, "category_id": 0, "bbox": [5, 5, 9, 9], "score": float("nan")},
        *({"image_id": 1, "category_id": 0, "bbox": [k, k, 9, 9], "score": 0.1} for k in range(instances.BATCH)),
    ]
    boxes = instances.read_boxes(answers(tmp_path, *RIGHT, *extra))
    report = instances.evaluate(Filler(), read_set(squares), boxes)
    figures = report["figures"]
    assert figures["feedback"]["AP"] == figures["confident"]["AP"] == pytest.approx(1)
    assert figures["single"]["AP75"] == 0 and report["boxes"] == 4 + instances.BATCH
    assert report["left_out"] == {
        "boxes outside their image": "1",
        "boxes of categories that the set does not have": "1",
        "boxes without area": "1",
        "entries without an image, a category, four numbers as bbox and a score": "5",
        "boxes of images that were not measured": "1",
    }
    first = report["results"][0]
    assert set(first) == {"image_id", "category_id", "segmentation", "score"} and first["image_id"] == 0
    np.testing.assert_array_equal(rle.decode(rle.from_string(first["segmentation"]["counts"]), (60, 80)), scene()[1][0])
    (table,) = instances.tables({"a": report})
    assert "AP75" in table.columns and len(table.rows) == 3 and "a: left out boxes without area: 1" in table.notes


def test_drawn_boxes_and_names(squares, folder):
    """The tight boxes; images by their names in a set without ids; one category alone. Kills: all categories to be
    found."""
    report = instances.evaluate(Filler(), read_set(squares), instances.drawn)
    assert report["figures"]["feedback"]["AP"] == pytest.approx(1) and report["boxes"] == 4
    person = instances.evaluate(Filler(), read_set(squares), lambda i, p: [Box((60, 40, 75, 50), 1, 0.5)], only=1)
    assert person["objects"] == 2 and person["figures"]["feedback"]["AP"] == pytest.approx(1)
    named = Results({"a": [Box((8, 10, 30, 30), 0, 0.5)], "b.png": [Box((8, 10, 30, 30), 0, 0.5)]})
    report = instances.evaluate(Filler(), read_set(folder), named)
    assert report["boxes"] == 2 and report["figures"]["feedback"]["AR@100"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("text", ["{}", "[1]", "", "[]", '[{"image_id": 1}]'])
def test_what_is_no_results_file(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(InputError, match="expected a results file in COCO's form"):
        instances.read_boxes(tmp_path / "results.json")


def test_nothing_found(squares):
    with pytest.raises(InputError, match="expected a box in squares, got none in 2 images"):
        instances.evaluate(Filler(), read_set(squares), lambda image, pixels: [])


def test_hog(squares):
    """OpenCV 4's people detector on a noisy image, or a line that says which version has it."""
    if not hasattr(cv2, "HOGDescriptor"):
        with pytest.raises(InputError, match="expected OpenCV 4"):
            instances.hog_people(1)
        return
    detector, only = instances.choose_detector(None, "hog", read_set(squares))
    image = next(iter(read_set(squares)))
    tall = np.random.default_rng(0).integers(0, 255, (256, 200, 3), dtype=np.uint8)
    assert only == 1 and all(isinstance(box, Box) and box.category == 1 for box in detector(image, tall))


def test_opencv_5(monkeypatch):
    monkeypatch.delattr(cv2, "HOGDescriptor", raising=False)
    with pytest.raises(InputError, match="expected OpenCV 4, which has the people detector"):
        instances.hog_people(0)


def test_people_are_needed(squares):
    labelled = read_set(squares)
    labelled.categories[1] = "dog"
    with pytest.raises(InputError, match="expected a set with the category person"):
        instances.choose_detector(None, "hog", labelled)


def options(*arguments):
    parser = argparse.ArgumentParser()
    instances.add(parser.add_subparsers())
    return parser.parse_args(["instances", *map(str, arguments)])


def test_command(monkeypatch, squares, tmp_path, capsys):
    """A real model, JSON and results that pycocotools reads."""
    monkeypatch.setattr(instances, "load_model", lambda _: build(SMALL))
    path = answers(tmp_path, *RIGHT, {"image_id": 0, "category_id": 0, "bbox": [5, 5, 0, 9], "score": 0.9})
    chosen = options(squares, "--boxes", path, "--json", tmp_path / "a.json", "--results", tmp_path / "masks.json")
    assert chosen.run(chosen) == 0
    report = json.loads((tmp_path / "a.json").read_text())
    assert "results" not in report and report["left_out"] == {"boxes without area": "1"}
    assert len(json.loads((tmp_path / "masks.json").read_text())) == 4 and "AP50" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [(), ("a",), ("a", "--boxes", "b", "--detector", "hog"), ("--detector", "hog")])
def test_refusals(arguments):
    chosen = options(*arguments)
    with pytest.raises(InputError, match="expected images with masks and either"):
        chosen.run(chosen)


def test_jobs(tmp_path):
    (tmp_path / "photos").mkdir()
    assert instances.jobs() == [] and [job.name for job in instances.jobs(tmp_path)] == ["instances-photos"]
