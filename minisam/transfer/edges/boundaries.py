"""SAM's edge map: no edge is ever asked for, it is where the probabilities of many masks fall.

Source: SAM, section 7.2 and appendix D.2::

    masks = the 3 answers to each point of a 16 × 16 grid                  768, none dropped for its scores
    masks = NMS(boxes of masks, by predicted IoU, .7)
    e_m   = |Sobel(p_m)| on the outer boundary of mask m, 0 elsewhere,     p_m = sigmoid(logits_m)
    E     = normalised max over m of e_m,                                  then edge NMS (``thinning``)

An outer boundary pixel is outside of the mask, and one of its eight neighbours is inside. Beyond the image's edge the
outermost pixel repeats, so the frame of the image is no boundary.

    masks = ask(predictor)                        # a SamPredictor with an image set
    kept = without_duplicates(masks)              # their numbers, best first
    edges = edge_nms(compose(masks, kept))        # (H, W), 0 … 1

``mask_edges`` and ``probabilities`` give the maps of single masks, and ``normalised`` of their maximum is ``compose``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from minisam.automatic.crops import point_grid
from minisam.model.preprocess import apply_coords, input_size, postprocess_masks
from minisam.predictor import SamPredictor
from minisam.transfer.edges.thinning import edge_nms
from minisam_kernels import InputError
from minisam_kernels.masks.mask_runs import mask_runs
from minisam_kernels.masks.nms import nms
from minisam_kernels.runtime.jit import jit
from minisam_kernels.runtime.threads import blas_at_one_thread

POINTS_PER_SIDE = 16
NMS_THRESHOLD = 0.7  # IoU of boxes, as for automatic masks
TOGETHER = 16  # masks that are resized to the image at once: 10 MB for BSDS's images


class Masks(NamedTuple):
    """The answers to a grid of points, empty ones left out."""

    logits: np.ndarray  # (M, L, L) float32, of low resolution
    scores: np.ndarray  # (M,) float32, the predicted IoU
    boxes: np.ndarray  # (M, 4) int64: x0, y0, x1, y1, the last column and row included
    points: np.ndarray  # (M, 2) float64: (x, y) in pixels of the image
    size: tuple[int, int]  # (H, W) of the image
    image_size: int  # S, the side of the model's input


def ask(predictor: SamPredictor, points_per_side: int = POINTS_PER_SIDE) -> Masks:
    """Ask for three masks at every point of a grid.

    Parameters
    ----------
    predictor : SamPredictor
        With an image set, and with the fused decoder.
    points_per_side : int
        16 in the paper: 768 masks.

    Returns
    -------
    Masks
        In the order of the points, row by row. Their logits take 4 L² bytes a mask: 19 MB in all for tiny, 200 MB for
        ViT-B, -L and -H.

    Raises
    ------
    InputError
        If no image is set, or the predictor has no fused decoder.
    """
    size, model = predictor.get_original_size(), predictor.model
    if predictor.terms is None:
        raise InputError("expected a predictor with the fused decoder, got one with plain=True")
    if points_per_side < 1:
        raise InputError(f"expected points_per_side of at least 1, got {points_per_side}")
    points = point_grid(points_per_side) * (size[1], size[0])
    inputs = apply_coords(points, size, model.config.image_size)
    with blas_at_one_thread():
        sparse, _ = model.prompt_encoder((inputs[:, None], np.ones((len(inputs), 1), np.int64)))
        logits, scores = model.fused_decoder.decode(predictor.terms, sparse, None, True)
    points = np.repeat(points, logits.shape[1], axis=0)
    logits, scores = logits.reshape(-1, *logits.shape[2:]), scores.reshape(-1)
    runs = mask_runs(logits, input_size(*size, model.config.image_size), model.config.image_size, size)
    some = (runs.areas > 0) & ~np.isnan(scores)
    if not some.all():
        logits, scores, points = logits[some], scores[some], points[some]
    return Masks(logits, scores, runs.boxes[some], points, size, model.config.image_size)


def without_duplicates(masks: Masks, threshold: float = NMS_THRESHOLD) -> np.ndarray:
    """Choose the masks whose boxes do not overlap much with that of a better one: their numbers (K,), best first."""
    return nms(masks.boxes, masks.scores, threshold)


def image_logits(masks: Masks, chosen: npt.ArrayLike) -> np.ndarray:
    """Resize the chosen masks' logits to the image: float32 (K, H, W)."""
    return postprocess_masks(masks.logits[np.asarray(chosen, np.intp)], masks.size, masks.image_size, None)


