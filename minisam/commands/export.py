"""``minisam export``: the model as ONNX files, checked against torch before the command says that it is done."""

from __future__ import annotations

import argparse
from typing import Any

from minisam.console import add_model, load_or_build_model, need, progress


def add(parsers: Any) -> None:
    """The command's options."""
    parser = parsers.add_parser(
        "export",
        help="write the model as ONNX: encoder.onnx and decoder.onnx",
        description="Write FOLDER/encoder.onnx (pixels to embedding) and FOLDER/decoder.onnx (embedding and prompts to "
        "masks, any number of prompts and points, with or without a mask prompt), then compare both with torch.",
    )
    add_model(parser)
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where to; made if need be")
    parser.add_argument("--no-check", action="store_true", help="do not run the files in ONNX Runtime afterwards")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Export, compare, say what the files take and give. Exit code 1 when they differ from torch."""
    need("bench", "torch", "onnx", "onnxscript", *(() if options.no_check else ("onnxruntime",)))
    from minisam.export import onnx as export

    export.check_folder(options.output)
    sam = load_or_build_model(options)
    with progress(total=2 if options.no_check else 6, desc="export") as bar:

        def tell(what: str) -> None:
            bar.set_description(what)
            bar.update()

        files = export.export(sam, options.output, tell)
        errors = {} if options.no_check else export.check(sam, options.output, tell)
    for path in files:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, opset {export.OPSET}")
    for name, error in errors.items():
        verdict = "ok" if error <= export.TOLERANCE else "FAILED"
        limit = f"{error:.1e} of the largest value, tolerance {export.TOLERANCE:g}"
        print(f"{name:17} ONNX Runtime − torch: {limit}  {verdict}")
    return 0 if all(error <= export.TOLERANCE for error in errors.values()) else 1
