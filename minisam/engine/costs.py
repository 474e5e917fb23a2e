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

The *ledger* is what the engine writes, a JSON object per line. Here those with ``"event": "summary"`` are read, one for
each round of a stage, about that round alone; other lines, and other keys, are not looked at::

    {"event": "summary", "stage": 1, "round": 3, "pictures": 40, "masks": 700, "human_masks": 700, "human_share": 1.0,
     "seconds": 9000.0, "machine_seconds": 60.0, "clicks": 1500, "accepted": 600, "quality": 0.91,
     "held_out": {"confident": 0.6, "best_of_three": 0.7}}

``seconds`` are a person's, ``human_masks`` those that a person made or corrected, ``human_share`` their share.
``accepted`` masks came of ``clicks``, so that accepted / clicks is p. From ``machine_seconds`` on all may be missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minisam.transfer.report import Table, markdown
from minisam_kernels import InputError

COLUMNS = ("stage", "round", "pictures", "masks", "human_masks", "human_share", "seconds")
MILLIONS = (1_000_000, 11_000_000)  # pictures; SA-1B has 11 million
WORK_YEAR = 1800  # hours that a person works in a year: 225 days of 8
STAGES = {1: "assisted-manual", 2: "semi-automatic", 3: "fully automatic"}

Round = dict[str, Any]  # a summary


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


def read_summaries(path: str | Path) -> list[Round]:
    """The summaries of a ledger, in its order. A last line without its end, of a run that was stopped, is left out.

    Raises
    ------
    InputError
        For a file that cannot be read, a line that is no JSON object, a summary without one of ``COLUMNS``, and a
        ledger without a summary.
    """
    wanted = "expected a ledger of the data engine (a JSON object per line)"
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{wanted}, got {path} ({getattr(error, 'strerror', None) or error})") from error
    rounds = []
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise InputError(f"{wanted}, got {path}, line {number}: {line[:60]!r}")
        if entry.get("event") != "summary":
            continue
        missing = [name for name in COLUMNS if not _is_number(entry.get(name))]
        if missing or entry["stage"] not in STAGES or entry["pictures"] <= 0 or entry["masks"] < 0:
            what = f"a number as {missing[0]}" if missing else "stage 1, 2 or 3 with pictures and masks"
            raise InputError(f"expected {what} in a summary, got {path}, line {number}: {line[:60]!r}")
        rounds.append(entry)
    if not rounds:
        raise InputError(f"expected a ledger with a summary for each round, got {path} without any")
    return rounds


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def total(rounds: Sequence[Round], name: str) -> float | None:
    """The sum of a column over rounds; None where one of them does not say it."""
    values = [entry.get(name) for entry in rounds]
    return float(sum(values)) if values and all(map(_is_number, values)) else None  # type: ignore[arg-type]


def stages_of(rounds: Sequence[Round]) -> dict[int, list[Round]]:
    """The rounds of each stage that there is."""
    return {stage: some for stage in STAGES if (some := [entry for entry in rounds if entry["stage"] == stage])}


# ---- the costs -------------------------------------------------------------------------------------------------------


