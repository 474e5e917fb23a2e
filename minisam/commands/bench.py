"""``minisam bench``: how long the model takes here, alone or beside the same model in other libraries.

Every contender has a process of its own; they take turns, so that a machine that others use too slows all alike.
Medians and the middle half are shown, and written as JSON and as a page with plots if asked.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from minisam.console import (
    add_depth,
    add_model,
    load_or_build_model,
    need,
    planned_config,
    positive,
    progress,
    trained,
)
from minisam.files.atomic import check_output, write_text
from minisam_kernels.runtime.errors import InputError

PARTS = ("encode", "prompts", "everything", "starts")
ROWS = ("prompts-1", "prompts-16", "prompts-64", "prompts-256", "everything-filtered")


def add(parsers: Any) -> None:
    """The command's options."""
    parser = parsers.add_parser(
        "bench",
        help="time the model, alone or beside torch, transformers and ONNX Runtime",
        description="Time the encoder, prompts one by one and in batches, and every object of an image. With --peers "
        "beside minisam's own torch reference, Hugging Face's SamModel and ONNX Runtime, in turns. "
        "Without weights for a model, random ones are used: the arithmetic is the same.",
    )
    add_model(parser)
    parser.add_argument("--device", metavar="DEVICE", help="time only the torch reference, on cpu or cuda, all forms")
    add_depth(parser)
    parser.add_argument("--precision", action="append", default=[], metavar="NAME",
                        help="with --device: only this one (float32, bfloat16, tf32, float16); repeatable")  # fmt: skip
    parser.add_argument("--form", action="append", default=[], metavar="NAME",
                        help="with --device: one of eager, fast, compiled, flex, tiled; repeatable")  # fmt: skip
    parser.add_argument("--peers", action="store_true", help="time the other libraries too (needs the extra bench)")
    parser.add_argument("--scaling", action="store_true", help="how cost grows with prompts, points, pixels, threads")
    parser.add_argument("--profile", action="store_true", help="where the time goes, stage by stage")
    parser.add_argument("--full", action="store_true", help="peers run every point of 'everything', not one batch")
    parser.add_argument("--quick", action="store_true", help="few rounds of small work: does it run? not to be quoted")
    parser.add_argument(
        "--only",
        action="append",
        choices=PARTS + ROWS,
        metavar="PART",
        help=f"leave the rest out: {', '.join(PARTS)}, or one row, such as prompts-16; repeatable",
    )
    parser.add_argument("--repeat", type=positive, metavar="N", help="rounds at most (default 9, with --quick 2)")
    parser.add_argument(
        "--budget", type=positive, default=90, metavar="SECONDS", help="end a workload's rounds early (default 90)"
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="of every contender (default: usable cores)")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--report", metavar="FOLDER", help="write FOLDER/MODEL.json, its plots, and FOLDER/README.md")
    parser.add_argument("--redraw", action="store_true", help="only make --report's page and plots from its JSON files")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check what can be checked, measure, print the tables, write what was asked for."""
    if options.device is not None:
        return _run_on_device(options)
    for name in ("depth", "precision", "form"):
        if getattr(options, name):
            raise InputError(f"expected --{name} only with --device, got no --device")
    if options.redraw and options.report is None:
        raise InputError("expected --report FOLDER with --redraw, got none")
    if options.report is not None:
        need("bench", "matplotlib")
        folder = Path(options.report)
        if not folder.is_dir():
            raise InputError(f"expected an existing folder for --report, got {folder}")
        check_output(folder / "README.md")
        if options.redraw:
            return _write_page(folder)
    if options.json is not None:
        check_output(options.json)
    if options.peers:
        need("bench", "torch", "transformers", "onnx", "onnxscript", "onnxruntime")
    from minisam.benchmark import report

    figures = measure(options)
    print(report.text(figures))
    text = json.dumps(figures, indent=1, ensure_ascii=False) + "\n"
    if options.json is not None:
        write_text(options.json, text)
    if options.report is not None:
        write_text(folder / f"{figures['model']['name']}.json", text)
        return _write_page(folder)
    return 0


def _write_page(folder: Path) -> int:
    """README.md and the plots, from every model's JSON in the folder."""
    from minisam.benchmark import plots, report

    models = report.read_folder(folder)
    images = [plots.draw(figures, folder) for figures in models]
    write_text(folder / "README.md", report.page(models, images))
    return 0


