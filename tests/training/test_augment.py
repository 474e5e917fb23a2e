"""Other colours, and objects pasted from one image into another."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minisam.training import augment

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "a gain without an end": ("minisam/training/augment.py", "np.clip(np.rint(x), 0, 255)", "np.rint(x)"),
    "saturation that changes grey": (
        "minisam/training/augment.py",
        "(grey + (x - grey) * np.float32(saturation))",
        "(grey * np.float32(saturation) + (x - grey))",
    ),
    "image and mask moved apart": (
        "minisam/training/augment.py",
        "moved[to] = chosen[since]",
        "moved[to] = np.roll(chosen, 3, 1)[since]",
    ),
    "a mask under the object": ("minisam/training/augment.py", "left = masks & ~moved", "left = masks"),
}


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_other_colours(seed, strength):
    """No strength changes nothing, none moves anything, what is flat stays flat and near its grey.

    Kills: a gain without an end, saturation that changes grey.
    """
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    assert abs(augment.other_colours(pixels, 0.0, rng).astype(int) - pixels).max() <= 1
    changed = augment.other_colours(pixels, strength, rng)
    assert changed.shape == pixels.shape and changed.dtype == np.uint8
    for value in (90, 255):
        flat = augment.other_colours(np.full((4, 4, 3), value, np.uint8), strength, rng).astype(float)
        assert (flat == flat[0, 0]).all()
        most = 0.75 * strength * value + 1  # the gain of all channels, and that of each; grey has no saturation
        assert (flat >= value - most).all() and (flat <= value + most).all()


@given(st.integers(0, 10**6), st.tuples(*[st.integers(4, 24)] * 4))
def test_a_pasted_object_is_where_its_mask_says(seed, sizes):
    """A white object on black, its mask the white pixels; what it covers is taken from the others, and a mask that is
    mostly covered goes. Kills: image and mask moved apart, a mask under the object."""
    height, width, h, w = sizes
    rng = np.random.default_rng(seed)
    objects = np.zeros((1, h, w), bool)
    objects[0, h // 4 : h // 4 + max(2, h // 2), w // 4 : w // 4 + max(2, w // 2)] = True
    other = np.where(objects[0, :, :, None], 255, 0).astype(np.uint8).repeat(3, axis=2)
    masks = rng.random((3, height, width)) < 0.5
    before, pixels = masks.copy(), np.zeros((height, width, 3), np.uint8)
    result, after = augment.paste(pixels, masks, other, objects, rng)
    assert not pixels.any() and (masks == before).all()
    if objects.sum() > augment.LARGEST * height * width:
        assert result is pixels and after is masks
        return
    moved = after[-1]
    assert ((result[..., 0] > 127) == moved).mean() > 0.9 and moved.any()
    left = [mask & ~moved for mask in masks]
    stays = [one for one, mask in zip(left, masks) if one.sum() >= augment.LEFT * mask.sum()]
    assert len(stays) == len(after) - 1
    for expected, mask in zip(stays, after):
        np.testing.assert_array_equal(expected, mask)
