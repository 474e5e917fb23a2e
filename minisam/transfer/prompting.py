"""What comes back for the prompts of an evaluation: IoU, predicted IoU and stability of the masks of one object.

The clicks are those of ``minisam.annotator``: the object's centre first, then the centre of the larger error. The first
one asks for three masks, and the most confident one goes on; later ones ask for the single mask and feed the last
logits back, as in training. The box is the object's own, tight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.annotator import Click, centre_point, interact, next_click, tight_box
from minisam_kernels.losses.iou import iou_numpy
from minisam_kernels.losses.stability_score import stability_score

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor

Pairs = dict[str, list[tuple[float, float]]]  # kind of prompt → (predicted IoU, true IoU) of each mask


def measure_clicks(predictor: SamPredictor, truth: np.ndarray, count: int) -> tuple[list[float], Pairs]:
    """Measure IoU after 1, 2, … ``count`` points, and the pairs of predicted and true IoU after each but the first."""

    def click(number: int, mask: np.ndarray) -> Click:
        return next_click(mask, truth)

    rounds = list(interact(predictor, truth, centre_point(truth), None, [True] * (count - 1), click))
    return [r.iou for r in rounds], {"clicks": [(r.predicted, r.iou) for r in rounds[1:]]}


def measure_model(predictor: SamPredictor, truth: np.ndarray, clicks: int = 1) -> tuple[dict[str, float], Pairs]:
    """Measure IoU of the model's masks for the centre point, the box and further clicks; the image is set already."""
    figures: dict[str, float] = {}
    pairs: Pairs = {}
    prompts: dict[str, dict[str, Any]] = {
        "point": {"point_coords": np.array([centre_point(truth)], float), "point_labels": np.array([1])},
        "box": {"box": tight_box(truth).astype(float)},
    }
    for kind, prompt in prompts.items():
        logits, confidence, _ = predictor.predict(**prompt, multimask_output=True, return_logits=True)
        iou, best = iou_numpy(logits > predictor.model.mask_threshold, truth[None]), int(confidence.argmax())
        figures[f"{kind}_confident"], figures[f"{kind}_best"] = float(iou[best]), float(iou.max())
        figures[f"{kind}_stability"] = float(np.nan_to_num(stability_score(logits[best : best + 1]))[0])
        pairs[f"{kind}_three"] = [(float(p), float(t)) for p, t in zip(confidence, iou)]
        pairs[f"{kind}_confident"] = [pairs[f"{kind}_three"][best]]
        masks, confidence, _ = predictor.predict(**prompt, multimask_output=False)
        figures[f"{kind}_single"] = float(iou_numpy(masks, truth[None])[0])
        pairs[f"{kind}_single"] = [(float(confidence[0]), figures[f"{kind}_single"])]
    if clicks > 1:
        after, more = measure_clicks(predictor, truth, clicks)
        figures |= {f"clicks_{number + 1}": iou for number, iou in enumerate(after)}
        pairs |= more
    return figures, pairs
