"""Images with masks, in memory: an annotation is read when it is asked for, and a bad image does not end a batch.

``sets`` finds them and has an example.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from minisam.files.images import read_image
from minisam.files.records import read_counts
from minisam_kernels import InputError
from minisam_kernels.masks import rle

EMPTY = "annotations without a pixel"  # a key of ``left_out``
Entry = tuple[Path, Callable[[], "LabelledImage"]]


@dataclass(frozen=True, eq=False)
class Annotation:
    """One mask, read when it is asked for.

    Attributes
    ----------
    segmentation : dict, list or ndarray
        COCO's run lengths, polygons [[x0, y0, x1, y1, …], …], or run lengths as ``rle.encode`` gives them.
    size : tuple of int
        (H, W) of the image.
    id : int
    category : int
        0 where a set has none.
    crowd, ignore : bool
        Nobody has to find it.
    annotator : str
        Who drew it; "" where a set does not say.
    stated_area : float or None
        Pixels, as a file of COCO's says, which COCO's own evaluation uses.
    """

    segmentation: Any
    size: tuple[int, int]
    id: int = 0
    category: int = 0
    crowd: bool = False
    ignore: bool = False
    annotator: str = ""
    stated_area: float | None = None

    @cached_property
    def counts(self) -> np.ndarray:
        """The mask's run lengths; ``InputError`` if they or the polygons are bad."""
        if isinstance(self.segmentation, np.ndarray):
            return self.segmentation
        if isinstance(self.segmentation, dict):
            return read_counts(self.segmentation, self.size)
        return polygon_counts(self.segmentation, self.size)

    def mask(self) -> np.ndarray:
        """bool (H, W)."""
        return rle.decode(self.counts, self.size)

    @property
    def area(self) -> float:
        """The stated area if there is one, else the mask's pixels."""
        return float(rle.area(self.counts)) if self.stated_area is None else self.stated_area


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image, and what is drawn in it.

    Attributes
    ----------
    path : Path
    size : tuple of int
        (H, W) of the masks, and of the image (``read``).
    annotations : list of Annotation
    id : int
        COCO's; elsewhere the image's number.
    judged, incomplete : frozenset of int or None
        LVIS: the categories that were looked for, and those of which not every object is drawn.
    """

    path: Path
    size: tuple[int, int]
    annotations: list[Annotation]
    id: int = 0
    judged: frozenset[int] | None = None
    incomplete: frozenset[int] = frozenset()

    def read(self) -> np.ndarray:
        """The pixels, uint8 (H, W, 3); ``InputError`` if they cannot be read or have another size than the masks."""
        image = read_image(self.path)
        if image.shape[:2] != self.size:
            raise InputError(f"expected an image of {self.size} like its masks, got {self.path} of {image.shape[:2]}")
        return image

    def objects(self) -> list[Annotation]:
        """What is to be found: neither crowds nor ignore regions, with at least one pixel."""
        return [a for a in self.annotations if not (a.crowd or a.ignore) and rle.area(a.counts)]

    def regions(self) -> list[Annotation]:
        """Crowds and ignore regions with at least one pixel."""
        return [a for a in self.annotations if (a.crowd or a.ignore) and rle.area(a.counts)]

    def by_annotator(self) -> dict[str, list[Annotation]]:
        """The annotations of each person."""
        people: dict[str, list[Annotation]] = defaultdict(list)
        for annotation in self.annotations:
            people[annotation.annotator].append(annotation)
        return dict(people)

    def per_annotator(self) -> list[LabelledImage]:
        """The image once for each person, with what that person drew; itself if nobody drew anything."""
        return [replace(self, annotations=some) for some in self.by_annotator().values()] or [self]


@dataclass(eq=False)
class LabelledSet:
    """Images that are read one by one, and a list of what was left out.

    Attributes
    ----------
    name : str
    entries : list of (Path, callable)
        An image's path, and what reads its ``LabelledImage``.
    categories, groups : dict from int to str
        A category's name, and its frequency in LVIS: "r", "c" or "f".
    left_out : dict from str to str
        An image (or "annotations of …") and the reason.
    """

    name: str
    entries: list[Entry]
    categories: dict[int, str] = field(default_factory=dict)
    groups: dict[int, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[LabelledImage]:
        for path, read in self.entries:
            image = None
            with self.skipping(path):
                image = read()
            if image is not None:
                yield image

    @contextmanager
    def skipping(self, image: LabelledImage | Path) -> Iterator[None]:
        """Note an ``InputError`` as the reason to leave an image out, and go on; note masks without a pixel too."""
        try:
            yield
            if isinstance(image, LabelledImage) and (empty := sum(not rle.area(a.counts) for a in image.annotations)):
                self.left_out[EMPTY] = str(empty + int(self.left_out.get(EMPTY, "0")))
        except InputError as error:
            self.left_out[str(image if isinstance(image, Path) else image.path)[:200]] = str(error)

    def describe(self) -> str:
        """Say what was left out, a line for each; "" if nothing was."""
        return "\n".join(f"left out {what}: {why}" for what, why in self.left_out.items())

    def nothing(self, what: str, images: int, regions: int) -> InputError:
        """The error for a set without ``what`` in ``images`` that were read, with so many crowds and ignore regions."""
        seen = f"{images} image{'s' * (images != 1)}"
        seen += f" with {regions} crowds or ignore regions" if regions else ""
        why = f" ({self.describe()[:300]})" if self.left_out else ""
        return InputError(f"expected {what} in {self.name}, got none in {seen}{why}")


def polygon_counts(polygons: Any, size: tuple[int, int]) -> np.ndarray:
    """Run lengths of what polygons cover together, pixel by pixel as pycocotools draws them.

    pycocotools takes four numbers for a box x, y, width, height, and reads outside of its memory for some other lists.
    Here each polygon has at least three corners, all within one image's size around the image (drawing a side costs
    time and memory in proportion to its length).
    """
    from minisam.console import need

    need("transfer", "pycocotools")
    from pycocotools import mask

    height, width = size
    for polygon in polygons:
        try:
            corners = np.array(polygon, np.float64).reshape(-1, 2)
        except (TypeError, ValueError, OverflowError):
            corners = np.zeros((0, 2))
        near = (corners >= (-width, -height)) & (corners <= (2 * width, 2 * height))  # NaN is not
        if np.ndim(polygon) != 1 or len(corners) < 3 or not near.all():
            raise InputError(f"expected a polygon [x0, y0, x1, …] of three corners near the image, got {polygon!r:.60}")
    drawn = mask.merge(mask.frPyObjects([list(map(float, polygon)) for polygon in polygons], height, width))
    return rle.from_string(drawn["counts"], size)
