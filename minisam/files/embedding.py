"""What the encoder made of an image, in a file: prompts can be answered later without the encoder.

A safetensors file with one tensor, ``features``, float32 (1, C, h, w), and one text of metadata, JSON, that says which
weights made it and of what image. One text, because the library writes several in an order that changes.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from minisam.files.atomic import atomic, check_ending
from minisam_kernels import InputError
from minisam_kernels.runtime.errors import reason

FORMAT = 1
NOTES = "minisam_embedding"  # the metadata's key


def write_embedding(path: str | os.PathLike[str], features: np.ndarray, notes: dict[str, Any]) -> None:
    """Write a file, whole or not at all. Equal features and notes give equal bytes."""
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"expected a file's path, got {str(path)[:200]!r}")
    check_ending(Path(path), ".safetensors", "a file")
    try:
        program = version("minisam")
    except PackageNotFoundError:  # a checkout that is not installed
        program = "unknown"
    text = json.dumps({"format": FORMAT, "minisam": program} | notes, sort_keys=True)
    with atomic(Path(path)) as temporary:
        temporary.write_bytes(save({"features": np.ascontiguousarray(features, np.float32)}, {NOTES: text}))


def read_embedding(
    path: str | os.PathLike[str], shape: tuple[int, ...], weights: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """The features of ``shape`` and the notes of a file that ``weights`` made; ``InputError`` for any other."""
    try:
        if not Path(path).is_file():
            raise InputError(f"expected a file with an embedding, got {path}, which is none")
        with safe_open(path, "numpy") as file:
            notes = json.loads((file.metadata() or {}).get(NOTES, "null"))
            if not isinstance(notes, dict):
                raise InputError(f"expected an embedding as save_embedding writes it, got {path}, which is none")
            if notes["format"] != FORMAT:
                raise InputError(f"expected an embedding of format {FORMAT} in {path}, got {notes['format']!r:.40}")
            if notes["weights"] != weights:
                made = f"those of {notes['model']!r:.40}, {notes['weights']!r:.20}"
                raise InputError(f"expected an embedding by the weights {weights[:12]} in {path}, got {made}")
            part = file.get_slice("features")
            kind = (part.get_dtype(), tuple(part.get_shape()))
            if kind != ("F32", shape):
                raise InputError(f"expected features F32 {shape} in {path}, got {kind[0]} {kind[1]}")
            return file.get_tensor("features"), notes
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file or a strange path makes the library, json or pathlib say
        raise InputError(f"expected an embedding as save_embedding writes it, got {path} ({reason(error)})") from error
