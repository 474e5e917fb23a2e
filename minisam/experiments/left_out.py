"""Train the models of which each has never seen one group of the world's domains: SAM, and a baseline of clicks.

    python -m minisam.experiments.left_out benchmarks/transfer/models --work FOLDER --data FILE

For each seed a base on real images alone, then from it four trainings on these and the world without one group
(``GROUPS``), half of the images each. A training lives in FOLDER/NAME, where the same command continues it; when it
ends, its averaged weights go to the models' folder as float16, with seed, commit, processor seconds and settings in the
file's header. What is there already is not trained again, and a base that is there is begun from, whatever FOLDER
holds. ``--processes N`` trains as many at a time, a core each.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minisam.checkpoints.safetensors_file import read_safetensors, write_safetensors
from minisam.console import exit_code
from minisam.files.atomic import make_folder
from minisam.reports.environment import commit
from minisam.training.click_net import ClickSettings
from minisam.training.loop import Trainer
from minisam.training.settings import Common, Settings
from minisam.transfer.stored_models import GROUPS, HOLD_OUT, KINDS, SEEDS, SIDE
from minisam_kernels import InputError

BASE_STEPS, STEPS = 1000, 400
OTHER_IMAGES = 10  # is added to the seed after the base, whose images would come again otherwise


@dataclasses.dataclass(frozen=True)
class Run:
    """A training: what ``kind`` of model, without which ``group`` ("" is the base), and its ``seed``."""

    kind: str
    group: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder and of its file."""
        return "-".join(filter(None, (self.kind, self.group or "base", str(self.seed))))


def settings(run: Run, data: Sequence[str], work: Path, share: float = 1.0) -> Common:
    """The settings of a training; ``share`` of its steps for a trial."""
    steps = max(1, round(share * (STEPS if run.group else BASE_STEPS)))
    base: Settings | ClickSettings = Settings(depth=6, width=64, masks=3, optimizer="muon", lr=2e-3)
    if run.kind == "clicks":  # a step with two masks an image takes about as many processor seconds
        base = ClickSettings(masks=2, optimizer="adamw", lr=1e-3)
    base = dataclasses.replace(
        base, rounds=3, size=SIDE, steps=steps, batch=16, warmup=min(50, steps // 4), decay="cosine", average=0.99,
        seed=run.seed, world=0.0, data=tuple(data), hold_out=HOLD_OUT,
    )  # fmt: skip
    if not run.group:
        return base
    init = str(work / dataclasses.replace(run, group="").name / "weights.safetensors")
    leave_out, seed = GROUPS[run.group], run.seed + OTHER_IMAGES
    return dataclasses.replace(base, init=init, leave_out=leave_out, seed=seed, world=0.5)


def train(run: Run, models: Path, work: Path, data: Sequence[str], share: float = 1.0) -> str:
    """Train to the end, from wherever it was stopped, and write its file; return a line."""
    trainer = Trainer(settings(run, data, work, share), work / run.name)
    facts = train_to_end(trainer, dataclasses.asdict(run))
    publish(work / run.name / "weights.safetensors", models / f"{run.name}.safetensors", facts)
    return f"{run.name}: {trainer.settings.steps} steps, {facts['processor_seconds']} processor seconds"


def train_to_end(trainer: Trainer, run: dict[str, Any]) -> dict[str, Any]:
    """Train to the last step; return what the file's header says: the ``run``, the commit, the processor seconds.

    They are kept as ``facts.json`` in the training's folder: a training that has ended already keeps its own.
    """
    s, first, began = trainer.settings, trainer.step, time.process_time()
    path = trainer.folder / "facts.json"
    if trainer.run(workers=0):
        name = trainer.folder.name
        raise KeyboardInterrupt(f"{name} stopped at step {trainer.step}; the same command goes on from there")
    if first == s.steps and path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    seconds = (time.process_time() - began) * s.steps / max(1, s.steps - first)  # of all steps, as these took
    facts = {"run": run, "commit": commit(), "processor_seconds": round(seconds)}
    path.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    return facts


def publish(trained: Path, path: Path, facts: dict[str, Any]) -> None:
    """Write a training's weights as float16, with what its header has to say, without paths of this machine."""
    arrays, notes = read_safetensors(trained)
    s = json.loads(notes["settings"])
    s |= {"data": [Path(name).name for name in s["data"]], "init": Path(s["init"]).parent.name}
    notes = notes | {"settings": json.dumps(s), "facts": json.dumps(facts)}
    make_folder(path.parent)
    write_safetensors(path, {name: array.astype(np.float16) for name, array in arrays.items()}, notes)


def lay_out_base(base: Run, models: Path, work: Path) -> bool:
    """Put a stored base where the trainings that begin from it look for it; whether there is one."""
    stored, path = models / f"{base.name}.safetensors", work / base.name / "weights.safetensors"
    if stored.is_file() and not path.is_file():
        arrays, notes = read_safetensors(stored)
        make_folder(path.parent)
        write_safetensors(path, {name: array.astype(np.float32) for name, array in arrays.items()}, notes)
    return stored.is_file()


def chain(kind: str, seed: int, missing: list[Run], options: argparse.Namespace) -> list[str]:
    """Train a seed's base and what is missing after it."""
    torch.set_num_threads(1)
    lines = []
    for run in [Run(kind, "", seed), *missing]:
        if not run.group and lay_out_base(run, options.models, options.work):
            continue
        lines.append(train(run, options.models, options.work, options.data, options.share))
        print(lines[-1], flush=True)
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments; train what is missing."""
    parser = argparse.ArgumentParser(prog="python -m minisam.experiments.left_out", description=__doc__.split("\n")[0])
    parser.add_argument("models", type=Path, help="where the finished models go")
    parser.add_argument("--work", type=Path, required=True, help="where the trainings live")
    parser.add_argument("--data", action="append", required=True, help="real images: folders or a packed file")
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only these")
    parser.add_argument("--seed", action="append", type=int, help=f"only these (default {SEEDS})")
    parser.add_argument("--only", action="append", choices=list(GROUPS), help="only without these groups")
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, for a trial")
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time, a core each")
    options = parser.parse_args(arguments)
    if not 0 < options.share <= 1:
        raise InputError(f"expected --share above 0, at most 1, got {options.share:g}")
    chains = []
    for seed in options.seed or SEEDS:
        for kind in options.kind or KINDS:
            runs = [Run(kind, group, seed) for group in options.only or GROUPS]
            missing = [run for run in runs if not (options.models / f"{run.name}.safetensors").is_file()]
            if missing:
                chains.append((kind, seed, missing, options))
    if options.processes <= 1:
        for arguments_of_one in chains:
            chain(*arguments_of_one)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, context) as pool:
        for future in [pool.submit(chain, *one) for one in chains]:
            future.result()


if __name__ == "__main__":
    sys.exit(exit_code(main))
