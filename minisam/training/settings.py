"""Everything that decides a training's result, as frozen dataclasses: what resuming compares and a log records.

``Common`` is what all trainings share, ``Settings`` the training of a whole model, ``PretrainSettings`` that of the
encoder alone, ``TextSettings`` that of the decoder for words. Where and how fast it runs (device, workers, minutes) is
not here: it may change when one resumes.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from minisam.model.config import CONFIGS, SamConfig, get_config
from minisam_kernels import InputError

MULTIMASK = ("best", "mean", "single")
CHOICES = {
    "model": tuple(CONFIGS),
    "precision": ("float32", "bf16"),
    "decay": ("linear", "cosine", "steps"),
    "optimizer": ("adamw", "muon"),
    "multimask": MULTIMASK,
}

AnySettings = TypeVar("AnySettings", bound="Common")


@dataclasses.dataclass(frozen=True)
class Common:
    """``data`` are folders in SA-1B's schema or packed files, of which every ``hold_out``-th image is never shown;
    ``world`` is the share of procedural images; ``size`` the input's side in pixels (weights are stretched when it is
    not the model's own); ``steps`` 0 are as many as ``Trainer.run`` has minutes for. ``init`` are weights to begin
    with; ``depth`` and ``width`` make another encoder than the model's own; ``optimizer`` is AdamW, or Muon with AdamW
    for the rest, at ``others`` times the learning rate (see ``optimiser``). That rate warms up, then falls to
    ``final_lr`` in a straight line, along half a cosine, or by 10 at each of the steps ``drops``; ``layer_decay``
    multiplies it for every block of the encoder counted from the top. ``average`` is what the running average of the
    weights keeps at a step t, or t / (t + 10) if that is less."""

    model: str = "tiny"
    depth: int = 0
    width: int = 0
    size: int = CONFIGS["tiny"].image_size
    steps: int = 1000
    batch: int = 16
    optimizer: str = "adamw"
    others: float = 1.0
    lr: float = 8e-4
    final_lr: float = 0.0
    decay: str = "linear"
    drops: tuple[int, ...] = ()
    warmup: int = 250
    weight_decay: float = 0.1
    layer_decay: float = 1.0
    drop_path: float = 0.0
    clip: float = 1.0
    average: float = 0.999
    precision: str = "float32"
    world: float = 1.0
    data: tuple[str, ...] = ()
    hold_out: int = 0
    init: str = ""
    seed: int = 0

    def config(self) -> SamConfig:
        """Return the model's configuration at the training's size.

        A ``depth`` has global attention half-way and at the end, a ``width`` has heads of 64.
        """
        config = get_config(self.model)
        if self.depth:
            blocks = tuple(sorted({max(0, self.depth // 2 - 1), self.depth - 1}))
            config = dataclasses.replace(config, encoder_depth=self.depth, encoder_global_attn_indexes=blocks)
        if self.width:
            if self.width % 64:
                raise InputError(f"expected --width to be a multiple of 64, got {self.width}")
            config = dataclasses.replace(config, encoder_embed_dim=self.width, encoder_num_heads=self.width // 64)
        if self.size % config.patch_size:
            raise InputError(f"expected --size to be a multiple of the patch, {config.patch_size}, got {self.size}")
        return dataclasses.replace(config, image_size=self.size)

    def learning_rate(self, step: int) -> float:
        """Return the rate of a step: it warms up linearly from ``lr`` / ``warmup``, then it decays."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.decay == "steps":
            return self.lr / 10 ** sum(step >= drop for drop in self.drops)
        done = (step - self.warmup) / max(1, self.steps - self.warmup) if self.steps else 0.0
        if self.decay == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return self.lr + (self.final_lr - self.lr) * done

    def planned(self: AnySettings, steps: int) -> AnySettings:
        """Return the settings with so many steps, at most a quarter of which are the warm-up."""
        return dataclasses.replace(self, steps=steps, warmup=min(self.warmup, steps // 4))

    def check(self) -> None:
        """Raise ``InputError`` for what no training can do."""
        self.config()
        for name in ("others", "lr", "final_lr", "weight_decay", "layer_decay", "drop_path", "average", "world"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"expected {option(name)} from 0 to 1, got {value:g}")
        if self.drop_path == 1:
            raise InputError("expected --drop-path below 1, got 1: nothing would be left of the last block")
        for name in ("seed", "depth", "width", "warmup", "steps"):
            if getattr(self, name) < 0:
                raise InputError(f"expected {option(name)} of 0 or more, got {getattr(self, name)}")
        if self.batch < 1:
            raise InputError(f"expected --batch above 0, got {self.batch}")
        if self.hold_out == 1 or self.hold_out < 0:
            raise InputError(f"expected --hold-out of 2 or more, or 0 for none, got {self.hold_out}")
        if not 0 < self.clip < math.inf:
            raise InputError(f"expected --clip above 0, got {self.clip:g}")
        for name, known in CHOICES.items():
            if getattr(self, name, known[0]) not in known:
                raise InputError(f"expected {option(name)} among {', '.join(known)}, got {getattr(self, name)!r}")
        if self.drops and self.decay != "steps":
            raise InputError(f"expected --decay steps with --drop, got {self.decay!r}")
        if self.data and self.world == 1:
            raise InputError("expected --world below 1 with --data, got 1: none of its images would be shown")
        if not self.data and self.world < 1:
            given = f"--world {self.world:g}"
            raise InputError(f"expected --data for the images that are not of the world, got {given} alone")

    def plain(self) -> dict[str, Any]:
        """Return the settings as JSON has them: lists for tuples."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


@dataclasses.dataclass(frozen=True)
class Settings(Common):
    """The training of appendix A: ``masks`` per image, ``rounds`` of prompts for each, the loss ``focal`` · focal +
    ``dice`` · dice + (predicted − true IoU)². ``multimask``: a first round grades the best of the three masks, the mean
    of the three, or the single-mask token alone; ``mask_feedback``: later rounds see the last mask's logits.
    ``colours`` and ``paste`` change real images (see ``augment``): how much, and how often; ``zoom`` is how often an
    image of the world is a window of a scene twice as large; ``leave_out`` are domains of the world never shown."""

    masks: int = 4
    rounds: int = 3
    multimask: str = "best"
    mask_feedback: bool = True
    focal: float = 20.0
    dice: float = 1.0
    colours: float = 0.0
    paste: float = 0.0
    zoom: float = 0.0
    leave_out: tuple[str, ...] = ()

    def check(self) -> None:
        super().check()
        remaining_domains(self.leave_out)
        for name in ("colours", "paste", "zoom"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"expected {option(name)} from 0 to 1, got {getattr(self, name):g}")
        for name in ("masks", "rounds"):
            if getattr(self, name) < 1:
                raise InputError(f"expected {option(name)} above 0, got {getattr(self, name)}")
        for name in ("focal", "dice"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"expected {option(name)} of 0 or more, got {getattr(self, name):g}")


@dataclasses.dataclass(frozen=True)
class PretrainSettings(Common):
    """Masked autoencoding: ``masked`` is the share of hidden tokens, hidden in squares of ``unit`` × ``unit``."""

    masked: float = 0.75
    unit: int = 2

    def check(self) -> None:
        super().check()
        grid = self.config().image_embedding_size
        if not 0 < self.masked < 1:
            raise InputError(f"expected --masked between 0 and 1, got {self.masked:g}")
        if self.unit < 1 or grid % self.unit:
            raise InputError(f"expected --unit to divide the grid of {grid} tokens, got {self.unit}")


@dataclasses.dataclass(frozen=True)
class TextSettings(Common):
    """``scenes`` is a folder of ``count`` scenes of the world, each shown with ``masks`` masks (see ``text_prompts``).
    Masks whose crops have a cosine of ``alike`` or more are right answers to each other; ``noise`` moves a crop vector
    by that share of its length. ``pool`` shrinks image embeddings and masks: a beginning with 2 costs a quarter.
    ``towers`` are others than those that come with minisam. ``start`` is the folder of an earlier tuning that goes on;
    if its towers were others, the projection is fitted to the new ones, so that every crop keeps its token as far as a
    linear map can do that."""

    scenes: str = "scenes"
    count: int = 1500
    masks: int = 5
    batch: int = 4
    steps: int = 3000
    optimizer: str = "muon"
    others: float = 0.3
    lr: float = 1e-3
    warmup: int = 30
    decay: str = "cosine"
    average: float = 0.995
    precision: str = "bf16"
    alike: float = 0.9
    noise: float = 0.0
    pool: int = 1
    towers: str = ""
    start: str = ""

    def check(self) -> None:
        super().check()
        if not (0 <= self.alike <= 1 and 0 <= self.noise < math.inf):
            raise InputError(f"expected alike from 0 to 1 and noise of 0 or more, got {self.alike:g}, {self.noise:g}")
        if self.pool not in (1, 2):
            raise InputError(f"expected pool 1 or 2, got {self.pool}")
        if self.count < 1 or self.masks < 3:
            raise InputError(f"expected a count above 0 and masks from 3 on, got {self.count} and {self.masks}")


def remaining_domains(leave_out: Sequence[str]) -> tuple[str, ...] | None:
    """Return the domains of the world without those left out; None for all of them, which draws as before."""
    if not leave_out:
        return None
    from minisam.world.domains.catalogue import DOMAINS  # which imports numba: not for --help

    unknown = [name for name in leave_out if name not in DOMAINS]
    if unknown:
        raise InputError(f"expected --leave-out among {', '.join(DOMAINS)}, got {', '.join(unknown)}")
    remaining = tuple(name for name in DOMAINS if name not in leave_out)
    if not remaining:
        raise InputError(f"expected --leave-out for fewer than all {len(DOMAINS)} domains, got all of them")
    return remaining


def option(name: str) -> str:
    """Return a setting's name on the command line."""
    return "--drop" if name == "drops" else "--" + name.replace("_", "-")


def typed(name: str, value: Any) -> str:
    """Return what one types for a setting's value; "no --data" where that is nothing."""
    if isinstance(value, bool):
        return f"--no-{option(name)[2:]}" if not value else f"no --no-{option(name)[2:]}"
    values = value if isinstance(value, (list, tuple)) else [value] if value != "" else []
    return " ".join(f"{option(name)} {shlex.quote(str(one))}" for one in values) or f"no {option(name)}"


def read_settings(path: str | Path, kind: type[AnySettings]) -> dict[str, Any]:
    """Read the settings in a JSON file, and check their names and types."""
    from minisam.files.records import read_json  # which imports Pillow: not for --help

    path = Path(path)
    values = read_json(path, "settings as JSON")
    if not isinstance(values, dict):
        raise InputError(f"expected a table of settings in {path}, got {type(values).__name__}")
    known = {field.name: field.default for field in dataclasses.fields(kind)}
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise InputError(f"expected settings among {', '.join(known)} in {path}, got {', '.join(unknown)}")
    return {name: _as_default(name, value, known[name], path) for name, value in values.items()}


def _as_default(name: str, value: Any, default: Any, path: Path) -> Any:
    """Return ``value`` in the type of the setting's default; a whole number will do where a fraction may stand."""
    if isinstance(default, tuple) and isinstance(value, list):
        kind = int if name == "drops" else str
        if any(type(entry) is not kind for entry in value):
            raise InputError(f"expected {name} in {path} as a list of {kind.__name__}, got {value!r}")
        return tuple(_as_default(name, entry, entry, path) for entry in value)
    if type(value) is int and abs(value) >= 1 << 63:
        raise InputError(f"expected {name} in {path} of at most 63 bits, got {value.bit_length()} bits")
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise InputError(f"expected {name} in {path} like {default!r}, got {value!r}")
    return value