def cost_table(
    rounds: Sequence[Round], pictures: Sequence[int] = MILLIONS, workers: int = 1, wage: float | None = None,
    machine_hour: float | None = None, polygon: float | None = None,
) -> Table:  # fmt: skip
    """What so many pictures cost, as each stage went in its last round, and by the engine as a whole.

    Parameters
    ----------
    rounds : sequence of dict
        Summaries of a ledger.
    pictures : sequence of int
        How many.
    workers : int
        Processes that annotate side by side, each as quick as the measured one.
    wage, machine_hour : float, optional
        What an hour of a person, and of a worker, costs; with both, the table says money.
    polygon : float, optional
        Seconds for one polygon: adds a row for drawing, by hand, as many masks as the last stage has.

    Returns
    -------
    Table
        By *the engine* the human stages are paid once, as they were, and the automatic one for every picture.
    """
    stages = stages_of(rounds)
    if not stages:
        raise InputError("expected at least one summary, got none")
    if not pictures or min(pictures) < 1 or workers < 1:
        raise InputError(f"expected pictures and workers of at least 1, got {list(pictures)} and {workers}")
    ways: list[tuple[str, float, float | None, float, float]] = []  # name, person, machine, once, masks; per picture
    for stage, some in stages.items():
        last = some[-1]
        machine = total([last], "machine_seconds")
        masks = last["masks"] / last["pictures"]
        per = None if machine is None else machine / last["pictures"]
        ways.append((f"stage {stage}, {STAGES[stage]}", last["seconds"] / last["pictures"], per, 0.0, masks))
    last = stages[max(stages)][-1]
    masks = last["masks"] / last["pictures"]
    if polygon is not None:
        _positive(polygon=polygon)
        ways.insert(0, ("polygons, no model", polygon * masks, 0.0, 0.0, masks))
    if 3 in stages:
        once = sum(total(some, "seconds") or 0.0 for stage, some in stages.items() if stage != 3)
        ways.append(("the engine: people once", last["seconds"] / last["pictures"], ways[-1][2], once, masks))
    money = wage is not None and machine_hour is not None
    columns = ["way", "pictures", "masks", "person-hours", "person-years", "machine-hours", "days"]
    table = Table("What pictures cost", columns + ["money"] * money, [])
    for count in pictures:
        for name, person, per, once, each in ways:
            hours = (once + person * count) / 3600
            machine_hours = None if per is None else per * count / 3600
            days = None if machine_hours is None else machine_hours / workers / 24
            row: list[Any] = [name, _short(count), _short(each * count), *map(_short, (hours, hours / WORK_YEAR))]
            row += [_short(machine_hours), _short(days)]
            if wage is not None and machine_hour is not None:
                row.append(None if machine_hours is None else _short(hours * wage + machine_hours * machine_hour))
            table.rows.append(row)
    note = f"A stage costs what its last round did. Person-years have {WORK_YEAR} hours; days are those of {workers} "
    note += f"worker{'s' * (workers > 1)}."
    table.notes.append(note + (f" An hour costs {wage:g} (person) and {machine_hour:g} (worker)." if money else ""))
    return table


def _short(value: float | None) -> str | None:
    """A number with three digits and thousands apart."""
    if value is None:
        return None
    digits = 0 if value == 0 or value >= 100 else max(0, 2 - int(np.floor(np.log10(value))))
    return f"{value:,.{min(digits, 9)}f}"


# ---- the command -----------------------------------------------------------------------------------------------------


def add(tasks: Any) -> None:
    """``minisam engine costs`` and its options."""
    from minisam.console import positive

    parser = tasks.add_parser(
        "costs",
        help="what a million pictures would cost, from a ledger's measured seconds",
        description="What 1 and 11 million pictures would cost a person and a machine, as the stages of a run went.",
    )
    parser.add_argument("ledger", metavar="LEDGER", type=Path, help="the file of a run, ledger.jsonl")
    what = "so many pictures (can be given several times; default 1 and 11 million)"
    parser.add_argument("--pictures", metavar="N", type=positive, action="append", help=what)
    parser.add_argument("--workers", metavar="N", type=positive, default=1, help="processes at a time (default 1)")
    parser.add_argument("--wage", metavar="X", type=float, help="what an hour of a person costs")
    parser.add_argument("--machine-hour", metavar="X", type=float, help="what an hour of a worker costs")
    parser.add_argument("--polygon", metavar="SECONDS", type=float, help="per polygon: adds drawing by hand")
    parser.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """``minisam engine costs``."""
    if (options.wage is None) != (options.machine_hour is None):
        raise InputError("expected --wage and --machine-hour together, got one of them")
    for name in ("wage", "machine_hour"):
        value = getattr(options, name)
        if value is not None and not 0 <= value < np.inf:
            raise InputError(f"expected --{name.replace('_', '-')} of at least 0, got {value:g}")
    rounds = read_summaries(options.ledger)
    money = {"wage": options.wage, "machine_hour": options.machine_hour}
    print(markdown(cost_table(rounds, options.pictures or MILLIONS, options.workers, polygon=options.polygon, **money)))
    return 0
