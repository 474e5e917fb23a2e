"""Which images a command works on, and which files it makes of each: one image into one file, or many into a folder.

In a folder every image has files of its own, so that a run that was stopped goes on where it was. They lie in
sub-folders as the images do. Where names differ in their endings alone, ``a.jpg`` and ``a.png``, the whole name is
kept: ``a.jpg.json``. With several formats each has a folder. COCO's file, ``instances.json``, is for all images: it is
made of SA-1B's files, in ``sa1b``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from minisam.files.atomic import check_ending, check_output, make_folder
from minisam.files.formats import FORMATS
from minisam.files.images import is_image_name
from minisam.files.records import walk
from minisam_kernels import InputError


class Job(NamedTuple):
    """An image, its name among the others (a path without the ending), and (format, file) for what is made of it."""

    image: Path
    name: str
    outputs: list[tuple[str, Path]]
    overlay: Path | None

    @property
    def done(self) -> bool:
        """Whether all its files are there."""
        return all(os.path.exists(path) for path in self.paths)

    @property
    def paths(self) -> list[Path]:
        return [path for _, path in self.outputs] + ([self.overlay] if self.overlay is not None else [])


class Batch(NamedTuple):
    """The jobs; the folder of their files, None for one image into one file; how many other files lie by the images."""

    jobs: list[Job]
    folder: Path | None
    passed_over: int


def plan(
    sources: Sequence[str], output: str, formats: Sequence[str], overlay: str | None, inputs: Sequence[str]
) -> Batch:
    """Images or folders of images → what is to do. Every path is checked, and folders are made, before any work.

    ``output`` and ``overlay`` are files for one image, folders for several images or formats, or where ``output`` is
    one. ``inputs`` are other files that may not be written over.
    """
    kinds = list(dict.fromkeys(formats))
    many = len(sources) > 1 or len(kinds) > 1 or any(map(os.path.isdir, sources))
    if not many and not os.path.isdir(output) and not output.endswith(("/", os.sep)):
        return Batch([_one(Path(sources[0]), output, kinds[0], overlay, inputs)], None, 0)
    folders = [Path(output)] + ([Path(overlay)] if overlay is not None else [])
    for folder in folders:
        if folder.suffix.lower() in FORMATS.values() and not os.path.isdir(folder):
            raise InputError(f"expected a folder for the files of several images or formats, got {folder}")
    images, passed_over = _images(sources, folders, "png" in kinds)
    split = len(kinds) > 1 or kinds == ["coco"]
    kinds = list(dict.fromkeys("sa1b" if kind == "coco" else kind for kind in kinds))
    jobs = []
    for image, name in zip(images, _names(images, sources)):
        places = [(kind, Path(output, kind if split else "", name + FORMATS[kind])) for kind in kinds]
        jobs.append(Job(image, name, places, Path(overlay, name + ".png") if overlay is not None else None))
    for folder in dict.fromkeys(path.parent for job in jobs for path in job.paths):
        make_folder(folder)
    taken = {os.path.realpath(path) for path in (*map(str, images), *inputs)}
    for path in (path for job in jobs for path in job.paths if os.path.realpath(path) in taken):
        raise InputError(f"expected an output other than the input, got {path} for both")
    if overlay is not None and {job.overlay for job in jobs} & {path for job in jobs for _, path in job.outputs}:
        raise InputError(f"expected different folders for the masks and the overlays, got {output} for both")
    return Batch(jobs, Path(output), passed_over)


def _one(image: Path, output: str, kind: str, overlay: str | None, inputs: Sequence[str]) -> Job:
    path = check_output(output, image, *inputs)
    if kind == "png":
        check_ending(path, ".png", "a label image")
    if overlay is None:
        return Job(image, image.stem, [(kind, path)], None)
    drawn = check_output(overlay, image, *inputs)
    check_ending(drawn, ".png", "an overlay")
    if drawn.resolve() == path.resolve():
        raise InputError(f"expected different files for the masks and the overlay, got {path} for both")
    return Job(image, image.stem, [(kind, path)], drawn)


def _images(sources: Sequence[str], outputs: list[Path], labels: bool) -> tuple[list[Path], int]:
    """Every image named or below a folder named, once each, and how many other files were passed over. Images below an
    output folder of label images (if ``labels``) or of overlays are none of them: they were made here."""
    images: dict[Path, None] = {}
    passed_over = 0
    made = [Path(os.path.realpath(folder)) for folder in outputs[0 if labels else 1 :]]  # folders of images
    for source in map(Path, sources):
        if not os.path.isdir(source):
            images[source] = None
            continue
        top = Path(os.path.realpath(source))
        if top in made:
            raise InputError(f"expected images to be written to another folder than {source}, got that one")
        for path in walk(source):
            real = Path(os.path.realpath(path.parent))
            if any(folder.is_relative_to(top) and real.is_relative_to(folder) for folder in made):
                continue
            if is_image_name(path):
                images[path] = None
            elif path.suffix not in FORMATS.values():
                passed_over += 1
    if not images:
        raise InputError(f"expected images in {', '.join(sources)}, got none ({passed_over} other files)")
    return list(images), passed_over


def _names(images: list[Path], sources: Sequence[str]) -> list[str]:
    """For each image its path from the folder that holds all of them, without the ending unless two would be alike."""
    folders = [os.path.abspath(source if os.path.isdir(source) else os.path.dirname(source)) for source in sources]
    top = os.path.commonpath(folders)
    whole = [Path(os.path.relpath(os.path.abspath(image), top)).as_posix() for image in images]
    names = [name.removesuffix(Path(name).suffix) for name in whole]
    for _ in range(2):  # the second time for a name that is now like another's whole name
        often = Counter(name.lower() for name in names)  # where a.JPG and A.jpg are one file
        names = [full if often[name.lower()] > 1 else name for full, name in zip(whole, names)]
    return names


def reports_of(jobs: Iterable[Job]) -> list[Path]:
    """SA-1B's file of each job that has made it."""
    return [path for job in jobs for kind, path in job.outputs if kind == "sa1b" and os.path.exists(path)]
