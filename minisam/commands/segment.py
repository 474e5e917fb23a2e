"""``minisam segment``: masks for a prompt on an image."""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisam.commands.segment_text import run_all, text_predictor, understood, words_first
from minisam.console import add_model, compilation, load_model, progress
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from minisam.predictor import SamPredictor

LABELS = {"+": 1, "1": 1, "-": 0, "0": 0}


def point(text: str) -> tuple[float, float, int]:
    """``x,y`` or ``x,y,-`` → (x, y, label)."""
    parts = text.split(",")
    try:
        x, y = float(parts[0]), float(parts[1])
        label = LABELS[parts[2].strip()] if len(parts) > 2 else 1
    except (ValueError, IndexError, KeyError):
        parts = []
    if len(parts) not in (2, 3):
        raise argparse.ArgumentTypeError(f"expected x,y (foreground) or x,y,- (background), got {text!r:.60}")
    return x, y, label


def box(text: str) -> tuple[float, ...]:
    """``x0,y0,x1,y1`` → four numbers."""
    try:
        corners = tuple(float(part) for part in text.split(","))
    except ValueError:
        corners = ()
    if len(corners) != 4:
        raise argparse.ArgumentTypeError(f"expected x0,y0,x1,y1, got {text!r:.60}")
    return corners


def add(parsers: Any) -> None:
    """The command's options."""
    parser = parsers.add_parser(
        "segment",
        help="masks for points, a box, a mask or words on an image",
        description="Masks for a prompt on an image. Coordinates are pixels from the top left: x to the right, y down.",
    )
    parser.add_argument("image", metavar="IMAGE", help="JPEG, PNG, TIFF, WebP, …")
    points = "a point on the object; with ,- one off it"
    parser.add_argument("--point", metavar="X,Y[,-]", type=point, action="append", default=[], help=points)
    boxes = "a box around the object; several are one object each"
    parser.add_argument("--box", metavar="X0,Y0,X1,Y1", type=box, action="append", default=[], help=boxes)
    parser.add_argument("--mask", metavar="PNG", help="a rough mask of the image's size, white on black")
    words = 'words for it, "a red car" or "the wheel of the red car", alone or with points and a box (tiny only)'
    parser.add_argument("--text", metavar="WORDS", help=words)
    parser.add_argument("--all", action="store_true", help="with --text: every one that the words denote")
    parser.add_argument("--single", action="store_true", help="one mask, not the three of an ambiguous prompt")
    stretch = "percentile: for an image that uses little of its range, such as 12 bits in a 16-bit file"
    parser.add_argument("--stretch", choices=("percentile",), help=stretch)
    add_model(parser)
    parser.add_argument("-o", "--overlay", metavar="PNG", help="write the image with the most confident mask on it")
    parser.add_argument("--masks", metavar="PREFIX", help="write each mask: PREFIX_0.png, PREFIX_1.png, …")
    cutout = "write the image with transparency around the most confident mask"
    parser.add_argument("--cutout", metavar="PNG", help=cutout)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.set_defaults(run=run)


def _outputs(options: argparse.Namespace) -> tuple[dict[str, Path], list[Path]]:
    """Where the overlay, the cutout and the masks go; every path is checked before any work is done."""
    from minisam.files.atomic import check_ending, check_output

    named = {name: Path(path) for name in ("overlay", "cutout") if (path := getattr(options, name)) is not None}
    for name, path in named.items():
        check_ending(path, ".png", f"an {name}" if name == "overlay" else f"a {name}")
    numbers = range((1 if options.single else 3) * max(1, len(options.box)))
    masks = [Path(f"{options.masks}_{number}.png") for number in numbers] if options.masks is not None else []
    inputs = [path for path in (options.image, options.mask, options.checkpoint) if path is not None]
    places = [check_output(path, *inputs).resolve() for path in (*named.values(), *masks)]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise InputError(f"expected different files for the overlay, the cutout and the masks, got {place} twice")
    return named, masks


