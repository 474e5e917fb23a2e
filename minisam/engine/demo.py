"""``minisam engine demo`` and ``minisam engine run``: the three stages on the world's scenes, and the closing table."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minisam.engine.recipe import Recipe, World, run
from minisam_kernels import InputError

DEMO = Recipe()  # ten minutes on two cores


def world(recipe: Recipe) -> World:
    """Pictures of the world, a person who sees what is in them, and those who know the truth."""
    from minisam.engine.annotator import Person, Truth
    from minisam.engine.audit import choose_thresholds, operating_curve
    from minisam.engine.clock import Clock
    from minisam.engine.measure import best_of_three, questions, world_images

    scene = world_images(recipe.size)
    truth = Truth(lambda number: scene(number)[1])

    def choose(numbers: Sequence[int], records: Sequence[list[dict[str, Any]]]) -> dict[str, Any]:
        choice = choose_thresholds(operating_curve(records, [truth.masks(number) for number in numbers]))
        return dataclasses.asdict(choice)

    def measure(assistant: Any) -> float:
        return float(np.mean(best_of_three(assistant, questions(recipe.held_out, recipe.objects, recipe.size))))

    person = Person(truth, Clock(), seed=recipe.seed)
    return World(lambda number: scene(number)[0], person, truth.quality, choose, measure)


def read_recipe(path: Path) -> Recipe:
    """A recipe from a JSON file: any of the fields of ``Recipe``, the others at their defaults."""
    from minisam.files.records import read_json

    values = read_json(path, "a recipe as JSON")
    if not isinstance(values, dict):
        raise InputError(f"expected a table of settings in {path}, got {type(values).__name__}")
    known = {field.name: field.default for field in dataclasses.fields(Recipe)}
    for name, value in values.items():
        if name not in known:
            raise InputError(f"expected settings among {', '.join(known)} in {path}, got {name!r:.60}")
        kinds = (int, float) if isinstance(known[name], float) else (type(known[name]),)
        if type(value) not in kinds:
            raise InputError(f"expected {name} in {path} like {known[name]!r}, got {value!r:.60}")
    recipe = Recipe(**values)
    recipe.check()
    return recipe


def add(tasks: Any) -> None:
    """``minisam engine demo`` and ``run``: their options."""
    from minisam.console import count

    demo = tasks.add_parser(
        "demo",
        help="all three stages on scenes of the world, in ten minutes",
        description="A simulated person annotates scenes with a small model's help, the model is trained again, and "
        "so on through all three stages; then a table. The start model has never seen the world. Ctrl-C stops, the "
        "same command goes on.",
    )
    demo.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, default=Path("engine-demo"), help="of the run")
    demo.add_argument("--seed", metavar="N", type=count, default=0, help="of everything random (default 0)")
    demo.set_defaults(run=run_demo)
    hours = tasks.add_parser(
        "run",
        help="all three stages, as a recipe says; can be stopped and continued",
        description="As minisam engine demo, with settings from a JSON file, and for hours if need be. Ctrl-C stops, "
        "the same command goes on.",
    )
    hours.add_argument("config", metavar="CONFIG", type=Path, help="a JSON file with fields of the recipe")
    hours.add_argument("-o", "--output", metavar="FOLDER", type=Path, required=True, help="of the run")
    hours.set_defaults(run=run_config)


def run_demo(options: argparse.Namespace) -> int:
    """``minisam engine demo``."""
    return follow(dataclasses.replace(DEMO, seed=options.seed), options.folder)


def run_config(options: argparse.Namespace) -> int:
    """``minisam engine run``."""
    return follow(read_recipe(options.config), options.output)


def follow(recipe: Recipe, folder: Path, make: Callable[[Recipe], World] = world) -> int:
    """Run a recipe in a folder, and print what came of it."""
    from minisam.console import need
    from minisam.engine.clock import Clock
    from minisam.engine.summary import sensitivity_table, table
    from minisam.transfer.report import markdown

    need("reference", "torch")
    ledger = run(recipe, folder, make(recipe), lambda line: print(line, flush=True))
    print()
    for one in (table(ledger.entries, Clock()), sensitivity_table(ledger.entries, Clock())):
        print(f"{markdown(one)}\n")
    print(f"ledger, pictures, masks and models are in {folder}")
    return 0
