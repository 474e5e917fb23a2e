"""Hints that name the mistake: an answer is compared with what likely wrong versions give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minisam.exercises import same


def hint_for(out: Any, want: Any, wrongs: Mapping[str, Any], otherwise: str, tolerance: float = 1e-6) -> str:
    """An empty text if ``out`` is ``want``. Else the hint of ``wrongs`` (hint → what that mistake gives) that explains
    it; or what is different, and the hint ``otherwise``."""
    off = same(out, want, otherwise, tolerance)
    if not off or out is None or np.asarray(out).dtype == object:
        return off
    for hint, wrong in wrongs.items():
        if not same(wrong, want, "", tolerance):
            continue  # this mistake does not show on these numbers
        if not same(out, wrong, "", tolerance):
            return hint
    return off
