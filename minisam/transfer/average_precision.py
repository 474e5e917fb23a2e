"""AP and AR of masks, as COCO and LVIS define them, from run lengths::

    IoU(d, g) = |d ∧ g| / |d ∨ g|;  with a crowd g: |d ∧ g| / |d|
    at a threshold t, by falling score, answer d takes the free object g of the largest IoU(d, g) ≥ t
    AR@k = mean over t of (objects taken by the k best answers of each image) / (objects)
    AP   = mean over t, categories and the recalls r = 0, .01 … 1 of the largest precision at a recall ≥ r

t = .5, .55 … .95. Small, medium and large are areas below 32², up to 96² and above, in pixels of the image at its own
size, for an object as its file states them. What is outside a range is ignored, and so are crowds: an answer that takes
an ignored object, or takes none and is itself outside, counts neither for nor against.

Sources: pycocotools' ``COCOeval`` and lvis-api's ``LVISEval`` (federated: answers of categories that an image was not
checked for are dropped; where one was not drawn completely, an answer without an object is ignored). The arrays are
equal to theirs, element by element, for ids from 1 on: there an object of id 0 is never found, here ids mean nothing.
The loops are in ``mask_matching``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minisam.transfer.labelled import LabelledImage
from minisam.transfer.mask_matching import BELOW_1, RIGHT, Runs, curve, match, overlaps, pack
from minisam_kernels import InputError

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}


@dataclass(frozen=True)
class Objects:
    """Masks of one image: the objects to be found, or the answers.

    Attributes
    ----------
    runs : Runs
    category : ndarray, shape (M,), int64
    score : ndarray, shape (M,), float64
        Of answers: the higher, the better.
    area : ndarray, shape (M,), float64
        Pixels, by which small, medium and large are told apart.
    crowd : ndarray, shape (M,), bool
        Of objects: crowds and ignore regions, which nobody has to find.
    """

    runs: Runs
    category: np.ndarray
    score: np.ndarray
    area: np.ndarray
    crowd: np.ndarray

    @classmethod
    def of(
        cls,
        counts: Sequence[np.ndarray],
        height: int,
        category: npt.ArrayLike = 0,
        score: npt.ArrayLike = 0.0,
        area: npt.ArrayLike | None = None,
        crowd: npt.ArrayLike = False,
    ) -> Objects:
        """Masks by their run lengths (``rle.encode``'s). One value stands for all; ``area`` is by default the pixels'.

        Raises ``InputError`` unless there is one value for each mask and every score is a number.
        """
        runs = pack(counts, height)
        values = (category, score, runs.area if area is None else area, crowd)
        kinds: tuple[Any, ...] = (np.int64, np.float64, np.float64, np.bool_)
        try:
            columns = [np.broadcast_to(np.asarray(v, k), (len(counts),)) for v, k in zip(values, kinds)]
        except (TypeError, ValueError) as error:
            raise InputError(f"expected a value for each of {len(counts)} masks, got others ({error})") from error
        if np.isnan(columns[1]).any():
            raise InputError("expected scores that are numbers, got NaN")
        return cls(runs, *columns)

    @classmethod
    def drawn(cls, image: LabelledImage) -> Objects:
        """What is drawn in an image: its objects, then its crowds and ignore regions, which count as crowds."""
        objects, regions = image.objects(), image.regions()
        some = [*objects, *regions]
        crowd = np.arange(len(some)) >= len(objects)
        category, area = [a.category for a in some], [a.area for a in some]
        return cls.of([a.counts for a in some], image.size[0], category, area=area, crowd=crowd)

    def choose(self, index: np.ndarray) -> Objects:
        """Masks number ``index``, in that order."""
        columns = (column[index] for column in (self.category, self.score, self.area, self.crowd))
        return Objects(self.runs.choose(index), *columns)


class Curves(NamedTuple):
    """What pycocotools keeps in ``eval``: T thresholds, R recalls, K categories, S subsets, M numbers of answers.

    −1 where a category has no object in a subset. Subsets: the four sizes, then the groups.
    """

    precision: np.ndarray  # (T, R, K, S, M)
    recall: np.ndarray  # (T, K, S, M)
    score: np.ndarray  # (T, R, K, S, M)
    categories: list[int]


class Tally:
    """AP and AR, image by image: of an image only what its answers were is kept.

    Parameters
    ----------
    max_dets : sequence of int
        Numbers of answers k, rising, by category and image.
    by_category : bool
        Whether an answer must name the object's category; else there is one category, 0 (pycocotools' ``useCats``).
    groups : mapping from int to str
        The group of a category, such as LVIS' frequency "r", "c", "f". Without categories, AR is given for each group
        on its own; with them, AP is the mean over the group's categories.
    per_image : int, optional
        So many answers of an image count, over all categories (LVIS: 300).
    curves : bool
        Whether to keep what AP needs, thresholds × subsets bytes per answer; AR needs nothing.
    """

    def __init__(
        self,
        max_dets: Sequence[int] = (1, 10, 100),
        by_category: bool = True,
        groups: Mapping[int, str] | None = None,
        per_image: int | None = None,
        curves: bool = True,
    ) -> None:
        if not max_dets or sorted(set(max_dets)) != [*max_dets] or max_dets[0] < 1:
            raise InputError(f"expected rising numbers of answers above 0, got {[*max_dets]}")
        self.max_dets, self.by_category, self.per_image, self.curves = [*max_dets], by_category, per_image, curves
        self.groups = dict(groups or {})
        self.subsets = [*AREAS, *([] if by_category else sorted(set(self.groups.values())))]
        self._right: dict[int, np.ndarray] = {}  # category → (S, T, M), objects that were found
        self._objects: dict[int, np.ndarray] = {}  # category → (S,), objects
        self._answers: dict[int, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)  # (scores, states) of images

    def add(
        self,
        objects: Objects,
        answers: Objects,
        judged: Collection[int] | None = None,
        incomplete: Collection[int] = (),
    ) -> None:
        """Count one image.

        Parameters
        ----------
        objects, answers : Objects
        judged : collection of int, optional
            LVIS: answers count only of these categories (and of those of the objects): the image was checked for them.
        incomplete : collection of int
            LVIS: of these categories not every object is drawn.
        """
        if self.per_image is not None:
            answers = answers.choose(np.argsort(-answers.score, kind="stable")[: self.per_image])
        if judged is not None:
            known = np.array([*judged, *objects.category], np.int64)
            answers = answers.choose(np.flatnonzero(np.isin(answers.category, known)))
        if self.by_category:
            for category in np.unique(np.concatenate([objects.category, answers.category])).tolist():
                some, found = (o.choose(np.flatnonzero(o.category == category)) for o in (objects, answers))
                self._count(category, some, found, incomplete)
        else:  # ties are broken as in pycocotools, which collects category after category
            some, found = (o.choose(np.argsort(o.category, kind="stable")) for o in (objects, answers))
            self._count(0, some, found, incomplete)

    def _count(self, category: int, objects: Objects, answers: Objects, incomplete: Collection[int]) -> None:
        """Count one category of one image: D answers, the best ``max_dets[-1]``, are matched with G objects."""
        answers = answers.choose(np.argsort(-answers.score, kind="stable")[: self.max_dets[-1]])
        (g,), (d,) = objects.area.shape, answers.area.shape
        start, pair, iou = np.empty(d + 1, np.int64), np.empty(d * g, np.int64), np.empty(d * g)
        least = min(THRESHOLDS[0], BELOW_1)
        overlaps(*answers.runs, *objects.runs, objects.crowd, least, pair, iou, start)
        # in each subset: objects that nobody has to find, and answers that do not count as wrong
        ignored, outside = np.empty((len(self.subsets), g), bool), np.empty((len(self.subsets), d), bool)
        not_drawn = np.isin(answers.category, np.array([*incomplete], np.int64))
        for s, subset in enumerate(self.subsets):
            low, high = AREAS.get(subset, AREAS["all"])
            ignored[s] = objects.crowd | (objects.area < low) | (objects.area > high)
            outside[s] = not_drawn | (answers.area < low) | (answers.area > high)
            if subset not in AREAS:
                ignored[s] |= np.array([self.groups.get(c) != subset for c in objects.category.tolist()], bool)
        state = np.empty((len(self.subsets), len(THRESHOLDS), d), np.uint8)  # (S, T, D)
        taken = np.zeros((*state.shape[:2], g), bool)
        match(pair, iou, start, THRESHOLDS, objects.crowd, ignored, outside, taken, state)
        # (S, T, M), summed over images; the curve of precision also needs every answer's score and state
        right = np.stack([(state[..., :k] == RIGHT).sum(axis=2) for k in self.max_dets], axis=2)
        self._right[category] = self._right.get(category, 0) + right
        self._objects[category] = self._objects.get(category, 0) + (~ignored).sum(axis=1)
        if self.curves:
            self._answers[category].append((answers.score, state))

    def result(self, categories: Sequence[int] | None = None) -> Curves:
        """Precision and recall of ``categories``; by default, of all that objects or answers have."""
        categories = sorted(self._objects) if categories is None else [*categories]
        levels, subsets, limits = len(THRESHOLDS), len(self.subsets), len(self.max_dets)
        recall = np.full((levels, len(categories), subsets, limits), -1.0)
        precision = np.full((levels, len(RECALLS), len(categories), subsets, limits), -1.0)
        score = precision.copy()
        for k, category in enumerate(categories):
            count = self._objects.get(category, np.zeros(subsets, np.int64))
            if not count.any():
                continue
            some = count > 0
            recall[:, k, some] = np.moveaxis(self._right[category][some] / count[some, None, None], 0, 1)
            if self.curves:
                precision[:, :, k, some] = score[:, :, k, some] = 0
                self._draw(category, count, precision[:, :, k], score[:, :, k])
        return Curves(precision, recall, score, [*categories])

    def _draw(self, category: int, count: np.ndarray, precision: np.ndarray, score: np.ndarray) -> None:
        """Fill precision and score (T, R, S, M) of a category."""
        scores = np.concatenate([scores for scores, _ in self._answers[category]])
        rank = np.concatenate([np.arange(len(scores)) for scores, _ in self._answers[category]])
        order = np.argsort(-scores, kind="stable")
        state = np.concatenate([state for _, state in self._answers[category]], axis=2)[..., order]
        for m, limit in enumerate(self.max_dets):
            chosen = rank[order] < limit
            best_first, states = scores[order][chosen], state[..., chosen]
            for s in np.flatnonzero(count):
                for t in range(len(THRESHOLDS)):
                    curves = precision[t, :, s, m], score[t, :, s, m]
                    curve(states[s, t], count[s], RECALLS, best_first, *curves)

    def summary(self) -> dict[str, float | None]:
        """The usual figures; None where there is no object.

        ``AP``, ``AP50``, ``AP75`` and ``AP_small`` … with the most answers, ``AP_r`` … of groups of categories;
        ``AR@k``, and ``AR@k_small`` …, ``AR@k_r`` ….
        """
        curves = self.result()
        figures: dict[str, float | None] = {}
        if self.curves:
            best = curves.precision[..., -1]
            figures = {"AP": mean(best[:, :, :, 0]), "AP50": mean(best[0, :, :, 0]), "AP75": mean(best[5, :, :, 0])}
            figures |= {f"AP_{name}": mean(best[:, :, :, s]) for s, name in enumerate(AREAS) if s}
            if self.by_category:
                for group in sorted(set(self.groups.values())):
                    those = [k for k, c in enumerate(curves.categories) if self.groups.get(c) == group]
                    figures[f"AP_{group}"] = mean(best[:, :, those, 0])
        for m, limit in enumerate(self.max_dets):
            for s, name in enumerate(self.subsets):
                figures[f"AR@{limit}" + f"_{name}" * (s > 0)] = mean(curves.recall[:, :, s, m])
        return figures


def mean(values: np.ndarray) -> float | None:
    """The mean of what is there (not −1)."""
    values = values[values > -1]
    return float(values.mean()) if values.size else None
