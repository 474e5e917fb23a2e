"""A person, simulated: looks at a picture, clicks, judges what the model draws, brushes, or draws a polygon instead.

The person knows what is really there (``Truth``), as people see it; only this module and ``audit`` do. Nothing of it
is handed over: a click is a point with a label, moved by an unsteady hand and at times in the wrong place; a polygon
has few corners, each beside the edge; the brush is a disk that is dragged; a mask is judged by a guess of its quality.

For each object: the model is shown the view and one click. While the guess is below the target, the person clicks again
where the larger error is. Two clicks that help too little, or too many clicks, and the person takes the brush if the
mask is nearly right; else everything was in vain and a polygon is drawn. So a model that is no help costs more than no
model (CVAT #2936 measured that), and each object carries what a polygon alone would have cost (``Wish.by_hand``).

Objects are asked for by size, the most prominent first, until the time for a picture is over (SAM, section 4: "in order
of prominence"). Those that a mask on the screen already shows are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from minisam.annotator import Click, next_click, tight_box
from minisam.engine.clock import Actions, Clock, add
from minisam.engine.views import View, around
from minisam_kernels import InputError

LEAST = 100  # pixels of an object that a person cares to draw, in a picture of 512 × 512; of others in proportion
MOST = 0.9  # of the picture: what is larger is no object
SAME = 0.5  # IoU: a mask on the screen that shows an object
CORNERS = (4, 6, 9, 13, 18, 26, 36)  # of a polygon, as many as the outline needs
GRID = 128  # a person points into a view no finer than that


@dataclass(frozen=True)
class Habits:
    """How a person works. ``hand`` and ``wild`` are in sides of the view.

    ``target`` is the IoU at which a mask is good enough, ``doubt`` the deviation of the guess of it, ``keep`` the IoU
    at which a mask that the model proposed may stay. ``hand`` is the deviation of a click; one in ``1 / miss`` clicks
    goes astray by ``wild``. At most ``clicks``, and none after two that together gained less than ``gain``; the brush
    from an IoU of ``brush`` on, for at most ``strokes``.
    """

    target: float = 0.85
    doubt: float = 0.03
    keep: float = 0.75
    hand: float = 0.004
    miss: float = 0.03
    wild: float = 0.05
    clicks: int = 6
    gain: float = 0.06
    brush: float = 0.7
    strokes: int = 4


class Truth:
    """What is really in the pictures. ``masks_of`` gives a picture's objects by its number, bool (M, H, W)."""

    def __init__(self, masks_of: Callable[[int], np.ndarray]) -> None:
        self.masks_of = masks_of
        self._last: tuple[int, np.ndarray] | None = None

    def masks(self, number: int) -> np.ndarray:
        """The objects of a picture; the last picture's are kept."""
        if self._last is None or self._last[0] != number:
            masks = np.asarray(self.masks_of(number))
            if masks.ndim != 3 or masks.dtype != bool:
                raise InputError(f"expected masks (M, H, W) of bool, got {masks.dtype} {masks.shape}")
            self._last = number, masks
        return self._last[1]

    def quality(self, number: int, masks: Sequence[np.ndarray]) -> list[float]:
        """The IoU of each mask (H, W) with the object that is most like it; 0 where there is none."""
        truths = self.masks(number)
        if not len(masks) or not len(truths):
            return [0.0] * len(masks)
        return [round(float(value), 4) for value in overlaps(np.stack(masks), truths).max(1)]


