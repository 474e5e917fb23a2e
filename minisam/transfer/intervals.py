"""Bootstrap intervals of means over objects: pictures are drawn again, with all their objects, and so are the seeds.

Objects of one picture are no independent samples, so whole pictures are drawn with replacement, as many as there are;
where several trainings were measured on the same objects, so are the trainings. 95 % of the means that come out lie
between ``low`` and ``high``. With three trainings the interval over them is a rough one, rather too narrow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

REPEATS, LEVEL = 1000, 0.95


def interval(values: np.ndarray, pictures: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Mean of ``values`` over trainings and objects, with its bootstrap interval.

    Parameters
    ----------
    values : ndarray, shape (T, O, ...)
        A figure for each training and object.
    pictures : ndarray, shape (O,), int
        Each object's picture.
    seed : int
        Of the draws.

    Returns
    -------
    dict
        ``mean``, ``low`` and ``high``: numbers, or lists in the shape of what follows the objects' axis.
    """
    rng = np.random.default_rng(seed)
    numbers, inverse = np.unique(pictures, return_inverse=True)
    belongs = (inverse == np.arange(len(numbers))[:, None]).astype(float)  # (P, O)
    sums = np.einsum("po,to...->tp...", belongs, values.astype(float))  # of each training and picture
    trainings, counts = len(values), belongs.sum(1)
    # how often each picture and each training is drawn, (R, P) and (R, T)
    drawn = rng.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), REPEATS).astype(float)
    chosen = rng.multinomial(trainings, np.full(trainings, 1 / trainings), REPEATS) / trainings
    means = np.einsum("rt,rp,tp...->r...", chosen, drawn, sums, optimize=True)
    means /= (drawn @ counts).reshape(-1, *[1] * (means.ndim - 1))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return {"mean": values.mean((0, 1)).tolist(), "low": low.tolist(), "high": high.tolist()}


def text(entry: dict[str, Any], number: int | None = None, digits: int = 3) -> str:
    """Write an interval, or entry ``number`` of one of a list: mean and, in brackets, the limits."""
    mean, low, high = (entry[key] if number is None else entry[key][number] for key in ("mean", "low", "high"))
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
