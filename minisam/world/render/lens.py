"""Bending the finished image and its masks together: a wide lens, ripples, the strokes of a brush."""

from __future__ import annotations

import numpy as np

from minisam.world.render.exact import exact
from minisam.world.render.shading import Canvas, sample_row
from minisam.world.render.tiles import tiles


@exact
def _bend(colour, owner, tile, barrel, ripple, periods, shift, circle, bent, bent_owner):
    """``bent[y, x]`` = ``colour`` where the ray of (x, y) comes from, interpolated; the owner of the nearest pixel.

    A ray at distance r from the middle comes from r (1 + barrel r²) / (1 + 2 barrel): corners stay where they are.
    ripple: displacement by ``tile`` as a share of the side. circle > 0: black beyond this radius, the lens's rim.
    """
    size = colour.shape[0]
    ripple_x, ripple_y = np.zeros(size, np.float32), np.zeros(size, np.float32)
    scale = 1.0 / (1.0 + 2.0 * barrel) if barrel > 0.0 else 1.0
    for y in range(size):
        v = 2.0 * (y + 0.5) / size - 1.0
        if ripple > 0.0:
            sample_row(tile, shift, periods * v, 2.0 * periods / size, 0.0, 0, size, ripple_x)
            sample_row(tile, periods * v, shift + 0.4, 0.0, 2.0 * periods / size, 0, size, ripple_y)
        for x in range(size):
            # (u, v) in [−1, 1]², the pixel's distance r from the middle; beyond the lens nothing is seen.
            u = 2.0 * (x + 0.5) / size - 1.0
            r2 = u * u + v * v
            if circle > 0.0 and r2 > circle * circle:
                bent[y, x] = np.float32(0.01)
                bent_owner[y, x] = -1
                continue
            # (px, py): where the ray comes from, in pixels, kept inside of the image.
            factor = scale * (1.0 + barrel * r2)
            px = (u * factor + 1.0) * 0.5 * size - 0.5 + ripple * size * ripple_x[x]
            py = (v * factor + 1.0) * 0.5 * size - 0.5 + ripple * size * ripple_y[x]
            px, py = min(max(px, 0.0), size - 1.001), min(max(py, 0.0), size - 1.001)
            # Colours are a mean of the four pixels around it, (ax, ay) apart from the first; an owner has no mean.
            x0, y0 = int(px), int(py)
            ax, ay = np.float32(px - x0), np.float32(py - y0)
            bent_owner[y, x] = owner[y0 + (1 if ay >= np.float32(0.5) else 0), x0 + (1 if ax >= np.float32(0.5) else 0)]
            for c in range(3):
                top = colour[y0, x0, c] + (colour[y0, x0 + 1, c] - colour[y0, x0, c]) * ax
                low = colour[y0 + 1, x0, c] + (colour[y0 + 1, x0 + 1, c] - colour[y0 + 1, x0, c]) * ax
                bent[y, x, c] = top + (low - top) * ay


def bend(
    canvas: Canvas, barrel: float = 0.0, ripple: float = 0.0, periods: float = 1.0, shift: float = 0.0,
    circle: float = 0.0, tile: int = 2,
) -> None:  # fmt: skip
    """Replace ``canvas``'s colours and owners by bent ones; see ``_bend``. tile: which noise makes the ripples."""
    colour, owner = np.empty_like(canvas.colour), np.empty_like(canvas.owner)
    level = min(2, len(tiles()[tile]) - 1)
    _bend(
        canvas.colour, canvas.owner, tiles()[tile][level], float(barrel), float(ripple), float(periods), float(shift),
        float(circle), colour, owner,
    )  # fmt: skip
    canvas.colour, canvas.owner = colour, owner