def probabilities(masks: Masks, chosen: npt.ArrayLike) -> np.ndarray:
    """Compute the chosen masks' unthresholded probabilities at the image's size: float32 (K, H, W)."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-image_logits(masks, chosen)))


def mask_edges_numpy(logits: np.ndarray) -> np.ndarray:
    """The equation of e_m, for one mask, logits (H, W), in their dtype."""
    with np.errstate(over="ignore"):
        p = 1 / (1 + np.exp(-logits))
    inside = logits > 0
    outer = ndimage.binary_dilation(inside, np.ones((3, 3))) & ~inside
    slope = [ndimage.sobel(p, axis, mode="nearest") / 8 for axis in (0, 1)]  # per pixel
    return np.where(outer, np.hypot(*slope), 0).astype(logits.dtype)


@jit
def _mask_edges(z, p, edges):
    """z (H, W) → edges (H, W): raised to e_m where they are less. p (3, 3) is for the probabilities around a pixel."""
    height, width = z.shape
    for i in range(height):
        above, below = max(i - 1, 0), min(i + 1, height - 1)
        for j in range(width):
            if z[i, j] > 0:
                continue
            left, right = max(j - 1, 0), min(j + 1, width - 1)
            if not (
                z[above, left] > 0 or z[above, j] > 0 or z[above, right] > 0 or z[i, left] > 0
                or z[i, right] > 0 or z[below, left] > 0 or z[below, j] > 0 or z[below, right] > 0
            ):  # fmt: skip
                continue
            # an outer boundary pixel: only here p = sigmoid(z) is needed, at nine pixels
            for a, row in enumerate((above, i, below)):
                for b, column in enumerate((left, j, right)):
                    p[a, b] = 1 / (1 + np.exp(-z[row, column]))
            down = p[2, 0] + 2 * p[2, 1] + p[2, 2] - p[0, 0] - 2 * p[0, 1] - p[0, 2]
            across = p[0, 2] + 2 * p[1, 2] + p[2, 2] - p[0, 0] - 2 * p[1, 0] - p[2, 0]
            slope = np.float32(np.sqrt(down * down + across * across) / 8)
            if slope > edges[i, j]:
                edges[i, j] = slope


def mask_edges(masks: Masks, chosen: npt.ArrayLike) -> np.ndarray:
    """Compute e_m for the chosen masks, one map each: float32 (K, H, W), the slope of p per pixel."""
    logits = image_logits(masks, chosen)
    edges, p = np.zeros_like(logits), np.empty((3, 3))
    for one, own in zip(logits, edges):
        _mask_edges(one, p, own)
    return edges


def normalised(edges: np.ndarray) -> np.ndarray:
    """Shift and scale a map to 0 … 1; a map of one value becomes 0."""
    low, high = edges.min(), edges.max()
    return (edges - low) / (high - low if high > low else 1)


def compose(masks: Masks, chosen: npt.ArrayLike) -> np.ndarray:
    """Compose the edge map of the chosen masks, before edge NMS.

    Parameters
    ----------
    masks : Masks
    chosen : array_like, shape (K,)
        Numbers of masks, such as ``without_duplicates`` gives.

    Returns
    -------
    ndarray, shape (H, W), float32
        E, from 0 to 1; 0 everywhere without masks.
    """
    chosen = np.asarray(chosen, np.intp)
    edges, p = np.zeros(masks.size, np.float32), np.empty((3, 3))
    for start in range(0, len(chosen), TOGETHER):
        for logits in image_logits(masks, chosen[start : start + TOGETHER]):
            _mask_edges(logits, p, edges)
    return normalised(edges)


def edge_map(
    predictor: SamPredictor, points_per_side: int = POINTS_PER_SIDE, threshold: float = NMS_THRESHOLD
) -> np.ndarray:
    """Compute SAM's edge map of the image that is set, after edge NMS: float32 (H, W), 0 … 1."""
    masks = ask(predictor, points_per_side)
    return edge_nms(compose(masks, without_duplicates(masks, threshold)))
