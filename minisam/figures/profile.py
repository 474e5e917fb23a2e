"""Where the time goes: the measured stages of an image or of a prompt, beside the arithmetic that they do.

Stages come from ``minisam.benchmark.profile``, operations from ``minisam.benchmark.flops``, and the rate that they are
compared with is that of NumPy's own matrix products (BLAS) on the same machine. 1 GFLOP/s is 1e9 operations per second,
where multiplications and additions count alike.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from minisam.benchmark import flops
from minisam.benchmark.profile import profiled
from minisam.figures.shared import bench_data
from minisam.figures.shared.states import Axis, State, states
from minisam.model.config import CONFIGS, SamConfig
from minisam.reports.tables import seconds as duration
from minisam_kernels.runtime.errors import InputError
from minisam_kernels.runtime.threads import num_threads, parallel_for

if TYPE_CHECKING:
    import ipywidgets

    from minisam.sam import Sam

JOBS = {"encode": "encode an image", "one prompt": "one prompt"}
ROWS = 9  # bars at most; what is smaller is put together
# kind of work → colour, hatching
LOOKS = {"products": ("#0072B2", ""), "attention": ("#E69F00", "//"), "other": ("#999999", "..")}


@dataclass(frozen=True)
class Profile:
    """Stages (name, seconds) of a job of a model, and the rate of matrix products on that machine, GFLOP/s."""

    title: str
    stages: list[tuple[str, float]]
    config: SamConfig
    peak: float | None


def matrix_rate(side: int = 1024, times: int = 4) -> float:
    """GFLOP/s of the best of some products of (side, side) matrices. Each thread of the pool has a share of the rows.

    The model multiplies in the same way: BLAS has one thread, and ``minisam_kernels.runtime.threads`` call it.
    """
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, side, side), np.float32)
    out, best, part = np.empty_like(a), np.inf, -(-side // num_threads())
    for _ in range(times):
        start = time.perf_counter()
        parallel_for(
            lambda i: np.matmul(a[i * part : (i + 1) * part], b, out=out[i * part : (i + 1) * part]), num_threads()
        )
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / 1e9 / best


def operations(config: SamConfig) -> dict[str, int]:
    """Operations of the encoder by the profile's stages. Their sum is that of ``flops.encoder``."""
    everywhere = len(config.encoder_global_attn_indexes)
    counts = {}
    for kind, depth in (("windowed", config.encoder_depth - everywhere), ("global", everywhere)):
        indexes = tuple(range(depth)) if kind == "global" else ()
        part = flops.encoder(replace(config, encoder_depth=depth, encoder_global_attn_indexes=indexes))
        counts[f"{kind} blocks · norm1 and qkv"] = part["qkv"]
        counts[f"{kind} blocks · attention"] = part["attention"] + part["rel_pos"]
        counts[f"{kind} blocks · proj"] = part["proj"]
        counts[f"{kind} blocks · norm2 and mlp"] = part["mlp"]
    counts["patch embedding · patch embed"] = part["patch_embed"]
    counts["neck · conv2d"] = part["neck"]
    return counts


def measure(sam: Sam, image: np.ndarray, job: str, title: str, peak: float | None, times: int = 3) -> Profile:
    """The profile of a job on this machine."""
    import minisam

    predictor = minisam.SamPredictor(sam)
    predictor.set_image(image)
    point, label = np.array([[image.shape[1] / 2, image.shape[0] / 2]]), np.array([1])

    def work() -> None:
        if job == "encode":
            predictor.set_image(image)
        else:
            predictor.predict(point, label)

    work()
    stages = profiled(work, times if job == "encode" else 5 * times)
    return Profile(title, [(stage["name"], stage["seconds"]) for stage in stages], sam.config, peak)


def from_benchmark(name: str, job: str) -> Profile | None:
    """What the benchmark measured; None where its file has no such profile."""
    report = bench_data.report(name)
    stages = bench_data.stages(report, job)
    if not stages:
        return None
    return Profile(f"benchmark, {name} ({bench_data.machine(report)})", stages, CONFIGS[name], bench_data.peak(report))


