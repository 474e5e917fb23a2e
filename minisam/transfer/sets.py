"""Sets of images with masks, as others store them: COCO's and LVIS' JSON, SA-1B, VOC, DAVIS, folders of masks.

::

    labelled = read_set("annotations/instances_val2017.json", "val2017")      # or a folder, whose layout shows itself
    for image in labelled:
        with labelled.skipping(image):                  # a bad image is noted, and the next one comes
            pixels, objects = image.read(), image.objects()     # objects[0].mask(): bool (H, W)
    print(labelled.describe())                          # what was left out, and why; "" if nothing was

==============  ====================================================================================================
layout          where it is told by
==============  ====================================================================================================
COCO, LVIS      a JSON file; its images in a folder that is named, or beside it, in ``images`` or in ``val2017`` …
VOC             ``JPEGImages``, ``SegmentationObject`` (255: void, an ignore region), ``SegmentationClass`` if there
DAVIS           ``JPEGImages/…/SEQUENCE/*.jpg``, ``Annotations/…/SEQUENCE/*.png``: an object for each index above 0;
                grey PNG (DAVIS 2016): one object, 255
masks           ``manifest.csv`` with the columns image and mask
SA-1B           a JSON file for each image (``minisam.files.records``)
==============  ====================================================================================================

Nobody has to find a crowd (``iscrowd``), an ignore region (``ignore``, void) or a mask without pixels: none of them is
among ``objects``. Several people's masks of one image are kept apart (``by_annotator``). Ids are names: 0 is one, and
the same one twice is an error. An image is left out whole if it is missing, has another size than its masks, or if an
annotation cannot be read: answers there would count as wrong. Annotations of unknown images are counted and left out.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from minisam.files.images import image_size, is_image_name, read_image, reading
from minisam.files.records import count_names, find_pairs, read_record
from minisam.transfer.coco import flags, is_there, read_coco
from minisam.transfer.labelled import Annotation, Entry, LabelledImage, LabelledSet
from minisam.transfer.points import held_out_pictures
from minisam_kernels import InputError
from minisam_kernels.masks import rle
from minisam_kernels.runtime.errors import reason

__all__ = ["Annotation", "LabelledImage", "LabelledSet", "read_coco", "read_set"]

VOID = 255
VOC_CLASSES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person"
)
VOC_CLASSES += " pottedplant sheep sofa train tvmonitor"


def read_set(
    source: str | Path,
    images: str | Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    every: int = 1,
) -> LabelledSet:
    """Find the images of a set and how to read their masks.

    Parameters
    ----------
    source : str or Path
        A JSON file, or a folder of one of the layouts above.
    images : str or Path, optional
        The folder of a JSON file's images.
    split : str, optional
        VOC, DAVIS: only the names or sequences in ``ImageSets/…/SPLIT.txt``.
    limit, every : int, optional
        Only the first ``limit`` of every ``every``-th image.

    Raises
    ------
    InputError
        If the source is of none of these layouts, or has no image or no annotation.
    """
    source = Path(source)
    if source.is_file():
        found = read_coco(source, images)
    elif images is not None:
        raise InputError(f"expected a JSON file with a folder of images, got {source}, which is no file")
    elif (source / "JPEGImages").is_dir():
        found = _read_voc(source, split) if (source / "SegmentationObject").is_dir() else _read_davis(source, split)
    else:
        pictures = held_out_pictures(source, every)
        entries: list[Entry] = [
            (path, partial(_read_picture, path, masks, i)) for i, (path, masks) in enumerate(pictures)
        ]
        found = LabelledSet(source.resolve().name, entries[:limit])
        if not (source / "manifest.csv").is_file() and (others := count_names(find_pairs(source).left_out)):
            found.left_out["files"] = others
        return found
    found.entries = found.entries[::every][:limit]
    return found


def _names(folder: Path, split: str | None) -> list[str] | None:
    """The names in ImageSets/…/SPLIT.txt; None for all."""
    if split is None:
        return None
    lists = sorted((folder / "ImageSets").glob(f"*/{split}.txt"), key=lambda path: path.parent.name != "Segmentation")
    if not lists:
        raise InputError(f"expected the split in {folder / 'ImageSets'}/…/{split[:60]}.txt, got no such file")
    try:
        return lists[0].read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        raise InputError(f"expected a list of names in UTF-8, got {lists[0]} ({reason(error)})") from error


def _read_voc(folder: Path, split: str | None) -> LabelledSet:
    names = _names(folder, split)
    if names is None:
        names = sorted(path.stem for path in (folder / "SegmentationObject").glob("*.png"))
    if not names:
        raise InputError(f"expected object masks *.png in {folder / 'SegmentationObject'}, got none")
    entries: list[Entry] = []
    for number, name in enumerate(names):
        where = folder / "JPEGImages" / f"{name}.jpg"
        masks = [folder / kind / f"{name}.png" for kind in ("SegmentationObject", "SegmentationClass")]
        entries.append((where, partial(_read_indices, where, masks, number, VOID)))
    return LabelledSet(folder.resolve().name, entries, dict(enumerate(VOC_CLASSES.split())))


def _read_davis(folder: Path, split: str | None) -> LabelledSet:
    sequences = _names(folder, split)
    images = {
        path.relative_to(folder / "JPEGImages").with_suffix(""): path
        for path in (folder / "JPEGImages").rglob("*")
        if is_image_name(path)
    }
    entries: list[Entry] = []
    unmarked = {key for key in images if sequences is None or key.parent.name in sequences}
    for mask in sorted((folder / "Annotations").rglob("*.png")):
        key = mask.relative_to(folder / "Annotations").with_suffix("")
        if sequences is None or key.parent.name in sequences:
            where = images.get(key, folder / "JPEGImages" / key.with_suffix(".jpg"))
            entries.append((where, partial(_read_indices, where, [mask], len(entries))))
            unmarked.discard(key)
    if not entries:
        of = "" if split is None else f" of the sequences in the split {split[:60]}"
        raise InputError(f"expected masks …/SEQUENCE/*.png{of} in {folder / 'Annotations'}, got none")
    found = LabelledSet(folder.resolve().name, entries)
    if unmarked:
        found.left_out["frames without a mask"] = str(len(unmarked))
    if absent := sorted({*(sequences or ())} - {where.parent.name for where, _ in entries}):
        found.left_out["sequences without a mask"] = f"{len(absent)} ({', '.join(absent[:3])[:120]})"
    return found


def _read_indices(where: Path, masks: list[Path], number: int, void: int | None = None) -> LabelledImage:
    """An image whose masks are the indices of a PNG, and their classes those of another one.

    ``void`` is no object. Without it 255 is none but as a grey mask's only value, DAVIS 2016's.
    """
    if not is_there(where):
        raise InputError(f"expected an image, got no file {str(where)[:200]}")
    indices, is_grey = _indices(masks[0])
    classes = _indices(masks[1])[0] if len(masks) > 1 and masks[1].is_file() else None
    if classes is not None and classes.shape != indices.shape:
        raise InputError(f"expected a mask of {indices.shape}, got {masks[1]} of {classes.shape}")
    annotations = []
    values = [int(value) for value in np.unique(indices) if value]
    if void is None and not (is_grey and values == [VOID]):
        void = VOID
    for value in values:
        mask = indices == value
        category = 0 if classes is None or value == void else int(np.bincount(classes[mask]).argmax())
        counts = rle.encode(mask[None])[0]
        annotations.append(Annotation(counts, indices.shape, value, category, ignore=value == void))
    return LabelledImage(where, (indices.shape[0], indices.shape[1]), annotations, number)


def _indices(path: Path) -> tuple[np.ndarray, bool]:
    """A PNG's own numbers, (H, W), not the colours that they stand for, and whether they are a grey image's."""
    with reading(str(path)), Image.open(path) as picture:
        if picture.mode not in ("P", "L", "I;16", "1"):
            raise InputError(f"expected a PNG of indices (palette or grey), got {path} of mode {picture.mode}")
        scale = 255 if picture.mode == "1" else 1
        return np.asarray(picture).astype(np.int64) * scale, picture.mode in ("L", "1")


def _read_picture(where: Path, source: list[Path] | Path, number: int) -> LabelledImage:
    """An image of a folder of masks, or of SA-1B's schema."""
    size = image_size(where)
    if isinstance(source, Path):
        entries = read_record(source).annotations
        ids = [entry.get("id", i) for i, entry in enumerate(entries)]
        ids = ids if all(type(i) is int for i in ids) else [*range(len(ids))]
        read = [Annotation(e["segmentation"], size, i, **flags(e)) for i, e in zip(ids, entries)]
        return LabelledImage(where, size, read, number)
    annotations = []
    for i, path in enumerate(source):
        mask = read_image(path)[..., 0] > 127
        if mask.shape != size:
            raise InputError(f"expected a mask of {size} like its image, got {path} of {mask.shape}")
        annotations.append(Annotation(rle.encode(mask[None])[0], size, i))
    return LabelledImage(where, size, annotations, number)
