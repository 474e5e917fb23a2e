"""From outlines to pixels: exact area coverage, blur, and clipping.

**Coverage.** A shape is a set of closed polygons. For each edge we add, in every row that it crosses, the *change* of
covered area that it causes from one pixel to the next; a running sum along the row then gives the covered fraction of
each pixel, exactly (the accumulation buffer of signed areas known from font rasterisers). Two polygons of the same
orientation that overlap sum to 2 and are clamped to 1: a union. A polygon of opposite orientation sums to 0: a hole.
The mask of a shape is ``coverage ≥ 0.5``; the image blends with the coverage itself, which is what antialiasing is.

**Blur** is a running box mean, applied twice in each direction (a triangle filter): its cost does not depend on the
radius. Blurred coverage also serves as a height for shading, and, moved aside, as a soft shadow.
"""

from __future__ import annotations

import numpy as np

from minisam.world.render.exact import exact
from minisam.world.render.shapes import extent


@exact
def _frame(points, size, margin):
    """The window (x0, y0, x1, y1) in pixels around ``points``, cut at the image; empty: x1 ≤ x0."""
    left, top, right, bottom = extent(points)
    if right < 0.0 or bottom < 0.0 or left > 1.0 or top > 1.0:
        return 0, 0, 0, 0
    x0, y0 = max(int(left * size) - margin, 0), max(int(top * size) - margin, 0)
    x1, y1 = min(int(right * size) + 1 + margin, size), min(int(bottom * size) + 1 + margin, size)
    return x0, y0, x1, y1


@exact
def _accumulate(points, starts, size, x_left, y_top, coverage):
    """Fill ``coverage`` (h, w) of the window at (x_left, y_top) pixels; points (n, 2) as (x, y) in [0, 1]."""
    height, width = coverage.shape
    change = np.zeros((height, width + 2), np.float32)  # of the covered area from one pixel to the next
    for contour in range(len(starts) - 1):
        first, last = starts[contour], starts[contour + 1]
        for i in range(first, last):
            # The edge from corner i to the next, in the window's pixels, turned so that a is its upper end. An edge
            # that ran down adds what lies to its right, one that ran up subtracts it: what remains lies between them.
            j = i + 1 if i + 1 < last else first
            xa, ya = points[i, 0] * size - x_left, points[i, 1] * size - y_top
            xb, yb = points[j, 0] * size - x_left, points[j, 1] * size - y_top
            if ya == yb:
                continue
            sign = 1.0
            if ya > yb:
                xa, ya, xb, yb = xb, yb, xa, ya
                sign = -1.0
            if yb <= 0.0 or ya >= height:
                continue
            slope = (xb - xa) / (yb - ya)
            y_first, y_last = max(ya, 0.0), min(yb, float(height))
            for y in range(int(y_first), min(int(np.ceil(y_last)), height)):
                # The edge's piece in this row runs from top to bottom and from x0 to x1, through pixels c0 to c1 − 1.
                top, bottom = max(float(y), y_first), min(float(y + 1), y_last)
                area = sign * (bottom - top)  # added to each pixel that lies to its right as a whole
                x0 = min(max(xa + (top - ya) * slope, 0.0), float(width))
                x1 = min(max(xa + (bottom - ya) * slope, 0.0), float(width))
                if x0 > x1:
                    x0, x1 = x1, x0
                c0, c1 = int(x0), int(np.ceil(x1))
                if c1 <= c0 + 1:
                    # It stays within pixel c0: a share of that pixel lies to its right, and all of the next one.
                    share = 1.0 - (0.5 * (x0 + x1) - c0)
                    change[y, c0] += np.float32(area * share)
                    change[y, c0 + 1] += np.float32(area * (1.0 - share))
                else:
                    # It crosses several: a triangle, trapezia, a triangle. The share of pixel c to its right is a
                    # mean over the piece: 1 for what lies left of c, c + 1 − x for what runs through c, 0 beyond.
                    per_pixel = 1.0 / (x1 - x0)
                    before = 0.0
                    for c in range(c0, c1 + 1):
                        left, right = max(float(c), x0), min(float(c + 1), x1)
                        if right > left:
                            passed = (left - x0) * per_pixel
                            share = passed + (right - left) * per_pixel * (c + 1 - 0.5 * (left + right))
                        else:
                            share = 1.0
                        change[y, c] += np.float32(area * (share - before))
                        before = share
    # Coverage is the size of the running sum; overlaps (2) are clamped to 1, and what float32 sums leave over to 0.
    for y in range(height):
        total = np.float32(0.0)
        for x in range(width):
            total += change[y, x]
            value = abs(total)
            coverage[y, x] = np.float32(0.0) if value < 1e-3 else min(value, np.float32(1.0))


