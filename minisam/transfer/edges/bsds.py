"""Images with the edges that people drew: BSDS500's own files, SA-1B's schema with annotators, scenes of the world.

BSDS500 comes as ``images/test/NAME.jpg`` and ``groundTruth/test/NAME.mat``, MATLAB files (version 5) whose
``groundTruth`` is a list with one entry per annotator: ``Segmentation``, a whole number per pixel, and ``Boundaries``.

In SA-1B's schema an annotation has a key ``annotator``, a whole number, and one annotator's annotations are regions.
Their boundaries are made as BSDS made its own: a pixel is on a boundary if it, the one to its right, the one below and
the one below right do not all have the same label; then lines are thinned to one pixel.

A scene of the world has one annotator, who draws every boundary of every object and part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minisam.files.images import read_image
from minisam.files.records import decode_masks, read_record
from minisam.transfer.edges.thinning import thin
from minisam.transfer.points import held_out_pictures
from minisam_kernels import InputError
from minisam_kernels.runtime.errors import reason

SPLITS = ("test", "val", "train")  # the first that is there is read


class Picture(NamedTuple):
    """An image, uint8 (H, W, 3), and what each annotator drew, bool (H, W) each."""

    name: str
    image: np.ndarray
    drawn: list[np.ndarray]


def boundaries(labels: np.ndarray) -> np.ndarray:
    """Find the boundaries between the labels of pixels (H, W), one pixel wide: bool (H, W)."""
    padded = np.pad(labels, ((0, 1), (0, 1)), mode="edge")
    own = padded[:-1, :-1]
    return thin((own != padded[:-1, 1:]) | (own != padded[1:, :-1]) | (own != padded[1:, 1:]))


def labels_of(masks: np.ndarray) -> np.ndarray:
    """Label each pixel by the set of masks that it is in: bool (M, H, W) → uint64 (H, W).

    A set's label is the exclusive or of its masks' random numbers: 64 bits, so no two sets share one by chance.
    """
    keys = np.random.default_rng(0).integers(1, 2**64, len(masks), np.uint64)
    labels = np.zeros(masks.shape[1:], np.uint64)
    for mask, key in zip(masks, keys):
        labels[mask] ^= key
    return labels


def read_ground_truth(path: Path, size: tuple[int, int]) -> list[np.ndarray]:
    """Read the boundaries that a file of BSDS500 holds, bool (H, W) per annotator.

    Raises ``InputError`` if it is no such file, or if they are not of the image's ``size`` (H, W).
    """
    from scipy.io import loadmat

    try:
        entries = loadmat(path, variable_names=["groundTruth"])["groundTruth"].ravel()
        drawn = [np.asarray(entry["Boundaries"][0, 0]) for entry in entries]
    except Exception as error:  # a damaged file fails in many ways
        wanted = "expected a file of BSDS500's (MATLAB 5, groundTruth with Boundaries)"
        raise InputError(f"{wanted}, got {path} ({reason(error)})") from error
    if not drawn:
        raise InputError(f"expected at least one annotator's boundaries, got none in {path}")
    for one in drawn:
        if one.dtype.kind not in "biuf" or one.shape != size:
            raise InputError(f"expected boundaries of shape {size} like the image's, got {one.shape} in {path}")
    return [one > 0 for one in drawn]


def read_annotators(path: Path, size: tuple[int, int]) -> list[np.ndarray]:
    """Read the boundaries of the regions in a JSON file, bool (H, W) per annotator, in the order of their numbers."""
    annotations = read_record(path).annotations
    if not annotations:
        raise InputError(f"expected at least one region, got none in {path}")
    annotators: set[int] = set()
    for number, annotation in enumerate(annotations):
        annotator = annotation.get("annotator")
        if type(annotator) is not int:
            what = "none" if annotator is None else f"{annotator!r:.40}"
            raise InputError(f"expected a whole number as annotator, got {what} (annotation {number} of {path})")
        annotators.add(annotator)
    drawn = []
    for annotator in sorted(annotators):
        own = [annotation for annotation in annotations if annotation["annotator"] == annotator]
        drawn.append(boundaries(labels_of(decode_masks(own, size, path))))
    return drawn


def _read(name: str, image_path: Path, truth: Path) -> Picture:
    image = read_image(image_path)
    read = read_ground_truth if truth.suffix == ".mat" else read_annotators
    return Picture(name, image, read(truth, image.shape[:2]))


def _scene(number: int, size: int) -> Picture:
    from minisam.world import HELD_OUT, render

    scene = render(HELD_OUT + number, size)
    masks = np.array([mask.segmentation for mask in scene.masks]).reshape(-1, size, size)
    return Picture(f"world {HELD_OUT + number}", scene.image, [boundaries(labels_of(masks))])


def find(folder: str | Path, limit: int | None = None, every: int = 1) -> list[Callable[[], Picture]]:
    """Find the pictures of a folder, each as a function that reads it.

    Parameters
    ----------
    folder : str or Path
        BSDS500's, with ``images`` and ``groundTruth``, of which ``test`` is read, else ``val``, else ``train``; or one
        of SA-1B's schema.
    limit : int, optional
        At most so many.
    every : int
        Only every so many, those that ``minisam train --hold-out`` never shows.

    Raises
    ------
    InputError
        If there is none.
    """
    folder = Path(folder)
    pairs: list[tuple[Path, Path]] = []
    if (folder / "groundTruth").is_dir():
        split = next((split for split in SPLITS if (folder / "groundTruth" / split).is_dir()), "test")
        for truth in sorted((folder / "groundTruth" / split).glob("*.mat")):
            pairs.append((folder / "images" / split / f"{truth.stem}.jpg", truth))
        if not pairs:
            raise InputError(f"expected .mat files in {folder / 'groundTruth' / split}, got none")
        pairs = pairs[::every]
    else:
        for path, record in held_out_pictures(folder, every):
            if not isinstance(record, Path):
                raise InputError(f"expected annotators' regions in SA-1B's schema, got masks in {folder}")
            pairs.append((path, record))
    return [partial(_read, image.stem, image, truth) for image, truth in pairs[:limit]]


def world(count: int, size: int) -> Iterator[Callable[[], Picture]]:
    """Yield the first ``count`` held-out scenes of the world, each as a function that draws it."""
    return (partial(_scene, number, size) for number in range(count))
