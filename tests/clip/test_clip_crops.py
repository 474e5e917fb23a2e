"""The square around an object."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.clip.crops import LEAST, crop, large_enough
from minisam_kernels import InputError

MUTANTS = {
    "a box that is not square": (
        "minisam/clip/crops.py",
        "half = expand * max(y1 - y0, x1 - x0) / 2",
        "half = expand * (x1 - x0) / 2",
    ),
    "a middle half a pixel off": ("minisam/clip/crops.py", "(y0 + y1) / 2 - half,", "(y0 + y1 - 1) / 2 - half,"),
    "a background that stays": ("minisam/clip/crops.py", "        pixels[~part] = 0\n", "        pass\n"),
    "chance that is not used": ("minisam/clip/crops.py", "float(rng.uniform(*EXPAND))", "1.5"),
    "shares of the image's area": ("minisam/clip/crops.py", "(least * max(mask.shape)) ** 2", "least**2 * mask.size"),
}


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 20), st.integers(0, 20), st.sampled_from([1.0, 1.5, 2.0]))
def test_a_crop_at_its_own_size_is_the_pixels(h: int, w: int, top: int, left: int, expand: float) -> None:
    """Where the square falls on whole pixels and is not resized, each pixel is the image's, or black outside.

    Kills: a box that is not square, a middle half a pixel off, a background that stays."""
    h, w = 4 * h, 4 * w  # so that every expansion and every middle is whole
    rng = np.random.default_rng(h + 31 * w)
    image = rng.integers(1, 256, (h + top + 9, w + left + 7, 3), dtype=np.uint8)
    mask = np.zeros(image.shape[:2], bool)
    mask[top : top + h, left : left + w] = True
    side = int(expand * max(h, w))
    y0, x0 = top + (h - side) // 2, left + (w - side) // 2
    for background in (False, True):
        one = crop(image, mask, side, expand, background)
        padded = np.pad(image, ((side, side), (side, side), (0, 0)))[
            y0 + side : y0 + 2 * side, x0 + side : x0 + 2 * side
        ]
        inside = np.pad(mask, side)[y0 + side : y0 + 2 * side, x0 + side : x0 + 2 * side]
        np.testing.assert_array_equal(one.inside, inside)
        np.testing.assert_array_equal(one.pixels, padded if background else padded * inside[..., None])
        assert one.background == background


@given(st.integers(0, 2**32 - 1))
def test_every_crop_has_a_pixel_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((int(rng.integers(1, 300)), int(rng.integers(1, 300))), bool)
    mask[tuple(rng.integers(0, mask.shape, (int(rng.integers(1, 4)), 2)).T)] = True
    one = crop(np.full((*mask.shape, 3), 200, np.uint8), mask, 16, rng=rng)
    assert one.pixels.shape == (16, 16, 3) and one.inside.any()


def test_chance_draws_size_and_background() -> None:
    """Kills: chance that is not used."""
    image, mask = np.full((64, 64, 3), 255, np.uint8), np.zeros((64, 64), bool)
    mask[24:40, 24:40] = True
    crops = [crop(image, mask, 32, rng=np.random.default_rng(seed)) for seed in range(60)]
    shares = np.array([one.inside.mean() for one in crops])
    assert shares.max() > 0.8 and shares.min() < 0.32  # between 1 and 1 / 4
    assert 15 < sum(one.background for one in crops) < 45


def test_large_enough_is_a_share_of_the_longer_side() -> None:
    """100² of 1024 × 700 pixels, and the equal share of smaller images. Kills: shares of the image's area."""
    assert LEAST == 100 / 1024
    for height, width in ((700, 1024), (350, 512)):
        mask = np.zeros((height, width), bool)
        mask[: 100 * width // 1024, : 100 * width // 1024] = True
        assert large_enough(mask)
        mask[0, 0] = False
        assert not large_enough(mask)


def test_bad_input_is_refused() -> None:
    image, mask = np.zeros((8, 9, 3), np.uint8), np.ones((8, 9), bool)
    for args, message in (
        ((image[..., 0], mask), r"an image of shape \(H, W, 3\)"),
        ((image, mask.T), r"a mask of shape \(8, 9\), bool, got \(9, 8\)"),
        ((image, ~mask), "at least one pixel"),
        ((image, mask, 0), "expected size >= 1"),
        ((image, mask, 8, 0.5), "expand >= 1, got 8 and 0.5"),
        ((image, mask, 8, float("nan")), "expand >= 1"),
    ):
        with pytest.raises(InputError, match=message):
            crop(*args)  # type: ignore[arg-type]
