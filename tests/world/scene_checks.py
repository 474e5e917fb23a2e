"""What several tests of the world ask of a scene: its fingerprint, here and in another process; its hierarchy."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minisam.world import Scene


def digest(scene: Scene) -> str:
    """A fingerprint of everything in a scene."""
    fingerprint = hashlib.sha256(scene.image.tobytes() + repr((scene.domain, scene.caption)).encode())
    for mask in scene.masks:
        fingerprint.update(repr((mask.level, mask.parent, mask.name)).encode() + mask.segmentation.tobytes())
    return fingerprint.hexdigest()


def digests_elsewhere(seeds: list[int], domains: Sequence[str | None] = (None,), **environment: str) -> list[str]:
    """The fingerprints of scenes of 128 pixels as another process with these environment variables computes them."""
    program = (
        f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
        "from scene_checks import digest; from minisam.world import render\n"
        f"print(*[digest(render(seed, 128, domain)) for domain in {[*domains]} for seed in {seeds}])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return answer.stdout.split()


def plain_processor(cache: Path) -> dict[str, str]:
    """Environment variables with which Numba and NumPy do without AVX and fused multiply-add."""
    names = "AVX2 FMA3 AVX512F AVX512_SKX" if platform.machine() == "x86_64" else ""
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(cache)}
    return {**plain, "NPY_DISABLE_CPU_FEATURES": names}


def check_hierarchy(scene: Scene) -> None:
    """A mask lies in its parent's, one level up; siblings share no pixel; ``area`` is the number of its pixels."""
    order = ("whole", "part", "subpart")
    taken: dict[int | None, np.ndarray] = {}
    for index, mask in enumerate(scene.masks):
        assert mask.area == mask.segmentation.sum() > 0
        if mask.parent is None:
            assert mask.level == "whole"
        else:
            above = scene.masks[mask.parent]
            assert mask.parent < index
            assert order.index(mask.level) == order.index(above.level) + 1
            assert not (mask.segmentation & ~above.segmentation).any()
        seen = taken.setdefault(mask.parent, np.zeros_like(mask.segmentation))
        assert not (seen & mask.segmentation).any()
        seen |= mask.segmentation
