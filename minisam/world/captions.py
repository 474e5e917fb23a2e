"""A sentence about a scene, made from what can be seen of it: kind of image, things with counts and colours, places.

Colours are measured in the finished image, not taken from what was painted: a red car at night is called dark or not
at all. A colour is named only if most of the thing's pixels have that name.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from minisam.world.render.exact import exact
from minisam.world.render.painter import SceneMask

COLOURS = (
    "black", "dark grey", "grey", "white", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown",
)  # fmt: skip
PLACES = frozenset((
    "background", "ground", "floor", "table", "wall", "ceiling", "sky", "water", "soil", "belt", "road", "hill",
    "region", "field", "yard", "trees", "trunk", "rail", "cupboard", "rug", "frame",
))  # fmt: skip
_IRREGULAR = {
    "person": "people", "leaf": "leaves", "shelf": "shelves", "fish": "fish", "jellyfish": "jellyfish",
    "knife": "knives", "berry": "berries", "nucleus": "nuclei", "books": "rows of books",
}  # fmt: skip
_MASS = frozenset(("paper", "foil", "cardboard", "seaweed"))
NUMBERS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip


@exact
def _names(pixels, inside, counts):
    """Add to ``counts`` (12,) how many pixels (h, w, 3) uint8 inside have which name of ``COLOURS``.

    By brightness (the largest channel), chroma (largest minus smallest) and hue, in sixtieths of the way from one
    primary colour to the next: 0 is red, green or blue itself, 60 the even mixture of two.
    """
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            if not inside[y, x]:
                continue
            r, g, b = int(pixels[y, x, 0]), int(pixels[y, x, 1]), int(pixels[y, x, 2])
            high, low = max(r, max(g, b)), min(r, min(g, b))
            chroma = high - low
            if high < 48:
                name = 0
            elif chroma < 30 or 5 * chroma < high:
                name = 1 if high < 95 else 2 if high < 200 else 3
            elif high == r and g >= b:  # red … yellow
                part = 60 * (g - b) // chroma
                if part < 14:
                    name = 4 if high > 100 else 11
                elif part < 42:
                    name = 5 if high > 190 and 2 * chroma > high else 11
                else:
                    name = 6 if high > 120 else 11
                if low > 150 and part < 20:
                    name = 10
            elif high == r:  # red … purple
                part = 60 * (b - g) // chroma
                name = 9 if part > 40 else 10 if low > 90 else 4
            elif high == g:
                name = 6 if 60 * (r - b) // chroma > 50 and high > 150 else 7
            else:
                part = 60 * (r - g) // chroma
                name = 9 if part > 20 else 8
            counts[name] += 1


def colour_of(image: np.ndarray, masks: list[np.ndarray]) -> str:
    """The name of the colour of most pixels of ``image`` (S, S, 3) in ``masks`` (each (S, S) bool); "" if none has."""
    counts = np.zeros(len(COLOURS), np.int64)
    for mask in masks:
        _names(image, mask, counts)
    best = int(counts.argmax())
    return COLOURS[best] if 2 * counts[best] > counts.sum() else ""


def plural(name: str) -> str:
    """More than one of ``name``."""
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    if name.endswith(("s", "x", "ch", "sh")):
        return name + "es"
    return name + "s"


def counted(count: int, name: str, colour: str = "") -> str:
    """ "a red car", "an animal", "three cars", "28 nuclei"."""
    if name in _MASS:
        words = f"{colour} {name}".strip()
        return f"a piece of {words}" if count == 1 else f"{_word(count)} pieces of {words}"
    if count == 1:
        words = f"{colour} {name}".strip() if name != "books" else f"row of {colour} books".replace("  ", " ")
        return ("an " if words[0] in "aeiou" else "a ") + words
    return f"{_word(count)} {colour} {plural(name)}".replace("  ", " ")


def _word(count: int) -> str:
    """The number in words up to twelve, then in digits."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def _listed(words: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def caption(image: np.ndarray, masks: list[SceneMask], opening: str) -> str:
    """One sentence: ``opening``, up to five kinds of things by the area that they cover, and where they are."""
    area: Counter[str] = Counter()
    segmentations: dict[str, list[np.ndarray]] = {}
    for mask in masks:
        if mask.level == "whole":
            area[mask.name] += mask.area
            segmentations.setdefault(mask.name, []).append(mask.segmentation)
    ordered = [name for name, _ in area.most_common()]
    things = []
    for name in [name for name in ordered if name not in PLACES][:5]:
        count = len(segmentations[name])
        shade = colour_of(image, segmentations[name]) if count < 4 else ""
        things.append(counted(count, name, shade))
    least = 0.05 * image.shape[0] * image.shape[1]
    large = [name for name in ordered if name in PLACES and name != "background" and area[name] > least]
    places = [f"the {name}" for name in large[:2]]
    sentence = opening
    if things:
        sentence += f": {_listed(things)}"
    if places:
        sentence += (", with " if things else ": ") + _listed(places) + (" in view" if things else "")
    return sentence + "."
