"""What ``minisam bench`` measured and the project keeps, ``benchmarks/cpu/*.json``, for figures that compare with it.

Times are seconds. Whatever a file lacks (another version of the benchmark, a row that failed, an installed package
without a checkout around it) is None here, and the figure leaves it out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import minisam

FOLDER = Path(minisam.__file__).resolve().parents[1] / "benchmarks" / "cpu"


def report(name: str, folder: Path = FOLDER) -> dict[str, Any] | None:
    """The benchmark of a model, "tiny" or "vit_b"; None where there is none."""
    try:
        figures = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return figures if isinstance(figures, dict) else None


def seconds(figures: dict[str, Any] | None, workload: str, contender: str = "minisam") -> float | None:
    """The median time of a workload ("encode", "prompts-1", …): of the whole call, not of each prompt in it."""
    for row in (figures or {}).get("workloads", []):
        if row.get("name") == workload:
            return row.get("results", {}).get(contender, {}).get("median")
    return None


def stages(figures: dict[str, Any] | None, title: str) -> list[tuple[str, float]] | None:
    """(stage, seconds) of the profile whose title begins so: "encode", "one prompt", …"""
    for profile in (figures or {}).get("profile") or []:
        if profile.get("title", "").startswith(title):
            return [(stage["name"], stage["seconds"]) for stage in profile["stages"]]
    return None


def peak(figures: dict[str, Any] | None, contender: str = "minisam") -> float | None:
    """GFLOP/s of NumPy's matrix products with as many threads as the benchmark ran with."""
    if figures is None:
        return None
    return figures.get("blas_peak", {}).get(str(figures.get("threads")), {}).get(contender)


def machine(figures: dict[str, Any] | None) -> str:
    """The processor and the threads, for a caption."""
    about = (figures or {}).get("environment", {})
    threads = (figures or {}).get("threads")
    return f"{about.get('processor', 'a processor')}, {threads} thread{'s' if threads != 1 else ''}"
