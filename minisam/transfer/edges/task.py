"""``minisam transfer edges``: SAM's edge maps beside classical ones and HED's, by BSDS's measure."""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.console import add_model, need, positive
from minisam.transfer.report import Job, Table, markdown
from minisam_kernels import InputError

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor
    from minisam.transfer.edges.bsds import Picture

CLASSICAL = {"sobel": "Sobel", "canny": "Canny", "felzenszwalb": "Felzenszwalb's regions"}
HELD_OUT_EVERY = 20  # of the public sets: minisam train --hold-out 20
SCENES = 24  # of the world in the suite
PICTURES = 10  # of a folder in the suite


def add(parsers: Any) -> None:
    """``edges`` and its options."""
    parser = parsers.add_parser(
        "edges",
        help="edge maps from masks, scored as on BSDS500, beside classical methods",
        description="ODS, OIS, AP and R50 of the edges that the masks of a 16 × 16 grid of points give.",
    )
    what = "BSDS500's images/ and groundTruth/, or SA-1B's schema with an annotator in every annotation"
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help=what)
    add_model(parser)
    parser.add_argument("--world", type=positive, metavar="N", help="N held-out scenes of the world, no folder")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N images")
    every = "only every N-th image: those that minisam train --hold-out N has never shown"
    parser.add_argument("--every", type=positive, default=1, metavar="N", help=every)
    parser.add_argument("--baselines", action="store_true", help="Sobel, Canny, Felzenszwalb; HED if it is installed")
    parser.add_argument("--json", metavar="PATH", help="write the figures and every image's counts as JSON as well")
    parser.set_defaults(run=main)


def methods(predictor: SamPredictor, baselines: bool) -> dict[str, Callable[[np.ndarray], list[np.ndarray]]]:
    """Return for each method's name the function from an image to its detected pixels at every threshold."""
    from minisam.transfer.edges import baselines as classical
    from minisam.transfer.edges import hed
    from minisam.transfer.edges.boundaries import edge_map
    from minisam.transfer.edges.scores import cuts
    from minisam.transfer.edges.thinning import edge_nms

    def sam(image: np.ndarray) -> list[np.ndarray]:
        predictor.set_image(image)
        return cuts(edge_map(predictor))

    chosen: dict[str, Callable[[np.ndarray], list[np.ndarray]]] = {predictor.model.config.name: sam}
    if baselines:
        chosen |= {title: getattr(classical, name) for name, title in CLASSICAL.items()}
        path = hed.weights_path()
        if path is not None:
            weights = hed.read_weights(path)
            chosen["HED, trained on BSDS"] = lambda image: cuts(edge_nms(hed.hed(weights, image)))
    return chosen


def evaluate(
    predictor: SamPredictor, pictures: Iterable[Callable[[], Picture]], baselines: bool = False, name: str = ""
) -> dict[str, Any]:
    """Score every method on the same pictures.

    Parameters
    ----------
    predictor : SamPredictor
    pictures : iterable of callable
        Functions that read a picture, as ``bsds.find`` and ``bsds.world`` give them.
    baselines : bool
        Also the classical methods, and HED if its weights are installed.
    name : str
        Of the set.

    Returns
    -------
    dict
        ``set``, ``pictures``, ``methods``: for each the four scores, ``seconds`` for its edges and their matching, and
        ``counts``: for each picture and threshold matched_drawn, drawn, matched, detected.

    Raises
    ------
    InputError
        If there is no picture that can be read; one that cannot be is in ``left_out``, with the reason.
    """
    from minisam.console import progress
    from minisam.transfer.edges.scores import count_matches, summarise
    from minisam.transfer.points import why

    pictures = list(pictures)
    if not pictures:
        raise InputError("expected at least one picture, got none")
    chosen = methods(predictor, baselines)
    counts: dict[str, list[np.ndarray]] = defaultdict(list)
    seconds = {method: [0.0, 0.0] for method in chosen}
    annotators, read_count = 0, 0
    left_out: dict[str, str] = {}
    with progress(total=len(pictures), unit="image", desc="transfer edges") as bar:
        for number, read in enumerate(pictures):
            bar.update()
            try:
                picture = read()
            except InputError as error:
                paths = (str(part) for part in getattr(read, "args", ()) if isinstance(part, Path))
                left_out[next(paths, f"image {number}")] = str(error)
                continue
            read_count += 1
            annotators += len(picture.drawn)
            for method, detect in chosen.items():
                start = time.perf_counter()
                levels = detect(picture.image)
                between = time.perf_counter()
                counts[method].append(count_matches(levels, picture.drawn))
                spent = between - start, time.perf_counter() - between
                seconds[method] = [whole + part for whole, part in zip(seconds[method], spent)]
    if not read_count:
        raise InputError(f"expected at least one picture that can be read, got none{why(left_out)}")
    report: dict[str, Any] = {"set": name, "pictures": read_count, "annotators": annotators, "methods": {}}
    report["left_out"] = left_out
    for method, every in counts.items():
        scores = {key: None if np.isnan(value) else value for key, value in summarise(every)._asdict().items()}
        times = dict(zip(("edges", "matching"), seconds[method]))
        report["methods"][method] = {**scores, "seconds": times, "counts": [one.tolist() for one in every]}
    return report


