"""``minisam engine audit``: a folder of automatic masks, read, measured and put into tables.

    minisam engine audit OUT --truth DIR --json audit.json

OUT holds a JSON file per picture in SA-1B's schema, DIR one of the same name with the true masks; with ``--world`` the
name is the number of a scene of the world, of which everything is known. The report is::

    {"command", "commit", "environment", "left_out": {file: reason}, "diversity": {"automatic": …, "truth": …,
     "distance": …}, and with truth: "quality": …, "check": …, "agreement": …, "splits": {"chosen_on": n, "other": n},
     "curve": …, "choice": {…} or None, "on_other_split": {…} or None, "stored_at": {…}}

Thresholds are chosen on the first, third, fifth … picture by name, and tried on the others, on which they were not
chosen. A curve cannot know masks that the generator left out when it made OUT: ``stored_at`` are the lowest scores in
OUT, and below them the curve is flat. For a whole curve, annotate with thresholds of 0 and NMS of 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minisam.engine.audit import BOUNDS, MATCHED, audit, between, check, choose_thresholds, on_split, operating_curve
from minisam.engine.diversity import compare, describe, shapes_of
from minisam.engine.masks import Picture, as_picture
from minisam.files.records import read_json, read_record, walk
from minisam.transfer.intervals import text
from minisam.transfer.report import Table, markdown
from minisam_kernels import InputError

Truths = dict[str, Path]


# ---- reading ---------------------------------------------------------------------------------------------------------


def find(folder: Path) -> dict[str, Path]:
    """The JSON files below a folder by their names: the path from the folder, or from ``pictures`` (of a store) or
    ``annotations`` in it, without the ending."""
    named = {}
    for path in walk(folder):
        if path.suffix.lower() == ".json" and path != folder / "manifest.json":  # a store's own
            inner = path.relative_to(folder).with_suffix("")
            parts = inner.parts[1:] if inner.parts[0] in ("pictures", "annotations") else inner.parts
            named["/".join(parts) or inner.name] = path
    return named


def truth_of(name: str, truths: Truths) -> Path | None:
    """The truth's file of a picture: of the same path, else the only one of the same file name."""
    if name in truths:
        return truths[name]
    same = [path for path in truths.values() if path.stem == name.rpartition("/")[2]]
    return same[0] if len(same) == 1 else None


def read_picture(path: Path) -> Picture:
    """The masks of one file; ``InputError`` if it holds none in SA-1B's schema, or a picture's size is missing."""
    picture = as_picture(read_record(path).annotations)
    if picture.size is not None:
        return picture
    values = read_json(path)
    image = values.get("image") if isinstance(values, dict) else None
    height, width = (image.get(side) if isinstance(image, dict) else None for side in ("height", "width"))
    if not (isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0):
        raise InputError(f"expected the size of the picture in {path}, got none")
    return picture._replace(size=(height, width))


def scene_truth(name: str, size: tuple[int, int]) -> Picture:
    """The true masks of a scene of the world; ``InputError`` unless the name is its number and the picture a square."""
    from minisam.world import render

    number = name.rpartition("/")[2]
    if not number.isdecimal() or len(number) > 18 or size[0] != size[1]:
        raise InputError(f"expected a square picture named by a scene's number, got {number[:40]!r} of {size}")
    masks = [mask.segmentation for mask in render(int(number), size[0]).masks]
    return as_picture(masks)._replace(size=size)


def read_folders(
    out: Path, truth: Path | None, world: bool = False
) -> tuple[list[str], list[Picture], list[Picture], dict[str, str]]:
    """Names, automatic masks, true masks (none without ``truth`` or ``world``), and what was left out, with the reason.

    Raises
    ------
    InputError
        Where no picture is left.
    """
    for folder in (out, truth):
        if folder is not None and not folder.is_dir():
            raise InputError(f"expected a folder of masks in SA-1B's schema, got {folder}")
    truths = {} if truth is None else find(truth)
    names, found, true, left_out = [], [], [], {}
    for name, path in sorted(find(out).items()):
        try:
            picture = read_picture(path)
            beside = truth_of(name, truths)
            if truth is not None and beside is None:
                raise InputError(f"expected its truth in {truth}, got none")
            objects = picture if beside is None else read_picture(beside)
            if world and picture.size is not None:
                objects = scene_truth(name, picture.size)
            if objects.size != picture.size:
                raise InputError(f"expected masks of {objects.size} like its truth, got {picture.size}")
        except InputError as error:
            left_out[name] = str(error)
            continue
        names.append(name)
        found.append(picture)
        true.append(objects)
    if not names:
        why = f" ({next(iter(left_out.values()))})" if left_out else ""
        with_truth = "" if truth is None else f" with their truth in {truth}"
        raise InputError(f"expected masks in SA-1B's schema in {out}{with_truth}, got none{why}")
    return names, found, true if truth is not None or world else [], left_out


