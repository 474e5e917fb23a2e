"""The report of ``minisam bench --device``: the reference on a device, beside what the device can do at best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minisam.reports.tables import Report, Table, gigabytes, markdown, plain, read_reports, seconds
from minisam.verify import page as parity

SCHEMA = "device-1"
EACH = {"encoder": "image", "decoder": "prompt", "everything": "image"}

HOW = """\
The model in PyTorch (`minisam.reference`), in up to five forms: eager, with attention that holds its whole bias; fast,
with attention that never holds it; compiled, fast with `torch.compile`; flex, compiled with FlexAttention in the
encoder; tiled, compiled with an attention written in Triton (`minisam/reference/tiled.py`; half precision, on a GPU).
The decoder has only one attention, so it is eager or compiled. tf32 is float32 whose products round their inputs to
11 bits where the device can. Times are medians; the first call, which compiles, stands apart and does not count. A
share is that of the product of two large matrices in the same precision, and of a large copy, both of random numbers,
many in a row, in the same run; operations are those of the plain form's products (`minisam/benchmark/flops.py`), bytes
what these read and write when attention is one operation. The error is the largest difference from eager float32,
divided by the largest number. Most held is all that torch had on the GPU while it was timed, the weights of the whole
model among it. "Everything" starts from uint8 pixels in the computer's memory: encoding, three masks for every point
of a grid at the image's size, their stability and boxes, duplicates removed; run lengths are not part of it."""


def read_folder(folder: Path) -> list[Report]:
    """Every report in the folder."""
    return read_reports(folder, SCHEMA, "minisam bench --device")


def per(row: dict[str, Any]) -> int:
    """What a row's time is divided by: images or prompts in a call."""
    return row["number"] if row["part"] != "everything" else 1


def find(report: Report, part: str, number: int, precision: str) -> list[dict[str, Any]]:
    """Rows of all forms that did not fail."""
    key = (part, number, precision)
    rows = [row for row in report["rows"] if (row["part"], row["number"], row["precision"]) == key]
    return [row for row in rows if "failed" not in row]


def baseline(report: Report, row: dict[str, Any]) -> float | None:
    """Seconds of eager float32 for the same work."""
    rows = find(report, row["part"], row["number"], "float32")
    return next((row["median"] for row in rows if row["form"] == "eager"), None)


def shares(report: Report, row: dict[str, Any]) -> tuple[float | None, float | None]:
    """Of the ceiling of products in the row's precision, and of that of memory."""
    best = report["ceilings"]
    if "operations" not in row or "failed" in row:
        return None, None
    rates = row["operations"] / row["median"], row["bytes"] / row["median"]
    limits = best.get(row["precision"]), best.get("copy")
    products, memory = (rate / limit if limit else None for rate, limit in zip(rates, limits))
    return products, memory


def rows(report: Report, part: str) -> Table:
    """A row for each number, precision and form."""
    each = EACH[part]
    head = [part, f"time of an {each}" if each == "image" else f"time of a {each}", f"{each}s per second"]
    table = [[*head, "eager float32 ÷ this", "products", "memory", "most held", "error", "first call"]]
    for row in (row for row in report["rows"] if row["part"] == part):
        name = f"{row['number']}, {row['precision']}, {row['form']}"
        if "failed" in row:
            table.append([name, row["failed"], *("–" for _ in table[0][2:])])
            continue
        time, base = row["median"] / per(row), baseline(report, row)
        share = [f"{value:.0%}" if value is not None else "–" for value in shares(report, row)]
        held = gigabytes(row["peak_bytes"]) if row["peak_bytes"] is not None else "–"
        error = parity.number(row["error"]) if "error" in row else "–"
        gain = f"{base / row['median']:.2f}×" if base else "–"
        table.append([name, seconds(time), f"{1 / time:.3g}", gain, *share, held, error, seconds(row["first_call"])])
    return table


def ceilings(report: Report) -> Table:
    """What the device does at best."""
    best = report["ceilings"]
    table = [["ceiling", "measured"]]
    table += [[f"products, {name}", f"{rate / 1e12:.3g} TFLOP/s"] for name, rate in best.items() if name != "copy"]
    return table + [["copy", f"{best['copy'] / 1e9:.4g} GB/s"]] if "copy" in best else table


def tables(report: Report) -> list[Table]:
    """All that have a row."""
    candidates = [parity.environment(report), ceilings(report), *(rows(report, part) for part in EACH)]
    return [table for table in candidates if len(table) > 1]


def notes(report: Report) -> list[str]:
    """What a reader has to know."""
    lines = []
    if report["quick"]:
        lines.append("**A quick run of small work: these figures show that the benchmark works, and nothing else.**")
    if report.get("cut_short"):
        lines.append("**The run was ended before all its rows were there.** Every row that is here is whole.")
    return lines


def text(report: Report) -> str:
    """For the terminal."""
    return "\n\n".join([*notes(report), *(plain(table) for table in tables(report))])


def page(reports: list[Report]) -> str:
    """The Markdown page of all models."""
    parts = ["# Benchmarks on a device", "Written by `minisam bench --device`; no figure in it is typed.", HOW]
    for report in reports:
        parts += [f"## {parity.title(report)}", *notes(report)]
        parts += [markdown(parity.filled(table)) for table in tables(report)]
    return "\n\n".join(parts) + "\n"
