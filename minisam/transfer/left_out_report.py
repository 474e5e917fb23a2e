"""What the measured models come to: means with intervals, wins, tables, a page. ``left_out`` measures them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minisam.transfer.clicks import FIGURES, POINTS
from minisam.transfer.intervals import interval, text
from minisam.transfer.report import Table, markdown
from minisam.transfer.stored_models import GROUPS, KINDS, SIDE

ALL = "all domains"

Found = dict[str, dict[str, np.ndarray]]  # set → what ``clicks.measure_all`` returns
Key = tuple[str, str, int]  # kind, group, seed


def _stacked(
    found: dict[Key, Found], kind: str, seeds: list[int], groups: Sequence[str], name: str
) -> dict[str, np.ndarray]:
    """Figures (seeds, objects, …) of a set, averaged over the models of ``groups``."""
    each = {seed: [found[kind, group, seed][name] for group in groups] for seed in seeds}
    return {key: np.stack([np.mean([m[key] for m in each[s]], 0) for s in seeds]) for key in FIGURES}


def _conditions(found: dict[Key, Found], kind: str, seeds: list[int], name: str) -> dict[str, dict[str, np.ndarray]]:
    """CONDITION → figure → values (seeds, objects, …) of one domain or real set."""
    group = next((g for g, domains in GROUPS.items() if name in domains), None)
    if group is None:
        return {"real": _stacked(found, kind, seeds, list(GROUPS), name)}
    left_out = _stacked(found, kind, seeds, [group], name)
    seen = _stacked(found, kind, seeds, [g for g in GROUPS if g != group], name)
    return {"left_out": left_out, "seen": seen, "difference": {key: left_out[key] - seen[key] for key in FIGURES}}


def _intervals(values: dict[str, Any], pictures: np.ndarray) -> dict[str, Any]:
    return {
        condition: {key: {**interval(array, pictures), "seeds": array.mean(1).tolist()} for key, array in entry.items()}
        for condition, entry in values.items()
    }


def summarise(found: dict[Key, Found], sets: dict[str, tuple[Path, int]]) -> dict[str, Any]:
    """Make ``sets`` and ``wins`` of the report."""
    seeds = {kind: sorted({seed for k, _, seed in found if k == kind}) for kind in KINDS}
    both = [seed for seed in seeds["sam"] if seed in seeds["clicks"]]
    first = next(iter(found.values()))
    domains = [domain for group in GROUPS.values() for domain in group]
    parts = {name: (first[name]["picture"], [name]) for name in [*domains, *sets]}
    # all domains as one set: pictures numbered on
    numbers = [first[name]["picture"] + 10_000 * i for i, name in enumerate(domains)]
    parts = {ALL: (np.concatenate(numbers), domains), **parts}
    entries = []
    for name, (pictures, members) in parts.items():
        group = next((g for g, names in GROUPS.items() if name in names), None)
        entry: dict[str, Any] = {"name": name, "group": group, "pictures": len(np.unique(pictures))}
        entry["objects"] = len(pictures)
        if name in sets:
            every = sets[name][1]
            entry["note"] = "images held out, others of the set seen" if every > 1 else "nothing of the set seen"

        def joined(kind: str, some: list[int], members: list[str] = members) -> dict[str, Any]:
            each = [_conditions(found, kind, some, member) for member in members]
            return {c: {k: np.concatenate([e[c][k] for e in each], 1) for k in FIGURES} for c in each[0]}

        for kind in KINDS:
            if seeds[kind]:
                entry[kind] = _intervals(joined(kind, seeds[kind]), pictures)
        if both:
            one, other = joined("sam", both), joined("clicks", both)
            minus = {c: {k: one[c][k] - other[c][k] for k in FIGURES} for c in one if c != "difference"}
            entry["sam_minus_clicks"] = _intervals(minus, pictures)
        entries.append(entry)
    return {"sets": entries, "wins": wins(entries)}


def wins(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Count on how many sets which of the two is better after each number of clicks, and how often surely so."""
    report: dict[str, Any] = {}
    for condition in ("left_out", "seen", "real"):
        some = [e["sam_minus_clicks"][condition] for e in entries
                if e["name"] != ALL and condition in e.get("sam_minus_clicks", {})]  # fmt: skip
        if not some:
            continue
        report[condition] = {}
        for figure in ("confident", "oracle"):
            means, lows, highs = (np.array([e[figure][k] for e in some]) for k in ("mean", "low", "high"))
            report[condition][figure] = [
                {"points": n, "sets": len(some), "sam": int((means[:, i] > 0).sum()),
                 "clicks": int((means[:, i] < 0).sum()), "sam_surely": int((lows[:, i] > 0).sum()),
                 "clicks_surely": int((highs[:, i] < 0).sum())}
                for i, n in enumerate(POINTS)
            ]  # fmt: skip
    return report


