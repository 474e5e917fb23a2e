"""Crops with phrases, and how well the towers find one by the other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minisam.clip import load
from minisam.clip.crops import large_enough
from minisam.clip.pairs import SMALLEST, Described
from minisam.clip.retrieval import colours, embed, modality_gap, nouns, pairs_of, retrieve
from minisam.world import HELD_OUT, render
from minisam.world.phrases import phrases

MUTANTS = {
    "masks of any size": ("minisam/clip/pairs.py", "if large_enough(mask.segmentation, least)", "if True"),
    "an answer that was drawn": ("minisam/clip/retrieval.py", "pairs[j].phrase.text in pairs[i].true", "i == j"),
}


def test_a_pair_is_true_and_large_enough() -> None:
    """Kills: masks of any size."""
    scene, described = render(HELD_OUT + 4, 128), Described(HELD_OUT + 4, 128, 4 * SMALLEST)
    rng = np.random.default_rng(0)
    said = {phrase.text: phrase.masks for phrase in phrases(scene)}
    for number in described.bits:
        np.testing.assert_array_equal(described.mask(number), scene.masks[number].segmentation)
        assert large_enough(scene.masks[number].segmentation, 4 * SMALLEST)
        assert all(number in said[phrase.text] for phrase in described.phrases[number])
    for _ in range(40):
        pair = described.draw(rng, 16)
        assert pair.phrase.text in pair.true and pair.phrase.noun in pair.true
        fits = [number for number in described.bits if pair.true == {p.text for p in described.phrases[number]}]
        assert set(fits) & set(said[pair.phrase.text])


def pair(text: str, *true: str) -> Any:
    return SimpleNamespace(phrase=SimpleNamespace(text=text, noun=text.split(" ")[-1]), true={text, *true})


def test_an_answer_that_is_true_is_right() -> None:
    """Two crops of cars, one of them red; the vectors of the texts are swapped. Kills: an answer that was drawn."""
    pairs, axes = [pair("car"), pair("a red car", "car"), pair("tree")], np.eye(3, dtype=np.float32)
    swapped = axes[[1, 0, 2]]
    forth, back = retrieve(swapped, axes, pairs, rounds=2)
    # crop 0 → "a red car", wrong; crop 1 → "car", right; "tree" right both ways
    assert forth == (pytest.approx(2 / 3), pytest.approx(4 / 9), 6)
    assert back == (pytest.approx(2 / 3), pytest.approx(4 / 9), 6)


def test_the_gap_is_the_distance_of_the_centroids() -> None:
    images = np.array([[1.0, 0.0], [1.0, 2.0]])
    gap, spread, other = modality_gap(images, images + [3.0, 4.0])
    assert (gap, spread, other) == (5.0, 1.0, 1.0)


def test_the_shipped_towers_are_far_above_chance() -> None:
    """On 40 held-out scenes."""
    clip = load()
    pairs = pairs_of(40, clip.config.image_size, background=False, first=HELD_OUT + 90_000)
    images = embed(clip, pairs, masked=False)
    forth, back = retrieve(images, clip.embed_text([pair.phrase.text for pair in pairs]), pairs, rounds=5)
    assert min(forth.right, back.right) > 10 * forth.chance
    assert nouns(clip, images, pairs, 5).right > 10 * nouns(clip, images, pairs, 5).chance
    score, common = colours(clip, images, pairs)
    assert score.right > max(2 * score.chance, common)
