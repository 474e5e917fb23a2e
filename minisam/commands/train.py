"""``minisam train``, ``pretrain`` and ``pack``: make a model from the command line, to be stopped and continued."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

from minisam.console import count, need, positive
from minisam.training.settings import CHOICES, PretrainSettings, Settings, option, read_settings
from minisam_kernels.runtime.errors import InputError

# option → (kind, help); names, defaults and choices are those of minisam.training.settings
COMMON: dict[str, tuple[Any, str]] = {
    "model": (str, "whose sizes it has"),
    "depth": (count, "blocks of the encoder; 0: the model's own number"),
    "width": (count, "its width, heads of 64; 0: the model's own"),
    "size": (positive, "side of the training images in pixels"),
    "steps": (positive, "steps in all"),
    "batch": (positive, "images per step"),
    "optimizer": (str, "muon: for the matrices, adamw for the rest"),
    "others": (float, "share of the learning rate for what muon leaves to adamw"),
    "lr": (float, "highest learning rate"),
    "final_lr": (float, "learning rate at the last step"),
    "decay": (str, "how it falls; steps: by 10 at each --drop"),
    "drops": (positive, "a step at which it falls by 10, with --decay steps; repeatable"),
    "warmup": (count, "steps until the learning rate is at its highest"),
    "weight_decay": (float, "AdamW's weight decay"),
    "layer_decay": (float, "factor on the learning rate for each block of the encoder below the last"),
    "drop_path": (float, "share of the last block's branches left out (stochastic depth)"),
    "clip": (float, "longest gradient"),
    "average": (float, "how much the running average of the weights keeps at step t, at most: t / (t + 10)"),
    "precision": (str, "of products"),
    "world": (float, "share of images from the procedural world, 0 to 1; 0 if --data is given without it"),
    "hold_out": (count, "never show every N-th image of a set, to measure on it (see minisam transfer); 0: show all"),
    "init": (str, "weights to start from, nothing else: a file, a training's folder, or tiny (it comes with minisam)"),
    "seed": (count, "seed of everything random"),
}
TRAIN: dict[str, tuple[Any, str]] = {
    "masks": (positive, "masks per image"),
    "rounds": (positive, "rounds of prompts for each mask; the paper has 11"),
    "multimask": (str, "what a first round grades: best of three, mean of three, or the single mask"),
    "mask_feedback": (bool, "do not show the last mask's logits to later rounds"),
    "focal": (float, "weight of the focal loss"),
    "dice": (float, "weight of the dice loss"),
    "colours": (float, "how much the colours of real images are changed, 0 to 1"),
    "paste": (float, "how often an object of another image is pasted into a real one, 0 to 1"),
    "zoom": (float, "how often a world image is a window of a scene drawn twice as large, 0 to 1"),
    "leave_out": (str, "a domain of the world that is never shown, to measure transfer to it; repeatable"),
}
PRETRAIN: dict[str, tuple[Any, str]] = {
    "masked": (float, "share of hidden patches"),
    "unit": (positive, "patches are hidden in squares of so many"),
}
MOST_WORKERS = 256


def _add_options(parser: argparse.ArgumentParser, options: dict[str, tuple[Any, str]], kind: Any, data: str) -> None:
    """An option for every setting of ``kind``, and those that say where and for how long."""
    parser.add_argument("folder", metavar="FOLDER", help="where the training lives; made if need be")
    parser.add_argument("--data", metavar="PATH", action="append", default=[], help=f"{data}; repeatable")
    defaults = kind()
    for name, (parse, text) in options.items():
        value, flag = getattr(defaults, name), option(name)
        if parse is bool:
            text = f"{text} (default: they are shown)"
            parser.add_argument(f"--no-{flag[2:]}", dest=name, action="store_false", default=None, help=text)
            continue
        shown = "none" if value in ("", ()) else str(value)
        metavar = f"{{{','.join(CHOICES[name])}}}" if name in CHOICES else {"init": "PATH"}.get(name, flag[2:3].upper())
        action = "append" if isinstance(value, tuple) else "store"
        text = f"{text} (default {shown})"
        parser.add_argument(flag, dest=name, type=parse, action=action, metavar=metavar, help=text)
    parser.add_argument("--config", metavar="PATH", help="a JSON file of settings; options given beside it win")
    parser.add_argument("--init-raw", action="store_true", help="of a folder, the last weights and not their average")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where to compute (default cpu)")
    parser.add_argument("--workers", type=count, default=1, metavar="N", help="processes making images (default 1)")
    minutes = "stop after so long, saved (default: no limit). Without --steps their number is planned, from the speed "
    minutes += "of the first, so that the learning rate comes to its end in that time; the warm-up is a quarter at most"
    parser.add_argument("--minutes", type=float, default=math.inf, metavar="M", help=minutes)
    parser.add_argument("--compile", action="store_true", help="let torch compile the losses, on a GPU the model too")
    parser.add_argument("--compact", action="store_true", help="smaller checkpoints: the optimiser's moments as bf16")
    parser.add_argument("--plot", action="store_true", help="only draw FOLDER/log.jsonl into FOLDER/log.png")


def add(parsers: Any) -> None:
    """The commands' options. One that is not given keeps the default of ``Settings`` or ``PretrainSettings``."""
    train = parsers.add_parser(
        "train",
        help="train a model; the same command continues it",
        description="Train a model in FOLDER: weights.safetensors holds the running average, raw.safetensors the last "
        "step's weights, checkpoint.pt is for going on. Ctrl-C stops after saving; the same command continues. "
        "Several GPUs or machines: torchrun --nproc-per-node N -m minisam train FOLDER …",
    )
    _add_options(train, COMMON | TRAIN, Settings, "images with masks in SA-1B's schema, or a packed file")
    train.add_argument("--record", action="store_true", help="in one process on a GPU: play each step as a recording")
    train.set_defaults(run=run)

    pretrain = parsers.add_parser(
        "pretrain",
        help="pretrain the image encoder on images without masks (masked autoencoding)",
        description="Hide most of each image and learn to draw it. weights.safetensors is for minisam train --init; "
        "reconstruction.png shows images, what is seen of them, and what the model makes of it.",
    )
    _add_options(pretrain, COMMON | PRETRAIN, PretrainSettings, "a folder of images, or a packed file")
    pretrain.set_defaults(run=run_pretrain)

    pack = parsers.add_parser("pack", help="pack folders of images with masks into one small file for training")
    pack.add_argument("folders", nargs="+", metavar="FOLDER", help="images with masks in SA-1B's schema")
    pack.add_argument("-o", "--output", required=True, metavar="FILE", help="what to write")
    pack.add_argument("--side", type=positive, default=384, metavar="S", help="longest side in pixels (default 384)")
    pack.add_argument("--quality", type=positive, default=75, metavar="Q", help="of the JPEG images (default 75)")
    pack.add_argument("--max-mb", type=positive, default=50, metavar="MB", help="largest file (default 50)")
    stretch = "percentile: brighten images that use little of their range, such as 12 bits in 16-bit files"
    pack.add_argument("--stretch", choices=["percentile"], help=stretch)
    pack.set_defaults(run=run_pack)


