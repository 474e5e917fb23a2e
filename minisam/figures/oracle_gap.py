"""Figure F7 of chapter 14: a square per domain. Does SAM win against a network of clicks, and what if it may choose?

    from minisam.figures.oracle_gap import oracle_gap
    oracle_gap()                      # benchmarks/transfer/left_out.json

``minisam transfer left-out`` measured the file: every domain of the world with the models that never saw it, every
real set with all of them. Here nothing is measured: intervals become wins, losses and ties (``verdict``), and the
page (``oracle_gap.js``) shows them, with a kernel and without one.

*Confident* grades the mask of the highest predicted IoU, *oracle* the best of the three, for both networks. A win or a
loss is a mean difference whose 95 % interval is on one side of zero; everything else is a tie. The paper counts means
alone, so it has no ties; its differences for one point (figure 9) stand beside ours, labelled.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from minisam.reports.environment import ROOT
from minisam_kernels.runtime.errors import InputError

HERE = Path(__file__).parent
FILE = ROOT / "benchmarks" / "transfer" / "left_out.json"
CLICKS = (1, 2, 3, 5, 9)
WHICH = ("confident", "oracle")
PAPER = {  # mean IoU of SAM minus that of RITM, one point, most confident mask, in points (paper, figure 9a)
    "PPDLS": 46.9, "BBBC038v1": 44.7, "DOORS": 41.1, "TimberSeg": 28.9, "NDD20": 21.1, "LVIS": 18.5, "STREETS": 17.3,
    "ZeroWaste-f": 9.1, "iShape": 8.8, "ADE20K": 7.8, "OVIS": 7.0, "Hypersim": 6.1, "NDISPark": 2.7, "VISOR": 1.8,
    "Plittersdorf": 1.5, "EgoHOS": 0.8, "IBD": -0.3, "WoodScape": -0.6, "Cityscapes": -2.0, "PIDRay": -5.8,
    "DRAM": -6.5, "TrashCan": -15.0, "GTEA": -21.4,
}  # fmt: skip
PAPER_ORACLE = "all 23"  # wins with the oracle (section 7.1); no figures for each set are printed


@dataclass(frozen=True)
class Gap:
    """Mean IoU of SAM and of the baseline, and the 95 % interval of their difference."""

    sam: float
    baseline: float
    low: float
    high: float


@dataclass(frozen=True)
class Square:
    """A domain of the world, or a ``real`` set: its gap for each of ``WHICH`` and each number of clicks."""

    name: str
    real: bool
    gaps: dict[tuple[str, int], Gap] = field(default_factory=dict)


def verdict(gap: Gap) -> str:
    """ "win", "loss", or "tie" where the interval holds 0."""
    return "win" if gap.low > 0 else "loss" if gap.high < 0 else "tie"


def tally(squares: Sequence[Square], which: str, clicks: int) -> dict[str, int]:
    """How many wins, losses and ties there are among the squares that have this gap."""
    verdicts = [verdict(s.gaps[which, clicks]) for s in squares if (which, clicks) in s.gaps]
    return {name: verdicts.count(name) for name in ("win", "loss", "tie")}


def words(squares: Sequence[Square], which: str, clicks: int) -> str:
    """The tally as a sentence, the domains of the world apart from the real sets."""
    mask = "most confident mask" if which == "confident" else "best of the masks, which an oracle picks"
    sentence = f"{clicks} click{'s' * (clicks > 1)}, {mask}: "
    parts = []
    for real, name in ((False, "domains of the world"), (True, "real sets")):
        some = [s for s in squares if s.real == real and (which, clicks) in s.gaps]
        if some:
            t = tally(some, which, clicks)
            losses, ties = ("es" if t["loss"] != 1 else ""), ("s" if t["tie"] != 1 else "")
            parts.append(
                f"SAM wins on {t['win']} of {len(some)} {name}, {t['loss']} loss{losses}, {t['tie']} tie{ties}"
            )
    return sentence + ("; ".join(parts) if parts else "not measured") + "."


class OracleGap(anywidget.AnyWidget):
    """Squares with a switch and a slider. See ``oracle_gap``."""

    _esm = HERE / "oracle_gap.js"
    _css = "".join((HERE / name).read_text(encoding="utf-8") for name in ("click.css", "oracle_gap.css"))

    squares: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    words: traitlets.Dict[str, str] = traitlets.Dict().tag(sync=True)
    paper: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    paper_words: traitlets.Dict[str, str] = traitlets.Dict().tag(sync=True)
    clicks: traitlets.List[int] = traitlets.List().tag(sync=True)
    question = traitlets.Unicode().tag(sync=True)
    source = traitlets.Unicode().tag(sync=True)


def oracle_gap(path: str | Path = FILE, question: str = "", source: str = "") -> OracleGap:
    """The figure of the file at ``path``. ``source``: the address of this code, for the link below the figure.

    Raises ``InputError`` where the file is missing or is none of ``left_out``.
    """
    return figure(read(path), question, source)


def read(path: str | Path = FILE) -> list[Square]:
    """The squares of a file that ``minisam transfer left-out`` wrote: of a domain those with the models that never saw
    it, of a real set all models. Raises ``InputError`` where it is none of these."""
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        columns = [(n, report["points"].index(n)) for n in CLICKS]
        squares = []
        for entry in report["sets"]:
            condition = "left_out" if entry["group"] else "real"
            minus = entry.get("sam_minus_clicks", {}).get(condition)
            if minus is None:  # the mean of all domains, or a set that one of the two was not measured on
                continue
            gaps = {}
            for which in WHICH:
                means = [entry[kind][condition][which]["mean"] for kind in ("sam", "clicks")]
                for n, i in columns:
                    gaps[which, n] = Gap(means[0][i], means[1][i], minus[which]["low"][i], minus[which]["high"][i])
            squares.append(Square(entry["name"], condition == "real", gaps))
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"expected a file that minisam transfer left-out wrote, got {path} ({error!r})") from error
    return squares


def figure(squares: Sequence[Square], question: str = "", source: str = "") -> OracleGap:
    """The figure of these squares; ``InputError`` without any."""
    if not squares:
        raise InputError("expected at least one domain, got none")
    wins = sum(value > 0 for value in PAPER.values())
    single = f"Paper, 1 click, most confident mask against RITM's: SAM wins on {wins} of {len(PAPER)} data sets."
    several = "The paper prints differences for each data set for one click only."
    oracle = f"Paper, 1 click, oracle: SAM wins on {PAPER_ORACLE}; how far ahead on each is not printed."
    asked = "With one click, SAM's most confident mask against the baseline's: on how many of "
    return OracleGap(
        squares=[_packed(square) for square in squares],
        words={f"{which} {n}": words(squares, which, n) for which in WHICH for n in CLICKS},
        paper=[{"name": name, "points": points} for name, points in PAPER.items()],
        paper_words={
            f"{which} {n}": several if n > 1 else single if which == "confident" else oracle
            for which in WHICH
            for n in CLICKS
        },
        clicks=list(CLICKS),
        question=question or f"{asked}{len(squares)} will SAM win?",
        source=source,
    )  # fmt: skip


def _packed(square: Square) -> dict[str, Any]:
    states = {}
    for (which, n), gap in square.gaps.items():
        points = 100 * (gap.sam - gap.baseline)
        text = f"SAM {gap.sam:.3f}, baseline {gap.baseline:.3f}; difference {points:+.1f} points, 95 % interval from "
        text += f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
        said = text.replace("-", "−")
        states[f"{which} {n}"] = {"verdict": verdict(gap), "points": round(points, 1), "words": said}
    return {"name": square.name, "real": square.real, "states": states}
