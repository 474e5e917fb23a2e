"""Clicks and boxes, object by object: mean IoU of the masks, beside classical methods that get the same prompts.

From the centre point come three masks: the most confident one, by the model's own predicted IoU, and the best one,
which an oracle picks. Then the box, and up to nine clicks, each where the last mask is most wrong (``prompting``).
Also: is the predicted IoU right (``calibration``), are the masks stable, and on the world's held-out scenes, are the
three masks different things (``held_out``). ``baselines`` has the classical methods.
"""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.files.images import read_image
from minisam.files.records import decode_masks, find_records, read_record
from minisam.transfer import gallery
from minisam.transfer.baselines import SCALES, Baselines
from minisam.transfer.calibration import calibration, draw
from minisam.transfer.coco import flags
from minisam.transfer.held_out import THRESHOLDS, Case, ambiguity, measure_ambiguity, world_cases
from minisam.transfer.prompting import measure_model
from minisam_kernels import InputError

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor

CLICKS = 9
ROWS = {  # figure → what the table calls it
    "point_confident": "point, most confident of three",
    "point_best": "point, best of three",
    "point_single": "point, single-mask token",
    "point_felzenszwalb": f"point, Felzenszwalb region, scale {SCALES[1]:g}",
    "point_felzenszwalb_best": "point, Felzenszwalb region, best of three scales",
    "box_confident": "box, most confident of three",
    "box_best": "box, best of three",
    "box_single": "box, single-mask token",
    "box_grabcut": "box, GrabCut",
    "box_filled": "box, filled",
    **{f"clicks_{number}": f"{number} clicks" for number in range(2, CLICKS + 1)},
    "point_stability": "stability of the point's most confident mask",
    "box_stability": "stability of the box's most confident mask",
}


def find_pictures(folder: str | Path) -> list[tuple[Path, list[Path] | Path]]:
    """Find (image, its masks) below ``folder``: mask files that manifest.csv lists, or JSON in SA-1B's schema."""
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise InputError(f"expected a folder of images with masks, got {str(folder)[:200]}")
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        return list(find_records(folder))
    masks: dict[Path, list[Path]] = defaultdict(list)
    for row in _rows(manifest):
        if not row.get("image") or not row.get("mask"):
            raise InputError(f"expected the columns image and mask in every line of {manifest}, got {row}")
        masks[folder / row["image"]].append(folder / row["mask"])
    if not masks:
        raise InputError(f"expected at least one object in {manifest}, got none")
    return sorted(masks.items())


def _rows(manifest: Path) -> list[dict[str, str]]:
    """The lines of a CSV file in UTF-8, with or without a byte order mark, by the names in its first line."""
    try:
        with open(manifest, newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"expected a CSV file in UTF-8, got {manifest} ({error})") from error


