"""The three stages: what model and person do with one picture, and how the model is trained on what came of it.

**Assisted-manual**: an empty picture; the person asks for one object after another, and the model answers clicks
(``draw``). **Semi-automatic**: the box head proposes, the model makes masks of its boxes (``propose``), the person
throws out what is wrong and adds what is missing, which is smaller and harder. **Fully automatic**: a grid of points on
the picture and on crops of it, thresholds, no person (``automatic``).

Nothing here knows the truth. The person is whatever answers as ``annotator.Person`` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from minisam.automatic.generator import SamAutomaticMaskGenerator
from minisam.checkpoints.loading import load
from minisam.engine.annotator import Answer, Wish, overlaps
from minisam.engine.box_head import BoxHead, boxes_of, stack, targets
from minisam.engine.clock import Actions, add
from minisam.engine.pictures import read_picture
from minisam.engine.views import View, tiles
from minisam.predictor import SamPredictor
from minisam_kernels import InputError
from minisam_kernels.masks.box_from_mask import box_from_mask
from minisam_kernels.masks.nms import nms

FLOOR, BOXES_NMS, MOST_BOXES = 0.1, 0.6, 80  # of proposals: least score, IoU of two boxes, how many in a picture
DOUBLE = 0.7  # IoU of two masks that show the same
MATCH = 0.75  # IoU with a drawn mask, for a proposal to be right
FEWEST = 8  # proposals that a share must rest on


class Annotator(Protocol):
    """Who answers: ``annotator.Person``, answers that were recorded, or a person at a screen."""

    def begin(self, number: int, shown: Sequence[np.ndarray], budget: float) -> list[Actions | None]:
        """Open a picture and check the masks (H, W) that are there: None rejects."""

    def next(self) -> Wish | None:
        """Turn to the next object, if there is one and time for it."""

    def react(self, mask: np.ndarray | None) -> Answer:
        """Answer to the model's mask (h, w) of the view; None: there is none yet."""


class Drawn(NamedTuple):
    """A finished mask (H, W): how it came about, its actions, and those of a polygon instead of it."""

    mask: np.ndarray
    by: str
    actions: Actions
    by_hand: Actions


class Assistant:
    """The model as both stages with a person use it: it is shown views of a picture."""

    def __init__(self, weights: Path) -> None:
        self.model = load(weights)

    def see(self, image: np.ndarray, view: View) -> SamPredictor:
        """Look at a view of a picture."""
        predictor = SamPredictor(self.model)
        predictor.set_image(np.ascontiguousarray(view.crop(image)))
        return predictor


def embedding_of(predictor: SamPredictor) -> np.ndarray:
    """The view's embedding, (h, w, C)."""
    return np.ascontiguousarray(np.moveaxis(predictor.get_image_embedding()[0], 0, -1))


# ---- with a person ---------------------------------------------------------------------------------------------------


def draw(
    person: Annotator,
    assistant: Assistant,
    image: np.ndarray,
    number: int,
    shown: Sequence[np.ndarray],
    budget: float,
) -> tuple[list[Drawn], Actions]:
    """Let a person annotate a picture with the model's help.

    Parameters
    ----------
    person : Annotator
    assistant : Assistant
    image : ndarray, shape (H, W, 3), uint8
    number : int
        The picture's.
    shown : sequence of ndarray, shape (H, W), bool
        Masks that are there already.
    budget : float
        Seconds.

    Returns
    -------
    drawn : list of Drawn
        The masks that may stay ("model"), then those that the person added.
    rest : dict
        The actions that led to no mask: for proposals that were rejected, say.
    """
    answers = person.begin(number, shown, budget)
    drawn = [Drawn(mask, "model", {"check": 1}, answer) for mask, answer in zip(shown, answers) if answer is not None]
    rejected = len(shown) - len(drawn)
    rest: Actions = {"check": rejected, "reject": rejected}
    while (wish := person.next()) is not None:
        predictor = assistant.see(image, wish.view)
        points: list[Any] = []
        labels: list[int] = []
        logits = mask = None
        actions: Actions = {"look": 1}
        while True:
            answer = person.react(mask)
            actions = add(actions, answer.actions)
            if answer.mask is not None:
                break
            assert answer.click is not None
            points, labels = [*points, answer.click[0]], [*labels, answer.click[1]]
            masks, scores, low = predictor.predict(
                np.array(points, float), np.array(labels), mask_input=logits, multimask_output=logits is None
            )
            best = int(scores.argmax())
            mask, logits = masks[best], low[best : best + 1]
        whole = wish.view.paste(answer.mask, (image.shape[0], image.shape[1]))
        if whole.any():
            drawn.append(Drawn(whole, answer.by, actions, wish.by_hand))
        else:
            rest = add(rest, actions)
    return drawn, add(rest)


# ---- the box head ----------------------------------------------------------------------------------------------------


