"""Contact sheets of the world, what is on them in numbers, and how fast scenes are made.

python -m minisam.world --seeds 0-24 -o sheet.png                       the mix
python -m minisam.world --domain nuclei --seeds 0-24 -o nuclei.png      one domain
python -m minisam.world --all-domains --seeds 0-7 -o domains.png        a row for each domain
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from PIL import Image, ImageDraw

from minisam.world.domains.catalogue import DOMAINS
from minisam.world.render.exact import exact
from minisam.world.render.raster import eroded
from minisam.world.scene import SIZE, Scene, render

GAP, LABEL = 4, 96


def outlined(scene: Scene) -> np.ndarray:
    """The image with the outlines of its masks: wholes red, parts green, subparts blue."""
    image = scene.image.copy()
    colours = {"whole": (255, 40, 40), "part": (40, 230, 60), "subpart": (60, 120, 255)}
    for mask in scene.masks:
        image[mask.segmentation & ~eroded(mask.segmentation)] = colours[mask.level]
    return image


def sheet(rows: list[list[Scene]], size: int, outlines: bool = False, labels: bool = False) -> np.ndarray:
    """Scenes side by side, uint8 (H, W, 3), with a white gap of 4 pixels; labels: each row's domain at its left."""
    left = LABEL if labels else 0
    page = np.full((len(rows) * (size + GAP), left + max(map(len, rows)) * (size + GAP), 3), 255, np.uint8)
    for j, row in enumerate(rows):
        for i, scene in enumerate(row):
            y, x = j * (size + GAP), left + i * (size + GAP)
            page[y : y + size, x : x + size] = outlined(scene) if outlines else scene.image
    if labels:
        labelled = Image.fromarray(page)
        draw = ImageDraw.Draw(labelled)
        for j, row in enumerate(rows):
            draw.text((8, j * (size + GAP) + size // 2), row[0].domain, fill=(0, 0, 0), font_size=15)
        page = np.asarray(labelled)
    return page


def statistics(scenes: list[Scene]) -> str:
    """One line: masks per image, share of each level, quartiles of √area, shares of thin and of ring-shaped masks.

    A mask is thin if it vanishes when 1.5 % of the image's side is eroded from all sides, though its area is more than
    0.4 % of the image; ring-shaped if its outline encloses more than 5 % of its own area.
    """
    levels = {"whole": 0, "part": 0, "subpart": 0}
    sides, thin, rings, total = [], 0, 0, 0
    for scene in scenes:
        size = scene.image.shape[0]
        for mask in scene.masks:
            total += 1
            levels[mask.level] += 1
            area = int(mask.segmentation.sum())
            sides.append(math.sqrt(area) / size)
            core = mask.segmentation
            for _ in range(max(1, round(0.015 * size))):
                core = eroded(core)
            thin += not core.any() and area > 0.004 * size * size
            rings += enclosed(mask.segmentation) > 0.05 * area
    quartiles = " / ".join(f"{100 * q:.0f}" for q in np.quantile(sides, (0.25, 0.5, 0.75)))
    shares = ", ".join(f"{100 * count / total:.0f} % {level}s" for level, count in levels.items())
    return (
        f"{total / len(scenes):.1f} masks per image: {shares}; √area {quartiles} % of the side (quartiles); "
        f"{100 * thin / total:.0f} % thin, {100 * rings / total:.0f} % ring-shaped"
    )


@exact
def enclosed(mask):
    """How many pixels outside of ``mask`` (h, w) bool are cut off from the image's border by it (4 neighbours)."""
    height, width = mask.shape
    reached = mask.copy()
    stack = [(0, 0) for _ in range(0)]
    for y in range(height):
        for x in range(width):
            if (y in (0, height - 1) or x in (0, width - 1)) and not reached[y, x]:
                reached[y, x] = True
                stack.append((y, x))
    while stack:
        y, x = stack.pop()
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            v, u = y + dy, x + dx
            if 0 <= v < height and 0 <= u < width and not reached[v, u]:
                reached[v, u] = True
                stack.append((v, u))
    return height * width - reached.sum()


def main() -> None:
    """Read the arguments, write the sheet, print statistics and speed."""
    parser = argparse.ArgumentParser(
        prog="python -m minisam.world", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0-24", help="first-last, both included")
    parser.add_argument("--size", type=int, default=SIZE, help="side of each image in pixels")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--domain", choices=DOMAINS, metavar="NAME", help="only this one: " + ", ".join(DOMAINS))
    which.add_argument("--all-domains", action="store_true", help="a row for each domain")
    parser.add_argument("--outlines", action="store_true", help="draw the masks' outlines")
    parser.add_argument("--captions", action="store_true", help="print each scene's caption")
    parser.add_argument("--columns", type=int, help="images in a row")
    parser.add_argument("-o", "--output", default="sheet.png")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    choices = DOMAINS if arguments.all_domains else (arguments.domain,)
    for choice in choices:  # compiles
        render(seeds[0], arguments.size, choice)
    began = time.process_time()
    scenes = [render(seed, arguments.size, choice) for choice in choices for seed in seeds]
    seconds = time.process_time() - began
    columns = len(seeds) if arguments.all_domains else arguments.columns or math.ceil(math.sqrt(len(seeds)))
    rows = [scenes[i : i + columns] for i in range(0, len(scenes), columns)]
    page = sheet(rows, arguments.size, arguments.outlines, arguments.all_domains)
    Image.fromarray(page).save(arguments.output)
    if arguments.captions:
        for scene in scenes:
            print(scene.caption)
    print(statistics(scenes))
    speed = len(scenes) / seconds
    print(f"{len(scenes)} scenes of {arguments.size} px, {speed:.0f} per second of processor time, one thread")


if __name__ == "__main__":
    main()
