"""``python -m minisam.world --seeds 0-24 --size 256 -o sheet.png``: a contact sheet, and how fast scenes are made."""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from PIL import Image

from .scene import Scene, render


def outlined(scene: Scene) -> np.ndarray:
    """The image with the outlines of its masks: wholes red, parts green, subparts blue."""
    image = scene.image.copy()
    colours = {"whole": (255, 40, 40), "part": (40, 230, 60), "subpart": (60, 120, 255)}
    for mask in scene.masks:
        inside = mask.segmentation
        core = inside.copy()
        core[1:] &= inside[:-1]
        core[:-1] &= inside[1:]
        core[:, 1:] &= inside[:, :-1]
        core[:, :-1] &= inside[:, 1:]
        image[inside & ~core] = colours[mask.level]
    return image


def sheet(seeds: range, size: int, outlines: bool = False, columns: int | None = None) -> np.ndarray:
    """All scenes side by side, uint8 (H, W, 3), with a white gap of 4 pixels."""
    columns = columns or math.ceil(math.sqrt(len(seeds)))
    rows = math.ceil(len(seeds) / columns)
    page = np.full((rows * (size + 4), columns * (size + 4), 3), 255, np.uint8)
    for i, seed in enumerate(seeds):
        scene = render(seed, size)
        y, x = (i // columns) * (size + 4), (i % columns) * (size + 4)
        page[y : y + size, x : x + size] = outlined(scene) if outlines else scene.image
    return page


def main() -> None:
    """Read the arguments, write the sheet, print the speed."""
    parser = argparse.ArgumentParser(prog="python -m minisam.world", description=__doc__)
    parser.add_argument("--seeds", default="0-24", help="first-last, both included")
    parser.add_argument("--size", type=int, default=256, help="side of each picture in pixels")
    parser.add_argument("--outlines", action="store_true", help="draw the masks' outlines")
    parser.add_argument("--columns", type=int, help="pictures in a row")
    parser.add_argument("-o", "--output", default="sheet.png")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    render(seeds[0], arguments.size)  # compiles
    began = time.perf_counter()
    masks = sum(len(render(seed, arguments.size).masks) for seed in seeds)
    took = time.perf_counter() - began
    Image.fromarray(sheet(seeds, arguments.size, arguments.outlines, arguments.columns)).save(arguments.output)
    print(f"{len(seeds)} scenes, {masks / len(seeds):.1f} masks each, {len(seeds) / took:.0f} scenes/s on one thread")


if __name__ == "__main__":
    main()
