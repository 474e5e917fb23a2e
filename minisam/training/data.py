"""Images for training, one numbered stream: the procedural world and real images, cut and mirrored by chance.

Image number i is a function of (seed, i) alone: a worker that makes it, the order in which workers finish, a
training that was interrupted and the number of processes that share it change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from minisam.annotator import chance_by_area
from minisam.training import augment
from minisam.training.sources import kept_numbers, open_sources, resize_masks
from minisam.world import HELD_OUT, Scene, render
from minisam_kernels import InputError

MAX_COVERAGE = 0.9  # masks over 90 % of the image are left out (appendix A)
MIN_CELLS = 8  # of the decoder's masks: what is smaller cannot be told from noise
TRIES = 200  # images of a set, until one has a mask of a fitting size


def smallest_mask(patch_size: int) -> int:
    """Return the pixels of the smallest mask that is trained on: ``MIN_CELLS`` cells of the decoder's masks.

    A patch has 4 × 4 of these cells.
    """
    return max(1, MIN_CELLS * patch_size**2 // 16)


def random_cut(
    size: tuple[int, int], side: int, rng: np.random.Generator
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """Draw a box in an image of ``size`` (width, height); return it with its size when its long side becomes ``side``.

    Half of the time a side stays whole; else it is cut to between a half and all of it.
    """
    width, height = size
    cut_w, cut_h = (length * (rng.uniform(0.5, 1) if rng.random() < 0.5 else 1) for length in (width, height))
    x0, y0 = rng.uniform(0, width - cut_w), rng.uniform(0, height - cut_h)
    scale = side / max(cut_w, cut_h)
    return (x0, y0, x0 + cut_w, y0 + cut_h), (max(1, round(cut_w * scale)), max(1, round(cut_h * scale)))


def window(scene: Scene, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cut a random square out of a scene: (side, side, 3), and the scene's masks there, (N, side, side)."""
    height, width = scene.image.shape[:2]
    y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    inside = np.s_[y : y + side, x : x + side]
    masks = np.array([mask.segmentation[inside] for mask in scene.masks])
    return scene.image[inside], masks


