#!/usr/bin/env bash
# lvis-api finds nothing at all when categories are switched off.
#
# Expected: LVISEval with params.use_cats = 0 compares masks whatever they are called, as pycocotools does with useCats = 0
# (class-agnostic proposals, the second task of Segment Anything, are scored so). Perfect answers have an AP of 1.
# Seen: every figure is -1, "no object". _get_gt_dt goes through all categories in a variable that it does not use, and
# looks for category -1 each time. No error, no warning.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numpy pycocotools==2.0.11
"$folder/venv/bin/pip" install -q --no-deps lvis==0.5.3
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from unittest.mock import MagicMock

import numpy as np

np.float = float  # lvis 0.5.3 was written for older versions of NumPy
for name in ("cv2", "matplotlib", "matplotlib.pyplot", "matplotlib.collections", "matplotlib.patches"):
    sys.modules[name] = MagicMock()  # only for drawing
from lvis import LVIS, LVISEval, LVISResults

square = [[10, 10, 60, 10, 60, 60, 10, 60]]
annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": square, "area": 2500, "bbox": [10, 10, 50, 50]}
image = {"id": 1, "height": 100, "width": 100, "neg_category_ids": [], "not_exhaustive_category_ids": []}
category = {"id": 1, "name": "square", "frequency": "f"}
LVIS._load_json = lambda self, path: {"images": [image], "annotations": [dict(annotation)], "categories": [category]}
figures = {}
for use_cats in (1, 0):
    truth = LVIS("truth.json")
    answers = LVISResults(truth, [{"image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 50], "segmentation": square, "score": 1}])
    evaluation = LVISEval(truth, answers, "segm")
    evaluation.params.use_cats = use_cats
    evaluation.evaluate()
    evaluation.accumulate()
    figures[use_cats] = float(evaluation.eval["precision"].max())
print("largest precision of perfect answers: with categories", figures[1], ", without", figures[0])
assert figures[1] > 0.99, "changed: with categories"
assert figures[0] == -1, "changed: without categories"
PYTHON
