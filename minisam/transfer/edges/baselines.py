"""Edges without a model of objects: Sobel, Canny, and the boundaries of Felzenszwalb and Huttenlocher's regions.

Each gives, for an image uint8 (H, W, 3), the detected pixels at every threshold: a list of bool (H, W), from many to
few. Canny's and Felzenszwalb's thresholds are their own parameter, swept; so "one threshold for the whole set" (ODS) is
one value of that parameter, as in Arbeláez et al. 2011. Nothing here is fitted to a set.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from minisam.transfer.edges.boundaries import normalised
from minisam.transfer.edges.bsds import boundaries
from minisam.transfer.edges.scores import THRESHOLDS, cuts, thresholds
from minisam.transfer.edges.thinning import edge_nms, thin

SIGMA = 2.0  # pixels, of the Gaussian before a gradient: BSDS's Canny has it
LOW = 0.4  # of Canny's upper threshold, the lower one: MATLAB's default
STEEPEST = 255 / (2 * np.pi * SIGMA**2) ** 0.5  # grey levels a pixel: from black to white, at the Gaussian's peak
UNIT = 64.0  # OpenCV wants gradients as whole numbers of 16 bits: so many are one grey level a pixel
SCALES = np.geomspace(30, 10_000, 10)  # of Felzenszwalb's regions
SMALLEST = 50  # pixels of a region, and .8 pixels of smoothing: the values in its authors' program
SMOOTHING = 0.8


def _gradient(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the grey levels per pixel to the right and down, float64 (H, W) each."""
    grey = ndimage.gaussian_filter(image @ np.array([0.299, 0.587, 0.114]), SIGMA, mode="nearest")
    return ndimage.sobel(grey, 1, mode="nearest") / 8, ndimage.sobel(grey, 0, mode="nearest") / 8


def sobel_map(image: np.ndarray) -> np.ndarray:
    """Compute the strength of Sobel's gradient, normalised, after edge NMS: (H, W)."""
    return edge_nms(normalised(np.hypot(*_gradient(image))))


def sobel(image: np.ndarray) -> list[np.ndarray]:
    """Cut Sobel's map at every threshold."""
    return cuts(sobel_map(image))


def canny(image: np.ndarray) -> list[np.ndarray]:
    """Find Canny's edges for upper thresholds t² · ``STEEPEST``, squared because most gradients are small."""
    import cv2

    x, y = (np.rint(UNIT * one).astype(np.int16) for one in _gradient(image))
    upper = UNIT * STEEPEST * thresholds(THRESHOLDS) ** 2
    return [thin(cv2.Canny(x, y, LOW * t, t, L2gradient=True) > 0) for t in upper]


def felzenszwalb(image: np.ndarray) -> list[np.ndarray]:
    """Find the boundaries of its regions at each scale, from fine to coarse."""
    from skimage.segmentation import felzenszwalb

    return [boundaries(felzenszwalb(image, scale, SMOOTHING, SMALLEST)) for scale in SCALES]
