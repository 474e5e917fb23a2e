"""Chapter 7's exercises: property tests of a reader's answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minisam.exercises import Test, same
from minisam_kernels.layers.conv_transpose2d import conv_transpose2d_numpy
from minisam_kernels.layers.resize import resize_numpy


def double(answer: Callable[..., np.ndarray]) -> str:
    """answer(x, weight, bias): (H, W, C), (C, O, 2, 2), (O,) → (2H, 2W, O), a transposed convolution of stride 2."""
    rng = np.random.default_rng()
    for h, w, c, o in ((1, 1, 1, 1), (2, 3, 4, 5), (4, 2, 3, 1)):
        x, weight, bias = rng.standard_normal((h, w, c)), rng.standard_normal((c, o, 2, 2)), rng.standard_normal(o)
        want = conv_transpose2d_numpy(x[None], weight, bias)[0]
        out = answer(x.copy(), weight.copy(), bias.copy())
        wrong = same(out, want, "Corner (u, v) of token (i, j) lies at (2i + u, 2j + v).")
        if wrong and np.shape(out) == want.shape:
            blocks = np.einsum("ijc,couv->ijuvo", x, weight) + bias
            if np.allclose(out, blocks.reshape(want.shape)):
                return "Right numbers in wrong places: bring the axes into the order i, u, j, v, o first."
            if np.allclose(out, conv_transpose2d_numpy(x[None], weight.swapaxes(2, 3), bias)[0]):
                return "Rows and columns of the block are swapped: u goes down, v to the right."
            if np.allclose(out, conv_transpose2d_numpy(x[None], weight[..., ::-1, ::-1], bias)[0]):
                return "The kernel is not turned round."
            if np.allclose(out, want - bias):
                return "The bias is missing."
        if wrong:
            return wrong
    return ""


def masks(answer: Callable[..., np.ndarray]) -> str:
    """answer(vectors, features): (M, C), (h, w, C) → logits (M, h, w)."""
    rng = np.random.default_rng()
    for m, h, w, c in ((1, 1, 2, 3), (4, 5, 3, 6), (3, 4, 4, 4)):
        vectors, features = rng.standard_normal((m, c)), rng.standard_normal((h, w, c))
        want = np.stack([(features * vector).sum(axis=2) for vector in vectors])
        out = answer(vectors.copy(), features.copy())
        if np.shape(out) == want.shape:
            if np.allclose(out, 1 / (1 + np.exp(-want))):
                return "These are probabilities. A logit is the sum itself, without the sigmoid."
            lengths = np.linalg.norm(vectors, axis=1)[:, None, None] * np.linalg.norm(features, axis=2)
            if np.allclose(out, want / lengths) and not np.allclose(out, want):
                return "This is the cosine. Lengths count: a long vector is a sure one."
        wrong = same(out, want, "Sum over the channels: “mc,hwc->mhw”.")
        if wrong:
            return wrong
    return ""


def stretch(answer: Callable[[np.ndarray, int], np.ndarray]) -> str:
    """answer(row, count): (n,) → (count,), linear between pixel centres, the ends held."""
    rng = np.random.default_rng()
    for old, new in ((4, 16), (5, 12), (1, 6), (9, 4), (6, 6)):
        row = rng.standard_normal(old)
        want = resize_numpy(row[None, None, :, None], (1, new))[0, 0, :, 0]
        out = answer(row.copy(), new)
        wrong = same(out, want, f"From {old} to {new} pixels: s = (i + ½) · old / new − ½, held between 0 and old − 1.")
        if wrong and np.shape(out) == want.shape:
            if new > 1 and np.allclose(out, np.interp(np.linspace(0, old - 1, new), np.arange(old), row)):
                return "Here the corners are aligned. Pixels are squares: what corresponds are their centres."
            if np.allclose(out, np.interp(np.arange(new) * old / new, np.arange(old), row)):
                return "The half pixels are missing: new pixel i has its centre at i + ½."
        if wrong:
            return wrong
    return ""


def best_vector(answer: Callable[..., np.ndarray]) -> str:
    """answer(features, inside): (n, C), (n,) bool → (C,), the least squares fit of +1 inside and −1 outside."""
    rng = np.random.default_rng()
    for n, c in ((30, 3), (200, 16), (50, 1)):
        features = rng.standard_normal((n, c)) + 0.5
        inside = features @ rng.standard_normal(c) + rng.standard_normal(n) > 0.3
        want = np.linalg.lstsq(features, np.where(inside, 1.0, -1.0), rcond=None)[0]
        out = answer(features.copy(), inside.copy())
        wrong = same(out, want, "Least squares: np.linalg.lstsq(features, target).", 1e-5)
        if wrong and np.shape(out) == want.shape:
            if np.allclose(out, np.linalg.lstsq(features, inside.astype(float), rcond=None)[0]):
                return "Aim at +1 and −1, not at 1 and 0: the threshold is at 0."
            ones = np.concatenate([features, np.ones((n, 1))], axis=1)
            if np.allclose(out, np.linalg.lstsq(ones, np.where(inside, 1.0, -1.0), rcond=None)[0][:c]):
                return "There is no bias in the decoder: the fit must do without the column of ones."
            if np.allclose(out, features[inside].mean(axis=0) - features[~inside].mean(axis=0)):
                return "The difference of the means points the right way, and forgets that features are correlated."
        if wrong:
            return wrong
    return ""


EXERCISES: dict[str, Test] = {"1": double, "2": masks, "3": stretch, "4": best_vector}
