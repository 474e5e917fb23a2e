"""A made-up ledger of the data engine, for tests: two rounds of stage 1, one of stage 2, one of stage 3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SUMMARIES: list[dict[str, Any]] = [
    {"event": "summary", "stage": 1, "round": 1, "pictures": 20, "masks": 100, "human_masks": 100, "human_share": 1.0,
     "seconds": 3000.0, "machine_seconds": 20.0, "clicks": 400, "accepted": 40, "quality": 0.8,
     "held_out": {"confident": 0.4, "best_of_three": 0.5}},
    {"event": "summary", "stage": 1, "round": 2, "pictures": 20, "masks": 160, "human_masks": 160, "human_share": 0.8,
     "seconds": 1500.0, "machine_seconds": 20.0, "clicks": 500, "accepted": 150, "quality": 0.84,
     "held_out": {"confident": 0.5, "best_of_three": 0.6}},
    {"event": "summary", "stage": 2, "round": 1, "pictures": 40, "masks": 600, "human_masks": 200, "human_share": 0.4,
     "seconds": 4000.0, "machine_seconds": 80.0, "clicks": 600, "accepted": 150, "quality": 0.86,
     "held_out": {"confident": 0.52, "best_of_three": 0.63}},
    {"event": "summary", "stage": 3, "round": 1, "pictures": 1000, "masks": 10000, "human_masks": 0,
     "human_share": 0.0, "seconds": 0.0, "machine_seconds": 2000.0, "quality": 0.82,
     "held_out": {"confident": 0.52, "best_of_three": 0.63}},
]  # fmt: skip


def write_ledger(path: Path, summaries: list[dict[str, Any]] | None = None) -> Path:
    """Write a ledger in which each summary comes after other lines."""
    lines: list[dict[str, Any]] = []
    for entry in SUMMARIES if summaries is None else summaries:
        lines += [{"event": "picture", "picture": "0001", "masks": 5}, entry]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
