"""Bootstrap intervals: against loops over the same draws, and where the answer is known."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minisam.transfer import intervals
from minisam.transfer.intervals import interval, text
from strategies import seeds

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "objects drawn one by one": (
        "minisam/transfer/intervals.py",
        "numbers, inverse = np.unique(pictures, return_inverse=True)",
        "numbers, inverse = np.unique(np.arange(len(pictures)), return_inverse=True)",
    ),
    "a mean of pictures' means": ("minisam/transfer/intervals.py", "(drawn @ counts)", "(drawn @ counts * 0 + counts.sum())"),
    "trainings that are never drawn": (
        "minisam/transfer/intervals.py",
        "rng.multinomial(trainings, np.full(trainings, 1 / trainings), REPEATS) / trainings",
        "np.full((REPEATS, trainings), 1 / trainings)",
    ),
}  # fmt: skip


@given(seeds, st.integers(1, 3), st.integers(1, 6))
def test_the_loops_say_the_same(seed, trainings, count):
    """Kills: objects drawn one by one, a mean of pictures' means, trainings that are never drawn."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, count, 9)
    values = rng.random((trainings, 9, 2))
    found = interval(values, pictures, seed)
    again, names = np.random.default_rng(seed), sorted(set(pictures.tolist()))
    drawn = again.multinomial(len(names), np.full(len(names), 1 / len(names)), intervals.REPEATS)
    chosen = again.multinomial(trainings, np.full(trainings, 1 / trainings), intervals.REPEATS)
    means = []
    for times, often in zip(drawn.tolist(), chosen.tolist()):
        some = [o for name, k in zip(names, times) for _ in range(k) for o in np.flatnonzero(pictures == name)]
        runs = [t for t, k in enumerate(often) for _ in range(k)]
        means.append(values[np.ix_(runs, some)].mean((0, 1)))
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(found["mean"], values.mean((0, 1)))
    np.testing.assert_allclose([found["low"], found["high"]], [low, high])


def test_it_holds_the_truth_as_often_as_it_says():
    """Of 200 samples of 60 pictures with a common part, 95 % ± 4.6 % (three deviations) hold the true mean, ½."""
    rng, inside = np.random.default_rng(0), 0
    for sample in range(200):
        pictures = np.repeat(np.arange(60), 3)
        values = 0.5 + rng.normal(size=60)[pictures] + rng.normal(size=180)
        found = interval(values[None], pictures, sample)
        inside += found["low"] <= 0.5 <= found["high"]
    assert 0.90 <= inside / 200 <= 0.996


def test_one_picture_and_its_words():
    found = interval(np.full((1, 3), 0.25), np.zeros(3, int))
    assert found == {"mean": 0.25, "low": 0.25, "high": 0.25}
    assert text(found) == "0.250 [0.250, 0.250]" and text({k: [0, 1.5] for k in found}, 1, 1) == "1.5 [1.5, 1.5]"
