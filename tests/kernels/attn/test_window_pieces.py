"""Properties of ``window_pieces``. Each names the wrong versions that it kills (``mutants.py``)."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from minisam_kernels.attn.window_pieces import SCORES, window_pieces
from strategies import sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "leaves out the last column of windows": ("if w == 0 or count == 0", "if w < size or count == 0"),
    "leaves out the last rows": ("range(0, H, size)", "range(0, max(1, H - size + 1), size)"),
    "all heads in one piece": ("min(heads, SCORES // scores)", "heads"),
    "all windows of a row in one piece": ("min(count, SCORES // (scores * heads))", "count"),
}


@given(sizes(1, 70), sizes(1, 70), sizes(1, 20), sizes(1, 16))
def test_pieces_hold_every_query_once(H, W, size, heads):
    """Kills: leaves out the last column of windows, leaves out the last rows, all heads or all windows of a row in one
    piece."""
    seen = np.zeros((H, W, heads), int)
    for top, left, n, h, w, first, n_heads in window_pieces(H, W, size, heads):
        assert n * n_heads == 1 or n * n_heads * h * w * size**2 <= SCORES
        for window in range(n):
            column = left + window * size
            seen[top : top + h, column : column + w, first : first + n_heads] += 1
    assert (seen == 1).all()
