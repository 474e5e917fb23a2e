"""Figure of chapter 14: an edge map out of masks, turned by sliders.

    from minisam.figures.edge_map import edge_map
    edge_map()                        # the tiny model on a held-out scene of the world

Nobody trains on edges here. A grid of points asks for three masks each; wherever a mask's probability falls at its
outer boundary there is an edge, and the map is the largest such slope of all masks (``minisam.transfer.edges``). All
maps of the page, for every grid and with and without NMS of the masks, are computed here from the model's real masks,
and so are precision and recall at every threshold, with the one-to-one correspondence of BSDS. The page
(``edge_map.js``) cuts the map at the threshold, with a kernel and without one.

The truth is every boundary between masks of the scene, of wholes and of parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets

from minisam.figures.shared.encoding import jpeg, png
from minisam.transfer.edges.boundaries import ask, compose, without_duplicates
from minisam.transfer.edges.bsds import boundaries, labels_of
from minisam.transfer.edges.scores import count_matches, f_measure, recall_precision
from minisam.transfer.edges.thinning import edge_nms, thin
from minisam.world import HELD_OUT, Scene, render
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.sam import Sam

HERE = Path(__file__).parent
SEEDS = (HELD_OUT + 8, HELD_OUT + 34)
GRIDS = (4, 8, 16)
LEVELS = tuple(range(6, 256, 12))  # thresholds, of 255: a map travels as the highest one that it reaches


class EdgeMap(anywidget.AnyWidget):
    """An edge map with sliders. See ``edge_map``."""

    _esm = HERE / "edge_map.js"
    _css = "".join((HERE / name).read_text(encoding="utf-8") for name in ("click.css", "edge_map.css"))

    scenes: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    levels: traitlets.List[int] = traitlets.List().tag(sync=True)
    source = traitlets.Unicode().tag(sync=True)


def edge_map(
    sam: Sam | None = None, seeds: Sequence[int] = SEEDS, grids: Sequence[int] = GRIDS, source: str = ""
) -> EdgeMap:
    """The figure. sam: ``minisam.load("tiny")`` if not given; seeds of scenes; points along a side of each grid.

    Raises ``InputError`` without a scene or a grid.
    """
    from minisam import SamPredictor, load

    if not len(seeds) or not len(grids):
        raise InputError(f"expected at least one scene and one grid, got {len(seeds)} and {len(grids)}")
    predictor = SamPredictor(load("tiny") if sam is None else sam)
    size = predictor.model.config.image_size
    scenes = []
    for seed in seeds:
        scene = render(seed, size)
        predictor.set_image(scene.image)
        truth = true_edges(scene)
        maps = [one for grid in grids for one in maps_of(predictor, grid)]
        scenes.append(_packed(scene, truth, maps))
    return EdgeMap(scenes=scenes, levels=list(LEVELS), source=source)


def maps_of(predictor: Any, grid: int) -> list[tuple[str, int, np.ndarray]]:
    """For a grid, without NMS of the masks and with it: a name, the number of masks, the map (H, W) uint8."""
    masks = ask(predictor, grid)
    chosen = {"all masks": np.arange(len(masks.scores)), "after NMS": without_duplicates(masks)}
    return [
        (f"{grid} × {grid} points, {name}", len(numbers), quantised(edge_nms(compose(masks, numbers))))
        for name, numbers in chosen.items()
    ]


def quantised(edges: np.ndarray, levels: Sequence[int] = LEVELS) -> np.ndarray:
    """A map (H, W) from 0 to 1 → (H, W) uint8: the highest of ``levels`` that 255 · the map reaches, or 0."""
    steps = np.array([0, *levels], np.uint8)
    return steps[np.searchsorted(levels, 255 * edges, side="right")]


def true_edges(scene: Scene) -> np.ndarray:
    """The scene's own edges (H, W) bool: every boundary of a whole or a part, as one annotator of BSDS would draw."""
    return boundaries(labels_of(np.array([mask.segmentation for mask in scene.masks])))


def curve(edges: np.ndarray, truth: np.ndarray, levels: Sequence[int] = LEVELS) -> list[dict[str, float]]:
    """Precision, recall, F and the number of edge pixels of a map (H, W) uint8, cut at each of ``levels`` and
    thinned."""
    counts = count_matches([thin(edges >= level) for level in levels], [truth])
    recall, precision = recall_precision(counts)
    columns = (precision, recall, f_measure(recall, precision))
    return [
        {"precision": round(float(p), 4), "recall": round(float(r), 4), "f": round(float(f), 4), "pixels": int(n)}
        for p, r, f, n in zip(*columns, counts[:, 3])
    ]


def _packed(scene: Scene, truth: np.ndarray, maps: list[tuple[str, int, np.ndarray]]) -> dict[str, Any]:
    """What the page gets: a JPEG, and as PNG the truth and the maps; precision and recall at every threshold."""
    return {
        "title": scene.domain, "alt": f"Rendered scene. {scene.caption}", "jpeg": jpeg(scene.image, 85),
        "size": len(truth),
        "truth": png(255 * truth.astype(np.uint8)), "pixels": int(truth.sum()),
        "maps": [
            {"name": name, "masks": count, "png": png(edges), "curve": curve(edges, truth)}
            for name, count, edges in maps
        ],
    }  # fmt: skip
