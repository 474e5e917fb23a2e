"""What is measured. A workload is plain data, so that it can be sent to a worker and kept in the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from minisam.benchmark import flops
from minisam.model.config import SamConfig

MATRIX = 2048  # side of the matrices whose product measures what BLAS can do
SUBSET = 64  # points of the grid that a peer gets in "everything": one batch; its time is scaled up


@dataclass(frozen=True)
class Workload:
    """``kind`` and ``options`` say to a contender what to do; ``per`` is what one measurement is divided by."""

    name: str
    title: str
    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    per: int = 1  # prompts in the batch: the report shows time a prompt
    peers: tuple[str, ...] | None = None  # None: all of them
    peer_options: dict[str, Any] = field(default_factory=dict)  # what is different for peers
    peer_scale: float = 1.0  # and what their time is multiplied by, for that
    note: str = ""

    def gflop(self, config: SamConfig) -> float | None:
        """Arithmetic of one measurement, in units of 1e9 operations, where it is counted."""
        if self.kind == "encode":
            return sum(flops.encoder(config).values()) / 1e9
        if self.kind == "prompts":
            return sum(flops.decoder(config, self.options["count"]).values()) / 1e9
        return None

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


def encode() -> Workload:
    """One image of the model's size, from uint8 pixels to the point where prompts may come."""
    return Workload("encode", "encode an image", "encode")


def prompts(count: int) -> Workload:
    """``count`` prompts of one point each in one call, from coordinates to three masks' logits per prompt."""
    title = "one prompt" if count == 1 else f"{count} prompts, each"
    return Workload(f"prompts-{count}", title, "prompts", {"count": count}, per=count)


def everything(
    side: int = 32, picture: int = 1024, full: bool = False, filtered: dict[str, float] | None = None, batch: int = 64
) -> Workload:
    """Every object of an encoded image. ``filtered``: thresholds; without, every candidate is kept until NMS."""
    points = side * side
    options: dict[str, Any] = {"points_per_side": side, "picture": picture, "points_per_batch": batch}
    options |= filtered or {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    subset = full or points <= SUBSET or side % 8 != 0
    scale = 1.0 if subset else points / SUBSET
    name = "everything-filtered" if filtered else "everything"
    title = f"everything, {side} × {side} points, {picture}² pixels, " + ("thresholds" if filtered else "no filter")
    note = "" if scale == 1 else f"peers ran {SUBSET} of {points} points, times {scale:g}"
    different = {} if scale == 1 else {"every": side // 8}
    return Workload(name, title, "everything", options, 1, ("reference",), different, scale, note)


def table(quick: bool, full: bool, filtered: dict[str, float]) -> list[Workload]:
    """The rows of the main table."""
    counts = (1, 4) if quick else (1, 16, 64, 256)
    side, picture = (8, 96) if quick else (32, 1024)
    return [
        encode(),
        *(prompts(count) for count in counts),
        everything(side, picture, full),
        everything(side, picture, full, filtered),
    ]


@dataclass(frozen=True)
class Series:
    """One curve or more: the cost for each value of ``axis``."""

    name: str
    axis: str
    points: list[tuple[int, Workload, int | None]]  # value, what to measure, threads (None: as in the rest)
    contenders: tuple[str, ...] = ("minisam",)


def predict(picture: int) -> Workload:
    """A click on an image of ``picture``² pixels, masks of the image's size included, after encoding."""
    return Workload(f"click-{picture}", f"a click on {picture}² pixels", "predict", {"picture": picture})


def scaling(quick: bool, threads: int, peers: tuple[str, ...]) -> list[Series]:
    """How cost grows with the number of prompts, points, pixels, the batch, and threads."""
    counts = (1, 2, 4) if quick else (1, 2, 4, 8, 16, 32, 64, 128, 256)
    sides = (2, 4) if quick else (8, 16, 24, 32, 48, 64)
    sizes = (64, 96) if quick else (256, 512, 1024, 2048, 4096)
    batches = (2, 8) if quick else (16, 64, 256, 1024)
    side, picture, many = (4, 96, 4) if quick else (16, 1024, 64)
    numbers = sorted({1, threads})
    heavy = [("encode", encode()), ("one prompt", prompts(1)), (f"{many} prompts", prompts(many))]
    heavy.append((f"everything, {side} × {side} points", everything(side, picture, True)))
    return [
        Series("prompts", "prompts in a call", [(n, prompts(n), None) for n in counts]),
        Series("points", "points per side", [(n, everything(n, picture, True), None) for n in sides]),
        Series("click-size", "image's side in pixels", [(n, predict(n), None) for n in sizes]),
        Series("size", "image's side in pixels", [(n, everything(side, n, True), None) for n in sizes]),
        Series("batch", "points per batch", [(n, everything(side, picture, True, batch=n), None) for n in batches]),
        *(
            Series(f"threads: {name}", "threads", [(n, work, n) for n in numbers], ("minisam", *peers[:1]))
            for name, work in heavy
            if work.kind != "everything"
        ),
        Series(f"threads: {heavy[-1][0]}", "threads", [(n, heavy[-1][1], n) for n in numbers]),
    ]
