"""``minisam everything``: what it writes, that others can read it; bad input is one line and nothing is written."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import run
from minisam import SamAutomaticMaskGenerator
from minisam.automatic.crops import PRESETS
from minisam.checkpoints.checkpoint import save_checkpoint
from minisam.commands.everything import SETTINGS, _most, _Work
from minisam.commands.main import main
from minisam.console import COMPILING
from minisam.files.formats import FORMATS, as_sa1b
from minisam.files.images import read_image, save_png
from minisam.files.records import find_records
from minisam.sam import build
from minisam.world import render
from small_models import SMALL

coco = pytest.importorskip("pycocotools.mask")
COCO = pytest.importorskip("pycocotools.coco").COCO

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a % that argparse trips over": (
        "minisam/commands/everything.py",
        '"write the image with all masks on it; for',
        '"100 % of the masks; for',
    ),
    "an error where there is none": (
        "minisam/commands/everything.py",
        "        work.do(batch.jobs[0])\n        return 0",
        "        work.do(batch.jobs[0])\n        return 2 * (not work.generator.funnel.counts()['regions'])",
    ),
    "naming files one by one": ("minisam/commands/everything.py", "files.enter_context(atomic(path))", "path"),
    "the first bad image ends it": (
        "minisam/commands/everything.py",
        "            failed += 1\n",
        "            raise\n",
    ),
    "a bad image is no failure": ("minisam/commands/everything.py", "return 2 if failed else 0", "return 0"),
    "everything anew": ("minisam/commands/everything.py", "if not job.done]", "if True]"),
    "tiny with the large models' thresholds": (
        "minisam/commands/everything.py",
        "if self.options.preset is not None else OWN_THRESHOLDS",
        "if True else OWN_THRESHOLDS",
    ),
    "own thresholds over those given": (
        "minisam/commands/everything.py",
        "(own | self.settings)",
        "(self.settings | own)",
    ),
    "minus one is an option": ("minisam/commands/main.py", 'r"-(\\.?\\d|(?i:inf|nan))"', 'r"^-\\d+$"'),
}

KEEP = ["--points-per-side", "4", "--pred-iou-thresh", "0", "--stability-score-thresh", "0", "--box-nms-thresh", "1"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a photo of 60 × 40 pixels and weights of a very small model; commands run in it."""
    monkeypatch.chdir(tmp_path)
    coarse = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)  # smooth, so that masks are found
    save_png("photo.png", np.repeat(np.repeat(coarse, 8, 0), 12, 1))
    save_checkpoint("small.safetensors", build(SMALL, seed=7).state_dict(), SMALL)
    return tmp_path


def everything(capsys, *arguments, photo="photo.png", output="masks.json"):
    photos = [photo] if isinstance(photo, str) else photo
    return run(capsys, "everything", *photos, "-o", output, "--checkpoint", "small.safetensors", *arguments)


def refused(capsys, *arguments, **others):
    """Run, and check what every refusal has in common; returns the line."""
    before = {path: path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()}
    code, out, err = everything(capsys, *arguments, **others)
    assert code == 2 and out == ""
    assert err.startswith("minisam: error: ") and err.count("\n") == 1 and "expected" in err
    assert {path: path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()} == before
    return err


def read(path="masks.json"):
    return json.loads(Path(path).read_text())


