"""Painting one shape: pattern, variation, shading and blending, one compiled loop over its bounding box.

Colour of a pixel: t = pattern(x, y); c = ramp[t]; c ← c · (1 + grain · n) + hue · n' · (1, 0, −1); then shading by the
light direction l and the slope of a height map h (the blurred coverage: flat inside, falling at the rim),
c ← c · (1 − relief · ∇h·l) + gloss · highlight; then image ← image + coverage · (c − image).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minisam.world.render.exact import exact
from minisam.world.render.materials import (
    BRICKS,
    CELLS,
    CHECKS,
    FLAT,
    GRADIENT,
    NOISE,
    RINGS,
    SPOTS,
    STRIPES,
    WOOD,
    Material,
)
from minisam.world.render.raster import Window, blur, padded
from minisam.world.render.shapes import composed, map_point
from minisam.world.render.tiles import LEAVES, TILE, tiles

GRAIN = 2.7  # the grain is so much finer than the noise that bends the pattern
UPRIGHT = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@exact
def _hash(i, j, salt):
    """A number in [0, 1) for each cell (i, j) of a grid, the same for the same cell."""
    h = (i * 374761393 + j * 668265263 + salt * 1442695041) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF) / 65536.0


@exact
def _wave(s, duty, edge):
    """A pulse of period 1: 1 for a share ``duty`` of the period, with linear flanks ``edge`` wide."""
    s = s - np.floor(s)
    rise = min(s / edge, 1.0)
    fall = min(max((s - duty) / edge, 0.0), 1.0)
    return max(rise - fall, 0.0)


@exact
def _pattern(kind, u, v, duty, edge, step):
    """t in [0, 1] at pattern coordinates (u, v); ``step`` is the size of a pixel there, the least softness."""
    edge = max(edge, 1.5 * step)
    if kind == GRADIENT:
        return min(max(u, 0.0), 1.0)
    if kind == STRIPES:
        return _wave(u, duty, edge) if step < 0.5 else duty
    if kind == CHECKS:
        a, b = _wave(u, 0.5, edge), _wave(v, 0.5, edge)
        return a + b - 2.0 * a * b if step < 0.5 else 0.5
    if kind == SPOTS:
        i, j = int(np.floor(u)), int(np.floor(v))
        du = u - i - 0.5 - 0.4 * (_hash(i, j, 1) - 0.5)
        dv = v - j - 0.5 - 0.4 * (_hash(i, j, 2) - 0.5)
        radius = 0.5 * duty * (0.5 + _hash(i, j, 3)) + 0.08
        distance = np.sqrt(du * du + dv * dv)
        return min(max((radius - distance) / edge + 0.5, 0.0), 1.0)
    if kind == WOOD:
        s = u - np.floor(u)
        return s * s * (3.0 - 2.0 * s) if s < 0.85 else (1.0 - s) / 0.15 * 0.93
    if kind == RINGS:
        return 0.5 + 0.5 * (_wave(np.sqrt(u * u + v * v), duty, max(edge, 0.3)) - duty) if step < 0.5 else 0.5
    if kind == BRICKS:
        row = int(np.floor(v))
        s = u + 0.5 * (row & 1)
        column = int(np.floor(s))
        gap = 0.25 * duty
        inside = min(min(s - column, column + 1 - s) * 2.0, min(v - row, row + 1 - v))
        face = 0.4 + 0.6 * _hash(column, row, 4)
        return face * min(max((inside - 0.3 * gap) / max(edge * 0.3, step), 0.0), 1.0)
    if kind == CELLS:
        i, j = int(np.floor(u)), int(np.floor(v))
        nearest, second, value = 9.0, 9.0, 0.0
        for jj in range(j - 1, j + 2):
            for ii in range(i - 1, i + 2):
                du = ii + _hash(ii, jj, 5) - u
                dv = jj + _hash(ii, jj, 6) - v
                distance = du * du + dv * dv
                if distance < nearest:
                    nearest, second, value = distance, nearest, _hash(ii, jj, 7)
                elif distance < second:
                    second = distance
        rim = min((np.sqrt(second) - np.sqrt(nearest)) / (0.3 * duty), 1.0)
        return value * rim
    return 0.5


@exact
def sample_row(tile, u, v, du, dv, first, last, out):
    """``out[x] = tile(u + x du, v + x dv)`` for first ≤ x < last; (u, v) in periods of the square ``tile``, float32.

    Positions are whole numbers of 2⁻³² periods: an addition and a shift instead of a product, a floor and a conversion.
    """
    side = tile.shape[0]
    shift = 32
    while (1 << (32 - shift)) < side:
        shift -= 1
    wrap, part = (side - 1) & 0xFFFF, (1 << shift) - 1
    scale = np.float32(1.0 / (1 << shift))
    step_u, step_v = np.int64(np.rint(du * 4294967296.0)), np.int64(np.rint(dv * 4294967296.0))
    at_u = np.int64(np.floor(u * 4294967296.0)) + first * step_u
    at_v = np.int64(np.floor(v * 4294967296.0)) + first * step_v
    for x in range(first, last):
        x0, y0 = (at_u >> shift) & wrap, (at_v >> shift) & wrap
        x1, y1 = (x0 + 1) & wrap, (y0 + 1) & wrap
        ax, ay = np.float32(at_u & part) * scale, np.float32(at_v & part) * scale
        top = tile[y0, x0] + (tile[y0, x1] - tile[y0, x0]) * ax
        low = tile[y1, x0] + (tile[y1, x1] - tile[y1, x0]) * ax
        out[x] = top + (low - top) * ay
        at_u += step_u
        at_v += step_v


class Look(NamedTuple):
    """A material as the loop below sees it: the fields of ``Material``, in this light, at this size, seen from here."""

    pattern: int
    warp: float
    edge: float
    duty: float
    grain: float
    hue: float
    relief: float
    gloss: float
    light_x: float  # the direction to the light, times the width in pixels over which the height falls
    light_y: float
    step: float  # a pixel's side in pattern coordinates
    horizon: float  # the row in pixels where a ground seen in perspective ends; −∞: no perspective
    opacity: float
    through: bool


@exact
def _paint(canvas, owner, index, coverage, height, x_left, y_top, ramp, tile, grain_tile, maps, look):
    """Blend a material into ``canvas`` (S, S, 3) and write ``index`` into ``owner`` (S, S) where coverage ≥ 0.5.

    maps (3, 2, 3): pixel → pattern, noise and grain coordinates. A row is done in passes over scratch of its own
    length, so that all but the look-ups are plain float32 loops that the compiler vectorises.
    """
    size = canvas.shape[0]
    rows, columns = coverage.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    hue, relief, gloss = np.float32(look.hue), np.float32(look.relief), np.float32(look.gloss)
    light_x, light_y, opacity = np.float32(look.light_x), np.float32(look.light_y), np.float32(look.opacity)
    # One row of: n of the pattern's noise; where t lies in the ramp; (1 + grain · n) · (1 − relief · ∇h·l); the
    # highlight; hue · n'. What a material does not have stays 0.
    noise, entry, factor = np.zeros(columns, np.float32), np.empty(columns, np.int64), np.empty(columns, np.float32)
    shine, tint = np.zeros(columns, np.float32), np.zeros(columns, np.float32)
    for y in range(rows):
        # The shape covers pixels of this row from ``first`` to before ``last``.
        first, last = 0, columns
        while first < columns and coverage[y, first] <= 0.0:
            first += 1
        while last > first and coverage[y, last - 1] <= 0.0:
            last -= 1
        if first >= last:
            continue

        # The centre (px, py) of the row's pixel 0. On a ground in perspective, a row further up is ``depth`` times as
        # far away: coordinates spread by it, the pattern is softer, and its contrast fades.
        px, py, depth, softness = x_left + 0.5, y_top + y + 0.5, 1.0, look.step
        if look.horizon > -np.inf:
            depth = 1.0 / (max(py - look.horizon, 0.0) / size + 0.03)
            px, py = (px - 0.5 * size) * depth, depth * size
            softness = look.step * depth * max(depth, 1.0)
        fade = min(1.0, 6.0 / depth)

        # t = pattern(u + x du + warp · n, v + x dv + warp · n), then its entry of the ramp.
        if look.warp != 0.0 or look.pattern == NOISE:
            u, v = map_point(maps[1], px, py)
            sample_row(tile, u, v, maps[1, 0, 0] * depth, maps[1, 1, 0] * depth, first, last, noise)
        if look.pattern == NOISE:
            gain, middle = np.float32(0.28 * fade * 63.0), np.float32(32.0)
            for x in range(first, last):
                entry[x] = np.int64(min(max(middle + gain * noise[x], zero), np.float32(63.0)))
        elif look.pattern == FLAT:
            entry[first:last] = 32
        else:
            u, v = map_point(maps[0], px, py)
            du, dv = maps[0, 0, 0] * depth, maps[0, 1, 0] * depth
            for x in range(first, last):
                bent = look.warp * noise[x]
                t = _pattern(look.pattern, u + x * du + bent, v + x * dv + bent, look.duty, look.edge, softness)
                entry[x] = int((0.5 + (t - 0.5) * fade) * 63.0 + 0.5)

        # factor = 1 + grain · n and tint = hue · n', n and n' cut from the grain's tile at different places.
        factor[first:last] = one
        if look.grain > 0.0:
            u, v = map_point(maps[2], px, py)
            du, dv = maps[2, 0, 0] * depth, maps[2, 1, 0] * depth
            sample_row(grain_tile, u, v, du, dv, first, last, factor)
            if hue > zero:
                sample_row(grain_tile, v + 0.37, u + 0.71, dv, du, first, last, tint)
                for x in range(first, last):
                    tint[x] *= hue
            amount = np.float32(fade * look.grain)
            for x in range(first, last):
                factor[x] = max(one + amount * factor[x], zero)

        # factor ← factor · (1 − relief · ∇h·l), with ∇h = (across, down) from the neighbours' difference.
        if relief > zero or gloss > zero:
            upper, middle_row, lower = height[max(y - 1, 0)], height[y], height[min(y + 1, rows - 1)]
            for x in range(first, last):
                across = middle_row[min(x + 1, columns - 1)] - middle_row[max(x - 1, 0)]
                down = lower[x] - upper[x]
                slope = min(max(across * light_x + down * light_y, -one), one)
                factor[x] *= max(one - relief * slope, zero)
                if gloss > zero:  # a spot where the surface leans towards the light, and not sideways
                    sideways = across * light_y - down * light_x
                    lean = one - np.float32(5.0) * abs(slope + np.float32(0.35)) - np.float32(3.0) * abs(sideways)
                    shine[x] = gloss * min(np.float32(2.0) * max(lean, zero), one)

        # c = ramp[t] · factor + tint · (1, 0, −1) + shine; image ← image + coverage · opacity · (c − image).
        image_row, owner_row = canvas[y + y_top], owner[y + y_top]
        for x in range(first, last):
            alpha = coverage[y, x] * opacity
            for channel in range(3):
                value = ramp[entry[x], channel] * factor[x] + tint[x] * np.float32(1 - channel) + shine[x]
                behind = image_row[x + x_left, channel]
                if look.through:
                    value *= behind
                image_row[x + x_left, channel] = behind + alpha * (value - behind)
            if index >= 0 and coverage[y, x] >= 0.5:
                owner_row[x + x_left] = index


@exact
def _darken(canvas, shade, x_left, y_top, dx, dy, strength):
    """Multiply ``canvas`` by 1 − strength · shade, the window ``shade`` moved by (dx, dy) pixels."""
    size = canvas.shape[0]
    for y in range(shade.shape[0]):
        py = y + y_top + dy
        if py < 0 or py >= size:
            continue
        for x in range(shade.shape[1]):
            px = x + x_left + dx
            if px < 0 or px >= size:
                continue
            keep = np.float32(1.0) - np.float32(strength) * shade[y, x]
            for channel in range(3):
                canvas[py, px, channel] *= keep


@exact
def _pixel_maps(material, noise, frame, size, grain_scale):
    """Pixel coordinates → pattern, noise and grain coordinates, (3, 2, 3): frame⁻¹, then the material's own maps."""
    a, b, c, d, e, f = frame[0, 0], frame[0, 1], frame[0, 2], frame[1, 0], frame[1, 1], frame[1, 2]
    det = a * e - b * d
    to_object = np.empty((2, 3))
    to_object[0] = e / det / size, -b / det / size, (b * f - c * e) / det
    to_object[1] = -d / det / size, a / det / size, (c * d - a * f) / det
    maps = np.empty((3, 2, 3))
    maps[0] = composed(material, to_object)
    maps[1] = composed(noise, to_object)
    maps[2] = maps[1] * grain_scale
    return maps


