"""What is done to one picture: the generator's masks, in a file; whose fault it is when there are none."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from minisam.automatic.generator import SamAutomaticMaskGenerator
from minisam.checkpoints.checkpoint import save_checkpoint
from minisam.engine import annotation, worker
from minisam.engine.annotation import annotate_folder, make_recipe
from minisam.engine.store import Picture, Store
from minisam.engine.worker import MACHINE, Recipe
from minisam.files.formats import as_sa1b
from minisam.files.images import read_image, save_png
from minisam.sam import build
from refusals import refusal
from small_models import SMALL, picture

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "any weights will do": ("minisam/engine/worker.py", "if digest != recipe.sha256:", "if False:"),
    "any minisam will do": ("minisam/engine/worker.py", "if minisam_version() != recipe.version:", "if False:"),
    "a model for every picture": ("minisam/engine/worker.py", "if recipe not in _prepared:", "if True:"),
    "the first recipe for ever": ("minisam/engine/worker.py", "if recipe not in _prepared:", "if not _prepared:"),
    "all threads": ("minisam/engine/worker.py", "os.environ.update(ONE_THREAD)", "pass"),
    "done once more": ("minisam/engine/worker.py", "if store.has(picture.name):", "if False:"),
    "a full disk is the picture's fault": (
        "minisam/engine/worker.py",
        "        return Outcome(picture, failure=explain(error)[1], fault=MACHINE)\n    return",
        "        return Outcome(picture, failure=explain(error)[1], fault=PICTURE)\n    return",
    ),
    "thresholds of the large models": (
        "minisam/engine/annotation.py",
        "if own_thresholds else {}",
        "if False else {}",
    ),
    "a full disk ends nothing": ("minisam/engine/annotation.py", "result.stopped = outcome.failure", "pass"),
    "failures are forgotten": ("minisam/engine/annotation.py", "else store.failures()", "else {}"),
    "a store among the pictures": (
        "minisam/engine/annotation.py",
        "if inside.is_relative_to(outside) or",
        "if False and",
    ),
}
SETTINGS = {"points_per_side": 3, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder ``in`` of three pictures, and weights of a very small model."""
    (tmp_path / "in").mkdir()
    for number, name in enumerate("abc"):
        save_png(tmp_path / "in" / f"{name}.png", picture(40, 60, number))
    save_checkpoint(tmp_path / "small.safetensors", build(SMALL, seed=7).state_dict(), SMALL)
    return tmp_path


def recipe_of(place: Path, **changes: object) -> Recipe:
    values = {"settings": SETTINGS, "one_thread": False} | changes
    return make_recipe(place / "in", place / "out", place / "small.safetensors", **values)  # type: ignore[arg-type]


def test_the_files_are_the_generators(place: Path) -> None:
    """As ``minisam everything`` writes them, byte for byte, and only counts come back."""
    recipe = recipe_of(place)
    outcomes = []
    result = annotate_folder(recipe, tell=lambda _, outcome: outcomes.append(outcome))
    generator = SamAutomaticMaskGenerator(build(SMALL, seed=7), **SETTINGS, output_mode="coco_rle")
    store = Store(place / "out")
    total = 0
    for name in "abc":
        image = read_image(place / "in" / f"{name}.png")
        records = generator.generate(image)
        total += len(records)
        wanted = json.dumps(as_sa1b(f"{name}.png", (40, 60), records, name), allow_nan=False)
        assert store.record(name).read_text() == wanted
    assert (result.total, result.done, result.before, result.masks) == (3, 3, 0, total) and result.whole
    assert outcomes[0] is None and len(pickle.dumps(outcomes[1])) < 500
    assert store.manifest()["weights"] == worker.sha256(place / "small.safetensors")
    assert store.manifest()["settings"]["crop_n_layers"] == 0 and str(place) not in json.dumps(store.manifest())


