"""How good must a model be to save time? Model quality × seconds. A figure of chapter 13.

    from minisam.figures.break_even import break_even
    break_even()                      # benchmarks/engine/ledger.jsonl, a recorded run

The curve is the expected time of a mask with a model (``minisam.engine.costs`` has the equation): each click gives a
good mask with some chance, and after ``most`` clicks in vain a person draws the polygon after all. The reader moves the
seconds of a click, with its wait and its look, and of a polygon. The marks are the rounds of a recorded run: how often
a click gave a mask that the person took.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.engine import costs
from minisam.engine.clock import Clock
from minisam.engine.costs import Turn, assisted_seconds, read_turns
from minisam.figures.flywheel import FILE
from minisam.figures.shared.overlay import BLUE, ORANGE, VERMILION
from minisam.figures.shared.paint import painted, style
from minisam.figures.shared.states import Axis, State, states
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

CLICKS = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds
POLYGONS = (10.0, 20.0, 40.0, 80.0)
MOST = 6  # clicks, then a polygon


@dataclass(frozen=True)
class Mark:
    """A round of the run: its name, and the chance of a click to give a mask that the person takes."""

    name: str
    chance: float


def marks_of(turns: Sequence[Turn]) -> list[Mark]:
    """The rounds in which a person clicked."""
    return [Mark(f"{turn.stage}.{turn.round}", turn.accepted / turn.clicks) for turn in turns if turn.clicks]


def own_seconds(turns: Sequence[Turn]) -> tuple[float, float] | None:
    """Seconds of the run itself, per click with its wait and check, and per polygon; None without a person.

    Turning to the object and accepting its mask, which both ways need, is taken off."""
    clock = Clock()
    polygons = [turn.polygon - clock.look - clock.accept for turn in turns if turn.polygon is not None]
    mean = float(np.mean(polygons)) if polygons else 0.0
    return (clock.click + clock.wait + clock.check, mean) if mean > 0 else None


def break_even(
    path: str | Path | None = FILE, clicks: Sequence[float] = CLICKS, polygons: Sequence[float] = POLYGONS,
    most: int = MOST, question: str = "", source: str = "",
) -> ipywidgets.VBox:  # fmt: skip
    """Controls for the seconds of a click and of a polygon; they begin at the run's own, which are put between others.

    ``path``: the ledger of a run, or None for the curve alone. ``source``: the address of this code, for the link below
    the figure. Raises ``InputError`` where there is no ledger, and for seconds that are not above 0.
    """
    if not len(clicks) or not len(polygons) or min(*clicks, *polygons) <= 0 or most < 1:
        raise InputError(f"expected seconds above 0 and at least 1 click, got {[*clicks, *polygons]} and {most}")
    turns = [] if path is None else read_turns(path)
    marks, own = marks_of(turns), own_seconds(turns)
    question = question or (
        "A polygon takes 20 s. A click takes 4 s, with the wait for the mask and the look at it. In how many of ten "
        "clicks must the model be right, so that it is worth asking? And if it answers twice as slowly?"
    )
    axes, seconds = [], []
    for name, values, mine in zip(("click", "polygon"), (clicks, polygons), own or (None, None)):
        several = sorted({*values} if mine is None else {*values, mine})
        names = [f"{value:.3g}" + ", the run's" * (value == mine) for value in several]
        start = len(several) // 2 if mine is None else several.index(mine)
        axes.append(Axis(f"seconds per {name}", names, start))
        seconds.append(several)
    return states(axes, lambda c, p: draw(marks, seconds[0][c], seconds[1][p], most), question, source)


def words(marks: Sequence[Mark], click: float, polygon: float, most: int) -> str:
    """The break-even, and on which side of it the run's rounds are."""
    edge = costs.break_even(click, polygon)
    text = (
        f"A click takes {click:.3g} s, a polygon {polygon:.3g} s, and after {most} clicks in vain a polygon is drawn. "
    )
    if edge >= 1:
        text += "A click takes as long as a polygon or longer: no model is good enough."
    else:
        best = assisted_seconds(1, click, polygon, most)
        text += (
            f"Where fewer than {edge:.0%} of the clicks give a good mask, assistance is slower than polygons; where "
        )
        text += f"all do, a mask takes {best:.3g} s."
    told = []
    for mark in marks:
        seconds = assisted_seconds(mark.chance, click, polygon, most)
        side = "slower" if seconds > polygon else "quicker" if seconds < polygon else "the same"
        told.append(f"{mark.name}: {mark.chance:.0%} of clicks, {seconds:.1f} s, {side}")
    return text + (f" Rounds of the run (stage.round): {'; '.join(told)}." if told else "")


@style
def draw(marks: Sequence[Mark], click: float, polygon: float, most: int) -> State:
    """Seconds per mask against the chance of a click; where the curve is above the polygon's line it is hatched."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 4.4), dpi=100)
    figure.subplots_adjust(0.11, 0.14, 0.97, 0.95)
    axes = figure.subplots()
    chance = np.linspace(0, 1, 201)
    seconds = np.array([assisted_seconds(float(p), click, polygon, most) for p in chance])
    axes.axhline(polygon, color=ORANGE, lw=2.5, ls="--", label=f"polygon: {polygon:.3g} s")
    axes.plot(100 * chance, seconds, color=BLUE, lw=2.5, label=f"model, at most {most} clicks")
    slow = seconds > polygon
    style_of: dict[str, Any] = {"color": VERMILION, "alpha": 0.25, "hatch": "//", "edgecolor": VERMILION}
    axes.fill_between(100 * chance, polygon, seconds, where=slow, label="assistance is slower", **style_of)
    edge = costs.break_even(click, polygon)
    if edge < 1:
        axes.axvline(100 * edge, color="black", lw=1, ls=":")
        axes.text(100 * edge + 1, 0.02 * seconds.max(), f"break-even {edge:.0%}", fontsize=11.5)
    for mark in marks:
        at = 100 * mark.chance, assisted_seconds(mark.chance, click, polygon, most)
        axes.plot(*at, "o", color="white", mec="black", ms=9, zorder=4)
        axes.annotate(mark.name, at, (6, 6), textcoords="offset points", fontsize=10.5)
    axes.set(xlabel="clicks that give a good mask, %", ylabel="seconds per mask", xlim=(0, 100))
    axes.set_ylim(0, 1.08 * seconds.max())
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=11, loc="upper right")
    text = words(marks, click, polygon, most)
    alt = f"A falling curve of seconds per mask with a model, and the line of a polygon's seconds. {text}"
    return State(painted(figure), text, alt)
