"""Proposals: how many of an image's objects are among the 10, 100, 1000 best masks, whatever they are called?

The paper's second task (section 7.3): a grid of 64 × 64 points, three masks each, nothing filtered but duplicates (NMS
of boxes at .9), about 900 masks of an image. Which ones are the best the paper does not say; the authors rank them by
the mean of predicted IoU and stability, and score without classes (segment-anything, issue 205). The figure is average
recall, AR@k (``average_precision``), of all objects and by size: small, medium and large are COCO's areas in pixels of
the image at its own size (32², 96²), so at 320 pixels "large" is a tenth of the image or more. Where categories have a
frequency (LVIS) or scenes have levels (the world: whole, part, subpart), also of each of them.

Measured, tiny at 640 × 480: 18 s of processor time per image, for 12288 masks; 6 s with 32 × 32 points.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.console import add_model, load_model, positive, progress
from minisam.transfer.report import Job, Table, markdown
from minisam.transfer.stored_models import GROUPS, MODELS
from minisam_kernels import InputError

if TYPE_CHECKING:
    from minisam.sam import Sam
    from minisam.transfer.average_precision import Objects
    from minisam.transfer.sets import LabelledSet

GRID, NMS = 64, 0.9
LIMITS = (10, 100, 1000)
LEVELS = {0: "whole", 1: "part", 2: "subpart"}

Case = tuple[np.ndarray, "list[Objects]"]  # an image, and what each person drew in it


def propose(
    model: Sam, image: np.ndarray, grid: int = GRID, nms: float = NMS, most: int = LIMITS[-1]
) -> tuple[list[np.ndarray], np.ndarray, int]:
    """Ask about a grid of points and rank the answers.

    Parameters
    ----------
    model : Sam
    image : ndarray, shape (H, W, 3), uint8
    grid : int
        Points along a side.
    nms : float
        Of masks whose boxes have a larger IoU, the one of the higher predicted IoU stays.
    most : int
        How many of the best ones are returned.

    Returns
    -------
    counts : list of ndarray
        The best masks' run lengths, the best one first.
    scores : ndarray, float64
        The mean of predicted IoU and stability; the stability of 0/0 counts as 0.
    number : int
        Masks that were left after NMS.
    """
    from minisam.automatic.generator import SamAutomaticMaskGenerator
    from minisam_kernels.masks import rle

    generator = SamAutomaticMaskGenerator(model, grid, 64, 0.0, 0.0, box_nms_thresh=nms, output_mode="coco_rle")
    records = [record for record in generator.generate(image) if record["area"]]
    scores = np.array([(r["predicted_iou"] + np.nan_to_num(r["stability_score"])) / 2 for r in records], float)
    best = np.argsort(-scores, kind="stable")[:most]
    return [rle.from_string(records[i]["segmentation"]["counts"]) for i in best], scores[best], len(records)


def set_cases(labelled: LabelledSet) -> Iterator[Case]:
    """Yield the images of a set with what is drawn in them; bad ones are noted in it."""
    from minisam.transfer.average_precision import Objects

    for image in labelled:
        with labelled.skipping(image):
            case = image.read(), [Objects.drawn(one) for one in image.per_annotator()]
            yield case


def world_cases(count: int, size: int, domains: Sequence[str] | None = None) -> Iterator[Case]:
    """Yield held-out scenes with every mask of at least 32 pixels of 256², as a category each level."""
    from minisam.transfer.average_precision import Objects
    from minisam.transfer.held_out import MIN_SHARE
    from minisam.world import HELD_OUT, render
    from minisam_kernels.masks import rle

    numbers = {name: number for number, name in LEVELS.items()}
    for seed in range(HELD_OUT, HELD_OUT + count):
        scene = render(seed, size) if domains is None else render(seed, size, domain=[*domains])
        chosen = [mask for mask in scene.masks if mask.segmentation.sum() >= MIN_SHARE * size * size]
        counts = [rle.encode(mask.segmentation[None])[0] for mask in chosen]
        yield scene.image, [Objects.of(counts, size, [numbers[mask.level] for mask in chosen])]


def evaluate(
    model: Sam,
    labelled: LabelledSet | None = None,
    world: int = 0,
    domains: Sequence[str] | None = None,
    grid: int = GRID,
    nms: float = NMS,
    limits: Sequence[int] = LIMITS,
) -> dict[str, Any]:
    """Measure average recall on a set, or on ``world`` held-out scenes (of ``domains``) at the model's own size.

    Raises ``InputError`` if there is nothing to be found: no image that can be read, or crowds only.
    """
    from minisam.transfer.average_precision import Objects, Tally
    from minisam.transfer.labelled import LabelledSet

    if labelled is None:
        size = model.config.image_size
        title, total, groups = f"world, held out, {world} scenes at {size} px", world, LEVELS
        cases: Iterator[Case] = world_cases(world, size, domains)
    else:
        title, total, groups = labelled.name, len(labelled), labelled.groups
        cases = set_cases(labelled)
    tally = Tally(limits, by_category=False, groups=groups, curves=False)
    images, objects, regions, masks, start = 0, 0, 0, 0, time.perf_counter()
    with progress(total=total, unit="image", desc="transfer proposals") as bar:
        for image, people in cases:
            counts, scores, number = propose(model, image, grid, nms, limits[-1])
            answers = Objects.of(counts, image.shape[0], score=scores)
            for drawn in people:
                tally.add(drawn, answers)
                objects, regions = objects + int((~drawn.crowd).sum()), regions + int(drawn.crowd.sum())
            images, masks = images + 1, masks + number
            bar.update()
    if not objects:
        raise (labelled or LabelledSet(title, [])).nothing("an object to be found", images, regions)
    return {
        "set": title,
        "model": model.config.name,
        "grid": grid,
        "nms": nms,
        "images": images,
        "objects": objects,
        "masks_per_image": masks / images,
        "images_per_minute": 60 * images / (time.perf_counter() - start),
        "figures": tally.summary(),
        "left_out": {} if labelled is None else labelled.left_out,
    }


def tables(reports: dict[str, dict[str, Any]]) -> list[Table]:
    """One row for each report, under the name that it has."""
    keys = [f"AR@{limit}" for limit in LIMITS]
    figures = next(iter(reports.values()))["figures"]
    keys += [key for key in figures if key.startswith(f"{keys[-1]}_")]
    columns = ["", *(name(key.partition("_")[2]) or key for key in keys)]
    rows = [[label, *(report["figures"].get(key) for key in keys)] for label, report in reports.items()]
    notes = [
        f"{label}: {r['images']} images, {r['objects']} objects, {r['masks_per_image']:.0f} masks per image after NMS, "
        f"{r['grid']} × {r['grid']} points, {r['images_per_minute']:.1f} images per minute"
        for label, r in reports.items()
    ]
    notes += [f"{label}: left out {what}: {why}" for label, r in reports.items() for what, why in r["left_out"].items()]
    return [Table(f"Average recall; by size and group at {LIMITS[-1]}", columns, rows, notes)]


def name(part: str) -> str:
    """A subset's name for people."""
    return {"r": "rare", "c": "common", "f": "frequent"}.get(part, part)


