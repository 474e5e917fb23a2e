"""The image encoder's fused blocks are its plain blocks, and an image's features are its own, bit by bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.model.config import CONFIGS, SamConfig
from minisam.sam import build
from minisam_kernels import InputError
from small_models import shallow
from strategies import seeds, sizes


def compare_blocks(config: SamConfig, shape: tuple[int, int, int], seed: int) -> None:
    """Both blocks on random tokens (B, h, w). Sums of up to 4 C terms in another order: √(4 C) · eps of what they add
    up, a few times over, is below 2e-5 for C = 1280 and tokens of size 1 to 6."""
    encoder = build(config, seed).image_encoder
    x = np.random.default_rng(seed).standard_normal((*shape, config.encoder_embed_dim)).astype(np.float32)
    before = x.copy()
    for i in range(2):
        np.testing.assert_allclose(encoder.block(i, x), encoder.plain_block(i, x), rtol=0, atol=2e-5)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("side", "window_size"), [(14, 14), (20, 14), (7, 14)])
def test_fused_is_plain_for_every_configuration(name, side, window_size):
    """Windows that fit, that are filled up, and one that is larger than the image."""
    compare_blocks(shallow(name, side, window_size), (1, side, side), 0)


@given(st.tuples(st.integers(1, 2), sizes(1, 20, edges=(8, 16)), sizes(1, 20, edges=(8, 16))), st.integers(1, 9), seeds)
def test_fused_is_plain_for_every_size(shape, window_size, seed):
    """Images of any shape, batches, windows of any size."""
    compare_blocks(dataclasses.replace(shallow("tiny", 8, window_size), encoder_embed_dim=24), shape, seed)


@pytest.mark.parametrize("side", [8, 11, 20])
def test_a_picture_does_not_see_the_others(side):
    """Bit by bit: three images together give what each gives alone."""
    config = shallow("tiny", side, 8)
    encoder = build(config, 1).image_encoder
    pictures = np.random.default_rng(1).standard_normal((3, *[config.image_size] * 2, 3)).astype(np.float32)
    together = encoder(pictures)
    for picture, features in zip(pictures, together, strict=True):
        np.testing.assert_array_equal(encoder(picture[None])[0], features)


def test_bad_input_names_expected_and_received():
    encoder = build(shallow("tiny", 8, 8)).image_encoder
    with pytest.raises(InputError, match=r"expected image of shape \(B, 64, 64, 3\), got \(1, 64, 32, 3\)"):
        encoder(np.ones((1, 64, 32, 3)))