def _plan(options: argparse.Namespace, device: Any) -> Any:
    """What to measure on a device; raises where nothing is left to measure."""
    import dataclasses

    from minisam.benchmark import device_speed

    parts = {"encode": "encoder", "prompts": "decoder", "everything": "everything"}
    asked: list[tuple[str, Any, Any]] = [("only", options.only or (), parts)]
    asked += [("precision", options.precision, device_speed.PRECISIONS), ("form", options.form, device_speed.FORMS)]
    for name, given, known in asked:
        wrong = sorted(set(given) - set(known))
        if wrong:
            raise InputError(f"expected --{name} among {', '.join(known)} with --device, got {wrong[0]}")
    chosen = tuple(parts[name] for name in parts if name in (options.only or parts))
    plan = device_speed.QUICK if options.quick else device_speed.Plan()
    rounds = options.repeat or plan.rounds
    given = tuple(options.form)
    plan = dataclasses.replace(plan, rounds=rounds, parts=chosen, precisions=tuple(options.precision), forms=given)
    dtypes = [device_speed.PRECISIONS[name][0] for name in plan.precisions or device_speed.PRECISIONS]
    had = {form for dtype in dtypes for form in device_speed.forms(plan, device, dtype)}
    if not (had & {"eager", "compiled"} if chosen == ("decoder",) else had):
        raise InputError(f"expected a --form with rows of {', '.join(chosen)} on {device.type}, got {', '.join(given)}")
    return plan