def run(options: argparse.Namespace) -> int:
    """Read, encode, decode, write; whatever is wrong with the input is found before anything is written."""
    if options.all:
        return run_all(options)
    if not (options.point or options.box or options.mask or options.text is not None):
        raise InputError("expected a prompt (--point, --box, --mask or --text), got none")
    if options.text is not None:
        options.text = understood(options.text)
        options.single |= bool(options.point or options.box or options.mask)  # words and a place mean one thing
    if len(options.box) > 1 and (options.point or options.mask or options.text is not None):
        raise InputError(f"expected --point, --mask and --text with one box, got {len(options.box)} boxes")
    named, mask_paths = _outputs(options)

    import numpy as np

    from minisam.files.atomic import atomic
    from minisam.files.images import nearly_black, read_image, read_mask, save_png
    from minisam.model.inputs import check_prompts
    from minisam.model.preprocess import binary_mask_to_logits
    from minisam.predictor import SamPredictor

    coords = np.array([[[x, y] for x, y, _ in options.point]]) if options.point else None
    labels = np.array([[label for *_, label in options.point]]) if options.point else None
    seconds: dict[str, float] = {}
    with progress(total=4, bar_format="{desc} {bar} {elapsed}") as bar, compilation(bar) as compiled:

        def step(name: str, start: float) -> float:
            seconds[name] = round(compiled.clock() - start, 4)
            bar.update()
            return compiled.clock()

        bar.set_description("image")
        start = compiled.clock()
        image = read_image(options.image, stretch=options.stretch)
        advice = nearly_black(image)
        size = (image.shape[0], image.shape[1])
        rough = read_mask(options.mask, size) if options.mask is not None else None
        inside = coords if coords is None else np.where(coords == size[::-1], coords - 1, coords)  # the edge will do
        check_prompts(size, inside, labels, strict=True)  # before the encoder's seconds
        with warnings.catch_warnings(record=True) as cut:
            warnings.simplefilter("always")
            boxes = check_prompts(size, boxes=options.box)[2] if options.box else None
        for line in [*(str(warning.message) for warning in cut), *([advice] if advice else [])]:
            print(f"minisam: {line}", file=sys.stderr)
        start = step("read", start)
        bar.set_description("weights")
        sam = load_model(options)
        predictor = SamPredictor(sam) if options.text is None else text_predictor(sam)
        start = step("load", start)
        bar.set_description("encoder")
        predictor.set_image(image)
        start = step("encode", start)
        bar.set_description("decoder")
        logits = None if rough is None else binary_mask_to_logits(rough, predictor.model.config)[None]
        ask = predictor.predict_batch if options.text is None else words_first(predictor, options.text)
        answer = ask(coords, labels, boxes, logits, multimask_output=not options.single)
        step("decode", start)
        masks, iou, low_res = (part.reshape(-1, *part.shape[2:]) for part in answer)  # of all prompts
        entries = describe(predictor, masks, iou, low_res)
    seconds["compile"] = round(compiled.seconds, 4)

    per_prompt = answer[1].shape[1]
    best = [int(i) for i in answer[1].argmax(axis=1) + per_prompt * np.arange(len(answer[1]))]
    corners = [] if boxes is None else boxes.tolist()
    for number, (entry, mask) in enumerate(zip(entries, masks)):
        entries[number] = _annotation(number, mask, options.image) | {"prompt": number // per_prompt} | entry
    report = {
        "photo": str(options.image),
        "width": image.shape[1],
        "height": image.shape[0],
        "model": predictor.model.config.name,
        "prompts": {
            "points": [{"x": x, "y": y, "label": label} for x, y, label in options.point],
            "box": corners[0] if len(corners) == 1 else None,
            "boxes": corners,
            "mask": options.mask,
            "text": options.text,
        },
        "masks": entries,
        "best": max(best, key=lambda number: iou[number]),
        "best_of_prompts": best,
        **{name: str(named[name]) if name in named else None for name in ("overlay", "cutout")},
        "seconds": seconds,
    }
    for entry, path in zip(entries, mask_paths):
        entry["file"] = str(path)
    with ExitStack() as files:  # every file is complete before the first one gets its name
        if "overlay" in named:
            save_png(files.enter_context(atomic(named["overlay"])), _drawn(image, masks[best], options.point, corners))
        if "cutout" in named:
            alpha = 255 * masks[best].any(axis=0).astype(np.uint8)
            save_png(files.enter_context(atomic(named["cutout"])), np.dstack([image, alpha]))
        for mask, path in zip(masks, mask_paths):
            save_png(files.enter_context(atomic(path)), mask)
    print(json.dumps(report, allow_nan=False) if options.json else table(report))
    return 0


def _drawn(
    image: np.ndarray, masks: np.ndarray, points: list[tuple[float, float, int]], boxes: list[list[float]]
) -> np.ndarray:
    """The image with masks (M, H, W), points and boxes on it."""
    from minisam.files.overlay import overlay

    drawn = overlay(image, masks, [(x, y) for x, y, _ in points], [label for *_, label in points])
    for corners in boxes:
        drawn = overlay(drawn, masks[:0], box=corners)
    return drawn


def _annotation(number: int, mask: np.ndarray, image: str) -> dict[str, Any]:
    """A mask as an annotation of COCO's: its keys, and the mask as compressed run lengths."""
    from minisam_kernels.masks import rle

    counts = rle.to_string(rle.encode(mask[None])[0]).decode()
    entry = {"id": number + 1, "image_id": Path(image).stem, "category_id": 1, "iscrowd": 0}
    return entry | {"segmentation": {"size": list(mask.shape), "counts": counts}}


def describe(predictor: SamPredictor, masks: np.ndarray, iou: np.ndarray, low_res: np.ndarray) -> list[dict[str, Any]]:
    """For each mask (H, W) its predicted IoU, area in pixels, box (x, y, width, height) and stability score.

    COCO's ``score`` is the predicted IoU. Stability is the mask's IoU between the thresholds +1 and −1 (in logits),
    counted in the image's pixels; None when the mask is empty at both.
    """
    from minisam.model.preprocess import postprocess_masks
    from minisam_kernels.masks.box_from_mask import box_from_mask

    entries = []
    for mask, confidence, logits, (x0, y0, x1, y1) in zip(masks, iou, low_res, box_from_mask(masks).tolist()):
        area = int(mask.sum())
        size = predictor.model.config.image_size
        inner, outer = (int(postprocess_masks(logits[None], mask.shape, size, at).sum()) for at in (1.0, -1.0))
        score = round(float(confidence), 6) if math.isfinite(confidence) else None
        stability = round(inner / outer, 6) if outer else None
        box = [x0, y0, x1 + 1 - x0, y1 + 1 - y0] if area else [0, 0, 0, 0]
        scores = {"predicted_iou": score, "score": score, "stability_score": stability}
        entries.append(scores | {"area": area, "bbox": box})
    return entries


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"{report['photo']}: {report['width']} × {report['height']}, model {report['model']}"]
    lines.append("mask  predicted IoU  stability      area  box (x, y, width, height)")
    for number, mask in enumerate(report["masks"]):
        stability = "    –" if mask["stability_score"] is None else f"{mask['stability_score']:5.3f}"
        confidence = "    –" if mask["predicted_iou"] is None else f"{mask['predicted_iou']:5.3f}"
        best = "  ← most confident" if number in report["best_of_prompts"] and len(report["masks"]) > 1 else ""
        box = ", ".join(map(str, mask["bbox"]))
        lines.append(f"{number:4}  {confidence:>13}  {stability:>9}  {mask['area']:8}  {box}{best}")
    seconds = report["seconds"]
    times = f"weights {seconds['load']:.2f} s, encoder {seconds['encode']:.3f} s, decoder {seconds['decode']:.4f} s"
    lines.append(times + (f", compiling {seconds['compile']:.1f} s (once)" if seconds["compile"] else ""))
    files = [report["overlay"], report["cutout"], *(mask.get("file") for mask in report["masks"])]
    return "\n".join(lines + [f"wrote {path}" for path in files if path])
