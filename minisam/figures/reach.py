"""reach: which tokens a token looks at, block by block, on a real photograph with the real model.

The colour of a token is its weight in the query's softmax. Windowed blocks can give weight to the window's tokens only.
Source: ``encoder_attention.look``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.figures.shared.encoder_attention import Look, block_inputs, look
from minisam.figures.shared.overlay import SKY
from minisam.figures.shared.states import Axis, State, states
from minisam.figures.shared.tokens import Seen, centre, mark, named_points, over, see, token_under
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

    from minisam.figures.click import Photo
    from minisam.sam import Sam

QUESTION = (
    "The ring marks one token, the query. Its weights over all other tokens sum to 1. Where will they lie in the first "
    "block: nearby, on the same colours, everywhere? And in the last? Will the heads agree?"
)


def half_of(weights: np.ndarray) -> int:
    """How many of the strongest of ``weights`` (sum 1) make up half."""
    return int(np.searchsorted(np.cumsum(np.sort(weights, axis=None)[::-1]), 0.5) + 1)


def distance(weights: np.ndarray, corner: tuple[int, int], token: tuple[int, int]) -> float:
    """The mean distance, in tokens, from ``token`` to where ``weights`` (kh, kw) lie."""
    rows, columns = np.indices(weights.shape)
    far = np.hypot(rows + corner[0] - token[0], columns + corner[1] - token[1])
    return float((weights * far).sum() / weights.sum())


def describe(seen: Seen, i: int, name: str, token: tuple[int, int], seen_by: Look) -> str:
    """The words under a state."""
    weights = seen_by.weights().mean(axis=0)
    kind = "everywhere" if i in seen.sam.config.encoder_global_attn_indexes else "in its window"
    rows = -(-seen.size[0] // seen.sam.config.patch_size)
    outside = max(0, rows - seen_by.corner[0])
    share = f" Tokens of the padded stripe get {weights[outside:].sum():.0%} of it." if rows < seen.side else ""
    return (
        f"Block {i} looks {kind}. {name} (token row {token[0]}, column {token[1]}) has {weights.size} tokens to look "
        f"at; half of its attention, the mean of the heads, lies on {half_of(weights)} of them, at a mean distance of "
        f"{distance(weights, seen_by.corner, token):.1f} tokens.{share}"
    )


def reach(
    sam: Sam | None = None,
    image: Photo | np.ndarray | str = "chelsea",
    points: Mapping[str, Sequence[float]] | None = None,
    blocks: Sequence[int] | None = None,
    source: str = "",
) -> ipywidgets.VBox:
    """A slider over ``blocks`` (all), buttons for the queries ``points``: name → (x, y) in pixels of the image. Shown
    are the mean of the heads and the first three. Raises ``InputError`` for a block or point that is not there."""
    seen = see(sam, image)
    points = dict(named_points(image) if points is None else points)
    blocks = list(range(seen.sam.config.encoder_depth) if blocks is None else blocks)
    if not points or not blocks:
        raise InputError(f"expected at least one point and one block, got {len(points)} and {len(blocks)}")
    tokens = {name: token_under(seen, point) for name, point in points.items()}
    inputs = block_inputs(seen)
    looks = [[look(seen.sam, i, inputs[i], token) for i in blocks] for token in tokens.values()]

    def draw(which: int, at: int) -> State:
        (name, token), i = list(tokens.items())[which], blocks[at]
        seen_by = looks[which][at]
        weights = seen_by.weights()
        words = describe(seen, i, name, token, seen_by)
        shown = {"mean of the heads": weights.mean(axis=0)} | {f"head {n}": w for n, w in enumerate(weights[:3])}
        return State(_panels(seen, seen_by, token, shown), words)

    kinds = {i: "global" if i in seen.sam.config.encoder_global_attn_indexes else "window" for i in blocks}
    axes = [Axis("Query", list(points)), Axis("Block", [f"{i} ({kinds[i]})" for i in blocks])]
    return states(axes, draw, QUESTION, source)


def _panels(seen: Seen, seen_by: Look, token: tuple[int, int], shown: Mapping[str, np.ndarray]) -> Any:
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    figure, all_axes = plt.subplots(2, 2, figsize=(6, 6.3))
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.95, wspace=0.03, hspace=0.12)
    patch, (kh, kw) = seen.sam.config.patch_size, next(iter(shown.values())).shape
    for axes, (title, weights) in zip(all_axes.flat, shown.items()):
        title = f"{title}: up to {weights.max():.1%}"
        over(axes, seen, seen_by.on_grid(weights), title, cmap="viridis", vmin=0, vmax=weights.max(), alpha=0.75)
        mark(axes, centre(seen, token))
        if kh < seen.side:
            corner = (seen_by.corner[1] * patch - 0.5, seen_by.corner[0] * patch - 0.5)
            axes.add_patch(Rectangle(corner, kw * patch, kh * patch, fill=False, edgecolor=SKY, linewidth=2))
    for axes in all_axes.flat[len(shown) :]:
        axes.set_axis_off()
    return figure
