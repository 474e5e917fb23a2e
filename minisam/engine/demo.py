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

DEMO = Recipe()  # planned for ten minutes on two cores; not yet measured in full


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


def run_demo(options: argparse.Namespace) -> int:
    """``minisam engine demo``."""
    start = f"sam-base-{options.seed % 3}"  # there are three, trained from three seeds
    return follow(dataclasses.replace(DEMO, seed=options.seed, start=start), options.folder)


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
