"""``minisam everything``: the masks of all objects in an image, or in each of many."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisam.console import add_model, compilation, explain, load_model, need, progress
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from minisam.automatic.generator import SamAutomaticMaskGenerator
    from minisam.files.batches import Job


def whole(text: str) -> int:
    """A whole number, of any sign: the range is the argument's own."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None


def number(text: str) -> float:
    """A number; the range is the argument's own."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None


# argument of SamAutomaticMaskGenerator → its kind, its default, what it does
SETTINGS: dict[str, tuple[Any, str, str]] = {
    "points_per_side": (whole, "32", "the grid's points along each side"),
    "points_per_batch": (whole, "64", "points between two steps of the progress bar"),
    "pred_iou_thresh": (number, ".88", "keep masks whose predicted IoU is above this; 0 or less keeps all; tiny: .5"),
    "stability_score_thresh": (number, ".95", "keep masks at least this stable; 0 or less keeps all; tiny: .5"),
    "stability_score_offset": (number, "1", "how far the threshold moves for the stability, in logits"),
    "box_nms_thresh": (number, ".7", "masks of a crop whose boxes overlap more are duplicates"),
    "crop_n_layers": (whole, "0", "layer i also looks at 2^i by 2^i crops"),
    "crop_nms_thresh": (number, ".7", "masks of different crops whose boxes overlap more are duplicates"),
    "crop_overlap_ratio": (number, ".341", "what neighbouring crops share, of the shorter side"),
    "crop_n_points_downscale_factor": (whole, "1", "each layer has so many times fewer points along each side"),
    "min_mask_region_area": (whole, "0", "fill smaller holes and remove smaller islands, in pixels"),
    "output_mode": (str, "coco_rle", "how the file holds masks: coco_rle or uncompressed_rle"),
}


def add(parsers: Any) -> None:
    """The command's options."""
    parser = parsers.add_parser(
        "everything",
        help="masks for all objects in an image",
        description="Masks for all objects in an image, as JSON in the schema of SA-1B, which pycocotools reads, or in "
        "other formats. Of several images, and of those in a folder and its sub-folders, each has a file of its own in "
        "the folder OUT; images whose files are there are skipped, so that a run that was stopped can go on.",
    )
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="JPEG, PNG, TIFF, WebP, …, or a folder of images")
    where = "the file for the masks; for several images or formats a folder"
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help=where)
    formats = (
        "sa1b (the default), coco (in a folder: instances.json for all images), labelme, yolo, geojson or png (16 bits "
        "a pixel, its mask's id); can be given several times"
    )
    parser.add_argument("--format", metavar="FORMAT", action="append", help=formats)
    overlay = "write the image with all masks on it; for several images a folder"
    parser.add_argument("--overlay", metavar="PNG", help=overlay)
    stretch = "percentile: make the 0.5th percentile black and the 99.5th white, for images that are nearly black"
    parser.add_argument("--stretch", metavar="METHOD", help=stretch)
    presets = "meta: the released code's defaults; sa1b: the paper's settings; without it the model's own thresholds"
    parser.add_argument("--preset", metavar="NAME", help=presets)
    add_model(parser)
    for name, (kind, default, text) in SETTINGS.items():
        metavar = "MODE" if kind is str else "N" if kind is whole else "X"
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, metavar=metavar, type=kind, help=f"{text} (default {default})")
    parser.add_argument(
        "--point-grids", metavar="JSON", help="own points in place of a grid: for each layer a list of [x, y] in 0 … 1"
    )
    parser.set_defaults(run=run)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The generator's arguments: the preset's, and over them those that were given. All are checked."""
    from minisam.automatic.crops import PRESETS, checked

    if options.preset is not None and options.preset not in PRESETS:
        raise InputError(f"expected a preset among {', '.join(PRESETS)}, got {options.preset!r}")
    given = {name: getattr(options, name) for name in SETTINGS if getattr(options, name) is not None}
    settings = {"output_mode": "coco_rle"} | PRESETS[options.preset or "meta"] | given
    if options.point_grids is not None:
        settings = {"points_per_side": None} | settings | {"point_grids": _read_grids(options.point_grids)}
    checked(**settings)
    if settings["output_mode"] == "binary_mask":
        raise InputError("expected output_mode coco_rle or uncompressed_rle for a file, got 'binary_mask'")
    return settings


def _read_grids(path: str) -> Any:
    from minisam.files.records import read_json

    grids = read_json(Path(path), "a file of points in JSON")
    if not isinstance(grids, list):
        raise InputError(f"expected a list of grids of points in {path}, got {type(grids).__name__}")
    return grids


def run(options: argparse.Namespace) -> int:
    """Read, find the masks, write; whatever is wrong with the arguments is found before the model is loaded."""
    from minisam.files.batches import plan, reports_of
    from minisam.files.formats import FORMATS, POLYGONS
    from minisam.files.images import STRETCHES

    formats = options.format or ["sa1b"]
    wrong = [kind for kind in formats if kind not in FORMATS]
    if wrong:
        raise InputError(f"expected a format among {', '.join(FORMATS)}, got {wrong[0]!r}")
    if set(formats) & set(POLYGONS):
        need("formats", "shapely")
    if options.stretch not in STRETCHES:
        raise InputError(f"expected the stretch percentile, got {options.stretch!r}")
    settings = _settings(options)
    inputs = [path for path in (options.point_grids, options.checkpoint) if path is not None]
    batch = plan(options.images, options.output, formats, options.overlay, inputs)
    work = _Work(options, settings)
    if batch.folder is None:
        work.do(batch.jobs[0])
        return 0

    todo = [job for job in batch.jobs if not job.done]
    failed = 0
    for number, job in enumerate(todo, 1):
        try:
            work.do(job, f"{number}/{len(todo)} ")
        except BrokenPipeError:  # of what is printed
            raise
        except (InputError, MemoryError, OSError) as error:  # the others go on
            failed += 1
            _, message = explain(error)
            print(f"minisam: error: {message}{'' if str(job.image) in message else f' ({job.image})'}", file=sys.stderr)
    if "coco" in formats:
        _write_coco(batch.folder / "instances.json", reports_of(batch.jobs))
    done, skipped = len(todo) - failed, len(batch.jobs) - len(todo)
    more = {"skipped, whose files were there": skipped, "failed": failed, "other files passed over": batch.passed_over}
    words = [f"{done} image{'s' * (done != 1)} done", *(f"{number} {what}" for what, number in more.items() if number)]
    print(f"{', '.join(words)}; files in {batch.folder}")
    return 2 if failed else 0


class _Work:
    """What is done with each image. The model is loaded once the first image is read."""

    def __init__(self, options: argparse.Namespace, settings: dict[str, Any]) -> None:
        self.options, self.settings = options, settings

    @cached_property
    def generator(self) -> SamAutomaticMaskGenerator:
        """Without a preset a model's own thresholds stand in for those that were not given."""
        from minisam.automatic.crops import OWN_THRESHOLDS
        from minisam.automatic.generator import SamAutomaticMaskGenerator

        model = load_model(self.options)
        own = {} if self.options.preset is not None else OWN_THRESHOLDS.get(model.config.name, {})
        return SamAutomaticMaskGenerator(model, **(own | self.settings))

    def do(self, job: Job, count: str = "") -> None:
        """Find an image's masks, write its files, say so."""
        from minisam.files.images import nearly_black, read_image

        image = read_image(job.image, self.options.stretch)
        advice = nearly_black(image)
        if advice is not None:
            print(f"minisam: {job.image}: {advice}", file=sys.stderr)
        generator = self.generator
        points = 0
        with progress(desc=f"{count}points", unit="") as bar, compilation(bar) as compiled:
            start = compiled.clock()

            def step(done: int, total: int) -> None:
                nonlocal points
                points, bar.total, bar.n = total, total, done
                bar.refresh()

            records = generator.generate(image, step)
            seconds = compiled.clock() - start
        _write(job, image, records)
        size = f"{image.shape[1]} × {image.shape[0]}"
        number = f"{len(records) or 'no'} mask{'s' * (len(records) != 1)}"
        if count:
            print(f"{job.image}: {size}, {number} in {seconds:.2f} s")
        else:
            print(f"{job.image}: {size}, model {generator.predictor.model.config.name}")
            compiling = f", compiling {compiled.seconds:.1f} s (once)" if compiled.functions else ""
            print(f"{number} from {points} points in {seconds:.2f} s{compiling}")
            print(generator.funnel)
        if not records:
            print(_nothing(generator))
        if not count:
            for path in job.paths:
                print(f"wrote {path}")


