"""The options of ``minisam engine``'s tasks but ``annotate``; what they run is imported when they run."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minisam.console import count, positive


def _later(module: str, function: str) -> Callable[[argparse.Namespace], int]:
    """A function of ``minisam.engine`` that is imported when it is called: ``minisam --help`` does not wait."""

    def run(options: argparse.Namespace) -> int:
        return int(getattr(importlib.import_module(f"minisam.engine.{module}"), function)(options))

    return run


def add_loop(tasks: Any) -> None:
    """``minisam engine demo`` and ``run``: their options."""
    demo = tasks.add_parser(
        "demo",
        help="all three stages on scenes of the world, in small",
        description="A simulated person annotates scenes with a small model's help, the model is trained again, and "
        "so on through all three stages; then a table. The start model has never seen the world. Ctrl-C stops, the "
        "same command goes on.",
    )
    demo.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, default=Path("engine-demo"), help="of the run")
    demo.add_argument("--seed", metavar="N", type=count, default=0, help="of everything random (default 0)")
    demo.set_defaults(run=_later("demo", "run_demo"))
    hours = tasks.add_parser(
        "run",
        help="all three stages, as a recipe says; can be stopped and continued",
        description="As minisam engine demo, with settings from a JSON file, and for hours if need be. Ctrl-C stops, "
        "the same command goes on.",
    )
    hours.add_argument("config", metavar="CONFIG", type=Path, help="a JSON file with fields of the recipe")
    hours.add_argument("-o", "--output", metavar="FOLDER", type=Path, required=True, help="of the run")
    hours.set_defaults(run=_later("demo", "run_config"))


def share(text: str) -> float:
    """A number between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and up to 1, got {text!r}")
    return value


def add_audit(tasks: Any) -> None:
    """``minisam engine audit`` and its options."""
    parser = tasks.add_parser(
        "audit",
        help="automatic masks beside the truth: quality, thresholds, diversity",
        description="How many automatic masks have an IoU above .9 and .75 with the truth, which thresholds give the "
        "largest yield of good ones, what a person would correct, and how diverse the masks are. Without --truth or "
        "--world only the last.",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="a folder of masks in SA-1B's schema")
    parser.add_argument("--truth", metavar="DIR", type=Path, help="true masks, in files of the same names")
    what = "the pictures are scenes of the world, named by their numbers: their truth is known"
    parser.add_argument("--world", action="store_true", help=what)
    what = "of the masks must have an IoU above .75 at the chosen thresholds (default .9)"
    parser.add_argument("--least", metavar="SHARE", type=share, default=0.9, help=what)
    what = "pictures whose masks the simulated person corrects (default 500)"
    parser.add_argument("--pictures", metavar="N", type=positive, default=500, help=what)
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the report there, and a page beside it (.md)")
    parser.set_defaults(run=_later("audit_report", "main"))


def add_costs(tasks: Any) -> None:
    """``minisam engine costs`` and its options."""
    parser = tasks.add_parser(
        "costs",
        help="what a million pictures would cost, from a ledger's measured seconds",
        description="What 1 and 11 million pictures would cost a person and a machine, as the stages of a run went.",
    )
    parser.add_argument("ledger", metavar="LEDGER", type=Path, help="the file of a run, ledger.jsonl")
    what = "so many pictures (can be given several times; default 1 and 11 million)"
    parser.add_argument("--pictures", metavar="N", type=positive, action="append", help=what)
    parser.add_argument("--workers", metavar="N", type=positive, default=1, help="processes at a time (default 1)")
    parser.add_argument("--wage", metavar="X", type=float, help="what an hour of a person costs")
    parser.add_argument("--machine-hour", metavar="X", type=float, help="what an hour of a worker costs")
    parser.set_defaults(run=_later("costs", "main"))
