"""pad_share: how much attention goes to tokens that are not there.

Where windows do not fit the grid, the last ones are padded, and nothing masks the filling: its keys and values are
the bias of the qkv map. The tiny model's windows fit; so this is an experiment: its real q, k, v of one block, with
windows of other sizes. Shown are each token's weight on the filling (the mean of the heads), and how far its
output is from the one with the filling masked, as a share of the mean length of an output. The tables of relative
positions are stretched to the window, as in ``rel_pos``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minisam.figures.shared.encoder_attention import block_inputs, qkv_of
from minisam.figures.shared.states import Axis, State, states
from minisam.figures.shared.tokens import over, see
from minisam_kernels.attn.rel_pos import decomposed_rel_pos_numpy, get_rel_pos_numpy
from minisam_kernels.attn.window import window_partition_numpy, window_unpartition_numpy
from minisam_kernels.layers.softmax import softmax_numpy
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

    from minisam.figures.click import Photo
    from minisam.sam import Sam

QUESTION = (
    "40 tokens in windows of 12 leave 8 rows and columns to be padded. Their keys and values are one and the same "
    "vector. How much of its attention will a real token of the last window give them: next to nothing, their fair "
    "share by number, or more?"
)


def window_weights(
    qkv: np.ndarray, bias: np.ndarray, size: int, tables: Sequence[np.ndarray]
) -> tuple[np.ndarray, ...]:
    """Windows of ``size`` over qkv (h, w, 3, heads, D), padded with ``bias`` (3 · heads · D,): the scores (windows,
    heads, size², size²), the values (windows, heads, size², D), and which keys are real (windows, size²)."""
    side, (heads, D) = qkv.shape[0], qkv.shape[3:]
    whole = side + -side % size
    filled = np.empty((1, whole, whole, bias.size), qkv.dtype)
    filled[:] = bias
    filled[0, :side, :side] = qkv.reshape(side, side, -1)
    real = np.zeros((1, whole, whole, 1))
    real[:, :side, :side] = 1
    windows = window_partition_numpy(filled, size).reshape(-1, size * size, 3, heads, D)
    q, k, v = windows.transpose(2, 0, 3, 1, 4)
    rel_h, rel_w = (get_rel_pos_numpy(size, size, table) for table in tables)
    by_row, by_column = decomposed_rel_pos_numpy(q.reshape(-1, heads, size, size, D), rel_h, rel_w)
    position = (by_row[..., :, None] + by_column[..., None, :]).reshape(-1, heads, size**2, size**2)
    scores = (q * D**-0.5) @ k.swapaxes(-1, -2) + position
    return scores, v, window_partition_numpy(real, size).reshape(-1, size * size) > 0


def pad_effect(
    qkv: np.ndarray, bias: np.ndarray, size: int, tables: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(share, plain, masked): each token's weight on the filling, mean of the heads (h, w); and the attention's output
    (h, w, heads · D) as in SAM and with the filling masked."""
    scores, v, real = window_weights(qkv, bias, size, tables)
    side, channels = qkv.shape[0], bias.size // 3
    weights = softmax_numpy(scores)
    hidden = softmax_numpy(np.where(real[:, None, None], scores, -np.inf))

    def back(values: np.ndarray) -> np.ndarray:
        return window_unpartition_numpy(values.reshape(-1, size, size, values.shape[-1]), size, (side, side))[0]

    share = back((weights * ~real[:, None, None]).sum(axis=-1).mean(axis=1)[..., None])[..., 0]
    plain, masked = (back((p @ v).swapaxes(1, 2).reshape(len(v), size**2, channels)) for p in (weights, hidden))
    return share, plain, masked


def pad_share(
    sam: Sam | None = None,
    image: Photo | np.ndarray | str = "astronaut",
    block: int = 1,
    sizes: Sequence[int] = (8, 9, 11, 12, 14),
    source: str = "",
) -> ipywidgets.VBox:
    """Buttons for the ``sizes`` of windows; ``block`` is the one whose q, k, v are used. Raises ``InputError`` for a
    block that is not windowed or a size below 1."""
    seen = see(sam, image)
    config = seen.sam.config
    if block in config.encoder_global_attn_indexes or not 0 <= block < config.encoder_depth:
        raise InputError(f"expected a windowed block from 0 to {config.encoder_depth - 1}, got {block}")
    if not sizes or min(sizes) < 1:
        raise InputError(f"expected sizes of at least 1 token, got {list(sizes)}")
    attn = seen.sam.image_encoder.state / "blocks" / block / "attn"
    qkv, tables = qkv_of(seen.sam, block, block_inputs(seen)[block]), (attn["rel_pos_h"], attn["rel_pos_w"])
    effects = [pad_effect(qkv, attn["qkv.bias"], size, tables) for size in sizes]
    changes = [np.linalg.norm(p - m, axis=-1) / np.linalg.norm(m, axis=-1).mean() for _, p, m in effects]
    most = max(0.01, *(float(share.max()) for share, _, _ in effects))
    farthest = max(0.01, *(float(change.max()) for change in changes))

    def draw(at: int) -> State:
        import matplotlib.pyplot as plt

        size, (share, _, _), change = sizes[at], effects[at], changes[at]
        figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.7))
        figure.subplots_adjust(0.01, 0.1, 0.99, 0.92, wspace=0.05)
        options = {"cmap": "viridis", "vmin": 0, "alpha": 0.8}
        for axes, values, title, top in (
            (left, share, "weight on the filling", most),
            (right, change, "change", farthest),
        ):
            shown = over(axes, seen, values, title, vmax=top, **options)
            figure.colorbar(shown, ax=axes, orientation="horizontal", fraction=0.05, pad=0.03).ax.tick_params(
                labelsize=13
            )
            for edge in np.arange(size, seen.side, size) * config.patch_size - 0.5:
                axes.axhline(edge, color="white", linewidth=1)
                axes.axvline(edge, color="white", linewidth=1)
        filling = -seen.side % size
        reached = share > 0
        fair = 1 - (size - filling) / size
        words = f"Windows of {size}: {filling} rows and columns are padded. "
        words += (
            f"{reached.mean():.0%} of the real tokens share a window with the filling and give it "
            f"{share[reached].mean():.0%} of their attention on average ({fair:.0%} of an edge window's keys are "
            f"filling); masking it would change their output by {change[reached].mean():.0%} on average."
            if reached.any()
            else "They fit, and nothing is different."
        )
        return State(figure, words)

    start = list(sizes).index(12) if 12 in sizes else 0
    return states([Axis("Window", [str(size) for size in sizes], start)], draw, QUESTION, source)