def test_the_file_is_sa1bs(place, capsys):
    """Keys and kinds of SA-1B's files, the generator's records in their order, and pycocotools reads every mask."""
    code, out, err = everything(capsys, *KEEP, "--overlay", "o.png")
    assert code == 0 and err == ""
    report = read()
    assert report["image"] == {"image_id": "photo", "file_name": "photo.png", "width": 60, "height": 40}
    settings = {"points_per_side": 4, "pred_iou_thresh": 0, "stability_score_thresh": 0, "box_nms_thresh": 1}
    found = SamAutomaticMaskGenerator(build(SMALL, seed=7), **settings).generate(read_image("photo.png"))
    assert len(report["annotations"]) == len(found) > 1
    assert f"{len(found)} masks from 16 points" in out and "wrote masks.json\nwrote o.png" in out
    assert "\n48 candidates → 48 after predicted_iou → 48 after stability → " in out and "the best" not in out
    for number, (annotation, record) in enumerate(zip(report["annotations"], found)):
        assert annotation["id"] == number + 1 and annotation["image_id"] == "photo"
        assert (annotation["category_id"], annotation["iscrowd"]) == (1, 0)
        assert annotation["score"] == record["predicted_iou"]
        assert annotation["bbox"] == coco.toBbox(annotation["segmentation"]).tolist()
        mask = coco.decode(annotation["segmentation"]).astype(bool)
        np.testing.assert_array_equal(mask, record["segmentation"])
        assert annotation["area"] == mask.sum() == coco.area(annotation["segmentation"])
        for key in ("predicted_iou", "point_coords", "crop_box"):
            assert annotation[key] == record[key]
        assert set(annotation) == {*record, "id", "image_id", "category_id", "iscrowd", "score"}
    assert set(os.listdir()) == {"photo.png", "small.safetensors", "masks.json", "o.png"}
    pixels = read_image("o.png")
    covered = np.any([record["segmentation"] for record in found], axis=0)
    assert pixels.shape == (40, 60, 3) and (pixels[~covered] == read_image("photo.png")[~covered]).all()
    assert (pixels[covered] != read_image("photo.png")[covered]).any(axis=1).mean() > 0.99


def test_help(capsys):
    """It names every option and the two presets. Kills: a % that argparse trips over."""
    assert main(["everything", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in text for name in SETTINGS) and "sa1b" in text


def test_pycocotools_loads_the_annotations(place, capsys):
    """As a data set of one image: COCO's own index and masks."""
    everything(capsys, *KEEP)
    report = read()
    data = COCO()
    image, annotations = report["image"], report["annotations"]
    data.dataset = {
        "images": [image | {"id": image["image_id"]}],
        "annotations": annotations,
        "categories": [{"id": 1}],
    }
    data.createIndex()
    loaded = data.loadAnns(data.getAnnIds(imgIds=["photo"]))
    assert len(loaded) == len(annotations) and data.annToMask(loaded[0]).shape == (40, 60)


def test_the_trainer_finds_the_file(place, capsys):
    """The recipe reads any folder in this schema: this is one."""
    everything(capsys, *KEEP, output="photo.json")
    assert find_records(place) == [(place / "photo.png", place / "photo.json")]


def test_every_setting_is_an_option_with_the_generators_default(place, capsys, monkeypatch):
    """No argument is without an option, defaults in the help are the true ones, and all are handed over."""
    import inspect

    parameters = inspect.signature(SamAutomaticMaskGenerator.__init__).parameters
    arguments = [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD][2:]
    assert [*SETTINGS] == [name for name in arguments if name != "point_grids"]
    for name, (kind, default, _) in SETTINGS.items():
        if name != "output_mode":
            assert kind(default) == pytest.approx(parameters[name].default, abs=5e-4), name
    seen = {}

    class Stop(BaseException):
        pass

    def record(self, model, **settings):
        seen.update(settings)
        raise Stop

    monkeypatch.setattr(SamAutomaticMaskGenerator, "__init__", record)
    monkeypatch.setenv("MINISAM_DEBUG", "1")  # what is no bad input comes through
    values = {"points_per_side": "7", "points_per_batch": "5", "crop_n_layers": "1", "min_mask_region_area": "3",
              "crop_n_points_downscale_factor": "2", "output_mode": "uncompressed_rle"}  # fmt: skip
    given = {name: values.get(name, "0.25") for name in SETTINGS}
    with pytest.raises(Stop):
        everything(capsys, *(part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)))
    assert seen == {name: SETTINGS[name][0](value) for name, value in given.items()}
    seen.clear()
    with pytest.raises(Stop):
        everything(capsys, "--preset", "sa1b", "--min-mask-region-area", "5")
    assert seen == PRESETS["sa1b"] | {"output_mode": "coco_rle", "min_mask_region_area": 5}
    seen.clear()
    with pytest.raises(Stop):
        everything(capsys, "--preset", "meta")
    assert seen == {"output_mode": "coco_rle"}


