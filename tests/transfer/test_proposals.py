"""Proposals are ranked and counted as the authors say; the command's input is checked."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from masked_scene import scene
from minisam.automatic import generator
from minisam.sam import build
from minisam.transfer import proposals
from minisam.transfer.sets import read_set
from minisam.world import HELD_OUT, render
from minisam_kernels import InputError
from minisam_kernels.masks import rle
from sa1b import sa1b_folder
from small_models import SMALL

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "ranked by predicted IoU alone": (
        "minisam/transfer/proposals.py",
        '(r["predicted_iou"] + np.nan_to_num(r["stability_score"])) / 2',
        'r["predicted_iou"]',
    ),
    "the worst first": ("minisam/transfer/proposals.py", "np.argsort(-scores", "np.argsort(scores"),
    "a filter": ("minisam/transfer/proposals.py", "grid, 64, 0.0, 0.0,", "grid, 64, 0.88, 0.0,"),
    "scenes that training draws": (
        "minisam/transfer/proposals.py",
        "range(HELD_OUT, HELD_OUT + count)",
        "range(count)",
    ),
    "levels are alike": ("minisam/transfer/proposals.py", "[numbers[mask.level] for mask in chosen]", "0"),
}


class Answers:
    """Instead of the generator: records that were made up."""

    def __init__(self, model, points_per_side, batch, iou, stability, box_nms_thresh, output_mode):
        self.settings = (points_per_side, iou, stability, box_nms_thresh)

    def generate(self, image):
        assert self.settings == (8, 0, 0, 0.9)
        _, masks = scene()
        rows = [
            (masks[0], 0.9, 0.1),
            (masks[1], 0.7, 0.8),
            (masks[0] & False, 1.0, 1.0),
            (masks[0] | masks[1], 0.6, np.nan),
        ]
        return [
            {
                "segmentation": {"counts": rle.to_string(rle.encode(mask[None])[0]).decode()},
                "area": int(mask.sum()),
                "predicted_iou": iou,
                "stability_score": stability,
            }
            for mask, iou, stability in rows
        ]


@pytest.fixture
def made_up(monkeypatch):
    monkeypatch.setattr(generator, "SamAutomaticMaskGenerator", Answers)


def test_ranking(made_up):
    """By the mean of both scores; empty masks are none. Kills: ranked by predicted IoU alone, the worst first, a
    filter."""
    image, masks = scene()
    counts, scores, number = proposals.propose(None, image, grid=8, most=2)
    assert scores == pytest.approx([0.75, 0.5]) and number == 3
    np.testing.assert_array_equal(rle.decode(counts[0], masks[1].shape), masks[1])


def test_recall(made_up, folder):
    """Both objects of one image among two, and one of one."""
    model = argparse.Namespace(config=argparse.Namespace(name="made up", image_size=64))
    report = proposals.evaluate(model, read_set(folder), grid=8, limits=(1, 2))
    assert report["figures"]["AR@1"] == pytest.approx(1 / 3) and report["figures"]["AR@2"] == 1
    assert (report["images"], report["objects"], report["masks_per_image"]) == (2, 3, 3)
    assert report["figures"]["AR@2_large"] is None and report["figures"]["AR@2_small"] == 1
    report["figures"] |= {"AR@10": 0.5, "AR@100": 0.5, "AR@1000": 0.5, "AR@1000_r": 0.25}
    report["left_out"] = {"b.png": "damaged"}
    (table,) = proposals.tables({"made up": report})
    assert "8 × 8 points" in table.notes[0] and table.notes[1:] == ["made up: left out b.png: damaged"]
    assert table.columns == ["", "AR@10", "AR@100", "AR@1000", "rare"] and table.rows[0][-1] == 0.25


def test_world():
    """Held-out scenes, their levels as groups. Kills: scenes that training draws, levels are alike."""
    (image, (drawn,)), *_ = proposals.world_cases(1, 64)
    expected = render(HELD_OUT, 64)
    np.testing.assert_array_equal(image, expected.image)
    large = [mask for mask in expected.masks if mask.segmentation.sum() >= 2]
    assert [proposals.LEVELS[c] for c in drawn.category] == [mask.level for mask in large]
    report = proposals.evaluate(build(SMALL), world=1, grid=2)
    assert set(report["figures"]) >= {"AR@10", "AR@1000_whole", "AR@1000_part"} and report["images"] == 1


def test_domains():
    (image, _), *_ = proposals.world_cases(1, 64, ["nuclei"])
    np.testing.assert_array_equal(image, render(HELD_OUT, 64, domain=["nuclei"]).image)


def test_crowds_only(made_up, tmp_path):
    """Nothing to be found: one line."""
    sa1b_folder(tmp_path / "sa1b", 1)
    record = tmp_path / "sa1b" / "annotations" / "0.json"
    values = json.loads(record.read_text())
    for annotation in values["annotations"]:
        annotation["iscrowd"] = 1
    record.write_text(json.dumps(values))
    with pytest.raises(InputError, match="expected an object to be found in sa1b, got none in 1 image with 35 crowds"):
        proposals.evaluate(argparse.Namespace(), read_set(tmp_path / "sa1b"), grid=8)


def options(*arguments):
    parser = argparse.ArgumentParser()
    proposals.add(parser.add_subparsers())
    return parser.parse_args(["proposals", *map(str, arguments)])


def test_command(monkeypatch, folder, tmp_path, capsys):
    monkeypatch.setattr(proposals, "load_model", lambda _: build(SMALL))
    (folder / "images" / "b.png").write_bytes(b"no image")
    chosen = options(folder, "--grid", 2, "--json", tmp_path / "report.json")
    assert chosen.run(chosen) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["images"] == 1 and report["grid"] == 2 and "b.png" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [(), ("a", "--world", 2), ("--world", 2, "--nms", "nan"), ("no-folder",)])
def test_refusals(arguments):
    chosen = options(*arguments)
    with pytest.raises(InputError, match="expected"):
        chosen.run(chosen)


def test_jobs(tmp_path):
    """One job without real sets, one more for each of these."""
    (tmp_path / "photos").mkdir()
    assert [job.name for job in proposals.jobs()] == ["proposals-left-out"]
    assert [job.name for job in proposals.jobs(tmp_path)][1:] == ["proposals-photos"]
