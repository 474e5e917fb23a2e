"""The loop makes steps of the optimiser, averages the weights, saves, logs, and goes on after any stop.

``Trainer`` serves three kinds of training: of the whole model (``Settings``, see ``rounds``), of the encoder alone
(``PretrainSettings``, see ``autoencoder``) and of the decoder for words (``TextSettings``, see ``text_prompts``). On a
GPU no step waits for the device; figures are fetched when a line of the log is due. One process trains, or several that
``torchrun`` starts: see ``distributed``.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from minisam.checkpoints.checkpoint import save_checkpoint
from minisam.checkpoints.safetensors_file import write_safetensors
from minisam.files.atomic import atomic, make_folder
from minisam.reference import fast
from minisam.training import initialisation
from minisam.training.cuda_graphs import Recorder
from minisam.training.distributed import Processes
from minisam.training.log import Journal, Planner, Stop, cut_log
from minisam.training.optimiser import Optimiser
from minisam.training.rounds import Interaction
from minisam.training.settings import Common, PretrainSettings, Settings, TextSettings, typed
from minisam_kernels import InputError
from minisam_kernels.runtime.errors import reason

__all__ = ["PretrainSettings", "Settings", "Trainer"]

LOG_EVERY = 20  # steps
ENDLESS = 10**9  # steps, until their number is planned


def begin(settings: Common) -> Any:
    """Make what is trained: a module whose call on a batch and its chances gives the loss and figures.

    It has the fast attention: on one core, in bf16, a step of the encoder takes .70 of the plain one's time at 128
    pixels and .46 at 256.
    """
    task: Any
    if isinstance(settings, Settings):
        task = Interaction.begin(settings)
    elif isinstance(settings, PretrainSettings):
        from minisam.training.autoencoder import Autoencoder

        task = Autoencoder.begin(settings)
    elif isinstance(settings, TextSettings):
        from minisam.training.text_prompts import TextTask

        task = TextTask(settings)
    else:  # settings that know what they train
        task = settings.begin()  # type: ignore[attr-defined]
    fast.use(task.model)
    return task


def _leave_group(worker: int) -> None:
    """Ctrl-C, ``timeout`` and ``torchrun`` signal a whole group of processes; the one that trains decides."""
    os.setpgid(0, 0)


class Trainer:
    """A training that can stop at any step and go on: model, optimiser, running average, step number, log.

    ``compiled`` lets torch compile the losses, on a GPU also encoder and decoder; ``recorded`` plays a step on one GPU
    as one recording (see ``cuda_graphs``); ``compact`` keeps the optimiser's moments in a checkpoint as bfloat16, three
    quarters of the size, for carrying (going on is then no longer exact to the bit).
    """

    def __init__(
        self,
        settings: Common,
        folder: str | Path,
        processes: Processes | None = None,
        compiled: bool = False,
        compact: bool = False,
        recorded: bool = False,
    ) -> None:
        settings.check()
        self.settings, self.folder, self.step, self.compact = settings, Path(folder), 0, compact
        self.processes = processes or Processes(torch.device("cpu"))
        if recorded and (self.processes.size > 1 or self.processes.device.type != "cuda"):
            count = f"{self.processes.size} on {self.processes.device.type}"
            raise InputError(f"expected one process with --device cuda for --record, got {count}")
        if recorded and not isinstance(settings, Settings):
            raise InputError("expected the training of a whole model to record, got a pretraining")
        if settings.batch % self.processes.size:
            wanted = f"a multiple of {self.processes.size} processes"
            raise InputError(f"expected --batch to be {wanted}, got {settings.batch}")
        torch.manual_seed(settings.seed)
        self.task = begin(settings).to(self.processes.device)
        self.model: nn.Module = self.task.model
        self.optimiser = Optimiser(self.model, settings, self.processes.device)
        self.average = {key: value.detach().clone() for key, value in self.model.state_dict().items()}
        if (self.folder / "checkpoint.pt").exists():
            self._resume()
        elif (self.folder / "weights.safetensors").exists():
            raise InputError(f"expected {self.folder} to be new or to have a checkpoint.pt, got finished weights alone")
        mean = self.processes.mean(torch.tensor(float(self.step), device=self.processes.device))
        if self.processes.any(bool(mean != self.step)):
            own = f"step {self.step} in {self.folder} of process {self.processes.rank}, on average {float(mean):g}"
            raise InputError(f"expected all processes to go on from one step (a folder that all share), got {own}")
        if compiled:
            self.task.compile_parts()
        self.module: Any = self.task
        self.recorder = Recorder(self.task) if recorded else None
        if self.processes.size > 1:
            self.module = DistributedDataParallel(self.task, gradient_as_bucket_view=True)

    def _resume(self) -> None:
        """Go on from the folder's checkpoint, if it has the same settings and the same architecture."""
        path = self.folder / "checkpoint.pt"
        try:
            saved = torch.load(path, map_location=self.processes.device, weights_only=True)
            old, average, step = dict(saved["settings"]), saved["average"], int(saved["step"])
        except Exception as error:  # whatever a damaged file makes zipfile or the unpickler say
            raise InputError(f"expected a whole checkpoint, got {path}: {reason(error)}") from error
        old = type(self.settings)().plain() | old  # what came later stands at its default
        if self.settings.steps == 0:  # as many as are planned there
            warmup = self.settings.warmup
            self.settings = self.settings.planned(old["steps"])
            if old["warmup"] == warmup or not old["steps"]:
                self.settings = dataclasses.replace(self.settings, warmup=warmup)
        wanted = self.settings.plain()
        differ = [key for key in wanted if wanted[key] != old[key] and (key != "steps" or old[key])]
        if differ:
            raise InputError(self._other_settings(old, wanted, differ))
        try:
            self.model.load_state_dict(saved["model"])
            self.optimiser.load_state_dict(saved["optimiser"])
        except (RuntimeError, ValueError) as error:
            first = str(error).split("\n")[1 if "\n" in str(error) else 0].strip()
            raise InputError(f"expected {path} to hold a model of this architecture, got: {first}") from error
        self.average, self.step = average, step

    def _other_settings(self, old: dict[str, Any], wanted: dict[str, Any], differ: list[str]) -> str:
        """Say what to type to go on, and how to train with the settings that are wanted instead."""
        then, now = ([typed(key, values[key]) for key in differ] for values in (old, wanted))
        fresh = {"model", "depth", "width", "init"} & set(differ)  # another architecture, another beginning
        words = isinstance(self.settings, TextSettings)
        program, begin = ("python -m", "--start") if words else ("minisam", "--init")
        command = [f"{program} {self.task.name} ANOTHER", *([] if fresh else [f"{begin} {self.folder}"])]
        command += [words for words in now if not words.startswith("no ")]
        got = f"got {', '.join(now)} (to train with that: {' '.join(command)} …)"
        return f"expected {', '.join(then)}, with which {self.folder} was begun and has to go on, {got}"

    def save(self) -> None:
        """Write ``checkpoint.pt`` (to go on), ``weights.safetensors`` (the average) and ``raw.safetensors`` (the last
        step's), each whole or not at all: on a full disk the old ones stay, and an ``InputError`` says so."""
        if not self.processes.leads:
            return
        make_folder(self.folder)
        optimiser = self.optimiser.state_dict(self.compact)
        state = {"model": self.model.state_dict(), "optimiser": optimiser, "average": self.average}
        with atomic(self.folder / "checkpoint.pt") as temporary:
            try:
                with open(temporary, "wb") as file:
                    torch.save({**state, "step": self.step, "settings": self.settings.plain()}, file)
            except RuntimeError as error:  # torch's writer may hide the file's own error
                free = shutil.disk_usage(self.folder).free / 1e6
                raise OSError(f"{str(error).splitlines()[0]} ({free:.1f} MB are free there)") from error
        for name, values in (("weights", self.average), ("raw", self.model.state_dict())):
            weights, config, more = self.task.export({key: value.cpu().numpy() for key, value in values.items()})
            notes = initialisation.note(self.settings, self.step, **more)
            write_weights(self.folder / f"{name}.safetensors", weights, config, notes)

    def train_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Make a step of the optimiser, then one of the running average.

        At step t the average keeps t / (t + 10), about the mean of the last tenth, until that is more than ``average``.
        """
        s, device = self.settings, self.processes.device
        batch = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        draws = self.task.draw(self.step, self.processes).to(device)
        if self.recorder:
            self.recorder.prepare(batch, draws)
        torch.manual_seed(s.seed * 1_000_003 + self.step * 64 + self.processes.rank)  # what drop path draws from
        if self.recorder:
            loss, figures = self.recorder(batch, draws)
        else:
            loss, figures = self.module(batch, draws)
            self.optimiser.zero_grad()
            loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), s.clip)
        self.optimiser.step(s.learning_rate(self.step))
        self.step += 1
        keep = min(s.average, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.model.state_dict().values()), 1 - keep)
        return {"loss": loss.detach(), "norm": norm, **figures}

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """Lend the model with the running average's weights, not in training mode; afterwards it is as it was."""
        raw = {key: value.clone() for key, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.load_state_dict(raw)
            self.model.train()

    def batches(self, workers: int) -> Iterator[dict[str, Tensor]]:
        """Return this process's share of the batches that are still to come."""
        s = self.settings
        context: dict[str, Any] = {}
        if workers:
            context = {"multiprocessing_context": "spawn", "prefetch_factor": 4, "worker_init_fn": _leave_group}
        return iter(
            DataLoader(
                self.task.pictures(),
                s.batch // self.processes.size,
                sampler=Numbers(range(self.step, s.steps or ENDLESS), s.batch, self.processes.share(s.batch)),
                num_workers=workers,
                pin_memory=self.processes.device.type == "cuda",
                **context,
            )
        )

    def run(self, workers: int = 1, minutes: float = math.inf, save_every: float = 180.0) -> str:
        """Train to the last step (and return ""), or until ``minutes`` are over or a signal comes (and return which).

        Saves every ``save_every`` seconds and at the end; logs the first step, every 20th and the last. Where
        ``settings.steps`` is 0, they are planned to end within ``minutes``, the learning rate with them. A loss that is
        not finite is an ``InputError``; the last checkpoint stays as it was.
        """
        if not self.settings.steps and minutes == math.inf:
            raise InputError("expected --steps above 0, or --minutes that say how many, got neither")
        if self.processes.leads:
            cut_log(self.folder, self.step)
        if self.step == 0:
            self.save()
        s, first, journal, reason, saved = self.settings, self.step, Journal(self), "", time.monotonic()
        quiet, total = None if self.processes.leads else True, s.steps * s.batch or None
        bar = tqdm(total=total, initial=self.step * s.batch, unit=" images", desc=self.task.name, disable=quiet)
        with Stop(minutes) as stop, bar:
            planner = Planner(stop.deadline)
            for batch in in_one_line(self.batches(workers)):
                journal.arrived()
                journal.add(self.train_step(batch))
                bar.update(s.batch)
                if not self.settings.steps and planner.ready(self.step - first):
                    journal.check()  # waits for a GPU
                    self._plan(planner)
                    bar.total = self.settings.steps * s.batch or None
                if self.step in (1, self.settings.steps) or self.step % LOG_EVERY == 0:
                    shown = journal.write()
                    bar.set_postfix({key: shown[key] for key in ("loss", "iou_1") if key in shown})
                if bar.disable:
                    journal.say()
                if self.processes.size == 1 or self.processes.device.type == "cpu" or journal.count == 0:
                    reason = "stop" if self.processes.any(bool(stop.reason)) else ""
                if reason:
                    reason = stop.reason or "stopped with the others"
                    break
                if self.step == self.settings.steps:
                    break
                if time.monotonic() - saved > save_every:
                    journal.check()
                    self.save()
                    saved = time.monotonic()
        if journal.count:
            journal.write()
        self.save()
        return reason if self.step < (self.settings.steps or ENDLESS) else ""

    def _plan(self, planner: Planner) -> None:
        """Set the number of steps, the same in all processes, once enough of the time has been measured."""
        if self.processes.any(planner.measured):
            mean = self.processes.mean(torch.tensor(float(planner.more()), device=self.processes.device))
            self.settings = self.settings.planned(self.step + int(mean))


class Numbers(Sampler[int]):
    """The numbers of this process's images, batch after batch."""

    def __init__(self, steps: range, batch: int, share: slice) -> None:
        self.steps, self.batch, self.share = steps, batch, range(batch)[share]

    def __len__(self) -> int:
        return len(self.steps) * len(self.share)

    def __iter__(self) -> Iterator[int]:
        return (step * self.batch + i for step in self.steps for i in self.share)


def in_one_line(batches: Iterator[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """Yield the same batches; what ends a worker is one line, without that worker's traceback."""
    try:
        yield from batches
    except InputError as error:
        raise InputError(str(error).strip().split("InputError: ")[-1]) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        wanted = "processes that make images until the end (with fewer --workers they need less memory)"
        raise InputError(f"expected {wanted}, got one that was ended") from error


def write_weights(path: Path, weights: dict[str, Any], config: Any, notes: dict[str, str]) -> None:
    """Write a whole model's weights with its configuration, or, where ``config`` is None, an encoder's alone."""
    if config is not None:
        save_checkpoint(path, weights, config, notes)
    else:
        write_safetensors(path, weights, notes)
