"""Reports of ``minisam verify``, made up."""

from __future__ import annotations

from minisam.reports.tables import Report
from minisam.verify import page as parity


def made(name: str, dtype: str, **wrong: float | None) -> Report:
    """A report of few lines; ``wrong``: errors of lines."""
    names = {"linear": ("kernel: linear", 2.0, 8.0), "block": ("encoder, square: block 0 (window)", 1e-6, 1e-4)}
    names["copy"] = ("kernel: copy", 0.0, 0.0)
    lines = []
    for key, (what, error, limit) in names.items():
        error = wrong.get(key, error)
        line = {"what": what, "shape": "(1, 2)", "error": error, "mean": 0.5e-6, "tolerance": limit, "unit": "relative"}
        passed = error is not None and error <= limit
        lines.append(line | {"seconds_here": 0.5, "seconds_there": 0.0, "note": "", "passed": passed})
    lines.sort(key=lambda line: line["what"])
    environment = {"processor": "P", "family": "f", "vectors": [], "cores": 2, "usable_cores": 2, "memory_gb": 1.0}
    environment |= {"system": "S", "python": "3", "commit": "abc"}
    model = {"name": name, "encoder_depth": 2}
    rest = {"device": {"type": "cpu", "torch": "2"}, "environment": environment, "versions": {"torch": "2"}}
    head = {"schema": parity.SCHEMA, "command": "minisam verify", "weights": "random", "dtype": dtype}
    return head | {"model": model, "lines": lines} | rest
