"""Chapter 0: its solutions solve its exercises, and wrong answers get the hint that helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chapter import printed, solutions
from minisam.exercises import verdict
from minisam_kernels.losses.iou import iou

pytest.importorskip("skimage")
SOLUTIONS = solutions(0)


def test_every_exercise_has_a_solution() -> None:
    assert sorted(SOLUTIONS) == ["0.1", "0.2", "0.3"]


@pytest.mark.parametrize("number", sorted(SOLUTIONS))
def test_solution_stands_alone(number: str) -> None:
    out = printed(SOLUTIONS[number])
    assert f"✓ {number}" in out and "✗" not in out


def each(single: Any, masks: Any) -> Any:
    return iou(np.repeat(single[None], len(masks), axis=0), masks)


@pytest.mark.parametrize(
    ("number", "wrong", "hint"),
    [
        ("0.1", lambda mask, x: mask[x].sum(), "row, column"),
        ("0.1", lambda mask, x: mask[min(x, len(mask) - 1), :].sum(), "row, column|one column"),
        ("0.1", lambda mask, x: mask[:, x], "expected shape"),
        ("0.1", lambda mask, x: mask[:, : x + 1].sum(), "one column"),
        ("0.1", lambda mask, x: None, "return"),
        ("0.2", lambda a, b: (a & b).sum() / (a.sum() + b.sum()), "counts what is in both twice"),
        ("0.2", lambda a, b: 2 * (a & b).sum() / (a.sum() + b.sum()), "Dice"),
        ("0.2", lambda a, b: (a & b).mean(), "not by all pixels"),
        ("0.2", lambda a, b: (a == b).mean(), "in either"),
        ("0.2", lambda a, b: (a ^ b).sum() / (a | b).sum(), "in both"),
        ("0.3", lambda single, masks: each(single, masks).mean(), "mean"),
        ("0.3", lambda single, masks: each(single, masks)[0], "largest"),
        ("0.3", each, "one number"),
        ("0.3", lambda single, masks: iou(single, masks), "raised InputError"),
    ],
)
def test_a_wrong_answer_gets_its_hint(number: str, wrong: Any, hint: str) -> None:
    import re

    assert re.search(hint, verdict(number, wrong))
