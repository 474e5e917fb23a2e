"""When does a model save time, and what do millions of pictures cost? From measured seconds, with plain arithmetic.

A person with a model clicks, waits, and looks; if the mask is not good enough, there is another click, and after K
clicks in vain the person draws a polygon. With c seconds for a click with its wait and look, P seconds for a polygon,
and s(k) the share of objects that are good after k clicks::

    E = c · Σ_{k = 1 … K} (1 − s(k − 1)) + (1 − s(K)) · P                              s(0) = 0

Where each click succeeds with the same chance p, whatever came before, s(k) = 1 − (1 − p)^k and::

    E − P = (1 − (1 − p)^K) · (c / p − P)

so assistance is slower than polygons exactly for p < c / P, however many clicks the person tries: the *break-even*. A
slow model moves it as much as a bad one. Where c ≥ P no model is good enough. This happens: a team that measured CVAT's
tools drew 119 polygons an hour by hand and 73 with DEXTR (cvat-ai/cvat, issue 2515).

Everything else is read from a run's ledger: what a round cost is what its actions cost by a clock (``Turn``).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minisam.engine.clock import Clock
from minisam.engine.clock import add as total_of
from minisam.engine.ledger import Entry, read
from minisam.engine.summary import STAGES, summary
from minisam.transfer.report import Table, markdown
from minisam_kernels import InputError

MILLIONS = (1_000_000, 11_000_000)  # pictures; SA-1B has 11 million
WORK_YEAR = 1800  # hours that a person works in a year: 225 days of 8


# ---- the break-even --------------------------------------------------------------------------------------------------


def _positive(**seconds: float) -> None:
    for name, value in seconds.items():
        if not 0 < value < np.inf:
            raise InputError(f"expected {name} to be a number above 0, got {value:g}")


def break_even(click: float, polygon: float) -> float:
    """The chance of a click to give a good mask below which assistance is slower than polygons; from 1 on it always is.

    Parameters
    ----------
    click, polygon : float
        Seconds for one click with its wait and look, and for one polygon.
    """
    _positive(click=click, polygon=polygon)
    return click / polygon


def assisted_seconds(chance: float, click: float, polygon: float, most: int) -> float:
    """Expected seconds per mask with a model.

    Parameters
    ----------
    chance : float
        Of each click to give a good mask, from 0 to 1.
    click, polygon : float
        As of ``break_even``.
    most : int
        Clicks after which the person draws a polygon.
    """
    _positive(click=click, polygon=polygon, most=most)
    if not 0 <= chance <= 1:
        raise InputError(f"expected a chance from 0 to 1, got {chance:g}")
    return float(mean_seconds(1 - (1 - chance) ** np.arange(1, most + 1), click, polygon))


def mean_seconds(share: np.ndarray, click: float, polygon: float) -> float:
    """E above: ``share`` (K,) of objects that are good after 1 … K clicks."""
    share = np.asarray(share, float)
    return float(click * (1 - np.append(0, share[:-1])).sum() + (1 - share[-1]) * polygon)


def measured_seconds(iou: np.ndarray, target: float, click: float, polygon: float) -> float:
    """Seconds per mask with a measured model: E of the shares that its masks reach.

    Parameters
    ----------
    iou : ndarray, shape (O, K)
        Of each object, after 1 … K clicks.
    target : float
        A mask with at least this IoU is good.
    click, polygon : float
        As of ``break_even``.
    """
    _positive(click=click, polygon=polygon)
    iou = np.asarray(iou, float)
    if iou.ndim != 2 or 0 in iou.shape:
        raise InputError(f"expected IoU of objects after each click, (O, K), got {iou.shape}")
    good = np.maximum.accumulate(iou >= target, axis=1)  # the person stops there
    return mean_seconds(good.mean(axis=0), click, polygon)


def break_even_target(iou: np.ndarray, targets: Sequence[float], click: float, polygon: float) -> float | None:
    """The lowest of the rising ``targets`` for which a measured model is slower than polygons; None if for none is.

    Arguments as of ``measured_seconds``."""
    slower = (target for target in targets if measured_seconds(iou, target, click, polygon) > polygon)
    return next(slower, None)


# ---- the ledger ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turn:
    """A round of a stage, in the seconds of a clock; None where there is nothing to divide by.

    ``human_masks`` are those that a person made, ``seconds`` all that the person worked, ``machine_seconds`` what the
    pictures took here (the simulation of the person included), ``polygon`` what a polygon alone would have taken per
    mask. Of ``clicks``, ``accepted`` masks came without brush or polygon. ``held_out`` is the IoU, best of three, of
    the model that helped.
    """

    stage: int
    round: int  # from 1
    pictures: int
    masks: int
    human_masks: int
    human_share: float | None
    seconds: float
    machine_seconds: float
    polygon: float | None
    clicks: int
    accepted: int
    quality: float | None
    held_out: float | None


def turns_of(entries: Sequence[Entry], clock: Clock) -> list[Turn]:
    """The rounds in a ledger's entries, in their order."""
    pictures: dict[tuple[int, int], list[Entry]] = {}
    for entry in entries:
        if entry.get("kind") == "picture":
            pictures.setdefault((entry["stage"], entry["round"]), []).append(entry)
    turns = []
    for (key, some), one in zip(pictures.items(), summary(entries, clock), strict=True):
        done = total_of(*(m["actions"] for entry in some for m in entry["masks"]), *(entry["rest"] for entry in some))
        machine = sum(entry["machine"] for entry in some)
        turns.append(
            Turn(
                key[0], key[1] + 1, one.pictures, one.masks, one.masks - one.by.get("model", 0), one.human,
                clock.seconds(done), machine, one.by_hand, done.get("click", 0), one.by.get("clicks", 0), one.quality,
                one.held_out,
            )
        )  # fmt: skip
    return turns


