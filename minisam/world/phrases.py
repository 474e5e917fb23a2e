"""Words for the masks of a scene, wholes and parts: "red car", "the wheel of the red car", "the wheel of a car", "car".

A phrase belongs to *every* mask that it is true of: in a street of three cars, two of them red, "a red car" has two
masks. Colours are measured in the image (``captions.colour_of``), so a mask without one prevailing colour has none, and
phrases of a colour are not about it. Nothing is said of what is hidden: masks are the visible pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from minisam.world.captions import colour_of, counted
from minisam.world.scene import Scene

# What the world calls its nodes for itself → what one says. "Row of books" is a matter of ``captions.counted``.
SPOKEN = {"inner": "inner ring", "shown": "image", "well": "hollow", "cut": "cut end", "trees": "group of trees"}
# Every word for a node that can have a mask; a test looks for others.
NOUNS = (
    "animal", "annex", "antenna", "arm", "awning", "back", "background", "bag", "balcony", "band", "bar",
    "battery", "beak", "bean", "beans", "bed", "belly", "belt", "berry", "bicycle", "bird", "blade", "blanket",
    "bloom", "body", "bonnet", "book", "books", "border", "bottle", "bough", "bowl", "box", "branch", "brow",
    "building", "bumper", "bunch", "bus", "button", "cab", "cable", "can", "cap", "car", "cardboard", "case",
    "ceiling", "cell", "centre", "chain", "chair", "chest", "chimney", "chip", "circuit board", "claw", "clip",
    "coin", "collar", "compartment", "content", "coral", "cord", "crown", "cup", "cupboard", "curtain", "cushion",
    "cut end", "device", "disc", "display", "dolphin", "door", "drawer", "dress", "ear", "egg", "eye", "facet",
    "feather", "feeler", "fence", "field", "fin", "finger", "fish", "flap", "flesh", "floor", "flower", "foil",
    "fork", "frame", "fringe", "front", "fruit", "garment", "grapple", "ground", "group of trees", "hair", "half",
    "hand", "handle", "handlebar", "hanger", "hat", "head", "headboard", "heading", "hill", "hollow", "hoof",
    "house", "hub", "image", "inner ring", "insect", "inside", "iris", "jacket", "jellyfish", "knife", "knob",
    "label", "lamp", "lattice", "layer", "leaf", "leg", "letter", "lid", "light", "limb", "line", "link",
    "liquid", "load", "log", "logo", "mark", "meat", "mirror", "motif", "mouth", "nail", "neck", "net", "nose",
    "nucleus", "opening", "page", "palm", "pan", "pane", "panel", "paper", "patch", "pebble", "pen", "pendant",
    "person", "petal", "picture", "piece", "pill", "pillow", "pizza", "plant", "plastic bag", "plate", "pocket",
    "pole", "pool", "post", "pot", "print", "rag", "rail", "region", "relief", "ribbon", "rice", "ridge", "rim",
    "ring", "road", "roll", "roof", "rug", "saddle", "salad", "sandwich", "sauce", "saucer", "screen", "seam",
    "seaweed", "shade", "shelf", "shirt", "shoe", "side", "sign", "sky", "slat", "sleeve", "slice", "snout",
    "sofa", "soil", "spoon", "spot", "stalk", "stand", "star", "stem", "sticker", "stone", "strap", "street lamp",
    "stripe", "symbol", "table", "tail", "tape", "teeth", "text", "thing", "thumb", "tie", "tile", "tines", "tip",
    "title", "tool", "top", "topping", "traffic light", "tray", "tree", "truck", "trunk", "twig", "van",
    "vehicle", "vein", "vent", "vessel", "wall", "watch", "water", "wheel", "window", "wing", "wire", "yard",
    "yolk",
)  # fmt: skip


@dataclass(frozen=True)
class Phrase:
    """Words and all that they denote.

    Attributes
    ----------
    text : str
    masks : tuple of int
        Indices into ``Scene.masks``, ascending, at least one: every mask that the words are true of.
    level : str
        The level of the first of them: "whole", "part" or "subpart".
    noun : str
        One of ``NOUNS``; "wheel" for "the wheel of the red car".
    colour : str
        One of ``captions.COLOURS`` if the words name the noun's own; else "".
    """

    text: str
    masks: tuple[int, ...]
    level: str
    noun: str
    colour: str = ""


def noun_of(name: str) -> str:
    """The word for a node of the world that is called ``name``."""
    return SPOKEN.get(name, name)


def colours(scene: Scene) -> list[str]:
    """The colour of each mask of ``scene``; "" where none prevails."""
    return [colour_of(scene.image, [mask.segmentation]) for mask in scene.masks]


def phrases(scene: Scene) -> list[Phrase]:
    """All phrases that are true of masks of ``scene``, in the order of the first of them.

    For a noun N of colour c, on or in an A of colour d (what it is a part of, and what that is a part of):
    "N", "a c N", "the N of an A", "the N of the d A".

    Returns
    -------
    list of Phrase
        No text occurs twice.
    """
    shades = colours(scene)
    masks_of: dict[str, list[int]] = {}
    about: dict[str, tuple[str, str]] = {}
    for number, mask in enumerate(scene.masks):
        noun, shade = noun_of(mask.name), shades[number]
        said = {noun: ""}
        if shade:
            said[counted(1, noun, shade)] = shade
        above = mask.parent
        while above is not None:
            owner = noun_of(scene.masks[above].name)
            if owner != noun:  # "the patch of a patch" says nothing
                said[f"the {noun} of {counted(1, owner)}"] = ""
                if shades[above]:
                    said[f"the {noun} of the {_bare(owner, shades[above])}"] = ""
            above = scene.masks[above].parent
        for text, colour in said.items():
            masks_of.setdefault(text, []).append(number)
            about[text] = noun, colour
    return [Phrase(text, tuple(of), scene.masks[of[0]].level, *about[text]) for text, of in masks_of.items()]


def _bare(noun: str, colour: str) -> str:
    """``counted`` of one without its article: "red car", "piece of red foil"."""
    return counted(1, noun, colour).split(" ", 1)[1]
