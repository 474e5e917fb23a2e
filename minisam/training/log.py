"""A training's log: one JSON object a line, its plot; how many steps there is time for, and when to stop."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minisam.files.atomic import atomic, write_text, writing
from minisam_kernels import InputError

SAY_EVERY = 10.0  # seconds between two lines where there is no terminal for a bar
SKIPPED = 2  # steps that say nothing of the speed: processes start, compilers compile
MEASURED = 0.03  # of the time, until the speed is known
USED = 0.95  # of the time, for steps; the rest is for saving


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """Return the entries of FOLDER/log.jsonl; leave out a line that a crash cut off."""
    path = Path(folder) / "log.jsonl"
    if not path.is_file():
        raise InputError(f"expected the log of a training in {folder}, got no {path.name}")
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            entries.append(entry)
    return entries


def cut_log(folder: Path, step: int) -> None:
    """Forget what was logged after ``step``: a training that goes on from there writes it again."""
    if (folder / "log.jsonl").is_file():
        kept = [entry for entry in read_log(folder) if entry["step"] <= step]
        write_text(folder / "log.jsonl", "".join(json.dumps(entry) + "\n" for entry in kept))


def plot(folder: str | Path) -> Path:
    """Draw loss, IoU and learning rate by step into FOLDER/log.png."""
    entries = read_log(folder)
    if not entries:
        raise InputError(f"expected at least one line in the log of {folder}, got none")
    from matplotlib.figure import Figure

    steps = [entry["step"] for entry in entries]
    keys = [key for key in entries[0] if key not in ("step", "time")]
    shared = [key for key in keys if key.startswith(("iou", "oracle"))]
    panels = [["loss"], *([shared] if shared else []), ["lr"], ["pictures_s"]]
    panels = [panel for panel in panels if all(key in entries[0] for key in panel)]
    figure = Figure(figsize=(8, 2.2 * len(panels)), layout="constrained")
    for axes, panel in zip(figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels):
        for key in panel:
            values = [entry.get(key, math.nan) for entry in entries]
            axes.plot(steps, values, label=key, linewidth=1, marker="." if len(steps) < 30 else "")
        axes.legend(fontsize=7, ncols=4, frameon=False)
        axes.grid(alpha=0.3)
    axes.set_xlabel("step")
    path = Path(folder) / "log.png"
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    return path


class Journal:
    """Sums figures on the device and writes their means as lines of log.jsonl."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.count = trainer, 0
        self.sums: dict[str, Tensor] = {}
        self.began = self.waiting_since = self.started = time.monotonic()
        self.waited, self.first, self.said, self.line = 0.0, trainer.step, -math.inf, dict[str, float]()

    def arrived(self) -> None:
        """Note that a batch has come: until now the training waited for it."""
        self.waited += time.monotonic() - self.waiting_since

    def add(self, figures: dict[str, Tensor]) -> None:
        """Add the figures of a step."""
        for key, value in figures.items():
            self.sums[key] = self.sums[key] + value if self.count else value
        self.count += 1
        if self.trainer.processes.device.type == "cpu":
            self.check()
        self.waiting_since = time.monotonic()

    def check(self) -> None:
        """Raise ``InputError`` where the loss or its gradient is no number any more."""
        for key in ("loss", "norm") if self.count else ():
            if not math.isfinite(float(self.sums[key])):
                step, folder = self.trainer.step, self.trainer.folder
                kept = f"{folder / 'checkpoint.pt'} is from before and stays"
                raise InputError(f"expected a finite loss, got {key} {float(self.sums[key])} near step {step}; {kept}")

    def write(self) -> dict[str, float]:
        """Write a line of means over the steps since the last one (and over all processes)."""
        processes, s = self.trainer.processes, self.trainer.settings
        self.check()
        means = (processes.mean(torch.stack(list(self.sums.values())).float()) / self.count).tolist()
        took = time.monotonic() - self.began
        line = {"step": self.trainer.step, "time": round(time.time(), 1)}
        line |= {key: round(value, 5) for key, value in zip(self.sums, means)}
        line |= {"lr": float(f"{s.learning_rate(self.trainer.step - 1):.4g}")}
        line |= {"pictures_s": round(self.count * s.batch / took, 2), "waited": round(self.waited / took, 3)}
        if processes.leads:
            path = self.trainer.folder / "log.jsonl"
            with writing(path), open(path, "a") as log:
                log.write(json.dumps(line) + "\n")
        self.sums, self.count, self.waited, self.began, self.line = {}, 0, 0.0, time.monotonic(), line
        return line

    def say(self) -> None:
        """Print a line for whoever has no terminal: at the first step, the last, and every ``SAY_EVERY`` seconds."""
        step, steps, now = self.trainer.step, self.trainer.settings.steps, time.monotonic()
        if not self.trainer.processes.leads or (now - self.said < SAY_EVERY and step != steps):
            return
        means = {key: float(value) / self.count for key, value in self.sums.items()} if self.count else self.line
        words = [f"{key} {means[key]:.4g}" for key in ("loss", "iou_1") if key in means]
        minutes = (now - self.started) / (step - self.first) * (steps - step) / 60
        left = f", {minutes:.1f} minutes left" if steps else ""
        of = f"step {step} of {steps or '?'}"
        print(f"{self.trainer.task.name}: {of}, {', '.join(words)}{left}", file=sys.stderr, flush=True)
        self.said = now


class Planner:
    """Plans how many steps end before ``deadline``, from the speed of the first.

    Steps are timed after the first ``SKIPPED``; the plan is made at step 4, 8, 16 …, once they took ``MEASURED`` of
    the time.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline, self.began, self.made = deadline, time.monotonic(), 0
        self.least = MEASURED * (deadline - self.began)

    def ready(self, made: int) -> bool:
        """Say after each step, of which this is number ``made``, whether to look at ``measured``: seldom."""
        self.made = made - SKIPPED
        if made == SKIPPED:
            self.began = time.monotonic()
        return made >= 4 and made & (made - 1) == 0

    @property
    def measured(self) -> bool:
        return time.monotonic() - self.began >= self.least

    def more(self) -> int:
        """Return how many more steps there is time for; at least one."""
        now = time.monotonic()
        return max(1, int(USED * (self.deadline - now) * self.made / max(now - self.began, 1e-6)))


class Stop:
    """Says when to stop between two steps: after ``minutes``, or at Ctrl-C or SIGTERM (a second one does not wait).

    A context manager; the signals' former handlers come back at its end. ``reason`` is "" while there is none.
    """

    def __init__(self, minutes: float = math.inf) -> None:
        self.deadline = time.monotonic() + 60 * minutes
        self._signal, self._former = "", {}  # type: ignore[var-annotated]

    @property
    def reason(self) -> str:
        return self._signal or ("time" if time.monotonic() >= self.deadline else "")

    def _heard(self, number: int, frame: Any) -> None:
        if self._signal:
            raise KeyboardInterrupt
        self._signal = "interrupted" if number == signal.SIGINT else "terminated"

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            self._former = {n: signal.signal(n, self._heard) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
