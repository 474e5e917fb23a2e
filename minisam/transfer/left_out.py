"""Domains of the world left out in turn: four groups, each kept from the training of a model of its own."""

from __future__ import annotations

GROUPS: dict[str, tuple[str, ...]] = {
    "instruments": ("nuclei", "tissue", "xray", "tangle", "documents", "painting"),
    "above": ("parking", "aerial", "plants", "boulders", "timber", "waste"),
    "outdoors": ("street", "fisheye", "facade", "wildlife", "underwater"),
    "indoors": ("everyday", "interior", "kitchen", "hands", "people", "crowd"),
}
SEEDS = (0, 1, 2)