def overlaps(masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The IoU of all pairs: masks (M, H, W), others (K, H, W) bool → (M, K); 0 for two empty ones."""
    a, b = masks.reshape(len(masks), -1).astype(np.float32), others.reshape(len(others), -1).astype(np.float32)
    both = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1)[None] - both
    result: np.ndarray = both / np.maximum(either, 1)
    return result


@dataclass(frozen=True)
class Wish:
    """The next object: where the person looks, and what a polygon alone would have cost."""

    view: View
    by_hand: Actions


@dataclass(frozen=True)
class Answer:
    """What a person does with what is on the screen: a ``click``, or "the ``mask`` (h, w) of the view is done".

    ``by`` says how the finished mask came about: "clicks", "brush" or "polygon". ``actions`` are those of this answer.
    """

    actions: Actions
    click: Click | None = None
    mask: np.ndarray | None = None
    by: str = ""


@dataclass
class _Work:
    """The object at hand: its pixels in the view, the clicks so far and the guesses after them."""

    view: View
    truth: np.ndarray
    guesses: list[float] = field(default_factory=list)
    clicks: int = 0


class Person:
    """Annotates one picture after another. Chance comes from (seed, picture): pictures may come in any order.

    Parameters
    ----------
    truth : Truth
    clock : Clock
    habits : Habits
    seed : int
    """

    def __init__(self, truth: Truth, clock: Clock, habits: Habits | None = None, seed: int = 0) -> None:
        self.truth, self.clock, self.habits, self.seed = truth, clock, habits or Habits(), seed
        self.left: list[int] = []

    # ---- a picture ---------------------------------------------------------------------------------------------------

    def begin(self, number: int, shown: Sequence[np.ndarray], budget: float) -> list[bool]:
        """Open a picture and check every mask (H, W) that the model put there: True may stay.

        ``budget`` is in seconds, for all that follows; checking counts (``check_actions``).
        """
        self.rng = np.random.default_rng([self.seed, number])
        self.objects = self.truth.masks(number)
        self.spent, self.budget = 0.0, budget
        areas = self.objects.sum((1, 2))
        pixels = self.objects[0].size if len(self.objects) else 1
        fit = np.flatnonzero((areas >= LEAST * pixels / 512**2) & (areas <= MOST * pixels))
        keep: list[bool] = []
        seen = np.zeros(len(self.objects), bool)
        if len(shown) and len(self.objects):
            iou = overlaps(np.stack(shown), self.objects)
            for row in iou:
                best = int(row.argmax())
                stays = self._guess(float(row[best])) >= self.habits.keep and not seen[best]
                keep.append(bool(stays))
                seen[best] |= stays
            seen |= (iou[keep] >= SAME).any(0)
        keep += [False] * (len(shown) - len(keep))
        self.spent += self.clock.seconds(check_actions(keep))
        self.left = [int(i) for i in fit[np.argsort(-areas[fit], kind="stable")] if not seen[i]]
        return keep

    def next(self) -> Wish | None:
        """Turn to the next object; None when the time is over or nothing is left."""
        if not self.left or self.spent >= self.budget:
            return None
        mask = self.objects[self.left.pop(0)]
        view = around(tight_box(mask), (mask.shape[0], mask.shape[1]))
        self.work = _Work(view, view.crop(mask))
        self._do({"look": 1})
        self.outline, self.corners = self._polygon()
        return Wish(view, {"look": 1, "vertex": self.corners, "accept": 1})

    def react(self, mask: np.ndarray | None) -> Answer:
        """Answer to the model's mask (h, w) of the view, or make the first click where there is None yet."""
        work, h = self.work, self.habits
        if mask is None:
            return self._click(np.zeros_like(work.truth), {})
        seen = self._do({"wait": 1, "check": 1})
        work.guesses.append(self._guess(_iou(mask, work.truth)))
        if work.guesses[-1] >= h.target:
            return Answer(add(seen, self._do({"accept": 1})), mask=mask, by="clicks")
        helped = len(work.guesses) < 3 or work.guesses[-1] - work.guesses[-3] >= h.gain
        if work.clicks < h.clicks and helped:
            return self._click(mask, seen)
        if work.guesses[-1] >= h.brush:
            brushed, actions = self._brush(mask)
            if brushed is not None:
                return Answer(add(seen, actions, self._do({"accept": 1})), mask=brushed, by="brush")
            seen = add(seen, actions)
        drawn = self._do({"reject": 1, "vertex": self.corners, "accept": 1})
        return Answer(add(seen, drawn), mask=self.outline, by="polygon")

    # ---- the hand ----------------------------------------------------------------------------------------------------

    def _do(self, actions: Actions) -> Actions:
        self.spent += self.clock.seconds(actions)
        return actions

    def _guess(self, iou: float) -> float:
        return iou + self.habits.doubt * float(self.rng.normal())

    def _click(self, mask: np.ndarray, before: Actions) -> Answer:
        """A click near the middle of the larger error; the first one is anywhere well inside of the object."""
        work = self.work
        step = max(1, work.view.side // GRID)
        wrong, truth = mask[::step, ::step], work.truth[::step, ::step]
        if not truth.any():  # thinner than the grid
            step, wrong, truth = 1, mask, work.truth
        if work.clicks == 0:
            rows, columns = np.nonzero(_core(truth))
            chosen = int(self.rng.integers(len(rows)))
            (x, y), label = (int(columns[chosen]), int(rows[chosen])), 1
        else:
            (x, y), label = next_click(wrong, truth)
        far = self.habits.wild if self.rng.random() < self.habits.miss else self.habits.hand
        moved = np.array([x, y]) * step + self.rng.normal(size=2) * far * work.view.side
        height, width = mask.shape
        x, y = (int(v) for v in np.clip(np.rint(moved), 0, (width - 1, height - 1)))
        work.clicks += 1
        return Answer(add(before, self._do({"click": 1})), click=((x, y), label))

    def _polygon(self) -> tuple[np.ndarray, int]:
        """The polygon that this person would draw: as few corners as do, and each a little beside the edge."""
        from minisam.world.annotators import draw_lines

        truth, target = self.work.truth, min(0.99, self.habits.target + 0.03)
        drawn, corners = np.zeros_like(truth), 0
        for most in CORNERS:
            lines = draw_lines(truth, most, 0)
            drawn, corners = fill(lines, truth.shape), sum(map(len, lines))
            if _iou(drawn, truth) >= target:
                break
        hand = self.habits.hand * self.work.view.side
        lines = [line + self.rng.normal(size=line.shape) * hand for line in lines]
        return fill(lines, truth.shape), corners

    def _brush(self, mask: np.ndarray) -> tuple[np.ndarray | None, Actions]:
        """Paint over errors, the largest first, with a disk that fits; None if the mask is still not good enough."""
        from scipy.ndimage import label

        mask, total, work = mask.copy(), {}, self.work
        for _ in range(self.habits.strokes):
            missing = work.truth & ~mask
            pieces = [label(wrong)[0] for wrong in (missing, mask & ~work.truth)]
            sizes = [np.bincount(piece.ravel())[1:] for piece in pieces]
            kind = int(max(sizes[1], default=0) > max(sizes[0], default=0))
            if not len(sizes[kind]):
                break
            region = pieces[kind] == 1 + int(sizes[kind].argmax())
            shift = np.rint(self.rng.normal(size=2) * self.habits.hand * work.view.side).astype(int)
            mask[_moved(_painted(region), shift)] = kind == 0
            total = add(total, self._do({"stroke": 1, "check": 1}))
            if self._guess(_iou(mask, work.truth)) >= self.habits.target:
                return mask, total
        return None, total


def check_actions(keep: Sequence[bool]) -> Actions:
    """What it takes to check masks that are there already."""
    return add({"check": len(keep), "reject": len(keep) - sum(keep)})


def _iou(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def _core(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask (H, W) that are at least half as deep inside as the deepest one."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    core: np.ndarray = depth >= max(0.5 * depth.max(), 0.5)
    return core


def _painted(region: np.ndarray) -> np.ndarray:
    """What a disk covers that is dragged through a region (H, W) without leaving it: the region's opening.

    The disk is two thirds as large as the largest that fits.
    """
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    radius = max(1.0, depth.max() * 2 / 3)
    painted: np.ndarray = distance_transform_edt(depth < radius) < radius
    return painted


def _moved(mask: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """A mask moved by (x, y) pixels; what leaves the view is gone."""
    (x, y), (height, width) = shift, mask.shape
    moved = np.zeros_like(mask)
    rows, columns = np.nonzero(mask)
    rows, columns = rows + y, columns + x
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    moved[rows[inside], columns[inside]] = True
    return moved


def fill(lines: Sequence[np.ndarray], size: tuple[int, ...]) -> np.ndarray:
    """The pixels (H, W) bool whose centres lie inside of any of the closed lines (K, 2), corners (x, y) in pixels.

    Every row is crossed by edges; a pixel with an odd number of crossings to its left is inside.
    """
    height, width = size
    inside = np.zeros((height, width), bool)
    for line in lines:
        toggles = np.zeros((height, width + 1), np.int32)
        for (ax, ay), (bx, by) in zip(line, np.roll(line, -1, 0)):
            if ay == by:
                continue
            # centres of rows, y + ½, from the upper end on and before the lower one
            first, last = np.ceil(np.array([min(ay, by), max(ay, by)]) - 0.5).astype(int)
            rows = np.arange(max(first, 0), min(last, height))
            x = ax + (rows + 0.5 - ay) * (bx - ax) / (by - ay)
            np.add.at(toggles, (rows, np.clip(np.ceil(x - 0.5), 0, width).astype(int)), 1)
        inside |= (toggles.cumsum(1)[:, :-1] % 2).astype(bool)
    return inside