def held_out_pictures(
    folder: str | Path, every: int, others: Sequence[str | Path] = ()
) -> list[tuple[Path, list[Path] | Path]]:
    """Return every ``every``-th image below ``folder``, from the first on: no training with this ``hold_out`` sees it.

    Left out are those of which that training sees a copy, byte by byte, in this folder or in ``others``.
    """
    pictures = find_pictures(folder)
    if every == 1:
        return pictures
    folders = {Path(one).resolve() for one in (folder, *others)}
    shown = {_digest(path) for one in folders for i, (path, _) in enumerate(find_pictures(one)) if i % every}
    return [entry for entry in pictures[::every] if _digest(entry[0]) not in shown]


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def read_masks(source: list[Path] | Path, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the masks of an image of ``size`` (H, W), bool (H, W) each; leave out those without a pixel, and crowds."""
    if isinstance(source, Path):
        for annotation in read_record(source).annotations:
            said = flags(annotation)
            if said["crowd"] or said["ignore"]:
                continue
            mask = decode_masks([annotation], size, source)[0]
            if mask.any():
                yield mask
        return
    for path in source:
        mask = read_image(path)[..., 0] > 127
        if mask.shape != size:
            raise InputError(f"expected a mask of {size} like its image, got {path} of {mask.shape}")
        if mask.any():
            yield mask


def folder_cases(
    folder: str | Path,
    limit: int | None,
    every: int = 1,
    others: Sequence[str | Path] = (),
    left_out: dict[str, str] | None = None,
) -> Iterator[Case]:
    """Yield the first ``limit`` images of a folder (``held_out_pictures``) with their objects.

    With ``left_out`` a bad image is noted there, with the reason, and the next one comes; else it is an error.
    """
    for path, source in held_out_pictures(folder, every, others)[:limit]:
        name = Path(os.path.relpath(path, folder)).as_posix()
        try:
            image = read_image(path)
            masks = list(read_masks(source, image.shape[:2]))
        except InputError as error:
            if left_out is None:
                raise
            left_out[name] = str(error)
            continue
        yield Case(name, image, masks)


def why(left_out: dict[str, str]) -> str:
    """The first reasons in brackets, for an error; "" if there is none."""
    reasons = "; ".join(f"left out {what}: {reason}" for what, reason in left_out.items())
    return f" ({reasons[:300]})" if reasons else ""


def evaluate(
    predictor: SamPredictor,
    folder: str | Path | None,
    limit: int | None = None,
    baselines: bool = True,
    clicks: int = CLICKS,
    world: int = 0,
    every: int = 1,
    others: Sequence[str | Path] = (),
) -> dict[str, Any]:
    """Measure mean IoU over the objects of the first ``limit`` images, and over images of their objects' means.

    ``every``: only every so many images, those that a training on this folder and ``others`` has not seen.
    Without a folder: ``world`` held-out scenes of the procedural world, at the model's own size.
    """
    from minisam.console import progress

    left_out: dict[str, str] = {}
    if folder is None:
        name, total = f"world, held out, {world} scenes", world
        cases = world_cases(world, predictor.model.config.image_size)
    else:
        name, total = Path(folder).resolve().name, len(held_out_pictures(folder, every, others)[:limit])
        cases = folder_cases(folder, limit, every, others, left_out)
    objects: list[dict[str, Any]] = []
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    ambiguous: list[tuple[list[float], np.ndarray]] = []
    with progress(total=total, unit="image", desc="transfer points") as bar:
        for case in cases:
            predictor.set_image(case.image)
            classical = Baselines(case.image) if baselines else None
            for number, truth in enumerate(case.masks):
                figures, more = measure_model(predictor, truth, clicks)
                figures |= classical.measure(truth) if classical else {}
                objects.append({"picture": case.name, "object": number, "area": int(truth.sum()), **figures})
                for kind, values in more.items():
                    pairs[kind] += values
            ambiguous += [measure_ambiguity(predictor, *part) for part in case.parts]
            bar.update()
    if not objects:
        raise InputError(f"expected at least one object with pixels in {name}, got none{why(left_out)}")
    keys = [key for key in ROWS if key in objects[0]]
    by_picture: dict[str, dict[str, float]] = {}
    for picture in dict.fromkeys(entry["picture"] for entry in objects):
        some = [entry for entry in objects if entry["picture"] == picture]
        by_picture[picture] = {key: float(np.mean([entry[key] for entry in some])) for key in keys}
    return {
        "folder": name,
        "model": predictor.model.config.name,
        "pictures": len(by_picture),
        "objects": len(objects),
        **({"left_out": left_out} if left_out else {}),
        "per_object": {key: float(np.mean([entry[key] for entry in objects])) for key in keys},
        "per_picture": {key: float(np.mean([means[key] for means in by_picture.values()])) for key in keys},
        "calibration": {kind: calibration(values) for kind, values in pairs.items()},
        **({"ambiguity": ambiguity(ambiguous)} if ambiguous else {}),
        "each": objects,
    }


def table(report: dict[str, Any]) -> str:
    """Write the means for people."""
    title = f"{report['folder']}: {report['pictures']} images, {report['objects']} objects, model {report['model']}"
    lines = [title, f"{'mean IoU':50} per object  per image"]
    for key, name in ROWS.items():
        if key in report["per_object"]:
            lines.append(f"{name:50} {report['per_object'][key]:10.3f}  {report['per_picture'][key]:11.3f}")
    lines.append(f"{'predicted against true IoU':30} {'masks':>8} predicted   true  error of bins  |difference|")
    for kind, entry in report["calibration"].items():
        means = f"{entry['predicted']:9.3f} {entry['true']:6.3f}"
        errors = f"{entry['error']:14.3f} {entry['mean_absolute']:13.3f}"
        lines.append(f"{kind.replace('_', ', '):30} {entry['masks']:8} {means} {errors}")
    if "ambiguity" in report:
        summary = report["ambiguity"]
        between = summary["median_iou_between_outputs"]
        lines.append(f"{summary['points']} points inside parts: median IoU between the three outputs {between:.3f}")
        for threshold in THRESHOLDS:
            shares = ", ".join(f"{name} {share:.0%}" for name, share in summary[f"found_at_{threshold:g}"].items())
            lines.append(f"found among the three with IoU ≥ {threshold:g}: {shares}")
    lines += [f"left out {what}: {reason}" for what, reason in report.get("left_out", {}).items()]
    return "\n".join(lines)


def main(options: argparse.Namespace) -> int:
    """``minisam transfer points``."""
    from minisam.console import load_model
    from minisam.files.atomic import check_outputs, write_text
    from minisam.predictor import SamPredictor

    check_outputs([options.json, options.plot, options.worst], options.checkpoint)
    if (options.folder is None) == (options.world is None):
        raise InputError("expected either a folder of images with masks or --world, got both or neither")
    if options.folder is not None:
        find_pictures(options.folder)
    model, baselines, world = SamPredictor(load_model(options)), not options.no_baselines, options.world or 0
    report = evaluate(model, options.folder, options.limit, baselines, options.clicks, world, options.every)
    if options.json is not None:
        write_text(options.json, json.dumps(report, indent=1) + "\n")
    if options.plot is not None:
        draw(report, options.plot)
    if options.worst is not None:
        size = model.model.config.image_size
        pictures = functools.partial(folder_cases, options.folder, options.limit, options.every, left_out={})
        again = world_cases(world, size) if world else pictures()
        gallery.draw(model, again, report, options.worst)
    print(table(report))
    return 0