def tables(report: dict[str, Any]) -> list[Table]:
    """The report as tables: all domains, wins, each domain, real images."""
    kinds = [kind for kind in KINDS if kind in report["sets"][0]]
    shown = [POINTS.index(n) for n in (1, 3, 9)]
    clicks = [f"{POINTS[i]} click{'s' * (POINTS[i] > 1)}" for i in shown]
    seeds = {kind: len(report["sets"][0][kind]["left_out"]["confident"]["seeds"]) for kind in kinds}
    note = "In brackets 95 % of bootstrap means over images and seeds. Seeds: "
    note += ", ".join(f"{KINDS[kind]} {count}" for kind, count in seeds.items()) + "."

    def row(label: str, entry: dict[str, Any], figure: str) -> list[Any]:
        noc = text(entry["noc_90"], digits=2) if figure == "confident" else None
        return [label, *(text(entry[figure], i) for i in shown), noc]

    def rows(entry: dict[str, Any], kind: str, conditions: dict[str, str], figures: Sequence[str]) -> list[list[Any]]:
        return [
            row(f"{KINDS[kind]}, {figure}, {said}".rstrip(", "), entry[kind][condition], figure)
            for figure in figures
            for condition, said in conditions.items()
        ]

    whole = report["sets"][0]
    three = {"left_out": "left out", "seen": "seen", "difference": "left out − seen"}
    columns = ["model", *(f"IoU, {c}" for c in clicks), "NoC@90"]
    lines = [line for kind in kinds for line in rows(whole, kind, three, ("confident", "oracle"))]
    count = f"{whole['objects']} objects of {whole['pictures']} held-out scenes of 23 domains, {SIDE} pixels. {note}"
    notes = [count]
    if report.get("kept"):
        what = "were read from an earlier run: the time does not hold theirs"
        notes.append(f"The figures of {report['kept']} of {len(report['models'])} models {what}.")
    result = [Table("All domains of the world", columns, lines, notes)]
    if report["wins"]:
        names = {"left_out": "domains left out", "seen": "domains seen", "real": "real sets"}
        lines = []
        for condition, entry in report["wins"].items():
            for figure, counts in entry.items():
                cells = [f"{c['sam']} : {c['clicks']} ({c['sam_surely']} : {c['clicks_surely']})" for c in counts]
                lines.append([f"{names[condition]}, {figure}", *cells])
        heads = ["sets", *(f"{n} click{'s' * (n > 1)}" for n in POINTS)]
        notes = ["On how many sets SAM's mean IoU is higher : the RITM-like network's; in brackets with an interval of "
                 "the difference that does not hold 0."]  # fmt: skip
        result.append(Table("Wins of SAM : wins of the RITM-like network", heads, lines, notes))
    for title, condition, some in (
        ("Each domain, left out − seen, SAM confident", "difference", [e for e in report["sets"] if e["group"]]),
        ("Real images, confident", "real", [e for e in report["sets"] if "real" in e[kinds[0]]]),
    ):
        if some:
            result.append(_each(title, condition, some, kinds, shown, clicks, note))
    return result


def _each(
    title: str, condition: str, some: list[dict[str, Any]], kinds: list[str], shown: list[int], clicks: list[str],
    note: str,
) -> Table:  # fmt: skip
    """A row for each set: SAM's figures, and what they are above the other network's."""
    versus = "left_out" if condition == "difference" else condition
    columns = ["set", "objects", *(f"SAM, {c}" for c in clicks)]
    if "clicks" in kinds:
        columns += [f"SAM − RITM-like, {c}" for c in clicks]
    rows = []
    for entry in some:
        cells = [text(entry["sam"][condition]["confident"], i) for i in shown]
        if "sam_minus_clicks" in entry:
            cells += [text(entry["sam_minus_clicks"][versus]["confident"], i) for i in shown]
        label = entry["name"] + (f" ({entry['group']})" if entry["group"] else f" ({entry['note']})")
        rows.append([label, entry["objects"], *cells, *[None] * (len(columns) - 2 - len(cells))])
    return Table(title, columns, rows, [note])


def page(report: dict[str, Any]) -> str:
    """The report as a page in Markdown."""
    from minisam.reports.tables import machine

    kinds = dict.fromkeys(m["kind"] for m in report["models"])
    trained = []
    for kind in kinds:
        some = [m for m in report["models"] if m["kind"] == kind]
        minutes = np.mean([m["processor_seconds"] for m in some]) / 60
        trained.append(f"{len(some)} × {KINDS[kind]} ({some[0]['weights'] / 1e6:.2f} M weights, {some[0]['steps']} "
                       f"steps after a base on real images alone, {minutes:.1f} processor minutes each)")  # fmt: skip
    written = f"""# Domains left out in turn

    {report["command"]}

{"; ".join(trained)}. Every model leaves out one of four groups of domains: {_groups()}. "Left out" is each domain with
the models of its own group, "seen" with those of the three others.

"""
    written += "\n\n".join(markdown(table) for table in tables(report))
    return f"{written}\n\n{machine(report['environment'])}, commit {report['commit']}.\n"


def _groups() -> str:
    return "; ".join(f"{group} ({', '.join(names)})" for group, names in GROUPS.items())
