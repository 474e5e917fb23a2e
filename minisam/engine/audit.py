"""Automatic masks beside the truth: how many are good, which thresholds to take, and what a person would change.

Source: SAM, section 5, "Mask quality": professionals corrected all masks of 500 pictures, about 50 thousand; 94 % of
the automatic masks have an IoU above .9 with the corrected one, 97 % above .75. People agree with each other at an IoU
of .85 to .91. Here the truth is known, so three shares can be told apart:

``all``
    Each mask is compared with the truth mask of its picture that it overlaps most. A mask that is of no object
    (IoU below ``MATCHED`` with all of them) counts as 0.
``matched``
    The same without the masks that are of no object: of those that are of one, how many have a good outline?
``one_to_one``
    Each truth mask is taken by one mask at most, so that the sum of IoU is largest; the others, doubles too, count as
    0.

Of the engine, only the simulated person and this module see the truth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from minisam.engine.masks import Picture, nearest, one_to_one, overlap, pictures_of
from minisam.transfer.intervals import interval
from minisam.transfer.mask_matching import pack
from minisam_kernels import InputError
from minisam_kernels.masks import rle
from minisam_kernels.masks.nms import nms

BOUNDS = (0.9, 0.75)  # of the paper's check
MATCHED = 0.5  # a mask with a lower IoU is of another object
NMS = 0.7  # of boxes, as when SA-1B was made
PREDICTED_IOU = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.92, 0.95)
STABILITY = (0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.95, 0.97)
FEWEST = 20  # masks that a share must rest on before thresholds are chosen by it

Correct = Callable[[np.ndarray, np.ndarray], np.ndarray]  # automatic mask, object → what a person makes of it


def shares(iou: np.ndarray, pictures: np.ndarray, bounds: Sequence[float] = BOUNDS) -> dict[str, Any]:
    """The share of masks with an IoU (M,) above each bound, as ``interval`` gives it; None without masks."""
    if not len(iou):
        return {f"{bound:g}": None for bound in bounds}
    return {f"{bound:g}": interval((iou > bound)[None], pictures) for bound in bounds}


def audit(records: Sequence[Any], truths: Sequence[Any]) -> dict[str, Any]:
    """Compare automatic masks with the truth.

    Parameters
    ----------
    records : sequence
        For each picture its automatic masks; see ``as_picture``.
    truths : sequence
        For each picture its true masks, likewise.

    Returns
    -------
    dict
        ``pictures``, ``masks``, ``objects``, ``masks_per_picture``; ``of_no_object``: masks that match none;
        ``shares``: definition → bound → share with its interval over pictures; ``mean_iou``: definition → mean;
        ``found``: the share of objects that a mask reaches with an IoU above each bound.

    Raises
    ------
    InputError
        Unless there is a truth for each picture, of the size of its masks.
    """
    tables = [overlap(found, truth) for found, truth in pictures_of(records, truths)]
    number = np.repeat(np.arange(len(tables)), [len(iou) for iou in tables])
    every = np.concatenate([nearest(iou) for iou in tables])
    single = np.concatenate([one_to_one(iou) for iou in tables])
    reached = np.concatenate([nearest(iou.T) for iou in tables])
    belongs = np.repeat(np.arange(len(tables)), [iou.shape[1] for iou in tables])
    matched = every >= MATCHED
    values = {"all": np.where(matched, every, 0.0), "matched": every[matched], "one_to_one": single}
    numbers = {"all": number, "matched": number[matched], "one_to_one": number}
    return {
        "pictures": len(tables), "masks": len(every), "objects": len(reached),
        "masks_per_picture": len(every) / len(tables), "of_no_object": int((~matched).sum()),
        "mean_iou": {name: float(iou.mean()) if len(iou) else None for name, iou in values.items()},
        "shares": {name: shares(iou, numbers[name]) for name, iou in values.items()},
        "found": shares(reached, belongs),
    }  # fmt: skip


# ---- what a person would change --------------------------------------------------------------------------------------


def repaint(mask: np.ndarray, truth: np.ndarray, brush: int = 3) -> np.ndarray:
    """A mask (H, W) bool, corrected by a person with a square brush of ``brush`` pixels: errors are painted over where
    the brush fits into them. Thinner ones, such as an edge one pixel off, stay as they are."""
    from scipy.ndimage import binary_opening

    return np.asarray(mask ^ binary_opening(mask ^ truth, np.ones((brush, brush))))


def check(
    records: Sequence[Any], truths: Sequence[Any], correct: Correct = repaint, pictures: int = 500, seed: int = 0
) -> dict[str, Any]:
    """The paper's check: a person corrects every automatic mask of some pictures; how much did that change?

    Parameters
    ----------
    records, truths : sequence
        As of ``audit``.
    correct : callable
        (automatic mask, the object that it overlaps most), both bool (H, W), to the corrected mask: a simulated person.
    pictures : int
        So many are drawn, without replacement; all where there are fewer.
    seed : int
        Of the draw.

    Returns
    -------
    dict
        ``pictures``, ``masks``; ``deleted``: masks of no object (IoU below ``MATCHED``), which the person takes away;
        ``untouched``: masks that were right as they were; ``shares``: of IoU between automatic and corrected mask, for
        ``corrected`` masks alone and with ``deleted_as_0``; ``person``: mean IoU of the corrected masks with the truth.

    Raises
    ------
    InputError
        As ``audit``.
    """
    pairs = pictures_of(records, truths)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(pairs))[:pictures])
    changes, quality, number, gone, untouched = [], [], [], [], 0
    for index in drawn.tolist():
        found, truth = pairs[index]
        iou = overlap(found, truth)
        for m, counts in enumerate(found.counts):
            number.append(index)
            gone.append(nearest(iou[m : m + 1])[0] < MATCHED)
            if gone[-1]:
                changes.append(0.0)
                continue
            assert found.size is not None
            mask, thing = (rle.decode(c, found.size) for c in (counts, truth.counts[int(iou[m].argmax())]))
            corrected = np.asarray(correct(mask, thing), bool)
            changes.append(between(mask, corrected))
            quality.append(between(corrected, thing))
            untouched += bool((mask == corrected).all())
    values, belongs = np.array(changes), np.array(number, np.int64)
    left = ~np.array(gone, bool)
    return {
        "pictures": len(drawn), "masks": len(values), "deleted": int((~left).sum()), "untouched": untouched,
        "shares": {"corrected": shares(values[left], belongs[left]), "deleted_as_0": shares(values, belongs)},
        "person": float(np.mean(quality)) if quality else None,
    }  # fmt: skip


def between(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of two masks (H, W) bool; 0 of two empty ones."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 0.0


# ---- thresholds ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Curve:
    """What pairs of thresholds leave: P predicted IoU, S stabilities, of ``pictures`` pictures.

    ``masks`` (P, S) counts the masks that stay, ``above`` (2, P, S) those with an IoU above each of ``BOUNDS``.
    """

    predicted_iou: np.ndarray
    stability: np.ndarray
    pictures: int
    masks: np.ndarray
    above: np.ndarray

    def per_picture(self) -> np.ndarray:
        """Masks per picture, (P, S)."""
        return self.masks / self.pictures

    def share(self, bound: float) -> np.ndarray:
        """The share of masks above a bound, (P, S); NaN where no mask stays."""
        if bound not in BOUNDS:
            raise InputError(f"expected a bound among {BOUNDS}, got {bound}")
        with np.errstate(invalid="ignore"):
            return np.asarray(self.above[BOUNDS.index(bound)] / self.masks)

    def as_json(self) -> dict[str, Any]:
        """Lists and numbers, from which ``from_json`` makes the curve again."""
        values = dataclasses.asdict(self)
        return {name: value if name == "pictures" else value.tolist() for name, value in values.items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Curve:
        """The curve of ``as_json``; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        predicted, stability = (np.array(values[name], float) for name in ("predicted_iou", "stability"))
        shape = (len(predicted), len(stability))
        masks = np.array(values["masks"], int).reshape(shape)
        return cls(
            predicted, stability, int(values["pictures"]), masks, np.array(values["above"], int).reshape(2, *shape)
        )


