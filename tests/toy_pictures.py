"""A stand-in for ``minisam.engine.worker.annotate`` without a model, so that workers start and die quickly.

Its name says what a picture does to its worker: ``poison…`` kills it, ``slow…`` takes a while. Every attempt is noted,
in a file of its own beside the store, so that tests can count them.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path

import numpy as np

from minisam.engine.store import Picture, Store
from minisam.engine.worker import MACHINE, PICTURE, Outcome, Recipe
from minisam.files.images import read_image, save_png
from minisam_kernels import InputError
from minisam_kernels.masks import rle


def folder_of(path: Path, names: list[str]) -> Path:
    """A folder of pictures that all differ."""
    for number, name in enumerate(names):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        save_png(path / f"{name}.png", np.full((24, 32, 3), 1 + number % 255, np.uint8))
    return path


def recipe_of(folder: Path, out: Path, settings: str = "{}", checkpoint: str = "none") -> Recipe:
    """What the stand-in must know."""
    return Recipe("0", str(folder), str(out), checkpoint, None, "0", settings, None, True)


def attempts(out: Path) -> dict[str, list[int]]:
    """Name of a picture → the processes that began it, in no order."""
    found: dict[str, list[int]] = {}
    for path in (out.parent / "attempts").glob("*"):
        name, process, _ = path.name.rsplit("-", 2)
        found.setdefault(name.replace("+", "/"), []).append(int(process))
    return found


def annotate(recipe: Recipe, picture: Picture) -> Outcome:
    """One mask, as large as the picture's grey value says; in between, whatever the name asks for."""
    notes = Path(recipe.store).parent / "attempts"
    notes.mkdir(exist_ok=True)
    (notes / f"{picture.name.replace('/', '+')}-{os.getpid()}-{uuid.uuid4().hex}").touch()
    store = Store(recipe.store)
    if store.has(picture.name):
        return Outcome(picture, store.count(picture.name))
    kind = Path(picture.name).name
    time.sleep(0.6 if kind.startswith("slow") else 0.05)
    if kind.startswith("poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        image = read_image(Path(recipe.folder, picture.path))
    except InputError as error:
        return Outcome(picture, failure=str(error), fault=PICTURE)
    grey = int(image[0, 0, 0])
    mask = np.arange(image.shape[0] * image.shape[1]).reshape(image.shape[:2]) < grey
    counts = rle.to_string(rle.encode(mask[None])[0]).decode()
    record = {"segmentation": {"size": list(mask.shape), "counts": counts}, "area": grey, "bbox": [0, 0, 1, 1]}
    record |= {"predicted_iou": 0.5, "stability_score": 0.5, "point_coords": [[0, 0]], "crop_box": [0, 0, 31, 23]}
    try:
        store.keep(picture, recipe.folder, mask.shape, [record] * (40 if "large" in recipe.settings else 1))
    except (InputError, OSError) as error:
        return Outcome(picture, failure=str(error), fault=MACHINE)
    return Outcome(picture, 1, 0.05)