@exact
def _steps(maps):
    """How far a pixel's step moves in pattern and in noise coordinates."""
    step, noise_step = 0.0, 0.0
    for i in range(2):
        step = max(step, abs(maps[0, i, 0]) + abs(maps[0, i, 1]))
        noise_step = max(noise_step, abs(maps[1, i, 0]) + abs(maps[1, i, 1]))
    return step, noise_step


class Canvas:
    """The image while it is painted: ``colour`` (S, S, 3) float32, ``owner`` (S, S) int32 (−1: nothing).

    ``light`` is the unit vector (x, y) towards the light, y down: (0, −1) is light from above.
    """

    def __init__(self, size: int, light: tuple[float, float]) -> None:
        self.size = size
        self.light = light
        self.colour = np.zeros((size, size, 3), np.float32)
        self.owner = np.full((size, size), -1, np.int32)

    def paint(
        self, window: Window, material: Material, frame: np.ndarray, index: int, horizon: float | None = None
    ) -> None:
        """Paint ``material`` where ``window`` covers; ``frame`` (2, 3) maps object coordinates to the scene's [0, 1]².

        ``horizon``: seen in perspective, like a ground that ends at this height (y in [0, 1]).
        """
        noise = material.pattern_map if material.pattern == NOISE else material.noise_map
        maps = _pixel_maps(material.pattern_map, noise, frame if horizon is None else UPRIGHT, self.size, GRAIN)
        step, noise_step = _steps(maps)
        coverage = window.coverage
        height = coverage
        reach = 0
        if material.relief > 0.0 or material.gloss > 0.0:
            reach = max(1, int(min(coverage.shape) * material.bulge))
            height = blur(coverage, reach)
        slope = reach * 0.9
        look = Look(
            material.pattern, float(material.warp), float(material.edge), float(material.duty), float(material.grain),
            float(material.hue), float(material.relief), float(material.gloss),
            self.light[0] * slope, self.light[1] * slope, step,
            -np.inf if horizon is None else horizon * self.size, float(material.opacity), material.through,
        )  # fmt: skip
        fine = material.tile if material.tile >= LEAVES else min(material.tile, 1)
        _paint(
            self.colour, self.owner, index, coverage, height, window.x, window.y, material.ramp,
            _level(material.tile, noise_step), _level(fine, GRAIN * noise_step), maps, look,
        )  # fmt: skip

    def shadow(self, window: Window, dx: float, dy: float, softness: float, strength: float) -> None:
        """Cast the shadow of ``window``, moved by (dx, dy) and blurred by ``softness`` (shares of the image)."""
        radius = int(softness * self.size + 0.5)
        pad = 2 * radius + 1
        shade = blur(padded(window.coverage, pad), radius)
        px, py = int(dx * self.size + self.size) - self.size, int(dy * self.size + self.size) - self.size
        _darken(self.colour, shade, window.x - pad, window.y - pad, px, py, strength)

    def defocus(self, radius: float) -> None:
        """Blur all that is painted so far; ``radius`` as a share of the image's side."""
        self.colour = blur(self.colour, int(radius * self.size + 0.5))


def _level(kind: int, step: float) -> np.ndarray:
    """The level of a noise pyramid whose pixels are about as large as the image's, which are ``step`` periods."""
    pyramid = tiles()[kind]
    level = 0
    while step * TILE > 1.5 and level < len(pyramid) - 1:
        step *= 0.5
        level += 1
    return pyramid[level]
