"""The stored models of which each has never seen one group of the world's domains: which groups, seeds, and where.

``minisam.experiments.left_out`` trains them, and ``specialist`` their rivals; ``left_out``, ``specialist`` and
``proposals`` in this folder measure them. A file is called ``KIND-GROUP-SEED.safetensors``: ``sam-above-0`` is the SAM
of seed 0 that has never seen a domain of the group "above".
"""

from __future__ import annotations

from minisam.reports.environment import ROOT

MODELS = ROOT / "benchmarks" / "transfer" / "models"  # in a checkout; not part of the installed package
GROUPS: dict[str, tuple[str, ...]] = {
    "instruments": ("nuclei", "tissue", "xray", "tangle", "documents", "painting"),
    "above": ("parking", "aerial", "plants", "boulders", "timber", "waste"),
    "outdoors": ("street", "fisheye", "facade", "wildlife", "underwater"),
    "indoors": ("everyday", "interior", "kitchen", "hands", "people", "crowd"),
}
SEEDS = (0, 1, 2)
KINDS = {"sam": "SAM", "clicks": "RITM-like"}
SIDE = 96  # pixels of their input
HOLD_OUT = 20  # every 20th real image has never been trained on
