"""``minisam segment --text``: words as a prompt for one mask, and with ``--all`` for every one that they denote."""

from __future__ import annotations

import argparse
import json
import sys
import unicodedata
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisam.console import compilation, load_model, progress
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.predictor import Answer, SamPredictor
    from minisam.sam import Sam


def understood(text: str) -> str:
    """The text in words that the towers know; on stderr, what was put in the place of others."""
    from minisam.clip.vocabulary import known

    if any(letter.isalpha() and not unicodedata.name(letter, "").startswith("LATIN") for letter in text):
        raise InputError(f"expected English words, got {text!r:.60}")
    words = known(text)
    for unknown, noun in words.replaced.items():
        print(f"minisam: {unknown} → {noun}: the nearest word that the model knows", file=sys.stderr)
    return words.text


def text_predictor(sam: Sam) -> SamPredictor:
    """A predictor for words over ``sam``'s encoder."""
    from minisam.text.predictor import TextPredictor, with_text

    return TextPredictor(with_text(sam))


def words_first(predictor: SamPredictor, text: str) -> Callable[..., Answer]:
    """``predict_batch`` of a ``text_predictor`` with these words in every prompt."""
    from minisam.text.predictor import TextPredictor

    assert isinstance(predictor, TextPredictor)
    return partial(predictor.predict_embeddings, predictor.embed_texts([text]))


def run_all(options: argparse.Namespace) -> int:
    """Find every mask that the words denote, write it, say so."""
    if options.text is None:
        raise InputError("expected --text with --all, got none (minisam everything finds all masks without words)")
    if options.point or options.box or options.mask or options.single:
        raise InputError("expected --text alone with --all, got another prompt or --single too")

    import numpy as np

    from minisam.automatic.crops import OWN_THRESHOLDS
    from minisam.automatic.generator import SamAutomaticMaskGenerator
    from minisam.clip import load as load_clip
    from minisam.files.atomic import atomic, check_ending, check_output
    from minisam.files.formats import as_sa1b
    from minisam.files.images import read_image, save_png
    from minisam.files.overlay import overlay
    from minisam.text.instances import Instances

    named = {name: Path(path) for name in ("overlay", "cutout") if (path := getattr(options, name)) is not None}
    for name, path in named.items():
        check_ending(path, ".png", f"an {name}" if name == "overlay" else f"a {name}")
    prefix = [] if options.masks is None else [Path(f"{options.masks}_0.png")]
    for path in (*named.values(), *prefix):
        check_output(path, options.image)
    if len({path.resolve() for path in named.values()}) < len(named):
        raise InputError(f"expected different files for the overlay and the cutout, got {options.overlay} twice")
    clip = load_clip()
    text = understood(options.text)
    vector = clip.embed_text([text])[0]  # before the seconds of the grid
    image = read_image(options.image, stretch=options.stretch)
    sam = load_model(options)
    settings: dict[str, Any] = {"output_mode": "coco_rle", **OWN_THRESHOLDS.get(sam.config.name, {})}
    generator = SamAutomaticMaskGenerator(sam, **settings)
    with progress(desc="points", unit="") as bar, compilation(bar):

        def step(done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        instances = Instances(image, generator, clip, step)
    records = instances.nearest(vector)
    masks = np.array([instances.masks[record.pop("mask")] for record in records], bool).reshape(-1, *image.shape[:2])
    report = as_sa1b(options.image, image.shape[:2], records, Path(options.image).name)
    for entry in report["annotations"]:
        entry["score"] = entry["similarity"]
    report["text"], report["model"], report["candidates"] = text, sam.config.name, len(instances.records)
    files = [Path(f"{options.masks}_{number}.png") for number in range(len(masks))] if options.masks is not None else []
    with ExitStack() as stack:
        if "overlay" in named:
            save_png(stack.enter_context(atomic(named["overlay"])), overlay(image, masks))
        if "cutout" in named:
            alpha = 255 * masks.any(axis=0).astype(np.uint8)
            save_png(stack.enter_context(atomic(named["cutout"])), np.dstack([image, alpha]))
        for mask, path in zip(masks, files):
            save_png(stack.enter_context(atomic(path)), mask)
    written = [str(path) for path in (*named.values(), *files)]
    print(json.dumps(report, allow_nan=False) if options.json else table(report, options.image, written))
    return 0


def table(report: dict[str, Any], image: str, written: list[str]) -> str:
    """The report for people."""
    size = f"{report['image']['width']} × {report['image']['height']}"
    found, candidates = len(report["annotations"]), report["candidates"]
    lines = [f"{image}: {size}, model {report['model']}, {report['text']!r}: {found} of {candidates} masks"]
    if found:
        lines.append("mask  similarity  predicted IoU      area  box (x, y, width, height)")
    for number, entry in enumerate(report["annotations"]):
        box = ", ".join(map(str, entry["bbox"]))
        scores = f"{entry['similarity']:10.3f}  {entry['predicted_iou']:13.3f}"
        lines.append(f"{number:4}  {scores}  {entry['area']:8}  {box}")
    return "\n".join(lines + [f"wrote {path}" for path in written])