def read_turns(path: str | Path, clock: Clock | None = None) -> list[Turn]:
    """The rounds of a run by its ledger; half a line at the end, of a run that was stopped, is left out.

    Raises
    ------
    InputError
        For a file that is no ledger, one that another version wrote, and one without an annotated picture.
    """
    entries, _ = read(Path(path))
    try:
        turns = turns_of(entries, clock or Clock())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"expected a ledger of minisam engine run, got {path} ({error!r:.80})") from error
    if not turns:
        raise InputError(f"expected a ledger with annotated pictures, got {path} without any")
    return turns


def stages_of(turns: Sequence[Turn]) -> dict[int, list[Turn]]:
    """The rounds of each stage that there is."""
    return {stage: some for stage in STAGES if (some := [turn for turn in turns if turn.stage == stage])}


# ---- the costs -------------------------------------------------------------------------------------------------------


def cost_table(
    turns: Sequence[Turn], pictures: Sequence[int] = MILLIONS, workers: int = 1, wage: float | None = None,
    machine_hour: float | None = None,
) -> Table:  # fmt: skip
    """What so many pictures cost, as each stage went in its last round, and by the engine as a whole.

    Parameters
    ----------
    turns : sequence of Turn
        Rounds of a run.
    pictures : sequence of int
        How many.
    workers : int
        Processes that annotate side by side, each as quick as the measured one.
    wage, machine_hour : float, optional
        What an hour of a person, and of a worker, costs; with both, the table says money.

    Returns
    -------
    Table
        By *polygons* as many masks are drawn by hand as the last stage has, as quickly as polygons were in the last
        round with a person. By *the engine* the human stages are paid once, as they were, and the automatic one for
        every picture.
    """
    stages = stages_of(turns)
    if not stages:
        raise InputError("expected at least one round, got none")
    if not pictures or min(pictures) < 1 or workers < 1:
        raise InputError(f"expected pictures and workers of at least 1, got {list(pictures)} and {workers}")
    ways: list[tuple[str, float, float, float, float]] = []  # name; person, machine, masks per picture; person once
    for stage, some in stages.items():
        last = some[-1]
        each = [value / last.pictures for value in (last.seconds, last.machine_seconds, last.masks)]
        ways.append((f"stage {stage}, {STAGES[stage]}", each[0], each[1], each[2], 0.0))
    _, person, machine, masks, _ = ways[-1]
    polygons = [turn.polygon for turn in turns if turn.polygon is not None]
    if 3 in stages:
        once = sum(turn.seconds for turn in turns if turn.stage != 3)
        ways.append(("the engine: people once", person, machine, masks, once))
    if polygons:
        ways.insert(0, ("polygons, no model", polygons[-1] * masks, 0.0, masks, 0.0))
    money = wage is not None and machine_hour is not None
    columns = ["way", "pictures", "masks", "person-hours", "person-years", "machine-hours", "days"]
    table = Table("What pictures cost", columns + ["money"] * money, [])
    for count in pictures:
        for name, person, machine, masks, once in ways:
            hours, machine_hours = (once + person * count) / 3600, machine * count / 3600
            figures = [masks * count, hours, hours / WORK_YEAR, machine_hours, machine_hours / workers / 24]
            if wage is not None and machine_hour is not None:
                figures.append(hours * wage + machine_hours * machine_hour)
            table.rows.append([name, f"{count:,}", *map(_short, figures)])
    note = f"A stage costs what its last round did. Person-years have {WORK_YEAR} hours; days are those of {workers} "
    note += f"worker{'s' * (workers > 1)}."
    table.notes.append(note + (f" An hour costs {wage:g} (person) and {machine_hour:g} (worker)." if money else ""))
    return table


def _short(value: float) -> str:
    """A number with three digits, or all before the point, and thousands apart."""
    digits = 0 if value == 0 or value >= 100 else max(0, 2 - int(np.floor(np.log10(value))))
    return f"{value:,.{min(digits, 9)}f}"


# ---- the command -----------------------------------------------------------------------------------------------------


def main(options: argparse.Namespace) -> int:
    """``minisam engine costs``."""
    if (options.wage is None) != (options.machine_hour is None):
        raise InputError("expected --wage and --machine-hour together, got one of them")
    for name in ("wage", "machine_hour"):
        value = getattr(options, name)
        if value is not None and not 0 <= value < np.inf:
            raise InputError(f"expected --{name.replace('_', '-')} of at least 0, got {value:g}")
    turns, pictures = read_turns(options.ledger), options.pictures or MILLIONS
    print(markdown(cost_table(turns, pictures, options.workers, options.wage, options.machine_hour)))
    return 0
