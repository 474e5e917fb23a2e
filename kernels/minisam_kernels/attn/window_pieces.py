"""How the windows of an image are cut into pieces of work for ``window_attention``.

A piece is some windows side by side, and some of their heads, whose scores fit into ``SCORES``. The cut depends on the
sizes only, never on the number of threads.
"""

from __future__ import annotations

from typing import NamedTuple

SCORES = 1 << 17  # scores of a piece at most, when it holds several windows or heads: 512 KB


class Piece(NamedTuple):
    """``n`` windows side by side of h × w real tokens each, from (top, left) on; ``n_heads`` heads from ``first``."""

    top: int
    left: int
    n: int
    h: int
    w: int
    first: int
    n_heads: int


def window_pieces(H: int, W: int, size: int, heads: int) -> list[Piece]:
    """The work of one image of H × W tokens: every window of ``size`` × ``size`` and every head, once."""
    pieces = []
    for top in range(0, H, size):
        h, whole = min(size, H - top), W // size
        # the whole windows of this row, then the one that the image does not fill
        for count, start, w in ((whole, 0, size), (1, whole * size, W % size)):
            if w == 0 or count == 0:
                continue
            scores = h * w * size * size  # of one window and head
            n_heads = max(1, min(heads, SCORES // scores))
            n = max(1, min(count, SCORES // (scores * heads)))
            for i in range(0, count, n):
                for first in range(0, heads, n_heads):
                    left, several = start + i * size, min(n, count - i)
                    pieces.append(Piece(top, left, several, h, w, first, min(n_heads, heads - first)))
    return pieces