# ------------------------------------------------------------------------------------------------------------ command


def add(parsers: Any) -> None:
    """``minisam transfer proposals`` and its options."""
    parser = parsers.add_parser(
        "proposals",
        help="average recall of automatic masks: AR@10, 100, 1000",
        description="How many objects are among the best 10, 100, 1000 masks of a grid of points, ranked by the mean "
        "of predicted IoU and stability, without classes: by size (COCO's areas, in pixels of the image itself), and "
        "by frequency or level where a set has them.",
    )
    add_data(parser)
    add_model(parser)
    parser.add_argument("--world", type=positive, metavar="N", help="N held-out scenes of the world, no data")
    parser.add_argument("--grid", type=positive, default=GRID, metavar="N", help=f"N × N points (default {GRID})")
    what = f"of two masks whose boxes have a larger IoU, one is left out (default {NMS})"
    parser.add_argument("--nms", type=float, default=NMS, metavar="IOU", help=what)
    parser.add_argument("--json", metavar="PATH", help="write the figures as JSON as well")
    parser.set_defaults(run=run)


def add_data(parser: argparse.ArgumentParser) -> None:
    """A set, its images, which of them."""
    what = "COCO's or LVIS' JSON, or a folder: SA-1B's schema, manifest.csv, VOC, DAVIS"
    parser.add_argument("data", metavar="DATA", nargs="?", help=what)
    parser.add_argument("--images", metavar="DIR", help="the folder of a JSON file's images")
    parser.add_argument("--split", metavar="NAME", help="VOC, DAVIS: only the names in ImageSets/…/NAME.txt")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N images")
    every = "only every N-th image: those that minisam train --hold-out N has never shown"
    parser.add_argument("--every", type=positive, default=1, metavar="N", help=every)


def run(options: argparse.Namespace) -> int:
    """``minisam transfer proposals``."""
    from minisam.files.atomic import check_outputs, write_text
    from minisam.transfer.sets import read_set

    if (options.data is None) == (options.world is None):
        raise InputError("expected either images with masks or --world, got both or neither")
    if not 0 <= options.nms <= 1:
        raise InputError(f"expected --nms from 0 to 1, got {options.nms:g}")
    labelled = None
    if options.data is not None:
        labelled = read_set(options.data, options.images, options.split, options.limit, options.every)
    check_outputs([options.json], options.data, options.checkpoint)
    report = evaluate(load_model(options), labelled, options.world or 0, None, options.grid, options.nms)
    if options.json is not None:
        write_text(options.json, json.dumps(report, indent=1) + "\n")
    print(*map(markdown, tables({f"{report['model']}, {report['set']}": report})), sep="\n\n")
    return 0


# -------------------------------------------------------------------------------------------------------------- suite


def jobs(real: Path | None = None) -> list[Job]:
    """The world with the domains that a model never saw; with ``real``, tiny on the sets in that folder."""
    found = [Job("proposals-left-out", "minisam transfer suite --only proposals-left-out", _left_out)]
    for folder in sorted(real.iterdir()) if real is not None else []:
        if folder.is_dir():
            command = f"minisam transfer proposals {folder} --limit 4 --grid 32"
            found.append(Job(f"proposals-{folder.name}", command, partial(_real, folder)))
    return found


def _left_out(scenes: int = 12) -> list[Table]:
    """Each group of domains: the model that was trained without it, beside one that was trained without another."""
    from minisam.checkpoints.loading import load

    names = list(GROUPS)
    reports = {}
    for i, group in enumerate(names):
        for label, trained in ((f"{group}, left out", group), (f"{group}, seen", names[i - 1])):
            model = load(MODELS / f"sam-{trained}-0.safetensors")
            reports[label] = evaluate(model, world=scenes, domains=GROUPS[group])
    return tables(reports)


def _real(folder: Path) -> list[Table]:
    from minisam.checkpoints.loading import load
    from minisam.transfer.sets import read_set

    return tables({f"tiny (has seen), {folder.name}": evaluate(load("tiny"), read_set(folder, limit=4), grid=32)})
