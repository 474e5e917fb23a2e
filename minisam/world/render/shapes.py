"""Outlines: the families of shapes from which objects are built.

A ``Shape`` is a set of closed polygons in a frame of its own, roughly [-1, 1]², with x to the right and y down.
Polygons of positive area are filled, polygons of negative area cut holes (see ``raster``). Curves are polygons of a few
dozen corners: below a pixel nobody sees the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minisam.world.render.exact import GRID, exact, snap
from minisam.world.render.rng import Rng, unit


@exact
def map_point(matrix, x, y):
    """The point (x, y) after the affine map ``matrix`` (2, 3)."""
    return (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2], matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2])


@exact
def _moved(points, matrix):
    """points (n, 2) after the affine map ``matrix`` (2, 3); compiled: a third of the time of three array operations."""
    result = np.empty((len(points), 2))
    for i in range(len(points)):
        result[i, 0], result[i, 1] = map_point(matrix, points[i, 0], points[i, 1])
    return result


@exact
def extent(points):
    """(left, top, right, bottom) of ``points`` (n, 2)."""
    left, top, right, bottom = points[0, 0], points[0, 1], points[0, 0], points[0, 1]
    for i in range(1, len(points)):
        left, right = min(left, points[i, 0]), max(right, points[i, 0])
        top, bottom = min(top, points[i, 1]), max(bottom, points[i, 1])
    return left, top, right, bottom


@dataclass
class Shape:
    """points (n, 2) float64 as (x, y); polygon i is ``points[starts[i]:starts[i + 1]]``; starts (k + 1,) int64."""

    points: np.ndarray
    starts: np.ndarray

    def moved(self, matrix: np.ndarray) -> Shape:
        """The shape after the affine map ``matrix`` (2, 3)."""
        return Shape(_moved(self.points, matrix), self.starts)

    def at(self, x: float, y: float, scale: float = 1.0, angle: float = 0.0, stretch: float = 1.0) -> Shape:
        """The shape scaled (``stretch`` more along its own x), turned by ``angle`` radians, moved to (x, y)."""
        return self.moved(affine(x, y, scale, angle, stretch))


@exact
def _affine(c, s, stretch, x, y):
    """Matrix (2, 3) of a stretch along x, then a turn and scaling by (c, s), then a move to (x, y)."""
    result = np.empty((2, 3))
    result[0, 0], result[0, 1], result[0, 2] = c * stretch, -s, x
    result[1, 0], result[1, 1], result[1, 2] = s * stretch, c, y
    return result


def affine(x: float, y: float, scale: float = 1.0, angle: float = 0.0, stretch: float = 1.0) -> np.ndarray:
    """Matrix (2, 3) of ``Shape.at``."""
    c, s = unit(angle) if angle != 0.0 else (1.0, 0.0)
    return _affine(c * scale, s * scale, float(stretch), float(x), float(y))


@exact
def composed(outer, inner):
    """outer ∘ inner, affine maps (2, 3): first ``inner``, then ``outer`` (NumPy's product may round otherwise)."""
    result = np.empty((2, 3))
    for i in range(2):
        for j in range(3):
            result[i, j] = outer[i, 0] * inner[0, j] + outer[i, 1] * inner[1, j]
        result[i, 2] += outer[i, 2]
    return result


def mapped(matrix: np.ndarray, x: float, y: float) -> tuple[float, float]:
    """The point (x, y) after the affine map ``matrix`` (2, 3)."""
    return map_point(matrix, float(x), float(y))


@exact
def _oriented(points, hole):
    """``points`` (n, 2) snapped to the grid, in the order that makes their area positive (for a hole: negative)."""
    count = len(points)
    result = np.empty((count, 2))
    area, px, py = 0.0, points[count - 1, 0], points[count - 1, 1]
    for i in range(count):
        x, y = points[i, 0], points[i, 1]
        area += px * y - x * py
        px, py = x, y
    turned = (area < 0.0) != hole
    for i in range(count):
        j = count - 1 - i if turned else i
        result[i, 0], result[i, 1] = np.rint(points[j, 0] * GRID) / GRID, np.rint(points[j, 1] * GRID) / GRID
    return result


def polygon(points: np.ndarray, hole: bool = False) -> Shape:
    """One closed polygon through ``points`` (n, 2), turned to positive (a hole: negative) orientation."""
    return Shape(_oriented(np.asarray(points, np.float64), hole), np.array([0, len(points)]))


def path(*points: tuple[float, float]) -> Shape:
    """``polygon`` through corners written out one by one."""
    return polygon(np.array(points))


def union(*shapes: Shape) -> Shape:
    """All polygons of all shapes as one shape."""
    starts = [0]
    for shape in shapes:
        starts.extend((shape.starts[1:] + starts[-1]).tolist())
    return Shape(np.concatenate([shape.points for shape in shapes]), np.array(starts))


def _angles(count: int) -> np.ndarray:
    """``count`` equal steps around the circle, in radians."""
    return np.arange(count) * (2.0 * math.pi / count)


_CIRCLES = {n: snap(np.stack([np.cos(_angles(n)), np.sin(_angles(n))], axis=1)) for n in (12, 20, 32, 48, 96)}

_HALVES = {
    n: snap(np.stack([-np.sin(np.arange(n + 1) * math.pi / n), np.cos(np.arange(n + 1) * math.pi / n)], axis=1))
    for n in (4, 6)
}


def ellipse(rx: float = 1.0, ry: float = 1.0, corners: int = 32) -> Shape:
    """Ellipse with half axes (rx, ry) about the origin."""
    return Shape(_CIRCLES[corners] * (rx, ry), np.array([0, corners]))


def box(x0: float, y0: float, x1: float, y1: float, rounding: float = 0.0) -> Shape:
    """Rectangle between two corners, its corners cut by quarter circles of radius ``rounding``."""
    if rounding <= 0.0:
        return polygon(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))
    r = min(rounding, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
    quarter = _CIRCLES[20] * r
    centres = ((x1 - r, y1 - r), (x0 + r, y1 - r), (x0 + r, y0 + r), (x1 - r, y0 + r))
    wrapped = np.concatenate([quarter, quarter[:1]])
    return polygon(np.concatenate([wrapped[5 * i : 5 * i + 6] + centre for i, centre in enumerate(centres)]))


def blob(rng: Rng, roughness: float = 0.5, corners: int = 48) -> Shape:
    """A smooth closed curve: the radius is 1 plus a few Fourier terms whose size falls with their frequency."""
    radius = np.ones(corners)
    for k in range(2, 7):
        c, s = rng.direction()
        amplitude = roughness * rng.signed(0.5) / k
        corner = (k * np.arange(corners)) % corners
        radius += _CIRCLES[corners][corner, 0] * (amplitude * c) + _CIRCLES[corners][corner, 1] * (amplitude * s)
    radius = np.maximum(radius, 0.25)
    return polygon(_CIRCLES[corners] * radius[:, None])


def shaggy(rng: Rng, roughness: float = 0.5, fringe: float = 0.08) -> Shape:
    """A blob with a ragged rim (fur, foliage, torn paper): ``fringe`` is the size of the tatters."""
    corners = 96
    smooth = blob(rng, roughness, corners).points
    rough = 1.0 + fringe * 2.0 * (rng.array(corners) - 0.5)
    rough += fringe * 1.5 * np.repeat(rng.array(corners // 4) - 0.5, 4)
    return polygon(smooth * rough[:, None])


def convex(rng: Rng, corners: int) -> Shape:
    """A polygon with corners near the unit circle, irregular, mostly convex."""
    angle = _angles(corners) + (rng.array(corners) - 0.5) * (4.0 / corners)
    radius = 0.75 + 0.4 * rng.array(corners)
    return polygon(np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None])


def star(rng: Rng, tips: int, inner: float) -> Shape:
    """A star with ``tips`` points; ``inner`` is the radius of the notches."""
    angle = _angles(2 * tips)
    radius = np.where(np.arange(2 * tips) % 2 == 0, 1.0, inner) * (1.0 + 0.1 * (rng.array(2 * tips) - 0.5))
    return polygon(np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None])


def superellipse(exponent: float, corners: int = 48) -> Shape:
    """``|x|ⁿ + |y|ⁿ = 1``: from a diamond (n = 1) over the circle (2) to a rounded square (5)."""
    circle = _CIRCLES[corners]
    return polygon(np.sign(circle) * np.abs(circle) ** (2.0 / exponent))


def ring(outer: Shape, hole: float = 0.6) -> Shape:
    """``outer`` with a hole of its own shape, ``hole`` times as large."""
    return union(outer, Shape(outer.points[::-1] * hole, outer.starts))


def capsule(x0: float, y0: float, x1: float, y1: float, r0: float, r1: float, corners: int = 12) -> Shape:
    """A limb: two discs of radii r0 and r1 and everything between (the hull of the two circles)."""
    dx, dy = x1 - x0, y1 - y0
    length = math.sqrt(dx * dx + dy * dy) or 1.0
    ux, uy = dx / length, dy / length
    half = corners // 2
    back = _HALVES[half]
    turned = back[:, 0:1] * (ux, uy) + back[:, 1:2] * (-uy, ux)
    points = np.concatenate([turned * r0 + (x0, y0), turned * -r1 + (x1, y1)])
    return Shape(points, np.array([0, len(points)]))


def curve(rng: Rng, x: float, y: float, angle: float, length: float, r0: float, r1: float, bend: float) -> Shape:
    """A bending band (tail, arm, rope): starts at (x, y), turns by about ``bend`` radians, radius r0 to r1."""
    steps = 9
    turns = angle + bend * np.arange(steps) / steps + rng.signed(0.3) * np.sin(np.arange(steps) * 0.8)
    direction = snap(np.stack([np.cos(turns), np.sin(turns)], axis=1))
    centre = np.concatenate([[[x, y]], (x, y) + np.cumsum(direction, axis=0) * (length / steps)])
    normal = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
    normal = np.concatenate([normal, normal[-1:]])
    radius = np.linspace(r0, r1, steps + 1)[:, None]
    band = np.concatenate([centre + normal * radius, (centre - normal * radius)[::-1]])
    tip = centre[-1]
    start = ellipse(r0, r0, 12).at(x, y)
    return union(polygon(band), start, ellipse(max(r1, 1e-3), max(r1, 1e-3), 12).at(tip[0], tip[1]))


def profile(widths: list[tuple[float, float]]) -> Shape:
    """A vessel seen from the side: half widths ``(y, half width)`` from top to bottom, smoothed, mirrored."""
    y = np.linspace(widths[0][0], widths[-1][0], 28)
    knots = [w[0] for w in widths]
    half = np.interp(y, knots, [w[1] for w in widths])
    half[1:-1] = (half[:-2] + 2 * half[1:-1] + half[2:]) / 4
    right = np.stack([half, y], axis=1)
    return polygon(np.concatenate([right, right[::-1] * (-1, 1)]))


def branches(rng: Rng, depth: int = 3, spread: float = 0.6, thickness: float = 0.09) -> Shape:
    """A branching thing (twig, coral, vessel): capsules, each ending in two or three thinner ones."""
    parts: list[Shape] = []

    def grow(x: float, y: float, angle: float, length: float, radius: float, level: int) -> None:
        ux, uy = unit(angle)
        x1, y1 = x + ux * length, y + uy * length
        parts.append(capsule(x, y, x1, y1, radius, radius * 0.7, 8))
        if level > 0:
            count = rng.integer(2, 3)
            for i in range(count):
                turn = spread * (2.0 * (i + 0.5) / count - 1.0) * rng.uniform(0.7, 1.5)
                grow(x1, y1, angle + turn, length * rng.uniform(0.6, 0.85), radius * 0.68, level - 1)

    grow(0.0, 0.9, -math.pi / 2 + rng.signed(0.2), rng.uniform(0.5, 0.8), thickness, depth)
    return union(*parts)


def leaf(rng: Rng, width: float = 0.4, corners: int = 24) -> Shape:
    """A pointed leaf or petal along +x, from the origin to (1, 0)."""
    t = np.linspace(0.0, 1.0, corners // 2)
    half = width * np.sin(math.pi * t ** rng.uniform(0.6, 1.2)) ** rng.uniform(0.7, 1.2)
    half = np.nan_to_num(half)
    return polygon(np.concatenate([np.stack([t, half], axis=1), np.stack([t, -half], axis=1)[::-1]]))


def random_shape(rng: Rng) -> Shape:
    """A shape of a random family, stretched at random, of radius about 1."""
    kind = rng.weighted(
        [
            (5, "blob"),
            (2, "shaggy"),
            (2, "polygon"),
            (2, "super"),
            (2, "ellipse"),
            (2, "box"),
            (1, "star"),
            (1, "ring"),
            (1, "twig"),
        ]
    )
    if kind == "blob":
        shape = blob(rng, rng.uniform(0.1, 1.3))
    elif kind == "shaggy":
        shape = shaggy(rng, rng.uniform(0.1, 1.0), rng.log_uniform(0.02, 0.2))
    elif kind == "polygon":
        shape = convex(rng, rng.integer(3, 8))
    elif kind == "super":
        shape = superellipse(rng.pick((1.2, 1.6, 3.0, 4.0, 6.0)))
    elif kind == "ellipse":
        shape = ellipse()
    elif kind == "box":
        shape = box(-1, -rng.uniform(0.3, 1.0), 1, rng.uniform(0.3, 1.0), rng.pick((0.0, 0.0, 0.1, 0.3)))
    elif kind == "star":
        shape = star(rng, rng.integer(4, 9), rng.uniform(0.35, 0.75))
    elif kind == "ring":
        shape = ring(rng.pick((ellipse(), superellipse(4.0), blob(rng, 0.4))), rng.uniform(0.45, 0.8))
    else:
        return branches(rng, rng.integer(1, 3), rng.uniform(0.4, 0.8), rng.uniform(0.05, 0.15))
    return shape.at(0, 0, 1.0, rng.uniform(0, 6.28), rng.log_uniform(0.4, 1.0))
