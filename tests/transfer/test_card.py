"""The model card's figures: measured by a command, written between two marks, as the committed report has them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from minisam.checkpoints.loading import WEIGHTS
from minisam.transfer import card
from minisam_kernels import InputError

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "text outside the marks lost": ("minisam/transfer/card.py", 'return f"{before}{BEGIN}', 'return f"{BEGIN}'),
    "held-out parts measured whole": (
        "minisam/transfer/card.py",
        "jobs += [(folder, options.every) for folder in options.held_out]",
        "jobs += [(folder, 1) for folder in options.held_out]",
    ),
}

TRANSFER = Path(__file__).parents[2] / "benchmarks" / "transfer"


def test_measured_and_written(tmp_path, folder, monkeypatch):
    """All three kinds of sets; a second call without sets writes the same card. Kills: text outside the marks lost,
    held-out parts measured whole."""
    path = tmp_path / "card.md"
    path.write_text(f"before\n\n{card.BEGIN}\nold\n{card.END}\n\nafter\n")
    monkeypatch.setattr(card.gallery, "draw", lambda *given: given[3].write_bytes(b"drawn"))
    arguments = ["--report", str(tmp_path / "report.json"), "--card", str(path)]
    sets = ["--measure", str(folder), "--held-out", str(folder), "--every", "2", "--world", "1"]
    card.main([*arguments, *sets, "--show", "elsewhere"])
    text = path.read_text()
    assert text.startswith("before\n\n") and text.endswith("\n\nafter\n") and "old" not in text
    for words in ("2 images, 3 objects", "1 of 2: 1 images, 2 objects", "world: 1 images", "box, GrabCut"):
        assert words in text, words
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["weights"]) == 64 and not any("each" in one for one in report["sets"])
    drawn = {drawing.name for drawing in tmp_path.glob("report-*-calibration.png")}
    assert drawn == {f"report-{name}-calibration.png" for name in (folder.name, "world")}
    assert [drawing.name for drawing in tmp_path.glob("report-*-worst.png")] == ["report-world-worst.png"]
    card.main(arguments)
    assert path.read_text() == text
    two = [*arguments[:1], str(tmp_path / "two.json"), *arguments[2:], *sets[:6], "--processes", "2"]
    card.main(two)
    assert json.loads((tmp_path / "two.json").read_text())["sets"] == report["sets"][:2]
    with pytest.raises(InputError, match="expected a card with the lines"):
        card.insert("no marks", "text")


def test_the_card_is_that_of_the_weights():
    """The committed card shows the committed report, which is of the shipped file. Kills: new weights, old figures."""
    text, report = (WEIGHTS / "README.md").read_text(), json.loads((TRANSFER / "tiny.json").read_text())
    assert card.insert(text, card.tables(report)) == text
    assert report["weights"] == hashlib.sha256((WEIGHTS / "tiny.safetensors").read_bytes()).hexdigest()
