"""A whole run: three stages from a start model, every task once, whatever stops it in between.

A run is a list of tasks in a fixed order: annotate a picture, train, measure. A task writes its files, then its line in
``FOLDER/ledger.jsonl``. What has a line is not done again; all chance comes from the recipe's seed and the picture's
number, so a run that was stopped ends as one that was not.

    FOLDER/ledger.jsonl             what happened, see ``ledger`` and ``summary``
    FOLDER/store/                   pictures with their masks, SA-1B's schema
    FOLDER/views/                   what trainings read, see ``pictures``
    FOLDER/models/1-0/              the model after round 0 of stage 1, and its training
    FOLDER/heads/2-0.safetensors    a box head

The start model has never seen the world. Nothing but the person and the audit sees the truth: the trainings take only
what is in the store, drawn by people or by the model.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minisam.engine.ledger import Entry, Ledger
from minisam.engine.pictures import read_picture, record_of, view_folders, write_picture, write_views
from minisam.engine.stages import (
    EVERYTHING,
    Annotator,
    Assistant,
    Training,
    automatic,
    confident,
    draw,
    propose,
    retrain,
    train_box_head,
)
from minisam.engine.store import sha256
from minisam_kernels import InputError

PICTURES = 1_000_000  # numbers of one seed's pictures: seed · PICTURES and on
AUDIT, AUTOMATIC = 500_000, 600_000  # from there on, those of the audit split, and of the last stage
MAY_BE_0 = ("seed", "crops", "rounds_1", "rounds_2", "pictures_3")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How much of everything. Budgets are seconds of a person for a picture; ``size`` is the pictures' side.

    Stage 1 has ``rounds_1`` rounds of ``pictures_1`` pictures, with a retraining after each, and stage 2 likewise; the
    retrainings take ``steps``, the one on everything after stage 3 ``last_steps``. A stage without rounds or pictures
    is left out, for ablations. ``confident`` is the share of the box head's proposals that must be right. ``points`` a
    side and ``crops`` layers of crops, of half as many points each, are asked in stage 3, on ``pictures_3`` pictures;
    their thresholds are chosen on ``audit`` other ones. Of ``held_out`` scenes ``objects`` each are asked to measure.
    """

    seed: int = 0
    start: str = "sam-base-0"
    size: int = 512
    pictures_1: int = 5
    rounds_1: int = 5
    budget_1: float = 240.0
    pictures_2: int = 4
    rounds_2: int = 2
    budget_2: float = 300.0
    pictures_3: int = 6
    audit: int = 4
    steps: int = 60
    last_steps: int = 60
    batch: int = 12
    masks: int = 3
    rounds: int = 3
    lr: float = 1.5e-3
    head_steps: int = 200
    confident: float = 0.5
    points: int = 12
    crops: int = 1
    held_out: int = 16
    objects: int = 4

    def check(self) -> None:
        """Raise ``InputError`` for what no run can do."""
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 0 if field.name in MAY_BE_0 else 1
            if field.name in ("start", "lr", "confident"):
                continue
            if value < least:
                raise InputError(f"expected {field.name} of {least} or more, got {value:g}")
        if not (0 < self.lr <= 1 and 0 < self.confident <= 1):
            raise InputError(f"expected lr and confident above 0, at most 1, got {self.lr:g} and {self.confident:g}")
        if self.seed >= 1000:
            raise InputError(f"expected seed below 1000, got {self.seed}: the others' scenes are held out")
        if 0 < self.rounds_1 < 5:
            raise InputError(f"expected rounds_1 of 5 or more (4 retrainings between them), or 0, got {self.rounds_1}")
        if not self.rounds_1 and self.rounds_2:
            raise InputError(f"expected rounds_2 of 0 without stage 1, which it learns from, got {self.rounds_2}")

    def training(self, steps: int) -> Training:
        """How long and on how much the model is trained."""
        return Training(steps, self.batch, self.masks, self.rounds, self.lr)


class World(NamedTuple):
    """All that a run is given: pictures by number, a person, and three ways to ask those who know the truth.

    ``quality`` (number, masks) gives each mask's IoU with what is there; ``choose`` (numbers, records) thresholds for
    automatic masks; ``measure`` (assistant) the held-out IoU.
    """

    picture: Callable[[int], np.ndarray]
    person: Annotator
    quality: Callable[[int, Sequence[np.ndarray]], list[float]]
    choose: Callable[[Sequence[int], Sequence[list[dict[str, Any]]]], dict[str, Any]]
    measure: Callable[[Assistant], float]


