"""Painting one shape: pattern, variation, shading and blending, one compiled loop over its bounding box.

Colour of a pixel: t = pattern(x, y); c = ramp[t]; c ← c · (1 + grain · n) + hue · n' · (1, 0, −1); then shading by the
light direction l and the slope of a height map h (the blurred coverage: flat inside, falling at the rim),
c ← c · (1 − relief · ∇h·l) + gloss · highlight; then picture ← picture + coverage · (c − picture).
"""

from __future__ import annotations

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
from minisam.world.render.shapes import composed
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


@exact
def _paint(canvas, owner, index, coverage, height, x_left, y_top, ramp, tile, grain_tile, maps, numbers):
    """Blend a material into ``canvas`` (S, S, 3) and write ``index`` into ``owner`` (S, S) where coverage ≥ 0.5.

    maps (3, 2, 3): pixel → pattern, noise and grain coordinates. numbers: see ``paint``. A row is done in passes over
    scratch of its own length, so that all but the look-ups are plain float32 loops that the compiler makes wide.
    """
    kind, warp, edge, duty = int(numbers[0]), numbers[1], numbers[2], numbers[3]
    grain, hue, relief, gloss = numbers[4], np.float32(numbers[5]), np.float32(numbers[6]), np.float32(numbers[7])
    light_x, light_y = np.float32(numbers[8]), np.float32(numbers[9])
    step, horizon, opacity, through = numbers[10], numbers[11], np.float32(numbers[12]), numbers[13] > 0.0
    size = canvas.shape[0]
    rows, columns = coverage.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    noise, factor = np.zeros(columns, np.float32), np.empty(columns, np.float32)
    level, shine, tint = np.empty(columns, np.int64), np.zeros(columns, np.float32), np.zeros(columns, np.float32)
    for y in range(rows):
        first, last = 0, columns
        while first < columns and coverage[y, first] <= 0.0:
            first += 1
        while last > first and coverage[y, last - 1] <= 0.0:
            last -= 1
        if first >= last:
            continue
        px, py, depth = x_left + 0.5, y_top + y + 0.5, 1.0
        if horizon > -1e5:  # ground seen from above: coordinates grow towards the horizon, contrast fades
            depth = 1.0 / (max(py - horizon, 0.0) / size + 0.03)
            px, py = (px - 0.5 * size) * depth, depth * size
        fade = min(1.0, 6.0 / depth)
        u = maps[0, 0, 0] * px + maps[0, 0, 1] * py + maps[0, 0, 2]
        v = maps[0, 1, 0] * px + maps[0, 1, 1] * py + maps[0, 1, 2]
        du, dv = maps[0, 0, 0] * depth, maps[0, 1, 0] * depth
        if warp != 0.0 or kind == NOISE:
            nu = maps[1, 0, 0] * px + maps[1, 0, 1] * py + maps[1, 0, 2]
            nv = maps[1, 1, 0] * px + maps[1, 1, 1] * py + maps[1, 1, 2]
            sample_row(tile, nu, nv, maps[1, 0, 0] * depth, maps[1, 1, 0] * depth, first, last, noise)
        soft = step * depth * max(depth, 1.0) if depth != 1.0 else step
        if kind == NOISE:
            gain, middle = np.float32(0.28 * fade * 63.0), np.float32(32.0)
            for x in range(first, last):
                level[x] = np.int64(min(max(middle + gain * noise[x], zero), np.float32(63.0)))
        elif kind == FLAT:
            level[first:last] = 32
        else:
            for x in range(first, last):
                bent = warp * noise[x]
                t = _pattern(kind, u + x * du + bent, v + x * dv + bent, duty, edge, soft)
                level[x] = int((0.5 + (t - 0.5) * fade) * 63.0 + 0.5)
        factor[first:last] = one
        if grain > 0.0:
            gu = maps[2, 0, 0] * px + maps[2, 0, 1] * py + maps[2, 0, 2]
            gv = maps[2, 1, 0] * px + maps[2, 1, 1] * py + maps[2, 1, 2]
            du, dv = maps[2, 0, 0] * depth, maps[2, 1, 0] * depth
            sample_row(grain_tile, gu, gv, du, dv, first, last, factor)
            if hue > zero:
                sample_row(grain_tile, gv + 0.37, gu + 0.71, dv, du, first, last, tint)
                for x in range(first, last):
                    tint[x] *= hue
            amount = np.float32(fade * grain)
            for x in range(first, last):
                factor[x] = max(one + amount * factor[x], zero)
        if relief > zero or gloss > zero:
            above, below = height[max(y - 1, 0)], height[min(y + 1, rows - 1)]
            here = height[y]
            for x in range(first, last):
                across = here[min(x + 1, columns - 1)] - here[max(x - 1, 0)]
                down = below[x] - above[x]
                slope = min(max(across * light_x + down * light_y, -one), one)
                factor[x] *= max(one - relief * slope, zero)
                if gloss > zero:  # a spot where the surface leans towards the light, and not sideways
                    sideways = across * light_y - down * light_x
                    lean = one - np.float32(5.0) * abs(slope + np.float32(0.35)) - np.float32(3.0) * abs(sideways)
                    shine[x] = gloss * min(np.float32(2.0) * max(lean, zero), one)
        row, mine = canvas[y + y_top], owner[y + y_top]
        for x in range(first, last):
            c = coverage[y, x] * opacity
            for channel in range(3):
                value = ramp[level[x], channel] * factor[x] + tint[x] * np.float32(1 - channel) + shine[x]
                below = row[x + x_left, channel]
                if through:
                    value *= below
                row[x + x_left, channel] = below + c * (value - below)
            if index >= 0 and coverage[y, x] >= 0.5:
                mine[x + x_left] = index


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
    """The picture while it is painted: ``colour`` (S, S, 3) float32, ``owner`` (S, S) int32 (−1: nothing).

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
        numbers = np.array([
            material.pattern, material.warp, material.edge, material.duty, material.grain, material.hue,
            material.relief, material.gloss, self.light[0] * slope, self.light[1] * slope, step,
            -1e6 if horizon is None else horizon * self.size, material.opacity,
            1.0 if material.through else 0.0,
        ])  # fmt: skip
        fine = material.tile if material.tile >= LEAVES else min(material.tile, 1)
        _paint(
            self.colour, self.owner, index, coverage, height, window.x, window.y, material.ramp,
            _level(material.tile, noise_step), _level(fine, GRAIN * noise_step), maps, numbers,
        )  # fmt: skip

    def shadow(self, window: Window, dx: float, dy: float, softness: float, strength: float) -> None:
        """Cast the shadow of ``window``, moved by (dx, dy) and blurred by ``softness`` (shares of the picture)."""
        radius = int(softness * self.size + 0.5)
        pad = 2 * radius + 1
        shade = blur(padded(window.coverage, pad), radius)
        px, py = int(dx * self.size + self.size) - self.size, int(dy * self.size + self.size) - self.size
        _darken(self.colour, shade, window.x - pad, window.y - pad, px, py, strength)

    def defocus(self, radius: float) -> None:
        """Blur all that is painted so far; ``radius`` as a share of the picture's side."""
        self.colour = blur(self.colour, int(radius * self.size + 0.5))


def _level(kind: int, step: float) -> np.ndarray:
    """The level of a noise pyramid whose pixels are about as large as the picture's, which are ``step`` periods."""
    pyramid = tiles()[kind]
    level = 0
    while step * TILE > 1.5 and level < len(pyramid) - 1:
        step *= 0.5
        level += 1
    return pyramid[level]
