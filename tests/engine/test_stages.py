"""A whole run in small: three stages, stopped after every task, and once more with the truth hidden.

Pictures are ellipses on a grey ground, the start model is small and knows nothing. What a person answers is recorded
in the first run; the second run has the recorded answers alone, and must come to the same files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
from minisam.engine.annotator import Person, Truth
from minisam.engine.clock import Clock, add
from minisam.engine.demo import read_recipe
from minisam.engine.ledger import read
from minisam.engine.pictures import read_picture, record_of, write_picture, write_views
from minisam.engine.recipe import Recipe, World, run, start_model
from minisam.engine.stages import Assistant, threshold_of
from minisam.engine.summary import summary, table
from minisam.training.settings import Settings
from minisam_kernels import InputError

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a run that begins anew": ("minisam/engine/recipe.py", "if name in self.ledger.done:", "if False:"),
    "a training that starts from the start model": (
        "minisam/engine/recipe.py",
        'self.weights = folder / "weights.safetensors"',
        "pass",
    ),
    "a picture of the person's without its masks": (
        "minisam/engine/recipe.py",
        "[record_of(mask) for mask in masks]",
        "[]",
    ),
    "a threshold that lets half of everything pass": ("minisam/engine/stages.py", "(share >= least)", "(share >= 0)"),
    "views that are cut at the wrong place": (
        "minisam/engine/pictures.py",
        "view.crop(image), inside[fit]",
        "image[: view.side, : view.side], inside[fit]",
    ),
}
SIZE = 64
SMALL = Recipe(
    size=SIZE, pictures_1=1, rounds_1=5, budget_1=60, pictures_2=1, rounds_2=1, budget_2=60, pictures_3=1, audit=1,
    steps=1, last_steps=1, batch=2, masks=1, rounds=1, lr=1e-3, head_steps=3, confident=0.01, points=3, crops=0,
)  # fmt: skip


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Four bright ellipses, and their masks."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:SIZE, :SIZE]
    image = np.full((SIZE, SIZE, 3), 90, np.uint8)
    masks = []
    for i in range(4):
        a, b = rng.integers(5, 12, 2)
        masks.append(((y - 16 - 32 * (i // 2)) / a) ** 2 + ((x - 16 - 32 * (i % 2)) / b) ** 2 < 1)
        image[masks[-1]] = rng.integers(120, 255, 3)
    return image, np.array(masks)


def start(folder: Path) -> Path:
    """Random weights of a small model."""
    from minisam.training.loop import Trainer

    Trainer(Settings(depth=1, width=64, size=32, steps=1), folder).save()
    return folder / "weights.safetensors"


class Recorder:
    """A person whose answers are kept, by picture."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.answers: dict[int, list[Any]] = {}

    def begin(self, number: int, shown: Sequence[np.ndarray], budget: float) -> Any:
        self.number = number
        self.answers[number] = [self.person.begin(number, shown, budget)]
        return self.answers[number][0]

    def next(self) -> Any:
        self.answers[self.number].append(self.person.next())
        return self.answers[self.number][-1]

    def react(self, mask: np.ndarray | None) -> Any:
        self.answers[self.number].append(self.person.react(mask))
        return self.answers[self.number][-1]


class Recorded:
    """Nobody: answers that somebody gave once."""

    def __init__(self, answers: dict[int, list[Any]]) -> None:
        self.answers = answers

    def begin(self, number: int, shown: Sequence[np.ndarray], budget: float) -> Any:
        self.left: Iterator[Any] = iter(self.answers[number])
        return next(self.left)

    def next(self) -> Any:
        return next(self.left)

    def react(self, mask: np.ndarray | None) -> Any:
        return next(self.left)


def measure(assistant: Assistant) -> float:
    """Nothing of the truth: a figure of the weights, so that runs can be compared."""
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    from minisam.engine.views import View

    return float(assistant.see(image, View(0, 0, 32)).get_image_embedding()[0, 0].sum())


def choose(numbers: Sequence[int], records: Sequence[list[dict[str, Any]]]) -> dict[str, Any]:
    assert len(numbers) == len(records) == 1 and records[0]
    return {"pred_iou_thresh": -1.0, "stability_score_thresh": 0.0}