def _settings(options: argparse.Namespace, kind: Any, names: dict[str, tuple[Any, str]]) -> Any:
    """The settings that file and options name, checked.

    With data and no share of the world named, none of the images are the world's. Without a number of steps it is
    that of the training in the folder, or as many as there are minutes for, or the default.
    """
    from minisam.training.initialisation import find_weights

    given = read_settings(options.config, kind) if options.config else {}
    given |= {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.data:
        given["data"] = tuple(options.data)
    if given.get("data"):
        given.setdefault("world", 0.0)
    if math.isfinite(options.minutes) or (Path(options.folder) / "checkpoint.pt").exists():
        given.setdefault("steps", 0)
    given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    if given.get("init"):
        weights = find_weights(given["init"], options.init_raw)
        given["init"] = given["init"] if given["init"] in CHOICES["model"] else str(weights)
    settings = kind(**given)
    settings.check()
    return settings


def _train(options: argparse.Namespace, settings: Any, bare: bool) -> Any:
    """Check everything, then train; the trainer, and whether it is done."""
    began = time.monotonic()
    if not options.minutes > 0:
        raise InputError(f"expected --minutes above 0, got {options.minutes:g}")
    if options.workers > MOST_WORKERS:  # each is a process: thousands of them stop the machine
        raise InputError(f"expected --workers of at most {MOST_WORKERS}, got {options.workers}")
    folder = Path(options.folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"expected a folder for the training, got the file {folder}")

    from minisam.training import distributed
    from minisam.training.initialisation import find_weights
    from minisam.training.loop import Trainer
    from minisam.training.packed import Packed
    from minisam.training.sources import open_sources

    if settings.init:
        from minisam.checkpoints.checkpoint import read_checkpoint

        read_checkpoint(find_weights(settings.init))
    sources: list[Any] = []
    for path in settings.data:
        for source in open_sources(path, bare):
            if not isinstance(source, Packed):  # it is checked when it is opened
                source.check()
            sources.append(source)
    group = distributed.join(options.device)
    recorded = getattr(options, "record", False)  # the autoencoder has no such thing
    trainer = Trainer(settings, folder, group, options.compile, options.compact, recorded)
    if group.leads:
        print(_mixture(settings.world, sources), file=sys.stderr)
    try:
        reason = trainer.run(options.workers, options.minutes - (time.monotonic() - began) / 60)
    finally:
        group.leave()
    if reason in ("interrupted", "terminated"):
        raise KeyboardInterrupt(f"stopped at step {trainer.step}; the same command goes on from there")
    return trainer, group, reason


def _mixture(world: float, sources: list[Any]) -> str:
    """What the images are, in one line."""
    sets = ", ".join(f"{source.name} ({len(source)})" for source in sources)
    shares = [f"{world:.0%} of the procedural world"] if world else []
    shares += [f"{1 - world:.0%} of {sets}, each set as often"] if sets and world < 1 else []
    return f"images: {'; '.join(shares)}"


def run(options: argparse.Namespace) -> int:
    """``minisam train``."""
    need("reference", "torch")
    if options.plot:
        return _plot(options)
    settings = _settings(options, Settings, COMMON | TRAIN)
    trainer, group, reason = _train(options, settings, bare=False)
    if group.leads:
        _report(trainer, reason)
    return 0


def run_pretrain(options: argparse.Namespace) -> int:
    """``minisam pretrain``."""
    need("reference", "torch")
    if options.plot:
        return _plot(options)
    from minisam.training.autoencoder import figure

    trainer, group, reason = _train(options, _settings(options, PretrainSettings, COMMON | PRETRAIN), bare=True)
    if group.leads:
        figure(trainer, trainer.folder / "reconstruction.png")
        _report(trainer, reason)
    return 0


def _report(trainer: Any, reason: str) -> None:
    from minisam.training.log import read_log

    weights = trainer.folder / "weights.safetensors"
    if reason:
        of = f" of {trainer.settings.steps}" if trainer.settings.steps else ", too early to plan their number"
        print(f"stopped at step {trainer.step}{of}; the same command goes on from there")
    entries = read_log(trainer.folder) if (trainer.folder / "log.jsonl").is_file() else []
    loss = f", loss {entries[-1]['loss']:.4g}" if entries else ""
    print(f"trained {trainer.step} steps{loss}; the weights are in {weights}")


def _plot(options: argparse.Namespace) -> int:
    need("book", "matplotlib")
    from minisam.training.log import plot

    print(plot(options.folder))
    return 0


def run_pack(options: argparse.Namespace) -> int:
    """``minisam pack``."""
    need("reference", "torch")
    if options.quality > 95:
        raise InputError(f"expected --quality from 1 to 95, got {options.quality}")
    from minisam.training.pack import pack

    limit = options.max_mb * 1_000_000
    report = pack(options.folders, options.output, options.side, options.quality, limit, options.stretch)
    for entry in report["sets"]:
        terms = entry["terms"].partition("\n")[0]
        print(f"{entry['name']:20} {entry['pictures']:6} images  {terms}")
    print(f"{report['pictures']} images, {report['bytes'] / 1e6:.1f} MB in {options.output}")
    return 0
