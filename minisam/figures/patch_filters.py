"""patch_filters: what the patch embedding of a model has learned to look for, and where it finds it.

A channel c of the patch embedding is a filter, weight[c] (3, p, p): the token's c-th number is the dot product of
filter and patch, plus a bias. Here the filters are drawn as small images: mid grey is weight 0, a colour's channel is
lighter where its weight is positive. Source: the model's ``image_encoder.patch_embed.proj``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.figures.shared.overlay import VERMILION
from minisam.figures.shared.states import Axis, State, states
from minisam.figures.shared.tokens import Seen, over, see
from minisam_kernels.layers.patch_embed import patch_embed
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

    from minisam.figures.click import Photo
    from minisam.sam import Sam

QUESTION = (
    "Nobody drew these filters; training found them, starting from noise. What do you expect to see: noise, edges in "
    "all directions, spots of colour? Are all of them of use?"
)


def by_strength(weight: np.ndarray) -> np.ndarray:
    """The filters (C, 3, p, p) by the norm of their weights, strongest first: their numbers (C,)."""
    return np.argsort(-np.linalg.norm(weight.reshape(len(weight), -1), axis=1), kind="stable")


def grey_share(filters: np.ndarray) -> np.ndarray:
    """How much of each filter (C, 3, p, p) asks for brightness, not colour: 0 … 1, of its squared weights."""
    mean = filters.mean(axis=1, keepdims=True)
    return 3 * (mean**2).sum(axis=(1, 2, 3)) / np.maximum((filters**2).sum(axis=(1, 2, 3)), np.finfo(np.float32).tiny)


def as_picture(filters: np.ndarray, largest: float) -> np.ndarray:
    """Filters (..., 3, p, p) → images (..., p, p, 3) in 0 … 1, with ``largest`` at white and −largest at black."""
    return np.moveaxis(0.5 + 0.5 * filters / largest, -3, -1).clip(0, 1)


def wall(weight: np.ndarray, order: np.ndarray, across: int) -> np.ndarray:
    """All filters side by side in ``order``, ``across`` in a row, a white line between them, all to one scale."""
    p, down = weight.shape[-1], -(-len(order) // across)
    tiles = np.ones((down * across, p + 1, p + 1, 3), np.float32)
    tiles[: len(order), :p, :p] = as_picture(weight[order], float(np.abs(weight).max()))
    return tiles.reshape(down, across, p + 1, p + 1, 3).transpose(0, 2, 1, 3, 4).reshape(down * (p + 1), -1, 3)


def responses(seen: Seen) -> np.ndarray:
    """What every filter answers to every patch, before positions are added: (h, w, C)."""
    projection = seen.sam.image_encoder.state / "patch_embed" / "proj"
    return patch_embed(seen.x, projection["weight"], projection["bias"])[0]


def patch_filters(
    sam: Sam | None = None, image: Photo | np.ndarray | str = "chelsea", count: int = 12, source: str = ""
) -> ipywidgets.VBox:
    """A slider over ``count`` filters of ``sam`` (the tiny model), from the strongest to the weakest, and their answers
    to ``image`` (a ``Photo``, uint8 (H, W, 3) or a photograph's name). Raises ``InputError`` for a bad image or
    count."""
    seen = see(sam, image)
    weight = seen.sam.image_encoder.state["patch_embed.proj.weight"]
    C = len(weight)
    if not 1 <= count <= C:
        raise InputError(f"expected a count from 1 to {C}, got {count}")
    order, answers, grey = by_strength(weight), responses(seen), grey_share(weight)
    ranks = np.unique(np.linspace(0, C - 1, count).round().astype(int))
    across = 16
    everything = wall(weight, order, across)

    def draw(i: int) -> State:
        rank, c = int(ranks[i]), int(order[ranks[i]])
        chosen, answer = weight[c], answers[..., c]
        figure, axes = _figure()
        _all_filters(axes[0], everything, rank, across, weight.shape[-1])
        axes[1].imshow(as_picture(chosen, float(np.abs(chosen).max())), interpolation="nearest")
        axes[1].set_title(f"filter {c}, its own scale", fontsize=14)
        axes[1].set_xticks([])
        axes[1].set_yticks([])
        largest = float(np.abs(answer).max())
        shown = over(axes[2], seen, answer, "its answers", cmap="PuOr", vmin=-largest, vmax=largest, alpha=0.85)
        figure.colorbar(shown, ax=axes[2], fraction=0.046, shrink=0.9)
        norm = float(np.linalg.norm(chosen))
        top = np.unravel_index(int(np.abs(answer).argmax()), answer.shape)
        words = (
            f"Filter {c}, number {rank + 1} of {C} by strength: norm {norm:.2f}, {grey[c]:.0%} of it asks for "
            f"brightness and the rest for colour. Answers from {answer.min():.2f} to {answer.max():.2f}, the largest "
            f"in size at token row {top[0]}, column {top[1]}."
        )
        alt = f"All {C} filters as small images; filter {c} enlarged; a map of its answers over the photograph. {words}"
        return State(figure, words, alt)

    axis = Axis("Filter, strongest first", [f"{rank + 1} of {C}" for rank in ranks])
    return states([axis], draw, QUESTION, source)


def _figure() -> tuple[Any, list[Any]]:
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(6, 7))
    places = [(0.02, 0.44, 0.96, 0.52), (0.02, 0.02, 0.42, 0.36), (0.48, 0.02, 0.42, 0.36)]
    return figure, [figure.add_axes(box) for box in places]


def _all_filters(axes: Any, everything: np.ndarray, rank: int, across: int, p: int) -> None:
    from matplotlib.patches import Rectangle

    axes.imshow(everything, interpolation="nearest")
    corner = (rank % across * (p + 1) - 1.5, rank // across * (p + 1) - 1.5)
    axes.add_patch(Rectangle(corner, p + 2, p + 2, fill=False, edgecolor="white", linewidth=5))
    axes.add_patch(Rectangle(corner, p + 2, p + 2, fill=False, edgecolor=VERMILION, linewidth=2.5))
    axes.set_title("all filters, strongest first, one scale", fontsize=14)
    axes.set_xticks([])
    axes.set_yticks([])
