"""How well the small towers find the phrase of a crop, and the crop of a phrase, in scenes that training never showed.

python -m minisam.clip.retrieval [--clip FILE] [--scenes 300]
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minisam.clip.loading import load
from minisam.clip.model import Clip
from minisam.clip.pairs import Described, Pair
from minisam.world.captions import COLOURS, counted
from minisam.world.phrases import NOUNS
from minisam.world.scene import HELD_OUT

FIRST = HELD_OUT + 50_000  # the first scene
AMONG = 100


class Score(NamedTuple):
    """Share of right answers, its chance, and how many were asked for."""

    right: float
    chance: float
    asked: int


def pairs_of(scenes: int, size: int, background: bool, each: int = 3, first: int = FIRST) -> list[Pair]:
    """``each`` pairs of every held-out scene: other objects with and without ``background`` are the same ones."""
    pairs = []
    for seed in range(first, first + scenes):
        described, rng = Described(seed), np.random.default_rng(seed)
        nouns = list(described.of_noun)
        for noun in rng.permutation(nouns)[:each]:
            pairs.append(described.draw(rng, size, str(noun), expand=1.5, background=background))
    return pairs


def embed(clip: Clip, pairs: Sequence[Pair], masked: bool) -> np.ndarray:
    """The crops' vectors (N, E); ``masked``: with the last block's attention inside of the objects."""
    crops = np.stack([pair.crop.pixels for pair in pairs])
    return clip.embed_image(crops, np.stack([pair.crop.inside for pair in pairs]) if masked else None)


def retrieve(images: np.ndarray, texts: np.ndarray, pairs: Sequence[Pair], rounds: int = 30) -> tuple[Score, Score]:
    """(Crop → phrase, phrase → crop) among ``AMONG`` pairs with different phrases, picked at random ``rounds`` times.

    An answer is right if the phrase is true of the crop, even if it was drawn for another one.
    """
    rng, rows = np.random.default_rng(0), []
    for _ in range(rounds):
        chosen: dict[str, int] = {}
        for number in rng.permutation(len(pairs)):
            chosen.setdefault(pairs[number].phrase.text, int(number))
        some = list(itertools.islice(chosen.values(), AMONG))
        true = np.array([[pairs[j].phrase.text in pairs[i].true for j in some] for i in some])
        cosines = images[some] @ texts[some].T
        for answers, fits in ((cosines.argmax(1), true), (cosines.argmax(0), true.T)):
            rows.append((fits[np.arange(len(some)), answers].mean(), fits.mean(), len(some)))
    forth, back = (np.array(rows[k::2]) for k in (0, 1))
    return _score(forth), _score(back)


def _score(rows: np.ndarray) -> Score:
    """Rows of (right, chance, asked) → their mean."""
    return Score(float(rows[:, 0].mean()), float(rows[:, 1].mean()), int(rows[:, 2].sum()))


def nouns(clip: Clip, images: np.ndarray, pairs: Sequence[Pair], top: int = 1) -> Score:
    """The crop's noun, among all nouns of the world: it is one of the ``top`` first."""
    order = np.argsort(-images @ clip.embed_text(NOUNS).T, axis=1)[:, :top]
    right = [pair.phrase.noun in [NOUNS[k] for k in row] for pair, row in zip(pairs, order)]
    return Score(float(np.mean(right)), top / len(NOUNS), len(pairs))


def colours(clip: Clip, images: np.ndarray, pairs: Sequence[Pair]) -> tuple[Score, float]:
    """The crop's colour, its noun given, among the twelve; and the share of the commonest colour."""
    said, right = [], []
    for image, pair in zip(images, pairs):
        texts = [counted(1, pair.phrase.noun, colour) for colour in COLOURS]
        own = [k for k, text in enumerate(texts) if text in pair.true]
        if own:
            said.append(own[0])
            right.append(int((clip.embed_text(texts) @ image).argmax()) == own[0])
    share = np.bincount(said).max() / len(said) if said else 0.0
    return Score(float(np.mean(right)), 1 / len(COLOURS), len(right)), float(share)


def modality_gap(images: np.ndarray, texts: np.ndarray) -> tuple[float, float, float]:
    """(Distance between the centroids of both clouds, mean distance of images from theirs, of texts from theirs)."""
    a, b = images.mean(0), texts.mean(0)
    spread = [float(np.linalg.norm(cloud - centre, axis=1).mean()) for cloud, centre in ((images, a), (texts, b))]
    return float(np.linalg.norm(a - b)), spread[0], spread[1]


def report(clip: Clip, scenes: int) -> str:
    """All of it in Markdown."""
    size = clip.config.image_size
    kinds = {"black background": (False, False), "background, attention inside": (True, True)}
    kinds |= {"background, attention everywhere": (True, False)}
    lines = ["| crops | crop → phrase | phrase → crop | noun | noun in first 5 | colour | gap, spread of both |"]
    lines.append("|---|---|---|---|---|---|---|")
    for kind, (background, masked) in kinds.items():
        pairs = pairs_of(scenes, size, background)
        images, texts = embed(clip, pairs, masked), clip.embed_text([pair.phrase.text for pair in pairs])
        forth, back = retrieve(images, texts, pairs)
        colour, _ = colours(clip, images, pairs)
        scores = (forth, back, nouns(clip, images, pairs), nouns(clip, images, pairs, 5), colour)
        gap = ", ".join(f"{value:.2f}" for value in modality_gap(images, texts))
        lines.append(f"| {kind} | " + " | ".join(f"{score.right:.3f}" for score in scores) + f" | {gap} |")
    lines.append("| chance | " + " | ".join(f"{score.chance:.3f}" for score in scores) + " | |")
    common = colours(clip, images, pairs)[1]
    lines.append(f"\n{len(pairs)} crops of {scenes} scenes; {AMONG} phrases, {len(NOUNS)} nouns;")
    lines.append(f"always the commonest colour: {common:.3f} of the {colour.asked} crops that have one.")
    return "\n".join(lines)


def main() -> None:
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(prog="python -m minisam.clip.retrieval", description=__doc__)
    parser.add_argument("--clip", help="other weights than those that come with minisam")
    parser.add_argument("--scenes", type=int, default=300)
    arguments = parser.parse_args()
    print(report(load(arguments.clip), max(1, arguments.scenes)))


if __name__ == "__main__":
    main()