def parts(stages: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """The stages of a part of the model ("part · kernel") added up."""
    sums: dict[str, float] = {}
    for name, seconds in stages:
        part = name.split(" · ")[0]
        sums[part] = sums.get(part, 0.0) + seconds
    return list(sums.items())


def largest(stages: list[tuple[str, float]], rows: int = ROWS) -> list[tuple[str, float]]:
    """The longest stages in their own order, and the sum of all others last."""
    order = sorted(stages, key=lambda stage: -stage[1])[: rows - 1]
    longest = [stage for stage in stages if stage in order and stage[0] != "the rest"]
    rest = sum(seconds for _, seconds in stages) - sum(seconds for _, seconds in longest)
    return [*longest, (f"{len(stages) - len(longest)} smaller stages", rest)]


def _kind(name: str) -> str:
    if "attention" in name or "tokens to" in name or "image to" in name:
        return "attention"
    products = ("qkv", "proj", "mlp", "conv", "patch embed", "upscaling", "few rows", "terms of the image")
    return "products" if any(part in name for part in products) else "other"


def draw(measured: Profile, job: str) -> State:
    """Bars of time, each with its share and, for the encoder, its rate beside the peak of matrix products."""
    import matplotlib.pyplot as plt

    shown = largest(measured.stages) if job == "encode" else parts(measured.stages)
    total = sum(seconds for _, seconds in shown)
    counted = operations(measured.config) if job == "encode" else {}
    figure, axes = plt.subplots(figsize=(7.4, 4.6))
    lines = []
    for row, (name, seconds) in enumerate(shown):
        kind = _kind(name)
        colour, hatch = LOOKS[kind]
        axes.barh(row, 1e3 * seconds, color=colour, hatch=hatch, edgecolor="white" if kind == "products" else "black")
        text = f"{seconds / total:.0%}"
        if counted.get(name):
            rate = counted[name] / seconds / 1e9
            text += f" · {rate:.0f} GFLOP/s"
        axes.text(1e3 * seconds, row, f" {text}", va="center", fontsize=11.5)
        lines.append((seconds, f"{name} {duration(seconds)}, {text}"))
    axes.set_yticks(range(len(shown)), [name.replace(" · ", "\n· ") for name, _ in shown], fontsize=11)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.5e3 * max(seconds for _, seconds in shown))
    axes.set_xlabel("time, ms", fontsize=12)
    axes.tick_params(axis="x", labelsize=11)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(
        handles=[plt.Rectangle((0, 0), 1, 1, fc=c, hatch=h, ec="black") for c, h in LOOKS.values()],
        labels=["matrix products", "attention", "the rest"],
        ncols=3, loc="upper center", fontsize=11, frameon=False, bbox_to_anchor=(0.5, 1.03),
    )  # fmt: skip
    lines.sort(reverse=True)
    text = f"{measured.title}, {JOBS[job]}: {duration(total)}. " + "; ".join(part for _, part in lines[:4]) + "."
    if measured.peak:
        gflop = sum((counted or flops.decoder(measured.config)).values()) / 1e9
        how = "" if counted else ", counted as in the plain decoder"
        text += (
            f" In all {gflop:.3g} GFLOP{how}, {gflop / total:.0f} GFLOP/s, {gflop / total / measured.peak:.0%} of the "
            f"{measured.peak:.0f} GFLOP/s that NumPy's matrix products reach."
        )
    return State(figure, text, f"Bars of time by stage. {text}")


def profile(sam: Sam | None = None, image: np.ndarray | None = None, source: str = "") -> ipywidgets.VBox:
    """Buttons for the job and for whose clock: this machine's profile is measured now.

    ``image`` (H, W, 3) uint8. Raises ``InputError`` for an image of another kind.
    """
    import minisam
    from minisam.figures.click import photos

    static = "MINISAM_STATIC_PAGE" in os.environ
    sam = minisam.load("tiny") if sam is None else sam
    image = photos(["coffee"])[0].image if image is None else image
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"expected an image (H, W, 3) of uint8, got {image.dtype} {image.shape}")
    peak = matrix_rate()
    title = "the machine that built this page" if static else "your machine"
    measured = {job: measure(sam, image, job, title, peak) for job in JOBS}
    clocks = {"page's machine" if static else "your machine": measured}
    for name, label in (("vit_b", "benchmark: ViT-B"), ("tiny", "benchmark: tiny")):
        profiles = {job: kept for job in JOBS if (kept := from_benchmark(name, job)) is not None}
        if len(profiles) == len(JOBS):
            clocks = {label: profiles} | clocks
    names = list(clocks)
    return states(
        [Axis("job", list(JOBS.values())), Axis("clock", names, 0 if static else len(names) - 1)],
        lambda i, j: draw(clocks[names[j]][list(JOBS)[i]], list(JOBS)[i]),
        "Attention is what transformers are known for. Which share of the encoder's time does it take?",
        source,
    )
