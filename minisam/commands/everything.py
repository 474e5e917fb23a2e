"""``minisam everything``: the masks of all objects in an image."""

from __future__ import annotations

import argparse
import json
import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisam.console import add_model, compilation, load_model, progress
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import numpy as np


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
    "pred_iou_thresh": (number, ".88", "keep masks whose predicted IoU is above this; 0 keeps all"),
    "stability_score_thresh": (number, ".95", "keep masks that are at least this stable; 0 keeps all"),
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
        description="Masks for all objects in an image, as JSON in the schema of SA-1B, which pycocotools reads.",
    )
    parser.add_argument("image", metavar="IMAGE", help="JPEG, PNG, TIFF, WebP, …")
    parser.add_argument("-o", "--output", metavar="JSON", required=True, help="the file for the masks")
    parser.add_argument("--overlay", metavar="PNG", help="write the image with all masks on it")
    presets = "meta: the released code's defaults; sa1b: the paper's settings"
    parser.add_argument("--preset", metavar="NAME", default="meta", help=presets)
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

    if options.preset not in PRESETS:
        raise InputError(f"expected a preset among {', '.join(PRESETS)}, got {options.preset!r}")
    given = {name: getattr(options, name) for name in SETTINGS if getattr(options, name) is not None}
    settings = {"output_mode": "coco_rle"} | PRESETS[options.preset] | given
    if options.point_grids is not None:
        settings = {"points_per_side": None} | settings | {"point_grids": _read_grids(options.point_grids)}
    checked(**settings)
    if settings["output_mode"] == "binary_mask":
        raise InputError("expected output_mode coco_rle or uncompressed_rle for a file, got 'binary_mask'")
    return settings


def _read_grids(path: str) -> Any:
    try:
        grids = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"expected a file of points, got {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"expected a file of points in JSON, got {path}, which is none ({error})") from error
    if not isinstance(grids, list):
        raise InputError(f"expected a list of grids of points in {path}, got {type(grids).__name__}")
    return grids


def _outputs(options: argparse.Namespace) -> tuple[Path, Path | None]:
    """Where masks and overlay go; every path is checked before any work is done."""
    from minisam.files.atomic import check_output

    inputs = [path for path in (options.image, options.point_grids, options.checkpoint) if path is not None]
    output = check_output(options.output, *inputs)
    if options.overlay is None:
        return output, None
    overlay = check_output(options.overlay, *inputs)
    if overlay.suffix.lower() != ".png":
        raise InputError(f"expected an overlay whose name ends in .png, got {overlay.name!r}")
    if overlay.resolve() == output.resolve():
        raise InputError(f"expected different files for the masks and the overlay, got {output} for both")
    return output, overlay


def run(options: argparse.Namespace) -> int:
    """Read, find the masks, write; whatever is wrong with the input is found before anything is written."""
    output, overlay = _outputs(options)
    settings = _settings(options)

    from minisam.automatic.generator import SamAutomaticMaskGenerator
    from minisam.files.atomic import atomic
    from minisam.files.images import read_image, save_png
    from minisam.files.mosaic import mosaic

    image = read_image(options.image)
    generator = SamAutomaticMaskGenerator(load_model(options), **settings)
    points = 0
    with progress(desc="points", unit="") as bar, compilation(bar) as compiled:
        start = compiled.clock()

        def step(done: int, total: int) -> None:
            nonlocal points
            points, bar.total, bar.n = total, total, done
            bar.refresh()

        records = generator.generate(image, step)
        seconds = compiled.clock() - start

    report = as_sa1b(options.image, image.shape[:2], records)
    with ExitStack() as files:  # both files are complete before the first one gets its name
        with open(files.enter_context(atomic(output)), "w") as file:
            json.dump(report, file, allow_nan=False)
        if overlay is not None:
            pixels = mosaic(image, (_mask(record) for record in sorted(records, key=lambda record: -record["area"])))
            save_png(files.enter_context(atomic(overlay)), pixels)
    count = f"{len(records) or 'no'} mask{'s' * (len(records) != 1)}"
    print(f"{options.image}: {image.shape[1]} × {image.shape[0]}, model {generator.predictor.model.config.name}")
    compiling = f", compiling {compiled.seconds:.1f} s (once)" if compiled.functions else ""
    print(f"{count} from {points} points in {seconds:.2f} s{compiling}")
    funnel = generator.funnel
    assert funnel is not None
    print(funnel)
    if not records:
        best = f"predicted IoU {_most(funnel.predicted_iou)} (threshold {generator.pred_iou_thresh:g})"
        stable = f"stability {_most(funnel.stability)} (threshold {generator.stability_score_thresh:g})"
        print(f"the best {best}, the best {stable}")
    for path in filter(None, (output, overlay)):
        print(f"wrote {path}")
    return 0


def _most(scores: np.ndarray) -> str:
    """The highest of the scores that were measured."""
    return f"{scores[scores == scores].max():.3f}" if (scores == scores).any() else "not measured"


def _mask(record: dict[str, Any]) -> np.ndarray:
    """A record's mask, bool (H, W)."""
    from minisam_kernels.masks import rle

    runs = record["segmentation"]
    counts = runs["counts"]
    return rle.decode(rle.from_string(counts.encode()) if isinstance(counts, str) else counts, runs["size"])


def as_sa1b(image_path: str | Path, size: tuple[int, int], records: list[dict[str, Any]]) -> dict[str, Any]:
    """Records with run lengths as SA-1B's files hold them: the image, and an annotation for each mask.

    A stability of NaN, of a mask that is empty at both thresholds, becomes null: JSON has no NaN.
    """
    path = Path(image_path)
    annotations = []
    for index, record in enumerate(records):
        stability = record["stability_score"] if math.isfinite(record["stability_score"]) else None
        annotations.append({"id": index} | record | {"stability_score": stability})
    image = {"image_id": path.stem, "file_name": path.name, "width": size[1], "height": size[0]}
    return {"image": image, "annotations": annotations}
