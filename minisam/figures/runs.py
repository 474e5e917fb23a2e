"""runs: a small real mask, read down its columns, one run length after the other. A figure of chapter 1.

The counts come from ``minisam_kernels.masks.rle`` and the characters from ``minisam_kernels.masks.rle_text``; each
state shows which pixels one number stands for.
"""

from __future__ import annotations

from typing import Any

import ipywidgets as widgets
import numpy as np

from minisam.figures.shared.states import Axis, State, states
from minisam_kernels.masks import rle
from minisam_kernels.runtime.errors import InputError

QUESTION = (
    "The mask is read down its columns, the first column first. Its first number counts the zeros before the first "
    "one. In how many numbers will the whole mask be written: about two per row, two per column, or one per pixel?"
)
NOW_0, NOW_1 = (245, 217, 160), (230, 159, 0)  # a zero and a one of the run that is shown


def small_mask(size: int = 40) -> np.ndarray:
    """A cup of a held-out scene of ``size`` × ``size`` pixels, cut out with a margin of one: (H, W) bool."""
    from minisam.figures.shared.subjects import KNOWN
    from minisam.world import HELD_OUT, render

    number, name, _ = KNOWN["a cup"]
    masks = [mask.segmentation for mask in render(HELD_OUT + number, size).masks if mask.name == name]
    largest = max(masks, key=lambda mask: mask.sum())
    y, x = (np.flatnonzero(largest.any(axis=axis)) for axis in (1, 0))
    return np.array(largest[max(y[0] - 1, 0) : y[-1] + 2, max(x[0] - 1, 0) : x[-1] + 2])


def pieces(mask: np.ndarray) -> list[tuple[int, int, str]]:
    """mask (H, W) bool → for each run: its first pixel in column order, its length, its characters in COCO's text."""
    numbers = rle.encode(mask[None])[0]
    starts = np.cumsum(numbers) - numbers
    lengths = [len(rle.to_string(numbers[:i])) for i in range(len(numbers) + 1)]
    text = rle.to_string(numbers).decode()
    return [(int(s), int(n), text[a:b]) for s, n, a, b in zip(starts, numbers, lengths[:-1], lengths[1:], strict=True)]


def runs(mask: np.ndarray | None = None, source: str = "") -> widgets.VBox:
    """The figure for a mask (H, W) bool of at most 40 runs; without one, for a cup of the procedural world.

    Raises ``InputError`` for a mask that is not bool (H, W), has no pixels, or has more runs.
    """
    mask = small_mask() if mask is None else np.asarray(mask)
    if mask.dtype != bool or mask.ndim != 2 or mask.size == 0:
        raise InputError(f"expected a mask of booleans (H, W) with pixels, got {mask.dtype} {mask.shape}")
    known = pieces(mask)
    if len(known) > 40:
        raise InputError(f"expected a mask of at most 40 runs, got {len(known)}")
    positions = [f"{k + 1} of {len(known)}" for k in range(len(known))]
    return states([Axis("Run", positions)], lambda k: state(mask, known, k), QUESTION, source)


def state(mask: np.ndarray, known: list[tuple[int, int, str]], k: int) -> State:
    """What run ``k`` stands for, as an image and in words."""
    start, length, characters = known[k]
    height = len(mask)
    kind = ("one" if k % 2 else "zero") + "s" * (length != 1)
    where = "no pixel: the mask begins with a one"
    if length:
        (c0, r0), (c1, r1) = divmod(start, height), divmod(start + length - 1, height)
        where = f"from row {r0} of column {c0} to row {r1} of column {c1}"
        if length == 1:
            where = f"row {r0} of column {c0}"
    numbers = [n for _, n, _ in known[: k + 1]]
    back = ""
    if k > 2:
        back = f" It is written as the difference to the number two before it, {length} − {numbers[k - 2]} = "
        back += f"{length - numbers[k - 2]},"
    words = f"Run {k + 1} of {len(known)}: {length} {kind}, {where}.{back or ' It is written as it is,'} "
    words += f"in the text: {characters}. Numbers so far: {', '.join(map(str, numbers))}."
    return State(_draw(mask, start, length, f"{length} {kind}"), words)


def cells(mask: np.ndarray, start: int, length: int, side: int = 24) -> np.ndarray:
    """mask (H, W) → (H · side, W · side, 3) uint8: ones hatched, read pixels bright, those of the run in colour."""
    order = np.arange(mask.size).reshape(mask.shape[::-1]).T  # each pixel's place in the order of reading
    time = np.where(order < start, 1, np.where(order < start + length, 2, 0))
    colours = np.array(
        [[(232, 232, 232), (150, 150, 150)], [(255, 255, 255), (86, 180, 233)], [NOW_0, NOW_1]], np.uint8
    )
    picture = colours[time, mask.astype(int)].repeat(side, axis=0).repeat(side, axis=1)
    y, x = np.indices(picture.shape[:2])
    hatched = ((x + y) % 8 < 2) & mask.repeat(side, axis=0).repeat(side, axis=1)
    picture[hatched] = picture[hatched] // 2
    picture[(x % side == 0) | (y % side == 0)] = 90
    return picture


def _draw(mask: np.ndarray, start: int, length: int, title: str) -> Any:
    import matplotlib.pyplot as plt

    height, width = mask.shape
    figure, axes = plt.subplots(figsize=(min(7.0, 1.2 + width * 0.3), 0.9 + height * 0.3))
    axes.imshow(cells(mask, start, length), extent=(0, width, height, 0), interpolation="nearest")
    starts_of_columns = np.arange(width + 1) * height
    for column in range(width):  # the path of reading
        last = min(max(start + length - starts_of_columns[column], 0), height)
        if last:
            axes.plot([column + 0.5] * 2, [0.25, last - 0.25], color="black", linewidth=1.3)
            axes.plot(column + 0.5, last - 0.3, marker="v", color="black", markersize=5)
    axes.set(title=title, xlabel="column", ylabel="row")
    axes.set_xticks(np.arange(0, width, 2) + 0.5, [str(n) for n in range(0, width, 2)])
    axes.set_yticks(np.arange(0, height, 2) + 0.5, [str(n) for n in range(0, height, 2)])
    axes.tick_params(length=0)
    return figure