def test_points_of_ones_own_and_uncompressed_runs(place, capsys):
    Path("points.json").write_text("[[[0.5, 0.5], [0.25, 0.75]]]")
    settings = ["--point-grids", "points.json", "--output-mode", "uncompressed_rle", *KEEP[2:]]
    code, out, _ = everything(capsys, *settings, "--overlay", "o.png")
    annotations = read()["annotations"]
    assert code == 0 and "6 masks from 2 points" in out and Path("o.png").exists()
    assert {tuple(a["point_coords"][0]) for a in annotations} == {(30, 20), (15, 30)}
    assert coco.frPyObjects(annotations[0]["segmentation"], 40, 60)["size"] == [40, 60]


def test_no_mask_is_an_empty_list(place, capsys):
    """Exit code 0, an empty list, the photo as it was. Kills: an error where there is none."""
    arguments = ["--points-per-side", "2", "--pred-iou-thresh", "1", "--stability-score-thresh", "1"]
    code, out, err = everything(capsys, *arguments, "--overlay", "o.png", "--preset", "sa1b", "--crop-n-layers", "1")
    assert code == 0 and err == "" and "no masks from 8 points" in out
    assert "\n24 candidates → 8 after predicted_iou → 0 after stability → 0 after box_nms\n" in out
    assert "\nthe best predicted IoU 1.564 (threshold 1), the best stability 0.000 (threshold 1); try --stab" in out
    assert _most(np.full((2, 3), np.nan)) == "not measured"
    assert read()["annotations"] == []
    np.testing.assert_array_equal(read_image("o.png"), read_image("photo.png"))


def test_an_empty_mask_has_no_stability():
    """0/0 is written as null: JSON has no NaN."""
    record = {"area": 0, "bbox": [0] * 4, "predicted_iou": 0.5, "stability_score": float("nan")}
    (annotation,) = as_sa1b("a/photo.jpg", (4, 5), [record])["annotations"]
    assert annotation["stability_score"] is None and annotation["bbox"] == [0, 0, 0, 0]
    report = as_sa1b("a/photo.jpg", (4, 5), [])
    assert report["image"] == {"image_id": "photo", "file_name": "photo.jpg", "width": 5, "height": 4}


@pytest.mark.parametrize("size", [(3, 3), (1, 90), (64, 64)])
@pytest.mark.parametrize("colour", ["black", "red"])
def test_plain_and_very_small_pictures(place, capsys, size, colour):
    Image.new("RGB", size, colour).save("plain.png")
    grid = ["--points-per-side", "4", "--pred-iou-thresh", "0", "--stability-score-thresh", "0"]
    code, _, err = everything(capsys, *grid, "--preset", "sa1b", "--overlay", "o.png", photo="plain.png")
    assert code == 0 and err == ""
    assert (read()["image"]["width"], read()["image"]["height"]) == size
    assert read_image("o.png").shape == (size[1], size[0], 3)


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "paper"], "expected a preset among meta, sa1b, got 'paper'"),
        (["--points-per-side", "0"], "points_per_side to be a whole number from 1 to 1024, got 0"),
        (["--points-per-side", "32000"], "points_per_side to be a whole number from 1 to 1024, got 32000"),
        (["--min-mask-region-area", "9" * 30], "min_mask_region_area"),
        (["--stability-score-offset", "inf"], "stability_score_offset"),
        (["--points-per-side", "2.5"], "expected a whole number, got '2.5'"),
        (["--points-per-batch", "0"], "points_per_batch"),
        (["--pred-iou-thresh", "nan"], "pred_iou_thresh to be a number, not NaN, got nan"),
        (["--pred-iou-thresh", "-nan"], "pred_iou_thresh to be a number, not NaN, got nan"),
        (["--pred-iou-thresh", "-1,5"], "expected a number, got '-1,5'"),
        (["--format", "voc"], "expected a format among sa1b, coco, labelme, yolo, geojson, png, got 'voc'"),
        (["--stretch", "log"], "expected the stretch percentile, got 'log'"),
        (["--pred-iou-thresh", "high"], "expected a number, got 'high'"),
        (["--stability-score-thresh", "nan"], "stability_score_thresh to be a number, not NaN, got nan"),
        (["--stability-score-offset", "-1"], "stability_score_offset"),
        (["--box-nms-thresh", "nan"], "box_nms_thresh"),
        (["--crop-nms-thresh", "NaN"], "crop_nms_thresh"),
        (["--crop-n-layers", "99"], "crop_n_layers to be a whole number from 0 to 8, got 99"),
        (["--crop-overlap-ratio", "1"], "crop_overlap_ratio"),
        (["--crop-n-points-downscale-factor", "0"], "crop_n_points_downscale_factor"),
        (["--preset", "sa1b", "--points-per-side", "3"], "a point in every layer of crops, got [3, 1, 0]"),
        (["--min-mask-region-area", "-1.5"], "expected a whole number, got '-1.5'"),
        (["--output-mode", "png"], "output_mode to be one of"),
        (["--output-mode", "binary_mask"], "output_mode coco_rle or uncompressed_rle for a file, got 'binary_mask'"),
        (["--point-grids", "grid.json", "--points-per-side", "3"], "exactly one of points_per_side and point_grids"),
        (["--point-grids", "grid.json", "--preset", "sa1b"], "a grid for each of 3 layers, got 1"),
        (["--point-grids", "nowhere.json"], "expected a file of points in JSON, got nowhere.json"),
        (["--point-grids", "photo.png"], "expected a file of points in JSON, got photo.png"),
        (["--point-grids", "number.json"], "expected a list of grids of points in number.json, got int"),
        (["--point-grids", "outside.json"], "in [0, 1], got (7, 0)"),
        (["--overlay", "o.jpg"], ".png"),
        (["--overlay", "photo.png"], "other than the input"),
        (["--overlay", "nowhere/o.png"], "existing folder"),
        (["--model", "huge"], "expected a model among"),
    ],
)
def test_bad_arguments(place, capsys, arguments, words):
    Path("grid.json").write_text("[[[0.5, 0.5]]]")
    Path("number.json").write_text("7")
    Path("outside.json").write_text("[[[7, 0]]]")
    assert words in refused(capsys, *arguments)


