"""Every instance: what is near to the words, each thing once, the nearest first."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minisam.clip.config import ClipConfig
from minisam.text.instances import OVERLAP, Instances, embed_masks

CONFIG = ClipConfig(16, 8, 16, 1, 1, 16, 1, 1, 9, 8, 4)
MUTANTS = {
    "the most confident first": (
        "minisam/text/instances.py",
        'np.argsort(-similarity, kind="stable")',
        "range(len(similarity))",
    ),
    "a thing twice": ("minisam/text/instances.py", " and not (self._overlap[i, kept] > OVERLAP).any()", ""),
    "everything": ("minisam/text/instances.py", "similarity[i] >= near and ", ""),
    "a black crop with an outline": ("minisam/text/instances.py", "c.inside | (not c.background)", "c.inside"),
}


class Towers:
    """CLIP whose vector of a crop is its mean colour, and of a text that colour."""

    config = CONFIG

    def embed_image(self, crops, inside=None):
        colour = np.array([crop[crop.any(-1)].mean(0) for crop in crops]).reshape(-1, 3)
        vectors = np.pad(colour, ((0, 0), (0, 1))).astype(np.float32)
        self.inside = inside
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_text(self, texts):
        return np.array([np.eye(4, dtype=np.float32)[["red", "green", "blue"].index(text)] for text in texts])


class Grid:
    """A generator that has these masks."""

    def __init__(self, masks):
        self.masks = masks

    def generate(self, image, progress=None):
        return [{"segmentation": mask, "predicted_iou": 1 - i / 10} for i, mask in enumerate(self.masks)]


def scene(seed: int):
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 256, (40, 40, 3), dtype=np.uint8)
    masks = []
    for _ in range(6):
        x, y = rng.integers(0, 28, 2)
        mask = np.zeros((40, 40), bool)
        mask[y : y + 12, x : x + int(rng.integers(3, 13))] = True
        image[mask] = rng.integers(1, 256, 3)
        masks.append(mask)
    return image, masks


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.6, 0.8]))
def test_what_is_found(seed: int, near: float) -> None:
    """By falling cosine, all that is near enough and overlaps with nothing nearer.

    Kills: the most confident first; a thing twice; everything.
    """
    image, masks = scene(seed)
    instances = Instances(image, Grid(masks), Towers())
    found = instances.find("green", near)
    similarity = embed_masks(Towers(), image, instances.masks)[:, 0, 1]
    expected: list[int] = []
    for i in sorted(range(len(similarity)), key=lambda i: -similarity[i]):
        again = [
            (instances.masks[i] & instances.masks[k])[::2, ::2].sum()
            > OVERLAP * (instances.masks[i] | instances.masks[k])[::2, ::2].sum()
            for k in expected
        ]
        if similarity[i] >= near and not any(again):
            expected.append(i)
    assert [record["mask"] for record in found] == expected
    assert all(np.array_equal(record["segmentation"], instances.masks[record["mask"]]) for record in found)


def test_small_masks_are_no_candidates_and_an_empty_image_has_none() -> None:
    image, masks = scene(0)
    speck = np.zeros((40, 40), bool)
    speck[3, 4] = True
    assert len(Instances(image, Grid([*masks, speck]), Towers()).records) == len(masks)
    assert Instances(image, Grid([speck]), Towers()).find("red", -1) == []


def test_the_inside_of_a_black_crop_is_all_of_it() -> None:
    """Kills: a black crop with an outline."""
    image, masks = scene(1)
    towers = Towers()
    vectors = embed_masks(towers, image, masks[:2])
    assert vectors.shape == (2, 1, 4) and not towers.inside.reshape(2, -1).all(1).any()
    vectors = embed_masks(towers, image, masks[:2], np.random.default_rng(0), copies=8)
    assert vectors.shape == (2, 8, 4) and 0 < towers.inside.reshape(16, -1).all(1).sum() < 16
