"""``minisam verify``: every kernel and every stage of the model beside torch, on the CPU or a GPU, and the report."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from minisam.console import add_depth, add_model, load_or_build_model, need, planned_config, trained
from minisam.files.atomic import check_output, write_text
from minisam_kernels.runtime.errors import InputError


def add(parsers: Any) -> None:
    """The command's options."""
    parser = parsers.add_parser(
        "verify",
        help="compare every kernel and stage with torch",
        description="Compare every kernel with torch in float64, and the model stage by stage with the same model in "
        "torch: in float64 or float32 (never TF32) to see that it is right, in bfloat16 or float16 to see what these "
        "cost. Without weights for a model, random ones are used.",
    )
    add_model(parser)
    add_depth(parser)
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="where torch computes: cpu (default) or cuda")
    parser.add_argument(
        "--dtype",
        default="float64",
        metavar="DTYPE",
        help="of torch's model: float64 (default), float32, bfloat16, float16",
    )
    parser.add_argument("--json", metavar="PATH", help="write the report as JSON")
    parser.add_argument("--markdown", metavar="PATH", help="write the report as a page")
    parser.add_argument("--report", metavar="FOLDER", help="write FOLDER/MODEL-DTYPE.json, and FOLDER/README.md of all")
    parser.add_argument("--redraw", action="store_true", help="only make --report's page from its JSON files")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check what can be checked before anything is loaded, compare, write; 1 where a line is not within tolerance."""
    from minisam.verify import page as parity

    if options.redraw and options.report is None:
        raise InputError("expected --report FOLDER with --redraw, got none")
    if options.report is not None:
        folder = Path(options.report)
        if not folder.is_dir():
            raise InputError(f"expected an existing folder for --report, got {folder}")
        check_output(folder / "README.md")
        if options.redraw:
            return _write_page(folder)
        if any(folder.glob("*.json")):
            parity.read_folder(folder)  # the page shows them all: better no report than one that does not fit
    for path in (options.json, options.markdown):
        if path is not None:
            check_output(path)
    need("reference", "torch")
    from minisam.verify import device as devices

    device, dtype = devices.check_device(options.device), devices.check_dtype(options.dtype)
    config = planned_config(options)
    if config is not None:
        devices.check_memory(config, device, dtype)
    sam = load_or_build_model(options)
    if config is None:
        devices.check_memory(sam.config, device, dtype)
    from minisam.reports.environment import environment
    from minisam.verify import stages as verify

    machine = environment()
    lines = verify.main(sam, device, dtype)
    report = {
        "schema": parity.SCHEMA,
        "command": _command(options),
        "model": dataclasses.asdict(sam.config),
        "weights": "trained" if trained(options) else "random",
        "dtype": options.dtype,
        "device": devices.describe(device),
        "environment": machine,
        "versions": parity.versions("numpy", "numba", "torch", "transformers"),
        "lines": [line.as_dict() for line in lines],
    }
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    outputs = {options.json: text, options.markdown: parity.page([report]) if options.markdown else ""}
    if options.report is not None:
        outputs[folder / f"{sam.config.name}-{options.dtype}.json"] = text
    for path, content in outputs.items():
        if path is not None:
            write_text(path, content)
    if options.report is not None:
        _write_page(folder)
    return 0 if all(line.passed for line in lines) else 1


def _write_page(folder: Path) -> int:
    """README.md, from every report in the folder."""
    from minisam.verify import page as parity

    page = parity.page(parity.read_folder(folder))
    write_text(folder / "README.md", page)
    return 0


def _command(options: argparse.Namespace) -> str:
    """What was run, without the names of folders and files."""
    words = ["minisam verify"]
    words += [f"--model {options.model or 'tiny'}"] if options.model or not options.checkpoint else []
    words += [f"--device {options.device} --dtype {options.dtype}"]
    words += [f"--depth {options.depth}"] if options.depth is not None else []
    return " ".join(words if options.checkpoint is None else [*words, "--checkpoint FILE"])
