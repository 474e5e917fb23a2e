"""``minisam train``: train a model from the command line, to be stopped and continued at will."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from minisam.commands.options import count, need, positive
from minisam_kernels.errors import InputError

# option → (kind, help); the names and the defaults are those of minisam.training.loop.Settings
OPTIONS: dict[str, tuple[Any, str]] = {
    "model": (str, "tiny, vit_b, vit_l or vit_h"),
    "size": (positive, "side of the training pictures in pixels"),
    "steps": (positive, "steps in all"),
    "batch": (positive, "pictures a step"),
    "masks": (positive, "masks a picture"),
    "rounds": (positive, "rounds of prompts for each mask"),
    "lr": (float, "highest learning rate"),
    "final_lr": (float, "learning rate at the last step"),
    "warmup": (count, "steps until the learning rate is at its highest"),
    "weight_decay": (float, "AdamW's weight decay"),
    "average": (float, "how much the running average of the weights keeps at each step"),
    "world": (float, "share of pictures from the procedural world, 0 to 1"),
    "init": (str, "weights to start from (.safetensors)"),
    "seed": (count, "seed of everything random"),
}


def add(parsers: Any) -> None:
    """The command's options. One that is not given keeps the default of ``Settings``."""
    parser = parsers.add_parser(
        "train",
        help="train a model; the same command continues it",
        description="Train a model in FOLDER: weights.safetensors is the result so far, checkpoint.pt is for going on. "
        "Ctrl-C stops after saving; the same command continues.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="where the training lives; made if need be")
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        action="append",
        default=[],
        help="pictures with masks in SA-1B's schema; repeatable",
    )
    for name, (kind, text) in OPTIONS.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=kind, metavar="PATH" if name == "init" else name[0].upper(), help=text)
    parser.add_argument("--workers", type=count, default=1, metavar="N", help="processes making pictures (default 1)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check everything, then train."""
    need("reference", "torch")
    if options.world is not None and not 0 <= options.world <= 1:
        raise InputError(f"expected --world from 0 to 1, got {options.world:g}")
    for name in ("lr", "final_lr", "weight_decay", "average"):
        value = getattr(options, name)
        if value is not None and not 0 <= value <= 1:
            raise InputError(f"expected --{name.replace('_', '-')} from 0 to 1, got {value:g}")
    folder = Path(options.folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"expected a folder for the training, got the file {folder}")

    from minisam.training.data import find_records
    from minisam.training.loop import Settings, Trainer

    if options.init:
        from minisam.checkpoint import read_checkpoint

        read_checkpoint(options.init)
    for data in options.data:
        find_records(data)
    given = {name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None}
    settings = Settings(**given, data=tuple(options.data))
    settings.config()
    if not settings.data and settings.world < 1:
        raise InputError(
            f"expected --data for the pictures that are not of the world, got --world {settings.world:g} alone"
        )
    trainer = Trainer(settings, folder)
    try:
        trainer.run(options.workers)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped at step {trainer.step}; the same command goes on from there") from None
    print(f"trained {trainer.step} steps; the weights are in {folder / 'weights.safetensors'}")
    return 0
