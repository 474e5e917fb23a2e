"""Domains of the world left out in turn: what clicks reach on them beside what they reach on domains that were seen.

There are four groups of domains, and for each of them and each of three seeds a SAM and a network in RITM's manner that
never saw it (``minisam.experiments.left_out`` trains them). So every domain has models to which it is new, and those of
the three other groups, which saw it and were trained no longer. All are measured on the same held-out scenes, by both
protocols of ``clicks``; on real images, which belong to no group, all four models of a seed are averaged.

The report, which is what ``benchmarks/transfer/left_out.json`` holds and figure F7 shows::

    {"points": [1, 2, 3, 5, 9], "command": …, "scenes": …, "objects": …, "commit": …, "environment": {…},
     "models": [{"name", "kind", "group", "seed", "steps", "weights", "processor_seconds", "commit"}, …],
     "sets": [{"name": "nuclei", "group": "instruments" or None for real images and for the mean of all domains,
               "pictures": …, "objects": …, "note": what the models have seen of a real set,
               "sam": {CONDITION: {FIGURE: INTERVAL, …}, …}, "clicks": likewise,
               "sam_minus_clicks": likewise}, …],
     "wins": {CONDITION: {"confident" or "oracle":
              [{"points": 1, "sets": 23, "sam": 14, "clicks": 9, "sam_surely": 8, "clicks_surely": 3}, …]}}}

CONDITION is ``left_out``, ``seen`` or ``difference`` (left out − seen, object by object); of real images ``real``.
FIGURE is ``confident`` or ``oracle`` (mean IoU, a list over ``points``), ``noc_85`` or ``noc_90`` (a number). INTERVAL
is ``{"mean", "low", "high", "seeds"}``, the last one the mean of each seed. The first set is ``all domains``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.transfer.clicks import LEAST, POINTS, Model, SamClicks, measure_all, reduced
from minisam.transfer.left_out_report import Found, Key, page, summarise, tables
from minisam.transfer.report import Job, Table, markdown
from minisam.transfer.stored_models import GROUPS, HOLD_OUT, KINDS, MODELS, SEEDS, SIDE
from minisam_kernels import InputError

if TYPE_CHECKING:
    from minisam.transfer.held_out import Case

OBJECTS = 4  # of an image, at most


# ---- measuring -------------------------------------------------------------------------------------------------------


def domain_cases(domain: str, scenes: int) -> Iterator[Case]:
    """Yield a domain's first held-out scenes at the models' size."""
    from minisam.transfer.held_out import Case
    from minisam.world import HELD_OUT, render

    for number in range(scenes):
        scene = render(HELD_OUT + number, SIDE, domain)
        fit = [m.segmentation for m in scene.masks if LEAST <= m.segmentation.sum() <= 0.9 * SIDE * SIDE]
        yield reduced(Case(f"{domain} {HELD_OUT + number}", scene.image, fit), SIDE, OBJECTS, number)


def real_sets(folder: Path | None) -> dict[str, tuple[Path, int]]:
    """Find sets of real images: name → (folder, every how many images are measured).

    Of the folders in FOLDER/train every ``HOLD_OUT``-th image is (the models have seen the others), of those in
    FOLDER/dev every one; without these two, FOLDER is a set itself. One that is called like a domain is "… (real)".
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise InputError(f"expected a folder of sets of real images, got {folder}")
    found = {part: sorted(p for p in (folder / part).glob("*") if p.is_dir()) for part in ("train", "dev")}
    sets = [(path.name, path, HOLD_OUT if part == "train" else 1) for part in found for path in found[part]]
    domains = {domain for group in GROUPS.values() for domain in group}
    return {
        name + " (real)" * (name in domains): (path, every)
        for name, path, every in sets or [(folder.resolve().name, folder, 1)]
    }


def real_cases(folder: Path, every: int, limit: int, left_out: dict[str, str] | None = None) -> Iterator[Case]:
    """Yield the first images of a set, as small as the models' input; ``left_out`` as in ``folder_cases``."""
    from minisam.transfer.points import folder_cases

    for number, case in enumerate(folder_cases(folder, limit, every, left_out=left_out)):
        yield reduced(case, SIDE, OBJECTS, number)


