"""Exercises of chapter 1: run lengths, IoU from Dice, a mean that is not one, and how far two areas decide an IoU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minisam.exercises import Test, same
from minisam_kernels.losses.iou import iou
from minisam_kernels.masks.rle import rle_numpy

Function = Callable[..., Any]


def _small_masks() -> Iterator[np.ndarray]:
    """Masks (H, W): one that is not symmetric, thin ones, full and empty ones, noise."""
    yield np.array([[0, 1, 0], [0, 1, 1]], bool)
    yield np.array([[1, 0, 1, 1]], bool)
    yield np.ones((3, 2), bool)
    yield np.zeros((2, 3), bool)
    rng = np.random.default_rng(1)
    for density in (0.1, 0.5, 0.9):
        for shape in ((4, 7), (7, 4), (9, 1)):
            yield rng.random(shape) < density


def run_lengths(runs: Function) -> str:
    """``runs(mask)``: the counts of a mask (H, W), COCO's way."""
    for mask in _small_masks():
        want = rle_numpy(mask).tolist()
        out = runs(mask.copy())
        if out is None:
            return "got None: does your function return something?"
        out = np.asarray(out).tolist()
        about = f"For the mask {mask.astype(int).tolist()}"
        if out == want:
            continue
        if out == rle_numpy(mask.T).tolist():
            return f"{about} you went along the rows; COCO reads down the columns, the first column first"
        if mask[0, 0] and out == want[1:]:
            return f"{about} the first number is missing: it counts zeros, and is 0 if the mask begins with a one"
        if out == want[:-1]:
            return f"{about} the last run is missing: nothing changes after it, but it has a length"
        if 0 in out[1:]:
            return f"{about} you have {out}: no number but the first may be 0"
        if np.sum(out) != mask.size:
            return f"{about} the numbers sum to {np.sum(out)}, but there are {mask.size} pixels"
        return f"{about} expected {want}, got {out}"
    return ""


def iou_of_dice(convert: Function) -> str:
    """``convert(dice)``: the IoU that belongs to a Dice coefficient; arrays, too."""
    dice = np.linspace(0, 1, 11)
    out = convert(dice.copy())
    if out is None:
        return "got None: does your function return something?"
    if np.shape(out) == dice.shape and np.allclose(out, 2 * dice / (1 + dice)):
        return "that is the other direction, from IoU to Dice: solve D = 2I / (1 + I) for I"
    if np.shape(out) == dice.shape and np.allclose(out, dice / 2):
        return "D is twice I only near 0; at D = 1 the IoU must be 1. Solve D = 2I / (1 + I) for I"
    hint = "Solve D = 2I / (1 + I) for I, and try D = 0 and D = 1."
    wrong = same(out, dice / (2 - dice), hint)
    if wrong:
        return wrong
    rng = np.random.default_rng(2)
    for _ in range(8):
        a, b = rng.random((2, 6, 7)) < rng.random((2, 1, 1))
        a[0, 0] = True
        one = 2 * (a & b).sum() / (a.sum() + b.sum())
        wrong = same(
            convert(one), (a & b).sum() / (a | b).sum(), f"Two masks with a Dice coefficient of {one:.4f}. {hint}"
        )
        if wrong:
            return wrong
    return ""


def mean_over_objects(mean_iou: Function) -> str:
    """``mean_iou(masks, truths)``: (M, H, W) each → the mean IoU over objects, without those that have no IoU."""
    rng = np.random.default_rng(3)
    for trial in range(6):
        masks, truths = rng.random((2, 4, 8, 9)) < rng.random((2, 4, 1, 1)) ** 2
        truths[:, 0, 0] = True
        truths[0] = rng.random((8, 9)) < 0.8  # a large object beside small ones
        if trial > 2:
            masks[2] = truths[2] = False
        each = iou(masks, truths).astype(float)
        want, out = np.nanmean(each), mean_iou(masks.copy(), truths.copy())
        pooled = (masks & truths).sum() / (masks | truths).sum()
        if np.ndim(out) == 0 and out is not None and not np.isclose(out, want):
            if np.isclose(out, pooled):
                return "that pools the pixels of all objects, so that a large object outvotes many small ones"
            if np.isnan(out):
                return "one pair of masks is empty on both sides: 0/0 is NaN, and one NaN makes the whole mean NaN"
            if trial > 2 and np.isclose(out, np.nansum(each) / len(each)):
                return "a pair of empty masks has no IoU: leave it out, do not count it as 0"
            if trial > 2 and np.isclose(out, (np.nansum(each) + 1) / len(each)):
                return "a pair of empty masks has no IoU: leave it out, do not count it as 1"
        wrong = same(out, want, "Take the IoU of every pair on its own first, and then the mean.")
        if wrong:
            return wrong
    return ""


def bounds_of_iou(bounds: Function) -> str:
    """``bounds(a, b, n)``: the lowest and the highest IoU of masks of a and b pixels in an image of n."""
    for n in (1, 5, 9, 12):
        for a in range(1, n + 1):
            for b in range(1, n + 1):
                lowest, highest = (x / (a + b - x) for x in (max(0, a + b - n), min(a, b)))
                out = bounds(a, b, n)
                if np.shape(out) != (2,):
                    return "two numbers are wanted: the lowest and the highest IoU"
                about = f"Masks of {a} and {b} pixels in an image of {n}:"
                if np.isclose(out[0], highest) and np.isclose(out[1], lowest) and lowest != highest:
                    return "the lowest comes first"
                if not np.isclose(out[1], highest):
                    return f"{about} the highest is not {out[1]:.4f}. One mask can lie wholly inside the other"
                if not np.isclose(out[0], lowest):
                    room = "they do not fit side by side, so some pixels must be in both" if a + b > n else "they fit"
                    return f"{about} the lowest is not {out[0]:.4f}: {room}"
    return ""


EXERCISES: dict[str, Test] = {"1": run_lengths, "2": iou_of_dice, "3": mean_over_objects, "4": bounds_of_iou}
