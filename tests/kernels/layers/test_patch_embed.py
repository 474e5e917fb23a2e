"""Properties of ``patch_embed``. Each names the wrong versions that it kills; ``tests/mutants.py`` breaks them in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.layers.patch_embed import TOLERANCE, patch_embed, patch_embed_numpy
from oracles import assert_close, oracle
from strategies import arrays

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "keeps the weight's order of channels": ("weight.transpose(0, 2, 3, 1)", "weight"),
    "swaps rows and columns of a patch": ("weight.transpose(0, 2, 3, 1)", "weight.transpose(0, 3, 2, 1)"),
    "patches overlap": ("image[r, j * p + s, k]", "image[r, max(j * p - 1, 0) + s, k]"),
    "repeats the first row of patches": ("image[b, row * p : (row + 1) * p]", "image[b, :p]"),
    "forgets the bias": (", bias)\n", ")\n"),
    "readable version swaps rows and columns": ('"birjsk,ckrs->bijc"', '"birjsk,cksr->bijc"'),
}


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p, channels, C = draw(st.integers(1, 6)), draw(st.sampled_from([1, 3])), draw(st.integers(1, 9))
    B, h, w = draw(st.integers(0, 2)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    return draw(arrays((B, h * p, w * p, channels))), draw(arrays((C, channels, p, p))), draw(arrays((C,)))


def magnitude(*drawn: np.ndarray) -> np.ndarray:
    return patch_embed_numpy(*(np.abs(a.astype(np.float64)) for a in drawn))


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version swaps rows and columns."""
    double = [a.astype(np.float64) for a in drawn]
    assert_close(patch_embed_numpy(*double), oracle(ops.patch_embed, *drawn), magnitude(*drawn), 1e-4)


@given(inputs())
def test_compiled_is_torch(drawn):
    """Agrees within its stated accuracy. Kills: every mutant of the compiled version."""
    assert_close(patch_embed(*drawn), oracle(ops.patch_embed, *drawn), magnitude(*drawn), TOLERANCE)


@given(inputs(), st.randoms())
def test_a_patch_sees_nothing_else(drawn, random):
    """Law: changing one pixel changes its own token only. Kills: patches overlap, repeats the first row of patches."""
    image, weight, bias = drawn
    if image.size == 0:
        return
    p = weight.shape[-1]
    y, x = random.randrange(image.shape[1]), random.randrange(image.shape[2])
    changed = image.copy()
    changed[0, y, x] += 1000
    one = np.ones_like(weight)
    differs = (patch_embed(changed, one, bias) != patch_embed(image, one, bias)).any(-1)
    expected = np.zeros_like(differs)
    expected[0, y // p, x // p] = True
    np.testing.assert_array_equal(differs & ~expected, False)
    assert differs[0, y // p, x // p] or np.abs(image).max() > 1e6


@pytest.mark.parametrize(
    ("image", "weight", "bias", "message"),
    [
        ((4, 4, 3), (5, 3, 2, 2), (5,), r"expected image of shape \(B, H, W, 3\), got \(4, 4, 3\)"),
        ((1, 4, 4, 3), (5, 3, 2), (5,), r"expected weight of shape \(C, 3, p, p\), got \(5, 3, 2\)"),
        ((1, 4, 4, 3), (5, 4, 2, 2), (5,), r"expected weight of shape \(5, 3, 2, 2\), got \(5, 4, 2, 2\)"),
        ((1, 4, 4, 3), (5, 3, 2, 2), (4,), r"expected bias of shape \(5,\), got \(4,\)"),
        ((1, 4, 5, 3), (5, 3, 2, 2), (5,), "height and width are multiples of 2, got 4 x 5"),
        ((1, 4, 4, 3), (5, 3, 0, 0), (5,), "expected a patch size >= 1, got 0"),
    ],
)
def test_bad_input_names_expected_and_received(image, weight, bias, message):
    with pytest.raises(InputError, match=message):
        patch_embed(np.ones(image), np.ones(weight), np.ones(bias))
