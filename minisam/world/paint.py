"""Painting one shape: pattern, variation, shading and blending, one compiled loop over its bounding box.

Colour of a pixel: t = pattern(x, y); c = ramp[t]; c ← c · (1 + grain · n) + hue · n' · (1, 0, −1); then shading by the
light direction l and the slope of a height map h (the blurred coverage: flat inside, falling at the rim),
c ← c · (1 − relief · ∇h·l) + gloss · highlight; then picture ← picture + coverage · (c − picture).
"""

from __future__ import annotations

import numpy as np

from .exact import exact
from .materials import BRICKS, CELLS, CHECKS, GRADIENT, NOISE, SPOTS, STRIPES, TILE, WOOD, Material, tiles
from .raster import Window, blur

GRAIN = 2.7  # the grain is so much finer than the noise that bends the pattern
UPRIGHT = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@exact
def sample(tile, u, v):
    """Periodic bilinear look-up; (u, v) in periods of the square ``tile``."""
    side = tile.shape[0]
    x, y = u * side, v * side
    fx, fy = np.floor(x), np.floor(y)
    ax, ay = x - fx, y - fy
    x0, y0 = int(fx) & (side - 1), int(fy) & (side - 1)
    x1, y1 = (x0 + 1) & (side - 1), (y0 + 1) & (side - 1)
    top = tile[y0, x0] * (1.0 - ax) + tile[y0, x1] * ax
    return top * (1.0 - ay) + (tile[y1, x0] * (1.0 - ax) + tile[y1, x1] * ax) * ay


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
def _pattern(kind, u, v, noise, duty, edge, step):
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
    if kind == NOISE:
        return min(max(0.5 + 0.28 * noise, 0.0), 1.0)
    if kind == WOOD:
        s = u - np.floor(u)
        return s * s * (3.0 - 2.0 * s) if s < 0.85 else (1.0 - s) / 0.15 * 0.93
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
def _paint(canvas, owner, index, coverage, height, x_left, y_top, ramp, tile, grain_tile, maps, numbers):
    """Blend a material into ``canvas`` (S, S, 3) and write ``index`` into ``owner`` (S, S) where coverage ≥ 0.5.

    maps (3, 2, 3): pixel → pattern, noise and grain coordinates. numbers: see ``paint``.
    """
    kind, warp, edge, duty = int(numbers[0]), numbers[1], numbers[2], numbers[3]
    grain, hue, relief, gloss = numbers[4], numbers[5], numbers[6], numbers[7]
    light_x, light_y, step, horizon = numbers[8], numbers[9], numbers[10], numbers[11]
    opacity = numbers[12]
    size = canvas.shape[0]
    rows, columns = coverage.shape
    uses_noise = warp != 0.0 or kind == NOISE
    for y in range(rows):
        depth = 1.0
        if horizon > -1e5:  # ground seen from above: coordinates grow towards the horizon, contrast fades
            depth = 1.0 / (max(y + y_top + 0.5 - horizon, 0.0) / size + 0.03)
        fade = min(1.0, 6.0 / depth)
        up, down = max(y - 1, 0), min(y + 1, rows - 1)
        for x in range(columns):
            c = coverage[y, x]
            if c <= 0.0:
                continue
            px, py = x + x_left + 0.5, y + y_top + 0.5
            if horizon > -1e5:
                px = (px - 0.5 * size) * depth
                py = depth * size
            noise = 0.0
            if uses_noise:
                noise = sample(
                    tile,
                    maps[1, 0, 0] * px + maps[1, 0, 1] * py + maps[1, 0, 2],
                    maps[1, 1, 0] * px + maps[1, 1, 1] * py + maps[1, 1, 2],
                )
            u = maps[0, 0, 0] * px + maps[0, 0, 1] * py + maps[0, 0, 2] + warp * noise
            v = maps[0, 1, 0] * px + maps[0, 1, 1] * py + maps[0, 1, 2] + warp * noise
            t = _pattern(kind, u, v, noise, duty, edge, step * depth * max(depth, 1.0) if depth != 1.0 else step)
            at = int((0.5 + (t - 0.5) * fade) * 63.0 + 0.5)
            factor, tint = 1.0, 0.0
            if grain > 0.0:
                gu = maps[2, 0, 0] * px + maps[2, 0, 1] * py + maps[2, 0, 2]
                gv = maps[2, 1, 0] * px + maps[2, 1, 1] * py + maps[2, 1, 2]
                factor += fade * grain * sample(grain_tile, gu, gv)
                if hue > 0.0:
                    tint = hue * sample(grain_tile, gv + 0.37, gu + 0.71)
            shine = 0.0
            if relief > 0.0 or gloss > 0.0:
                left, right = max(x - 1, 0), min(x + 1, columns - 1)
                across, down_slope = height[y, right] - height[y, left], height[down, x] - height[up, x]
                slope = min(max(across * light_x + down_slope * light_y, -1.0), 1.0)
                factor *= 1.0 - relief * slope
                if gloss > 0.0:  # a spot where the surface leans towards the light, and not sideways
                    sideways = across * light_y - down_slope * light_x
                    lean = max(1.0 - 5.0 * abs(slope + 0.35) - 3.0 * abs(sideways), 0.0)
                    shine = gloss * min(2.0 * lean, 1.0)
            c = c * opacity
            factor = max(factor, 0.0)
            for channel in range(3):
                value = ramp[at, channel] * factor + tint * (1.0 - channel) + shine
                below = canvas[y + y_top, x + x_left, channel]
                canvas[y + y_top, x + x_left, channel] = np.float32(below + c * (value - below))
            if index >= 0 and coverage[y, x] >= 0.5:
                owner[y + y_top, x + x_left] = index


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
            keep = np.float32(1.0 - strength * shade[y, x])
            for channel in range(3):
                canvas[py, px, channel] *= keep