def test_bad_places_and_photos(place, capsys):
    Path("text.png").write_text("just words\n")
    assert "does not exist" in refused(capsys, photo="missing.png")
    assert "which is none" in refused(capsys, photo="text.png")
    assert "other than the input" in refused(capsys, output="photo.png")
    assert "existing folder" in refused(capsys, output="nowhere/m.json")
    assert "different files" in refused(capsys, "--overlay", "o.png", output="o.png")
    assert main(["everything", "photo.png"]) == 2 and "-o" in capsys.readouterr().err


def test_arguments_are_checked_before_the_model_is_loaded(place, capsys, monkeypatch):
    monkeypatch.setattr("minisam.commands.everything.load_model", lambda options: pytest.fail("loaded"))
    refused(capsys, "--pred-iou-thresh", "nan")
    assert "to write 'x.json' into, got no/such/folder" in refused(capsys, output="no/such/folder/x.json")
    assert "to write 'x.json' into, got photo.png" in refused(capsys, output="photo.png/x.json")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for kind in ("labelme", "yolo", "geojson"):
        assert "the extra 'formats' (pip install 'minisam[formats]'), got no shapely" in refused(
            capsys, "--format", kind
        )


def test_nothing_stays_of_a_write_that_fails(place, capsys, monkeypatch):
    """The disk is full at the overlay, after the masks: neither file is left. Kills: naming files one by one."""

    def fail(self, path, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    assert "No space left" in refused(capsys, *KEEP, "--overlay", "o.png")


# --------------------------------------------------------------------------------------------------------- thresholds


@pytest.mark.parametrize("option", ["--pred-iou-thresh", "--stability-score-thresh"])
@pytest.mark.parametrize("value", ["-1", "-0.5", "-.5", "-1e3", "-1E-9", "-inf", "-Infinity", "0"])
def test_a_threshold_below_all_scores_switches_its_filter_off(place, capsys, monkeypatch, option, value):
    """Kills: minus one is an option."""
    monkeypatch.setattr(_Work, "do", lambda work, job: print(work.settings[option[2:].replace("-", "_")]))
    code, out, err = everything(capsys, option, value)
    assert (code, err) == (0, "") and float(out) == float(value) <= 0


@pytest.mark.parametrize(
    ("arguments", "masks"),
    [
        ([], 48),
        (["--pred-iou-thresh", "-1"], 48),
        (["--stability-score-thresh", "-3"], 48),
        (["--pred-iou-thresh", "7"], 0),
        (["--pred-iou-thresh", "inf"], 0),
        (["--stability-score-thresh", "1.5"], 0),
        (["--box-nms-thresh", "7"], 48),
        (["--box-nms-thresh", "inf"], 48),
        (["--box-nms-thresh", "-1"], 1),
        (["--crop-nms-thresh", "-1"], 48),
        (["--min-mask-region-area", "-1"], 48),
    ],
)
def test_thresholds_beyond_zero_and_one(place, capsys, arguments, masks):
    """As in the released class: a filter is off, or nothing passes, or one box suppresses all others."""
    code, _, err = everything(capsys, *KEEP, *arguments)
    assert (code, err) == (0, "") and len(read()["annotations"]) == masks


def test_tinys_own_thresholds(place, capsys, monkeypatch):
    """They stand in for those that are not given, unless a preset is. Kills: tiny with the large models' thresholds,
    own thresholds over those given."""
    seen: list[dict] = []

    class Stop(BaseException):
        pass

    def record(self, model, **settings):
        seen.append(settings)
        raise Stop

    monkeypatch.setattr(SamAutomaticMaskGenerator, "__init__", record)
    monkeypatch.setenv("MINISAM_DEBUG", "1")
    for arguments in ([], ["--stability-score-thresh", "0.9"], ["--preset", "meta"], ["--preset", "sa1b"]):
        with pytest.raises(Stop):
            run(capsys, "everything", "photo.png", "-o", "m.json", *arguments)
    own = {"output_mode": "coco_rle", "pred_iou_thresh": 0.5, "stability_score_thresh": 0.5}
    assert seen[:2] == [own, own | {"stability_score_thresh": 0.9}]
    assert not any({"pred_iou_thresh", "stability_score_thresh"} & settings.keys() for settings in seen[2:])


def test_the_first_call_on_tiny_finds_something(place, capsys):
    """Without any option. Kills: tiny with the large models' thresholds."""
    save_png("scene.png", render(5, 320).image)
    grid = ["--points-per-side", "6"]
    assert run(capsys, "everything", "scene.png", "-o", "own.json", *grid)[0] == 0
    assert run(capsys, "everything", "scene.png", "-o", "meta.json", *grid, "--preset", "meta")[0] == 0
    assert len(read("own.json")["annotations"]) >= 5 > len(read("meta.json")["annotations"])


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["--pred-iou-thresh", "9"],
        ["--pred-iou-thresh", "1.55", "--stability-score-thresh", "1"],
        ["--stability-score-thresh", "2"],
        ["--stability-score-thresh", "inf", "--pred-iou-thresh", "-1"],
        ["--pred-iou-thresh", "9", "--stability-score-thresh", "9", "--crop-n-layers", "1"],
        ["--preset", "sa1b", "--points-per-side", "4"],
        ["--pred-iou-thresh", "2", "--box-nms-thresh", "-1"],
        ["--pred-iou-thresh", "1e300"],
        ["--stability-score-thresh", "1.01", "--stability-score-offset", "0"],
    ],
)
def test_the_advice_helps(place, capsys, settings):
    """Where nothing is found, the options that are named find something; said once."""
    _, out, _ = everything(capsys, "--points-per-side", "4", *settings)
    assert "no masks from" in out and out.count("; try --") == 1
    advice = out.partition("; try ")[2].splitlines()[0].split()
    code, out, _ = everything(capsys, "--points-per-side", "4", *settings, *advice)
    assert code == 0 and "no masks" not in out and "; try" not in out and len(read()["annotations"]) > 0


