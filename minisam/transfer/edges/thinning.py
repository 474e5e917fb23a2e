"""Thin edges: of a soft map (edge NMS), and of a set of pixels (thinning).

Edge NMS, as Canny's but with an orientation that also holds on ridges (Dollár and Zitnick, "Fast edge detection using
structured forests", whose toolbox every BSDS figure since uses)::

    E = triangle₁(edges),  S = triangle₄(E),  o = arctan(S_yy · sign(−S_xy) / (S_xx + 10⁻⁵)) mod π
    E(x, y) stays if 1.01 · E(x, y) ≥ E at (x, y) ± (cos o, sin o), read bilinearly, else it is 0;
    within 5 pixels of the frame it is multiplied by (distance to the frame) / 5

For a straight ridge whose normal has the angle θ, S_yy / S_xx is tan² θ, so o is off by up to 11° between the axes. It
is the toolbox's formula all the same, and every figure was made with it. Only sign(0) is 1 here and 0 there, where an
edge that is exactly horizontal has o = 0, along it, and stays as wide as it is.

Thinning (Guo and Hall 1989, MATLAB's ``bwmorph(…, "thin", inf)``): pixels are removed from alternating sides, until
none can go without breaking a line. x₁ … x₈ are a pixel's neighbours, counterclockwise from the right; x₉ = x₁::

    G1: Σ over i = 1 … 4 of [¬x₂ᵢ₋₁ ∧ (x₂ᵢ ∨ x₂ᵢ₊₁)] = 1                                 removing it breaks nothing
    G2: 2 ≤ min(Σ [x₂ₖ₋₁ ∨ x₂ₖ], Σ [x₂ₖ ∨ x₂ₖ₊₁]) ≤ 3                                    it is no end of a line
    G3: (x₂ ∨ x₃ ∨ ¬x₈) ∧ x₁ = 0 in every first pass, (x₆ ∨ x₇ ∨ ¬x₄) ∧ x₅ = 0 in every second
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from minisam_kernels.runtime.errors import InputError
from minisam_kernels.runtime.jit import exact_jit

FRAME = 5  # pixels along the image's edge where estimates are poor
TOLERANCE = 1.01  # an edge must be weaker than its neighbour by this factor to go


def triangle(image: np.ndarray, radius: int) -> np.ndarray:
    """Smooth with a triangle of ``radius`` in both directions, mirrored at the frame."""
    # of radius 1 the toolbox takes [1 2 1], which is the same formula
    weights = np.concatenate([np.arange(1, radius + 2), np.arange(radius, 0, -1)]) / (radius + 1) ** 2
    return ndimage.convolve1d(ndimage.convolve1d(image, weights, 0, mode="reflect"), weights, 1, mode="reflect")


def orientation(edges: np.ndarray) -> np.ndarray:
    """Compute o of every pixel, the direction across the edge, in [0, π), from second derivatives."""
    down, across = np.gradient(triangle(edges, 4))
    across_down, across_across = np.gradient(across)
    down_down = np.gradient(down, axis=0)
    sign = np.where(across_down > 0, -1, 1)
    return np.mod(np.arctan(down_down * sign / (across_across + 1e-5)), np.pi)


@exact_jit
def _bilinear(image, x, y):
    height, width = image.shape
    x, y = min(max(x, 0.0), width - 1.001), min(max(y, 0.0), height - 1.001)
    j, i = int(x), int(y)
    right, down = x - j, y - i
    above = image[i, j] * (1 - right) + image[i, j + 1] * right
    below = image[i + 1, j] * (1 - right) + image[i + 1, j + 1] * right
    return above * (1 - down) + below * down


@exact_jit
def _suppress(edges, cos, sin, out):
    """Edges (H, W) → out (H, W): those that are as strong as what lies across them."""
    for i in range(edges.shape[0]):
        for j in range(edges.shape[1]):
            e = edges[i, j]
            if e == 0:
                continue
            x, y = cos[i, j], sin[i, j]
            strongest = max(_bilinear(edges, j - x, i - y), _bilinear(edges, j + x, i + y))
            if e * TOLERANCE >= strongest:
                out[i, j] = e


def edge_nms(edges: npt.ArrayLike) -> np.ndarray:
    """Leave of a soft edge map the ridges.

    Parameters
    ----------
    edges : array_like, shape (H, W)
        Strengths, 0 or more; H and W at least 2.

    Returns
    -------
    ndarray, shape (H, W), float64
        The strengths of the smoothed map on its ridges, 0 elsewhere.

    Raises
    ------
    InputError
        If ``edges`` have another shape or hold NaN.
    """
    edges = np.asarray(edges, np.float64)
    if edges.ndim != 2 or min(edges.shape) < 2:
        raise InputError(f"expected edges of shape (H, W), at least 2 × 2, got {edges.shape}")
    if not np.isfinite(edges).all():
        raise InputError("expected edges of finite numbers, got NaN or infinity")
    smooth = np.ascontiguousarray(triangle(edges, 1))
    angle, out = orientation(smooth), np.zeros_like(smooth)
    _suppress(smooth, np.cos(angle), np.sin(angle), out)
    frame = min(FRAME, min(out.shape) // 2)
    for axis, length in enumerate(out.shape):
        from_frame = np.minimum(np.arange(length), np.arange(length)[::-1])
        weight = np.minimum(from_frame / frame, 1)
        out *= weight[:, None] if axis == 0 else weight
    return out


@cache
def _removable() -> np.ndarray:
    """bool (2, 256): can a pixel go in a first and in a second pass? The index has xₖ as its bit k − 1."""
    code = np.arange(256)
    x = {k: (code >> (k - 1) & 1).astype(bool) for k in range(1, 9)}
    x[9] = x[1]
    g1 = sum((~x[2 * i - 1] & (x[2 * i] | x[2 * i + 1])).astype(int) for i in range(1, 5)) == 1
    first = sum((x[2 * k - 1] | x[2 * k]).astype(int) for k in range(1, 5))
    second = sum((x[2 * k] | x[2 * k + 1]).astype(int) for k in range(1, 5))
    least = np.minimum(first, second)
    g2 = (least >= 2) & (least <= 3)
    g3 = np.stack([~((x[2] | x[3] | ~x[8]) & x[1]), ~((x[6] | x[7] | ~x[4]) & x[5])])
    return g1 & g2 & g3


@exact_jit
def _thin(image, pixels, removable, steps):
    """Image: flat, with a frame of zeros. pixels: where it is 1. steps (8,): from a pixel to x₁ … x₈."""
    goes, count, idle, turn = np.empty(pixels.size, np.bool_), pixels.size, 0, 0
    while idle < 2:  # a pass of either kind without a removal is the end
        # all pixels are judged first, and removed after, as if at once
        for n in range(count):
            code = 0
            for k in range(8):
                code |= image[pixels[n] + steps[k]] << k
            goes[n] = removable[turn, code]
        left = 0
        for n in range(count):
            if goes[n]:
                image[pixels[n]] = 0
            else:
                pixels[left] = pixels[n]
                left += 1
        idle = idle + 1 if left == count else 0
        count, turn = left, 1 - turn


def thin(image: npt.ArrayLike) -> np.ndarray:
    """Thin a set of pixels to lines one pixel wide, connected as before: bool (H, W) → bool (H, W)."""
    image = np.asarray(image)
    if image.ndim != 2 or image.dtype != bool:
        raise InputError(f"expected booleans of shape (H, W), got {image.dtype} {image.shape}")
    padded = np.pad(np.ascontiguousarray(image).view(np.uint8), 1)
    w = padded.shape[1]
    steps = np.array([1, 1 - w, -w, -w - 1, -1, w - 1, w, w + 1])
    flat = padded.ravel()
    _thin(flat, np.flatnonzero(flat), _removable(), steps)
    return padded[1:-1, 1:-1].view(bool).copy()
