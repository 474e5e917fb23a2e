"""``minisam pack``: folders in SA-1B's schema as one small file, to be carried to a machine that trains.

A safetensors file of bytes: ``jpegs`` and ``runs`` one image after the other with the offsets where each ends
(``jpegs_ends``, ``runs_ends``), and ``sets``, the number of the folder that an image is from. An image's runs are
zlib-compressed little-endian uint32: height, width, M, then the number of runs of each of M masks, then the runs, in
reading order and beginning with zeros. Names and terms of the sets are noted in the file.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from minisam.checkpoints.safetensors_file import write_safetensors
from minisam.files.atomic import check_output
from minisam.training.packed import MAX_RUNS
from minisam.training.sources import Folder, resize_masks
from minisam_kernels import InputError
from minisam_kernels.masks import rle


def _pack_picture(source: Folder, index: int, side: int, quality: int) -> tuple[bytes, bytes]:
    image = source.picture(index)
    whole, factor = image.size, min(1.0, side / max(image.size))
    if factor < 1:
        size = (max(1, round(whole[0] * factor)), max(1, round(whole[1] * factor)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    runs = []
    for i in range(source.count(index)):  # one at a time: all of them may be more than memory holds
        mask = source.masks(index, [i])
        mask = resize_masks(mask, (0, 0, *whole), image.size) if factor < 1 else mask
        if mask.any():
            runs.append(rle.encode(mask.swapaxes(1, 2))[0])  # row after row
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True)
    total = sum(map(len, runs)) + len(runs) + 3
    if total > MAX_RUNS:
        wanted = f"expected at most {MAX_RUNS} runs (a lower --side has fewer)"
        raise InputError(f"{wanted}, got {total} of {source.pictures[index]}")
    head = np.array([image.height, image.width, len(runs), *(len(r) for r in runs)])
    return file.getvalue(), zlib.compress(np.concatenate([head, *runs]).astype("<u4").tobytes(), 9)


def pack(
    folders: Sequence[str | Path], output: str | Path, side: int, quality: int, limit: int, stretch: str | None = None
) -> dict[str, Any]:
    """Write ``output`` with images of at most ``side`` pixels; return the counts, for people.

    ``stretch`` is ``read_image``'s. What the folders hold besides images with masks is said on stderr.
    Raises ``InputError``, and leaves nothing behind, when it would be larger than ``limit`` bytes.
    """
    from minisam.console import progress

    check_output(output)
    if not folders:
        raise InputError("expected at least one folder to pack, got none")
    sources, notes = [Folder(folder, stretch) for folder in folders], []
    for source in sources:
        source.check()
    pieces: dict[str, list[bytes]] = {"jpegs": [], "runs": []}
    sets: list[int] = []
    with progress(total=sum(len(source) for source in sources), unit=" images", desc="pack") as bar:
        for number, (folder, source) in enumerate(zip(folders, sources)):
            terms = Path(folder) / "TERMS.txt"
            note = {"name": source.name, "terms": terms.read_text(encoding="utf-8").strip() if terms.is_file() else ""}
            notes.append({**note, "pictures": len(source)})
            for index in range(len(source)):
                for whole, piece in zip(pieces.values(), _pack_picture(source, index, side, quality)):
                    whole.append(piece)
                sets.append(number)
                bar.update()
    size = sum(len(piece) for whole in pieces.values() for piece in whole)
    if size > limit:
        wanted = f"expected a file of at most {limit / 1e6:g} MB (a lower --quality or --side makes it smaller)"
        raise InputError(f"{wanted}, got {size / 1e6:.1f} MB")
    arrays = {"sets": np.array(sets)}
    for name, whole in pieces.items():
        arrays[name] = np.frombuffer(b"".join(whole), np.uint8)
        arrays[f"{name}_ends"] = np.cumsum([len(piece) for piece in whole])
    write_safetensors(output, arrays, {"minisam_pack": json.dumps(notes)})
    return {"sets": notes, "pictures": len(sets), "bytes": Path(output).stat().st_size}