def open_model(path: Path) -> Model:
    """Open a SAM or a click network, whichever the file holds."""
    from minisam.checkpoints.loading import load
    from minisam.predictor import SamPredictor
    from minisam.transfer.click_net import ClickNet, ClickPredictor

    return ClickPredictor(ClickNet(path)) if path.name.startswith("clicks-") else SamClicks(SamPredictor(load(path)))


def prepare(
    scenes: int, real: dict[str, tuple[Path, int]], limit: int, left_out: dict[str, str] | None = None
) -> dict[str, list[Case]]:
    """Make the cases of every domain and real set, once for all models.

    Images that cannot be read and real sets without objects are noted in ``left_out``.
    """
    cases = {domain: list(domain_cases(domain, scenes)) for group in GROUPS.values() for domain in group}
    left_out = {} if left_out is None else left_out
    for name, (folder, every) in real.items():
        bad: dict[str, str] = {}
        some = list(real_cases(folder, every, limit, bad))
        left_out |= {f"{name}/{image}": reason for image, reason in bad.items()}
        if any(case.masks for case in some):
            cases[name] = some
        else:
            left_out[name] = f"no object of {LEAST} pixels or more in its images"
    return cases


def digest(cases: dict[str, list[Case]]) -> str:
    """A name for the cases, by their pixels: figures kept of others are no use."""
    sha = hashlib.sha256()
    for name, some in cases.items():
        for case in some:
            sha.update(name.encode() + case.image.tobytes() + b"".join(mask.tobytes() for mask in case.masks))
    return sha.hexdigest()[:12]


def kept_file(path: Path, cases: dict[str, list[Case]], work: Path | None) -> Path | None:
    """Where ``work`` has a model's figures of these weights and cases, made by this code, or would have them."""
    from minisam.transfer.suite import code
    from minisam.transfer.suite import digest as of_file

    return None if work is None else work / f"{path.stem}-{of_file(path)}-{digest(cases)}-{code()}.npz"


def measure_file(path: Path, cases: dict[str, list[Case]], work: Path | None) -> Found:
    """Measure one model on all cases; what ``work`` has of these weights and cases already is read."""
    from minisam.files.atomic import atomic, make_folder

    kept = kept_file(path, cases, work)
    if kept is not None and kept.is_file():
        with np.load(kept) as arrays:
            names = dict.fromkeys(key.split("/")[0] for key in arrays)
            return {name: {k.split("/")[1]: arrays[k] for k in arrays if k.startswith(f"{name}/")} for name in names}
    model = open_model(path)
    found = {name: measure_all(model, some) for name, some in cases.items()}
    if kept is not None and work is not None:
        make_folder(work)
        with atomic(kept) as temporary, open(temporary, "wb") as file:
            arrays_of = {f"{name}/{key}": array for name, entry in found.items() for key, array in entry.items()}
            np.savez(file, **arrays_of)  # type: ignore[arg-type]
    return found


def find_models(folder: Path) -> dict[Key, Path]:
    """Find the models of every kind and seed for which all four groups are there."""
    paths = {
        (kind, group, seed): folder / f"{kind}-{group}-{seed}.safetensors"
        for kind in KINDS for seed in SEEDS for group in GROUPS
    }  # fmt: skip
    whole = {(k, s) for k in KINDS for s in SEEDS if all(paths[k, group, s].is_file() for group in GROUPS)}
    found = {key: path for key, path in paths.items() if (key[0], key[2]) in whole}
    if not found:
        raise InputError(f"expected models such as sam-above-0.safetensors of all four groups in {folder}, got none")
    return found


def describe(key: Key, path: Path) -> dict[str, Any]:
    """What a model's file says of its training."""
    from minisam.checkpoints.safetensors_file import read_safetensors

    arrays, notes = read_safetensors(path)
    facts, settings = json.loads(notes["facts"]), json.loads(notes["settings"])
    return {
        "name": path.stem, "kind": key[0], "group": key[1], "seed": key[2], "steps": settings["steps"],
        "weights": sum(array.size for array in arrays.values()), "processor_seconds": facts["processor_seconds"],
        "commit": facts["commit"],
    }  # fmt: skip


def _one_thread() -> None:
    """Begin a process that measures: others have the other cores."""
    os.environ["MINISAM_THREADS"] = "1"


