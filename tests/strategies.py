"""What hypothesis draws: shapes, memory layouts, scales, seeds. Numbers come from a generator, then spikes are planted.

Drawing every number from hypothesis would be slow and would shrink towards zeros, where all versions agree. So a
strategy draws the few things that steer a kernel into its corners, and a seeded generator fills the array.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

LAYOUTS = ("C", "F", "strided", "negative", "broadcast", "readonly")
SCALES = (1e-3, 1.0, 30.0)
SPIKES = (0.0, -0.0, 1.0, -1e4, 1e4)

seeds = st.integers(0, 2**32 - 1)


def sizes(low: int, high: int, edges: tuple[int, ...] = ()) -> st.SearchStrategy[int]:
    """Whole numbers in [low, high]; ``edges`` (the ends of tiles) and their neighbours come up often."""
    near = sorted({e + d for e in edges for d in (-1, 0, 1) if low <= e + d <= high})
    return st.one_of(st.sampled_from(near), st.integers(low, high)) if near else st.integers(low, high)


def lay_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same numbers in another memory layout ("broadcast" repeats the first entry along the first axis)."""
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "strided":
        wide = np.empty((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]
    if layout == "negative":
        return array[::-1].copy()[::-1]
    if layout == "broadcast":
        return np.broadcast_to(array[:1], array.shape)
    if layout == "readonly":
        array = array.copy()
        array.flags.writeable = False
    return array


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: tuple[int, ...] | st.SearchStrategy[tuple[int, ...]],
    *,
    spikes: bool = True,
    scale: float | None = None,
) -> np.ndarray:
    """A float32 array of ``shape``: normal numbers times a drawn scale, in a drawn layout, with spikes planted."""
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    rng = np.random.default_rng(draw(seeds))
    scale = draw(st.sampled_from(SCALES)) if scale is None else scale
    array = (rng.standard_normal(shape) * scale).astype(np.float32)
    if spikes and array.size and draw(st.booleans()):
        where = rng.integers(0, array.size, size=min(3, array.size))
        array.reshape(-1)[where] = rng.choice(SPIKES, size=where.size)
    return lay_out(array, draw(st.sampled_from(LAYOUTS))) if array.ndim else array


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """(M, H, W) bool of any size, 0 too: noise, blocks, checkerboards, all or nothing."""
    shape = (draw(st.integers(0, 2)), draw(sizes(0, 70, edges=(0, 8, 32, 64))), draw(sizes(0, 70, edges=(0, 64))))
    rng = np.random.default_rng(draw(seeds))
    kind = draw(st.sampled_from(["noise", "blocks", "checkerboard", "nothing", "all", "columns"]))
    if kind == "noise":
        mask = rng.random(shape) < draw(st.sampled_from([0.02, 0.5, 0.98]))
    elif kind == "blocks":
        mask = np.zeros(shape, bool)
        for m in range(shape[0]):
            for _ in range(3):
                (y0, y1), (x0, x1) = (np.sort(rng.integers(0, n + 1, 2)) for n in shape[1:])
                mask[m, y0:y1, x0:x1] ^= True
    elif kind == "columns":
        mask = np.broadcast_to(rng.random(shape[2]) < 0.5, shape)
    else:
        mask = np.full(shape, kind == "all")
        if kind == "checkerboard":
            mask = np.broadcast_to(np.add.outer(np.arange(shape[1]), np.arange(shape[2])) % 2 == 0, shape)
    return lay_out(mask, draw(st.sampled_from(LAYOUTS)))
