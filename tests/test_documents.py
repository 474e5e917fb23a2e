"""What the documents tell a reader to type is typed here, in small; what is not, is listed with the reason."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minisam
from documents import CARD, CHAPTERS, DOCUMENTS, ROOT, commands, options, snippets
from minisam.checkpoints.checkpoint import read_checkpoint, save_checkpoint
from minisam.commands.main import _parser, main
from minisam.sam import build
from minisam.training.log import read_log
from minisam.world import render
from sa1b import sa1b_folder
from small_models import SMALL

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, about NumPy 2

# What is not run, and why. `make` targets are at least read by make itself.
EXCEPTIONS = {
    "make read": "serves the book until Ctrl-C; tests/book does the same",
    "make lab": "opens JupyterLab",
    "make check": "minutes, and these tests are among them",
    "make test": "minutes, and these tests are among them",
    "make lint": "a minute; make check and the CI run it",
    "make mutants": "long; make test breaks the kernels alone",
    "make test-gpu": "needs a GPU",
    "make bench": "an hour",
    "make book": "minutes; tests/book builds the book",
    "make pdf": "minutes, and a browser",
    "make weights DATA=pictures.safetensors": "hours; tests/training/test_recipe.py reads its stages",
    "make PYTHON=python3.12 read": "serves the book until Ctrl-C, with a Python that need not be there",
    "pip install .": "needs the network",
    "pip install '.[reference]'": "needs the network",
    "pip install -e '.[book]'": "needs the network",
    'pip install -e ".[reference]" pytest hypothesis': "needs the network",
    "jupytext-config set-default-viewer markdown myst": "changes the settings of the reader's JupyterLab",
    "jupyter lab chapters": "opens JupyterLab",
    "git switch -c my-change": "changes the checkout",
    ".venv/bin/pre-commit install": "changes the checkout",
    ".venv/bin/python tests/mutants.py silu": "half a minute, for a kernel that is made up; make mutants runs the file",
    "python tests/mutants.py --slow": "minutes",
    "python book/six_photos.py": "draws README's image anew, from photographs that have to be fetched",
    "PYTHONPATH=.:kernels python3 -m pytest -m gpu": "needs a GPU",
    "minisam verify --model vit_h --device cuda --dtype float64 --report FOLDER": "needs a GPU",
    "minisam bench --device cuda": "needs a GPU",
    "minisam transfer suite -o benchmarks/transfer": "half an hour; tests/transfer/test_suite.py runs toy jobs",
    "minisam transfer suite -o report --real FOLDER": "half an hour; tests/transfer/test_suite.py runs toy jobs",
    "python -m minisam.experiments.left_out benchmarks/transfer/models"
    " --work runs/left_out --data pictures.safetensors": "hours; tests/experiments runs it in small",
}
TRAIN = ("ecssd", "coco_objects", "coco_people", "dsb2018", "bsds500")  # the sets of the model card
LITTLE = " --size 64 --steps 2 --batch 2 --warmup 1 --workers 0"
# What is run instead, so that it takes seconds: text → replacement, all that apply, in this order.
SMALLER = {
    "FOLDER …": "FOLDER",
    "--size 128": "",
    "--size 320": "",
    "--size 384": "",
    "--steps 330": "",
    "--minutes 60": "--minutes 60 --masks 2",
    "--masks 8": "--masks 2",
    "--rounds 11": "--rounds 2",
    "--warmup 10": "",
    "--device cuda --compile --record --workers 14": "",
    " --compile": "",
    "--world 200": "--world 1",
    "--world 100": "--world 1",
    "minisam everything": "minisam everything --points-per-side 6",
    "--device cuda --model vit_h": "--device cpu --depth 1 --only encode --precision float32 --form eager --quick",
    "--model vit_h --dtype float32": "--checkpoint small.safetensors",
    "--model vit_b --peers": "--quick --only prompts-1",
    "ablations.json": "ablations.json --only base --steps 2 --scenes 1",
    "--processes 2": "--processes 1",
    "--seeds 2": "--seeds 1",
    "--grid 32": "--grid 3",
    "edges FOLDER --baselines": "edges --world 1 --baselines",
    "--boxes results.json": "--detector truth",
    "--scenes 100": "--scenes 2",
    "multimask.json": "multimask.json --steps 2 --points 2",
    "tests/kernels/layers/test_silu.py": "tests/kernels/layers/test_gelu.py",
    "tests/kernels --ignore": "--collect-only -q tests/kernels --ignore",
    "ruff format .": "ruff format --check .",
    "minisam export": "minisam export --checkpoint small.safetensors",
}


def small(command: str) -> str:
    for old, new in SMALLER.items():
        command = command.replace(old, new)
    if re.search(r"minisam (pre)?train ", command) and "--plot" not in command and "--help" not in command:
        command += LITTLE
    return command


def name_alone(command: str) -> bool:
    """Whether a sentence speaks of a command of minisam, or of one with an option, without telling what to type."""
    return bool(re.fullmatch(r"minisam [a-z]+( --[a-z-]+)?", command))


EVERY = [(document, command) for document in DOCUMENTS for command in commands(document)]
RUN = {
    document: [c for d, c in EVERY if d == document and c not in EXCEPTIONS and not name_alone(c)]
    for document in DOCUMENTS
}


def test_what_is_excepted_and_made_smaller_stands_there() -> None:
    """Kills: an exception for a command that is gone; a replacement that replaces nothing."""
    told = [command for _, command in EVERY]
    assert len(told) > 50
    assert sorted(set(EXCEPTIONS) - set(told)) == []
    run = [command for listed in RUN.values() for command in listed]
    assert [old for old in SMALLER if not any(old in command for command in run)] == []


@pytest.mark.parametrize("target", sorted({c for _, c in EVERY if c.startswith("make ")}))
def test_make_knows_the_target(target: str, tmp_path: Path) -> None:
    """As make reads it, without doing anything."""
    if shutil.which("make") is None:
        pytest.skip("no make")
    (tmp_path / "pictures.safetensors").write_bytes(b"")
    command = shlex.split(target.replace("pictures.safetensors", str(tmp_path / "pictures.safetensors")))
    done = subprocess.run([command[0], "-n", *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", sorted({c for _, c in EVERY if name_alone(c)}))
def test_commands_that_are_only_named(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = command.split()
    assert main([words[1], "--help"]) == 0
    assert all(word in capsys.readouterr().out for word in words[2:])


def known(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a command and of all below it."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {option for below in action.choices.values() for option in known(below)}
    return found


def test_options_that_are_only_named() -> None:
    """Each is one of some command of minisam, or of a command that is run. Kills: an option that has another name."""
    named = {option: document for document in DOCUMENTS for option in options(document)}
    assert len(named) > 15
    typed = {word for _, command in EVERY for word in command.split()}
    assert {option: d for option, d in named.items() if option not in known(_parser()) | typed} == {}


# who runs the blocks of Python that are no cells
SNIPPETS = {
    "README.md": "test_the_snippets_of_readme",
    "chapters/coming_from.md": "tests/test_released_api.py",
    "chapters/06-decoder.md": "a hint, which the check of the cell below it judges",
}


def test_every_snippet_is_run() -> None:
    assert {document for document in DOCUMENTS if snippets(document)} == set(SNIPPETS)


@pytest.mark.parametrize(
    "data", ["", "DATA=", "DATA=nowhere.safetensors", "DATA=tests", "DATA=no/such/file", "DATA=~/x"]
)
def test_make_weights_looks_at_its_data_first(tmp_path: Path, data: str) -> None:
    """Before any environment is made, in a folder with nothing but the Makefile."""
    if shutil.which("make") is None:
        pytest.skip("no make")
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "tests").mkdir()
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    make = ["make", "weights", *data.split()]
    done = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, env=alone)
    assert done.returncode == 2 and done.stdout.startswith("Expected a file that minisam pack made, got '")
    assert done.stdout.endswith("make weights DATA=images.safetensors\n") and done.stdout.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Makefile", "tests"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the documents speak of: photos, sets, weights, pages; ``.venv/bin`` has this Python."""
    place = tmp_path_factory.mktemp("reader")
    (place / "photos").mkdir()
    for number, name in enumerate(("cat", "street", "cells")):
        Image.fromarray(render(number, 96).image[:72]).save(place / "photos" / f"{name}.jpg", quality=95)
    Image.fromarray(render(3, 320).image[:240]).save(place / "photo.jpg", quality=95)
    sa1b_folder(place / "FOLDER", 2)
    for name in (
        "PHOTOS",
        "FOLDER2",
        "ecssd",
        "coco_objects",
        "dev/coco_cc",
        "dev/dsb2018",
        *(f"train/{n}" for n in TRAIN),
    ):
        shutil.copytree(place / "FOLDER", place / name)
    save_checkpoint(place / "small.safetensors", build(SMALL, seed=1).state_dict(), SMALL)
    for folder in ("benchmarks/cpu/parity", "benchmarks/training", "benchmarks/transfer", "minisam/weights", "runs"):
        (place / folder).mkdir(parents=True)
    for file in (ROOT / "minisam" / "weights").glob("*.[jm][sd]*"):
        shutil.copy(file, place / "minisam" / "weights")
    bin = place / ".venv" / "bin"
    bin.mkdir(parents=True)
    programs = {"python": "", "python3": "", "minisam": "-m minisam", "torchrun": "-m torch.distributed.run"}
    for name, module in (programs | {"ruff": "-m ruff"}).items():
        (bin / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module} "$@"\n')
        (bin / name).chmod(0o755)
    before = Path.cwd()
    os.chdir(place)
    logging.disable(logging.WARNING)  # torch's exporter notes every line that it traces
    yield place
    logging.disable(logging.NOTSET)
    os.chdir(before)


