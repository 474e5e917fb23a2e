"""Two processes train as one: torch's gloo on the CPU, started as torchrun starts them."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from minisam.training import loop
from minisam.training.distributed import Processes
from minisam.training.log import read_log
from minisam_kernels import InputError
from small_trainings import SETTINGS

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "shares that overlap": (
        "minisam/training/distributed.py",
        "slice(self.rank * each, (self.rank + 1) * each)",
        "slice(self.rank, self.rank + each)",
    ),
    "gradients of one process alone": (
        "minisam/training/loop.py",
        "if self.processes.size > 1:\n            self.module = ",
        "if False:\n            self.module = ",
    ),
    "a process that draws its own chances": (
        "minisam/training/rounds.py",
        "draws.part(share.start * s.masks, share.stop * s.masks)",
        "draws.part(0, (share.stop - share.start) * s.masks)",
    ),
}

PROGRAM = """
import sys
sys.path[:0] = {path!r}
import dataclasses
from minisam.training import loop
from minisam.training import distributed
from test_distributed import TWO
group = distributed.join("cpu")
loop.Trainer(TWO, {folder!r}, group).run(workers=0)
group.leave()
"""
TWO = dataclasses.replace(SETTINGS, batch=4, steps=3, layer_decay=0.9)


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    """The same loss and, within rounding, the same weights. Kills: gradients of one process alone, a process that
    draws its own chances."""
    alone = loop.Trainer(TWO, tmp_path / "one")
    alone.run(workers=0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    program = PROGRAM.format(path=[p for p in sys.path if p], folder=str(tmp_path / "two"))
    both = []
    for rank in "01":
        address = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {**os.environ, **address, "OMP_NUM_THREADS": "1"}
        both.append(subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE))
    errors = [process.communicate(timeout=300)[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    one, two = (read_log(tmp_path / name)[-1] for name in ("one", "two"))
    assert two["loss"] == pytest.approx(one["loss"], abs=2e-4) and two["iou_1"] == pytest.approx(one["iou_1"], abs=2e-3)
    saved = torch.load(tmp_path / "two" / "checkpoint.pt", weights_only=True)
    assert saved["step"] == 3
    for name, value in alone.model.state_dict().items():  # a step moves a weight by at most the learning rate
        apart = (saved["model"][name] - value).abs()
        assert apart.max() <= 2.1 * TWO.lr * TWO.steps and apart.mean() <= 0.05 * TWO.lr * TWO.steps, name


def test_shares_are_all_of_it():
    """Kills: shares that overlap."""
    groups = [Processes(torch.device("cpu"), rank, 3) for rank in range(3)]
    assert np.concatenate([np.arange(12)[processes.share(12)] for processes in groups]).tolist() == list(range(12))
    with pytest.raises(InputError, match="expected --batch to be a multiple of 3 processes, got 4"):
        loop.Trainer(TWO, "unused", groups[0])
