"""What the decoder for words learns from: image embeddings, masks, and the vectors of their crops.

The scenes come from disk (``text_scenes``). Crops are embedded once for all steps; an item of the stream is a scene's
image embedding with a few of its masks, each with one crop's vector and all masks that are right answers to it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from minisam.annotator import chance_by_area
from minisam.checkpoints.loading import load
from minisam.checkpoints.safetensors_file import read_safetensors, write_safetensors
from minisam.clip import load as load_clip
from minisam.clip.crops import large_enough
from minisam.clip.pairs import SMALLEST
from minisam.predictor import SamPredictor
from minisam.text.instances import embed_masks
from minisam.training.settings import TextSettings
from minisam.training.text_scenes import TextScenes
from minisam.world import SceneMask
from minisam.world.phrases import phrases
from minisam_kernels import InputError

MOST = 8  # masks of a scene that are kept, drawn with a chance ∝ √area
CROPS = 2  # of a mask, with other margins, with and without background
ANSWERS = 5  # right answers to one prompt that are looked at


def embed_crops(scenes: TextScenes, clip: Any, count: int, seed: int) -> dict[str, np.ndarray]:
    """Embed crops of the masks of the first ``count`` scenes.

    Returns
    -------
    dict of str to ndarray
        For N masks ``scene`` (N,), ``area`` (N,), ``crops`` (N, CROPS, E) float16, ``bits`` (N, L²/8), the mask at the
        decoder's size, packed, and ``inside`` (N, C), the mean of the image's embedding within it; ``prior``
        (E + 1, E), see ``fit_prior``, of all phrases that are true of the masks.
    """
    side, embeddings = scenes.predictor.model.config.low_res_size, scenes.array("embeddings.f16")
    rows: dict[str, list[Any]] = {"scene": [], "area": [], "crops": [], "bits": [], "inside": []}
    texts: dict[str, int] = {}
    true: list[tuple[int, int]] = []  # numbers of texts and of masks that they are true of
    for number in range(count):
        scene, rng = scenes.scene(number), np.random.default_rng([seed, number])
        fit = np.array([i for i, mask in enumerate(scene.masks) if _trained_on(mask, side)], int)
        areas = np.array([scene.masks[i].area for i in fit], float)
        if len(fit) > MOST:
            chosen = rng.choice(len(fit), MOST, replace=False, p=chance_by_area(areas))
            fit, areas = fit[chosen], areas[chosen]
        if not len(fit):
            continue
        masks = [scene.masks[i].segmentation for i in fit]
        vectors = embed_masks(clip, scene.image, masks, rng, CROPS)
        for mask, area, vector in zip(masks, areas, vectors):
            small = _reduced(mask, side)
            share = small.reshape(side // 4, 4, side // 4, 4).mean(axis=(1, 3))[..., None]  # of each image token
            inside = (share * embeddings[number]).sum((0, 1)) / share.sum()
            values = (number, area, vector.astype(np.float16), np.packbits(small), inside.astype(np.float16))
            for key, value in zip(rows, values):
                rows[key].append(value)
        row_of = {int(i): len(rows["scene"]) - len(fit) + k for k, i in enumerate(fit)}
        for phrase in phrases(scene):
            text = texts.setdefault(phrase.text, len(texts))
            true += [(text, row_of[i]) for i in phrase.masks if i in row_of]
    table = {key: np.array(values) for key, values in rows.items()}
    of_text, of_mask = np.array(true).T
    means = table["crops"].astype(np.float32).mean(1)
    return table | {"prior": fit_prior(clip.embed_text(list(texts))[of_text], means[of_mask])}


def fit_prior(texts: np.ndarray, crops: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    """The affine map from texts to crops that are described by them, (N, E) both, by ridge regression → (E + 1, E).

    What leads from texts to images in CLIP's space is DALL·E 2's prior (Ramesh et al. 2022); this is the simplest one.
    The ridge matters: texts fill a part of the space alone, and without it weights of thousands do not fit float16.
    """
    text, image = texts.mean(0, dtype=np.float64), crops.mean(0, dtype=np.float64)
    away = texts - text
    weight = np.linalg.solve(away.T @ away + ridge * np.eye(texts.shape[1]), away.T @ (crops - image))
    return np.concatenate([weight, (image - text @ weight)[None]]).astype(np.float32)


def _reduced(mask: np.ndarray, side: int) -> np.ndarray:
    """A mask (S, S) at the decoder's size (side, side), where it covers half of a pixel."""
    step = len(mask) // side
    covered = sum(mask[i::step, j::step].astype(np.uint8) for i in range(step) for j in range(step))
    return np.asarray(2 * covered >= step * step)


