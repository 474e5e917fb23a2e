"""A second annotator of the world: masks as a hurried person draws them, beside the exact ones of ``render``.

Data sets have habits, and a model that was trained on one has learnt them. Here they are known exactly. The annotator
draws every piece of an object with one closed line of 16 straight strokes. The line goes around holes and whatever
stands in front of the middle of the object (*holes filled*). The hand stops late: the line runs two pixels outside of
the object's edge (*two pixels late*), in pixels of the image that is annotated. Crumbs, pieces of less than a twentieth
of the object, are not drawn at all.

Which 16 corners? Those that matter: starting from all corners of the late outline, the one whose triangle with its two
neighbours is smallest is left out, again and again (Visvalingam and Whyatt 1993). Corners are whole numbers, (0, 0) is
the top left corner of the first pixel, areas are compared as integers: the same mask gives the same line everywhere.
"""

from __future__ import annotations

import numpy as np

from minisam.world.render.exact import exact
from minisam_kernels import InputError

CORNERS, LATE, CRUMB = 16, 2, 0.05


@exact
def _follow(mask):
    """Walk around a piece without holes, (H, W) bool with an empty border → its corners (N, 2) int64 as (x, y).

    The mask lies to the right of the walk, which begins at the top left corner of the first pixel in reading order.
    Where two pixels touch at a corner only, the walk turns right and stays at the same pixel.
    """
    height, width = mask.shape
    start_x, start_y = 0, 0
    for n in range(height * width):
        if mask[n // width, n % width]:
            start_x, start_y = n % width, n // width
            break
    corners = np.empty((2 * int(mask.sum()) + 2, 2), np.int64)
    count, x, y, dx, dy = 0, start_x, start_y, 1, 0
    while count == 0 or x != start_x or y != start_y:
        corners[count, 0], corners[count, 1] = x, y
        count += 1
        while True:  # straight on, until the pixel on the right ends or the one on the left begins
            x, y = x + dx, y + dy
            # the pixels ahead of corner (x, y): right and left of the way (dx, dy)
            right = mask[y + (dy - 1 + dx) // 2, x + (dx - 1 - dy) // 2]
            left = mask[y + (dy - 1 - dx) // 2, x + (dx - 1 + dy) // 2]
            if not right:
                dx, dy = -dy, dx
                break
            if left:
                dx, dy = dy, -dx
                break
    return corners[:count]


@exact
def _simplify(corners, keep):
    """The ``keep`` corners that matter: leave out the one with the smallest triangle, the first of equals, again and
    again."""
    kept = corners.copy()
    count = len(kept)
    areas = np.empty(count, np.int64)  # twice the area of the triangle of each corner with its neighbours
    for i in range(count):
        areas[i] = _area(kept, i, count)
    while count > keep:
        least = 0
        for i in range(1, count):
            if areas[i] < areas[least]:
                least = i
        for i in range(least, count - 1):
            kept[i], areas[i] = kept[i + 1], areas[i + 1]
        count -= 1
        for i in (least - 1, least):
            areas[i % count] = _area(kept, i % count, count)
    return kept[:count]


@exact
def _area(points, i, count):
    a, b, c = points[(i - 1) % count], points[i], points[(i + 1) % count]
    return abs((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1]))


@exact
def _fill(corners, mask):
    """Add to ``mask`` (H, W) the pixels whose centre lies inside a closed line (even–odd rule), in exact integers."""
    height, width = mask.shape
    left, right = max(corners[:, 0].min(), 0), min(corners[:, 0].max(), width)
    for y in range(max(corners[:, 1].min(), 0), min(corners[:, 1].max(), height)):
        for x in range(left, right):
            inside = False
            for i in range(len(corners)):
                # everything doubled: the centre of pixel (x, y) is (2x + 1, 2y + 1), corners are even
                ax, ay = 2 * corners[i - 1, 0], 2 * corners[i - 1, 1]
                bx, by = 2 * corners[i, 0], 2 * corners[i, 1]
                if (ay > 2 * y + 1) != (by > 2 * y + 1):
                    side = (2 * x + 1 - ax) * (by - ay) - (2 * y + 1 - ay) * (bx - ax)
                    if (side > 0) == (by > ay):
                        inside = not inside
            if inside:
                mask[y, x] = True


def draw_lines(mask: np.ndarray, corners: int = CORNERS, late: int = LATE) -> list[np.ndarray]:
    """The lines that the annotator draws around an object, one for each piece that is no crumb.

    Parameters
    ----------
    mask : ndarray, shape (H, W), bool
        The object's pixels.
    corners : int
        At most so many for a line, 3 or more.
    late : int
        So many pixels outside of the edge, 0 or more. Lines may leave the image by as many.

    Returns
    -------
    list of ndarray, shape (K, 2), int64
        Corners (x, y), clockwise on the screen. No line for an empty mask.

    Raises
    ------
    InputError
        For what is no mask, fewer than 3 corners, or a negative ``late``.
    """
    from scipy.ndimage import binary_fill_holes, distance_transform_edt, find_objects, label

    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype != bool:
        raise InputError(f"expected a mask (H, W) of bool, got {mask.shape} of {mask.dtype}")
    if corners < 3 or late < 0:
        raise InputError(f"expected at least 3 corners and a late of 0 or more, got {corners} and {late}")
    pieces, _ = label(np.pad(mask, late + 1))
    least = CRUMB * mask.sum()
    lines = []
    for number, (rows, columns) in enumerate(find_objects(pieces), 1):
        if (pieces[rows, columns] == number).sum() < least:
            continue
        top, left = rows.start - late - 1, columns.start - late - 1  # room for the hand, and an empty border
        piece = pieces[top : rows.stop + late + 1, left : columns.stop + late + 1] == number
        grown = distance_transform_edt(~piece) <= late if late else piece
        whole = binary_fill_holes(grown, np.ones((3, 3)))
        lines.append(_simplify(_follow(whole), corners) + (np.array([left, top]) - late - 1))
    return lines


def annotate(mask: np.ndarray, corners: int = CORNERS, late: int = LATE) -> np.ndarray:
    """The mask (H, W) bool that the annotator leaves of an object: the pixels inside of ``draw_lines``."""
    drawn = np.zeros(np.asarray(mask).shape, bool)
    for line in draw_lines(mask, corners, late):
        _fill(line, drawn)
    return drawn