def kept(picture: Picture, stability: float, predicted: Sequence[float], threshold: float = NMS) -> list[np.ndarray]:
    """Which masks stay at a stability threshold and each threshold of the predicted IoU: the generator's own rules.

    First the scores' filters, then NMS of boxes within each crop by predicted IoU, then between crops, the smaller crop
    first. Without crops, NMS at a threshold of the predicted IoU is NMS at none, cut off there.
    """
    least = np.float32(stability)
    stable = np.flatnonzero((picture.stability >= least) | (least <= 0))
    runs = pack(picture.counts, (picture.size or (0, 0))[0])
    boxes = np.where(runs.area[:, None] > 0, runs.box, 0).astype(np.float32)
    crops, which = np.unique(picture.crops, axis=0, return_inverse=True)
    which = which.reshape(-1)

    def above(some: np.ndarray, bound: float) -> np.ndarray:
        return some if bound <= 0 else some[picture.predicted_iou[some] > np.float32(bound)]

    def best(some: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return some[nms(boxes[some], scores[some], threshold)]

    def of_crops(some: np.ndarray) -> np.ndarray:
        each = [best(some[which[some] == crop], picture.predicted_iou) for crop in range(len(crops))]
        return np.concatenate([*each, np.zeros(0, np.int64)])

    if len(crops) <= 1:
        whole = of_crops(stable)
        return [above(whole, bound) for bound in predicted]
    smallest = 1 / (picture.crops[:, 2] * picture.crops[:, 3]).astype(np.float32)
    return [best(of_crops(above(stable, bound)), smallest) for bound in predicted]


def operating_curve(
    records: Sequence[Any], truths: Sequence[Any], predicted_iou: npt.ArrayLike = PREDICTED_IOU,
    stability: npt.ArrayLike = STABILITY, box_nms_thresh: float = NMS,
) -> Curve:  # fmt: skip
    """What pairs of thresholds would have left of pictures.

    Parameters
    ----------
    records : sequence
        For each picture the masks of a generator with ``pred_iou_thresh=0, stability_score_thresh=0`` and
        ``box_nms_thresh=1, crop_nms_thresh=1``: then each point of the curve is what the generator gives at these
        thresholds. Where NMS was done before, doubles of unstable masks are missing, and the curve is lower.
    truths : sequence
        For each picture its true masks.
    predicted_iou, stability : array_like
        Thresholds; 0 keeps all.
    box_nms_thresh : float
        Of masks whose boxes' IoU is above it, the best one stays.

    Raises
    ------
    InputError
        As ``audit``, and for records without scores.
    """
    predicted, stable = np.array(predicted_iou, float).ravel(), np.array(stability, float).ravel()
    pairs = pictures_of(records, truths)
    masks = np.zeros((len(predicted), len(stable)), np.int64)
    above = np.zeros((len(BOUNDS), *masks.shape), np.int64)
    for number, (found, truth) in enumerate(pairs):
        if np.isnan(found.predicted_iou).any():
            raise InputError(f"expected masks with predicted_iou and stability_score, got picture {number} without")
        iou = nearest(overlap(found, truth))
        for s, bound in enumerate(stable):
            for p, some in enumerate(kept(found, float(bound), predicted.tolist(), box_nms_thresh)):
                masks[p, s] += len(some)
                above[:, p, s] += [int((iou[some] > least).sum()) for least in BOUNDS]
    return Curve(predicted, stable, len(pairs), masks, above)


@dataclass(frozen=True)
class Choice:
    """Thresholds, and what they leave: ``masks``, how many ``per_picture``, the ``share`` above ``bound``.

    ``reached`` says whether the share is at least ``least``.
    """

    pred_iou_thresh: float
    stability_score_thresh: float
    masks: int
    per_picture: float
    share: float
    least: float
    bound: float

    @property
    def reached(self) -> bool:
        return self.share >= self.least


def choose_thresholds(curve: Curve, least: float = 0.9, bound: float = 0.75, fewest: int = FEWEST) -> Choice:
    """The thresholds of the largest yield at which at least ``least`` of the masks are above ``bound``.

    Only points with at least ``fewest`` masks count. Where no point has that quality, the one of the highest share is
    taken, and ``Choice.reached`` is False. Of equals the higher share wins, then the lower thresholds.

    Raises
    ------
    InputError
        Where no point has ``fewest`` masks.
    """
    share = curve.share(bound)
    fit = curve.masks >= max(fewest, 1)
    if not fit.any():
        raise InputError(
            f"expected at least {max(fewest, 1)} masks to choose thresholds by, got {curve.masks.max(initial=0)}"
        )
    good = fit & (np.where(fit, share, 0) >= least)
    rank = (curve.masks, share) if good.any() else (share, curve.masks)
    points = np.argwhere(good if good.any() else fit).tolist()
    p, s = max(points, key=lambda at: (rank[0][*at], rank[1][*at]))
    return _choice(curve, p, s, least, bound)


def _choice(curve: Curve, p: int, s: int, least: float, bound: float) -> Choice:
    masks = int(curve.masks[p, s])
    share = float(curve.share(bound)[p, s]) if masks else 0.0
    thresholds = float(curve.predicted_iou[p]), float(curve.stability[s])
    return Choice(*thresholds, masks, masks / curve.pictures, share, least, bound)


def on_split(choice: Choice, records: Sequence[Any], truths: Sequence[Any], box_nms_thresh: float = NMS) -> Choice:
    """What chosen thresholds give on pictures that they were not chosen on; arguments as of ``operating_curve``."""
    thresholds = [choice.pred_iou_thresh], [choice.stability_score_thresh]
    return _choice(operating_curve(records, truths, *thresholds, box_nms_thresh), 0, 0, choice.least, choice.bound)
