"""The LayerNorm of a sum that is never added up: features of image tokens are divided by the sum's σ::

    y[n] = scale[n] · z[n] + Σ over k of features[k, n] · basis[k]          z, basis (C,) each with mean 0
    features[k, n] / σ[n],    σ² = |y|² / C + ε
    |y|² = scale² |z|² + 2 scale Σ features · (basis · z) + Σ Σ features[j] (basis[j] · basis[k]) features[k]

Source: the square of a sum; Ba, Kiros & Hinton 2016 for σ. z is the image's part, C numbers per pixel, and ``|z|²``
is known before any prompt comes. ``basis`` has a group of rows per layer: (T − 1) for every head, what a prompt token's
value v (D numbers) becomes on its way out, v · W of that head; and one row for all the rest, Σ over heads of v · W of
the last token + a bias. So basis · z needs only W z (``cross``), also known before, and products with D terms: for 49
features, 17 · 10⁶ multiply–adds on 4096 pixels, where adding up y takes 51 · 10⁶.
Where the parts nearly cancel, σ² is a small difference of large numbers. That is what the ratio tells the caller: the
largest, over pixels, of (scale² ``|z|²`` + ``|basis part|²``) / (``|y|²`` + C ε).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.decoder.head_products import add_head_products
from minisam_kernels.runtime.errors import as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit

TOLERANCE = 8.0  # × eps × magnitude; see ``implied_layer_norm``
_0, _1, _2 = np.float32(0), np.float32(1), np.float32(2)


def basis_numpy(ways: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The rows described above: (K, C)."""
    groups, heads, _, width = values.shape
    rows = []
    for g in range(groups):
        way = ways[g, :-1].reshape(heads, width, -1)
        change = values[g] @ way  # (heads, T, C)
        rows += [change[:, :-1].reshape(-1, ways.shape[2]), change[:, -1].sum(axis=0)[None] + ways[g, -1:]]
    return np.concatenate(rows)


def implied_layer_norm_numpy(
    z: np.ndarray, ways: np.ndarray, values: np.ndarray, scale: np.ndarray, features: np.ndarray, eps: float
) -> np.ndarray:
    """The first two equations, y added up. → features / σ (K, P), in the dtype of z."""
    y = scale * z + basis_numpy(ways, values).T @ features  # (C, P)
    return features / np.sqrt((y**2).mean(axis=0) + eps)


@jit
def implied_layer_norm_tile(values, cross, length, scale, mixed, eps, channels, features):
    """cross (groups, heads · D + 1, P) = ways · z, length (P,) = ``|z|²``, mixed (K, P) = gram · features, where a pair
    of rows may be counted twice on one side; features (K, P) are scaled in place. Returns the largest ratio."""
    groups, heads, tokens, width = values.shape
    pixels = features.shape[1]
    rows = heads * (tokens - 1) + 1
    products = np.empty((heads * tokens, pixels), np.float32)
    across, square = np.zeros(pixels, np.float32), np.zeros(pixels, np.float32)
    for g in range(groups):
        # across += Σ features · (basis · z), where basis · z is v · (W z) of a head, and of the bias W z itself.
        group = features[g * rows : (g + 1) * rows]
        products[:] = _0
        add_head_products(values[g], cross[g], products)
        for r in range(heads * tokens + 1):
            h, t = divmod(r, tokens)
            row = group[h * (tokens - 1) + t] if h < heads and t < tokens - 1 else group[rows - 1]
            product = products[r] if h < heads else cross[g, heads * width]
            for n in range(pixels):
                across[n] += row[n] * product[n]
    # square = |features · basis|².
    for r in range(len(features)):
        row, other = features[r], mixed[r]
        for n in range(pixels):
            square[n] += row[n] * other[n]
    # total = |y|², the ratio of its terms to it, and 1/σ in the place of square.
    worst = _0
    for n in range(pixels):
        of_basis = square[n] if square[n] > _0 else _0
        of_image = scale[n] * scale[n] * length[n]
        total = of_image + _2 * scale[n] * across[n] + square[n]
        total = total if not total < _0 else _0
        ratio = (of_image + of_basis) / (total + channels * eps)
        worst = ratio if ratio > worst else worst
        square[n] = _1 / np.sqrt(total / channels + eps)
    for r in range(len(features)):
        row = features[r]
        for n in range(pixels):
            row[n] *= square[n]
    return worst


@jit
def implied_layer_norm_tiles(values, cross, length, scale, mixed, eps, channels, features, ratios):
    """The same for B prompts about the same tile: values, mixed and features have an axis more in front. The scale is
    row ``scale`` of the features, of which there may be more than in mixed; ratios (B,) are written."""
    for b in range(len(values)):
        used = features[b, : mixed.shape[1]]
        ratios[b] = implied_layer_norm_tile(values[b], cross, length, used[scale], mixed[b], eps, channels, used)


def implied_layer_norm(
    z: npt.ArrayLike,
    ways: npt.ArrayLike,
    values: npt.ArrayLike,
    scale: npt.ArrayLike,
    features: npt.ArrayLike,
    eps: float,
) -> tuple[np.ndarray, float]:
    """Divide features by the σ of the sum that they stand for.

    Parameters
    ----------
    z : array_like, shape (C, P)
    ways : array_like, shape (groups, heads · D + 1, C)
        W of every head, and in the last row the bias. Rows have mean 0.
    values : array_like, shape (groups, heads, T, D)
        The last token's own, the other tokens' as they are to count.
    scale : array_like, shape (P,)
    features : array_like, shape (K, P)
        K = groups · (heads · (T − 1) + 1).
    eps : float
        ε, added to the variance.

    Returns
    -------
    features : ndarray, shape (K, P), float32
    ratio : float

    Raises
    ------
    InputError
        If shapes do not fit.

    Notes
    -----
    Accuracy: ``TOLERANCE`` · eps · ``|features / σ|`` · (1 + the terms' absolute sum over ``|y|²`` + C ε).
    """
    z, ways, values = as_float32("z", z), as_float32("ways", ways), as_float32("values", values)
    expect_ndim("z", z, 2, "(C, P)")
    expect_ndim("values", values, 4, "(groups, heads, T, D)")
    groups, heads, tokens, width = values.shape
    channels, pixels = z.shape
    expect_shape("ways", ways, (groups, heads * width + 1, channels))
    scale, features = as_float32("scale", scale), np.array(as_float32("features", features))
    expect_shape("scale", scale, (pixels,))
    expect_shape("features", features, (groups * (heads * (tokens - 1) + 1), pixels))
    basis = basis_numpy(ways, values)
    cross, mixed = ways @ z, basis @ basis.T @ features
    length = (z * z).sum(axis=0)
    numbers = np.float32(eps), np.float32(channels)
    ratio = implied_layer_norm_tile(values, cross, length, scale, mixed, *numbers, features)
    return features, float(ratio)
