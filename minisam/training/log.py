"""A training's log: one JSON object a line, its plot, and when to stop."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from pathlib import Path
from typing import Any

from minisam.files.atomic import atomic
from minisam_kernels import InputError


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """Return the entries of FOLDER/log.jsonl; leave out a line that a crash cut off."""
    path = Path(folder) / "log.jsonl"
    if not path.is_file():
        raise InputError(f"expected the log of a training in {folder}, got no {path.name}")
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def cut_log(folder: Path, step: int) -> None:
    """Forget what was logged after ``step``: a training that goes on from there writes it again."""
    if (folder / "log.jsonl").is_file():
        kept = [entry for entry in read_log(folder) if entry["step"] <= step]
        with atomic(folder / "log.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")


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
            axes.plot(steps, [entry.get(key, math.nan) for entry in entries], label=key, linewidth=1)
        axes.legend(fontsize=7, ncols=4, frameon=False)
        axes.grid(alpha=0.3)
    axes.set_xlabel("step")
    path = Path(folder) / "log.png"
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    return path


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