# ---- measuring -------------------------------------------------------------------------------------------------------


def agreement(truths: Sequence[Picture], pictures: int = 20) -> dict[str, Any]:
    """How well two people agree: mean IoU of the hurried annotator of ``minisam.world.annotators`` with the truth, over
    the objects of the first pictures that have any. The paper quotes .85 to .91 for people."""
    from minisam.world.annotators import annotate

    some = [picture.masks() for picture in truths if picture.counts][:pictures]
    iou = np.array([between(annotate(mask), mask) for masks in some for mask in masks if mask.any()])
    return {"objects": len(iou), "mean_iou": float(iou.mean()) if len(iou) else None}


def measure(
    found: Sequence[Picture], truths: Sequence[Picture], least: float = 0.9, bound: float = 0.75, pictures: int = 500,
) -> dict[str, Any]:  # fmt: skip
    """Everything in the report that depends on masks alone.

    Parameters
    ----------
    found, truths : sequence of Picture
        Automatic and true masks, picture by picture; without truths only the diversity is measured.
    least, bound : float
        Thresholds are chosen so that at least ``least`` of the masks have an IoU above ``bound``.
    pictures : int
        So many are corrected by the simulated person.
    """
    shapes = shapes_of(found)
    report: dict[str, Any] = {"diversity": {"automatic": describe(shapes)}}
    if not truths:
        return report
    true = shapes_of(truths)
    report["diversity"] |= {"truth": describe(true), "distance": compare(shapes, true)}
    report |= {"quality": audit(found, truths), "check": check(found, truths, pictures=pictures)}
    report["agreement"] = agreement(truths)
    scores = np.concatenate([[picture.predicted_iou, picture.stability] for picture in found], axis=1)
    if not scores.size or np.isnan(scores[0]).any():  # masks that no model scored, of people for example
        return report | {"curve": None, "choice": None, "on_other_split": None}
    curve = operating_curve(found[::2], truths[::2])
    report |= {"splits": {"chosen_on": len(found[::2]), "other": len(found[1::2])}, "curve": curve.as_json()}
    report["stored_at"] = {
        "pred_iou_thresh": float(scores[0].min()),
        "stability_score_thresh": None if np.isnan(scores[1]).all() else float(np.nanmin(scores[1])),
    }
    try:
        choice = choose_thresholds(curve, least, bound)
    except InputError as error:  # too few masks
        return report | {"choice": None, "on_other_split": None, "no_choice": str(error)}
    other = on_split(choice, found[1::2], truths[1::2]) if len(found) > 1 else None
    report["choice"] = dataclasses.asdict(choice) | {"reached": choice.reached}
    report["on_other_split"] = None if other is None else dataclasses.asdict(other) | {"reached": other.reached}
    return report


# ---- tables ----------------------------------------------------------------------------------------------------------

DEFINITIONS = {
    "all": f"all masks; those of no object (IoU below {MATCHED:g}) count as 0",
    "matched": "masks of an object only",
    "one_to_one": "each object taken once; the rest counts as 0",
}


