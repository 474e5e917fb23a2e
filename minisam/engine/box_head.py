"""Where are objects? A head with one class, "object", on the embedding that the model has made of a view anyway.

Each cell of the embedding e (h, w, C) answers with five numbers, from a perceptron with one hidden layer::

    s, dx, dy, log W, log H = GELU(e · w1 + b1) · w2 + b2        (GELU(x) = x · Φ(x), as torch's)

σ(s) is the chance that an object has its middle in the cell; the middle is at (column + ½ + dx, row + ½ + dy) cells,
and W and H are the box's sides in views. A view is asked about the objects that belong to its zoom (``views.around``),
others are neither right nor wrong there. ``minisam.training.box_head`` trains the four arrays; this is NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minisam.checkpoints.safetensors_file import read_safetensors, write_safetensors
from minisam.engine.views import View, around
from minisam_kernels import InputError

EMPTY = 0.25  # how much a cell counts that has no object's middle: perhaps nobody has drawn the object
EDGE = 0.02  # of a view: a box as near to an edge inside the picture belongs to another view
SHAPES = ("w1", "b1", "w2", "b2")


@dataclass(frozen=True)
class BoxHead:
    """``w1`` (C, H), ``b1`` (H,), ``w2`` (H, 5), ``b2`` (5,), float32."""

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray

    def __call__(self, embedding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores (h, w) from 0 to 1 and boxes (h, w, 4), x0, y0, x1, y1 in views, of an embedding (h, w, C)."""
        from scipy.special import expit, ndtr

        if embedding.ndim != 3 or embedding.shape[2] != len(self.w1):
            raise InputError(f"expected an embedding (h, w, {len(self.w1)}), got {embedding.shape}")
        height, width = embedding.shape[:2]
        hidden = embedding @ self.w1 + self.b1
        answers = (hidden * ndtr(hidden)) @ self.w2 + self.b2
        x = (np.arange(width) + 0.5 + answers[..., 1]) / width
        y = (np.arange(height)[:, None] + 0.5 + answers[..., 2]) / height
        half_w, half_h = (np.exp(np.clip(answers[..., k], -6, 0.5)) / 2 for k in (3, 4))
        return expit(answers[..., 0]), np.stack([x - half_w, y - half_h, x + half_w, y + half_h], -1)

    def save(self, path: Path) -> None:
        """Write the arrays as a safetensors file."""
        write_safetensors(path, {name: getattr(self, name) for name in SHAPES}, {"holds": "box head"})

    @classmethod
    def load(cls, path: Path) -> BoxHead:
        """Read what ``save`` wrote; ``InputError`` for anything else."""
        arrays, _ = read_safetensors(path)
        if set(arrays) != set(SHAPES) or arrays["w2"].shape != (len(arrays["b1"]), 5):
            raise InputError(f"expected the four arrays of a box head, got {path}")
        return cls(**{name: np.array(arrays[name]) for name in SHAPES})


class Targets(NamedTuple):
    """What a head should answer for a view: ``scores`` (h, w), ``boxes`` (h, w, 4), ``weights`` (h, w), float32."""

    scores: np.ndarray
    boxes: np.ndarray
    weights: np.ndarray


def targets(view: View, boxes: np.ndarray, size: tuple[int, int], cells: int) -> Targets:
    """What the head should answer for a view of cells × cells, of a picture (H, W) with objects' boxes (K, 4) xyxy.

    An object counts if it belongs to the view's zoom and lies in the view; where the middle of another one lies,
    nothing counts. Of two middles in a cell the smaller object's is learnt.
    """
    scores, weights = np.zeros((cells, cells), np.float32), np.full((cells, cells), EMPTY, np.float32)
    answers = np.zeros((cells, cells, 4), np.float32)
    order = np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), kind="stable")
    for box in boxes[order]:
        x0, y0, x1, y1 = (box - (view.x, view.y, view.x, view.y)) / view.side
        x, y = cells * (x0 + x1) / 2, cells * (y0 + y1) / 2
        if not (0 <= x < cells and 0 <= y < cells):
            continue
        column, row = int(x), int(y)
        if around(box, size).side != view.side or cut_off(np.array([x0, y0, x1, y1]), view, size):
            if not scores[row, column]:
                weights[row, column] = 0
            continue
        scores[row, column] = weights[row, column] = 1
        answers[row, column] = x - column - 0.5, y - row - 0.5, np.log(x1 - x0), np.log(y1 - y0)
    return Targets(scores, answers, weights)


def cut_off(box: np.ndarray, view: View, size: tuple[int, int]) -> bool:
    """Whether a box, in views, comes near an edge of the view that is none of the picture (H, W)."""
    height, width = size
    inner = (view.x > 0, view.y > 0, view.x + view.side < width, view.y + view.side < height)
    near = (box[0] < EDGE, box[1] < EDGE, box[2] > 1 - EDGE, box[3] > 1 - EDGE)
    return any(a and bool(b) for a, b in zip(inner, near))


def boxes_of(
    head: BoxHead, view: View, embedding: np.ndarray, size: tuple[int, int], least: float
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes (K, 4) xyxy in pixels of the picture (H, W) that a view's cells propose, and their scores (K,).

    Left out are scores below ``least``, boxes of another zoom, and those at an edge inside the picture.
    """
    scores, boxes = head(embedding)
    rows, columns = np.nonzero(scores >= least)
    found: list[np.ndarray] = []
    values: list[float] = []
    for row, column in zip(rows, columns):
        box = boxes[row, column]
        whole = box * view.side + (view.x, view.y, view.x, view.y)
        whole = np.clip(whole, 0, (size[1], size[0], size[1], size[0]))
        if cut_off(box, view, size) or around(whole, size).side != view.side or (whole[2:] - whole[:2]).min() < 2:
            continue
        found.append(whole)
        values.append(float(scores[row, column]))
    return np.array(found, np.float32).reshape(-1, 4), np.array(values, np.float32)


def stack(several: Sequence[Targets]) -> Targets:
    """The targets of N views, with an axis in front."""
    return Targets(*(np.stack(arrays) for arrays in zip(*several)))
