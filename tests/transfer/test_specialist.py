"""Specialist and generalist under two annotations: the detector is as described, AP is COCO's, tables are means."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minisam
from minisam.annotator import tight_box
from minisam.checkpoints.checkpoint import save_checkpoint
from minisam.transfer import specialist
from minisam.transfer.specialist import ANNOTATIONS, Case, Detections, case, detect, whole_objects
from minisam.world import HELD_OUT, render
from minisam.world.annotators import annotate
from minisam_kernels import InputError
from small_models import SMALL

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "nothing is missed": (
        "minisam/transfer/specialist.py",
        "if chance < MISSED or not mask.any()",
        "if not mask.any()",
    ),
    "noise of one size": (
        "minisam/transfer/specialist.py",
        "NOISE * noise * np.tile(tight[2:] - tight[:2] + 1, 2)",
        "NOISE * noise",
    ),
    "boxes that name another object": (
        "minisam/transfer/specialist.py",
        "objects.append(number)",
        "objects.append(len(objects))",
    ),
    "parts among the wholes": ("minisam/transfer/specialist.py", 'if mask.level == "whole" and', "if"),
    "the first annotation for all": (
        "minisam/transfer/specialist.py",
        "rle.encode(one.annotated[annotation])",
        "rle.encode(one.annotated[0])",
    ),
    "scores that do not count": ("minisam/transfer/specialist.py", "SIZE, score=one.found.scores)", "SIZE, score=0.5)"),
    "a second round that sees nothing": (
        "minisam/transfer/specialist.py",
        "predict(box=box, mask_input=low_res,",
        "predict(box=box,",
    ),
    "best seeds alone": (
        "minisam/transfer/specialist.py",
        "{values.mean():.3f}{between}",
        "{values.max():.3f}{between}",
    ),
}


def test_the_detector_errs_as_described() -> None:
    """Kills: nothing is missed, noise of one size, boxes that name another object."""
    masks = np.zeros((3, 192, 192), bool)
    masks[0, 60:100, 50:130] = masks[1, 20:60, 20:40] = masks[2, 120:180, 80:160] = True
    tight = np.array([tight_box(mask) for mask in masks])
    found, errors, alarms = np.zeros(3), [], []
    for seed in range(400):
        said = detect(masks, np.random.default_rng(seed))
        assert len(said.boxes) == len(said.scores) == len(said.objects)
        assert (said.scores >= 0).all() and (said.scores <= 1).all() and said.boxes.min() >= 0
        assert said.boxes.max() <= 191 and (said.boxes[:, 2:] > said.boxes[:, :2]).all()
        own = said.objects >= 0
        found[said.objects[own]] += 1
        sides = np.tile(tight[:, 2:] - tight[:, :2] + 1, 2)[said.objects[own]]
        errors.append((said.boxes[own] - tight[said.objects[own]]) / sides)
        alarms.append(int((~own).sum()))
    assert (abs(found / 400 - 0.9) < 0.05).all() and abs(np.mean(alarms) - 1) < 0.15
    spread = np.concatenate(errors).std(axis=0)
    np.testing.assert_allclose(spread, 0.05, atol=0.006)
    again = detect(masks, np.random.default_rng(7))
    assert np.array_equal(again.boxes, detect(masks, np.random.default_rng(7)).boxes)
    nothing = detect(np.zeros((0, 192, 192), bool), np.random.default_rng(3))
    assert nothing.boxes.shape[1] == 4 and (nothing.objects == -1).all()


def test_cases_hold_every_annotation_of_the_wholes() -> None:
    """Kills: parts among the wholes."""
    one = case(1)
    scene = render(HELD_OUT + 1, specialist.SIZE, specialist.GROUPS[specialist.GROUP])
    wholes = [m.segmentation for m in scene.masks if m.level == "whole" and 512 <= m.area <= 192 * 192 / 4]
    assert wholes and np.array_equal(whole_objects(scene), wholes) and np.array_equal(one.image, scene.image)
    assert list(ANNOTATIONS) == ["exact", "0 pixels late", "1 pixel late", "2 pixels late", "3 pixels late"]
    for a, late in enumerate((None, 0, 1, 2, 3)):
        for truth, drawn in zip(wholes, one.annotated[a], strict=True):
            assert np.array_equal(drawn, truth if late is None else annotate(truth, late=late))


def several(seed: int) -> tuple[list[Case], list[np.ndarray]]:
    """Cases of discs, and answers that are more or less aside, with scores of their own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: specialist.SIZE, : specialist.SIZE]
    cases, answers = [], []
    for _ in range(4):
        centres = rng.uniform(30, 160, (3, 2))
        truths = np.array([np.hypot(x - cx, y - cy) < 18 for cx, cy in centres])
        moved = centres[[0, 1, 2, 1]] + rng.normal(scale=3, size=(4, 2))
        masks = np.array([np.hypot(x - cx, y - cy) < 18 for cx, cy in moved])
        found = Detections(np.zeros((4, 4)), rng.random(4), np.array([0, 1, 2, -1]))
        annotated = np.stack([truths] + [np.array([annotate(t) for t in truths])] * 4)
        cases.append(Case(0, np.zeros((*x.shape, 3), np.uint8), annotated, found))
        answers.append(masks)
    return cases, answers


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, about NumPy 2
@pytest.mark.parametrize("annotation", [0, 3])
def test_ap_is_that_of_pycocotools(annotation: int) -> None:
    """Kills: the first annotation for all, scores that do not count."""
    pytest.importorskip("pycocotools")
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    cases, answers = several(5)
    images: list[dict[str, Any]] = []
    truths: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for n, (one, masks) in enumerate(zip(cases, answers)):
        images.append({"id": n, "height": specialist.SIZE, "width": specialist.SIZE})
        for mask in one.annotated[annotation]:
            code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            common = {"image_id": n, "category_id": 1, "iscrowd": 0, "segmentation": code, "bbox": [0, 0, 1, 1]}
            truths.append({"id": len(truths) + 1, "area": int(mask.sum()), **common})
        for mask, score in zip(masks, one.found.scores):
            code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            results.append({"image_id": n, "category_id": 1, "score": float(score), "segmentation": code})
    coco = COCO()
    coco.dataset = {"images": images, "annotations": truths, "categories": [{"id": 1}], "info": {}}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        judged = COCOeval(coco, coco.loadRes(results), "segm")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    assert specialist.average_precisions(cases, answers, annotation) == pytest.approx(judged.stats[:3], abs=1e-9)