# -------------------------------------------------------------------------------------------------------- many images


@pytest.fixture
def photos(place):
    """Three images, one in a sub-folder, and one that cannot be read; beside them a text."""
    pixels = read_image("photo.png")
    Path("photos/sub").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "a.png", "sub/c.PNG")):
        Image.fromarray(np.roll(pixels, 7 * number, axis=1)).save(Path("photos", name))
    Path("photos/b.png").write_text("no image")
    Path("photos/notes.doc").write_text("words")
    return place


def files(folder: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


def test_a_folder(photos, capsys):
    """The bad image is named, the others are done; a second time the finished ones are skipped. Kills: the first bad
    image ends it, a bad image is no failure, everything anew."""
    code, out, err = everything(capsys, *KEEP, "--overlay", "drawn", photo="photos", output="out")
    assert code == 2 and err.count("\n") == 1 and err.startswith("minisam: error: ") and "photos/b.png" in err
    assert out.splitlines()[-1] == "3 images done, 1 failed, 1 other files passed over; files in out"
    first = files("out")
    assert sorted(first) == ["a.jpg.json", "a.png.json", "sub/c.json"]
    assert sorted(files("drawn")) == ["a.jpg.png", "a.png.png", "sub/c.png"]
    for name, image_id, file_name in (("a.jpg.json", "a.jpg", "a.jpg"), ("sub/c.json", "sub/c", "c.PNG")):
        report = json.loads(first[name])
        assert (report["image"]["image_id"], report["image"]["file_name"]) == (image_id, file_name)
        assert {a["image_id"] for a in report["annotations"]} == {image_id} and len(report["annotations"]) > 1
    os.unlink("out/sub/c.json")
    Path("photos/b.png").write_bytes(Path("photos/a.png").read_bytes())
    code, out, err = everything(capsys, *KEEP, "--overlay", "drawn", photo="photos", output="out")
    assert (code, err) == (0, "") and "2 images done, 2 skipped, whose files were there, 1 other files" in out
    assert files("out") == first | {"b.json": files("out")["b.json"]}


def test_a_run_that_was_stopped_goes_on(photos, capsys, monkeypatch):
    """Ctrl-C in the second image: the first is whole, of the second nothing is there. Kills: everything anew."""
    from minisam.automatic.generator import SamAutomaticMaskGenerator as Generator

    calls = []

    def generate(self, image, step):
        calls.append(image)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(self, image, step)

    whole = Generator.generate
    monkeypatch.setattr(Generator, "generate", generate)
    os.unlink("photos/b.png")
    formats = ["--format", "sa1b", "--format", "png"]
    assert everything(capsys, *KEEP, *formats, photo="photos", output="out")[0] == 130
    assert sorted(files("out")) == ["png/a.jpg.png", "sa1b/a.jpg.json"]
    code, out, _ = everything(capsys, *KEEP, *formats, photo="photos", output="out")
    assert code == 0 and "2 images done, 1 skipped" in out and len(calls) == 4 and len(files("out")) == 6


def test_nothing_half_written_of_many(photos, capsys, monkeypatch):
    """The second format fails: the image has no file, the next one is tried. Kills: naming files one by one."""
    monkeypatch.setattr(Image.Image, "save", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    code, out, err = everything(capsys, *KEEP, "--format", "sa1b", "--format", "png", photo="photos", output="out")
    assert code == 2 and err.count("No space left") == 3 and "0 images done, 4 failed" in out and files("out") == {}


def test_coco_of_a_folder(photos, capsys):
    """One file of all images, made anew of SA-1B's files when some are skipped; a bad one is not in it."""
    for words in ("3 images done, 1 failed", "0 images done, 3 skipped, whose files were there, 1 failed"):
        code, out, _ = everything(capsys, *KEEP, "--format", "coco", photo="photos", output="out")
        assert code == 2 and words in out
        data = COCO("out/instances.json")
        assert [image["file_name"] for image in data.dataset["images"]] == ["a.jpg", "a.png", "sub/c.PNG"]
        assert sorted(data.anns) == [*range(1, len(data.anns) + 1)] and set(data.getImgIds()) == {1, 2, 3}
        for annotation in data.anns.values():
            assert data.annToMask(annotation).sum() == annotation["area"]
    Path("out/sa1b/a.png.json").write_text("[]")
    code, _, err = everything(capsys, *KEEP, "--format", "coco", photo="photos", output="out")
    assert code == 2 and "out/sa1b/a.png.json" in err.splitlines()[-1]


def test_several_images_by_name(photos, capsys):
    """The same folder as if the files were found there; a missing one is reported."""
    names = ["photos/a.jpg", "photos/sub/c.PNG", "photos/missing.png"]
    code, out, err = everything(capsys, *KEEP, photo=names, output="out")
    assert code == 2 and "photos/missing.png, which does not exist" in err and "2 images done, 1 failed" in out
    assert sorted(files("out")) == ["a.json", "sub/c.json"]


@pytest.mark.parametrize("kind", ["sa1b", "coco", "labelme", "yolo", "geojson", "png"])
def test_each_format_of_one_image(place, capsys, kind):
    if kind in ("labelme", "yolo", "geojson"):
        pytest.importorskip("shapely")
    output = f"masks{FORMATS[kind]}"
    code, out, err = everything(capsys, *KEEP, "--format", kind, output=output)
    assert (code, err) == (0, "") and f"wrote {output}" in out and Path(output).stat().st_size > 100
    if kind == "labelme":
        os.mkdir("labels")
        everything(capsys, *KEEP, "--format", kind, output="labels/photo.json")
        assert (read("masks.json")["imagePath"], read("labels/photo.json")["imagePath"]) == (
            "photo.png",
            "../photo.png",
        )


# ------------------------------------------------------------------------------------------------------------ stretch


@pytest.mark.parametrize("highest", [4095, 1023, 300])
def test_twelve_bits_in_sixteen(place, capsys, monkeypatch, highest):
    """A nearly black image is said to be one, and stretched the model sees its whole range."""
    values = np.linspace(0, highest, 40 * 60).reshape(40, 60).astype(np.uint16)
    save_png("dark.png", values)
    seen = []
    whole = SamAutomaticMaskGenerator.generate
    monkeypatch.setattr(
        SamAutomaticMaskGenerator, "generate", lambda self, image, step: seen.append(image) or whole(self, image, step)
    )
    code, _, err = everything(capsys, *KEEP, photo="dark.png")
    assert code == 0 and "dark.png: " in err and "nearly black" in err and "--stretch percentile" in err
    code, _, err = everything(capsys, *KEEP, "--stretch", "percentile", photo="dark.png")
    assert (code, err) == (0, "") and seen[0].max() <= 16 and (seen[1].min(), seen[1].max()) == (0, 255)


# -------------------------------------------------------------------------------------------------------- interruption


def test_ctrl_c_is_one_line(place, capsys, monkeypatch):
    Path("masks.json").write_text("older")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("minisam.automatic.generator.mask_runs", interrupted)
    code, out, err = everything(capsys, *KEEP, "--overlay", "o.png")
    assert (code, out, err.strip()) == (130, "", "minisam: interrupted")
    assert Path("masks.json").read_text() == "older" and not Path("o.png").exists()
    assert set(os.listdir()) == {"photo.png", "small.safetensors", "masks.json"}


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_ctrl_c_in_a_process(place):
    """A real SIGINT while points are decoded: exit code 130, nothing written, soon."""
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background ignores it
        "import sys, minisam.automatic.generator as automatic; from minisam.commands.main import main\n"
        "step = automatic.Run.step\n"
        "automatic.Run.step = lambda self, points: (step(self, points), print(points, flush=True))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["everything", "photo.png", "--checkpoint", "small.safetensors", "-o", "masks.json"]
    arguments += ["--overlay", "o.png", "--points-per-side", "400", *KEEP[2:]]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() and process.stdout.readline()
    process.send_signal(signal.SIGINT)
    start = time.perf_counter()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.replace(COMPILING, "").strip()) == (130, "minisam: interrupted")
    assert time.perf_counter() - start < 30
    assert set(os.listdir()) == {"photo.png", "small.safetensors"}


def test_a_bar_on_a_terminal(place):
    """On a terminal a bar counts points and vanishes."""
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    command = [sys.executable, "-m", "minisam", "everything", "photo.png", "--checkpoint", "small.safetensors"]
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen([*command, "-o", "m.json", *KEEP], stdout=subprocess.PIPE, stderr=child, text=True)
    os.close(child)
    seen = b""
    while True:
        try:
            part = os.read(parent, 1000)
        except OSError:
            break
        if not part:
            break
        seen += part
    os.close(parent)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "masks from 16 points" in out
    assert b"16/16" in seen and b"points" in seen and b"\n" not in seen.strip()
