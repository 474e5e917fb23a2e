"""What a prompt costs when the encoder runs once per image: measured cost by number of prompts, and the break-even.

A model in two parts costs E + N · d for N prompts, a model in one piece N · m. Times are seconds; E and d come from a
clock: this machine's, or what ``minisam bench`` measured and the project keeps (``benchmarks/cpu``).
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.figures.shared import bench_data
from minisam.figures.shared.states import Axis, State, states
from minisam.reports.tables import seconds as duration
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

    from minisam.sam import Sam

PROMPTS = (1, 2, 5, 10, 20, 50, 200, 1000)
LIGHTER = 10  # the one-piece model that is drawn too looks at an image with a tenth of the encoder's work
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"


@dataclass(frozen=True)
class Clock:
    """Seconds for an image and for a prompt, and whose they are."""

    title: str
    encode: float
    decode: float


def measured(sam: Sam, image: np.ndarray, title: str = "this machine", repeats: tuple[int, int] = (3, 11)) -> Clock:
    """Medians on this machine, of ``set_image`` and of one point's three masks up to the image's size."""
    import minisam

    predictor = minisam.SamPredictor(sam)
    height, width = image.shape[:2]
    point, label = np.array([[width / 2, height / 2]]), np.array([1])

    def median(work: Callable[[], Any], times: int) -> float:
        work()
        seconds = []
        for _ in range(times):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    encode = median(lambda: predictor.set_image(image), repeats[0])
    return Clock(title, encode, median(lambda: predictor.predict(point, label), repeats[1]))


def from_benchmark(name: str) -> Clock | None:
    """What the benchmark of a model measured: an image, and one point up to the decoder's logits."""
    report = bench_data.report(name)
    encode, decode = bench_data.seconds(report, "encode"), bench_data.seconds(report, "prompts-1")
    if encode is None or decode is None:
        return None
    return Clock(f"benchmark, {name} ({bench_data.machine(report)})", encode, decode)


def break_even(encode: float, decode: float, whole: float) -> int | None:
    """The smallest number of prompts for which E + N · d < N · m; None where no number is enough."""
    if not whole > decode:
        return None
    return math.floor(round(encode / (whole - decode), 6)) + 1  # 10.000000000000002 is 10


def words(clock: Clock, n: int) -> str:
    """The numbers of a state in a sentence."""
    split = clock.encode + n * clock.decode
    lighter = clock.encode / LIGHTER + clock.decode
    needed = break_even(clock.encode, clock.decode, lighter)
    one_piece = clock.encode + clock.decode
    return (
        f"{clock.title}: an image {duration(clock.encode)}, a prompt {duration(clock.decode)}. "
        f"{n} prompt{'s' if n > 1 else ''}: {duration(split)} in all, {duration(split / n)} each. "
        f"The same network in one piece: {duration(one_piece)} each, {n * one_piece / split:.2g} times as much. "
        f"Against a model in one piece with a tenth of the encoder's work the split wins from {needed} prompts on."
    )


def draw(clock: Clock, n: int) -> State:
    """Cost of a prompt against the number of prompts, both logarithmic; n marked."""
    import matplotlib.pyplot as plt

    many = np.geomspace(1, PROMPTS[-1], 200)
    lighter = clock.encode / LIGHTER + clock.decode
    figure, axes = plt.subplots(figsize=(7, 4))
    split = clock.encode / many + clock.decode
    axes.plot(many, 1e3 * split, color=BLUE, lw=2.5, label="encoder once, decoder per prompt")
    whole = 1e3 * (clock.encode + clock.decode)
    axes.axhline(whole, color=ORANGE, ls="--", lw=2, label="same network in one piece")
    axes.axhline(1e3 * lighter, color=GREEN, ls="-.", lw=2, label="one piece, a tenth of the encoder")
    axes.axhline(1e3 * clock.decode, color="black", ls=":", lw=1.5, label="the decoder alone")
    needed = break_even(clock.encode, clock.decode, lighter)
    if needed is not None:
        axes.plot([needed], [1e3 * (clock.encode / needed + clock.decode)], "D", color=GREEN, ms=9, mec="black")
    axes.plot([n], [1e3 * (clock.encode / n + clock.decode)], "o", color=BLUE, ms=13, mec="black")
    axes.set(xscale="log", yscale="log", ylim=(0.5e3 * clock.decode, 12 * whole))
    axes.set_xlabel("prompts on the same image", fontsize=13)
    axes.set_ylabel("time of a prompt, ms", fontsize=13)
    axes.tick_params(labelsize=12)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=11, loc="upper right", framealpha=1)
    text = words(clock, n)
    alt = f"Curve of the cost of a prompt, falling towards the decoder's, marked at {n} prompts. {text}"
    return State(figure, text, alt)


def amortised(
    sam: Sam | None = None, image: np.ndarray | None = None, prompts: Sequence[int] = PROMPTS, source: str = ""
) -> ipywidgets.VBox:
    """A slider over the number of prompts, buttons for whose clock: this machine's is measured now.

    ``image`` (H, W, 3) uint8. On a page that was built beforehand it begins with the benchmark that the project keeps.
    Raises ``InputError`` for prompts that are not whole numbers of at least 1.
    """
    import minisam
    from minisam.figures.click import photos

    if not len(prompts) or any(n != int(n) or n < 1 for n in prompts):
        raise InputError(f"expected prompts to be whole numbers of at least 1, got {list(prompts)}")
    static = "MINISAM_STATIC_PAGE" in os.environ
    sam = minisam.load("tiny") if sam is None else sam
    image = photos(["coffee"])[0].image if image is None else image
    clock = measured(sam, image, "the machine that built this page" if static else "your machine")
    named = [("benchmark: tiny", from_benchmark("tiny")), ("benchmark: ViT-B", from_benchmark("vit_b"))]
    clocks = [(name, clock) for name, clock in named if clock is not None]
    clocks.append(("page's machine" if static else "your machine", clock))
    return states(
        [
            Axis("clock", [name for name, _ in clocks], 0 if static else len(clocks) - 1),
            Axis("prompts", [str(n) for n in prompts], min(3, len(prompts) - 1)),
        ],
        lambda i, j: draw(clocks[i][1], prompts[j]),
        "You ask 20 questions about one image. How many times more would a network that looks at the image anew "
        "for each question cost?",
        source,
    )
