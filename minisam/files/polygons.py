"""A mask's outline along the edges of its pixels: polygons of exactly the mask's area, holes included.

Tools that draw an outline through the middles of pixels lose half a pixel all around: a square of 11 × 11 pixels has
the area 100 there, and 121 here. Corners are whole numbers, (0, 0) is the top left corner of the first pixel. The
geometry is shapely's, of the extra ``formats``. Measured on one core: 1 ms for an outline of 550 edges, 90 for 7,600.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Pixels by which ``rings`` stay inside the outline. A program that paints a polygon cuts its corners off to whole
# numbers and paints the pixels that it then meets: on the outline itself that would be one row and column too many.
INSET = 0.01


def outline(mask: np.ndarray) -> Any:
    """mask (H, W) bool → a valid shapely MultiPolygon that covers the mask's pixels; parts touch at corners at most."""
    import shapely

    faces = shapely.get_parts(shapely.polygonize(shapely.linestrings(_edges(mask).astype(np.float64))))
    kept = []
    for face in faces:
        x, y = min(face.exterior.coords)  # the first corner of the first column: the pixel right below it is inside
        if mask[int(y), int(x)]:
            kept.append(face)
    return shapely.orient_polygons(shapely.MultiPolygon(kept))


def rings(geometry: Any) -> list[np.ndarray]:
    """A MultiPolygon → corners (N, 2) of polygons without holes that together cover it but for ``INSET`` all around.

    A polygon with a hole is cut down along the hole's left side. Painted by labelme or OpenCV the rings are the mask.
    """
    import shapely

    if geometry.is_empty:
        return []
    smaller = shapely.buffer(geometry, -INSET, join_style="mitre")
    pieces = [piece for polygon in shapely.get_parts(smaller) for piece in _without_holes(polygon)]
    return [np.array(piece.exterior.coords[:-1]).round(4) for piece in pieces]


def joined(parts: list[np.ndarray]) -> np.ndarray:
    """Rings → one ring (N, 2), for formats with one polygon per object: bridges of no width, there and back, between
    their nearest corners. Its area is the sum of the parts'; Ultralytics' own tools join parts in the same way."""
    points = np.concatenate(parts)
    lengths = [len(part) for part in parts]
    following = np.arange(1, len(points) + 1)
    following[np.cumsum(lengths) - 1] -= lengths  # each ring is closed
    ring, after = points.tolist(), following.tolist()
    for u, v in _bridges(points, np.repeat(np.arange(len(parts)), lengths)):
        # … u → u's next …  and  … v → v's next …  become  … u → v again → v's next … v → u again → u's next …
        ring += [ring[v], ring[u]]
        after += [after[v], after[u]]
        after[u], after[v] = len(ring) - 2, len(ring) - 1
    order, corner = [], 0
    for _ in ring:
        order.append(corner)
        corner = after[corner]
    return np.array(ring)[order]


def _bridges(points: np.ndarray, part: np.ndarray) -> np.ndarray:
    """points (N, 2) of parts (N,) → (parts − 1, 2): pairs of points that join all parts, as short in all as can be.

    That is the minimum spanning tree, whose branches are edges of the Delaunay triangulation."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree
    from scipy.spatial import Delaunay

    if not part[-1]:
        return np.zeros((0, 2), np.int64)
    _, first, same = np.unique(points, axis=0, return_index=True, return_inverse=True)
    triangles = Delaunay(points[first]).simplices
    pairs = first[np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])]
    pairs = np.concatenate([pairs, np.stack([first[same.ravel()], np.arange(len(points))], axis=1)])  # on one spot
    pairs = pairs[part[pairs[:, 0]] != part[pairs[:, 1]]]
    lengths = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    pairs = pairs[np.argsort(lengths, kind="stable")]
    parts = np.sort(part[pairs], axis=1)
    _, shortest = np.unique(parts, axis=0, return_index=True)  # of every two parts; its rank is its weight
    tree = minimum_spanning_tree(coo_array((shortest + 1.0, tuple(parts[shortest].T)), shape=(part[-1] + 1,) * 2))
    return pairs[tree.data.astype(np.int64) - 1]


def _edges(mask: np.ndarray) -> np.ndarray:
    """mask (H, W) → (N, 2, 2): the straight pieces of its outline from corner to corner, as pairs of (x, y)."""
    padded = np.pad(mask, 1).astype(np.int8)
    pieces = []
    for pixels in (padded, padded.T):  # edges that go down, then edges that go across
        change = np.pad(np.diff(pixels, axis=1)[1:-1].T, ((0, 0), (1, 1)))  # line x, row y: +1 into the mask, −1 out
        differs = change[:, 1:] != change[:, :-1]
        line, first = np.nonzero(differs & (change[:, 1:] != 0))
        _, last = np.nonzero(differs & (change[:, :-1] != 0))
        pieces.append(np.stack([np.stack([line, first], axis=1), np.stack([line, last], axis=1)], axis=1))
    return np.concatenate([pieces[0], pieces[1][..., ::-1]])


def _without_holes(polygon: Any) -> list[Any]:
    """A polygon in pieces that have no holes: cut down at the left side of the middle hole, and so on with both."""
    import shapely

    if not len(polygon.interiors):
        return [polygon]
    sides = sorted(hole.bounds[0] for hole in polygon.interiors)
    x, (x0, y0, x1, y1) = sides[len(sides) // 2], polygon.bounds
    halves = [shapely.intersection(polygon, shapely.box(*box)) for box in ((x0, y0, x, y1), (x, y0, x1, y1))]
    parts = [part for half in halves for part in shapely.get_parts(half) if part.geom_type == "Polygon"]
    return [piece for part in parts for piece in _without_holes(part)]
