"""A person, simulated: looks at a picture, clicks, judges what the model draws, brushes, or draws a polygon instead.

The person knows what is really there (``Truth``), as people see it; only this module and ``audit`` do. Nothing of it
is handed over: a click is a point with a label, moved by an unsteady hand and at times in the wrong place; a polygon
has few corners, each beside the edge; the brush is a disk that is dragged; a mask is judged by a guess of its quality.

For each object: the model is shown the view and one click. At each mask the person takes the way that seems cheapest:
click again where the larger error is (each click is expected to leave as much of the error as the last one did), paint
over the errors, or give up and draw a polygon. Expectations fail: then clicks were in vain, and a model that is no help
costs more than no model (CVAT #2936 measured that). So each object carries what a polygon alone would have cost
(``Wish.by_hand``).

Objects are asked for by size, the most prominent first, until the time for a picture is over (SAM, section 4: "in order
of prominence"). Those that a mask on the screen already shows are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from minisam.annotator import Click, next_click, tight_box
from minisam.engine.clock import Actions, Clock, add
from minisam.engine.hand import core, fill, iou_of, moved, painted, pieces_of
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

    ``target`` is the IoU at which a mask is good enough (two people who draw the same object of Cityscapes agree to
    .784: Castrejón et al. 2017), ``doubt`` the deviation of the guess of it, ``keep`` the IoU at which a mask that the
    model proposed may stay. ``hand`` is the deviation of a click; one in ``1 / miss`` clicks goes astray by ``wild``.
    At most ``clicks`` and ``strokes``; before there is a second click to tell, one is expected to leave ``leaves`` of
    the error, a stroke ``unpainted`` of what it paints over.
    """

    target: float = 0.8
    doubt: float = 0.03
    keep: float = 0.7
    hand: float = 0.004
    miss: float = 0.03
    wild: float = 0.05
    clicks: int = 8
    strokes: int = 5
    leaves: float = 0.6
    unpainted: float = 0.3


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
    """The object at hand: its pixels in the view; clicks and strokes so far, and the guessed errors between them."""

    view: View
    truth: np.ndarray
    errors: list[float] = field(default_factory=list)
    clicks: int = 0
    strokes: int = 0


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

    def begin(self, number: int, shown: Sequence[np.ndarray], budget: float) -> list[Actions | None]:
        """Open a picture and check every mask (H, W) that the model put there.

        ``budget`` is in seconds, for all that follows; checking counts. Of a mask that may stay the answer says what a
        polygon would have cost instead; None stands for one that is rejected.
        """
        self.rng = np.random.default_rng([self.seed, number])
        self.objects = self.truth.masks(number)
        self.spent, self.budget = 0.0, budget
        areas = self.objects.sum((1, 2))
        pixels = self.objects[0].size if len(self.objects) else 1
        fit = np.flatnonzero((areas >= LEAST * pixels / 512**2) & (areas <= MOST * pixels))
        keep: list[Actions | None] = [None] * len(shown)
        seen = np.zeros(len(self.objects), bool)
        iou = overlaps(np.stack(shown), self.objects) if len(shown) and len(self.objects) else np.zeros((0, 0))
        for i, row in enumerate(iou):
            best = int(row.argmax())
            if self._guess(float(row[best])) >= self.habits.keep and not seen[best]:
                self._turn_to(best)
                keep[i] = {"look": 1, "vertex": self.corners, "accept": 1}
                seen[best] = True
        kept = [answer is not None for answer in keep]
        if any(kept):
            seen |= (iou[kept] >= SAME).any(0)
        self._do({"check": len(keep), "reject": len(keep) - sum(kept)})
        self.left = [int(i) for i in fit[np.argsort(-areas[fit], kind="stable")] if not seen[i]]
        return keep

    def _turn_to(self, number: int) -> None:
        """Look at an object, and see how many corners its outline needs."""
        mask = self.objects[number]
        view = around(tight_box(mask), (mask.shape[0], mask.shape[1]))
        self.work = _Work(view, view.crop(mask))
        self.outline, self.corners = self._polygon()

    def next(self) -> Wish | None:
        """Turn to the next object; None when the time is over or nothing is left."""
        if not self.left or self.spent >= self.budget:
            return None
        self._turn_to(self.left.pop(0))
        self._do({"look": 1})
        return Wish(self.work.view, {"look": 1, "vertex": self.corners, "accept": 1})

    def react(self, mask: np.ndarray | None) -> Answer:
        """Answer to the model's mask (h, w) of the view, or make the first click where there is None yet."""
        work = self.work
        if mask is None:
            return self._click(np.zeros_like(work.truth), {})
        done, by = self._do({"wait": 1, "check": 1}), "clicks"
        guess = self._guess(iou_of(mask, work.truth))
        while guess < self.habits.target:
            work.errors.append(max(1 - guess, 0.01))
            way = self._cheapest(mask, by)
            if way == "click":
                return self._click(mask, done)
            if way == "polygon":
                drawn = self._do({"reject": 1, "vertex": self.corners, "accept": 1})
                return Answer(add(done, drawn), mask=self.outline, by=way)
            mask, by = self._stroke(mask), "brush"
            done = add(done, self._do({"stroke": 1, "check": 1}))
            guess = self._guess(iou_of(mask, work.truth))
        return Answer(add(done, self._do({"accept": 1})), mask=mask, by=by)

    def _cheapest(self, mask: np.ndarray, by: str) -> str:
        """The way from a mask to a good one that seems to take the fewest seconds; who has begun to brush goes on."""
        work, h, errors = self.work, self.habits, self.work.errors
        seconds = {"polygon": self.clock.seconds({"reject": 1, "vertex": self.corners})}
        if work.clicks < h.clicks and by == "clicks":
            leaves = h.leaves if len(errors) < 2 else float(np.clip(errors[-1] / errors[-2], 0.2, 0.98))
            count = max(1.0, np.log((1 - h.target) / errors[-1]) / np.log(leaves))
            seconds["click"] = count * self.clock.seconds({"click": 1, "wait": 1, "check": 1})
        if work.strokes < h.strokes:
            sizes = np.sort(np.concatenate(pieces_of(mask, work.truth)[1]))[::-1] * (1 - h.unpainted)
            allowed = (1 - h.target) * (mask | work.truth).sum()
            count = 1 + int((sizes.sum() / (1 - h.unpainted) - sizes.cumsum() > allowed).sum())
            if count <= min(len(sizes), h.strokes - work.strokes):
                seconds["stroke"] = count * self.clock.seconds({"stroke": 1, "check": 1})
        return min(seconds, key=lambda way: seconds[way])

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
            rows, columns = np.nonzero(core(truth))
            chosen = int(self.rng.integers(len(rows)))
            (x, y), label = (int(columns[chosen]), int(rows[chosen])), 1
        else:
            (x, y), label = next_click(wrong, truth)
        far = self.habits.wild if self.rng.random() < self.habits.miss else self.habits.hand
        place = np.array([x, y]) * step + self.rng.normal(size=2) * far * work.view.side
        height, width = mask.shape
        x, y = (int(v) for v in np.clip(np.rint(place), 0, (width - 1, height - 1)))
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
            if iou_of(drawn, truth) >= target:
                break
        hand = self.habits.hand * self.work.view.side
        lines = [line + self.rng.normal(size=line.shape) * hand for line in lines]
        return fill(lines, truth.shape), corners

    def _stroke(self, mask: np.ndarray) -> np.ndarray:
        """Paint over the largest piece of the errors, or erase it, with a disk that fits."""
        work = self.work
        work.strokes += 1
        pieces, sizes = pieces_of(mask, work.truth)
        kind = int(max(sizes[1], default=0) > max(sizes[0], default=0))
        if not len(sizes[kind]):
            return mask
        region = pieces[kind] == 1 + int(sizes[kind].argmax())
        shift = np.rint(self.rng.normal(size=2) * self.habits.hand * work.view.side).astype(int)
        result = mask.copy()
        result[moved(painted(region), shift)] = kind == 0
        return result
