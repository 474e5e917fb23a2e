"""A softmax over tiles: what each tile kept of its part is put together, in the tiles' order::

    share[i, r] = e^(largest[i, r] − top[r]),    top = the largest over the tiles i
    mixed[r] = Σ over i of share[i, r] · moments[i, r]  /  Σ over i of share[i, r] · totals[i, r],    rest from mixtures

Source: Milakov & Gimelshein 2018. A tile's weights are e^(score − largest): it keeps that maximum, the sum of its
weights (``totals``) and two sums of what they weigh, ``moments`` and ``mixtures``. ``tokens_to_image`` makes them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.elementary import exp
from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.jit import jit

TOLERANCE = 8.0  # × eps × magnitude; see ``merge_tiles``


def merge_tiles_numpy(
    largest: np.ndarray, totals: np.ndarray, moments: np.ndarray, mixtures: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The equations above → mixed (R, D), rest (R, K), in the dtype of largest."""
    share = np.exp(largest - largest.max(axis=0))[..., None]
    total = (share * totals[..., None]).sum(axis=0)
    return (share * moments).sum(axis=0) / total, (share * mixtures).sum(axis=0) / total


@jit
def _merge_tiles(largest, totals, moments, mixtures, mixed, rest):
    """largest, totals (tiles, R), moments (tiles, R, D), mixtures (tiles, R, K) → mixed (R, D), rest (R, K)."""
    tiles, rows = largest.shape
    for r in range(rows):
        top = largest[0, r]
        for i in range(tiles):
            top = largest[i, r] if largest[i, r] > top else top
        total = np.float32(0)
        mixed[r] = np.float32(0)
        rest[r] = np.float32(0)
        for i in range(tiles):
            share = exp(largest[i, r] - top)  # of the tile's sums in those of all tiles
            total += share * totals[i, r]
            for d in range(mixed.shape[1]):
                mixed[r, d] += share * moments[i, r, d]
            for j in range(rest.shape[1]):
                rest[r, j] += share * mixtures[i, r, j]
        for d in range(mixed.shape[1]):
            mixed[r, d] /= total
        for j in range(rest.shape[1]):
            rest[r, j] /= total


def merge_tiles(
    largest: npt.ArrayLike, totals: npt.ArrayLike, moments: npt.ArrayLike, mixtures: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Put the sums of tiles together.

    Parameters
    ----------
    largest, totals : array_like, shape (tiles, R)
        Each row's largest score in a tile, and the sum of its weights there.
    moments : array_like, shape (tiles, R, D)
    mixtures : array_like, shape (tiles, R, K)
        D and K may be 0.

    Returns
    -------
    mixed : ndarray, shape (R, D), float32
    rest : ndarray, shape (R, K), float32

    Raises
    ------
    InputError
        If shapes do not fit, or there is no tile.

    Notes
    -----
    Accuracy: ``TOLERANCE`` · eps · (1 + largest ``|largest|``) · Σ share · ``|moments|`` (or ``|mixtures|``) / total.
    """
    names = ("largest", "totals", "moments", "mixtures")
    largest, totals, moments, mixtures = map(as_float32, names, (largest, totals, moments, mixtures))
    expect_ndim("largest", largest, 2, "(tiles, R)")
    tiles, rows = largest.shape
    if tiles == 0:
        raise InputError(f"expected at least one tile, got largest of shape {largest.shape}")
    expect_shape("totals", totals, largest.shape)
    expect_ndim("moments", moments, 3, "(tiles, R, D)")
    expect_ndim("mixtures", mixtures, 3, "(tiles, R, K)")
    expect_shape("moments", moments, (tiles, rows, moments.shape[2]))
    expect_shape("mixtures", mixtures, (tiles, rows, mixtures.shape[2]))
    mixed = np.empty((rows, moments.shape[2]), np.float32)
    rest = np.empty((rows, mixtures.shape[2]), np.float32)
    _merge_tiles(largest, totals, moments, mixtures, mixed, rest)
    return mixed, rest