@exact
def _compose(outer, inner, result):
    """result = outer ∘ inner, affine maps (2, 3)."""
    for i in range(2):
        for j in range(3):
            result[i, j] = outer[i, 0] * inner[0, j] + outer[i, 1] * inner[1, j]
        result[i, 2] += outer[i, 2]


@exact
def _pixel_maps(material, noise, frame, size, grain_scale):
    """Pixel coordinates → pattern, noise and grain coordinates, (3, 2, 3): frame⁻¹, then the material's own maps."""
    a, b, c, d, e, f = frame[0, 0], frame[0, 1], frame[0, 2], frame[1, 0], frame[1, 1], frame[1, 2]
    det = a * e - b * d
    to_object = np.empty((2, 3))
    to_object[0] = e / det / size, -b / det / size, (b * f - c * e) / det
    to_object[1] = -d / det / size, a / det / size, (c * d - a * f) / det
    maps = np.empty((3, 2, 3))
    _compose(material, to_object, maps[0])
    _compose(noise, to_object, maps[1])
    maps[2] = maps[1] * grain_scale
    return maps


def _step(matrix: np.ndarray) -> float:
    """How far a pixel's step moves in the target of an affine map (2, 3)."""
    (a, b, _), (d, e, _) = matrix.tolist()
    return max(abs(a) + abs(b), abs(d) + abs(e))


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
        step, noise_step = _step(maps[0]), _step(maps[1])
        coverage = window.coverage
        height = coverage
        reach = 0
        if material.relief > 0.0 or material.gloss > 0.0:
            reach = max(1, min(coverage.shape) // 5)
            height = blur(coverage, reach)
        slope = reach * 0.9
        numbers = np.array([
            material.pattern, material.warp, material.edge, material.duty, material.grain, material.hue,
            material.relief, material.gloss, self.light[0] * slope, self.light[1] * slope, step,
            -1e6 if horizon is None else horizon * self.size, material.opacity,
        ])  # fmt: skip
        _paint(
            self.colour, self.owner, index, coverage, height, window.x, window.y, material.ramp,
            _level(material.tile, noise_step), _level(min(material.tile, 1), GRAIN * noise_step), maps, numbers,
        )  # fmt: skip

    def shadow(self, window: Window, dx: float, dy: float, softness: float, strength: float) -> None:
        """Cast the shadow of ``window``, moved by (dx, dy) and blurred by ``softness`` (shares of the picture)."""
        radius = int(softness * self.size + 0.5)
        pad = 2 * radius + 1
        shade = blur(np.pad(window.coverage, pad), radius)
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