def test_rims() -> None:
    mask = np.zeros((192, 192), bool)
    mask[50:150, 40:140] = True
    assert specialist.rim(mask).sum() == 100**2 - 90**2, "5 pixels, 2 % of the diagonal, all around"


def test_a_box_is_asked_once_or_twice() -> None:
    """Kills: a second round that sees nothing."""
    sam = minisam.build(SMALL, seed=1)
    image, boxes = render(HELD_OUT, 64).image, np.array([[5.0, 6, 40, 50], [10, 10, 60, 30]])
    predictor = minisam.SamPredictor(sam)
    once, twice = (specialist.box_masks(predictor, image, boxes, feedback) for feedback in (False, True))
    predictor.set_image(image)
    for n, box in enumerate(boxes):
        mask, _, low_res = predictor.predict(box=box, multimask_output=False)
        again, _, _ = predictor.predict(box=box, mask_input=low_res, multimask_output=False)
        assert np.array_equal(once[n], mask[0]) and np.array_equal(twice[n], again[0])
    assert specialist.box_masks(predictor, image, boxes[:0]).shape == (0, 64, 64)


def test_the_report_names_every_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: best seeds alone."""
    small = minisam.build(SMALL, seed=3)
    monkeypatch.setattr("minisam.checkpoints.loading.load", lambda path: small)
    for name in ("sam-indoors-0", "specialist-second-0", "specialist-second-1"):
        save_checkpoint(tmp_path / f"{name}.safetensors", small.state_dict(), SMALL, {})
    output = tmp_path / "out.json"
    specialist.main([str(output), "--models", str(tmp_path), "--scenes", "2"])
    report = json.loads(output.read_text())
    kinds = [(run["kind"], run["seed"]) for run in report["runs"]]
    assert kinds == [
        ("generalist", 0), ("generalist, one mask fed back", 0), ("specialist", 0), ("specialist", 1),
        (specialist.SEEN, None),
    ]  # fmt: skip
    assert output.with_suffix(".md").read_text() == specialist.page(report)
    report["runs"][3]["ap"] = [value + 0.2 for value in report["runs"][2]["ap"]]
    mean = report["runs"][2]["ap"][0] + 0.1
    assert f"| specialist | {mean:.3f} ({mean - 0.1:.3f}–{mean + 0.1:.3f}) |" in specialist.page(report)
    assert f"{specialist.jobs()[0].command} --scenes 2\n" in specialist.page(report)
    with pytest.raises(InputError, match="expected models sam-indoors"):
        specialist.evaluate(tmp_path / "nowhere", 1)
