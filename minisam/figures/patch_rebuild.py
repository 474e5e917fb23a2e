"""patch_rebuild: an image made again from its patch embeddings, from fewer and fewer filters.

A patch of p² · 3 numbers goes in as x and comes out as y = W x + b. From the k numbers of chosen filters S, the
pseudo-inverse gives the patch of the smallest norm that has them: x̂ = W_S⁺ (y_S − b_S). With it stands what the best k
numbers could do, whoever chose them: the first k singular vectors of this very image's patches (Eckart and Young).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minisam.figures.shared.states import Axis, State, states
from minisam.figures.shared.tokens import Seen, as_pixels, see
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

    from minisam.figures.click import Photo
    from minisam.sam import Sam

WAYS = ("as they lie in the file", "chosen to differ most", "the best any could do")
QUESTION = (
    "A patch becomes a token by one matrix product. How many of its numbers are needed until you recognise the "
    "image? And with all of them, will the image come back exactly?"
)


def as_rows(image: np.ndarray, patch: int) -> np.ndarray:
    """(S, S, 3) → its patches as rows (N, p · p · 3), each in the order (row, column, channel)."""
    n = image.shape[0] // patch
    return image.reshape(n, patch, n, patch, 3).transpose(0, 2, 1, 3, 4).reshape(n * n, patch * patch * 3)


def as_image(rows: np.ndarray, patch: int) -> np.ndarray:
    """The inverse of :func:`as_rows`."""
    n = int(len(rows) ** 0.5)
    return rows.reshape(n, n, patch, patch, 3).transpose(0, 2, 1, 3, 4).reshape(n * patch, n * patch, 3)


def filter_rows(seen: Seen) -> np.ndarray:
    """The patch embedding's weight as a matrix (C, p · p · 3), float64, columns in the order of :func:`as_rows`."""
    weight = seen.sam.image_encoder.state["patch_embed.proj.weight"].astype(np.float64)
    return weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)


def most_different(matrix: np.ndarray) -> np.ndarray:
    """An order of the rows (C, n): each next one is the one that the rows before it explain least (pivoted QR)."""
    from scipy.linalg import qr

    return np.asarray(qr(matrix.T, mode="economic", pivoting=True)[2])


def rebuild(matrix: np.ndarray, rows: np.ndarray, kept: Sequence[int] | np.ndarray) -> np.ndarray:
    """Patches (N, n) seen through the filters ``kept`` of ``matrix`` (C, n) and made again by the pseudo-inverse.

    The numbers that the filters give are rounded to float32, as a token's are; so is nothing else.
    """
    chosen = matrix[np.asarray(kept, dtype=int)]
    tokens = (rows @ chosen.T).astype(np.float32).astype(np.float64)
    return tokens @ np.linalg.pinv(chosen).T


def directions(rows: np.ndarray) -> np.ndarray:
    """The best linear coordinates of patches (N, n), the first k best for every k: the right singular vectors (n, n),
    one per row."""
    return np.linalg.svd(rows, full_matrices=False)[2]


def best_possible(rows: np.ndarray, basis: np.ndarray, k: int) -> np.ndarray:
    """Patches (N, n) from their first k coordinates in ``basis``: the closest matrix of rank k."""
    return rows @ basis[:k].T @ basis[:k]


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio of normalised images in decibel, of 255 levels; before any rounding to levels."""
    from minisam.model.preprocess import STD

    error = float((((image - truth) * STD) ** 2).mean())
    return 10 * float(np.log10(255**2 / max(error, 1e-30)))


def patch_rebuild(
    sam: Sam | None = None,
    image: Photo | np.ndarray | str = "coffee",
    kept: Sequence[int] | None = None,
    source: str = "",
) -> ipywidgets.VBox:
    """A slider over how many filters are kept, and buttons for which. ``kept``: the numbers of filters to offer, each
    from 1 to C (default: up to all). Raises ``InputError`` for others."""
    seen = see(sam, image)
    matrix, patch = filter_rows(seen), seen.sam.config.patch_size
    C = len(matrix)
    kept = sorted({k for k in (1, 3, 12, 48, 96, 160, C) if k <= C} if kept is None else set(kept))
    if not kept or not 1 <= kept[0] <= kept[-1] <= C:
        raise InputError(f"expected numbers of filters from 1 to {C}, got {kept}")
    height, width = seen.size
    truth = seen.x[0].astype(np.float64)
    rows, order = as_rows(truth, patch), most_different(matrix)
    basis = directions(rows)

    def draw(way: int, i: int) -> State:
        k = kept[i]
        chosen = np.arange(k) if way == 0 else order[:k]
        again = best_possible(rows, basis, k) if way == 2 else rebuild(matrix, rows, chosen)
        made = as_image(again, patch)
        seen_part = np.s_[:height, :width]
        pair = np.concatenate([as_pixels(made)[seen_part], seen.pixels[seen_part]], axis=1)
        pair = np.repeat(np.repeat(pair, 2, axis=0), 2, axis=1)
        decibel = psnr(made[seen_part], truth[seen_part])
        worst = int(np.abs(as_pixels(made)[seen_part].astype(int) - seen.pixels[seen_part]).max())
        words = (
            f"{k} of {C} numbers a token, {WAYS[way]}: {decibel:.1f} dB, the worst pixel off by {worst} of 255. "
            "Left: made again from the tokens; right: what went in."
        )
        return State(pair, words)

    axes = [Axis("Which", WAYS, 1), Axis("Numbers kept of a token", [str(k) for k in kept], len(kept) // 2)]
    return states(axes, draw, QUESTION, source)
