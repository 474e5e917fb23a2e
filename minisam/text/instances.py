"""Every instance that words denote: the automatic masks whose crops lie near enough to the words in CLIP's space.

This is SAM 3's task ("every red car") by older means: masks first, words after. The generator proposes, CLIP's image
tower embeds a crop of every proposal, and ``find`` keeps those whose cosine with the text's embedding passes a
threshold; of masks that overlap much, the one that is nearest to the words stays.

    instances = Instances(photo, generator, clip)      # seconds: once per image
    records = instances.find("a red car")              # milliseconds: once per text
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from minisam.automatic.generator import SamAutomaticMaskGenerator
from minisam.clip.crops import crop, large_enough
from minisam.clip.pairs import SMALLEST
from minisam.files.formats import mask_of
from minisam.model.inputs import as_image

if TYPE_CHECKING:
    from minisam.automatic.run import Progress
    from minisam.clip import Clip

EXPAND = 1.1  # side of a crop, of the box's
NEAR = 0.4  # cosine from which a crop is an instance; EXPAND and NEAR: the best F1 on 16 scenes for choosing
OVERLAP = 0.5  # IoU of masks above which the one that is nearer to the words stays


def embed_masks(
    clip: Clip,
    image: np.ndarray,
    masks: list[np.ndarray],
    rng: np.random.Generator | None = None,
    copies: int = 1,
) -> np.ndarray:
    """The vectors of masks' crops.

    Parameters
    ----------
    clip : Clip
    image : ndarray, shape (H, W, 3), uint8
    masks : list of ndarray, shape (H, W), bool
    rng : numpy.random.Generator, optional
        Draws margin and background of ``copies`` crops of each mask, as in training. Without it a crop has ``EXPAND``
        times the box's side and its background.
    copies : int

    Returns
    -------
    ndarray, shape (N, copies, E), float32
        Of length 1.
    """
    side = clip.config.image_size
    cut = [crop(image, mask, side, EXPAND, background=True, rng=rng) for mask in masks for _ in range(copies)]
    pixels = np.array([c.pixels for c in cut], np.uint8).reshape(-1, side, side, 3)
    # without its background, the whole crop is the object's
    inside = np.array([c.inside | (not c.background) for c in cut], bool).reshape(-1, side, side)
    return clip.embed_image(pixels, inside).reshape(len(masks), copies, clip.config.embed_dim)


class Instances:
    """The automatic masks of an image with the vectors of their crops, to be asked for by words.

    Parameters
    ----------
    image : array_like, shape (H, W, 3), uint8; or str, Path or PIL image
        As for ``SamAutomaticMaskGenerator.generate``.
    generator : SamAutomaticMaskGenerator
        Its masks are the candidates.
    clip : Clip
    progress : callable, optional
        As for ``generate``.

    Attributes
    ----------
    records : list of dict
        The generator's, of masks with enough pixels for a crop (``minisam.clip.pairs.SMALLEST``).
    masks : list of ndarray, shape (H, W), bool
        Theirs.
    vectors : ndarray, shape (N, E), float32
        Of their crops.
    """

    def __init__(
        self,
        image: npt.ArrayLike | str | os.PathLike[str] | Image.Image,
        generator: SamAutomaticMaskGenerator,
        clip: Clip,
        progress: Progress | None = None,
    ) -> None:
        pixels, self.clip = as_image(image), clip
        records = generator.generate(pixels, progress)
        masks = [_mask(record) for record in records]
        chosen = [i for i, mask in enumerate(masks) if large_enough(mask, SMALLEST)]
        self.records, self.masks = [records[i] for i in chosen], [masks[i] for i in chosen]
        self.vectors = embed_masks(clip, pixels, self.masks)[:, 0]
        self._overlap = _overlaps(self.masks)

    def find(self, text: str, near: float = NEAR) -> list[dict[str, Any]]:
        """The masks that words denote.

        Parameters
        ----------
        text : str
        near : float
            Least cosine between the crop's vector and the text's.

        Returns
        -------
        list of dict
            The generator's records with ``similarity``, the cosine, by which they fall, and ``mask``, their number in
            ``masks``.

        Raises
        ------
        InputError
            If the text has no word that the towers can read.
        """
        return self.nearest(self.clip.embed_text([text])[0], near)

    def nearest(self, vector: np.ndarray, near: float = NEAR) -> list[dict[str, Any]]:
        """As ``find``, for a vector (E,) of length 1 in place of words."""
        similarity = self.vectors @ vector
        kept: list[int] = []
        for i in np.argsort(-similarity, kind="stable"):
            if similarity[i] >= near and not (self._overlap[i, kept] > OVERLAP).any():
                kept.append(int(i))
        return [self.records[i] | {"similarity": float(similarity[i]), "mask": i} for i in kept]


def _mask(record: dict[str, Any]) -> np.ndarray:
    """A generator's mask in any of its forms → bool (H, W)."""
    return mask_of(record) if isinstance(record["segmentation"], dict) else np.asarray(record["segmentation"], bool)


def _overlaps(masks: list[np.ndarray]) -> np.ndarray:
    """IoU of every mask (H, W) with every other, (N, N), counted on every other row and column."""
    if not masks:
        return np.zeros((0, 0))
    flat = np.array([mask[::2, ::2].ravel() for mask in masks], np.float32)
    both = flat @ flat.T
    area = flat.sum(1)
    return both / np.maximum(area[:, None] + area - both, 1)
