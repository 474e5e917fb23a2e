"""Exercises of chapter 0: rows and columns, overlap by hand, one mask against three."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minisam.exercises import Test, same
from minisam_kernels.losses.iou import iou

Function = Callable[..., Any]


def _masks(count: int, seed: int) -> Iterator[np.ndarray]:
    """Stacks of ``count`` masks (count, H, W) that are not square and not empty, thin ones and full ones among them."""
    rng = np.random.default_rng(seed)
    for height, width in ((5, 9), (9, 5), (1, 4), (30, 47)):
        for density in (0.2, 0.7):
            masks = rng.random((count, height, width)) < density
            masks[:, 0, 0] = True
            yield masks
    yield np.ones((count, 3, 2), bool)


def rows_and_columns(count: Function) -> str:
    """``count(mask, x)``: how many pixels of a mask (H, W) lie on the vertical line x."""
    for (mask,) in _masks(1, seed=1):
        height, width = mask.shape
        for x in {0, width // 2, width - 1}:
            want = sum(bool(mask[y, x]) for y in range(height))
            across = x < height and want != mask[x].sum()
            try:
                out = count(mask.copy(), x)
            except IndexError:
                return f"x = {x} is out of range in a mask of {mask.shape}: an array is indexed [row, column], y first"
            if across and np.ndim(out) == 0 and out == mask[x].sum():
                return "that is the horizontal line y = x: an array is indexed [row, column], y first, then x"
            wrong = same(out, want, f"Mask of shape {mask.shape}, x = {x}. Count the True ones of one column.")
            if wrong:
                return wrong
    return ""


def overlap_by_hand(overlap: Function) -> str:
    """``overlap(a, b)``: the IoU of two masks (H, W)."""
    hint = "Count the pixels that are in both, and divide by the pixels that are in either."
    for a, b in _masks(2, seed=2):
        for left, right in ((a, b), (a, a), (a, ~a)):
            both, either = (left & right).sum(), (left | right).sum()
            out = overlap(left.copy(), right.copy())
            if np.ndim(out) == 0 and out is not None and both:
                if np.isclose(out, both / (left.sum() + right.sum())) and either:
                    return "the sum of the two areas counts what is in both twice: the union is a | b"
                if np.isclose(out, 2 * both / (left.sum() + right.sum())) and both != either:
                    return "that is the Dice coefficient, not the IoU: divide by the pixels in either, a | b"
                if np.isclose(out, both / left.size) and either != left.size:
                    return "divide by the pixels in either mask, not by all pixels of the image"
            wrong = same(out, both / either, hint)
            if wrong:
                return wrong
    return ""


def one_of_three(closest: Function) -> str:
    """``closest(single, masks)``: the largest IoU of a mask (H, W) with any of masks (M, H, W)."""
    for stack in _masks(4, seed=3):
        single, masks = stack[0], stack[1:]
        each = [float(iou(single[None], mask[None])[0]) for mask in masks]
        for order in (masks, masks[::-1], np.concatenate([masks[:1], single[None], masks[1:]])):
            out = closest(single.copy(), order.copy())
            ious = [float(iou(single[None], mask[None])[0]) for mask in order]
            if np.shape(out) == (len(order),):
                return "one number is wanted, the largest of them"
            if np.ndim(out) == 0 and out is not None and len({*each}) > 1 and np.isclose(out, np.mean(ious)):
                return "that is the mean over the masks; the question is about the closest one: take the largest"
            wrong = same(out, max(ious), "Compare the one mask with each of the others, and keep the largest IoU.")
            if wrong:
                return wrong
    return ""


EXERCISES: dict[str, Test] = {"1": rows_and_columns, "2": overlap_by_hand, "3": one_of_three}
