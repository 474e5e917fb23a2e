"""The clock: what is counted has its seconds, and every action of the sensitivity table changes on its own."""

from __future__ import annotations

import pytest

from minisam.engine.clock import ACTIONS, Clock, add, sensitivity
from minisam_kernels import InputError

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "all actions scaled": (
        "minisam/engine/clock.py",
        "**{action: factor *",
        "**{name: 2.0 for name in ACTIONS} | {action: factor *",
    ),
    "an action counts once": ("minisam/engine/clock.py", "known[name] * count for", "known[name] for"),
}


def test_seconds_add_up() -> None:
    """Kills: an action counts once."""
    clock = Clock()
    assert clock.seconds({}) == 0
    assert clock.seconds({"click": 3, "vertex": 2}) == pytest.approx(3 * clock.click + 2 * clock.vertex)
    one, other = {"click": 1, "wait": 2}, {"click": 4, "check": 0}
    assert add(one, other) == {"click": 5, "wait": 2}
    assert clock.seconds(add(one, other)) == pytest.approx(clock.seconds(one) + clock.seconds(other))


def test_sensitivity_changes_one_action_at_a_time() -> None:
    """Kills: all actions scaled."""
    clock = Clock()
    rows = sensitivity(lambda other: other.seconds({"click": 2, "look": 1}), clock)
    assert [row[0] for row in rows] == list(ACTIONS)
    for name, less, now, more in rows:
        assert now == pytest.approx(2 * clock.click + clock.look)
        change = {"click": clock.click, "look": clock.look / 2}.get(name, 0)
        assert (less, more) == (pytest.approx(now - change), pytest.approx(now + change))


def test_bad_input_is_one_line() -> None:
    with pytest.raises(InputError, match=r"expected actions among look, click, .*, got 'nap'"):
        Clock().seconds({"nap": 1})
    with pytest.raises(InputError, match="expected click to take 0 seconds or more, got -1"):
        Clock(click=-1)
    with pytest.raises(InputError, match=r"expected an action among look, .*, got 'nap'"):
        Clock().scaled(2, "nap")
