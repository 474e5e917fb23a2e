"""Figure F6 of chapter 13: the data engine turns. Three clicks through its stages, beside the paper's numbers.

    from minisam.figures.flywheel import flywheel
    flywheel()                        # benchmarks/engine/ledger.jsonl, a recorded run

Nothing is measured here: the shares, counts and seconds are those of the run's ledger (``minisam.engine.costs.Turn``
says what is read), and what the paper states is labelled "paper". For a stage the paper prints no share of people; it
says that 99.1 % of all masks were made fully automatically.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minisam.engine.costs import Turn, read_turns, stages_of
from minisam.engine.summary import STAGES
from minisam.figures.shared.overlay import BLUE, ORANGE
from minisam.figures.shared.paint import painted, style
from minisam.figures.shared.states import Axis, State, states
from minisam.reports.environment import ROOT
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

FILE = ROOT / "benchmarks" / "engine" / "ledger.jsonl"
GREY = "#767676"


@dataclass(frozen=True)
class Paper:
    """What section 4 of the paper says of a stage: masks so far, masks per picture, the same in words."""

    total: float
    per_picture: tuple[float, float]
    words: str


PAPER = {
    1: Paper(4.3e6, (20, 44), "4.3M masks, 20 to 44 per picture, 34 to 14 s per mask, retrained 6 times"),
    2: Paper(10.2e6, (44, 72), "10.2M masks in all, 44 to 72 per picture, 34 s per mask again, retrained 5 times"),
    3: Paper(1.1e9, (100, 100), "1.1B masks in all, about 100 per picture, nobody draws; 99.1 % of all are automatic"),
}


def flywheel(path: str | Path = FILE, question: str = "", source: str = "") -> ipywidgets.VBox:
    """Buttons for the stages of the run whose ledger is at ``path``.

    ``source``: the address of this code, for the link below the figure. Raises ``InputError`` where there is no ledger,
    or it does not hold all three stages.
    """
    turns = read_turns(path)
    missing = [name for stage, name in STAGES.items() if stage not in stages_of(turns)]
    if missing:
        raise InputError(f"expected a ledger of all three stages, got {path} without {missing[0]}")
    question = question or (
        "A model that knows only public data sets begins, and people correct it. Before you look: which part of the "
        "masks do people still make in the first stage, in the second, in the third? And how many times more masks are "
        "there after the last stage than after the second?"
    )
    names = [f"{stage}: {name}" for stage, name in STAGES.items()]
    return states([Axis("stage", names)], lambda i: draw(turns, i + 1), question, source)


def until(turns: Sequence[Turn], stage: int) -> list[Turn]:
    """The rounds of all stages up to this one."""
    return [turn for some in STAGES if some <= stage for turn in stages_of(turns).get(some, [])]


def total(turns: Sequence[Turn], stage: int) -> int:
    """Masks of all rounds up to a stage's end."""
    return sum(turn.masks for turn in until(turns, stage))


def number(value: float) -> str:
    """A count in few signs: 512, 43.0k, 10.2M, 1.1B."""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if value >= unit:
            scale = 1e3 if name == "k" else unit
            return f"{value / scale:.1f}{name}"
    return f"{value:,.0f}"


def _change(values: Sequence[float | None], form: str) -> str:
    """The first and the last value, or the only one; "" without any."""
    known = [form.format(value) for value in values if value is not None]
    return " to ".join(dict.fromkeys((known[0], known[-1]))) if known else ""


