"""Chapter 5's exercises: property tests of a reader's answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minisam.exercises import Test, same
from minisam_kernels.layers.position_encoding import position_encoding_numpy


def encode(answer: Callable[..., np.ndarray]) -> str:
    """answer(points, size, gaussian): (..., 2) pixels of an input of ``size``² → (..., C)."""
    rng = np.random.default_rng()
    for shape, features, size in (((1,), 3, 8), ((5,), 16, 256), ((2, 3), 64, 1024)):
        points, gaussian = rng.uniform(0, size, (*shape, 2)), rng.standard_normal((2, features))
        want = position_encoding_numpy((points + 0.5) / size, gaussian)
        out = np.asarray(answer(points.copy(), size, gaussian))
        slips = {
            "Add the half pixel before you divide: a pixel's place is its centre.": position_encoding_numpy(
                points / size, gaussian
            ),
            "Places go from 0…1 to −1…1 before the matrix.": position_encoding_numpy(
                ((points + 0.5) / size + 1) / 2, gaussian
            ),
            "The first number of a place is x, and x belongs to the first row of the matrix.": position_encoding_numpy(
                (points[..., ::-1] + 0.5) / size, gaussian
            ),
            "Sines come first, then cosines.": np.roll(want, features, axis=-1),
            "The matrix gives turns. A sine wants radians: a turn is 2π.": np.concatenate(
                [f(((points + 0.5) / size * 2 - 1) @ gaussian) for f in (np.sin, np.cos)], axis=-1
            ),
            "Sines and cosines do not take turns: first all sines, then all cosines.": want.reshape(
                *shape, 2, features
            ).swapaxes(-1, -2),
        }
        wrong = same(out, want, "Half a pixel, 0…1, −1…1, the matrix, 2π, all sines, all cosines.")
        for hint, slip in slips.items():
            if wrong and out.shape == want.shape and np.allclose(out, slip.reshape(want.shape), atol=1e-6):
                return hint
        if wrong:
            return wrong
    return ""


def similarity(answer: Callable[..., np.ndarray]) -> str:
    """answer(difference, gaussian): (..., 2) in shares of the side → the inner product of two encodings over C/2."""
    rng = np.random.default_rng()
    for features in (1, 7, 128):
        gaussian, a, b = rng.standard_normal((2, features)), rng.random((6, 2)), rng.random((6, 2))
        pairs = position_encoding_numpy(a, gaussian) * position_encoding_numpy(b, gaussian)
        want = pairs.sum(axis=1) / features
        out = np.asarray(answer(a - b, gaussian))
        wrong = same(out, want, "cos a cos b + sin a sin b = cos(a − b), once for every column of the matrix.")
        if wrong and out.shape == want.shape:
            if np.allclose(out, np.cos(2 * np.pi * (a - b) @ gaussian).mean(axis=1)):
                return (
                    "Places are stretched from 0…1 to −1…1 first, so a difference doubles before it meets the matrix."
                )
            if np.allclose(out, want * features):
                return "Divide by C/2, so that a place is 1 to itself."
        if wrong:
            return wrong
    return ""


def half_width(answer: Callable[[float], float]) -> str:
    """answer(deviation): the distance, in sides of the image, at which the expected similarity is one half."""
    for deviation in (1.0, 0.5, 10.0):
        want = np.sqrt(np.log(2) / 8) / (np.pi * deviation)
        out = float(answer(deviation))
        if np.isclose(out, 2 * want):
            return "Twice too far: remember that places are stretched to −1…1, which doubles every difference."
        if np.isclose(out, np.sqrt(np.log(2) / 4) / (np.pi * deviation)):
            return "The mean of cos z is exp(−variance / 2): a 2 is missing under the fraction."
        if np.isclose(out, want * deviation) and deviation != 1:
            return "A wider matrix (larger σ) has higher frequencies: does your distance depend on σ?"
        wrong = same(out, want, f"With σ = {deviation:g}: solve exp(−8π²σ²d²) = 1/2 for d.")
        if wrong:
            return wrong
    return ""


def as_logits(answer: Callable[..., np.ndarray]) -> str:
    """answer(mask, side, strength): a yes/no mask (H, W), W = k · side ≥ H = k · h' → (1, side, side)."""
    rng = np.random.default_rng()
    for block, side, rows, strength in ((1, 4, 4, 8.0), (2, 6, 6, 1.0), (4, 8, 5, 8.0)):
        mask = rng.random((block * rows, block * side)) < 0.5
        want = np.full((1, side, side), -strength)
        share = mask.reshape(rows, block, side, block).mean(axis=(1, 3))
        want[0, :rows] = strength * (2 * share - 1)
        out = np.asarray(answer(mask.copy(), side, strength))
        wrong = same(out, want, "A cell that is half inside gets 0: strength · (2 · share − 1).")
        if out.dtype == bool:
            return "These are still yes and no. The decoder wants numbers with a sign."
        if wrong and out.shape == want.shape:
            if (out >= 0).all() and (want < 0).any():
                return "Nothing is below zero: 0 is where the model is undecided. “Outside” is negative."
            if rows < side and np.allclose(out[0, :rows], want[0, :rows]):
                return "Below the image there is only padding, and padding is outside: −strength, not 0."
        if wrong:
            return wrong
    return ""


EXERCISES: dict[str, Test] = {"1": encode, "2": similarity, "3": half_width, "4": as_logits}
