"""What became of every candidate: the filters of the automatic masks, in their order, and which one dropped what.

A generator keeps the funnel of its last image, as ``generator.funnel``. It costs 40 bytes per point.

    print(generator.funnel)      # 3072 candidates → 410 after predicted_iou → 388 after stability → 97 after box_nms
    generator.funnel.reason(i, m)                                      # of point i's mask m: "stability", or "kept"
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# predicted_iou: not above the threshold.  stability: below it, or 0/0.  crop_edge: cut off by a crop's edge.
# coverage: as good as all of the image (the paper's rule).  box_nms, crop_nms: a better mask's double, within a crop
# and between crops.  regions: nothing but crumbs (the paper's rule), or a double once small regions were gone.
STEPS = ("predicted_iou", "stability", "crop_edge", "coverage", "box_nms", "crop_nms", "regions")
ALWAYS = ("predicted_iou", "stability", "box_nms")  # the steps that a line names although they dropped nothing
KEPT = len(STEPS)


@dataclass(frozen=True, eq=False)
class Funnel:
    """N points, of the image first, then crop after crop as they were asked; M masks of each."""

    points: np.ndarray  # (N, 2) float64, x and y in pixels of the image
    predicted_iou: np.ndarray  # (N, M) float32
    stability: np.ndarray  # (N, M) float32; NaN where the predicted IoU was too low, or of 0/0
    fates: np.ndarray  # (N, M) uint8, the number in STEPS of the filter that dropped it, or KEPT

    @classmethod
    def of(cls, points: np.ndarray, masks: int) -> Funnel:
        """Nothing is known yet of points (N, 2)."""
        shape = (len(points), masks)
        unknown = np.full(shape, np.nan, np.float32)
        return cls(points, unknown, unknown.copy(), np.zeros(shape, np.uint8))

    def counts(self) -> dict[str, int]:
        """How many candidates there were, and how many were left after each step; the last is how many were kept."""
        dropped = np.bincount(self.fates.ravel(), minlength=KEPT + 1)[:KEPT]
        left = self.fates.size - np.cumsum(dropped)
        return {"candidates": self.fates.size} | dict(zip(STEPS, left.tolist()))

    def reason(self, point: int, mask: int) -> str:
        """The step that dropped a mask, or "kept"."""
        return (*STEPS, "kept")[self.fates[point, mask]]

    def advice(self) -> dict[str, str]:
        """Where nothing was kept, settings that keep something: thresholds that a tenth of the candidates passes, of
        those that the step dropped. Empty where no setting helps, as for a model that says NaN."""
        if (self.fates == KEPT).any():
            return {}
        scored = self.predicted_iou == self.predicted_iou
        passed = scored & (self.fates > STEPS.index("predicted_iou"))
        if not passed.any():
            low = _below(self.predicted_iou[scored])
            return {"pred_iou_thresh": low, "stability_score_thresh": "0"} if scored.any() else {}
        unstable = self.fates == STEPS.index("stability")
        if unstable.any():
            stability = self.stability[unstable]
            return {"stability_score_thresh": _below(stability[stability == stability])}
        return {"preset": "meta"}  # the paper's rules: all of the image, or crumbs

    def __str__(self) -> str:
        counts = self.counts()
        parts, before = [f"{counts['candidates']} candidates"], counts["candidates"]
        for step in STEPS:
            if step in ALWAYS or counts[step] < before:
                parts.append(f"{counts[step]} after {step}")
            before = counts[step]
        return " → ".join(parts)


def _below(scores: np.ndarray) -> str:
    """Two digits below the best tenth of the scores; "0", which keeps all, where that is not above 0."""
    best = float(np.quantile(scores, 0.9)) if len(scores) else 0.0
    return f"{max(math.floor(100 * best - 1e-3) / 100, 0):g}"
