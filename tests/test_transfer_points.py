"""Centre points, boxes and means are right; classical methods find what is plain to see; both kinds of folder work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minisam.cli import main
from minisam.images import save_png
from minisam.predictor import SamPredictor
from minisam.sam import build
from minisam.transfer.points import Baselines, bounding_box, centre_point, evaluate, find_pictures, table
from minisam_kernels import InputError
from test_cli import SMALL


def scene() -> tuple[np.ndarray, list[np.ndarray]]:
    """A red square and a blue disc on a noisy grey ground, 60 × 80."""
    image = np.full((60, 80, 3), 120, np.uint8) + np.random.default_rng(0).integers(0, 8, (60, 80, 3), dtype=np.uint8)
    square = np.zeros((60, 80), bool)
    square[10:30, 8:30] = True
    rows, columns = np.mgrid[:60, :80]
    disc = (rows - 40) ** 2 + (columns - 55) ** 2 < 15**2
    image[square], image[disc] = (220, 30, 30), (20, 40, 220)
    return image, [square, disc]


@pytest.fixture
def folder(tmp_path):
    image, masks = scene()
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    lines = ["image,mask,area,dataset"]
    for name, shown in (("a", masks), ("b", masks[:1])):
        save_png(tmp_path / "images" / f"{name}.png", image)
        for number, mask in enumerate(shown):
            save_png(tmp_path / "masks" / f"{name}_{number}.png", mask)
            lines.append(f"images/{name}.png,masks/{name}_{number}.png,{mask.sum()},test")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(np.any))
def test_centre_and_box_by_their_definitions(mask):
    """Kills: a border that does not count as boundary; rows and columns exchanged; a box that ends one pixel early."""
    padded = np.pad(mask, 1)
    outside, inside = np.argwhere(~padded), np.argwhere(padded)
    squares = ((inside[:, None] - outside[None]) ** 2).sum(-1).min(axis=1)
    x, y = centre_point(mask)
    assert mask[y, x]
    assert squares[(inside == (y + 1, x + 1)).all(axis=1)] == squares.max()
    x0, y0, x1, y1 = bounding_box(mask)
    assert mask[y0:y1, x0:x1].sum() == mask.sum() and all(
        edge.any() for edge in (mask[y0], mask[y1 - 1], mask[:, x0], mask[:, x1 - 1])
    )


def test_baselines_find_what_is_plain():
    image, masks = scene()
    for factor in (1, 8):  # pictures below and above the size at which they work
        baselines = Baselines(image.repeat(factor, axis=0).repeat(factor, axis=1))
        for mask in masks:
            truth = mask.repeat(factor, axis=0).repeat(factor, axis=1)
            found = baselines.measure(truth)
            assert found["point_felzenszwalb_best"] > 0.75 and found["box_grabcut"] > 0.9
            x0, y0, x1, y1 = bounding_box(truth)
            assert found["box_filled"] == pytest.approx(truth.sum() / ((x1 - x0) * (y1 - y0)))
            assert baselines.measure(truth) == found, "nothing is random"


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (2, 2)])
def test_baselines_of_extreme_shapes(shape):
    found = Baselines(np.zeros((*shape, 3), np.uint8)).measure(np.ones(shape, bool))
    assert found["box_filled"] == found["point_felzenszwalb"] == found["box_grabcut"] == 1


def test_means(folder):
    report = evaluate(SamPredictor(build(SMALL, seed=1)), folder)
    assert (report["pictures"], report["objects"]) == (2, 3)
    for key, value in report["per_object"].items():
        each = [entry[key] for entry in report["each"]]
        assert 0 <= value <= 1 and value == pytest.approx(np.mean(each))
        assert report["per_picture"][key] == pytest.approx((np.mean(each[:2]) + each[2]) / 2)
    for entry in report["each"]:
        for kind in ("point", "box"):
            assert entry[f"{kind}_best"] >= entry[f"{kind}_confident"]
    assert "box, GrabCut" in table(report)
    assert evaluate(SamPredictor(build(SMALL, seed=1)), folder, limit=1, baselines=False)["objects"] == 2


def test_command(folder, capsys):
    from minisam.checkpoint import save_checkpoint

    weights = folder / "w.safetensors"
    save_checkpoint(weights, build(SMALL, seed=1).state_dict(), SMALL)
    path = folder / "report.json"
    assert main(["transfer", "points", str(folder), "--checkpoint", str(weights), "--json", str(path)]) == 0
    printed = capsys.readouterr()
    assert "2 pictures, 3 objects" in printed.out and printed.err == ""
    assert json.loads(path.read_text())["objects"] == 3


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


def test_bad_folders(tmp_path, folder):
    with pytest.raises(InputError, match=r"expected a folder .* got"):
        find_pictures(tmp_path / "nowhere")
    (folder / "manifest.csv").write_text("image,mask\n")
    with pytest.raises(InputError, match="at least one object"):
        find_pictures(folder)
    (folder / "manifest.csv").write_text("picture\nimages/a.png\n")
    with pytest.raises(InputError, match="columns image and mask"):
        find_pictures(folder)
    save_png(folder / "masks" / "a_0.png", np.ones((5, 5), bool))
    (folder / "manifest.csv").write_text("image,mask\nimages/a.png,masks/a_0.png\n")
    with pytest.raises(InputError, match="expected masks of"):
        evaluate(SamPredictor(build(SMALL)), folder, baselines=False)
