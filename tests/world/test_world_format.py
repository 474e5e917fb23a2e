"""The world is a file format: a seed names a scene, in a training, a figure or a chapter, so its bytes are pinned.

``digests.json`` holds one SHA-256 digest per domain, over ``SEEDS`` at ``SIZE`` pixels: images, masks, their levels,
parents and names, and captions. Where the format is changed on purpose, write the file anew and commit it with the
change::

    python tests/world/test_world_format.py
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from scene_checks import digest

from minisam.world import DOMAINS, render

DIGESTS = Path(__file__).with_name("digests.json")
SEEDS, SIZE = (0, 1, 2), 72


def digest_of_domain(name: str) -> str:
    """SHA-256 over the digests of the domain's scenes."""
    scenes = [digest(render(seed, SIZE, name)) for seed in SEEDS]
    return hashlib.sha256(" ".join(scenes).encode()).hexdigest()


@pytest.mark.parametrize("name", DOMAINS)
def test_the_bytes_of_every_domain(name: str) -> None:
    """Scenes are, byte for byte, what they were when ``digests.json`` was written."""
    assert digest_of_domain(name) == json.loads(DIGESTS.read_text())[name]


if __name__ == "__main__":
    DIGESTS.write_text(json.dumps({name: digest_of_domain(name) for name in DOMAINS}, indent=1) + "\n")
