"""What a ledger says: for each round masks per picture, seconds per mask, the human share, quality, held-out IoU.

All figures are computed from the ledger's actions with a clock, so that another clock gives other figures of the same
run. Two shares are told apart:

* *human share*: of the masks, those that a person clicked, brushed or drew. A mask that a person only let stay is the
  model's.
* *time share*: a person's seconds over those that polygons alone would have taken for the same masks. Above 1 the model
  was no help: then whoever had thrown it away would have been quicker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minisam.engine.clock import Clock, add, sensitivity
from minisam.engine.ledger import Entry
from minisam.transfer.report import Table

STAGES = {1: "assisted-manual", 2: "semi-automatic", 3: "fully automatic"}


@dataclass(frozen=True)
class Round:
    """Figures of some pictures; None where there is nothing to divide by.

    ``held_out`` is of the model with which they were annotated; ``by`` counts masks by how they came about.
    """

    stage: int
    round: int | None
    pictures: int
    masks: int
    seconds: float | None
    by_hand: float | None
    human: float | None
    quality: float | None
    held_out: float | None
    by: dict[str, int]

    @property
    def per_picture(self) -> float:
        """Masks per picture."""
        return self.masks / self.pictures

    @property
    def time(self) -> float | None:
        """A person's seconds over those of polygons alone; None without masks, 0 without a person."""
        if self.stage == 3:
            return 0.0
        return None if not self.by_hand or self.seconds is None else self.seconds / self.by_hand


def figures(entries: Sequence[Entry], clock: Clock, held_out: float | None = None) -> Round:
    """The figures of pictures' entries, of one stage. Seconds are per mask, and include what led to none."""
    stage, rounds = entries[0]["stage"], {entry["round"] for entry in entries}
    masks = [mask for entry in entries for mask in entry["masks"]]
    done = add(*(mask["actions"] for mask in masks), *(entry["rest"] for entry in entries))
    hand = [mask["by_hand"] for mask in masks if "by_hand" in mask]
    by: dict[str, int] = {}
    for mask in masks:
        by[mask["by"]] = by.get(mask["by"], 0) + 1
    count = len(masks)
    return Round(
        stage, rounds.pop() if len(rounds) == 1 else None, len(entries), count,
        clock.seconds(done) / count if count else None,
        clock.seconds(add(*hand)) / len(hand) if hand else None,
        1 - by.get("model", 0) / count if count else None,
        float(np.mean([mask["iou"] for mask in masks])) if count else None,
        held_out, by,
    )  # fmt: skip


def summary(entries: Sequence[Entry], clock: Clock) -> list[Round]:
    """Every round of every stage, in order."""
    rounds: dict[tuple[int, int], list[Entry]] = {}
    measured: dict[tuple[int, int], float | None] = {}
    latest = None
    for entry in entries:
        if entry.get("kind") == "measure":
            latest = entry["held_out"]
        elif entry.get("kind") == "picture":
            key = entry["stage"], entry["round"]
            rounds.setdefault(key, []).append(entry)
            measured.setdefault(key, latest)
    return [figures(some, clock, measured[key]) for key, some in rounds.items()]


def stages(entries: Sequence[Entry], clock: Clock) -> list[Round]:
    """Every stage as a whole; the held-out IoU is that after its last training."""
    result = []
    for stage in STAGES:
        some = [entry for entry in entries if entry.get("kind") == "picture" and entry["stage"] == stage]
        after = [e["held_out"] for e in entries if e.get("task", "").startswith(f"measure/{stage}-")] if some else []
        if some:
            result.append(figures(some, clock, after[-1] if after else None))
    return result


def fall(rounds: Sequence[Round]) -> float | None:
    """How much seconds per mask fell over stage 1, as a share of the first round's; None if there is no such thing."""
    first = [one.seconds for one in rounds if one.stage == 1 and one.seconds is not None]
    return 1 - first[-1] / first[0] if len(first) > 1 and first[0] else None


COLUMNS = [
    "stage", "pictures", "masks", "per picture", "s/mask", "polygon s/mask", "time share", "human share", "quality",
    "held-out IoU",
]  # fmt: skip


def _row(name: str, one: Round) -> list[Any]:
    return [
        name, one.pictures, one.masks, one.per_picture, one.seconds, one.by_hand, one.time, one.human, one.quality,
        one.held_out,
    ]  # fmt: skip


def table(entries: Sequence[Entry], clock: Clock) -> Table:
    """The closing table: every round and every stage; below it whether the loop gained."""
    rounds, whole = summary(entries, clock), stages(entries, clock)
    rows: list[list[Any]] = []
    for stage in whole:
        mine = [one for one in rounds if one.stage == stage.stage]
        if len(mine) > 1:
            rows += [_row(f"{one.stage}, round {(one.round or 0) + 1}", one) for one in mine]
        rows.append(_row(f"{stage.stage}, {STAGES[stage.stage]}", stage))
    return Table("The data engine", COLUMNS, rows, notes(entries, rounds, whole))


def notes(entries: Sequence[Entry], rounds: Sequence[Round], whole: Sequence[Round]) -> list[str]:
    """What a reader should see in the table, computed."""
    lines = [
        "Of a round, held-out IoU is that of the model that helped; of a stage, that of the model trained after it."
    ]
    change = fall(rounds)
    if change is not None:
        first = [one.seconds for one in rounds if one.stage == 1 and one.seconds is not None]
        word = "fell" if change > 0 else "did not fall"
        lines.append(f"Over stage 1 seconds per mask {word}: {first[0]:.1f} → {first[-1]:.1f} ({-change:+.0%}).")
    measured = [entry["held_out"] for entry in entries if entry.get("kind") == "measure"]
    if len(measured) > 1:
        gain = measured[-1] - measured[0]
        word = "rose" if gain > 0 else "did not rise"
        lines.append(f"Held-out best of three {word}: {measured[0]:.3f} → {measured[-1]:.3f} ({gain:+.3f}).")
    slow = [one for one in rounds if one.time is not None and one.time > 1]
    if slow:
        helped = sum(one.stage < 3 for one in rounds)
        lines.append(f"In {len(slow)} of {helped} rounds with a person, polygons alone would have been quicker.")
    shares = [one.human for one in whole if one.human is not None]
    if len(shares) > 1:
        falls = all(a > b for a, b in zip(shares, shares[1:]))
        word = "falls at every stage" if falls else "does not fall at every stage"
        lines.append(f"The human share {word}: {' → '.join(f'{share:.0%}' for share in shares)}.")
    return lines


def sensitivity_table(entries: Sequence[Entry], clock: Clock, change: float = 0.5) -> Table:
    """What the fall over stage 1, and the time share in its last round, are with each action's seconds changed."""

    def falls(other: Clock) -> float:
        value = fall(summary(entries, other))
        return float("nan") if value is None else value

    def share(other: Clock) -> float:
        values = [one.time for one in summary(entries, other) if one.stage == 1 and one.time is not None]
        return values[-1] if values else float("nan")

    rows: list[list[Any]] = []
    for (name, less, now, more), (_, low, mid, high) in zip(
        sensitivity(falls, clock, change), sensitivity(share, clock, change)
    ):
        rows.append([name, less, now, more, low, mid, high])
    by = f"{change:.0%}"
    columns = ["action", *(f"fall, {sign}" for sign in (f"−{by}", "as is", f"+{by}"))]
    columns += [f"time share, {sign}" for sign in (f"−{by}", "as is", f"+{by}")]
    return Table("Each action shorter and longer", columns, rows, ["Of stage 1; what the person did stays the same."])