def tables(report: dict[str, Any]) -> list[Table]:
    """The report as tables: quality, the check, thresholds, diversity."""
    result = []
    bounds = [f"{bound:g}" for bound in BOUNDS]

    def cells(entry: dict[str, Any]) -> list[Any]:
        return [None if entry[bound] is None else text(entry[bound]) for bound in bounds]

    if quality := report.get("quality"):
        rows = [[DEFINITIONS[name], *cells(entry)] for name, entry in quality["shares"].items()]
        rows.append(["objects that a mask reaches", *cells(quality["found"])])
        note = f"{quality['masks']} masks of {quality['pictures']} pictures with {quality['objects']} objects, "
        note += (
            f"{quality['masks_per_picture']:.1f} masks per picture; {quality['of_no_object']} masks are of no object. "
        )
        note += "In brackets 95 % of bootstrap means over pictures."
        head = [f"IoU above {bound}" for bound in bounds]
        result.append(Table("Automatic masks beside the truth", ["share of", *head], rows, [note]))
        checked = report["check"]
        rows = [
            ["automatic ∩ corrected, corrected masks", *cells(checked["shares"]["corrected"])],
            ["the same, deleted masks count as 0", *cells(checked["shares"]["deleted_as_0"])],
            ["paper: 500 pictures, about 50 000 masks", "0.94", "0.97"],
        ]
        people = report["agreement"]["mean_iou"]
        said = "–" if people is None else f"{people:.3f}"
        person = "–" if checked["person"] is None else f"{checked['person']:.3f}"
        note = (
            f"{checked['masks']} masks of {checked['pictures']} pictures: {checked['deleted']} were of no object and "
            f"deleted, {checked['untouched']} needed no change. The corrected masks have a mean IoU of {person} with "
            f"the truth. A hurried annotator has {said} with it; for people the paper quotes .85 to .91."
        )
        result.append(Table("A person corrects every mask", ["share of", *head], rows, [note]))
    if choice := report.get("choice"):
        rows = []
        for where, entry in (("chosen on", choice), ("other pictures", report["on_other_split"])):
            if entry is not None:
                count = report["splits"]["chosen_on" if where == "chosen on" else "other"]
                rows.append([where, count, entry["masks"], entry["per_picture"], entry["share"]])
        missed = "" if choice["reached"] else " No thresholds reach this: those of the highest share were taken."
        note = (
            f"Thresholds: predicted IoU above {choice['pred_iou_thresh']:g}, stability at least "
            f"{choice['stability_score_thresh']:g}: the largest yield with at least {choice['least']:.0%} of the masks "
            f"above {choice['bound']:g}.{missed}"
        )
        columns = ["split", "pictures", "masks", "masks per picture", f"share above {choice['bound']:g}"]
        result.append(Table("Chosen thresholds", columns, rows, [note]))
    return [*result, _diversity(report["diversity"])]


def _diversity(entry: dict[str, Any]) -> Table:
    """Medians and tails of both sets, and their distances."""
    sets = {name: entry[name] for name in ("automatic", "truth") if name in entry}
    rows: list[list[Any]] = [["masks per picture", *(one["masks_per_picture"] for one in sets.values())]]
    for name in ("size", "concavity"):
        for q, label in (("0.05", "5 %"), ("0.5", "median"), ("0.95", "95 %")):
            rows.append([f"{name}, {label}", *(one[name] and one[name][q] for one in sets.values())])
    columns = ["of the masks", *sets]
    if "distance" in entry:
        columns.append("distance")
        distance = {"size, median": "size", "concavity, median": "concavity"}
        for row in rows:
            row.append(entry["distance"][distance[row[0]]] if row[0] in distance else None)
        rows.append(["centre", *[None] * len(sets), entry["distance"]["centre"]])
    note = (
        "Size: √(mask / picture). Concavity: 1 − area / area of the convex hull; its distance is between masks of like "
    )
    note += "size. Distances: first Wasserstein; of centres total variation."
    return Table("Diversity", columns, rows, [note])


def page(report: dict[str, Any]) -> str:
    """The report as a page in Markdown."""
    from minisam.reports.tables import machine

    written = f"# Audit of automatic masks\n\n    {report['command']}\n\n"
    written += "\n\n".join(markdown(table) for table in tables(report))
    if report["left_out"]:
        written += "\n\n" + "\n".join(f"- left out {name}: {why}" for name, why in report["left_out"].items())
    return f"{written}\n\n{machine(report['environment'])}, commit {report['commit'] or '–'}.\n"


# ---- the command -----------------------------------------------------------------------------------------------------


def main(options: argparse.Namespace) -> int:
    """``minisam engine audit``."""
    from minisam.files.atomic import check_outputs, write_text
    from minisam.reports.environment import commit, environment

    if options.json is not None:
        check_outputs([options.json, options.json.with_suffix(".md")])
    if options.world and options.truth is not None:
        raise InputError("expected --truth or --world, got both")
    _, found, truths, left_out = read_folders(options.out, options.truth, options.world)
    command = "minisam engine audit OUT" + " --truth DIR" * (options.truth is not None) + " --world" * options.world
    command += f" --least {options.least:g} --pictures {options.pictures}" if truths else ""
    report = {"command": command, "commit": commit(), "environment": environment(), "left_out": left_out}
    report |= measure(found, truths, options.least, pictures=options.pictures)
    if options.json is not None:
        write_text(options.json, json.dumps(report, indent=1, allow_nan=False) + "\n")
        write_text(options.json.with_suffix(".md"), page(report))
    print("\n\n".join(markdown(table) for table in tables(report)))
    if left_out:
        print("\n" + "\n".join(f"left out {name}: {why}" for name, why in left_out.items()))
    return 0
