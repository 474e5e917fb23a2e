"""Decomposed relative positions: what the distance between a query and a key adds to their score::

    bias[(h, w), (h', w')] = q[h, w] · R_h[h, h'] + q[h, w] · R_w[w, w'],    R_h[h, h'] = table_h[h − h' + H − 1]

Chapter 4, eq-rel-pos and eq-rel-pos-table; the stretched table is eq-resize-table.
One learned vector for each distance in rows and one for each in columns, instead of one for each pair. q is the query
as it is, **not** scaled by D^−½ as it is in the score (the quirk of the released code). Source: Li et al. 2022
(MViTv2), eq. 4; SAM's ``get_rel_pos`` and ``add_decomposed_rel_pos``.

Where the table's length L is not 2 · max(q_size, k_size) − 1, it is interpolated linearly to that length first
(``torch.nn.functional.interpolate``, mode linear, align_corners=False); where the sizes of query and key differ, the
distance is counted in units of the finer grid.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minisam_kernels.runtime.errors import InputError, as_float32, expect_ndim, expect_shape
from minisam_kernels.runtime.threads import parallel_for

TOLERANCE = 8.0  # × eps × Σ |q| |R|
TABLE_TOLERANCE = 4.0  # × eps × max |table|: one weighted mean of two numbers


def resize_table(rel_pos: np.ndarray, length: int) -> np.ndarray:
    """The table (L, D) read at ``length`` indices: entry i lies at (i + ½) · L / length − ½, within the ends."""
    L = len(rel_pos)
    if length == L:
        return rel_pos
    index = np.clip((np.arange(length) + 0.5) * (L / length) - 0.5, 0, L - 1)
    low = np.minimum(index.astype(np.int64), max(L - 2, 0))
    part = (index - low).astype(rel_pos.dtype)[:, None]
    return (1 - part) * rel_pos[low] + part * rel_pos[np.minimum(low + 1, L - 1)]


def get_rel_pos_numpy(q_size: int, k_size: int, rel_pos: np.ndarray) -> np.ndarray:
    """R[q, k] = table[q − k + k_size − 1] where the sizes agree. rel_pos (L, D) → (q_size, k_size, D)."""
    table = resize_table(rel_pos, 2 * max(q_size, k_size) - 1)
    # float32 as in the released code: where the sizes differ, rounding decides between two entries
    q_step, k_step = np.float32(max(k_size / q_size, 1.0)), np.float32(max(q_size / k_size, 1.0))
    q, k = np.arange(q_size, dtype=np.float32)[:, None], np.arange(k_size, dtype=np.float32)[None, :]
    distance = q * q_step - k * k_step + np.float32((k_size - 1) * max(q_size / k_size, 1.0))
    return table[distance.astype(np.int64)]


def decomposed_rel_pos_numpy(q: np.ndarray, rel_h: np.ndarray, rel_w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two products above. q (B, heads, H, W, D) → (B, heads, H, W, H) and (B, heads, H, W, W)."""
    return np.einsum("bnhwd,hkd->bnhwk", q, rel_h), np.einsum("bnhwd,wkd->bnhwk", q, rel_w)


def turned_tables(
    rel_pos_h: npt.ArrayLike | None, rel_pos_w: npt.ArrayLike | None, H: int, W: int, D: int
) -> np.ndarray:
    """Both tables, resized to the distances that occur and turned round: (2H − 1 + 2W − 1, D), or (0, D) if None.

    Turned round, table_h[H − 1 − h + h'] belongs to h' − h: what query row h needs for h' = 0, 1, … are H neighbours.
    """
    if rel_pos_h is None and rel_pos_w is None:
        return np.empty((0, D), np.float32)
    if rel_pos_h is None or rel_pos_w is None:
        raise InputError("expected both rel_pos_h and rel_pos_w or neither, got one")
    tables = []
    for name, rel_pos, size in (("rel_pos_h", rel_pos_h, H), ("rel_pos_w", rel_pos_w, W)):
        table = as_float32(name, rel_pos)
        if table.ndim != 2 or table.shape[1] != D or len(table) == 0:
            raise InputError(f"expected {name} of shape ({2 * size - 1}, {D}), got {table.shape}")
        tables.append(resize_table(table, 2 * size - 1)[::-1])
    return np.concatenate(tables)


def get_rel_pos(q_size: int, k_size: int, rel_pos: npt.ArrayLike) -> np.ndarray:
    """Read the table for each pair of a query's row and a key's row.

    Parameters
    ----------
    q_size, k_size : int
        Rows (or columns) of the queries' and of the keys' grid.
    rel_pos : array_like, shape (L, D)
        A learned table, one vector for each distance.

    Returns
    -------
    ndarray, shape (q_size, k_size, D), float32
        R of the equation.

    Raises
    ------
    InputError
        If ``rel_pos`` is not (L, D) with L ≥ 1, or a size is below 1.

    Notes
    -----
    Accuracy: ``TABLE_TOLERANCE`` · eps · ``max |table|``.
    """
    rel_pos = as_float32("rel_pos", rel_pos)
    expect_ndim("rel_pos", rel_pos, 2, "(L, D)")
    if len(rel_pos) == 0:
        raise InputError(f"expected rel_pos of shape (L, D) with L >= 1, got {rel_pos.shape}")
    if min(q_size, k_size) < 1:
        raise InputError(f"expected sizes >= 1, got q_size {q_size} and k_size {k_size}")
    return get_rel_pos_numpy(q_size, k_size, rel_pos)


def decomposed_rel_pos(q: npt.ArrayLike, rel_h: npt.ArrayLike, rel_w: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Compute what is added to the scores.

    Parameters
    ----------
    q : array_like, shape (B, heads, H, W, D)
        Queries, not scaled by D^−½.
    rel_h, rel_w : array_like, shapes (H, H, D) and (W, W, D)
        R_h and R_w, from ``get_rel_pos``.

    Returns
    -------
    bias_h, bias_w : ndarray, shapes (B, heads, H, W, H) and (B, heads, H, W, W), float32
        The two products, whose sum is the bias.

    Raises
    ------
    InputError
        If shapes do not fit.

    Notes
    -----
    Accuracy: ``TOLERANCE`` · eps · ``Σ |q| |R|``.
    """
    q, rel_h, rel_w = as_float32("q", q), as_float32("rel_h", rel_h), as_float32("rel_w", rel_w)
    expect_ndim("q", q, 5, "(B, heads, H, W, D)")
    B, heads, H, W, D = q.shape
    expect_shape("rel_h", rel_h, (H, H, D))
    expect_shape("rel_w", rel_w, (W, W, D))
    bias_h = np.empty((B, heads, H, W, H), np.float32)
    bias_w = np.empty((B, heads, H, W, W), np.float32)

    def piece(i: int) -> None:
        b, head = divmod(i, heads)
        np.matmul(q[b, head], rel_h.transpose(0, 2, 1), out=bias_h[b, head])  # (W, D) · (D, H), for each row h
        columns = q[b, head].transpose(1, 0, 2)  # (W, H, D)
        bias_w[b, head] = np.matmul(columns, rel_w.transpose(0, 2, 1)).transpose(1, 0, 2)

    parallel_for(piece, B * heads)
    return bias_h, bias_w
