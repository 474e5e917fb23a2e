"""The reader as blind rater: two outlines in random order, which one is better? The second half of figure F8.

    from minisam.figures.blind_rater import blind_rater
    blind_rater()                     # ten objects; needs the models in benchmarks/transfer/models

The outlines are those of ``metric_and_truth``: a generalist and a specialist got the same box (dashed), and the objects
are the first ones, chosen by nobody. Which outline is A and which is B is thrown in the page (``blind_rater.js``), for
every visit anew. It is not told before all have been rated, because whoever has seen one of the specialist's outlines
named recognises the next. Then the page shows the tally, and each object's IoU with the exact mask and with the
annotator's. It works without a kernel; with one, the votes come back as ``figure.votes``.

The paper's raters (section 7.1, appendix E) gave every mask a grade from 1 to 10, so its 7 to 9 of 10 for SAM's masks
are mean grades and no share of votes: the page says so beside the tally.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from minisam.figures.metric_and_truth import RIVALS, Example, examples
from minisam.figures.shared.encoding import jpeg, mask_text
from minisam.transfer.specialist import ANNOTATIONS, OWN
from minisam.transfer.stored_models import MODELS
from minisam_kernels.runtime.errors import InputError

HERE = Path(__file__).parent
FILES = ("shared/canvas.js", "shared/masks.js", "blind_rater.js")
PAPER = (
    "Paper (data sets of figure 9, raters grade each mask from 1 to 10): SAM's masks have mean grades between 7 and 9. "
    "That is a grade, not a share of votes; only its direction can be compared with your tally."
)


class BlindRater(anywidget.AnyWidget):
    """Pairs of outlines to choose from. See ``blind_rater``.

    Attributes
    ----------
    votes : list of str
        One for each object rated so far: ``"generalist"``, ``"specialist"`` or ``"neither"``.
    """

    _esm = "".join((HERE / name).read_text(encoding="utf-8") for name in FILES)
    _css = "".join((HERE / name).read_text(encoding="utf-8") for name in ("click.css", "blind_rater.css"))

    pairs: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    rivals: traitlets.List[str] = traitlets.List(list(RIVALS)).tag(sync=True)
    paper = traitlets.Unicode(PAPER).tag(sync=True)
    votes: traitlets.List[str] = traitlets.List().tag(sync=True)
    source = traitlets.Unicode().tag(sync=True)


def blind_rater(pairs: int = 10, models: Path = MODELS, source: str = "") -> BlindRater:
    """The figure with so many objects. ``source``: the address of this code, for the link below the figure.

    Raises ``InputError`` for fewer than one, or where a model is missing."""
    if pairs < 1:
        raise InputError(f"expected at least one pair to rate, got {pairs}")
    return rater(examples(pairs, models), source)


def rater(several: Sequence[Example], source: str = "") -> BlindRater:
    """The figure for these objects."""
    return BlindRater(pairs=[_packed(one) for one in several], source=source)


def _packed(one: Example) -> dict[str, Any]:
    """What the page gets: a JPEG, both masks as COCO's text, and their IoU under both annotations."""
    both = {"exact": list(ANNOTATIONS).index("exact"), "annotator": list(ANNOTATIONS).index(OWN)}
    return {
        "jpeg": jpeg(one.image, 92), "width": one.image.shape[1], "height": one.image.shape[0],
        "box": one.box.round(1).tolist(),
        "masks": {kind: mask_text(one.masks[kind]) for kind in RIVALS},
        "iou": {kind: {name: round(one.iou(kind, a), 3) for name, a in both.items()} for kind in RIVALS},
    }  # fmt: skip
