"""Annotate a folder: every picture's masks into a store, by this process, by many, or by a cluster; resumable.

Stage 3 of the engine, where nobody is asked, and ``minisam engine annotate``.
"""

from __future__ import annotations

import inspect
import json
import os
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minisam.engine.store import FAILED, Picture, Store, find_pictures, sha256
from minisam.engine.worker import MACHINE, Outcome, Recipe, annotate_here, minisam_version
from minisam_kernels import InputError


@dataclass
class Result:
    """What a run came to: of ``total`` pictures ``done`` now and ``before``, with ``masks`` in ``seconds``.

    ``failed`` are pictures without masks, with reasons, those known from an earlier run included. ``stopped`` says why
    the run could not go on, "" if it went to its end.
    """

    total: int
    before: int = 0
    done: int = 0
    masks: int = 0
    seconds: float = 0.0
    working: float = 0.0  # seconds of the workers, summed
    failed: dict[str, str] = field(default_factory=dict)
    stopped: str = ""

    @property
    def whole(self) -> bool:
        """Whether every picture has its masks."""
        return self.before + self.done == self.total


def all_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Every argument of ``SamAutomaticMaskGenerator`` that decides masks, with its default where it is not given.

    Raises
    ------
    InputError
        If one is out of its range.
    """
    from minisam.automatic.crops import checked
    from minisam.automatic.generator import SamAutomaticMaskGenerator

    parameters = inspect.signature(SamAutomaticMaskGenerator.__init__).parameters.values()
    values = {p.name: p.default for p in parameters if p.default is not p.empty} | settings
    checked(**values)
    return {name: value for name, value in values.items() if name not in ("points_per_batch", "output_mode")}


def make_recipe(
    folder: str | Path,
    out: str | Path,
    checkpoint: str | Path,
    model: str | None = None,
    settings: dict[str, Any] | None = None,
    own_thresholds: bool = False,
    stretch: str | None = None,
    one_thread: bool = True,
) -> Recipe:
    """All that a worker must know.

    Parameters
    ----------
    folder, out : str or Path
        Of the pictures, and of the store.
    checkpoint : str or Path
        A file of weights. It is loaded here once, so that weights that do not fit are known before any work.
    model : str, optional
        A configuration's name; without it, the checkpoint says which one it is.
    settings : dict, optional
        Arguments of ``SamAutomaticMaskGenerator``.
    own_thresholds : bool
        Whether the model's own thresholds stand in for those that are not given (``OWN_THRESHOLDS``).
    stretch : {None, "percentile"}
        As in ``read_image``.
    one_thread : bool
        Whether a worker keeps to one thread.

    Raises
    ------
    InputError
        For whatever is wrong with them.
    """
    from minisam.automatic.crops import OWN_THRESHOLDS
    from minisam.checkpoints.loading import load

    inside, outside = (Path(os.path.realpath(path)) for path in (folder, out))
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        raise InputError(f"expected a store outside of the pictures' folder, got {out} for {folder}")
    all_settings(settings or {})  # before the model is loaded
    path = Path(os.path.abspath(checkpoint))
    digest = sha256(path)
    sam = load(path) if model is None else load(model, checkpoint=path)
    own = OWN_THRESHOLDS.get(sam.config.name, {}) if own_thresholds else {}
    values = all_settings(own | (settings or {}))
    return Recipe(
        minisam_version(), os.path.abspath(folder), os.path.abspath(out), str(path), model, digest,
        json.dumps(values), stretch, one_thread,
    )  # fmt: skip


def manifest(recipe: Recipe) -> dict[str, Any]:
    """What a store says of how it was made: no path, no machine."""
    settings = json.loads(recipe.settings)
    names = {"minisam": recipe.version, "weights": recipe.sha256, "stretch": recipe.stretch}
    return names | {"settings": settings}


def annotate_folder(
    recipe: Recipe,
    workers: int = 0,
    scheduler: str | None = None,
    wait: float = 60.0,
    again: bool = False,
    tell: Callable[[Result, Outcome | None], object] | None = None,
    say: Callable[[str], object] = print,
) -> Result:
    """Annotate all pictures of the recipe's folder that have no masks in its store yet.

    Parameters
    ----------
    recipe : Recipe
        ``make_recipe``'s.
    workers : int
        Processes of one thread; 0: this process, with all its threads, and without Dask.
    scheduler : str, optional
        The address of a Dask scheduler, in place of ``workers``.
    wait : float
        Seconds to wait for the scheduler, or for a worker.
    again : bool
        Try pictures that failed in an earlier run, too. Without it only those that have changed since.
    tell : callable, optional
        Is called with the result so far, first before any work, and with each outcome.
    say : callable
        Is called with lines for a person: the dashboard's address.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        Where nothing can be begun: no pictures, another store, no scheduler.
    """
    store, pictures = Store(recipe.store), find_pictures(recipe.folder)
    result = Result(len(pictures))
    with store.filling(manifest(recipe)):
        failures = {} if again else store.failures()
        todo = []
        for picture in pictures:
            if store.has(picture.name):
                store.check_link(recipe.folder, picture)
                result.before += 1
            elif store.failed_before(recipe.folder, picture, failures):
                result.failed[picture.path] = failures[picture.path].reason
            else:
                todo.append(picture)
        if tell is not None:
            tell(result, None)
        start = time.perf_counter()
        try:
            with closing(_outcomes(recipe, todo, workers, scheduler, wait, say)) as outcomes:
                for outcome in outcomes:
                    result.seconds = time.perf_counter() - start
                    _note(result, store, recipe, outcome)
                    if tell is not None:
                        tell(result, outcome)
                    if result.stopped:
                        break
        except InputError as error:
            if not result.done and type(error) is InputError:
                raise
            result.stopped = str(error)
        result.seconds = time.perf_counter() - start
    return result


def _outcomes(
    recipe: Recipe,
    todo: list[Picture],
    workers: int,
    scheduler: str | None,
    wait: float,
    say: Callable[[str], object],
) -> Generator[Outcome, None, None]:
    """What becomes of the pictures, as it happens."""
    if not todo:
        return
    if not workers and scheduler is None:
        yield from annotate_here(recipe, todo)
    else:
        from minisam.engine.cluster import annotate_all

        yield from annotate_all(recipe, todo, workers, scheduler, wait, lambda link: say(f"dashboard: {link}"))


def _note(result: Result, store: Store, recipe: Recipe, outcome: Outcome) -> None:
    """Count an outcome; a failure is written down, unless it was none of the picture's."""
    if not outcome.failure:
        result.done += 1
        result.masks += outcome.masks
        result.working += outcome.seconds
    elif outcome.fault == MACHINE:
        result.stopped = outcome.failure
    else:
        result.failed[outcome.picture.path] = outcome.failure
        try:
            store.fail(recipe.folder, outcome.picture, outcome.failure)
        except InputError as error:
            result.stopped = f"{error} (of {FAILED})"
