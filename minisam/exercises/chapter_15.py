"""The tests of chapter 15's exercises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minisam.exercises import same


def _islands(answer: Callable[..., Any]) -> str:
    """15.1: (mask, least) → the mask without 8-connected pieces of fewer than ``least`` pixels."""
    from scipy.ndimage import label

    corner = np.zeros((4, 4), bool)
    corner[0, 0] = corner[1, 1] = corner[2, 2] = True
    if not np.asarray(answer(corner, 3)).any():
        return "pixels that touch at a corner belong together here (8 neighbours): a diagonal of 3 is one piece of 3."
    for number in range(40):
        rng = np.random.default_rng(number)
        mask = rng.random(rng.integers(1, 15, 2)) < rng.choice([0.1, 0.3, 0.5])
        least = int(rng.integers(1, 6))
        pieces, _ = label(mask, np.ones((3, 3)))
        areas = np.bincount(pieces.ravel(), minlength=1)
        areas[0] = 0
        given = mask.copy()
        out = np.asarray(answer(given, least))
        if not np.array_equal(given, mask):
            return "your function changed the mask that it was given; work on a copy."
        if out.shape == mask.shape and (out & ~mask).any():
            return "your answer has pixels that the mask does not have."
        if out.shape == mask.shape and np.array_equal(out, (areas > least)[pieces]) and (areas == least).any():
            return f"a piece of exactly {least} pixels stays: only those with fewer go."
        wrong = same(out, (areas >= least)[pieces], f"Pieces of fewer than {least} pixels go, all others stay.")
        if wrong:
            return wrong
    return ""


def _calibration(answer: Callable[..., Any]) -> str:
    """15.2: (predicted, true, bins) → expected calibration error."""
    from minisam.transfer.calibration import BINS, calibration

    if abs(float(answer(np.array([0.95, 0.05]), np.array([0.9, 0.1]), 10)) - 0.05) > 1e-9:
        return "two masks in two bins, each off by .05, one too sure and one not sure enough: they do not cancel; .05."
    for number in range(25):
        rng = np.random.default_rng(number)
        count = int(rng.integers(1, 200))
        predicted = rng.uniform(-0.05, 1.1, count) if number % 2 else rng.beta(4, 2, count)
        true = np.clip(predicted + rng.normal(0.1, 0.2, count), 0, 1)
        want = calibration(list(zip(predicted.tolist(), true.tolist())))["error"]
        out = float(answer(predicted.copy(), true.copy(), BINS))
        bin_of = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
        gaps = [abs(predicted[bin_of == b].mean() - true[bin_of == b].mean()) for b in np.unique(bin_of)]
        if abs(out - np.mean(gaps)) < 1e-9 and abs(out - want) > 1e-6:
            return "you averaged over bins; weigh each bin by how many masks it holds."
        if abs(out - abs(predicted - true).mean()) < 1e-9 and abs(out - want) > 1e-6:
            return "that is the mean error of single masks. Take means within a bin first, then the difference."
        hint = "Scores below 0 go to the first bin and those of 1 or more to the last; empty bins count nothing."
        wrong = same(out, want, hint)
        if wrong:
            return wrong
    return ""


def _shifted_bar(answer: Callable[..., Any]) -> str:
    """15.3: (width, shift) → IoU of a bar with itself moved across by ``shift`` pixels."""
    for width, shift in ((1, 1), (2, 1), (3, 1), (40, 1), (5, 0), (4, 9), (7, 3), (12, 12)):
        a, b = np.zeros(80, bool), np.zeros(80, bool)
        a[10 : 10 + width], b[10 + shift : 10 + shift + width] = True, True
        want = (a & b).sum() / (a | b).sum()
        out = answer(width, shift)
        if shift > width and float(out) < 0:
            return "an IoU is never below 0: bars that do not touch have 0."
        if abs(float(out) - (width - shift) / width) < 1e-9 and abs(float(out) - want) > 1e-9:
            return "that is the share of the bar that is still covered; the union grows as well."
        wrong = same(out, want, f"A bar {width} wide, moved by {shift}: what do both cover, and what does either?")
        if wrong:
            return wrong
    return ""


def _partition(answer: Callable[..., Any]) -> str:
    """15.4: (masks, scores) → for each pixel the number of the best mask that covers it, −1 where none does."""
    for number in range(30):
        rng = np.random.default_rng(number)
        count, shape = int(rng.integers(1, 6)), (5, 7)
        masks, scores = rng.random((count, *shape)) < 0.4, rng.permutation(count) - rng.integers(0, 4)
        scores = scores.astype(float)
        if number % 4 == 0:
            scores[:] = 0.5
        covered = np.where(masks, scores[:, None, None], -np.inf)
        want = np.where(masks.any(axis=0), covered.argmax(axis=0), -1)
        out = np.asarray(answer(masks.copy(), scores.copy()))
        if out.shape == shape and (out[~masks.any(axis=0)] != -1).any():
            return "where no mask covers a pixel the answer is −1."
        if (
            out.shape == shape
            and np.array_equal(out, np.where(masks.any(axis=0), masks.argmax(axis=0), -1))
            and not np.array_equal(out, want)
        ):
            return "you took the first mask that covers a pixel; take the one with the highest score."
        hint = "Scores may be negative. Where scores tie, the mask with the lower number wins."
        wrong = same(out, want, hint)
        if wrong:
            return wrong
    return ""


EXERCISES = {"1": _islands, "2": _calibration, "3": _shifted_bar, "4": _partition}
