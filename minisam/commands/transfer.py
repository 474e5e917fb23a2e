"""``minisam transfer``: measure a model on images that it has not seen."""

from __future__ import annotations

import argparse
from typing import Any

from minisam.console import add_model, need, positive
from minisam_kernels.runtime.errors import InputError


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


def run_points(options: argparse.Namespace) -> int:
    """``minisam transfer points``."""
    need("transfer", "scipy", *(() if options.no_baselines else ("skimage", "cv2")))
    if options.plot is not None or options.worst is not None:
        need("book", "matplotlib")
    if options.clicks > 9:
        raise InputError(f"expected --clicks from 1 to 9, got {options.clicks}")
    from minisam.transfer import points

    return points.main(options)
