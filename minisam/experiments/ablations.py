"""What is each part of the training worth? Small trainings that differ in one thing, measured on held-out images.

    python -m minisam.experiments.ablations benchmarks/training/ablations.json --data FILE …

Each line of the table changes one setting of the same small training (64 pixels, four blocks, width 128), for every
seed, and measures the running average on scenes of the world that no training sees; with ``--data``, also on the
``hold_out`` part of those images. The file is written after each training and the same command goes on where it
was stopped. One training takes some minutes of one core; ``--processes N`` runs as many at a time, ``--only NAME``
makes one group. The same name with .md is a page of it, which the book shows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minisam.console import exit_code
from minisam.files.atomic import write_text
from minisam.reports.environment import commit, environment
from minisam.training.data import Pictures
from minisam.training.loop import Trainer
from minisam.training.settings import PretrainSettings, Settings
from minisam_kernels import InputError

SEEDS, STEPS, SCENES, HOLD_OUT = (0, 1, 2), 1000, 60, 20
FIGURES = ("point_confident", "point_best", "point_single", "box_best", "box_single", "clicks_3", "difference")
ALONE = ("point_single", "box_single", "clicks_3")  # what one mask alone has learnt


@dataclasses.dataclass(frozen=True)
class Variant:
    """One line: a ``group``'s name, its own, the settings it changes, and what the paper says of the matter.

    ``distinct``: only so many different images; ``pretrain``: so many of the steps go into masked autoencoding
    first (what that costs stands in the file, as processor seconds); ``data``: needs real images.
    """

    group: str
    name: str
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    paper: str = ""
    distinct: int = 0
    pretrain: int = 0
    data: bool = False


BASE = Variant("base", "as the others begin")
VARIANTS = (
    BASE,
    Variant("first round", "mean of three", {"multimask": "mean"}, "section 3: a mean blurs what is ambiguous"),
    Variant("first round", "one mask alone", {"multimask": "single"}, "LVIS proposals, AR@1000: 54.9, with three 59.3"),
    Variant("rounds", "1", {"rounds": 1}, "appendix A trains 11"),
    Variant("rounds", "3", {"rounds": 3}),
    Variant("rounds", "11", {"rounds": 11}),
    Variant("feedback", "no mask fed back", {"mask_feedback": False}, "appendix A feeds the logits back"),
    Variant("loss", "focal alone", {"dice": 0.0}, "appendix A: 20 focal + 1 dice"),
    Variant("loss", "dice alone", {"focal": 0.0}),
    Variant("start", "autoencoder first", {}, "appendix A: the encoder begins from MAE", pretrain=STEPS // 4),
    Variant("images", "a hundredth", {}, "section 7.6: 0.1M far below 1M, 1M near 11M", distinct=STEPS * 16 // 100),
    Variant("images", "a tenth", {}, distinct=STEPS * 16 // 10),
    Variant("encoder", "2 blocks of 64", {"depth": 2, "width": 64}, "section 7.6: H far above B, near L"),
    Variant("encoder", "8 blocks of 192", {"depth": 8, "width": 192}),
    Variant("optimiser", "AdamW", {"optimizer": "adamw", "lr": 1e-3}, "appendix A: AdamW"),
    Variant("source", "world and public sets", {"world": 0.5}, data=True),
    Variant("source", "public sets alone", {"world": 0.0}, "section 4: so began the data engine", data=True),
)  # fmt: skip


def settings(variant: Variant, seed: int, steps: int, data: Sequence[str] = ()) -> Settings:
    """Return what all trainings share, with a variant's changes."""
    base = Settings(
        depth=4, width=128, size=64, steps=steps - variant.pretrain * steps // STEPS, batch=16, masks=2, rounds=2,
        optimizer="muon", lr=2e-3, warmup=min(50, steps // 2), average=0.98, seed=seed, hold_out=HOLD_OUT,
        data=tuple(data) if variant.data else (),
    )  # fmt: skip
    return dataclasses.replace(base, **variant.changes)


class Few(torch.utils.data.Dataset[dict[str, np.ndarray]]):
    """Repeats the first ``count`` images of a stream."""

    def __init__(self, stream: Pictures, count: int) -> None:
        self.made = [stream[i] for i in range(min(count, len(stream)))]

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.made[index % len(self.made)]


def pretrained(s: Settings, steps: int, folder: Path) -> str:
    """Train an encoder as an autoencoder for so many steps on the same images; return the file of its weights."""
    shared = {f.name: getattr(s, f.name) for f in dataclasses.fields(PretrainSettings) if hasattr(s, f.name)}
    trainer = Trainer(PretrainSettings(**shared | {"steps": steps, "warmup": min(50, steps // 2)}), folder)
    if trainer.run(workers=0, save_every=math.inf):
        raise KeyboardInterrupt
    return str(folder / "weights.safetensors")


def train(variant: Variant, seed: int, steps: int, scenes: int, data: Sequence[str], folders: Sequence[str]) -> Any:
    """Train and measure: return settings, processor seconds and mean IoU over objects."""
    from minisam.checkpoints.loading import load
    from minisam.predictor import SamPredictor
    from minisam.transfer.points import evaluate

    s, began = settings(variant, seed, steps, data), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        if variant.pretrain:
            init = pretrained(s, variant.pretrain * steps // STEPS, Path(folder) / "first")
            s = dataclasses.replace(s, init=init)
        trainer = Trainer(s, Path(folder) / "run")
        if variant.distinct:
            few = Few(trainer.task.pictures(), max(1, variant.distinct * steps // STEPS))
            trainer.task.pictures = lambda: few
        if trainer.run(workers=0, save_every=math.inf):  # stopped by a signal: what is half trained is no result
            raise KeyboardInterrupt
        took = time.process_time() - began
        predictor = SamPredictor(load(Path(folder) / "run" / "weights.safetensors"))
    reports = {"world": evaluate(predictor, None, baselines=False, clicks=3, world=scenes)}
    for folder in folders:
        reports[Path(folder).name] = evaluate(predictor, folder, None, False, 3, every=HOLD_OUT, others=folders)
    figures = {}
    for name, report in reports.items():
        values = report["per_object"] | {"difference": report["calibration"]["point_three"]["mean_absolute"]}
        figures[name] = {key: round(values[key], 4) for key in (ALONE if s.multimask == "single" else FIGURES)}
        figures[name]["objects"] = report["objects"]
    return {"group": variant.group, "name": variant.name, "seed": seed, "steps": steps, "commit": commit(),
            "processor_seconds": round(took), "settings": {**s.plain(), "init": "MAE" if variant.pretrain else ""},
            "found": figures}  # fmt: skip


def table(report: dict[str, Any], source: str = "world") -> str:
    """Write as Markdown each variant's means over seeds, ± half of what lies between the best and the worst seed."""
    head = ["", "one click, most confident", "best of three", "single-mask token", "box, best of three",
            "box, single-mask token", "3 clicks", "score off by", "seeds", "processor minutes",
            "in the paper"]  # fmt: skip
    lines = [head, ["---"] * len(head)]
    for variant in VARIANTS:
        runs = [run for run in report["runs"] if (run["group"], run["name"]) == (variant.group, variant.name)]
        runs = [run for run in runs if source in run["found"]]
        if not runs:
            continue
        cells = [variant.name if variant is BASE else f"{variant.group}: {variant.name}"]
        for figure in FIGURES:
            values = [run["found"][source][figure] for run in runs if figure in run["found"][source]]
            if not values:
                cells.append("–")
                continue
            spread = f" ± {(max(values) - min(values)) / 2:.3f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}")
        minutes = np.mean([run["processor_seconds"] for run in runs]) / 60
        lines.append([*cells, str(len(runs)), f"{minutes:.1f}", variant.paper])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(report: dict[str, Any]) -> str:
    """Write as Markdown how it was measured, and a table for each source of images."""
    s, machine = settings(BASE, 0, report["steps"]), report["environment"]
    commits = dict.fromkeys(run["commit"] for run in report["runs"])
    sources = list(dict.fromkeys(source for run in report["runs"] for source in run["found"]))
    text = f"""# What each part of the training is worth

Each line is a small training from nothing: {s.steps} steps of {s.batch} images of {s.size} pixels, {s.masks} masks
an image, {s.rounds} rounds, an encoder of {s.depth} blocks of {s.width}, on the world unless the line says otherwise,
with the paper's losses and {s.optimizer}. It differs from the first line in what it says. Mean IoU over objects, ± half
of what lies between the best and the worst seed, if there are several; *score off by* is the mean distance of the
predicted from the true IoU of the three masks at a point. Processor minutes are those of the training alone
({machine["processor"]}). Code: {", ".join(commits)}. The JSON file beside this one has all runs.
"""
    for source in sources:
        objects = next(run["found"][source]["objects"] for run in report["runs"] if source in run["found"])
        title = "Scenes of the world that no training saw" if source == "world" else f"Photographs: {source}, held out"
        text += f"\n## {title}\n\n{objects} objects.\n\n{table(report, source)}\n"
    return text


def read(path: Path, steps: int, scenes: int) -> dict[str, Any]:
    """Read the report in a file, to go on from, or begin an empty one."""
    fresh = {"steps": steps, "scenes": scenes, "environment": environment(), "runs": []}
    if not path.exists():
        return fresh
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        same = (report["steps"], report["scenes"]) == (steps, scenes)
        page(report)  # has all that a page needs
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"expected a report of ablations, got {path}, which is none ({error!r})") from error
    if not same:
        raise InputError(f"expected {steps} steps and {scenes} scenes in {path}, got other ones: give another file")
    return report


def in_processes(missing: list[tuple[Any, ...]], count: int) -> Iterator[dict[str, Any]]:
    """Yield what ``train`` returns for each of these arguments, as it comes: in this process, or in so many."""
    if count <= 1:
        torch.set_num_threads(1)
        yield from (train(*arguments) for arguments in missing)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, torch.set_num_threads, (1,)) as pool:
        try:
            for future in as_completed([pool.submit(train, *arguments) for arguments in missing]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments; train what is missing in the file."""
    parser = argparse.ArgumentParser(prog="python -m minisam.experiments.ablations", description=__doc__.split("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--data", action="append", default=[], help="real images: folders or a packed file")
    parser.add_argument("--measure", action="append", default=[], help="a folder whose held-out part is measured too")
    parser.add_argument("--only", help="one group")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time, a core each")
    options = parser.parse_args(arguments)
    groups = list(dict.fromkeys(variant.group for variant in VARIANTS))
    if options.only is not None and options.only not in groups:
        raise InputError(f"expected --only among {', '.join(groups)}, got {options.only!r}")
    report = read(options.output, options.steps, options.scenes)
    done = {(run["group"], run["name"], run["seed"]) for run in report["runs"]}
    missing = [
        (variant, seed, options.steps, options.scenes, options.data, options.measure)
        for seed in range(options.seeds)  # a whole table of one seed first
        for variant in VARIANTS
        if (variant.group, variant.name, seed) not in done
        and options.only in (None, variant.group)
        and (options.data or not variant.data)
    ]
    order = {(variant.group, variant.name): number for number, variant in enumerate(VARIANTS)}
    for run in in_processes(missing, options.processes):
        report["runs"].append(run)
        report["runs"].sort(key=lambda run: (order[run["group"], run["name"]], run["seed"]))
        write_text(options.output, json.dumps(report).replace('{"group"', '\n{"group"') + "\n")
        write_text(options.output.with_suffix(".md"), page(report))
        print(f"{run['group']}, {run['name']}, seed {run['seed']}: {run['found']}", flush=True)
    print(page(report))


if __name__ == "__main__":
    sys.exit(exit_code(main))