def table(report: dict[str, Any]) -> Table:
    """Write the scores as a table."""
    columns = ["method", "ODS", "OIS", "AP", "R50", "s per image, edges", "s per image, matching"]
    rows = []
    for method, figures in report["methods"].items():
        times = [figures["seconds"][key] / report["pictures"] for key in ("edges", "matching")]
        rows.append([method, *(figures[key] for key in ("ods", "ois", "ap", "r50")), *times])
    notes = [f"{report['pictures']} images, {report['annotators']} annotators' drawings."]
    notes += [f"Left out {what}: {reason}" for what, reason in report.get("left_out", {}).items()]
    return Table(f"Edges, {report['set']}", columns, rows, notes)


def main(options: argparse.Namespace) -> int:
    """``minisam transfer edges``."""
    need("transfer", "scipy", *(("skimage", "cv2") if options.baselines else ()))
    from minisam.console import load_model
    from minisam.files.atomic import check_outputs, write_text
    from minisam.predictor import SamPredictor
    from minisam.transfer.edges import bsds, hed

    check_outputs([options.json], options.checkpoint)
    if (options.folder is None) == (options.world is None):
        raise InputError("expected either a folder of images with edges or --world, got both or neither")
    pictures: Iterable[Callable[[], Picture]]
    if options.folder is not None:
        pictures = bsds.find(options.folder, options.limit, options.every)
    predictor = SamPredictor(load_model(options))
    name = f"world, held out, {options.world} scenes"
    if options.folder is None:
        pictures = bsds.world(options.world, predictor.model.config.image_size)
    else:
        name = Path(options.folder).resolve().name
    report = evaluate(predictor, pictures, options.baselines, name)
    if options.json is not None:
        write_text(options.json, json.dumps(report) + "\n")
    print(markdown(table(report)))
    if options.baselines and hed.weights_path() is None:
        print(f"\nHED is left out: its weights are not installed ({hed.INSTALL}).")
    return 0


# ---- the suite -----------------------------------------------------------------------------------------------------


def jobs(real: Path | None = None) -> list[Job]:
    """Return what the suite runs: the world, and in ``real`` the folder bsds500, if it is there."""
    listed = [Job("edges-world", f"minisam transfer edges --world {SCENES} --baselines", partial(_job, None))]
    folder = None if real is None else real / "bsds500"
    if folder is not None and folder.is_dir():
        command = f"minisam transfer edges {folder} --every {HELD_OUT_EVERY} --limit {PICTURES} --baselines"
        listed.append(Job("edges-bsds500", command, partial(_job, folder)))
    return listed


def _job(folder: Path | None) -> list[Table]:
    from minisam.checkpoints.loading import load
    from minisam.predictor import SamPredictor
    from minisam.transfer.edges import bsds

    predictor = SamPredictor(load("tiny"))
    if folder is None:
        pictures: Iterable[Callable[[], Picture]] = bsds.world(SCENES, predictor.model.config.image_size)
        name, seen = "world, held-out scenes", "tiny has seen every domain of the world, but not these scenes."
    else:
        pictures, name = bsds.find(folder, PICTURES, HELD_OUT_EVERY), folder.name
        seen = f"Every {HELD_OUT_EVERY}th image, which tiny has not seen; it has seen the others of this set."
    made = table(evaluate(predictor, pictures, True, name))
    made.notes.append(seen)
    return [made]
