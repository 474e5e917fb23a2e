"""The plots of a report: one SVG for each curve of its data. Colours of Okabe and Ito, and a marker for each contender,
so that neither colour nor sight alone is needed; every image has a text that says what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minisam.files.atomic import atomic
from minisam.reports.tables import Report, seconds

STYLE = {  # contender → colour, marker, line
    "minisam": ("#0072B2", "o", "-"),
    "pinned": ("#56B4E9", "v", ":"),
    "reference": ("#D55E00", "s", "--"),
    "hugging_face": ("#CC79A7", "^", "-."),
    "onnxruntime": ("#009E73", "D", (0, (1, 1))),
}
TITLES = {
    "prompts": "Time of a prompt, by the number of prompts in a call",
    "points": "Everything: time, by points per side of the grid",
    "click-size": "A click, masks of the image's size included, by the image's side",
    "size": "Everything: time, by the image's side",
    "batch": "Everything: time, by points per batch",
    "memory": "Everything: peak memory, by points per batch",
}
Curves = dict[str, list[tuple[float, float]]]


def _median(curves: dict[str, list[dict[str, Any]]], per_value: bool = False) -> Curves:
    return {
        name: [(p["value"], p["median"] / (p["value"] if per_value else 1)) for p in points if "median" in p]
        for name, points in curves.items()
    }


def drawings(report: Report) -> list[tuple[str, str, str, str, Curves]]:
    """(file's name, title, x axis, y axis, curves) of everything that there is to draw."""
    plots = []
    by_prompts = {
        name: [
            (row["per"], row["results"][name]["median"] / row["per"])
            for row in report["workloads"]
            if row["kind"] == "prompts" and "median" in row["results"].get(name, {})
        ]
        for name in report["contenders"]
    }
    for series in report.get("scaling", []):
        name, axis, curves = series["name"], series["axis"], series["curves"]
        if name == "prompts":
            plots.append((name, TITLES[name], axis, "time per prompt", by_prompts | _median(curves, True)))
        elif name.startswith("threads: "):
            title = f"Time by number of threads: {name.removeprefix('threads: ')}"
            file = "threads-" + name.removeprefix("threads: ").split(",")[0].replace(" ", "-")
            plots.append((file, title, axis, "time", _median(curves)))
        else:
            plots.append((name, TITLES[name], axis, "time", _median(curves)))
        if name == "batch":
            peaks = {n: [(p["value"], p["peak_bytes"] / 1e9) for p in c if "median" in p] for n, c in curves.items()}
            plots.append(("memory", TITLES["memory"], axis, "GB", peaks))
    return [(f"{report['model']['name']}-{file}", *rest) for file, *rest in plots if any(rest[-1].values())]


def alt(title: str, x: str, y: str, curves: Curves, titles: dict[str, str]) -> str:
    """What the plot shows, in words: the ends of every curve."""
    parts = []
    for name, points in curves.items():
        if points:
            first, last = (f"{seconds(b) if y != 'GB' else f'{b:.3g} GB'} at {a:g}" for a, b in (points[0], points[-1]))
            parts.append(f"{titles.get(name, name)}: {first}, {last}")
    return f"{title}. {y[0].upper()}{y[1:]} against {x}. " + "; ".join(parts) + "."


def draw(report: Report, folder: Path) -> list[dict[str, str]]:
    """Write the plots of a model into ``folder`` → file, title and alternative text of each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    titles = {name: about["title"] for name, about in report["contenders"].items()}
    # the same data give the same bytes: no date, and names of elements that do not change
    settings: Any = {"svg.hashsalt": "minisam", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    pictures = []
    for file, title, x, y, curves in drawings(report):
        with matplotlib.rc_context(settings):
            figure, axes = pyplot.subplots(figsize=(7.2, 3.6), layout="constrained")
            for name, points in curves.items():
                if points:
                    colour, marker, line = STYLE[name]
                    axes.plot(*zip(*points), color=colour, marker=marker, linestyle=line, label=titles.get(name, name))
            values = sorted({value for points in curves.values() for value, _ in points})
            axes.set(title=title, xlabel=x, ylabel=y)
            if x != "threads":
                axes.set_xscale("log", base=2)
            axes.set_xticks(values, [f"{value:g}" for value in values])
            if y == "GB":
                axes.set_ylim(bottom=0)
            else:
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter(lambda value, _: seconds(value))
            axes.minorticks_off()
            axes.grid(axis="y", alpha=0.3)
            axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
            with atomic(folder / f"{file}.svg") as temporary:
                figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
            pyplot.close(figure)
        pictures.append({"file": f"{file}.svg", "title": title, "alt": alt(title, x, y, curves, titles)})
    return pictures
