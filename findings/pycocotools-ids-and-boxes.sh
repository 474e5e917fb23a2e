#!/usr/bin/env bash
# pycocotools: an object of id 0 is never found, and a box beside a mask changes what is small, medium and large.
#
# Expected: ids are names, so perfect answers have AP 1 whether ids begin with 0 or with 1. And iouType "segm" measures
# masks, so a results file gives the same figures with and without a "bbox" beside each "segmentation".
# Seen: with ids from 0 the first object counts as not found, and its answer as wrong (a match is stored as the id, and 0
# means "no match"). With a "bbox" the answer's area is that of the box: a ring of 944 pixels, small, becomes large by its
# box of 120 x 120, and as it is a wrong answer, the AP of large objects falls to a half. No error, no warning.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numpy pycocotools==2.0.11
"$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import copy
import io

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def code(array):
    return mask.encode(np.asfortranarray(array.astype(np.uint8)))


def figures(objects, answers):
    coco = COCO()
    images = [{"id": 1, "height": 200, "width": 400, "file_name": "1.jpg"}]
    coco.dataset = {"info": {}, "images": images, "annotations": objects, "categories": [{"id": 1, "name": "ring"}]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(copy.deepcopy(answers)), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def thing(array, **more):
    segmentation = code(array)
    return {"image_id": 1, "category_id": 1, "segmentation": segmentation, "area": int(array.sum()), "iscrowd": 0,
            "bbox": mask.toBbox(segmentation).tolist(), **more}


square, other, ring = np.zeros((3, 200, 400), bool)
square[20:60, 20:60] = True
other[100:140, 20:60] = True
ring[40:160, 200:320] = True
ring[42:158, 202:318] = False  # two pixels wide: what is left has a small area and a large box

for first in (1, 0):
    objects = [thing(array, id=first + i) for i, array in enumerate((square, other))]
    answers = [{k: thing(array)[k] for k in ("image_id", "category_id", "segmentation")} | {"score": 0.9} for array in (square, other)]
    ap = figures(objects, answers)[0]
    print("ids from", first, ": AP of perfect answers", round(float(ap), 3))
    assert (ap > 0.99) == (first == 1), "changed: ids"

large = np.zeros((200, 400), bool)
large[5:195, 5:195] = True
objects = [thing(square, id=1), thing(large, id=2)]
wanted = [(ring, 0.9), (square, 0.8), (large, 0.7)]  # the ring is wrong
both = [thing(array, score=score) for array, score in wanted]
for entry in both:
    del entry["area"], entry["iscrowd"]
plain = [{k: v for k, v in entry.items() if k != "bbox"} for entry in both]
without, with_box = (figures(objects, answers)[3:6].round(3).tolist() for answers in (plain, both))
print("AP of small, medium, large: without bbox", without, ", with bbox", with_box)
assert without != with_box, "changed: bbox"
PYTHON
