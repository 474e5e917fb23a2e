"""``minisam engine``: the loop that makes masks, and its parts."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisam.commands.engine_tasks import add_audit, add_costs, add_loop
from minisam.commands.everything import SETTINGS
from minisam.console import add_model, count, need, positive, progress
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.engine.annotation import Result
    from minisam.engine.worker import Outcome

NOT_ALL = 3  # exit code: some pictures have no masks, and they are listed
LISTED = 20  # of the pictures that failed, on stderr
EVERY = 30.0  # seconds between two lines of progress where there is no terminal
HERE = ("output_mode", "points_per_batch")  # settings of ``minisam everything`` that change nothing in a store


def add(parsers: Any) -> None:
    """The tasks' options."""
    engine = parsers.add_parser("engine", help="the data engine: annotate, correct, train again")
    tasks = engine.add_subparsers(metavar="TASK", required=True, parser_class=type(engine))
    add_loop(tasks)
    _add_annotate(tasks)
    add_audit(tasks)
    add_costs(tasks)


def _add_annotate(tasks: Any) -> None:
    parser = tasks.add_parser(
        "annotate",
        help="masks of every picture in a folder, with many processes or a cluster",
        description="Find the masks of every picture below FOLDER and write them into the store DIR: a JSON file per "
        "picture in SA-1B's schema, which minisam train --data DIR reads. The same command again does only what is "
        "missing. Exit code 0 if every picture has its masks, 3 if some have none; DIR/failed.jsonl says why.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="of pictures, with its sub-folders; not those called masks")
    parser.add_argument("-o", "--out", metavar="DIR", required=True, help="the store: a new folder, or one to go on")
    here = "processes of one thread on this machine (default: one per core); 0: this process, without Dask"
    parser.add_argument("--workers", metavar="N", type=count, help=here)
    there = "of a Dask scheduler, such as tcp://10.0.0.1:8786; its workers must see the same folders"
    parser.add_argument("--scheduler", metavar="ADDRESS", help=there)
    wait = "how long to wait for the scheduler, or for a worker that is away (default 60)"
    parser.add_argument("--wait", metavar="SECONDS", type=positive, default=60, help=wait)
    parser.add_argument("--again", action="store_true", help="try pictures that failed before, too")
    add_model(parser)
    presets = "meta: the released code's defaults; sa1b: the paper's settings; without it the model's own thresholds"
    parser.add_argument("--preset", metavar="NAME", help=presets)
    parser.add_argument("--stretch", metavar="METHOD", help="percentile, as in minisam everything")
    for name, (kind, default, text) in SETTINGS.items():
        if name not in HERE:
            option = f"--{name.replace('_', '-')}"
            parser.add_argument(option, metavar="X" if default.startswith(".") else "N", type=kind,
                                help=f"{text} (default {default})")  # fmt: skip
    parser.set_defaults(run=run_annotate)


def run_annotate(options: argparse.Namespace) -> int:
    """``minisam engine annotate``."""
    from minisam.automatic.crops import PRESETS
    from minisam.checkpoints.loading import shipped_weights
    from minisam.files.images import STRETCHES
    from minisam.model.config import get_config

    if options.preset is not None and options.preset not in PRESETS:
        raise InputError(f"expected a preset among {', '.join(PRESETS)}, got {options.preset!r}")
    if options.stretch not in STRETCHES:
        raise InputError(f"expected the stretch percentile, got {options.stretch!r}")
    if options.workers is not None and options.scheduler is not None:
        raise InputError("expected one of --workers and --scheduler, got both")
    if options.workers != 0:
        try:
            need("engine", "distributed")
        except InputError as error:
            raise InputError(f"{error}; --workers 0 needs none") from error
    from minisam.engine.annotation import annotate_folder, make_recipe
    from minisam.engine.store import find_pictures

    find_pictures(options.folder)  # whatever is wrong there is said before a model is loaded
    model = options.model if options.checkpoint else get_config(options.model or "tiny").name
    given = {name: getattr(options, name) for name in SETTINGS if getattr(options, name, None) is not None}
    recipe = make_recipe(
        options.folder,
        options.out,
        options.checkpoint or shipped_weights(model),
        model,
        PRESETS[options.preset or "meta"] | given,
        own_thresholds=options.preset is None,
        stretch=options.stretch,
        one_thread=options.workers != 0,
    )
    workers = _cores() if options.workers is None else options.workers
    with _Told() as told:
        result = annotate_folder(
            recipe, workers, options.scheduler, options.wait, options.again, told.hear, told.say
        )  # fmt: skip
    return _report(result, Path(options.out))


def _report(result: Result, out: Path) -> int:
    """Say what a run came to; its exit code."""
    counts = {"done": result.done, "done before": result.before, "failed": len(result.failed)}
    counts["not done"] = result.total - sum(counts.values())
    words = [f"{number} {what}" for what, number in counts.items() if number or what == "done"]
    line = f"{out}: of {result.total} picture{'s' * (result.total != 1)} {', '.join(words)}"
    if result.done:
        rate = result.done / max(result.seconds, 1e-9)
        line += f"; {result.masks} masks in {result.seconds:.1f} s, {rate:.2f} pictures per second"
    print(line)
    for number, (picture, reason) in enumerate(sorted(result.failed.items())):
        if number == LISTED:
            print(f"minisam: {len(result.failed) - LISTED} more are in {out / 'failed.jsonl'}", file=sys.stderr)
            break
        print(f"minisam: {picture}: {reason}", file=sys.stderr)
    if result.stopped:
        print(f"minisam: error: {result.stopped}; the same command goes on", file=sys.stderr)
    return 0 if result.whole else NOT_ALL


class _Told:
    """Progress with the time that is left: a bar on a terminal, elsewhere a line on stderr every half minute."""

    def __enter__(self) -> _Told:
        self.bar: Any = None
        self.start = self.last = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def say(self, line: str) -> None:
        """A line beside the bar."""
        (self.bar.write if self.bar is not None else print)(line, file=sys.stderr)

    def hear(self, result: Result, outcome: Outcome | None) -> None:
        """An outcome, or None before the first one."""
        if outcome is None:
            known = result.before + len(result.failed)
            self.todo = result.total - known
            self.bar = progress(total=self.todo, unit="picture", desc="annotate")
            return
        self.bar.set_postfix_str(f"{result.masks} masks", refresh=False)
        self.bar.update()
        now = time.monotonic()
        if self.bar.disable and now - self.last > EVERY:
            self.last, self.bar.n = now, self.bar.n
            number = result.done + len(result.failed) + result.before - (result.total - self.todo)
            rate = number / (now - self.start)
            left = (self.todo - number) / max(rate, 1e-9)
            self.say(f"minisam: {number}/{self.todo} pictures, {rate:.2f} per second, {_time(left)} left")


def _time(seconds: float) -> str:
    """1 h 05 min, 3 min 20 s, 12 s."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
