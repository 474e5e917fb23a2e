"""``minisam pack`` and ``train --data``: what is said about a folder, and one line for a bad one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from command_line import refused, run
from minisam.training.sources import open_sources
from minisam_kernels.masks import rle

MASK = np.zeros((40, 60), bool)
MASK[5:15, 10:50] = True
CODE = {"size": [40, 60], "counts": rle.to_string(rle.rle_numpy(MASK)).decode()}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A photo that a phone stores lying on its side, and what ``everything photo.jpg -o masks.json`` writes."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "set"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.where(MASK, 255, 0).astype(np.uint8)).transpose(Image.Transpose.ROTATE_90)
    stored.save(folder / "photo.jpg", exif=exif)
    image = {"image_id": "photo", "file_name": "photo.jpg", "width": 60, "height": 40}
    report = {"image": image, "annotations": [{"id": 1, "segmentation": CODE}]}
    (folder / "masks.json").write_text(json.dumps(report))
    return tmp_path


def test_what_everything_writes_can_be_packed(place, capsys):
    """The masks lie on the upright image; what is left out is said once."""
    Image.new("RGB", (5, 5)).save("set/overlay.png")
    code, out, err = run(capsys, "pack", "set", "-o", "packed")
    assert code == 0 and "1 images" in out
    assert err == "set: left out 1 images without a JSON file (overlay.png)\n"
    (source,) = open_sources("packed")
    pixels = np.asarray(source.picture(0))[..., 0]
    np.testing.assert_array_equal(source.masks(0, [0])[0], MASK)
    assert ((pixels > 127) ^ MASK).mean() < 0.01


def test_stretch(place, capsys):
    """12 bits in 16-bit files: said, and mended by the option."""
    ramp = np.linspace(0, 4095, 2400).reshape(40, 60).astype(np.uint16)
    Image.fromarray(ramp).save("set/masks.png")
    (place / "set" / "photo.jpg").unlink()
    code, _, err = run(capsys, "pack", "set", "-o", "dark")
    assert code == 0 and "nearly black" in err and err.count("\n") == 1
    assert run(capsys, "pack", "set", "-o", "bright", "--stretch", "percentile")[0] == 0
    dark, bright = (np.asarray(open_sources(name)[0].picture(0)) for name in ("dark", "bright"))
    assert dark.max() < 20 and bright.max() > 240


SPOILS = {
    "runs that do not fill the image": {"counts": "0"},
    "runs below 0": {"counts": [2500, -100]},
    "another size": {"size": [60, 40]},
    "no size": {"size": None},
}


@pytest.mark.parametrize("wrong", SPOILS.values(), ids=SPOILS)
def test_damaged_masks(place, capsys, wrong):
    """Before anything is written: by packing, by training, by transfer."""
    (place / "set" / "masks.json").write_text(
        json.dumps({"image": {"file_name": "photo.jpg"}, "annotations": [{"segmentation": CODE | wrong}]})
    )
    for command in (
        ["pack", "set", "-o", "packed"],
        ["train", "run", "--data", "set", "--world", "0", "--steps", "2"],
        ["transfer", "points", "set", "--no-baselines"],
    ):
        assert "masks.json" in refused(capsys, *command)


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.9, 0.99])
def test_damaged_packed_files(place, capsys, share):
    run(capsys, "pack", "set", "-o", "packed")
    content = (place / "packed").read_bytes()
    (place / "packed").write_bytes(content[: int(share * len(content))])
    for command in ("train", "pretrain"):
        assert "packed" in refused(capsys, command, "run", "--data", "packed", "--world", "0", "--steps", "2")


@pytest.mark.parametrize("name", ["nowhere", "x" * 300, "set/photo.jpg", "empty"])
def test_no_set(place, capsys, name):
    (place / "empty").mkdir()
    for command in (["train", "run", "--data", name], ["pretrain", "run", "--data", name], ["pack", name, "-o", "p"]):
        refused(capsys, *command)