def words(turns: Sequence[Turn], stage: int) -> str:
    """The numbers of a stage, from its first round to its last, and the paper's."""
    some = stages_of(turns)[stage]
    count = f"{len(some)} round{'s' * (len(some) > 1)}"
    share = _change([turn.human_share for turn in some], "{:.0%}") or "–"
    per_picture = _change([turn.masks / turn.pictures for turn in some], "{:.1f}")
    parts = [f"Stage {stage}, {STAGES[stage]}, {count}: human share {share}", f"{per_picture} masks per picture"]
    paid = _change([turn.seconds / turn.human_masks if turn.human_masks else None for turn in some], "{:.1f}")
    parts.append(f"{paid} s of a person per mask of people" if paid else "nobody draws")
    if held := _change([turn.held_out for turn in some], "{:.3f}"):
        parts.append(f"held-out IoU of the model that helped, best of three, {held}")
    return f"{'; '.join(parts)}. Masks so far: {total(turns, stage):,}. Paper: {PAPER[stage].words}."


@style
def draw(turns: Sequence[Turn], stage: int) -> State:
    """Who made the masks in each round, how many there are per picture, how many in all; later stages are not shown."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 6.4), dpi=100)
    figure.subplots_adjust(0.12, 0.08, 0.97, 0.93, wspace=0.3, hspace=0.42)
    named = figure.subplot_mosaic([["share", "picture"], ["count", "count"]])
    every, shown = until(turns, 3), until(turns, stage)
    ticks = [f"{turn.stage}.{turn.round}" for turn in every]
    if len(every) > 8:  # only each stage's first
        ticks = [tick if i == 0 or tick[0] != ticks[i - 1][0] else "" for i, tick in enumerate(ticks)]
    x = np.arange(len(shown))

    human = np.array([turn.human_share or 0.0 for turn in shown])
    axes = named["share"]
    axes.bar(x, 100 * human, 0.8, color=ORANGE, hatch="//", edgecolor="white", label="people")
    axes.bar(x, 100 * (1 - human), 0.8, bottom=100 * human, color=BLUE, edgecolor="white", label="model")
    axes.set(ylim=(0, 128), yticks=range(0, 101, 25), title="Who does it, %")
    axes.legend(fontsize=11, ncols=2, loc="upper center", frameon=False)

    axes = named["picture"]
    axes.plot(x, [turn.masks / turn.pictures for turn in shown], "o-", color=BLUE, ms=8, lw=2, label="ours")
    for number_of in range(1, stage + 1):
        at = [i for i, turn in enumerate(every) if turn.stage == number_of]
        ends = [at[0], at[-1]] if len(at) > 1 else [at[0] - 0.4, at[0] + 0.4]
        label = "paper" if number_of == 1 else None
        axes.plot(ends, PAPER[number_of].per_picture, "s--", color=GREY, ms=6, mfc="white", label=label)
    axes.set(title="Masks per picture", ylim=(0, 118))
    axes.legend(fontsize=11, loc="upper left", frameon=False)
    for axes in (named["share"], named["picture"]):
        axes.set(xlim=(-0.7, len(every) - 0.3), xlabel="stage.round")
        axes.set_xticks(range(len(every)), ticks, fontsize=10.5)

    axes = named["count"]
    for which in range(1, stage + 1):
        ours, theirs = total(turns, which), PAPER[which].total
        axes.barh(which - 0.2, ours, 0.36, color=BLUE)
        axes.barh(which + 0.2, theirs, 0.36, color="white", edgecolor=GREY, hatch="..")
        for y, value, name in ((which - 0.2, ours, "ours"), (which + 0.2, theirs, "paper")):
            axes.text(value * 1.25, y, f"{number(value)} ({name})", va="center", fontsize=11.5)
    axes.set(xscale="log", xlim=(max(1, total(turns, 1) / 10), 2e11), ylim=(3.6, 0.4))
    axes.set(title="Masks in all after each stage, on a logarithmic scale")
    axes.set_yticks(list(STAGES), [f"stage {i}" for i in STAGES])
    for axes in named.values():
        axes.spines[["top", "right"]].set_visible(False)
    text = words(turns, stage)
    alt = f"Bars of who makes the masks, a line of masks per picture, bars of masks in all, up to stage {stage}. {text}"
    return State(painted(figure), text, alt)