def propose(assistant: Assistant, head: BoxHead, image: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Masks (H, W) for the boxes that the head sees in the picture's views, by falling score, each object once.

    A score is the head's times the model's predicted IoU.
    """
    size = (image.shape[0], image.shape[1])
    predictors, boxes, scores, owner = [], [], [], []
    for number, view in enumerate(tiles(size)):
        predictor = assistant.see(image, view)
        some, values = boxes_of(head, view, embedding_of(predictor), size, FLOOR)
        predictors.append((view, predictor))
        boxes.append(some)
        scores.append(values)
        owner += [number] * len(values)
    every, values, views = np.concatenate(boxes), np.concatenate(scores), np.array(owner, int)
    chosen = np.array(nms(every, values, BOXES_NMS), int)[:MOST_BOXES] if len(every) else np.zeros(0, int)
    found: list[tuple[float, np.ndarray]] = []
    for number in np.unique(views[chosen]):
        view, predictor = predictors[number]
        some = chosen[views[chosen] == number]
        corner = np.array([view.x, view.y, view.x, view.y], np.float32)
        masks, predicted, _ = predictor.predict_batch(boxes=every[some] - corner, multimask_output=False)
        for mask, iou, value in zip(masks[:, 0], predicted[:, 0], values[some]):
            if mask.any():
                found.append((float(value) * float(np.clip(iou, 0, 1)), view.paste(mask, size)))
    found.sort(key=lambda pair: -pair[0])
    kept: list[tuple[float, np.ndarray]] = []
    for score, mask in found:
        if not kept or overlaps(mask[None], np.stack([other for _, other in kept])).max() <= DOUBLE:
            kept.append((score, mask))
    return [mask for _, mask in kept], np.array([score for score, _ in kept])


def train_box_head(assistant: Assistant, folder: Path, names: Sequence[str], steps: int, seed: int) -> BoxHead:
    """Train the head on the masks of pictures in a store, with the model's embeddings as they are."""
    from minisam.training.box_head import train_head

    features, wanted = [], []
    for name in names:
        image, masks = read_picture(folder, name)
        size = (image.shape[0], image.shape[1])
        boxes = box_from_mask(masks).astype(np.float32) + np.array([0, 0, 1, 1], np.float32)
        for view in tiles(size):
            features.append(embedding_of(assistant.see(image, view)))
            wanted.append(targets(view, boxes, size, features[-1].shape[0]))
    if not features:
        raise InputError("expected at least one picture to train the box head with, got none")
    return BoxHead(**train_head(np.stack(features), *stack(wanted), steps=steps, seed=seed))


def confident(
    assistant: Assistant, head: BoxHead, folder: Path, names: Sequence[str], least: float
) -> tuple[float | None, float]:
    """The lowest score at which at least a share ``least`` of the proposals is right, and that share.

    Right is what people have drawn in these pictures, which the head has not seen. What they did not draw counts as
    wrong, so the share is too low rather than too high. None where no score is good enough: nothing is proposed then.
    """
    scores, right = [], []
    for name in names:
        image, masks = read_picture(folder, name)
        some, values = propose(assistant, head, image)
        iou = overlaps(np.stack(some), masks).max(1) if some and len(masks) else np.zeros(len(some))
        scores.append(values)
        right.append(iou >= MATCH)
    return threshold_of(np.concatenate(scores) if scores else np.zeros(0), np.concatenate(right or [[]]), least)


def threshold_of(scores: np.ndarray, right: np.ndarray, least: float) -> tuple[float | None, float]:
    """The lowest of ``scores`` (N,) from which on upwards at least a share ``least`` is ``right`` (N,) bool."""
    order = np.argsort(-scores, kind="stable")
    share = np.cumsum(right[order].astype(float)) / np.arange(1, len(order) + 1)
    fit = np.flatnonzero((share >= least) & (np.arange(1, len(order) + 1) >= FEWEST))
    if not len(fit):
        return None, float(share[FEWEST - 1 :].max(initial=0.0))
    return float(scores[order[fit[-1]]]), float(share[fit[-1]])


# ---- nobody ----------------------------------------------------------------------------------------------------------

EVERYTHING = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0, "crop_nms_thresh": 1.0}


def automatic(assistant: Assistant, image: np.ndarray, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The automatic masks of a picture as records with COCO's run lengths."""
    generator = SamAutomaticMaskGenerator(assistant.model, output_mode="coco_rle", **settings)
    return generator.generate(image)


# ---- training --------------------------------------------------------------------------------------------------------


class Training(NamedTuple):
    """How the model is trained again: ``steps`` of ``batch`` views with ``masks`` each, ``rounds`` of prompts."""

    steps: int
    batch: int
    masks: int
    rounds: int
    lr: float


def retrain(weights: Path, data: Sequence[str], folder: Path, how: Training, seed: int) -> dict[str, float]:
    """Train a model further on folders of views; ``folder/weights.safetensors`` is the new one.

    It stops after Ctrl-C, saved; called again it goes on. Returns the last loss and IoU of the first click, as training
    saw them.
    """
    from minisam.training.log import read_log
    from minisam.training.loop import Trainer
    from minisam.training.settings import Settings

    if not data:
        raise InputError("expected masks to train the model with, got none in any picture")
    config = load(weights).config
    settings = Settings(
        depth=config.encoder_depth, width=config.encoder_embed_dim, size=config.image_size, steps=how.steps,
        batch=how.batch, masks=how.masks, rounds=how.rounds, optimizer="muon", lr=how.lr, decay="cosine",
        warmup=min(10, how.steps // 4), average=0.95, world=0.0, data=tuple(data), init=str(weights), seed=seed,
    )  # fmt: skip
    if Trainer(settings, folder).run(workers=0):
        raise KeyboardInterrupt(f"the training in {folder} was stopped; the same command goes on from there")
    last = read_log(folder)[-1]
    return {key: float(last[key]) for key in ("loss", "iou_1") if key in last}