def _trained_on(mask: SceneMask, side: int) -> bool:
    """Whether a mask is neither nearly the whole image nor too small: 40² pixels of 1024², as for the towers.

    The paper's 100² would leave out most parts. Every tap of ``OneTap`` must see a pixel of it.
    """
    if not large_enough(mask.segmentation, SMALLEST) or mask.area > 0.9 * mask.segmentation.size:
        return False
    small = _reduced(mask.segmentation, side)
    return all(small[row::2, column::2].any() for row in (0, 1) for column in (0, 1))


def weights_of(clip: Any) -> str:
    """A name for the towers' weights: the first digits of their SHA-256."""
    sha = hashlib.sha256()
    for name in sorted(clip.state):
        sha.update(name.encode() + np.ascontiguousarray(clip.state[name]).tobytes())
    return sha.hexdigest()[:12]


class TextPrompts(Dataset[dict[str, np.ndarray]]):
    """A stream of (image embedding, K masks with their crops' embeddings and all right answers).

    Items: ``embedding`` float16 (h, w, C); ``crops`` float32 (K, E); ``answers`` bool (K, ANSWERS, L, L), the mask
    itself first; ``known`` bool (K, ANSWERS), which of these there are. Item i is a function of (seed, i) alone.
    """

    def __init__(self, s: TextSettings) -> None:
        self.settings = s
        clip = load_clip(s.towers or None)
        scenes = TextScenes(s.scenes, SamPredictor(load(s.init or "tiny")))
        if len(scenes) < s.count:
            scenes.extend(s.count)
        self.towers = weights_of(clip)
        if not self._table(self.towers).is_file():
            write_safetensors(self._table(self.towers), embed_crops(scenes, clip, s.count, s.seed))
        self.table = read_safetensors(self._table(self.towers))[0]
        self.embeddings = scenes.array("embeddings.f16")
        self.side = scenes.predictor.model.config.low_res_size
        self.first = np.flatnonzero(np.diff(self.table["scene"], prepend=-1))  # a scene's first row
        self.last = np.append(self.first[1:], len(self.table["scene"]))

    def _table(self, towers: str) -> Path:
        return Path(self.settings.scenes) / f"crops-{towers}-{self.settings.count}-{self.settings.seed}.safetensors"

    def other_crops(self, towers: str) -> np.ndarray:
        """Read the vectors of the same crops by towers with which an earlier training had embedded them."""
        if not self._table(towers).is_file():
            raise InputError(f"expected the earlier training's {self._table(towers)}, got none")
        return read_safetensors(self._table(towers))[0]["crops"]

    def __len__(self) -> int:
        return self.settings.steps * self.settings.batch

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        s, table, rng = self.settings, self.table, np.random.default_rng([self.settings.seed, index])
        chosen = int(rng.integers(len(self.first)))
        rows = np.arange(self.first[chosen], self.last[chosen])
        chance = chance_by_area(table["area"][rows])
        drawn = rng.choice(len(rows), s.masks, replace=len(rows) < s.masks, p=chance)
        crops = table["crops"][rows].astype(np.float32)  # (R, CROPS, E)
        middle = crops.mean(1)
        middle /= np.linalg.norm(middle, axis=1, keepdims=True)
        near = middle @ middle.T  # cosines between masks
        np.fill_diagonal(near, 2)  # a mask is its own best answer
        masks = np.unpackbits(table["bits"][rows], axis=1).reshape(-1, self.side, self.side).astype(bool)
        answers = np.zeros((s.masks, ANSWERS, self.side, self.side), bool)
        known = np.zeros((s.masks, ANSWERS), bool)
        for k, i in enumerate(drawn):
            right = [j for j in np.argsort(-near[i])[:ANSWERS] if near[i, j] >= s.alike]
            answers[k, : len(right)], known[k, : len(right)] = masks[right], True
        vectors = crops[drawn, rng.integers(CROPS, size=s.masks)]
        embedding = np.array(self.embeddings[table["scene"][rows[0]]])
        return {"embedding": embedding, "crops": vectors, "answers": answers, "known": known}
