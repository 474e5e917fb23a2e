"""Edge NMS against pyEdgeEval's C++, thinning against scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import thin as reference_thin

from minisam.transfer.edges.thinning import edge_nms, orientation, thin, triangle
from minisam_kernels import InputError
from strategies import LAYOUTS, lay_out, seeds

MUTANTS = {
    "no tolerance": ("minisam/transfer/edges/thinning.py", "if e * TOLERANCE >= strongest:", "if e >= strongest:"),
    "along the edge": (
        "minisam/transfer/edges/thinning.py",
        "x, y = cos[i, j], sin[i, j]",
        "y, x = cos[i, j], sin[i, j]",
    ),
    "strong edges at the frame": ("minisam/transfer/edges/thinning.py", "FRAME = 5", "FRAME = 1"),
    "a stop after the first idle pass": ("minisam/transfer/edges/thinning.py", "while idle < 2:", "while idle < 1:"),
    "removal one by one": (
        "minisam/transfer/edges/thinning.py",
        "            goes[n] = removable[turn, code]\n",
        "            goes[n] = removable[turn, code]\n            image[pixels[n]] = 0 if goes[n] else 1\n",
    ),
}


def soft_map(height: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.random((height, width)), rng.choice([0.5, 1, 2]))
    return (smooth - smooth.min()) / (np.ptp(smooth) or 1)


@given(st.integers(2, 30), st.integers(2, 30), seeds)
def test_edge_nms_equals_the_toolbox(height, width, seed):
    """Given the orientations, pixel for pixel. Kills: no tolerance, along the edge, strong edges at the frame."""
    program = pytest.importorskip("pyEdgeEval._lib", reason="installed where there is a C++ compiler")
    edges = soft_map(height, width, seed)
    smooth = triangle(edges, 1)
    expected = program.nms(smooth, orientation(smooth), r=1, s=5, m=1.01)
    np.testing.assert_allclose(edge_nms(edges), expected, atol=1e-12)


@pytest.mark.parametrize("radius", [1, 4])
def test_triangle_equals_the_toolbox(radius):
    toolbox = pytest.importorskip("pyEdgeEval.preprocess.nms.toolbox", reason="installed where there is a C++ compiler")
    edges = soft_map(20, 31, 0)
    np.testing.assert_allclose(triangle(edges, radius), toolbox.conv_tri(edges, radius), atol=1e-12)


def test_orientation_is_across_the_edge():
    """Of ridges in four directions; between the axes the formula is off by 11°."""
    y, x = np.mgrid[-20:21, -20:21]
    for degrees in (0, 30, 90, 120):
        angle = np.deg2rad(degrees)
        ridge = np.exp(-((x * np.cos(angle) + y * np.sin(angle)) ** 2) / 8)
        difference = orientation(ridge)[20, 20] - angle
        assert abs(np.sin(difference)) < (0.02 if degrees % 90 == 0 else 0.2)


def test_a_wide_ridge_becomes_a_line():
    x = np.abs(np.arange(40) - 20)
    edges = np.broadcast_to(np.maximum(0, 1 - x / 6), (40, 40))
    left = edge_nms(edges)[10:30]
    assert (left[:, 20] > 0.5).all() and not left[:, :19].any() and not left[:, 22:].any()


@given(st.integers(1, 24), st.integers(1, 24), st.sampled_from([0.3, 0.6, 0.9]), seeds, st.sampled_from(LAYOUTS))
def test_thinning_equals_scikit_image(height, width, share, seed, layout):
    """Noise, and blobs that take many passes. Kills: a stop after the first idle pass, removal one by one."""
    rng = np.random.default_rng(seed)
    noise = rng.random((height, width))
    image = (ndimage.gaussian_filter(noise, 2) > 0.5 - 0.1 * share) if seed % 2 else noise < share
    expected = reference_thin(lay_out(image, layout))
    np.testing.assert_array_equal(thin(lay_out(image, layout)), expected)


def test_bad_input():
    with pytest.raises(InputError, match=r"at least 2 × 2, got \(1, 5\)"):
        edge_nms(np.zeros((1, 5)))
    with pytest.raises(InputError, match="got NaN or infinity"):
        edge_nms(np.full((4, 4), np.nan))
    with pytest.raises(InputError, match="expected booleans"):
        thin(np.zeros((4, 4)))
