"""Small towers of CLIP with random weights, texts as tokens for them, and a made-up vocabulary of byte pairs."""

from __future__ import annotations

import numpy as np

from minisam.clip import ClipConfig
from minisam.clip.tokenisers import END, START

SMALL = ClipConfig(32, 8, 40, 3, 5, 48, 2, 3, 99, 12, 24)
TOKENS = np.array([[97, 5, 6, 98] + [0] * 8, [97, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 98], [97, 98] + [98] * 10])
MERGES = ["c a", "ca r</w>", "r e", "re d</w>", "t h", "th e</w>", "' s</w>", "o o", "a r", "! !</w>", "Ã ¼", "a a"]


def random_state(config: ClipConfig, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    state = {name: rng.normal(0, 0.3, shape) for name, shape in config.shapes().items()}
    return {
        name: np.asarray(array + ("ln_" in name and name.endswith("weight")), np.float32)
        for name, array in state.items()
    }


def vocabulary() -> dict[str, int]:
    """All bytes, alone and at a word's end, what the merges make, and the two marks: as in CLIP's, but shorter."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    pieces = letters + [letter + "</w>" for letter in letters] + [merge.replace(" ", "") for merge in MERGES]
    return {piece: number for number, piece in enumerate([*pieces, START, END])}
