"""The training of the two towers: its loss, its scenes, and that it goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from minisam.clip import load
from minisam.training import contrastive
from minisam.training.contrastive import Pool, Trainer, contrastive_loss
from minisam.world import HELD_OUT
from minisam_kernels import InputError

pytestmark = pytest.mark.usefixtures("torch_at_one_thread")
MUTANTS = {
    "true phrases as negatives": (
        "minisam/training/contrastive.py",
        "logits.masked_fill(true & ~own, -math.inf)",
        "logits",
    ),
    "one direction": (
        "minisam/training/contrastive.py",
        "F.cross_entropy(logits.T, target)",
        "F.cross_entropy(logits, target)",
    ),
    "scenes that are held out": (
        "minisam/training/contrastive.py",
        "int(draw.integers(HELD_OUT))",
        "int(draw.integers(2**32))",
    ),
    "a batch of the last step": (
        "minisam/training/contrastive.py",
        "default_rng([self.seed, step, 1])",
        "default_rng([self.seed, 1])",
    ),
    "an optimiser that begins anew": (
        "minisam/training/contrastive.py",
        "            part.load_state_dict(saved)\n",
        "            pass\n",
    ),
}


def test_the_loss_in_loops() -> None:
    """Kills: true phrases as negatives, one direction."""
    rng = np.random.default_rng(0)
    logits, true = rng.normal(0, 2, (6, 6)), rng.random((6, 6)) < 0.3
    np.fill_diagonal(true, True)
    total = 0.0
    for i in range(6):
        row = sum(np.exp(logits[i, j]) for j in range(6) if i == j or not true[i, j])
        column = sum(np.exp(logits[j, i]) for j in range(6) if i == j or not true[j, i])
        total += (np.log(row) + np.log(column) - 2 * logits[i, i]) / 12
    assert contrastive_loss(torch.from_numpy(logits), torch.from_numpy(true)).item() == pytest.approx(total)


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The scenes that are rendered, at 64 pixels."""
    rendered: list[int] = []
    described = contrastive.Described

    def noted(seed: int) -> contrastive.Described:
        rendered.append(seed)
        return described(seed, 64)

    monkeypatch.setattr(contrastive, "Described", noted)
    yield rendered


def test_the_scenes_of_a_step_do_not_depend_on_the_steps_before(seeds: list[int]) -> None:
    """Kills: scenes that are held out, a batch of the last step."""
    walked, jumped = Pool(3, 4), Pool(3, 4)
    for step in range(6):
        walked.advance(step)
    jumped.advance(5)
    assert max(seeds) < HELD_OUT
    for one, other in zip(walked.scenes, jumped.scenes, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    texts = [[pair.phrase.text for pair in pool.batch(5, 20, 8)] for pool in (walked, jumped)]
    assert texts[0] == texts[1] != [pair.phrase.text for pair in walked.batch(6, 20, 8)]


def test_a_stopped_training_goes_on(seeds: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the same bits; and its file is one that ``load`` reads. Kills: an optimiser that begins anew."""
    monkeypatch.setattr(contrastive, "EVERY", 2)
    once, twice = tmp_path / "once", tmp_path / "twice"
    for folder in (once, twice):
        folder.mkdir()
    Trainer(once, 4, 1, batch=6, scenes=3).run()
    stopped = Trainer(twice, 4, 1, batch=6, scenes=3)
    save = stopped.save

    def save_and_stop() -> None:
        save()
        raise KeyboardInterrupt

    monkeypatch.setattr(stopped, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    Trainer(twice, 4, 1, batch=6, scenes=3).run()
    a, b = load(once / "clip.safetensors"), load(twice / "clip.safetensors")
    for name, array in a.state.items():
        np.testing.assert_array_equal(array, b.state[name], err_msg=name)
    log = [json.loads(line) for line in (twice / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2, 3, 4]
    with pytest.raises(InputError, match="expected the settings of"):
        Trainer(twice, 4, 2, batch=6, scenes=3)