def _write(job: Job, image: np.ndarray, records: list[dict[str, Any]]) -> None:
    """All files of an image: they are complete before the first one gets its name."""
    from minisam.files.atomic import atomic
    from minisam.files.formats import as_sa1b, mask_of, write
    from minisam.files.images import save_png
    from minisam.files.mosaic import mosaic

    report = as_sa1b(job.image, image.shape[:2], records, job.name)
    with ExitStack() as files:
        for kind, path in job.outputs:
            near = os.path.relpath(os.path.realpath(job.image), os.path.realpath(path.parent))
            write(files.enter_context(atomic(path)), kind, report, near)
        if job.overlay is not None:
            pixels = mosaic(image, (mask_of(record) for record in sorted(records, key=lambda record: -record["area"])))
            save_png(files.enter_context(atomic(job.overlay)), pixels)


def _write_coco(path: Path, parts: list[Path]) -> None:
    from minisam.files.atomic import atomic
    from minisam.files.formats import read_report, write_coco

    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        write_coco(file, map(read_report, parts))


def _nothing(generator: SamAutomaticMaskGenerator) -> str:
    """Why there is no mask, and which options would give some."""
    funnel = generator.funnel
    assert funnel is not None
    best = f"predicted IoU {_most(funnel.predicted_iou)} (threshold {generator.pred_iou_thresh:g})"
    stable = f"stability {_most(funnel.stability)} (threshold {generator.stability_score_thresh:g})"
    advice = [f"--{name.replace('_', '-')} {value}" for name, value in funnel.advice().items()]
    return f"the best {best}, the best {stable}" + (f"; try {' '.join(advice)}" if advice else "")


def _most(scores: np.ndarray) -> str:
    """The highest of the scores that were measured."""
    return f"{scores[scores == scores].max():.3f}" if (scores == scores).any() else "not measured"
