"""The command line: what it prints and writes, and that bad input is one line, exit code 2, and nothing written."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pickle
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

import minisam
from command_line import refused, run
from minisam.checkpoints.checkpoint import save_checkpoint
from minisam.commands.main import main
from minisam.console import COMPILING, compilation, progress
from minisam.files.images import read_image, save_png
from minisam.sam import build
from small_models import SMALL

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "naming files one by one": (
        "minisam/commands/segment.py",
        "save_png(files.enter_context(atomic(path)), mask)",
        "save_png(path, mask)",
    ),
    "a traceback": ("minisam/__main__.py", "    except KeyboardInterrupt:", "    except ZeroDivisionError:"),
    "a code of 0 after an error or Ctrl-C": (
        "minisam/console.py",
        "        return 2, text\n    if isinstance(error, MemoryError)",
        "        return 0, text\n    if isinstance(error, MemoryError)",
    ),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a photo of 40 × 30 pixels, a mask, and weights of a very small model; commands run in it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    save_png("photo.png", rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    save_png("mask.png", np.pad(np.ones((10, 20), bool), ((5, 15), (5, 15))))
    save_checkpoint("small.safetensors", build(SMALL, seed=1).state_dict(), SMALL)
    return tmp_path


def segment(capsys, *arguments):
    return run(capsys, "segment", "photo.png", "--checkpoint", "small.safetensors", *arguments)


# -------------------------------------------------------------------------------------------------------- segment


def test_segment_prints_and_writes(place, capsys):
    code, out, err = segment(capsys, "--point", "20,10", "--point", "3,3,-", "-o", "o.png", "--masks", "m", "--json")
    assert code == 0 and err == ""
    report = json.loads(out)
    assert (report["width"], report["height"], report["model"]) == (40, 30, "small")
    assert report["prompts"]["points"] == [{"x": 20, "y": 10, "label": 1}, {"x": 3, "y": 3, "label": 0}]
    assert len(report["masks"]) == 3 and report["overlay"] == "o.png"

    predictor = minisam.SamPredictor(build(SMALL, seed=1))
    predictor.set_image(read_image("photo.png"))
    masks, iou, _ = predictor.predict(np.array([[20, 10], [3, 3]]), np.array([1, 0]))
    for number, (entry, mask) in enumerate(zip(report["masks"], masks)):
        assert entry["file"] == f"m_{number}.png"
        np.testing.assert_array_equal(read_image(entry["file"])[..., 0] > 0, mask)
        assert entry["area"] == mask.sum() and entry["predicted_iou"] == pytest.approx(iou[number], abs=1e-5)
        x, y, w, h = entry["bbox"]
        assert mask[y : y + h, x : x + w].sum() == mask.sum()
        assert entry["stability_score"] is None or 0 <= entry["stability_score"] <= 1
    assert report["best"] == int(np.argmax(iou))
    assert read_image("o.png").shape == (30, 40, 3)
    left = {"photo.png", "mask.png", "small.safetensors", "o.png", "m_0.png", "m_1.png", "m_2.png"}
    assert set(os.listdir()) == left


@pytest.mark.parametrize(
    "prompt",
    [["--box", "2,3,30,20"], ["--mask", "mask.png"], ["--box", "0,0,40,30", "--point", "5,5", "--mask", "mask.png"]],
)
def test_segment_with_every_prompt(place, capsys, prompt):
    code, out, _ = segment(capsys, *prompt, "--single", "--masks", "m")
    assert code == 0 and "photo.png: 40 × 30, model small" in out
    assert Path("m_0.png").exists() and not Path("m_1.png").exists()


def test_a_named_model_with_its_checkpoint(place, capsys):
    save_checkpoint("tiny.safetensors", build("tiny").state_dict(), minisam.CONFIGS["tiny"])
    code, out, _ = run(
        capsys, "segment", "photo.png", "--model", "tiny", "--checkpoint", "tiny.safetensors", "--point", "1,1"
    )
    assert code == 0 and "model tiny" in out


@pytest.mark.parametrize("kind", ["L", "RGBA", "P", "I;16", "CMYK", "1"])
def test_segment_takes_every_kind_of_picture(place, capsys, kind):
    values = np.random.default_rng(1).integers(0, 256, (30, 40), dtype=np.uint8)
    picture = (
        Image.fromarray(values.astype(np.uint16) * 257) if kind == "I;16" else Image.fromarray(values).convert(kind)
    )
    picture.save("x.tiff")
    code, out, err = run(
        capsys, "segment", "x.tiff", "--checkpoint", "small.safetensors", "--point", "5,5", "-o", "o.png", "--json"
    )
    assert code == 0 and err == "" and len(json.loads(out)["masks"]) == 3


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_segment_takes_extreme_shapes(place, capsys, size):
    Image.new("RGB", size, "red").save("x.png")
    arguments = [
        "segment",
        "x.png",
        "--checkpoint",
        "small.safetensors",
        "--point",
        "0,0",
        "-o",
        "o.png",
        "--masks",
        "m",
    ]
    assert run(capsys, *arguments)[0] == 0
    assert read_image("o.png").shape == (size[1], size[0], 3) == read_image("m_2.png").shape


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ([], "a prompt"),
        (["--point", "41,10"], "inside the image of 40 × 30 pixels, got (41, 10)"),
        (["--point=-1,10"], "inside the image"),
        (["--point", "nan,10"], "finite"),
        (["--point", "inf,10"], "finite"),
        (["--point", "5"], "expected x,y"),
        (["--point", "5,6,7"], "expected x,y"),
        (["--point", "a,b"], "expected x,y"),
        (["--point", ""], "expected x,y"),
        (["--point"], "--point"),
        (["--box", "10,10,5,20"], "x0 < x1"),
        (["--box", "10,10,10,20"], "x0 < x1"),
        (["--box", "1,2,3"], "expected x0,y0,x1,y1"),
        (["--box", "1,2,3,x"], "expected x0,y0,x1,y1"),
        (["--box", "nan,2,3,4"], "finite"),
        (["--box", "40,0,50,10"], "a part inside the image"),
        (["--mask", "missing.png"], "does not exist"),
        (["--mask", "small.safetensors"], "which is none"),
        (["--mask", "other.png"], "expected a mask of the image's size, 40 × 30"),
        (["--mask", "black.png"], "black"),
    ],
)
def test_bad_prompts(place, capsys, prompt, words):
    save_png("other.png", np.ones((40, 30), bool))
    save_png("black.png", np.zeros((30, 40), bool))
    arguments = ["segment", "photo.png", "--checkpoint", "small.safetensors", *prompt, "-o", "o.png", "--masks", "m"]
    if words == "--point":
        assert "expected one argument" in refused(capsys, "segment", "photo.png", "--point")
    else:
        assert words in refused(capsys, *arguments)


def test_bad_pictures(place, capsys):
    Path("text.jpg").write_text("just words, no image\n")
    Path("empty.png").touch()
    Path("folder.png").mkdir()
    Image.open("photo.png").save("whole.jpg")
    Path("truncated.jpg").write_bytes(Path("whole.jpg").read_bytes()[:400])
    words = {
        "missing.png": "does not exist", "text.jpg": "which is none", "empty.png": "empty", "folder.png": "no file",
        "truncated.jpg": "cannot be read", "bad\nname.png": "does not exist",
    }  # fmt: skip
    for name, word in words.items():
        line = refused(capsys, "segment", name, "--checkpoint", "small.safetensors", "--point", "1,1", "-o", "o.png")
        assert word in line


def test_bad_models(place, capsys):
    state = build(SMALL, seed=1).state_dict()
    whole = Path("small.safetensors").read_bytes()
    Path("truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    Path("text.pth").write_text("just words\n")

    class Evil:
        def __reduce__(self):
            return os.system, ("touch ran",)

    with zipfile.ZipFile("evil.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"model": Evil()}, 2))

    from safetensors.numpy import save_file

    notes = {"config": json.dumps(dataclasses.asdict(SMALL))}
    name = "prompt_encoder.no_mask_embed.weight"
    save_file({key: value for key, value in state.items() if key != name}, "missing.safetensors", notes)
    save_file({**state, "surplus": state[name]}, "extra.safetensors", notes)
    save_file({**state, name: state[name].T.copy()}, "shape.safetensors", notes)
    words = {
        "nowhere.pth": "nowhere.pth", "truncated.safetensors": "truncated.safetensors", "text.pth": "neither",
        "evil.pth": "posix.system", "missing.safetensors": f"1 missing: {name}",
        "extra.safetensors": "1 extra: surplus",
        "shape.safetensors": f"1 of another shape: {name} (16, 1) instead of (1, 16)", ".": "model.safetensors",
    }  # fmt: skip
    for file, word in words.items():
        line = refused(capsys, "segment", "photo.png", "--checkpoint", file, "--point", "1,1", "-o", "o.png")
        assert word in line
    assert not Path("ran").exists()
    for arguments in (["--model", "huge"], ["--model", "huge", "--checkpoint", "small.safetensors"]):
        line = refused(capsys, "segment", "photo.png", "--point", "1,1", *arguments)
        assert "expected a model among tiny, vit_b, vit_l, vit_h, got 'huge'" in line
    assert "vit_b" in refused(capsys, "segment", "photo.png", "--point", "1,1", "--model", "vit_b")
    arguments = ["--model", "vit_b", "--checkpoint", "small.safetensors"]
    assert "the 314 weights of vit_b" in refused(capsys, "segment", "photo.png", "--point", "1,1", *arguments)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (["-o", "nowhere/o.png"], "existing folder"),
        (["-o", "folder.png"], "folder.png"),
        (["-o", "photo.png"], "other than the input"),
        (["-o", "./link.png"], "other than the input"),
        (["-o", "mask.png", "--mask", "mask.png"], "other than the input"),
        (["-o", "o.jpg"], ".png"),
        (["--masks", "nowhere/m"], "existing folder"),
        (["-o", "m_1.png", "--masks", "m"], "different files"),
    ],
)
def test_bad_outputs(place, capsys, output, words):
    Path("folder.png").mkdir()
    Path("link.png").symlink_to("photo.png")
    arguments = ["segment", "photo.png", "--checkpoint", "small.safetensors", "--point", "1,1", *output]
    assert words in refused(capsys, *arguments)


def test_a_folder_that_is_not_writable(place, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked")
    Path("locked").mkdir()
    assert "writable" in refused(capsys, "segment", "photo.png", "--point", "1,1", "-o", "locked/o.png")


def test_nothing_stays_of_a_write_that_fails(place, capsys, monkeypatch):
    """The disk is full at the second mask, after the overlay: no file is left. Kills: naming files one by one."""
    saved = []

    def fail(self, path, **options):
        saved.append(path)
        if len(saved) == 3:
            raise OSError(28, "No space left on device")
        Path(path).write_bytes(b"png")

    monkeypatch.setattr(Image.Image, "save", fail)
    arguments = ["--point", "1,1", "-o", "o.png", "--masks", "m"]
    assert "No space left" in refused(capsys, "segment", "photo.png", "--checkpoint", "small.safetensors", *arguments)


# ------------------------------------------------------------------------------------------------- other commands


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "run", "--steps", "0"],
        ["train", "run", "--steps", "many"],
        ["train", "run", "--world", "2"],
        ["train", "run", "--lr", "nan"],
        ["train", "run", "--world", "0.5"],
        ["train", "run", "--model", "huge"],
        ["train", "run", "--size", "100"],
        ["train", "run", "--data", "."],
        ["train", "run", "--data", "nowhere"],
        ["train", "run", "--init", "nowhere.safetensors"],
        ["train", "photo.png"],
        ["verify", "--model", "huge"],
        ["verify", "--checkpoint", "photo.png"],
        ["verify", "--json", "nowhere/report.json"],
        ["verify", "--markdown", "nowhere/report.md"],
        ["verify", "--report", "nowhere"],
        ["verify", "--redraw"],
        ["verify", "--redraw", "--report", "."],
        ["verify", "--device", "tpu"],
        ["verify", "--dtype", "int8"],
        ["verify", "--model", "vit_b", "--depth", "13"],
        ["verify", "--checkpoint", "small.safetensors", "--depth", "1"],
        ["warmup", "--model", "huge"],
        ["transfer", "points", "nowhere"],
        ["transfer", "points", "."],
        ["transfer", "points"],
        ["transfer", "points", ".", "--world", "3"],
        ["transfer", "points", "--world", "3", "--clicks", "10"],
        ["train", "run", "--config", "nowhere.json"],
        ["train", "run", "--precision", "half"],
        ["train", "run", "--drop", "3"],
        ["train", "run", "--minutes", "0"],
        ["train", "run", "--plot"],
        ["pretrain", "run", "--masked", "1"],
        ["pretrain", "run", "--unit", "3"],
        ["pretrain", "run", "--data", "nowhere", "--world", "0"],
        ["pack", "nowhere", "-o", "packed.safetensors"],
        ["pack", ".", "-o", "packed.safetensors"],
        ["read", "--port", "-1"],
        ["read", "--port", "70000"],
    ],
)
def test_bad_arguments_of_other_commands(place, capsys, arguments):
    refused(capsys, *arguments)


@pytest.mark.parametrize("arguments", [[], ["dance"], ["segment"], ["transfer"], ["segment", "photo.png", "--colour"]])
def test_wrong_usage_is_one_line(place, capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and err.count("\n") == 1 and err.startswith("minisam: error: ")


def test_version_and_help(capsys):
    assert run(capsys, "--version") == (0, f"minisam {minisam.__version__}\n", "")
    code, out, _ = run(capsys, "--help")
    assert code == 0 and all(
        name in out for name in ("segment", "verify", "train", "pretrain", "pack", "warmup", "read", "lab", "transfer")
    )
    for command in ("segment", "verify", "train", "pretrain", "pack", "warmup", "read", "lab", "transfer"):
        assert run(capsys, command, "--help")[0] == 0


@pytest.mark.parametrize("kind", ["Settings", "PretrainSettings"])
def test_training_has_an_option_for_every_setting(kind):
    from minisam.commands import train
    from minisam.training import settings

    options = train.COMMON | (train.TRAIN if kind == "Settings" else train.PRETRAIN)
    fields = {field.name: field.default for field in dataclasses.fields(getattr(settings, kind))}
    assert {*options, "data"} == set(fields)
    number = (train.count, train.positive)
    parsers = {int: number, float: (float,), str: (str,), bool: (bool,), tuple: (*number, str)}
    for name, (parse, _) in options.items():
        assert parse in parsers[type(fields[name])], name


def test_train_hands_its_options_over(place, capsys, monkeypatch):
    from minisam.training import loop

    seen = {}

    class Trainer:
        def __init__(self, settings, folder, team, compiled, compact, recorded):
            seen.update(settings=settings, compact=compact, recorded=recorded, device=team.device.type)
            self.settings, self.folder, self.step = settings, folder, 5

        def run(self, workers, minutes):
            seen.update(workers=workers, minutes=minutes)
            return {2: "interrupted", 3: "time"}.get(workers, "")

    monkeypatch.setattr(loop, "Trainer", Trainer)
    given = ["--steps", "5", "--final-lr", "1e-5", "--workers", "0", "--seed", "3", "--no-mask-feedback", "--compact"]
    code, out, _ = run(capsys, "train", "run", *given)
    assert code == 0 and "weights.safetensors" in out
    assert seen["settings"] == loop.Settings(steps=5, final_lr=1e-5, seed=3, mask_feedback=False)
    assert seen["workers"] == 0 and seen["compact"] and not seen["recorded"] and seen["device"] == "cpu"
    code, _, err = run(capsys, "train", "run", "--workers", "2", "--record")
    assert seen["recorded"] and not seen["compact"]
    assert code == 130 and "stopped at step 5; the same command goes on" in err.splitlines()[-1]
    given = ["--decay", "steps", "--drop", "3", "--drop", "4", "--minutes", "9", "--workers", "3", "--steps", "9"]
    code, out, _ = run(capsys, "train", "run", *given)
    assert code == 0 and "stopped at step 5 of 9; the same command goes on" in out
    assert seen["settings"].drops == (3, 4) and 8 < seen["minutes"] <= 9
    (place / "c.json").write_text('{"steps": 7, "lr": 0.5, "drops": [2], "decay": "steps"}')
    run(capsys, "train", "run", "--config", "c.json", "--lr", "0.25")
    assert seen["settings"] == loop.Settings(steps=7, lr=0.25, drops=(2,), decay="steps")
    (place / "c.json").write_text('{"stepz": 7}')
    assert "got stepz" in refused(capsys, "train", "run", "--config", "c.json")


@pytest.mark.slow
def test_training_from_the_command_line(place, capsys):
    """Pretrain, train from it, draw the log: small, but nothing is replaced."""
    small = ["--size", "64", "--steps", "2", "--batch", "2", "--warmup", "1", "--workers", "0"]
    assert run(capsys, "pretrain", "pre", *small)[0] == 0
    assert (place / "pre" / "reconstruction.png").exists()
    given = [*small, "--masks", "2", "--rounds", "2", "--init", "pre", "--init-raw"]
    code, out, _ = run(capsys, "train", "fine", *given)
    assert code == 0 and "trained 2 steps" in out
    pytest.importorskip("matplotlib")
    assert run(capsys, "train", "fine", "--plot")[0] == 0 and (place / "fine" / "log.png").exists()
    from minisam.training.log import read_log

    assert [entry["step"] for entry in read_log(place / "fine")] == [1, 2] and "loss" in out
    wanted = "expected --lr 0.0008, with which fine was begun and has to go on, got --lr 0.01"
    assert wanted in refused(capsys, "train", "fine", *given, "--lr", "0.01")
    assert "expected a GPU" in refused(capsys, "train", "new", *given, "--device", "cuda")


def test_missing_extras_are_named(place, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'minisam[reference]'" in refused(capsys, "train", "run")
    assert "pip install 'minisam[reference]'" in refused(capsys, "pretrain", "run")
    assert "pip install 'minisam[reference]'" in refused(capsys, "pack", ".", "-o", "x")
    assert "pip install 'minisam[reference]'" in refused(capsys, "verify")
    assert "pip install 'minisam[transfer]'" in refused(capsys, "transfer", "points", ".")


def test_ctrl_c_is_one_line(place, capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("minisam.predictor.SamPredictor.set_image", interrupted)
    code, out, err = segment(capsys, "--point", "1,1", "-o", "o.png")
    assert (code, out, err.strip()) == (130, "", "minisam: interrupted") and not Path("o.png").exists()


def test_warmup(place, capsys):
    code, out, err = run(capsys, "warmup", "--checkpoint", "small.safetensors")
    assert code == 0 and "small is warm" in out and err == ""


def test_verify_hands_over(place, capsys, monkeypatch):
    import torch

    from minisam.verify import stages as verify

    seen = []

    def main(sam, device, dtype):
        seen.append((sam, device, dtype))
        return [verify.Line("part: stage", "(1,)", 2.0 - (len(seen) == 1), 0.5, 1.0, "relative", 0.1, 0.2)]

    monkeypatch.setattr(verify, "main", main)
    assert run(capsys, "verify", "--checkpoint", "small.safetensors", "--json", "r.json")[0] == 0
    assert seen[0][0].config == SMALL and seen[0][1:] == (torch.device("cpu"), torch.float64)
    assert json.loads(Path("r.json").read_text())["lines"][0]["error"] == 1.0
    assert run(capsys, "verify", "--checkpoint", "small.safetensors")[0] == 1, "a difference is exit code 1"
    code, _, _ = run(capsys, "verify", "--model", "tiny", "--dtype", "bfloat16")
    assert code == 1 and seen[-1][0].config.name == "tiny" and seen[-1][2] == torch.bfloat16
    code, _, _ = run(capsys, "verify", "--model", "vit_b", "--depth", "1")
    config = seen[-1][0].config
    assert (config.encoder_depth, config.encoder_global_attn_indexes) == (1, (0,)) and config.encoder_embed_dim == 768


def test_compiling_is_told_and_not_part_of_the_other_times(capsys, monkeypatch):
    """A clock that ticks once per look. Kills: counting a nested compilation twice, a line for each function."""
    from numba.core import event

    ticks = itertools.count(10.0)
    monkeypatch.setattr("minisam.console.time", mock.Mock(perf_counter=lambda: next(ticks)))
    with progress(desc="encoder") as bar, compilation(bar) as compiled:
        start = compiled.clock()  # 10
        for _ in range(2):
            with event.trigger_event("numba:compile"), event.trigger_event("numba:compile"):  # 11 to 12, 13 to 14
                pass
        assert (compiled.functions, compiled.seconds, compiled.clock() - start) == (4, 2.0, 3.0)
    with event.trigger_event("numba:compile"):
        pass
    assert compiled.functions == 4, "outside the with nobody listens"
    assert capsys.readouterr().err == f"{COMPILING}\n"


CHECKOUT = "import os, sys; print(sys.argv[1:], os.getcwd(), flush=True); sys.exit(7)"


def test_read_and_lab_hand_over(place, capfd, monkeypatch):
    """The book's tools run in the checkout around the package. An installed package has none, and says so."""
    monkeypatch.setattr(minisam, "__file__", str(place / "minisam" / "__init__.py"))
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    assert "source checkout" in refused(capfd, "read") and "source checkout" in refused(capfd, "lab")
    (place / "book" / "tools").mkdir(parents=True)
    (place / "book" / "tools" / "__init__.py").touch()
    (place / "book" / "tools" / "server.py").write_text(CHECKOUT)
    arguments = ["read", "--port=9", "--no-browser"]
    assert run(capfd, *arguments) == (7, f"{arguments} {place}\n", "")
    assert run(capfd, "lab") == (7, f"['lab'] {place}\n", "")


