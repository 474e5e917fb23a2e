"""Classical methods at the same prompts as the model's: what a trained model has to beat.

The region under the point in Felzenszwalb and Huttenlocher's segmentation, at one scale and as the best of three;
GrabCut from the box; the filled box. They run on images whose longer side is reduced to ``BASELINE_SIDE`` (full-size
masks are compared). Nothing here is random: GrabCut's own generator is seeded for each object.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from minisam.annotator import centre_point, tight_box
from minisam_kernels.losses.iou import iou_numpy

SCALES = (100.0, 300.0, 1000.0)  # of Felzenszwalb's segmentation; the middle one stands alone as well
BASELINE_SIDE = 512
GRABCUT_ROUNDS = 5


class Baselines:
    """Runs the classical methods on one image: three segmentations once, then region or GrabCut per object."""

    def __init__(self, image: np.ndarray) -> None:
        from skimage.segmentation import felzenszwalb

        self.shape = image.shape[:2]
        self.factor = min(1.0, BASELINE_SIDE / max(self.shape))
        height, width = (max(1, round(side * self.factor)) for side in self.shape)
        self.small = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        smallest = max(2, round(20 * (max(height, width) / BASELINE_SIDE) ** 2))
        self.regions = [felzenszwalb(self.small, scale, sigma=0.8, min_size=smallest) for scale in SCALES]

    def _full(self, small: np.ndarray) -> np.ndarray:
        """Enlarge a mask of the reduced image to full size: every pixel gets its nearest one's value."""
        rows, columns = (np.arange(full) * part // full for full, part in zip(self.shape, small.shape))
        return small[rows[:, None], columns]

    def measure(self, truth: np.ndarray) -> dict[str, float]:
        """Measure the IoU of every method at the prompts of ``truth``."""
        x, y = centre_point(truth)
        height, width = self.small.shape[:2]
        row, column = y * height // self.shape[0], x * width // self.shape[1]
        regions = np.stack([self._full(labels == labels[row, column]) for labels in self.regions])
        iou = iou_numpy(regions, truth[None])
        x0, y0, x1, y1 = tight_box(truth)
        filled = np.zeros(self.shape, bool)
        filled[y0:y1, x0:x1] = True
        return {
            "point_felzenszwalb": float(iou[1]),
            "point_felzenszwalb_best": float(iou.max()),
            "box_grabcut": float(iou_numpy(self._grabcut(x0, y0, x1, y1)[None], truth[None])[0]),
            "box_filled": float(iou_numpy(filled[None], truth[None])[0]),
        }

    def _grabcut(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """Return GrabCut's foreground, or the filled box where there is nothing to learn the background from."""
        import cv2

        height, width = self.small.shape[:2]
        left, top = x0 * width // self.shape[1], y0 * height // self.shape[0]
        right, bottom = -(-x1 * width // self.shape[1]), -(-y1 * height // self.shape[0])
        marks = np.full((height, width), cv2.GC_BGD, np.uint8)
        marks[top:bottom, left:right] = cv2.GC_PR_FGD
        if (marks == cv2.GC_PR_FGD).all() or (marks == cv2.GC_PR_FGD).sum() < 10:
            return self._full(marks == cv2.GC_PR_FGD)
        cv2.setRNGSeed(0)
        background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
        bgr = np.ascontiguousarray(self.small[..., ::-1])
        cv2.grabCut(bgr, marks, (0, 0, 0, 0), background, foreground, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
        return self._full((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD))
