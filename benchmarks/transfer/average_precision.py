"""AP and AR of the same results with minisam, faster-coco-eval and pycocotools, in one process: how equal, how fast.

    python benchmarks/transfer/average_precision.py [--images 20] [--answers 1000] [--repeats 3]

Images are 480 × 640 with up to 30 objects of three categories, crowds among them; half of the answers are objects moved
a little, with scores that tie. Each side starts from the same lists of annotations and results (COCO's text for run
lengths) and ends with the arrays of precision and recall. The least time of the repeats counts, after one run that
compiles. pip install faster-coco-eval==1.8.0
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib.metadata
import io
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from minisam.transfer.average_precision import Curves, Objects, Tally
from minisam_kernels.masks import rle

SIZE = (480, 640)


def ellipse(rng: np.random.Generator) -> np.ndarray:
    """A mask with holes: radius 6 to 150, each factor equally likely."""
    y, x = np.ogrid[: SIZE[0], : SIZE[1]]
    radius, stretch = np.exp(rng.uniform(np.log(6), np.log(150))), rng.uniform(0.5, 2)
    mask = ((y - rng.integers(SIZE[0])) * stretch) ** 2 + ((x - rng.integers(SIZE[1])) / stretch) ** 2 < radius**2
    return mask & (np.sin(y / rng.uniform(2, 9)) + np.sin(x / rng.uniform(2, 9)) < 1.7)


def draw(images: int, answers: int, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A set and results in COCO's schema."""
    rng = np.random.default_rng(seed)

    def entry(mask: np.ndarray, image: int) -> dict[str, Any]:
        code = {"size": list(SIZE), "counts": rle.to_string(rle.encode(mask[None])[0]).decode()}
        return {"image_id": image, "category_id": int(rng.integers(1, 4)), "segmentation": code}

    objects: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        masks = [ellipse(rng) for _ in range(rng.integers(1, 31))]
        for mask in masks:
            more = {"id": len(objects) + 1, "area": float(mask.sum()), "iscrowd": int(rng.random() < 0.1)}
            objects.append(entry(mask, image) | more | {"bbox": [0, 0, 1, 1]})
        for _ in range(answers):
            moved = np.roll(masks[rng.integers(len(masks))], rng.integers(-4, 5, 2), (0, 1))
            mask = moved if rng.random() < 0.5 else ellipse(rng)
            results.append(entry(mask, image) | {"score": float(np.round(rng.random(), 2))})
    pictures = [{"id": i, "height": SIZE[0], "width": SIZE[1], "file_name": f"{i}.jpg"} for i in range(1, images + 1)]
    categories = [{"id": c, "name": str(c)} for c in (1, 2, 3)]
    return {"info": {}, "images": pictures, "annotations": objects, "categories": categories}, results


def ours(truth: dict[str, Any], results: list[dict[str, Any]], limits: list[int], by_category: bool) -> Curves:
    of_image: dict[int, tuple[list[Any], list[Any]]] = defaultdict(lambda: ([], []))
    for which, entries in enumerate((truth["annotations"], results)):
        for entry in entries:
            of_image[entry["image_id"]][which].append(entry)
    tally = Tally(limits, by_category)
    for picture in truth["images"]:
        some, found = of_image[picture["id"]]
        runs = [[rle.from_string(e["segmentation"]["counts"], SIZE) for e in part] for part in (some, found)]
        kinds = [[e["category_id"] for e in part] for part in (some, found)]
        area, crowd = [e["area"] for e in some], [e["iscrowd"] for e in some]
        objects = Objects.of(runs[0], SIZE[0], kinds[0], area=area, crowd=crowd)
        tally.add(objects, Objects.of(runs[1], SIZE[0], kinds[1], [e["score"] for e in found]))
    return tally.result()


def theirs(package: str) -> Callable[..., Curves]:
    """``evaluate`` and ``accumulate`` of pycocotools or faster-coco-eval."""
    if package == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval

    def call(truth: dict[str, Any], results: list[dict[str, Any]], limits: list[int], by_category: bool) -> Curves:
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO()
            coco.dataset = truth
            coco.createIndex()
            evaluation = COCOeval(coco, coco.loadRes(results), "segm")
            evaluation.params.useCats, evaluation.params.maxDets = int(by_category), limits
            evaluation.evaluate()
            evaluation.accumulate()
        values = (np.asarray(evaluation.eval[name]) for name in ("precision", "recall", "scores"))
        return Curves(*values, categories=[])

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--answers", type=int, default=1000, help="of an image")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    truth, results = draw(options.images, options.answers)
    sides = {"minisam": ours, **{name: theirs(name) for name in ("faster-coco-eval", "pycocotools")}}
    names = [f"{name} {importlib.metadata.version(name)}" for name in sides]
    print(f"{options.images} images, {options.answers} answers each, {len(truth['annotations'])} objects; seconds")
    print("| categories | maxDets | " + " | ".join(names) + " | largest difference |\n|" + " --- |" * 6)
    ours(truth, results[:10], [1], False)  # compiles
    for by_category in (False, True):
        for limits in ([10, 100, 1000], [1, 10, 100]):
            least = dict.fromkeys(sides, np.inf)
            curves = {}
            for _ in range(options.repeats):
                for name, side in sides.items():
                    copies = copy.deepcopy((truth, results))  # they write into what they are given
                    start = time.perf_counter()
                    curves[name] = side(*copies, limits, by_category)
                    least[name] = min(least[name], time.perf_counter() - start)
            largest = max(
                float(np.abs(np.reshape(other[part], np.shape(own)) - own).max())
                for other in curves.values()
                for part, own in enumerate(curves["minisam"][:2])
            )
            seconds = " | ".join(f"{value:.2f}" for value in least.values())
            print(f"| {'yes' if by_category else 'no'} | {limits} | {seconds} | {largest:.0e} |", flush=True)


if __name__ == "__main__":
    main()
