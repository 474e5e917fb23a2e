"""The figures in the model card: measured once, kept as JSON, put into the card between two marks.

    python -m minisam.transfer.card --report benchmarks/transfer/tiny.json --card minisam/weights/README.md \\
        --measure FOLDER --held-out FOLDER … --world 300

measures every folder whole (``--measure``), every ``--every``-th image of others (``--held-out``; without those that
have a copy elsewhere in them) and scenes of the world; without these three it only writes the card anew from the
report. Beside it lie plots: calibration of what is measured whole, and the worst objects of the world and
of those folders among them that ``--show`` names. With ``--processes 2`` set OMP_NUM_THREADS=1 and NUMBA_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from minisam.checkpoints.loading import WEIGHTS, load
from minisam.console import exit_code
from minisam.files.atomic import write_text
from minisam.predictor import SamPredictor
from minisam.reports.environment import commit, environment
from minisam.transfer import calibration, gallery
from minisam.transfer.held_out import THRESHOLDS, world_cases
from minisam.transfer.points import ROWS, evaluate, folder_cases
from minisam_kernels import InputError

BEGIN, END = "<!-- measured: python -m minisam.transfer.card -->", "<!-- end of measured -->"


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all sets with tiny: reports without the single objects, the hash of the weights, machine and commit."""
    jobs: list[tuple[str | None, int]] = [(folder, 1) for folder in options.measure]
    jobs += [(folder, options.every) for folder in options.held_out] + ([(None, 1)] if options.world else [])
    if options.processes > 1:
        with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool:
            sets = list(pool.map(functools.partial(measure_one, options), *zip(*jobs)))
    else:
        sets = [measure_one(options, folder, every) for folder, every in jobs]
    digest = hashlib.sha256((WEIGHTS / "tiny.safetensors").read_bytes()).hexdigest()
    return {"weights": digest, "commit": commit(), "environment": environment(), "sets": sets}


def measure_one(options: argparse.Namespace, folder: str | None, every: int) -> dict[str, Any]:
    """Measure a folder, or the world (None), and draw its plots beside the report's file."""
    predictor = SamPredictor(load("tiny"))
    others = options.held_out if every > 1 else ()
    if folder is None:
        name, cases = "world", world_cases(options.world, predictor.model.config.image_size)
        report = evaluate(predictor, None, baselines=False, world=options.world)
    else:
        name = Path(folder).resolve().name + (f", 1 of {every}" if every > 1 else "")
        cases = folder_cases(folder, None, every, others)
        report = evaluate(predictor, folder, every=every, others=others)
    stem = options.report.with_suffix("")
    if every == 1:
        calibration.draw(report, stem.with_name(f"{stem.name}-{name}-calibration.png"))
    if folder is None or (folder in options.show and every == 1):
        gallery.draw(predictor, cases, report, stem.with_name(f"{stem.name}-{name}-worst.png"))
    del report["each"]
    return {**report, "name": name}


def tables(report: dict[str, Any]) -> str:
    """Write as Markdown mean IoU by prompt and set, predicted against true IoU, and what the three masks are."""
    sets = report["sets"]
    names = [f"{s['name']}: {s['pictures']} images, {s['objects']} objects" for s in sets]
    lines = [f"Weights: SHA-256 `{report['weights']}`.", ""]
    lines += _rows(["mean IoU over objects", *names])
    for key, words in ROWS.items():
        cells = [f"{s['per_object'][key]:.3f}" if key in s["per_object"] else "" for s in sets]
        if any(cells):
            lines.append(_row([words, *cells]))
    lines += ["", *_rows(["predicted IoU, true IoU, mean distance", *[s["name"] for s in sets]])]
    for kind in sets[0]["calibration"]:
        entries = [s["calibration"].get(kind) for s in sets]
        cells = [f"{e['predicted']:.2f}, {e['true']:.2f}, {e['mean_absolute']:.2f}" if e else "" for e in entries]
        lines.append(_row([kind.replace("_", ", "), *cells]))
    for s in sets:
        if "ambiguity" in s:
            summary = s["ambiguity"]
            between = f"median IoU between the three outputs {summary['median_iou_between_outputs']:.3f}"
            lines += ["", f"{summary['points']} points inside parts of the {s['name']}'s scenes: {between}. Found:"]
            for threshold in THRESHOLDS:
                shares = (f"{name} {share:.0%}" for name, share in summary[f"found_at_{threshold:g}"].items())
                lines.append(f"with an IoU of {threshold:g} or more, {', '.join(shares)};")
            lines[-1] = lines[-1][:-1] + "."
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rows(head: Sequence[str]) -> list[str]:
    return [_row(head), _row(["---"] * len(head))]


def insert(card: str, text: str) -> str:
    """Put the text between the two marks of the card."""
    before, begin, rest = card.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"expected a card with the lines {BEGIN} and {END}, got none")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, measure if sets are named, write the card."""
    parser = argparse.ArgumentParser(prog="python -m minisam.transfer.card", description=__doc__.split("\n")[0])
    parser.add_argument("--report", type=Path, required=True, help="the JSON file")
    parser.add_argument("--card", type=Path, required=True, help="the Markdown file with the marks")
    parser.add_argument("--measure", action="append", default=[], help="a folder, whole")
    parser.add_argument("--held-out", action="append", default=[], help="a folder whose held-out part is measured")
    parser.add_argument("--every", type=int, default=20, help="the --hold-out of the training (default 20)")
    parser.add_argument("--world", type=int, default=0, help="so many held-out scenes")
    parser.add_argument("--processes", type=int, default=1, help="sets measured at a time, a core each")
    parser.add_argument("--show", action="append", default=[], help="a folder whose images may be passed on")
    options = parser.parse_args(arguments)
    insert(options.card.read_text(encoding="utf-8"), "")
    if options.measure or options.held_out or options.world:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        measured = measure(options)
        write_text(options.report, json.dumps(measured, indent=1) + "\n")
    report = json.loads(options.report.read_text(encoding="utf-8"))
    text = insert(options.card.read_text(encoding="utf-8"), tables(report))
    write_text(options.card, text)


if __name__ == "__main__":
    sys.exit(exit_code(main))
