"""Chapter 10: its solutions, hints and figures."""

from __future__ import annotations

import numpy as np
import pytest

import chapter
from minisam.exercises import verdict

pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")

import minisam
from minisam.annotator import draw, play
from minisam.figures import interaction, who_wins
from minisam.figures.shared.states import encode
from minisam_kernels.runtime.errors import InputError

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "shares over masks instead of objects": ("minisam/figures/who_wins.py", "table.sum(axis=1", "table.sum(axis=0"),
    "levels exchanged": ("minisam/figures/who_wins.py", "(level == row)", "(level == 2 - row)"),
}

SOLUTIONS = chapter.solutions(10)


def test_every_exercise_has_a_solution() -> None:
    assert set(SOLUTIONS) == {"10.1", "10.2", "10.3", "10.4"}


@pytest.mark.parametrize("number", sorted(SOLUTIONS))
def test_solutions_solve(number: str) -> None:
    said = chapter.printed(SOLUTIONS[number])
    assert f"✓ {number}" in said and "✗" not in said


def click(predicted, truth, u, region=lambda p, g: p ^ g, swap=False, label=lambda p, g, y, x: int(g[y, x])):
    wrong = region(predicted, truth)
    rows, columns = np.nonzero(wrong if wrong.any() else truth)
    number = int(u * len(rows))
    y, x = int(rows[number]), int(columns[number])
    return ((y, x) if swap else (x, y)), label(predicted, truth, y, x)


def first_missing(predicted, truth, u):
    """Uniform in what is missing, or else in what is too much: not one region."""
    return click(predicted, truth, u, lambda p, g: (g & ~p) if (g & ~p).any() else (p & ~g))


def by_row(predicted, truth, u):
    """A uniform row, then a uniform column of it: short rows come too often."""
    wrong = predicted ^ truth if (predicted ^ truth).any() else truth
    rows = np.flatnonzero(wrong.any(axis=1))
    y = rows[int(u * len(rows))]
    columns = np.flatnonzero(wrong[y])
    x = columns[int((u * len(rows) % 1) * len(columns))]
    return (x, y), int(truth[y, x])


def box(b, noise, size, sides=(0, 1, 0, 1), limit=20 / 1024, clip=True):
    both = np.array([b[2] - b[0], b[3] - b[1]])
    got = b + np.clip(noise * 0.1 * both[list(sides)], -limit * size, limit * size)
    return np.clip(got, 0, size - 1) if clip else got


def rate(step, block, base=lambda s: 8e-4 * (s + 1) / 250 if s < 250 else 8e-4, factor=lambda b: 0.8 ** (32 - b)):
    dropped = base(step) / 10 ** ((step >= 60_000) + (step >= 86_666))
    return dropped * factor(block)


WRONG = [
    ("10.1", lambda p, g, u: click(p, g, u, swap=True), "column|not where"),
    ("10.1", lambda p, g, u: click(p, g, u, label=lambda p, g, y, x: int(p[y, x])), "label 1"),
    ("10.1", first_missing, "one region"),
    ("10.1", lambda p, g, u: click(p, g, u * u), "not uniform"),
    ("10.1", lambda p, g, u: click(p, g, u, lambda p, g: g), "not where"),
    ("10.2", lambda pause: [True] * 8 + [False] * 2, "before later point"),
    ("10.2", lambda pause: [True] * 10, "8 bring"),
    ("10.2", lambda pause: [False] * 2 + [True] * 8, "last round"),
    ("10.2", lambda pause: [True] * 11, "that is 10"),
    ("10.3", lambda b, n, s: box(b, n, s, limit=20 / s), "at most 20 of 1024"),
    ("10.3", lambda b, n, s: box(b, n, s, sides=(1, 0, 1, 0)), "width"),
    ("10.3", lambda b, n, s: box(b, n, s, clip=False), "left the image|clip"),
    ("10.4", lambda s, b: rate(s, b, base=lambda s: 8e-4 * s / 250 if s < 250 else 8e-4), "first step already"),
    ("10.4", lambda s, b: rate(s, b, factor=lambda b: 0.8 ** (31 - b)), "one factor"),
    ("10.4", lambda s, b: rate(s, b, factor=lambda b: 0.8 ** (b + 1)), "factor of 0.8"),
    ("10.4", lambda s, b: rate(min(s, 60_000), b), "hundredth"),
]


@pytest.mark.parametrize("number, wrong, hint", WRONG)
def test_wrong_answers_get_a_hint(number, wrong, hint) -> None:
    import re

    assert re.search(hint, verdict(number, wrong)), verdict(number, wrong)


# ---- the figures -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def game() -> tuple[np.ndarray, np.ndarray, list[interaction.Round]]:
    image, truth, _ = interaction.scene_object(*interaction.OBJECTS[2])
    predictor = minisam.SamPredictor(minisam.load("tiny"))
    predictor.set_image(image)
    return image, truth, list(play(predictor, truth, draw(1)))


def test_a_round_in_words_and_picture(game) -> None:
    image, truth, rounds = game
    for n in (0, 1, 10):
        state = interaction.draw_round(image, truth, "cup", rounds, n)
        assert f"Round {n + 1} of 11" in state.words and f"True IoU {rounds[n].iou:.2f}" in state.words
    assert "no new point" in state.words and len(encode(state.picture)) > 3000
    quiet = next(n for n, r in enumerate(rounds) if not r.new)
    assert "no new point" in interaction.words(rounds, quiet)


def test_interaction_builds_and_checks() -> None:
    image, truth, _ = interaction.scene_object(*interaction.OBJECTS[2])
    assert interaction.interaction(image, truth, rounds=2, question="?").children
    with pytest.raises(InputError, match="image and its truth"):
        interaction.interaction(image)
    with pytest.raises(InputError, match="one object"):
        interaction.interaction(objects=(), photo=False)
    with pytest.raises(InputError, match="number of one"):
        interaction.scene_object(interaction.OBJECTS[0][0], 999)


def test_photo_outline_is_of_the_photo() -> None:
    pytest.importorskip("skimage")
    image, truth, name = interaction.cup()
    assert truth.shape == image.shape[:2] and 0.3 < truth.mean() < 0.7 and "by hand" in name


def test_who_wins_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: shares over masks instead of objects, levels exchanged."""
    level, winner = np.array([0, 0, 0, 2]), np.array([1, 1, 0, 2])
    assert np.allclose(who_wins.shares(winner, level), [[1 / 3, 2 / 3, 0], [0, 0, 0], [0, 0, 1]])
    sam = minisam.load("tiny")
    found = who_wins.ask(sam, who_wins.SEEDS[:1])
    assert 0 < len(found.level) <= who_wins.MANY and found.iou.shape == (len(found.level), 3)
    said = who_wins.draw(found, 0).words
    row = who_wins.shares(found.iou.argmax(1), found.level)[int(found.level[0])]
    assert f"mask 1 {row[0]:.0%}, mask 2 {row[1]:.0%}, mask 3 {row[2]:.0%}" in said
    assert "share of the image" in who_wins.draw(found, 2).words
    with pytest.raises(InputError, match="seed"):
        who_wins.who_wins(sam, ())
