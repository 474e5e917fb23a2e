"""Classical methods, HED, and the command."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torch.nn import functional

from minisam.predictor import SamPredictor
from minisam.sam import build
from minisam.transfer.edges import baselines, hed, speed, task
from minisam.transfer.edges.bsds import find, world
from minisam.transfer.edges.scores import Scores
from minisam.transfer.report import markdown
from minisam_kernels import InputError
from small_models import SMALL, picture

MUTANTS = {
    "red first": ("minisam/transfer/edges/hed.py", "image[None, :, :, ::-1] - MEAN", "image[None] - MEAN"),
    "a pool before the first block": ("minisam/transfer/edges/hed.py", "_pool(x) if b > 1 else x", "_pool(x)"),
    "pools that drop the last row": (
        "minisam/transfer/edges/hed.py",
        "((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode",
        "((0, 0), (0, 0), (0, 0), (0, 0)), mode",
    ),
    "from few to many": (
        "minisam/transfer/edges/baselines.py",
        "upper = UNIT * STEEPEST * thresholds(THRESHOLDS) ** 2",
        "upper = UNIT * STEEPEST * thresholds(THRESHOLDS)[::-1] ** 2",
    ),
}


def disc(shift: float = 0.0) -> np.ndarray:
    rows, columns = np.mgrid[:48, :56] - 25.0
    return np.where((rows**2 + (columns - shift) ** 2 < 150)[..., None], [220, 200, 30], [30, 60, 90]).astype(np.uint8)


@pytest.mark.parametrize("method", ["sobel", "canny", "felzenszwalb"])
def test_classical_methods_find_a_disc(method):
    """A closed line around it at some threshold, and from many pixels to few. Kills: from few to many."""
    levels = getattr(baselines, method)(disc())
    rows, columns = np.mgrid[:48, :56] - 25.0
    distance = np.abs(np.hypot(rows, columns) - 150**0.5)
    assert any(level.sum() > 50 and (distance[level] < 3).all() for level in levels)
    counts = [level.sum() for level in levels]
    assert all(level.dtype == bool and level.shape == (48, 56) for level in levels) and counts[0] >= counts[-1]


def random_weights(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    scale = {name: (2 / np.prod(shape[:-1])) ** 0.5 for name, shape in hed.shapes().items()}
    weights = {name: rng.standard_normal(shape, np.float32) * scale[name] for name, shape in hed.shapes().items()}
    # the first convolution meets values of some hundred
    return weights | {"block1/layers/conv2d/vars/0": weights["block1/layers/conv2d/vars/0"] / 100}


def hed_in_torch(weights: dict[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    """Keras's layers by torch's operators; TensorFlow's pool with padding "same" is the one that rounds up."""

    def convolve(name: str, x: torch.Tensor) -> torch.Tensor:
        kernel = torch.from_numpy(weights[f"{name}/0"]).permute(3, 2, 0, 1).double()
        return functional.conv2d(x, kernel, torch.from_numpy(weights[f"{name}/1"]).double(), padding="same")

    bgr = image[:, :, [2, 1, 0]] - np.array([104.00699, 116.66877, 122.67892])
    x, sides = torch.from_numpy(bgr).permute(2, 0, 1)[None], []
    for block, names in enumerate((["", "_1"], ["", "_1"], ["", "_1", "_2"], ["", "_1", "_2"], ["", "_1", "_2"]), 1):
        if block > 1:
            x = functional.max_pool2d(x, 2, ceil_mode=True)
        for name in names:
            x = functional.relu(convolve(f"block{block}/layers/conv2d{name}/vars", x))
        side = convolve(f"dsn{block}/vars", x)
        sides.append(functional.interpolate(side, image.shape[:2], mode="bilinear", align_corners=False))
    return torch.sigmoid(convolve("fuse/vars", torch.cat(sides, 1)))[0, 0].numpy()


def test_hed_equals_torch():
    """Odd rows and columns. Kills: red first, a pool before the first block, pools that drop the last row."""
    weights, image = random_weights(), picture(21, 35)
    expected = hed_in_torch(weights, image)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(hed.hed(weights, image), expected, atol=1e-4)


