"""``minisam transfer``: measure a model on images that it has not seen."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisam.console import add_model, need, positive
from minisam.transfer import clicks, instances, left_out, proposals, text
from minisam.transfer.edges import task as edges
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.transfer.report import Job


def add(parsers: Any) -> None:
    """The tasks' options."""
    transfer = parsers.add_parser("transfer", help="measure a model on images it has not seen")
    tasks = transfer.add_subparsers(metavar="TASK", required=True, parser_class=type(transfer))
    points = tasks.add_parser(
        "points",
        aliases=["point"],
        help="IoU from the centre point, the box and further clicks, beside classical methods",
        description="Mean IoU from the centre point, the box and up to nine clicks, each where the last mask is most "
        "wrong; whether the predicted IoU is right; and on the world, whether the three masks are different things.",
    )
    what = "images/ and masks/ with manifest.csv, or SA-1B's schema"
    points.add_argument("folder", metavar="FOLDER", nargs="?", help=what)
    add_model(points)
    points.add_argument("--world", type=positive, metavar="N", help="N held-out scenes of the world, no folder")
    points.add_argument("--limit", type=positive, metavar="N", help="only the first N images")
    every = "only every N-th image: those that minisam train --hold-out N has never shown"
    points.add_argument("--every", type=positive, default=1, metavar="N", help=every)
    points.add_argument("--clicks", type=positive, default=9, metavar="N", help="clicks an object (default 9)")
    points.add_argument("--no-baselines", action="store_true", help="only the model, no classical methods")
    points.add_argument("--json", metavar="PATH", help="write the figures as JSON as well")
    points.add_argument("--plot", metavar="PATH", help="draw predicted against true IoU as a PNG")
    points.add_argument("--worst", metavar="PATH", help="draw the objects that the model gets most wrong as a PNG")
    points.set_defaults(run=run_points)
    for task in (clicks, left_out, edges, proposals, instances, text):  # light: what they run is imported then
        task.add(tasks)

    suite = tasks.add_parser(
        "suite",
        help="every task, from stored models, with a report that can be resumed",
        description="Run every task with the stored models, each in a process of its own, and write suite.json and "
        "suite.md into a folder. What is in the report already is not run again unless the code, the weights or the "
        "sets have changed. Exit code 1 if a task failed; the others' results are in the report.",
    )
    suite.add_argument("-o", "--output", metavar="FOLDER", default="suite", help="of the report (default suite)")
    suite.add_argument("--real", metavar="DIR", help="a folder of sets of images with masks, measured as well")
    suite.add_argument("--only", action="append", default=[], metavar="NAME", help="jobs whose names begin with this")
    suite.add_argument("--processes", type=positive, default=1, metavar="N", help="jobs at a time (default 1)")
    suite.add_argument("--again", action="store_true", help="run what is in the report already, too")
    suite.add_argument("--list", action="store_true", help="only print the jobs with their commands")
    suite.set_defaults(run=run_suite)


def run_points(options: argparse.Namespace) -> int:
    """``minisam transfer points``."""
    need("transfer", "scipy", *(() if options.no_baselines else ("skimage", "cv2")))
    if options.plot is not None or options.worst is not None:
        need("book", "matplotlib")
    if options.clicks > 9:
        raise InputError(f"expected --clicks from 1 to 9, got {options.clicks}")
    from minisam.transfer import points

    return points.main(options)


def jobs(real: Path | None = None, work: Path | None = None) -> list[Job]:
    """Every task's jobs; ``real``: also those on the sets in this folder, or in its folders dev and train. The longest
    keeps each model's figures in ``work``, so that it goes on from there."""
    from minisam.transfer import specialist

    sets, drawn = real, real
    if real is not None and (real / "dev").is_dir():
        sets, drawn = real / "dev", real / "train"  # of which the models have seen all but every 20th image
    return [
        *left_out.jobs(real=real, work=work, processes=1),
        *clicks.jobs(),
        *edges.jobs(drawn),
        *proposals.jobs(sets),
        *instances.jobs(sets, drawn),
        *specialist.jobs(),
        *text.jobs(),
    ]


def run_suite(options: argparse.Namespace) -> int:
    """``minisam transfer suite``."""
    need("transfer", "scipy", "skimage", "cv2")
    from minisam.transfer.suite import suite

    real = None if options.real is None else Path(options.real)
    if real is not None and not real.is_dir():
        raise InputError(f"expected a folder of sets, got {real}")
    work = None if options.again else Path(options.output) / "left_out"
    listed = functools.partial(jobs, real, work)
    if options.list:
        print("\n".join(f"{job.name}: {job.command}" for job in listed()))
        return 0
    failed = suite(listed, Path(options.output), options.only, options.processes, options.again, real)
    result = f"{failed} job{'s' * (failed > 1)} failed" if failed else "every job has its result"
    print(f"{Path(options.output) / 'suite.md'}: {result}")
    return 1 if failed else 0