def files(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for part in ("store", "views") for path in (folder / part).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def lines(folder: Path) -> list[dict[str, Any]]:
    entries, _ = read(folder / "ledger.jsonl")
    return [{key: value for key, value in entry.items() if key != "machine"} for entry in entries]


def test_a_run_needs_no_truth_and_can_be_stopped_anywhere(tmp_path: Path) -> None:
    """Kills: a run that begins anew; a training that starts from the start model; a picture of the person's without
    its masks."""
    recipe = Recipe(**{**SMALL.__dict__, "start": str(start(tmp_path / "start"))})
    truth = Truth(lambda number: scene(number)[1])
    recorder = Recorder(Person(truth, Clock()))
    qualities: dict[int, list[float]] = {}

    def quality(number: int, masks: Sequence[np.ndarray]) -> list[float]:
        qualities[number] = truth.quality(number, masks)
        return qualities[number]

    def picture(number: int) -> np.ndarray:
        return scene(number)[0]

    said: list[str] = []
    run(recipe, tmp_path / "one", World(picture, recorder, quality, choose, measure), said.append)
    first = lines(tmp_path / "one")
    kinds = [entry.get("kind") for entry in first[1:]]
    assert kinds.count("train") == 7 and kinds.count("picture") == 7 and kinds.count("measure") == 8
    assert len(said) == len(first) - 1
    models = [entry["held_out"] for entry in first if entry.get("kind") == "measure"]
    assert len(set(models)) == len(models)  # every training changed the newest model

    # what is stored is what the person or the model drew, and the table is of it
    for entry in first:
        if entry.get("kind") == "picture":
            image, masks = read_picture(tmp_path / "one" / "store", str(entry["picture"]))
            assert (image == scene(entry["picture"])[0]).all() and len(masks) == len(entry["masks"])
            assert [int(mask.sum()) for mask in masks] == [mask["area"] for mask in entry["masks"]]
            if entry["stage"] < 3:
                assert len(masks) and not any(
                    (mask == true).all() for mask in masks for true in truth.masks(entry["picture"])
                )
    rounds = summary(first, Clock())
    assert [one.stage for one in rounds] == [1] * 5 + [2, 3] and rounds[0].human == 1 and rounds[-1].seconds == 0
    assert len(table(first, Clock()).rows) == 8
    spent = add(*(mask["actions"] for mask in first[2]["masks"]))
    assert Clock().seconds(spent) >= 60 or len(first[2]["masks"]) == 4

    # once more without the truth, stopped after every task
    def stop(line: str) -> None:
        raise KeyboardInterrupt

    world = World(picture, Recorded(recorder.answers), lambda number, masks: qualities[number], choose, measure)
    for times in range(len(first)):
        try:
            run(recipe, tmp_path / "two", world, stop)
            break
        except KeyboardInterrupt:
            assert len(lines(tmp_path / "two")) == times + 2
    assert times == len(first) - 1
    assert lines(tmp_path / "two") == first
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_views_are_cut_out_of_the_picture(tmp_path: Path) -> None:
    """Kills: views that are cut at the wrong place."""
    image, masks = scene(3)
    write_picture(tmp_path, "3", image, [record_of(mask) for mask in masks])
    again, stored = read_picture(tmp_path, "3")
    assert (again == image).all() and (stored == masks).all()
    assert write_views(tmp_path / "views", "3", image, masks) > 5
    for share, side in ((1, 64), (2, 32), (4, 16)):
        paths = sorted((tmp_path / "views" / str(share) / "annotations").glob("*.json"))
        assert paths
        for path in paths:
            _, x, y = map(int, path.stem.split("-"))
            view, inside = read_picture(path.parent.parent, path.stem)
            assert (view == image[y : y + side, x : x + side]).all() and len(inside)
            cut = [mask[y : y + side, x : x + side] for mask in masks]
            assert all(any((mask == one).all() for one in cut) for mask in inside)
    assert write_views(tmp_path / "none", "3", image, masks[:0]) == 0 and not (tmp_path / "none").exists()


def test_proposals_need_enough_right_ones() -> None:
    """Kills: a threshold that lets half of everything pass."""
    scores = np.linspace(1, 0.1, 20)
    right = np.arange(20) < 9
    least, share = threshold_of(scores, right, 0.9)
    assert least == scores[9] and share == pytest.approx(0.9)
    assert threshold_of(scores, ~right, 0.9)[0] is None
    assert threshold_of(scores[:3], right[:3], 0.5) == (None, 0.0)
    assert threshold_of(np.zeros(0), np.zeros(0, bool), 0.5) == (None, 0.0)
    assert threshold_of(scores[::-1], right[::-1], 0.9) == (least, share)


def test_bad_recipes_are_one_line(tmp_path: Path) -> None:
    for changes, message in (
        ({"rounds_1": 4}, "expected rounds_1 of 5 or more"),
        ({"rounds_1": 0}, "expected rounds_2 of 0 without stage 1"),
        ({"steps": 0}, "expected steps of 1 or more, got 0"),
        ({"lr": 0}, "expected lr and confident above 0"),
        ({"seed": 1000}, "expected seed below 1000"),
    ):
        with pytest.raises(InputError, match=message):
            Recipe(**{**SMALL.__dict__, **changes}).check()
    with pytest.raises(InputError, match="expected a start model: a file, or a name as sam-base-0"):
        start_model(str(tmp_path / "none"))
    path = tmp_path / "recipe.json"
    for value, message in (
        ([], "expected a table of settings"),
        ({"step": 3}, "expected settings among seed, start, .*, got 'step'"),
        ({"steps": "3"}, "expected steps in .* like 60, got '3'"),
        ({"steps": True}, "expected steps in .*, got True"),
    ):
        path.write_text(json.dumps(value))
        with pytest.raises(InputError, match=message):
            read_recipe(path)
    path.write_text('{"budget_1": 90, "start": "sam-base-1"}')
    assert read_recipe(path).budget_1 == 90
