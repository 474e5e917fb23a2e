"""The operating curve on the page: its points are the audit's, and both pairs of thresholds are marked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minisam.engine.audit import Curve, choose_thresholds
from minisam_kernels import InputError

pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")
from minisam.figures import operating_curve as module

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "another pair than SA-1B's": ("minisam/figures/operating_curve.py", "SA1B = (0.88, 0.95)", "SA1B = (0.5, 0.95)"),
    "an end without masks": (
        "minisam/figures/operating_curve.py",
        "np.flatnonzero(curve.masks[:, s])[-1]",
        "len(curve.masks) - 1",
    ),
    "the slider at its beginning": (
        "minisam/figures/operating_curve.py",
        "for value in stable], start)",
        "for value in stable], 0)",
    ),
}


def report() -> dict[str, Any]:
    """As ``minisam engine audit`` writes it, with made-up figures."""
    masks = np.array([[400, 200], [100, 90], [0, 3]])
    above = np.array([[[200, 100], [80, 75], [0, 3]], [[300, 150], [95, 88], [0, 3]]])
    curve = Curve(np.array([0, 0.5, 0.88]), np.array([0, 0.95]), 10, masks, above)
    choice = choose_thresholds(curve)
    other = dataclasses.replace(choice, masks=45, per_picture=9.0, share=0.88)
    entries = [dataclasses.asdict(one) | {"reached": one.reached} for one in (choice, other)]
    return {"curve": curve.as_json(), "choice": entries[0], "on_other_split": entries[1]}


def write(path: Path, values: Any) -> Path:
    path.write_text(json.dumps(values))
    return path


def test_words_are_the_curve(tmp_path: Path) -> None:
    """Kills: another pair than SA-1B's, an end without masks."""
    audit = module.read(write(tmp_path / "audit.json", report()))
    first = module.words(audit, 0)
    assert first.startswith(
        "Stability at least 0: with predicted IoU above 0 40.0 masks per picture, 50% above 0.9 and 75%"
    )
    assert "; above 0.5 10.0 masks per picture, 80% above 0.9 and 95% above 0.75." in first
    assert "SA-1B's thresholds (.88, .95): 0.3 masks per picture, 100% above 0.9" in first
    assert "predicted IoU above 0.5, stability at least 0: 10.0 masks per picture, 95% above 0.75" in first
    assert first.endswith("on other pictures 9.0 and 88%.") and "short of" not in first
    poor = report()
    poor["choice"]["reached"] = False
    assert "short of the wanted 90%" in module.words(module.read(write(tmp_path / "b.json", poor)), 1)


def test_slider_begins_at_the_choice(tmp_path: Path) -> None:
    """Kills: the slider at its beginning."""
    values = report()
    values["choice"]["stability_score_thresh"] = 0.95
    figure = module.operating_curve(write(tmp_path / "audit.json", values), source="#x")
    control, stack, _ = figure.children[2].children[1].children
    assert control.index == 1 and len(stack.children) == 2 and "Guess first" in figure.children[0].value
    assert "Stability at least 0.95" in stack.children[1].value


def test_a_curve_without_a_choice_is_drawn() -> None:
    masks = np.array([[5], [0]])
    audit = module.Audit(Curve(np.array([0.0, 0.5]), np.array([0.5]), 2, masks, np.stack([masks, masks])), None, None)
    state = module.draw(audit, 0)
    assert "Chosen" not in state.words and "SA-1B" not in state.words and state.picture.ndim == 3
    nothing = dataclasses.replace(audit.curve, masks=0 * masks)
    assert "no mask" in module.words(dataclasses.replace(audit, curve=nothing), 0)


def test_other_files_are_refused(tmp_path: Path) -> None:
    for number, values in enumerate([[], {}, report() | {"curve": None}, report() | {"choice": {"share": 1}}]):
        with pytest.raises(InputError, match="expected a report of minisam engine audit --truth with a curve"):
            module.read(write(tmp_path / f"{number}.json", values))
    empty = report()
    empty["curve"] |= {"predicted_iou": [], "masks": [], "above": []}
    for path in (write(tmp_path / "e.json", empty), tmp_path / "none.json"):
        with pytest.raises(InputError, match="with a curve"):
            module.operating_curve(path)
