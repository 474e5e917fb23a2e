"""The correspondence beside BSDS's own program (pyEdgeEval), in one run, on one thread::

    python -m minisam.transfer.edges.speed [FOLDER] [--pictures N] [--thresholds N]

The same edge maps, thinned by the same code, the same annotators; without a folder, scenes of the world. Sobel's maps
are matched, and only the matching is timed, after one picture that warms both up.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from minisam.console import need, positive
from minisam.transfer.edges import baselines, bsds
from minisam.transfer.edges.correspondence import MAX_DISTANCE
from minisam.transfer.edges.scores import count_matches, cuts, summarise
from minisam.transfer.report import Table, markdown

SIDE = 320  # of the world's scenes


def reference_counts(levels: list[np.ndarray], drawn: list[np.ndarray]) -> np.ndarray:
    """Count as ``count_matches`` does, with pyEdgeEval's correspondence."""
    from pyEdgeEval._lib import correspond_pixels

    counts = np.zeros((len(levels), 4), np.int64)
    for t, level in enumerate(levels):
        any_of_them = np.zeros(level.shape, bool)
        for one in drawn:
            matched, matched_drawn, _, _ = correspond_pixels(level, one, max_dist=MAX_DISTANCE)
            any_of_them |= matched > 0
            counts[t, :2] += np.count_nonzero(matched_drawn), np.count_nonzero(one)
        counts[t, 2:] = np.count_nonzero(any_of_them), np.count_nonzero(level)
    return counts


def compare(pictures: list[bsds.Picture], count: int) -> Table:
    """Match every picture both ways, in turn, and report the scores and the seconds."""
    ways = {"minisam": count_matches, "pyEdgeEval": reference_counts}
    seconds = dict.fromkeys(ways, 0.0)
    counts: dict[str, list[np.ndarray]] = {name: [] for name in ways}
    for number, picture in enumerate(pictures):
        levels = cuts(baselines.sobel_map(picture.image), count)
        for name, way in ways.items():
            if number == 0:
                way(levels[-1:], picture.drawn)
            start = time.perf_counter()
            counts[name].append(way(levels, picture.drawn))
            seconds[name] += time.perf_counter() - start
    rows = [[name, *summarise(counts[name]), seconds[name] / len(pictures)] for name in ways]
    ratio = seconds["pyEdgeEval"] / seconds["minisam"]
    notes = [f"{len(pictures)} pictures, {count} thresholds, one thread. {ratio:.0f} times as fast."]
    return Table("Correspondence", ["program", "ODS", "OIS", "AP", "R50", "s per picture"], rows, notes)


def main() -> int:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help="as for minisam transfer edges")
    parser.add_argument("--pictures", type=positive, default=4, metavar="N")
    parser.add_argument("--thresholds", type=positive, default=99, metavar="N")
    options = parser.parse_args()
    need("test", "pyEdgeEval")
    found = (
        bsds.world(options.pictures, SIDE) if options.folder is None else bsds.find(options.folder, options.pictures)
    )
    print(markdown(compare([read() for read in found], options.thresholds)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
