"""What is done to one picture: read it, find its masks, write its file in the store; counts are all that comes back.

It runs in any process that can import minisam and sees the same folders, and knows nothing of how it came there
(``minisam.engine.cluster``). A process loads the model once, from a path whose SHA-256 is checked first, and works with
one thread where it is one of many: two processes of one thread annotate more pictures than one of two.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from minisam.console import explain
from minisam.engine.store import MANIFEST, Picture, Store, sha256
from minisam.files.images import read_image
from minisam_kernels import InputError

if TYPE_CHECKING:
    from minisam.automatic.generator import SamAutomaticMaskGenerator

THREADS = ("MINISAM", "NUMBA_NUM", "OMP_NUM", "OPENBLAS_NUM", "MKL_NUM")
ONE_THREAD = {f"{name}_THREADS": "1" for name in THREADS}  # our own pool, Numba's, BLAS's
PICTURE, MACHINE = "picture", "machine"  # whose fault a failure is: the others go on, or none can


class Recipe(NamedTuple):
    """All that decides the masks of a picture, and where things lie. Paths are absolute; it is small, and hashable."""

    version: str  # of minisam
    folder: str  # of the pictures
    store: str
    checkpoint: str
    model: str | None  # a configuration's name, or None: the checkpoint says it
    sha256: str  # of the checkpoint
    settings: str  # arguments of SamAutomaticMaskGenerator as JSON
    stretch: str | None
    one_thread: bool


class Outcome(NamedTuple):
    """What became of a picture: how many masks, in how many seconds; or why it has none, and whose fault that is."""

    picture: Picture
    masks: int = 0
    seconds: float = 0.0
    failure: str = ""
    fault: str = ""


_lock = threading.Lock()
_prepared: dict[Recipe, SamAutomaticMaskGenerator] = {}


def minisam_version() -> str:
    """The installed minisam's version, or "unknown" in a bare checkout."""
    try:
        return version("minisam")
    except PackageNotFoundError:
        return "unknown"


def keep_to_one_thread() -> None:
    """Let this process compute with one thread, as far as it has not begun with more."""
    os.environ.update(ONE_THREAD)
    if "numba" in sys.modules:
        import numba

        numba.set_num_threads(1)


def generator_of(recipe: Recipe) -> SamAutomaticMaskGenerator:
    """The generator that a recipe describes; it is made once in a process.

    Raises
    ------
    InputError
        If this process cannot follow the recipe: another minisam, other weights, folders that are not there.
    """
    with _lock:
        if recipe not in _prepared:
            _prepared.clear()
            _prepared[recipe] = _prepare(recipe)
        return _prepared[recipe]


def _prepare(recipe: Recipe) -> SamAutomaticMaskGenerator:
    if recipe.one_thread:
        keep_to_one_thread()
    from minisam.automatic.generator import SamAutomaticMaskGenerator
    from minisam.checkpoints.loading import load

    if minisam_version() != recipe.version:
        raise InputError(f"expected minisam {recipe.version} on the worker, got {minisam_version()}")
    for folder in (Path(recipe.folder), Path(recipe.store, MANIFEST)):
        if not folder.exists():
            raise InputError(f"expected the worker to see {folder}, got no such file or folder there")
    digest = sha256(recipe.checkpoint)
    if digest != recipe.sha256:
        raise InputError(f"expected weights of SHA-256 {recipe.sha256}, got {digest} in {recipe.checkpoint}")
    path = Path(recipe.checkpoint)
    model = load(path) if recipe.model is None else load(recipe.model, checkpoint=path)
    return SamAutomaticMaskGenerator(model, **json.loads(recipe.settings), output_mode="coco_rle")


def annotate(recipe: Recipe, picture: Picture) -> Outcome:
    """Find a picture's masks and write them into the store. No exception leaves it; a picture that is done is left.

    Parameters
    ----------
    recipe : Recipe
    picture : Picture
        Of the recipe's folder.

    Returns
    -------
    Outcome
        Its ``fault`` is "picture" if this one cannot be read or makes the model fail, "machine" if no other picture
        would do better here: no model, no room on the disk.
    """
    start = time.perf_counter()
    store, path = Store(recipe.store), os.path.join(recipe.folder, picture.path)
    try:
        generator = generator_of(recipe)
    except Exception as error:
        return Outcome(picture, failure=explain(error)[1], fault=MACHINE)
    if store.has(picture.name):  # written by a worker that died before it could say so
        with suppress(InputError):  # of a file that is none of ours: it is written anew
            return Outcome(picture, store.count(picture.name))
    try:
        image = read_image(path, recipe.stretch)
        records = generator.generate(image)
    except Exception as error:
        return Outcome(picture, failure=explain(error)[1].replace(path, picture.path), fault=PICTURE)
    try:
        store.keep(picture, recipe.folder, (image.shape[0], image.shape[1]), records)
    except (InputError, OSError, MemoryError) as error:
        return Outcome(picture, failure=explain(error)[1], fault=MACHINE)
    return Outcome(picture, len(records), time.perf_counter() - start)


def annotate_here(recipe: Recipe, pictures: Iterable[Picture]) -> Iterator[Outcome]:
    """Annotate one picture after the other in this process."""
    for picture in pictures:
        yield annotate(recipe, picture)
