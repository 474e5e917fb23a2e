"""A made-up run of the data engine, for tests: rounds, and a small ledger as the engine writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minisam.engine.costs import Turn

# stage, round, pictures, masks, human masks, human share, seconds, machine's, polygon, clicks, accepted, quality, held
TURNS = [
    Turn(1, 1, 20, 100, 100, 1.0, 3000.0, 20.0, 25.0, 400, 40, 0.8, 0.5),
    Turn(1, 2, 20, 160, 160, 0.8, 1500.0, 20.0, 24.0, 500, 150, 0.84, 0.6),
    Turn(2, 1, 40, 600, 200, 0.4, 4000.0, 80.0, 30.0, 600, 150, 0.86, 0.63),
    Turn(3, 1, 1000, 10000, 0, 0.0, 0.0, 2000.0, None, 0, 0, 0.82, 0.63),
]


def mask(by: str, iou: float, **actions: int) -> dict[str, Any]:
    """A mask's line in a picture's entry; people's masks would have been polygons of 10 corners."""
    by_hand = {} if by == "model" else {"by_hand": {"look": 1, "vertex": 10, "accept": 1}}
    return {"by": by, "iou": iou, "area": 99, "actions": actions, **by_hand}


def picture(number: int, stage: int, turn: int, masks: list[dict[str, Any]], **rest: int) -> dict[str, Any]:
    """A picture's entry, which took the machine 3 seconds."""
    entry = {"task": f"picture/{number}", "kind": "picture", "stage": stage, "round": turn, "picture": number}
    return {**entry, "shown": 0, "masks": masks, "rest": rest, "machine": 3.0}


ENTRIES: list[dict[str, Any]] = [
    {"ledger": 1, "recipe": {}, "start": "abc"},
    {"task": "measure/start", "kind": "measure", "held_out": 0.5, "machine": 1.0},
    picture(0, 1, 0, [mask("clicks", 0.9, look=1, click=2), mask("polygon", 0.8, look=1, click=3, vertex=10)], look=1),
    picture(1, 1, 0, [mask("brush", 0.7, look=1, click=4, stroke=2)]),
    {"task": "measure/1-0", "kind": "measure", "held_out": 0.6, "machine": 1.0},
    picture(2, 2, 0, [mask("model", 0.9), mask("model", 0.9, check=1), mask("clicks", 0.9, look=1, click=1)], check=3),
    {"task": "measure/2-0", "kind": "measure", "held_out": 0.7, "machine": 1.0},
    picture(3, 3, 0, [mask("model", 0.9)] * 8),
    picture(4, 3, 0, [mask("model", 0.8)] * 4),
]


def write_ledger(path: Path, entries: list[dict[str, Any]] | None = None) -> Path:
    """Write entries as a ledger."""
    path.write_text("".join(json.dumps(entry) + "\n" for entry in (ENTRIES if entries is None else entries)))
    return path
