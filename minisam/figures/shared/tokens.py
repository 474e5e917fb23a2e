"""What the figures of chapters 2 to 4 share: an image as the encoder gets it, and tokens drawn over it.

Source: ``minisam.model.preprocess``, ``minisam.model.image_encoder``. Coordinates of a token are (row, column) in the
grid of h × w tokens; pixels are those of the model's input, S × S, with the centre of the first pixel at (0, 0) on
matplotlib's axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.figures.click import Photo, photos
from minisam.model.preprocess import MEAN, STD, input_size, normalise_and_pad, resize_image
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.sam import Sam


@dataclass(frozen=True)
class Seen:
    """One image as the encoder of one model gets it."""

    sam: Sam
    title: str
    x: np.ndarray
    """(1, S, S, 3) float32, normalised, zeros where it was padded"""
    pixels: np.ndarray
    """(S, S, 3) uint8: the same, to be looked at; what was padded is the mean colour"""
    size: tuple[int, int]
    """(h', w') in pixels: the part that is image"""
    original: tuple[int, int]
    """(H, W) of the image that was given"""

    @property
    def side(self) -> int:
        """Tokens along a side."""
        return self.sam.config.image_embedding_size


def see(sam: Sam | None = None, image: Photo | np.ndarray | str = "chelsea") -> Seen:
    """Prepare ``image``, a ``Photo``, uint8 (H, W, 3) or a photograph's name, for ``sam`` (the tiny model if None)."""
    if sam is None:
        import minisam

        sam = minisam.load("tiny")
    photo = photos([image])[0] if isinstance(image, str) else image
    title, pixels = (photo.title, photo.image) if isinstance(photo, Photo) else ("Your image", np.asarray(photo))
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise InputError(f"expected an image of uint8 and shape (H, W, 3), got {pixels.dtype} {pixels.shape}")
    resized = resize_image(pixels, sam.config.image_size)
    x = normalise_and_pad(resized, sam.config.image_size)
    return Seen(sam, title, x, as_pixels(x[0]), resized.shape[:2], pixels.shape[:2])


def as_pixels(x: np.ndarray) -> np.ndarray:
    """Normalised (..., 3) → uint8 colours: normalising undone, rounded and cut to 0 … 255."""
    return np.rint(x * STD + MEAN).clip(0, 255).astype(np.uint8)


def token_under(seen: Seen, point: Sequence[float]) -> tuple[int, int]:
    """The token (row, column) under a ``point`` (x, y) in pixels of the given image, scaled as prompts are."""
    H, W = seen.original
    if len(point) != 2 or not (0 <= point[0] < W and 0 <= point[1] < H):
        raise InputError(f"expected a point (x, y) inside the image of {W} × {H} pixels, got {tuple(point)}")
    h, w = input_size(H, W, seen.sam.config.image_size)
    patch = seen.sam.config.patch_size
    return int(point[1] * h / H // patch), int(point[0] * w / W // patch)


def centre(seen: Seen, token: tuple[int, int]) -> tuple[float, float]:
    """The centre (x, y) of a token in pixels of the model's input, as matplotlib counts them."""
    patch = seen.sam.config.patch_size
    return (token[1] + 0.5) * patch - 0.5, (token[0] + 0.5) * patch - 0.5


def mark(axes: Any, at: tuple[float, float]) -> None:
    """A ring with a dark rim, to be seen on any image."""
    axes.plot(*at, "o", markersize=11, markerfacecolor="none", markeredgecolor="black", markeredgewidth=4)
    axes.plot(*at, "o", markersize=11, markerfacecolor="none", markeredgecolor="white", markeredgewidth=2)


def over(axes: Any, seen: Seen, values: np.ndarray, title: str, **options: Any) -> Any:
    """Values (h, w) of tokens in colour over the image in grey; returns matplotlib's image, for a colour bar."""
    S = seen.sam.config.image_size
    grey = seen.pixels.mean(axis=2)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
    shown = axes.imshow(values, extent=(-0.5, S - 0.5, S - 0.5, -0.5), interpolation="nearest", **options)
    axes.set_title(title, fontsize=14)
    axes.set_xticks([])
    axes.set_yticks([])
    return shown


def named_points(image: Photo | np.ndarray | str) -> dict[str, tuple[int, int]]:
    """Places (x, y) on the photographs that the chapters ask about, in pixels of the photograph."""
    known = {
        "chelsea": {"nose": (238, 164), "an eye": (172, 112), "background": (60, 60)},
        "coffee": {"the coffee": (285, 140), "the spoon": (360, 280), "the table": (60, 330)},
        "astronaut": {"the face": (225, 110), "the suit": (120, 430), "the flag": (60, 150)},
        "rocket": {"the rocket": (322, 250), "a tower": (160, 200), "the sky": (500, 90)},
    }
    if isinstance(image, str) and image in known:
        return known[image]
    height, width = (image.image if isinstance(image, Photo) else np.asarray(image)).shape[:2]
    return {"the middle": (width // 2, height // 2), "upper left": (width // 4, height // 4)}