def _run_on_device(options: argparse.Namespace) -> int:
    """The torch reference alone."""
    import dataclasses

    from minisam.benchmark import device_report
    from minisam.verify import page as parity

    for name in ("peers", "scaling", "profile", "full", "threads"):
        if getattr(options, name):
            raise InputError(f"expected --device or --{name}, got both")
    need("reference", "torch")
    from minisam.verify import device as devices

    device = devices.check_device(options.device)
    if options.json is not None:
        check_output(options.json)
    folder = None if options.report is None else Path(options.report)
    if folder is not None:
        if not folder.is_dir():
            raise InputError(f"expected an existing folder for --report, got {folder}")
        if options.redraw or any(folder.glob("*.json")):
            device_report.read_folder(folder)
    elif options.redraw:
        raise InputError("expected --report FOLDER with --redraw, got none")
    if not options.redraw:
        config = planned_config(options)
        if config is not None:
            devices.check_memory(config, device, devices.DTYPES["float32"])
        from minisam.benchmark import device_speed
        from minisam.reports.environment import environment

        plan = _plan(options, device)
        machine, sam = environment(), load_or_build_model(options)
        about = {
            "schema": device_report.SCHEMA,
            "command": _command(options),
            "quick": options.quick,
            "model": dataclasses.asdict(sam.config),
            "weights": "trained" if trained(options) else "random",
            "device": devices.describe(device),
            "environment": machine,
            "versions": parity.versions("numpy", "torch"),
        }

        def keep(rows: dict[str, Any], cut_short: bool = True) -> None:
            text = json.dumps(about | {"cut_short": cut_short} | rows, indent=1, ensure_ascii=False) + "\n"
            for path in (options.json, folder and folder / f"{sam.config.name}.json"):
                if path is not None:
                    write_text(path, text)

        with progress(desc="bench") as bar:
            tell = (lambda words: print(words, file=sys.stderr, flush=True)) if bar.disable else bar.set_description_str
            rows = device_speed.measure(sam, device, plan, tell, keep)
        keep(rows, cut_short=False)
        print(device_report.text(about | {"cut_short": False} | rows))
    if folder is not None:
        page = device_report.page(device_report.read_folder(folder))
        write_text(folder / "README.md", page)
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for, as the report's data."""
    import dataclasses

    from minisam.benchmark import report, workloads
    from minisam.benchmark.contenders import PEERS, TITLES
    from minisam.benchmark.measure import Runner, starts
    from minisam.checkpoints.checkpoint import save_checkpoint
    from minisam.reports import environment
    from minisam.reports.environment import PINS

    machine = environment.environment()
    threads = options.threads or machine["usable_cores"]
    rounds = options.repeat or (2 if options.quick else 9)
    only = tuple(options.only or PARTS)
    sam = load_or_build_model(options)
    config = sam.config
    known = trained(options)
    contenders = ("minisam", *(["pinned"] if any(name in os.environ for name in PINS) else []))
    contenders += PEERS if options.peers else ()
    figures: dict[str, Any] = {
        "schema": report.SCHEMA,
        "command": _command(options),
        "quick": options.quick,
        "model": dataclasses.asdict(config),
        "weights": "trained" if known else "random",
        "threads": threads,
        "environment": machine,
        "contenders": {name: {"title": TITLES[name]} for name in contenders},
        "workloads": [],
    }
    with tempfile.TemporaryDirectory(prefix="minisam-bench-") as folder, progress(desc="bench") as bar:
        weights = Path(folder) / "weights.safetensors"
        state = dict(sam.state_dict())
        if not known:  # random weights guess IoUs around 0; those of a trained model, and thresholds, are from 0 to 1
            last = f"mask_decoder.iou_prediction_head.layers.{config.iou_head_depth - 1}.bias"
            state[last] = state[last] + state[last].dtype.type(0.5)
        save_checkpoint(weights, state, config)
        del sam, state
        files = {"weights": str(weights), "folder": folder}
        runner = Runner(config, files, threads, rounds, options.budget, bar.set_description_str)
        if options.peers:
            bar.set_description_str("export")
            _export(weights, folder)
        size = 256 if options.quick else workloads.MATRIX
        figures["blas_peak"] = {str(n): runner.blas_peak(contenders, n, size) for n in sorted({1, threads})}
        chosen = {"pred_iou_thresh": 0.88, "stability_score_thresh": 0.95}
        if options.scaling or any(part.startswith("everything") for part in only):
            quantile = runner.setup(96 if options.quick else 1024)
            if not known:
                chosen = quantile | {"stability_score_thresh": 0.0}
        for work in workloads.table(options.quick, options.full, chosen):
            if work.name in only or work.name.split("-")[0] in only:
                row = work.as_dict() | {"gflop": work.gflop(config)}
                row["results"] = runner.workload(work, contenders, blas=work.kind == "encode")
                figures["workloads"].append(row)
        figures["starts"] = {}
        if "starts" in only:
            bar.set_description_str("starting times")
            cache = None if options.quick else str(Path(folder) / "cache")
            figures["starts"] = starts(str(weights), threads, 1 if options.quick else 3, cache)
        if options.scaling:
            peers = PEERS[:1] if options.peers else ()
            figures["scaling"] = [runner.series(s) for s in workloads.scaling(options.quick, threads, peers)]
        if options.profile:
            several = workloads.prompts(4 if options.quick else 64)
            works = [workloads.encode(), workloads.prompts(1), several]
            figures["profile"] = runner.profile(works, 2 if options.quick else 5)
    return figures


def _export(weights: Path, folder: str) -> None:
    """The ONNX files, made by a process of its own: this one keeps torch out."""
    command = [sys.executable, "-m", "minisam", "export", "--checkpoint", str(weights), "-o", folder, "--no-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"expected an ONNX export to compare with, got: {done.stderr.strip()[-300:]}")


def _command(options: argparse.Namespace) -> str:
    """What was run, without the names of folders and files."""
    words = ["minisam", "bench"]
    words += [f"--model {options.model or 'tiny'}"] if options.model or not options.checkpoint else []
    words += [f"--{name}" for name in ("peers", "scaling", "profile", "full", "quick") if getattr(options, name)]
    words += [f"--only {part}" for part in options.only or ()]
    words += [f"--precision {name}" for name in options.precision] + [f"--form {name}" for name in options.form]
    given = ("device", "depth", "repeat", "threads")
    words += [f"--{name} {value}" for name in given if (value := getattr(options, name)) is not None]
    return " ".join(words if options.checkpoint is None else [*words, "--checkpoint FILE"])