def test_hed_weights_in_a_file(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        for name, shape in hed.shapes().items():
            file.create_dataset(name, shape, np.float32, fillvalue=0.5, chunks=shape)
    weights = hed.read_weights(path)
    assert {name: value.shape for name, value in weights.items()} == hed.shapes()
    with h5py.File(path, "a") as file:
        del file["fuse/vars/0"]
    with pytest.raises(InputError, match="expected HED's weights"):
        hed.read_weights(path)
    path.write_bytes(b"none")
    with pytest.raises(InputError, match="expected HED's weights"):
        hed.read_weights(path)


@pytest.mark.slow
def test_real_hed_finds_a_disc():
    path = hed.weights_path()
    if path is None:
        pytest.skip(f"HED's weights are not installed ({hed.INSTALL})")
    edges = hed.hed(hed.read_weights(path), disc())
    rows, columns = np.mgrid[:48, :56] - 25.0
    near = np.abs(np.hypot(rows, columns) - 150**0.5) < 2
    assert edges[near].mean() > 0.5 > 0.2 > edges[np.hypot(rows, columns) < 7].mean()


@pytest.fixture
def small(monkeypatch):
    model = build(SMALL, seed=3)
    monkeypatch.setattr("minisam.console.load_model", lambda options: model)
    monkeypatch.setattr(hed, "weights_path", lambda: None)
    return SamPredictor(model)


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    task.add(parser.add_subparsers())
    options = parser.parse_args(["edges", *words])
    return options.run(options)


def test_the_command_on_the_world(small, tmp_path, capsys):
    path = tmp_path / "edges.json"
    assert run("--world", "2", "--baselines", "--json", str(path)) == 0
    printed = capsys.readouterr().out
    for row in ("| small |", "| Sobel |", "| Canny |", "| Felzenszwalb's regions |", "2 images, 2 annotators"):
        assert row in printed
    assert "HED is left out" in printed
    report = json.loads(path.read_text())
    counts = np.array(report["methods"]["small"]["counts"])
    assert counts.shape == (2, 99, 4) and (counts[..., 0] <= counts[..., 1]).all()
    assert (counts[..., 2] <= counts[..., 3]).all()
    again = task.evaluate(small, world(2, 64))["methods"]["small"]
    for key in Scores._fields:
        assert again[key] == report["methods"]["small"][key]


def test_bad_options(small, tmp_path):
    for words, message in (
        ((), "either a folder"),
        ((str(tmp_path), "--world", "2"), "either a folder"),
        ((str(tmp_path),), "expected images"),
        (("--world", "1", "--json", str(tmp_path)), "expected a file to write"),
    ):
        with pytest.raises(InputError, match=message):
            run(*words)
    with pytest.raises(InputError, match="at least one picture"):
        task.evaluate(small, [])


def test_a_bad_picture_does_not_end_the_batch(small, tmp_path):
    """Damaged, missing, of another size: named with the reason, and not among the pictures."""
    (tmp_path / "images" / "test").mkdir(parents=True)
    (tmp_path / "groundTruth" / "test").mkdir(parents=True)
    drawn = np.empty((1, 1), object)
    drawn[0, 0] = {"Boundaries": np.eye(48, 56, dtype=np.uint8)}
    for name in ("damaged", "good", "missing", "small"):
        if name != "missing":
            Image.fromarray(disc()[: 20 if name == "small" else None]).save(tmp_path / f"images/test/{name}.jpg")
        savemat(tmp_path / f"groundTruth/test/{name}.mat", {"groundTruth": drawn})
    (tmp_path / "groundTruth" / "test" / "damaged.mat").write_bytes(b"MATLAB 5.0" * 20)
    report = task.evaluate(small, find(tmp_path))
    assert report["pictures"] == report["annotators"] == 1 and len(report["methods"]["small"]["counts"]) == 1
    assert [Path(where).stem for where in report["left_out"]] == ["damaged", "missing", "small"]
    assert markdown(task.table(report)).count("Left out") == 3
    with pytest.raises(InputError, match=r"at least one picture that can be read, got none .left out .*damaged"):
        task.evaluate(small, find(tmp_path, limit=1))


def test_jobs(tmp_path, monkeypatch):
    """The world always, BSDS where it is."""
    assert [job.name for job in task.jobs()] == [job.name for job in task.jobs(tmp_path)] == ["edges-world"]
    (tmp_path / "bsds500").mkdir()
    assert [job.name for job in task.jobs(tmp_path)] == ["edges-world", "edges-bsds500"]
    monkeypatch.setattr(task, "SCENES", 1)
    monkeypatch.setattr(hed, "weights_path", lambda: None)
    monkeypatch.setattr("minisam.checkpoints.loading.load", lambda name: build(SMALL))
    (made,) = task.jobs()[0].run()
    assert len(made.rows) == 4 and "has seen every domain" in markdown(made)


def test_speed_compares_equal_results(capsys, monkeypatch):
    """It counts what both find, on a picture that is small."""
    monkeypatch.setattr(speed, "SIDE", 48)
    monkeypatch.setattr("sys.argv", ["speed", "--pictures", "1", "--thresholds", "3"])
    assert speed.main() == 0
    ours, theirs = (line.split("|")[2:6] for line in capsys.readouterr().out.splitlines()[4:6])
    np.testing.assert_allclose(
        np.array(ours, float), np.array(theirs, float), atol=0.03
    )  # theirs draws at random: a pair less moves a score by .005
