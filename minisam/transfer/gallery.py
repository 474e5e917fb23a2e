"""Where is a model most wrong? Images with the truth, the prompt and the mask, worst first."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.annotator import centre_point
from minisam.files.atomic import atomic
from minisam.transfer.held_out import Case
from minisam_kernels.losses.iou import iou_numpy

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor

TRUTH, FOUND = "#E69F00", "#56B4E9"  # of Okabe and Ito's colours


def worst(report: dict[str, Any], count: int) -> list[tuple[str, int]]:
    """Return (image, object) with the lowest IoU of the point's most confident mask, one per image."""
    chosen: dict[str, int] = {}
    for entry in sorted(report["each"], key=lambda entry: entry["point_confident"]):
        chosen.setdefault(entry["picture"], entry["object"])
    return list(chosen.items())[:count]


def draw(
    predictor: SamPredictor, cases: Iterable[Case], report: dict[str, Any], path: str | Path, count: int = 8
) -> None:
    """Draw the ``count`` worst objects of a report as a PNG: truth in orange, the most confident mask of a click in its
    centre in blue, what the model predicts of the IoU and what it is."""
    from matplotlib.figure import Figure

    chosen = worst(report, count)
    wanted, shown = dict(chosen), {}
    for case in cases:
        if case.name in wanted:
            shown[case.name] = case
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(3 * columns, 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, (name, number) in zip(panels, chosen):
        case = shown[name]
        truth = case.masks[number]
        x, y = centre_point(truth)
        predictor.set_image(case.image)
        masks, confidence, _ = predictor.predict(point_coords=np.array([[x, y]], float), point_labels=np.array([1]))
        best = int(confidence.argmax())
        axes.imshow(case.image)
        for mask, colour in ((truth, TRUTH), (masks[best], FOUND)):
            if mask.any() and not mask.all():
                axes.contour(mask, [0.5], colors=colour, linewidths=1.6)
        axes.plot(x, y, marker="*", color="white", markeredgecolor="black", markersize=11)
        iou = iou_numpy(masks[[best]], truth[None])[0]
        axes.set_title(f"IoU {iou:.2f}, predicted {confidence[best]:.2f}", fontsize=10)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90)