def type_in(command: str, place: Path) -> None:
    """Run a command: one of minisam in this process, any other in a shell, in the checkout if it names its tests."""
    words = [] if re.search("[;$<>|*]", command) else shlex.split(command)
    if words[:1] == ["minisam"]:
        fine = (
            (0, 1) if words[1] == "verify" else (0,)
        )  # random weights need not be within the tolerance of trained ones
        assert main(words[1:]) in fine, command
        return
    environment = {**os.environ, "PATH": f"{place / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), environment.get("PYTHONPATH", "")])
    command = command.replace(".venv/bin/", f"{place}/.venv/bin/")
    where = ROOT if re.search("pytest|ruff|make", command) else place
    done = subprocess.run(["bash", "-e", "-c", command], cwd=where, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


@pytest.mark.slow
def test_the_commands_of_readme(place: Path) -> None:
    """One after the other, the chain on one's own photos among them: everything on three, pack, train, transfer."""
    pytest.importorskip("skimage")
    pytest.importorskip("cv2")
    pytest.importorskip("matplotlib")
    for command in RUN["README.md"]:
        type_in(small(command), place)
    records = [json.loads(path.read_text()) for path in sorted((place / "photos").glob("*.json"))]
    assert len(records) == 3 and all(record["annotations"] for record in records)
    assert (place / "photos.safetensors").exists() and (place / "runs" / "mine" / "log.png").exists()
    assert [entry["step"] for entry in read_log(place / "runs" / "mine")] == [1, 2]
    notes = json.loads(read_checkpoint(place / "runs" / "mine" / "weights.safetensors").metadata["settings"])
    assert (notes["init"], notes["world"], notes["data"]) == ("tiny", 0.0, ["photos.safetensors"])


@pytest.mark.slow
def test_the_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On three photos, with files that have their names and one that has another, which its ``file_name`` explains."""
    pytest.importorskip("skimage")
    pytest.importorskip("cv2")
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number, (name, masks) in enumerate(
        (("cat.jpg", "masks.json"), ("street.png", "street.json"), ("C.JPG", "C.json"))
    ):
        Image.fromarray(render(number, 96).image[:72]).save(f"photos/{name}")
        few = "--points-per-side 6 --pred-iou-thresh 0.4 --stability-score-thresh 0.4"
        assert main(["everything", f"photos/{name}", "-o", f"photos/{masks}", *few.split()]) == 0
        assert json.loads(Path(f"photos/{masks}").read_text())["annotations"], "something is found"
    assert main(["pack", "photos", "-o", "photos.safetensors"]) == 0
    assert "3 images" in capsys.readouterr().out
    for data in ("photos.safetensors", "photos"):
        assert main([*f"train run-{len(data)} --init tiny --data {data}{LITTLE} --masks 2".split()]) == 0
    printed = capsys.readouterr()
    assert printed.err.count("images: 100% of photos (3), each set as often") == 2
    assert printed.out.count("trained 2 steps, loss ") == 2
    trained = "--checkpoint run-6/weights.safetensors --json measured.json"
    assert main(["transfer", "points", "photos", *trained.split()]) == 0
    assert json.loads(Path("measured.json").read_text())["pictures"] == 3


@pytest.mark.slow
def test_the_commands_of_contributing(place: Path) -> None:
    for command in RUN["CONTRIBUTING.md"]:
        type_in(small(command), place)


@pytest.mark.slow
def test_the_commands_of_the_model_card(place: Path) -> None:
    """Stages 9 and 11 stand for a training each, and the card is written anew."""
    for number in ("9", "11"):
        type_in(f"minisam train runs/tiny-{number}{LITTLE}", place)
    for command in sorted(RUN[CARD], key=lambda command: "minisam pack" not in command):
        type_in(small(command), place)
    assert "coco_cc: 2 images" in (place / CARD).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_commands_of_the_chapters(place: Path) -> None:
    for chapter in CHAPTERS:
        for command in RUN[chapter]:
            if "pictures.safetensors" in command:
                type_in("minisam pack FOLDER -o pictures.safetensors", place)
            type_in(small(command), place)


@pytest.mark.slow
def test_the_snippets_of_readme(place: Path) -> None:
    """As one program after another; what ONNX Runtime answers is what the predictor answers."""
    pytest.importorskip("onnxruntime")
    first, second, onnx = snippets("README.md")
    image = np.asarray(Image.open("photo.jpg"))
    names: dict[str, object] = {}
    exec(compile(first, "README.md", "exec"), names)
    exec(compile(second.replace("stability_score_thresh=0.5", "points_per_side=4"), "README.md", "exec"), names)
    assert isinstance(names["records"], list)
    assert main(["export", "-o", "onnx", "--no-check"]) == 0
    exec(compile(onnx, "README.md", "exec"), names)
    logits, scores = names["logits"], names["scores"]
    assert isinstance(logits, np.ndarray) and isinstance(scores, np.ndarray)
    predictor = minisam.SamPredictor(minisam.load("tiny"))
    predictor.set_image(image)
    _, expected, low = predictor.predict(point_coords=[[238, 164]], point_labels=[1])
    np.testing.assert_allclose(scores[0, 1:], expected, atol=1e-3)
    np.testing.assert_allclose(logits[0, 1:], low, atol=1e-3 * np.abs(low).max())