def choose_masks(areas: np.ndarray, fit: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``count`` numbers among ``fit``, by ``chance_by_area``.

    None comes twice unless there are fewer than ``count``; then all come, and some again (they get other prompts).
    """
    chance = chance_by_area(areas[fit])
    chosen = rng.choice(fit, min(count, len(fit)), replace=False, p=chance)
    return np.concatenate([chosen, rng.choice(fit, count - len(chosen), p=chance)])


class Stream(Dataset[dict[str, np.ndarray]]):
    """Holds what both streams share: sets of real images, the world's share, the seed, the length."""

    def __init__(
        self,
        size: int,
        data: Sequence[str | Path],
        world: float,
        seed: int,
        length: int,
        bare: bool,
        hold_out: int = 0,
    ) -> None:
        self.size, self.world, self.seed, self.length = size, world, seed, length
        self.sources: list[Any] = [source for path in data for source in open_sources(path, bare)]
        self.numbers = kept_numbers(self.sources, hold_out)
        if not self.sources and world < 1:
            raise InputError(f"expected --world 1 when no --data folder is given, got {world}")

    def __len__(self) -> int:
        return self.length

    def draw_source(self, rng: np.random.Generator) -> tuple[int, int] | None:
        """Draw the number of a set, each with the same chance, and of one of its images; None stands for the world."""
        if rng.random() < self.world:
            return None
        chosen = rng.integers(len(self.sources))
        return int(chosen), int(rng.choice(self.numbers[chosen]))

    def pad(self, image: np.ndarray, **more: np.ndarray) -> dict[str, np.ndarray]:
        """Pad the image to (S, S) at the right and bottom; return it with its size."""
        height, width = image.shape[:2]
        padded = np.zeros((self.size, self.size, 3), np.uint8)
        padded[:height, :width] = image
        return {"image": padded, "size": np.array([height, width]), **more}


class Pictures(Stream):
    """A stream of (image, K masks): number i is a world image with probability ``world``, else a real one.

    Items: ``image`` uint8 (S, S, 3); ``size`` int64 (2,), the (height, width) of the image in it; ``masks`` bool
    (K, S, S), each of at least ``least`` pixels. ``held_out``: the world's scenes that training never sees, in order.
    ``zoom``: how often a world image is a window of a scene twice as large, so that small parts have their pixels.
    ``domains``: those of the world that are shown, by default all.
    """

    def __init__(
        self,
        size: int,
        masks: int,
        data: Sequence[str | Path],
        world: float,
        seed: int,
        length: int,
        least: int = 32,
        held_out: bool = False,
        hold_out: int = 0,
        colours: float = 0.0,
        paste: float = 0.0,
        zoom: float = 0.0,
        domains: Sequence[str] | None = None,
    ) -> None:
        super().__init__(size, data, world, seed, length, False, hold_out)
        self.masks, self.least, self.held_out = masks, least, held_out
        self.colours, self.paste, self.zoom, self.domains = colours, paste, zoom, domains

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, index])
        drawn = self.draw_source(rng)
        if drawn is not None:
            return self._real(*drawn, rng)
        scenes = HELD_OUT + index if self.held_out else int(rng.integers(HELD_OUT))
        while True:
            scale = 2 if self.zoom and rng.random() < self.zoom else 1
            item = self._choose(*window(render(scenes, scale * self.size, self.domains), self.size, rng), rng)
            if item is not None:
                return item
            scenes = scenes + self.length if self.held_out else int(rng.integers(HELD_OUT))

    def _cut(self, chosen: int, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Cut an image at random, mirror it half of the time, resize its long side to S; some of its masks alike."""
        source = self.sources[chosen]
        image = source.picture(number)
        some = rng.permutation(source.count(number))[: 4 * self.masks]
        box, size = random_cut(image.size, self.size, rng)
        masks = resize_masks(source.masks(number, some), box, size)
        pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box))
        return (pixels[:, ::-1], masks[:, :, ::-1]) if rng.random() < 0.5 else (pixels, masks)

    def _real(self, chosen: int, number: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return what ``_changed`` makes of an image, or, where no mask fits, of others of the same set."""
        for _ in range(TRIES):
            item = self._changed(chosen, number, rng)
            if item is not None:
                return item
            number = int(rng.choice(self.numbers[chosen]))
        wanted = f"masks of at least {self.least} pixels at {self.size} × {self.size}"
        raise InputError(f"expected {wanted} in {self.sources[chosen].name}, got none in {TRIES} images")

    def _changed(self, chosen: int, number: int, rng: np.random.Generator) -> dict[str, np.ndarray] | None:
        """Cut an image, perhaps paste an object of another, perhaps change colours; None if no mask is left."""
        pixels, masks = self._cut(chosen, number, rng)
        if self.paste and rng.random() < self.paste:
            partner = int(rng.integers(len(self.sources)))
            other = self._cut(partner, int(rng.choice(self.numbers[partner])), rng)
            pixels, masks = augment.paste(pixels, masks, *other, rng)
        if self.colours:
            pixels = augment.other_colours(pixels, self.colours, rng)
        return self._choose(pixels, masks, rng)

    def _choose(self, image: np.ndarray, masks: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray] | None:
        """Choose K of the masks that are neither tiny nor nearly everything; None if there is none."""
        height, width = image.shape[:2]
        areas = masks.sum(axis=(1, 2)) if len(masks) else np.zeros(0)
        fit = np.flatnonzero((areas >= self.least) & (areas <= MAX_COVERAGE * height * width))
        if not len(fit):
            return None
        padded = np.zeros((self.masks, self.size, self.size), bool)
        padded[:, :height, :width] = masks[choose_masks(areas, fit, self.masks, rng)]
        return self.pad(image, masks=padded)


class Bare(Stream):
    """A stream of images without masks, for pretraining: ``image`` and ``size`` as in ``Pictures``."""

    def __init__(
        self, size: int, data: Sequence[str | Path], world: float, seed: int, length: int, hold_out: int = 0
    ) -> None:
        super().__init__(size, data, world, seed, length, True, hold_out)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, index])
        drawn = self.draw_source(rng)
        if drawn is None:
            return self.pad(render(int(rng.integers(HELD_OUT)), self.size).image)
        image = self.sources[drawn[0]].picture(drawn[1])
        box, size = random_cut(image.size, self.size, rng)
        pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box))
        return self.pad(pixels[:, ::-1] if rng.random() < 0.5 else pixels)
