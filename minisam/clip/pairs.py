"""Crops of the world's objects with phrases that are true of them: what the towers learn from, and are tested on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minisam.clip.crops import Crop, crop, large_enough
from minisam.world.phrases import Phrase, phrases
from minisam.world.scene import render

SIDE = 256  # pixels of a scene
SMALLEST = 40 / 1024  # √area of an object, of the side; SAM's 100 / 1024 would leave out most parts


class Pair(NamedTuple):
    """A crop, one phrase that is true of its object, and the texts of all that are."""

    crop: Crop
    phrase: Phrase
    true: frozenset[str]


class Described:
    """A scene and what can be said of its masks of at least ``least``."""

    def __init__(self, seed: int, side: int = SIDE, least: float = SMALLEST) -> None:
        scene = render(seed, side)
        self.image = scene.image
        large = [number for number, mask in enumerate(scene.masks) if large_enough(mask.segmentation, least)]
        self.bits = {number: np.packbits(scene.masks[number].segmentation) for number in large}
        self.phrases: dict[int, list[Phrase]] = {number: [] for number in large}
        self.of_noun: dict[str, list[int]] = {}
        for phrase in phrases(scene):
            for number in phrase.masks:
                if number in self.phrases:
                    self.phrases[number].append(phrase)
                    if phrase.text == phrase.noun:
                        self.of_noun.setdefault(phrase.noun, []).append(number)

    def mask(self, number: int) -> np.ndarray:
        """A mask (S, S) bool."""
        side = len(self.image)
        return np.unpackbits(self.bits[number], count=side * side).reshape(side, side).view(np.bool_)

    def draw(self, rng: np.random.Generator, size: int, noun: str | None = None, **how: bool | float) -> Pair:
        """A pair by chance: first a noun, then one of its masks, then one of the mask's phrases, all with equal chance.

        ``how``: ``crop``'s ``expand`` and ``background``; without, ``rng`` draws these too.
        """
        noun = noun or list(self.of_noun)[rng.integers(len(self.of_noun))]
        numbers = self.of_noun[noun]
        number = numbers[rng.integers(len(numbers))]
        said = self.phrases[number]
        phrase = said[rng.integers(len(said))]
        cut = crop(self.image, self.mask(number), size, rng=None if how else rng, **how)  # type: ignore[arg-type]
        return Pair(cut, phrase, frozenset(one.text for one in said))