def test_one_model_per_recipe(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a model for every picture, the first recipe for ever, done once more."""
    made = []
    prepare = worker._prepare
    monkeypatch.setattr(worker, "_prepare", lambda recipe: made.append(recipe) or prepare(recipe))
    monkeypatch.setattr(worker, "_prepared", {})
    assert annotate_folder(recipe_of(place)).done == 3 and len(made) == 1
    few = recipe_of(place, settings=SETTINGS | {"points_per_side": 1})._replace(store=str(place / "few"))
    assert annotate_folder(few).masks == 9 and len(made) == 2 and len(worker._prepared) == 1
    before = Store(place / "few").record("a").stat().st_ino
    assert worker.annotate(few, Picture("a.png", "a")) == worker.Outcome(Picture("a.png", "a"), 3)
    assert Store(place / "few").record("a").stat().st_ino == before


def test_a_worker_that_cannot_work_says_so(place: Path) -> None:
    """Kills: any weights will do, any minisam will do. Another minisam, other weights, folders that it does not see."""
    recipe, first = recipe_of(place), Picture("a.png", "a")
    with Store(place / "out").filling(annotation.manifest(recipe)):
        pass
    for change, words in (
        ({"version": "0.0.1"}, "expected minisam 0.0.1 on the worker, got"),
        ({"sha256": "0" * 64}, "expected weights of SHA-256 000"),
        ({"folder": str(place / "nowhere")}, "expected the worker to see"),
        ({"store": str(place / "nowhere")}, "expected the worker to see"),
        ({"checkpoint": str(place / "nowhere")}, "expected a file that can be read"),
        ({"model": "vit_b"}, "small.safetensors"),  # weights that do not fit
    ):
        outcome = worker.annotate(recipe._replace(**change), first)
        assert outcome.fault == MACHINE and words in outcome.failure and outcome.masks == 0
    assert not Store(place / "out").has("a")
    result = annotate_folder(recipe._replace(sha256="0" * 64, store=str(place / "new")))
    assert "SHA-256" in result.stopped and result.done == 0 and not result.failed and not result.whole


def png(width: int, height: int) -> bytes:
    """A PNG file that claims a size, and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_bad_pictures_cost_no_other(place: Path) -> None:
    """Zero bytes, truncated, huge, no picture at all: each is a line with its reason, once, and is tried again only
    when it has changed or that is asked for. Kills: failures are forgotten."""
    good = (place / "in" / "a.png").read_bytes()
    bad = {"zero": b"", "truncated": good[: len(good) // 2], "huge": png(60000, 60000), "text": b"no picture\n"}
    for name, content in bad.items():
        (place / "in" / f"{name}.png").write_bytes(content)
    result = annotate_folder(recipe_of(place))
    assert (result.total, result.done, len(result.failed)) == (7, 3, 4) and not result.whole and not result.stopped
    reasons = {path.removesuffix(".png"): reason for path, reason in result.failed.items()}
    for name, words in {"zero": "is empty", "truncated": "cannot be read", "huge": "pixels", "text": "is none"}.items():
        assert words in reasons[name] and str(place) not in reasons[name] and "\n" not in reasons[name]
    store = Store(place / "out")
    assert {failure.picture for failure in store.failures().values()} == {f"{name}.png" for name in bad}
    assert sorted(path.name for path in store.folder.rglob("*.json")) == ["a.json", "b.json", "c.json", "manifest.json"]

    outcomes: list[object] = []
    result = annotate_folder(recipe_of(place), tell=lambda _, outcome: outcomes.append(outcome))
    assert outcomes == [None] and (result.before, len(result.failed)) == (3, 4)
    (place / "in" / "zero.png").write_bytes(good)
    result = annotate_folder(recipe_of(place))
    assert (result.done, len(result.failed)) == (1, 3) and len(store.failures()) == 3
    assert len(annotate_folder(recipe_of(place), again=True).failed) == 3


def test_a_full_disk_stops_the_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is whole stays, no picture is blamed, and a second run does the rest. Kills: a full disk is the picture's
    fault, a full disk ends nothing."""
    write = worker.Store.keep

    def full(self: Store, picture: Picture, *arguments: object) -> None:
        if picture.name != "a":
            raise OSError(28, "No space left on device")
        write(self, picture, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(worker.Store, "keep", full)
        result = annotate_folder(recipe_of(place))
    assert "No space left" in result.stopped and (result.done, result.failed) == (1, {})
    assert sorted(path.name for path in (place / "out").rglob("*")) == ["a.json", "a.png", "manifest.json", "pictures"]
    result = annotate_folder(recipe_of(place))
    assert (result.before, result.done, result.whole) == (1, 2, True)


def test_one_thread() -> None:
    """In a process of its own that had not computed yet: our pool, and Numba's. BLAS is held at one thread by whatever
    computes. Kills: all threads."""
    program = (
        "from minisam.engine import worker; worker.keep_to_one_thread()\n"
        "import numba, threadpoolctl, os\n"
        "from minisam_kernels.runtime.threads import blas_at_one_thread, num_threads\n"
        "with blas_at_one_thread():\n"
        "    blas = {each['num_threads'] for each in threadpoolctl.threadpool_info() if each['user_api'] == 'blas'}\n"
        "print(num_threads(), numba.get_num_threads(), *blas, os.environ['NUMBA_NUM_THREADS'])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["1", "1", "1", "1"]


def test_bad_recipes(place: Path) -> None:
    """Kills: a store among the pictures, thresholds of the large models."""

    def make(out: str = "out", checkpoint: str = "small.safetensors", **options: object) -> Recipe:
        return make_recipe(place / "in", place / out, place / checkpoint, **options)  # type: ignore[arg-type]

    assert "a store outside of the pictures' folder" in refusal(make, "in/out")
    assert "a store outside of the pictures' folder" in refusal(make, "in")
    assert "a store outside of the pictures' folder" in refusal(make, ".")
    assert "a file that can be read" in refusal(make, "out", "nowhere.safetensors")
    assert "pred_iou_thresh" in refusal(lambda: make(settings={"pred_iou_thresh": float("nan")}))
    assert "small.safetensors" in refusal(lambda: make(model="vit_b"))
    from minisam.checkpoints.loading import shipped_weights

    tiny = make_recipe(place / "in", place / "out", shipped_weights("tiny"), "tiny", own_thresholds=True)
    assert json.loads(tiny.settings)["pred_iou_thresh"] == 0.5
    assert json.loads(make().settings)["pred_iou_thresh"] == 0.88