@exact
def _mean_along(source, radius, channels, target):
    """Running mean of half-width ``radius`` pixels along one row of interleaved channels, ends repeated outwards.

    target[x] = Σ source[x − radius … x + radius] / (2 radius + 1), with the sum carried from one x to the next.
    """
    width = len(source) // channels
    scale = np.float32(1.0 / (2 * radius + 1))
    for c in range(channels):
        # The sum for x = 0: radius copies of the left end, the left end itself, and what follows it.
        left, right = source[c], source[(width - 1) * channels + c]
        total = left * np.float32(radius + 1)
        for x in range(1, radius + 1):
            total += source[min(x, width - 1) * channels + c]
        # x < low: x − radius, which leaves the sum, is before the row. x ≥ high: x + radius + 1, which enters it, is
        # behind the row. Where the row is shorter than the window (high < low), no x has both within it.
        low, high = min(radius, width), max(width - radius - 1, 0)
        for x in range(min(low, high)):
            target[x * channels + c] = total * scale
            total += source[(x + radius + 1) * channels + c] - left
        for x in range(low, high):
            target[x * channels + c] = total * scale
            total += source[(x + radius + 1) * channels + c] - source[(x - radius) * channels + c]
        for x in range(high, width):
            target[x * channels + c] = total * scale
            total += right - source[max(x - radius, 0) * channels + c]


@exact
def _mean_down(source, radius, target):
    """The same down the columns of ``source`` (h, n), all columns of a row at once."""
    height, columns = source.shape
    scale = np.float32(1.0 / (2 * radius + 1))
    sums = source[0] * np.float32(radius + 1)
    for y in range(1, radius + 1):
        row = source[min(y, height - 1)]
        for x in range(columns):
            sums[x] += row[x]
    for y in range(height):
        entering, leaving = source[min(y + radius + 1, height - 1)], source[max(y - radius, 0)]
        mean = target[y]
        for x in range(columns):
            mean[x] = sums[x] * scale
            sums[x] += entering[x] - leaving[x]


@exact
def _blur(source, radius, channels):
    """Two running means along the rows, then two down the columns: (h, width · channels) → the same."""
    height, columns = source.shape
    once, twice = np.empty(columns, np.float32), np.empty_like(source)
    for y in range(height):
        _mean_along(source[y], radius, channels, once)
        _mean_along(once, radius, channels, twice[y])
    down = np.empty_like(source)
    _mean_down(twice, radius, down)
    _mean_down(down, radius, twice)
    return twice


@exact
def padded(coverage, pad):
    """``coverage`` (h, w) with ``pad`` empty pixels on every side."""
    height, width = coverage.shape
    result = np.zeros((height + 2 * pad, width + 2 * pad), np.float32)
    result[pad : pad + height, pad : pad + width] = coverage
    return result


def blur(image: np.ndarray, radius: int) -> np.ndarray:
    """Triangle-filtered copy of ``image`` (h, w) or (h, w, C), float32; ``radius`` in pixels, 0 gives it back."""
    if radius < 1:
        return image
    channels = 1 if image.ndim == 2 else image.shape[2]
    return _blur(image.reshape(image.shape[0], -1), radius, channels).reshape(image.shape)


@exact
def _clip(coverage, x_left, y_top, parent, parent_left, parent_top):
    """``coverage = min(coverage, parent)`` where both are windows of the frame; 0 outside of the parent's window."""
    height, width = coverage.shape
    for y in range(height):
        py = y + y_top - parent_top
        for x in range(width):
            px = x + x_left - parent_left
            if py < 0 or px < 0 or py >= parent.shape[0] or px >= parent.shape[1]:
                coverage[y, x] = 0.0
            else:
                coverage[y, x] = min(coverage[y, x], parent[py, px])


class Window:
    """Coverage of one shape inside its bounding box: ``coverage`` (h, w) float32, top left pixel ``(x, y)``."""

    def __init__(self, coverage: np.ndarray, x: int, y: int) -> None:
        self.coverage = coverage
        self.x = x
        self.y = y

    def clip(self, parent: Window) -> None:
        """Keep only what lies inside ``parent``."""
        _clip(self.coverage, self.x, self.y, parent.coverage, parent.x, parent.y)

    def soften(self, radius: int) -> None:
        """Blur the coverage inside its window (an object out of focus); the half-way line stays about where it is."""
        self.coverage = blur(self.coverage, radius)


def rasterise(points: np.ndarray, starts: np.ndarray, size: int, margin: int = 1) -> Window | None:
    """Coverage of the polygons ``points[starts[i]:starts[i + 1]]``.

    points: (n, 2) float64 as (x, y), the frame is [0, 1]²; starts: (k + 1,) int64; margin: empty pixels around it.
    Returns None when nothing of the shape is inside the frame.
    """
    x0, y0, x1, y1 = _frame(points, size, margin)
    if x1 <= x0 or y1 <= y0:
        return None
    coverage = np.empty((y1 - y0, x1 - x0), np.float32)
    _accumulate(points, starts, float(size), float(x0), float(y0), coverage)
    return Window(coverage, x0, y0)


def eroded(mask: np.ndarray) -> np.ndarray:
    """``mask`` (h, w) bool without the pixels that have one of their four neighbours outside of it or of the frame."""
    core = np.zeros_like(mask)
    core[1:-1, 1:-1] = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    return core
