"""The trainings of specialists: annotated wholes of one group, boxes alone, and the weights as a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import minisam
from minisam.checkpoints.safetensors_file import read_safetensors
from minisam.experiments import specialist as experiment
from minisam.training.distributed import Processes
from minisam.training.loop import Trainer
from minisam.training.prompts import initial_prompts
from minisam.training.settings import Settings
from minisam.training.sources import resize_masks
from minisam.transfer.specialist import GROUP, STYLES, whole_objects
from minisam.transfer.stored_models import GROUPS
from minisam.world import DOMAINS, HELD_OUT, render

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "points among the boxes": ("minisam/experiments/specialist.py", "trainer.task.draw = drawn", "pass"),
    "exact masks for all": ("minisam/experiments/specialist.py", "STYLES[self.style](mask)", "mask"),
    "all groups": ("minisam/experiments/specialist.py", "least, domains=GROUPS[GROUP])", "least)"),
    "seeds that are held out": (
        "minisam/experiments/specialist.py",
        "int(rng.integers(HELD_OUT))",
        "HELD_OUT + int(rng.integers(9))",
    ),
    "facts of a training that did nothing": (
        "minisam/experiments/left_out.py",
        "if first == s.steps and path.is_file():",
        "if False:",
    ),
}


def settings_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Settings:
    """The settings with a base of random weights, much smaller."""
    small = {"depth": 2, "width": 64, "size": 48, "steps": 2, "batch": 2, **changes}
    real = experiment.settings

    def smaller(seed: int, work: Path, steps: int = 2) -> Settings:
        s = real(seed, work, steps)
        return type(s)(**{**s.__dict__, **small})

    base = Settings(**{**small, "steps": 1})  # type: ignore[arg-type]
    Trainer(base, tmp_path / "sam-base-0").save()
    monkeypatch.setattr(experiment, "settings", smaller)
    return smaller(0, tmp_path)


def test_only_the_images_and_the_question_differ(tmp_path: Path) -> None:
    s = experiment.settings(1, tmp_path)
    s.check()
    assert set(s.leave_out) == set(DOMAINS) - set(GROUPS[GROUP]) and s.world == 1 and not s.data
    assert (s.rounds, s.multimask, s.depth, s.width, s.size) == (1, "single", 6, 64, 96)
    assert s.init == str(tmp_path / "sam-base-1" / "weights.safetensors")


@pytest.mark.parametrize("style", list(STYLES))
def test_the_stream_shows_annotated_wholes(style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mask is a whole of the scene that the image shows, as the annotator draws it. Kills: exact masks for all,
    all groups, seeds that are held out."""
    seen: list[tuple[int, object]] = []

    def rendered(seed: int, size: int, domains: object) -> object:
        seen.append((seed, domains))
        return render(seed, size, domains)  # type: ignore[arg-type]

    monkeypatch.setattr(experiment, "render", rendered)
    s = experiment.settings(0, tmp_path)
    stream = experiment.Annotated(s, style)
    for index in range(3):
        item = stream[index]
        assert item["masks"].shape == (3, 96, 96) and np.array_equal(item["image"], stream[index]["image"])
        seed, domains = seen[-1]
        assert seed < HELD_OUT and domains == GROUPS[GROUP]
        scene = render(seed, 192, GROUPS[GROUP])
        drawn = np.stack([STYLES[style](mask) for mask in whole_objects(scene)])
        known = resize_masks(drawn, (0, 0, 192, 192), (96, 96))
        for mask in item["masks"]:
            assert (mask == known).all(axis=(1, 2)).any()


def test_all_prompts_are_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: points among the boxes."""
    s = settings_for(tmp_path, monkeypatch)
    trainer = Trainer(s, tmp_path / "run")
    experiment.boxes_only(trainer, "second")
    masks = torch.zeros(s.batch * s.masks, 48, 48, dtype=torch.bool)
    masks[:, 10:20, 5:30] = True
    for step in range(3):
        draws = trainer.task.draw(step, Processes(torch.device("cpu")))
        assert initial_prompts(masks, draws)[2].all()


def test_a_training_ends_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which loads, says what it is, names no path, and is not trained again. Kills: facts of a training that did
    nothing."""
    settings_for(tmp_path, monkeypatch)
    arguments = [str(tmp_path / "models"), "--work", str(tmp_path), "--seed", "0", "--style", "second", "--steps", "2"]
    experiment.main(arguments)
    path = tmp_path / "models" / "specialist-second-0.safetensors"
    arrays, notes = read_safetensors(path)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float16)}
    assert json.loads(notes["facts"])["run"] == {"kind": "specialist, second", "group": GROUP, "seed": 0}
    assert str(tmp_path) not in json.dumps(notes)
    assert minisam.load(path).config.image_size == 48
    before = path.stat().st_mtime_ns
    experiment.main(arguments)
    assert path.stat().st_mtime_ns == before
    path.unlink()  # the training has ended; its file comes again, with the facts of then
    (tmp_path / "specialist-second-0" / "facts.json").write_text('{"processor_seconds": 77}')
    experiment.main(arguments)
    assert json.loads(read_safetensors(path)[1]["facts"]) == {"processor_seconds": 77}
