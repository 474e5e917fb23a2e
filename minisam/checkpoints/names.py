"""Names of weights as people have them: prefixes that wrappers put before them, wrong ones in messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from minisam_kernels import InputError

# Where an official name, or one of transformers, begins
ROOT = re.compile(r"(?:^|\.)(?=(?:image_encoder|prompt_encoder|mask_decoder|vision_encoder|shared_image_embedding)\.)")
# What DataParallel, torch.compile, FSDP and activation checkpointing put between the parts of a name
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


def is_sam(name: str) -> bool:
    """Whether a name is one of SAM's, with or without a prefix."""
    return ROOT.search(name) is not None


def shorten(text: str) -> str:
    """``text`` for a message: printable, at most 160 characters."""
    shown = text if len(text) <= 160 else text[:159] + "…"
    return shown if shown.isprintable() else ascii(shown)[:160]


def first_names(names: Iterable[str]) -> str:
    """The first three of some names, for a message."""
    names = list(names)
    return ", ".join(map(shorten, names[:3])) + (", …" if len(names) > 3 else "")


def nearest(names: Sequence[str], wanted: Sequence[str]) -> str:
    """For the first three names the most similar of (at most 400) wanted ones: "a is near b". May be empty."""
    candidates = {name[:120]: name for name in wanted[:400]}
    pairs = ((name, difflib.get_close_matches(name[-120:], candidates, 1, 0.6)) for name in names[:3])
    return ", ".join(f"{shorten(name)} is near {shorten(candidates[match[0]])}" for name, match in pairs if match)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are one and the same view: a weight that is saved under two names."""
    return a.__array_interface__ == b.__array_interface__


def strip_prefixes(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same arrays without what stands before SAM's names (``module.``, ``model.sam.``) or, of wrappers, in them.

    Raises ``InputError`` where two weights would get one name, as those of a student and its teacher.
    """
    origin: dict[str, str] = {}
    stripped: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        root = ROOT.search(name)
        short = ".".join(part for part in name[root.end() :].split(".") if part not in WRAPPERS) if root else name
        if short in stripped and not _same(stripped[short], array):
            both = f"{shorten(origin[short])} and {shorten(name)}"
            raise InputError(f"expected the weights of one model, got two: {both}")
        stripped[short], origin[short] = array, name
    return stripped
