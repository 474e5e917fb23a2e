"""What person and model look at: a square part of a picture, enlarged until the object fills a good part of it.

A model with an input of 96 pixels sees nothing of a thing of 20 pixels in a picture of 512. People zoom in, and so
does whoever draws with a model's help: the model is shown what the person has on the screen. There are three steps of
zoom: the whole picture, half of its longer side, a quarter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHARES = (1, 2, 4)  # the picture's longer side is so many times that of the view
ROOM = 2.0  # a view's side is at least so many times an object's, if it is not the whole picture
STRIDE = 0.75  # of a view's side, from one tile to the next


@dataclass(frozen=True)
class View:
    """A square of ``side`` pixels whose first pixel is (``x``, ``y``); what lies outside the picture is cut off."""

    x: int
    y: int
    side: int

    def crop(self, array: np.ndarray) -> np.ndarray:
        """The view's part of a picture (H, W, ...)."""
        return array[self.y : self.y + self.side, self.x : self.x + self.side]

    def paste(self, mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """A mask (h, w) of the view as one of the picture, ``size`` (H, W)."""
        whole = np.zeros(size, bool)
        self.crop(whole)[...] = mask
        return whole


def sides(size: tuple[int, int]) -> list[int]:
    """The sides of views of a picture (H, W), the largest first."""
    return [-(-max(size) // share) for share in SHARES]


def around(box: np.ndarray, size: tuple[int, int]) -> View:
    """The smallest view with room for a box x0, y0, x1, y1 (x1 and y1 beyond it) of a picture (H, W)."""
    x0, y0, x1, y1 = (float(value) for value in box)
    longer = max(x1 - x0, y1 - y0)
    side = min((side for side in sides(size) if side >= ROOM * longer), default=max(size))
    x, y = (
        int(np.clip(round(middle - side / 2), 0, max(0, length - side)))
        for middle, length in (((x0 + x1) / 2, size[1]), ((y0 + y1) / 2, size[0]))
    )
    return View(x, y, side)


def tiles(size: tuple[int, int]) -> list[View]:
    """Views of every zoom that cover a picture (H, W), the largest first."""
    views = []
    for side in sides(size):
        starts = []
        for length in size:
            rest = max(0, length - side)
            count = 1 + int(np.ceil(rest / (STRIDE * side)))
            starts.append([round(rest * i / max(1, count - 1)) for i in range(count)])
        views += [View(x, y, side) for y in starts[0] for x in starts[1]]
    return list(dict.fromkeys(views))