# ------------------------------------------------------------------------------------------------ real processes


def test_as_a_process(place):
    command = [sys.executable, "-m", "minisam", "segment", "photo.png", "--checkpoint", "small.safetensors"]
    done = subprocess.run([*command, "--point", "3,4", "--json"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.replace(f"{COMPILING}\n", "") == ""
    assert json.loads(done.stdout)["best"] in (0, 1, 2)
    done = subprocess.run([*command, "--point", "99,4", "-o", "o.png"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and not Path("o.png").exists()
    assert done.stderr == "minisam: error: expected points inside the image of 40 × 30 pixels, got (99, 4)\n"


@pytest.mark.slow
def test_the_first_run_compiles(place):
    """With an empty cache the time of compiling stands apart, and the second run does not compile."""
    command = [sys.executable, "-m", "minisam", "segment", "photo.png", "--checkpoint", "small.safetensors"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(place / "cache"), "NUMBA_DISABLE_JIT": "0"}
    first, second = (
        subprocess.run([*command, "--point", "3,4", "--json"], capture_output=True, text=True, env=environment)
        for _ in range(2)
    )
    assert first.stderr == f"{COMPILING}\n" and second.stderr == ""
    seconds = json.loads(first.stdout)["seconds"]
    assert seconds["compile"] > 0 and seconds["encode"] >= 0 and seconds["decode"] >= 0
    assert json.loads(second.stdout)["seconds"]["compile"] == 0


@pytest.mark.parametrize("module", ["minisam.commands.main", "argparse", "minisam.commands.everything"])
def test_ctrl_c_while_the_command_starts_is_one_line(module):
    """An interruption in the middle of an import, of the script's function and of ``-m``. Kills: a traceback."""
    code = (
        "import importlib.abc, runpy, sys\n"
        "class Interrupted(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == sys.argv[1]: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
    )
    project = tomllib.loads((Path(minisam.__file__).parents[1] / "pyproject.toml").read_text())["project"]
    home, function = project["scripts"]["minisam"].split(":")
    script = f"from {home} import {function}\nsys.exit({function}())"
    for start in (script, "runpy.run_module('minisam', run_name='__main__')"):
        done = subprocess.run([sys.executable, "-c", code + start, module], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "minisam: interrupted")


def test_ctrl_c_while_options_are_read(capsys, monkeypatch):
    monkeypatch.setattr("minisam.commands.main._parser", mock.Mock(side_effect=KeyboardInterrupt))
    assert main([]) == 130 and capsys.readouterr().err.strip() == "minisam: interrupted"


def test_help_and_errors_load_nothing_heavy():
    code = "import sys; from minisam.commands.main import main; main(['--help']); main(['segment', 'x.png']);"
    code += "print(sorted({'torch', 'numba', 'matplotlib', 'scipy', 'ipywidgets', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_every_program_says_bad_input_in_one_line(capsys):
    """Kills: a traceback, a code of 0 after an error or Ctrl-C."""
    from minisam.console import exit_code
    from minisam_kernels import InputError

    def fails(error):
        raise error

    assert exit_code(lambda: None) == 0 and exit_code(lambda: 3) == 3
    assert exit_code(lambda: fails(InputError("expected one, got two"))) == 2
    assert capsys.readouterr().err == "minisam: error: expected one, got two\n"
    assert exit_code(lambda: fails(KeyboardInterrupt())) == 130 and capsys.readouterr().err == "\nStopped.\n"