def evaluate(
    models: Path = MODELS, scenes: int = 2, real: Path | None = None, limit: int = 6, work: Path | None = None,
    processes: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """Measure all models, and make the report of it that is described above.

    Parameters
    ----------
    models : Path
        Their folder.
    scenes : int
        Of each domain.
    real : Path, optional
        Sets of real images, see ``real_sets``; ``limit`` images of each.
    work : Path, optional
        Where each model's figures are kept, so that a run that was stopped goes on.
    processes : int
        So many models are measured at a time.
    """
    from minisam.console import progress
    from minisam.reports.environment import commit, environment

    paths, sets = find_models(models), real_sets(real)
    left_out: dict[str, str] = {}
    cases = prepare(scenes, sets, limit, left_out)
    sets = {name: entry for name, entry in sets.items() if name in cases}
    jobs = [(path, cases, work) for path in paths.values()]
    before = sum(kept is not None and kept.is_file() for kept in (kept_file(*job) for job in jobs))
    found: dict[Key, Found] = {}
    with progress(total=len(jobs), unit="model", desc="left out") as bar:
        if processes == 1:
            for key, job in zip(paths, jobs):
                found[key] = measure_file(*job)
                bar.update()
        else:
            import multiprocessing

            with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _one_thread) as pool:
                futures = {pool.submit(measure_file, *job): key for key, job in zip(paths, jobs)}
                for future in as_completed(futures):
                    found[futures[future]] = future.result()
                    bar.update()
    options = f"--scenes {scenes}" + (f" --real DIR --limit {limit}" if sets else "")
    return {
        "command": f"minisam transfer left-out {options}", "scenes": scenes, "objects": OBJECTS, "points": list(POINTS),
        "commit": commit(), "environment": environment(), "left_out": left_out, "kept": before,
        "models": [describe(key, path) for key, path in paths.items()], **summarise(found, sets),
    }  # fmt: skip


# ---- the command -----------------------------------------------------------------------------------------------------


def write(report: dict[str, Any], path: Path) -> None:
    """Write the report as JSON, and its page beside it."""
    from minisam.files.atomic import write_text

    write_text(path, json.dumps(report).replace('{"name"', '\n{"name"') + "\n")  # a line for each model and set
    write_text(path.with_suffix(".md"), page(report))


def jobs(
    models: Path = MODELS, real: Path | None = None, work: Path | None = None, processes: int = 2, scenes: int = 2,
    limit: int = 3,
) -> list[Job]:  # fmt: skip
    """The suite's job, of few scenes and images: an object takes about .2 s for each of 24 models."""

    def run() -> list[Table]:
        return tables(evaluate(models, scenes, real, limit, work, processes))

    options = f" --scenes {scenes}" + (f" --real DIR --limit {limit}" if real else "")
    return [Job("left-out", f"minisam transfer left-out{options}", run)]


def add(parsers: Any) -> None:
    """``minisam transfer left-out``: its options."""
    from minisam.console import positive

    parser = parsers.add_parser(
        "left-out",
        help="clicks on domains of the world that models never saw, beside those that they saw",
        description="Measure SAM and a network in RITM's manner, each trained without one of four groups of domains, "
        "on held-out scenes of every domain and on real images, by the protocols of minisam transfer clicks.",
    )
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help="default benchmarks/transfer/models")
    parser.add_argument("--scenes", type=positive, default=2, metavar="N", help="scenes of each domain (default 2)")
    parser.add_argument("--real", type=Path, metavar="DIR", help="sets of real images: DIR/train/* and DIR/dev/*")
    parser.add_argument("--limit", type=positive, default=6, metavar="N", help="images of each real set (default 6)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep each model's figures there, to go on from")
    parser.add_argument("--processes", type=positive, default=1, metavar="N", help="models at a time (default 1)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the report there, and a page beside it (.md)")
    parser.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """``minisam transfer left-out``."""
    from minisam.files.atomic import check_outputs, make_folder

    if options.json is not None:
        check_outputs([options.json])
        check_outputs([options.json, options.json.with_suffix(".md")])
    if options.work is not None:
        make_folder(options.work)
    report = evaluate(options.models, options.scenes, options.real, options.limit, options.work, options.processes)
    if options.json is not None:
        write(report, options.json)
    print("\n\n".join(markdown(table) for table in tables(report)))
    if report["left_out"]:
        print("\n" + "\n".join(f"left out {what}: {why}" for what, why in report["left_out"].items()))
    return 0
