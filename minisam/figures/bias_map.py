"""bias_map: what relative positions add to one query's scores, and what they do to its weights.

For one head: the part of the scores that compares content, the part that comes from positions (each less its mean over
the keys, which a softmax does not see), and the weights without and with the second. Source:
``encoder_attention.look``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.figures.shared.encoder_attention import Look, block_inputs, look
from minisam.figures.shared.states import Axis, State, states
from minisam.figures.shared.tokens import Seen, centre, mark, named_points, over, see, token_under
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

    from minisam.figures.click import Photo
    from minisam.sam import Sam

QUESTION = (
    "A head may look for a thing or for a place. Which part of the score will be larger, content or position? And "
    "where will the position's part be highest: at the query itself, at its neighbours, far off?"
)


def offset(values: np.ndarray, corner: tuple[int, int], token: tuple[int, int]) -> str:
    """Where ``values`` (kh, kw) are highest, as seen from ``token``, in words."""
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    down, right = int(row) + corner[0] - token[0], int(column) + corner[1] - token[1]
    if down == right == 0:
        return "at the query itself"
    parts = []
    if down:
        parts.append(f"{abs(down)} {'below' if down > 0 else 'above'}")
    if right:
        parts.append(f"{abs(right)} to the {'right' if right > 0 else 'left'}")
    return " and ".join(parts)


def moved(seen_by: Look, head: int) -> float:
    """The share of a head's attention that positions move elsewhere: half of Σ |p − p without|, 0 … 1."""
    return float(np.abs(seen_by.weights()[head] - seen_by.weights(with_position=False)[head]).sum() / 2)


def bias_map(
    sam: Sam | None = None,
    image: Photo | np.ndarray | str = "astronaut",
    points: Mapping[str, Sequence[float]] | None = None,
    blocks: Sequence[int] | None = None,
    heads: Sequence[int] = (0, 1, 2),
    source: str = "",
) -> ipywidgets.VBox:
    """Buttons for the queries ``points`` (name → (x, y) in pixels; the first two of the image's own), ``blocks``
    (a windowed one and the global one after it, early and late) and ``heads``. Raises ``InputError`` for others."""
    seen = see(sam, image)
    points = dict(list(named_points(image).items())[:2] if points is None else points)
    wide = seen.sam.config.encoder_global_attn_indexes
    if blocks is None:
        blocks = sorted({max(0, i - 1) for i in (wide[0], wide[-1])} | {wide[0], wide[-1]})
    if not points or not blocks or not heads:
        raise InputError("expected at least one point, one block and one head")
    if min(heads) < 0 or max(heads) >= seen.sam.config.encoder_num_heads:
        raise InputError(f"expected heads from 0 to {seen.sam.config.encoder_num_heads - 1}, got {list(heads)}")
    tokens = {name: token_under(seen, point) for name, point in points.items()}
    inputs = block_inputs(seen)
    looks = {(name, i): look(seen.sam, i, inputs[i], token) for name, token in tokens.items() for i in blocks}

    def draw(which: int, at: int, number: int) -> State:
        (name, token), i, head = list(tokens.items())[which], blocks[at], heads[number]
        seen_by = looks[name, i]
        content, position = seen_by.content[head], seen_by.position[head]
        words = (
            f"Block {i} ({'global' if i in wide else 'window'}), head {head}, {name}: over the keys, content scores "
            f"deviate by {content.std():.2f} and those of position by {position.std():.2f}. Position is highest "
            f"{offset(position, seen_by.corner, token)} (in tokens). It moves {moved(seen_by, head):.0%} of the "
            "attention."
        )
        return State(_panels(seen, seen_by, token, head), words)

    kinds = [f"{i} ({'global' if i in wide else 'window'})" for i in blocks]
    axes = [Axis("Query", list(points)), Axis("Block", kinds), Axis("Head", [str(head) for head in heads])]
    return states(axes, draw, QUESTION, source)


def _panels(seen: Seen, seen_by: Look, token: tuple[int, int], head: int) -> Any:
    import matplotlib.pyplot as plt

    figure, all_axes = plt.subplots(2, 2, figsize=(6, 6.3))
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.95, wspace=0.03, hspace=0.12)
    content, position = (a[head] - a[head].mean() for a in (seen_by.content, seen_by.position))
    without, with_it = seen_by.weights(with_position=False)[head], seen_by.weights()[head]
    shown = [
        (f"content: ±{np.abs(content).max():.1f}", content, _about_zero(content)),
        (f"position: ±{np.abs(position).max():.1f}", position, _about_zero(position)),
        (f"weights without: to {without.max():.1%}", without, {"cmap": "viridis", "vmin": 0, "alpha": 0.8}),
        (f"weights with: to {with_it.max():.1%}", with_it, {"cmap": "viridis", "vmin": 0, "alpha": 0.8}),
    ]
    patch, (top, left), (kh, kw) = seen.sam.config.patch_size, seen_by.corner, content.shape
    for axes, (title, values, options) in zip(all_axes.flat, shown):
        over(axes, seen, seen_by.on_grid(values), title, **options)
        mark(axes, centre(seen, token))
        axes.set_xlim(left * patch - 0.5, (left + kw) * patch - 0.5)  # a window fills its panel
        axes.set_ylim((top + kh) * patch - 0.5, top * patch - 0.5)
    return figure


def _about_zero(values: np.ndarray) -> dict[str, Any]:
    """Colours for signed ``values``, each panel to its own scale: purple is more than the mean, orange less."""
    largest = max(float(np.abs(values).max()), 1e-9)
    return {"cmap": "PuOr", "vmin": -largest, "vmax": largest, "alpha": 0.9}
