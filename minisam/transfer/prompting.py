"""Where an evaluation clicks, and what comes back: IoU, predicted IoU and stability for the prompts of one object.

The first point is the object's centre, the pixel farthest from its boundary (paper, section 7.1), where the picture's
border counts as boundary. Every later point is the centre of the larger error: of what is missing a foreground point,
of what is too much a background point, whichever has its centre farther from its boundary. The first point asks for
three masks, and the most confident one goes on; later ones ask for the single mask and feed the last logits back, as in
training. The box is the object's own, tight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minisam_kernels.losses.stability_score import stability_score

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor

Pairs = dict[str, list[tuple[float, float]]]  # kind of prompt → (predicted IoU, true IoU) of each mask


def _depth(mask: np.ndarray) -> np.ndarray:
    """Distance of every pixel of a mask (H, W) to what lies outside, also outside the picture."""
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]


def centre_point(mask: np.ndarray) -> tuple[int, int]:
    """(x, y) of the pixel of a mask (H, W) that is farthest from whatever lies outside, also outside the picture."""
    row, column = np.unravel_index(int(_depth(mask).argmax()), mask.shape)
    return int(column), int(row)


def next_click(predicted: np.ndarray, truth: np.ndarray) -> tuple[tuple[int, int], int]:
    """(x, y) and label of the next point; where nothing is wrong, the truth's centre as foreground."""
    missing, extra = _depth(truth & ~predicted), _depth(predicted & ~truth)
    if not missing.any() and not extra.any():
        return centre_point(truth), 1
    deeper, label = (missing, 1) if missing.max() >= extra.max() else (extra, 0)
    row, column = np.unravel_index(int(deeper.argmax()), truth.shape)
    return (int(column), int(row)), label


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a mask with pixels: the first and one past the last column and row."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def mask_iou(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """IoU of masks (M, H, W) with a truth that has pixels (H, W) → (M,)."""
    both = (masks & truth).sum(axis=(1, 2))
    return both / (masks | truth).sum(axis=(1, 2))


def measure_clicks(predictor: SamPredictor, truth: np.ndarray, count: int) -> tuple[list[float], Pairs]:
    """IoU after 1, 2, … ``count`` points, and the pairs of predicted and true IoU after each but the first."""
    coords, labels, found = [centre_point(truth)], [1], []
    pairs: Pairs = {"clicks": []}
    logits, mask = None, np.zeros_like(truth)
    for number in range(count):
        if number:
            point, label = next_click(mask, truth)
            coords, labels = [*coords, point], [*labels, label]
        masks, confidence, low_res = predictor.predict(
            point_coords=np.array(coords, float),
            point_labels=np.array(labels),
            mask_input=logits,
            multimask_output=number == 0,
        )
        best = int(confidence.argmax())
        mask, logits = masks[best], low_res[best : best + 1]
        found.append(float(mask_iou(mask[None], truth)[0]))
        if number:
            pairs["clicks"].append((float(confidence[best]), found[-1]))
    return found, pairs


def measure_model(predictor: SamPredictor, truth: np.ndarray, clicks: int = 1) -> tuple[dict[str, float], Pairs]:
    """IoU of the model's masks for the centre point, the box and further clicks; the picture is set already."""
    found: dict[str, float] = {}
    pairs: Pairs = {}
    prompts: dict[str, dict[str, Any]] = {
        "point": {"point_coords": np.array([centre_point(truth)], float), "point_labels": np.array([1])},
        "box": {"box": np.array(bounding_box(truth), float)},
    }
    for kind, prompt in prompts.items():
        logits, confidence, _ = predictor.predict(**prompt, multimask_output=True, return_logits=True)
        iou, best = mask_iou(logits > predictor.model.mask_threshold, truth), int(confidence.argmax())
        found[f"{kind}_confident"], found[f"{kind}_best"] = float(iou[best]), float(iou.max())
        found[f"{kind}_stability"] = float(np.nan_to_num(stability_score(logits[best : best + 1]))[0])
        pairs[f"{kind}_three"] = [(float(p), float(t)) for p, t in zip(confidence, iou)]
        pairs[f"{kind}_confident"] = [pairs[f"{kind}_three"][best]]
        masks, confidence, _ = predictor.predict(**prompt, multimask_output=False)
        found[f"{kind}_single"] = float(mask_iou(masks, truth)[0])
        pairs[f"{kind}_single"] = [(float(confidence[0]), found[f"{kind}_single"])]
    if clicks > 1:
        after, more = measure_clicks(predictor, truth, clicks)
        found |= {f"clicks_{number + 1}": iou for number, iou in enumerate(after)}
        pairs |= more
    return found, pairs