def run(recipe: Recipe, folder: Path, world: World, say: Callable[[str], object] = print) -> Ledger:
    """Do all tasks that are not done; return the ledger. Ctrl-C stops between or in tasks; called again it goes on."""
    recipe.check()
    start = start_model(recipe.start)
    head = {"recipe": dataclasses.asdict(recipe), "start": sha256(start)}
    return _Run(recipe, folder, world, Ledger(folder / "ledger.jsonl", head), start, say).all()


def start_model(name: str) -> Path:
    """The start model's file: its path, or the name of one of ``benchmarks/transfer/models``."""
    from minisam.transfer.stored_models import MODELS

    for path in (Path(name), MODELS / f"{name}.safetensors"):
        if path.is_file():
            return path
    raise InputError(f"expected a start model: a file, or a name as sam-base-0 in {MODELS}, got {name!r}")


class _Run:
    """The tasks in their order."""

    def __init__(
        self, recipe: Recipe, folder: Path, world: World, ledger: Ledger, start: Path, say: Callable[[str], object]
    ) -> None:
        self.recipe, self.folder, self.world, self.ledger, self.say = recipe, folder, world, ledger, say
        self.weights = start
        self.names: list[str] = []  # of the store's pictures so far
        self._assistant: tuple[Path, Assistant] | None = None

    def task(self, name: str, do: Callable[[], Entry]) -> Entry:
        """What a task gave, now or earlier."""
        if name in self.ledger.done:
            return self.ledger.done[name]
        began = time.perf_counter()
        entry = do()
        entry = self.ledger.add(name, {**entry, "machine": round(time.perf_counter() - began, 3)})
        self.say(f"{name}: {entry.get('says', 'done')}, {entry['machine']:.1f} s")
        return entry

    @property
    def assistant(self) -> Assistant:
        """The newest model, loaded when it is needed."""
        if self._assistant is None or self._assistant[0] != self.weights:
            self._assistant = self.weights, Assistant(self.weights)
        return self._assistant[1]

    def all(self) -> Ledger:
        """Every task."""
        r, number = self.recipe, self.recipe.seed * PICTURES
        self.task("measure/start", self.measure)
        for stage, rounds, count in ((1, r.rounds_1, r.pictures_1), (2, r.rounds_2, r.pictures_2)):
            for turn in range(rounds):
                if stage == 2:
                    self.task(f"head/2-{turn}", partial(self.train_head, f"2-{turn}"))
                for _ in range(count):
                    self.task(f"picture/{number}", partial(self.annotate, number, stage, turn))
                    self.names.append(str(number))
                    number += 1
                self.train(f"{stage}-{turn}", r.steps)
        if not r.pictures_3:
            return self.ledger
        chosen = self.task("thresholds", self.thresholds)["chosen"]
        first = r.seed * PICTURES + AUTOMATIC
        for number in range(first, first + r.pictures_3):
            self.task(f"picture/{number}", partial(self.generate, number, chosen))
        self.train("3-0", r.last_steps)
        return self.ledger

    # ---- the kinds of tasks ------------------------------------------------------------------------------------------

    def measure(self) -> Entry:
        """Best of three on the held-out scenes."""
        iou = self.world.measure(self.assistant)
        return {"kind": "measure", "held_out": round(iou, 4), "says": f"held-out IoU {iou:.3f}"}

    def train(self, name: str, steps: int) -> None:
        """Train the model on everything in the store, then measure it."""
        folder = self.folder / "models" / name

        def do() -> Entry:
            seed = self.recipe.seed * 1000 + len(self.ledger.done)
            last = retrain(self.weights, view_folders(self.folder / "views"), folder, self.recipe.training(steps), seed)
            count = len(list((self.folder / "store" / "annotations").glob("*.json")))
            return {"kind": "train", "model": name, "steps": steps, "pictures": count, **last}

        self.task(f"train/{name}", do)
        for file in ("checkpoint.pt", "raw.safetensors"):
            (folder / file).unlink(missing_ok=True)
        self.weights = folder / "weights.safetensors"
        self.task(f"measure/{name}", self.measure)

    def annotate(self, number: int, stage: int, turn: int) -> Entry:
        """A picture with a person; in stage 2 with the head's confident masks in it."""
        image = self.world.picture(number)
        shown: list[np.ndarray] = []
        if stage == 2:
            least = self.ledger.done[f"head/2-{turn}"]["least"]
            if least is not None:
                masks, scores = propose(self.assistant, self.head(f"2-{turn}"), image)
                shown = [mask for mask, score in zip(masks, scores) if score >= least]
        budget = self.recipe.budget_1 if stage == 1 else self.recipe.budget_2
        drawn, rest = draw(self.world.person, self.assistant, image, number, shown, budget)
        masks = [one.mask for one in drawn]
        self.keep(number, image, masks, [record_of(mask) for mask in masks])
        rows = [
            {"by": one.by, "iou": iou, "area": int(one.mask.sum()), "actions": one.actions, "by_hand": one.by_hand}
            for one, iou in zip(drawn, self.world.quality(number, masks))
        ]
        entry = {"kind": "picture", "stage": stage, "round": turn, "picture": number, "shown": len(shown)}
        return {**entry, "masks": rows, "rest": rest, "says": f"stage {stage}, {len(rows)} masks"}

    def keep(self, number: int, image: np.ndarray, masks: Sequence[np.ndarray], records: list[dict[str, Any]]) -> None:
        """Put a picture into the store, and its views to where trainings find them."""
        stacked = np.array(masks, bool).reshape(-1, *image.shape[:2])
        write_views(self.folder / "views", str(number), image, stacked)
        write_picture(self.folder / "store", str(number), image, records)

    def head(self, name: str) -> Any:
        """A box head that was trained."""
        from minisam.engine.box_head import BoxHead

        return BoxHead.load(self.folder / "heads" / f"{name}.safetensors")

    def train_head(self, name: str) -> Entry:
        """Train the box head on all pictures but each fifth, and ask those how sure it must be."""
        from minisam.files.atomic import make_folder

        r, store = self.recipe, self.folder / "store"
        asked = self.names[::5]
        learnt = [one for one in self.names if one not in asked]
        head = train_box_head(self.assistant, store, learnt, r.head_steps, r.seed)
        make_folder(self.folder / "heads")
        head.save(self.folder / "heads" / f"{name}.safetensors")
        least, share = confident(self.assistant, head, store, asked, r.confident)
        says = f"proposes from a score of {least:.2f} on" if least is not None else "proposes nothing"
        return {"kind": "head", "least": least, "share": round(share, 4), "says": f"{says} ({share:.0%} right)"}

    def settings(self) -> dict[str, Any]:
        """What stage 3 asks of every picture."""
        r = self.recipe
        return {
            "points_per_side": r.points, "crop_n_layers": r.crops, "crop_n_points_downscale_factor": 2,
        }  # fmt: skip

    def thresholds(self) -> Entry:
        """Choose the automatic stage's thresholds on pictures that nobody has seen before."""
        first = self.recipe.seed * PICTURES + AUDIT
        numbers = list(range(first, first + self.recipe.audit))
        asked = self.settings() | EVERYTHING
        chosen = self.world.choose(numbers, [automatic(self.assistant, self.world.picture(n), asked) for n in numbers])
        return {"kind": "thresholds", "chosen": chosen, "says": json.dumps(chosen)}

    def generate(self, number: int, chosen: dict[str, Any]) -> Entry:
        """A picture without anybody."""
        image = self.world.picture(number)
        names = ("pred_iou_thresh", "stability_score_thresh")
        records = automatic(self.assistant, image, self.settings() | {name: chosen[name] for name in names})
        self.keep_automatic(number, image, records)
        _, masks = read_picture(self.folder / "store", str(number))
        rows = [
            {"by": "model", "iou": iou, "area": int(mask.sum()), "actions": {}}
            for mask, iou in zip(masks, self.world.quality(number, list(masks)))
        ]
        entry = {"kind": "picture", "stage": 3, "round": 0, "picture": number, "shown": len(rows), "masks": rows}
        return {**entry, "rest": {}, "says": f"stage 3, {len(rows)} masks"}

    def keep_automatic(self, number: int, image: np.ndarray, records: list[dict[str, Any]]) -> None:
        """Put a picture with automatic records into the store."""
        from minisam.files.formats import mask_of

        self.keep(number, image, [mask_of(record) for record in records], records)
