"""A mask put together term by term: real features times a real hypernetwork's vector. The second figure of chapter 7.

    logit[y, x] = Σ over c of vector[c] · features[y, x, c]

``terms(steps, mask)`` are the C/8 summands as maps; nothing else goes into a logit, not even a bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np

from minisam.figures.shared.decoder_steps import Steps, decode_steps, within_picture
from minisam.figures.shared.overlay import BLUE, VERMILION
from minisam.figures.shared.paint import (
    at_point,
    canvas,
    coarse,
    edge,
    evidence,
    limit,
    look,
    mark,
    painted,
    signed,
    style,
)
from minisam.figures.shared.states import Axis, State, states
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.predictor import SamPredictor
    from minisam.sam import Sam


def terms(steps: Steps, mask: int) -> np.ndarray:
    """(C/8, 4h, 4w): each channel's share in the logits of ``mask``."""
    return (steps.features * steps.vectors[mask]).transpose(2, 0, 1)


def order(shares: np.ndarray) -> np.ndarray:
    """The terms (n, rows, columns) by how much they tell pixels apart, the largest standard deviation first."""
    return np.argsort(-shares.std(axis=(1, 2)), kind="stable")


def dot_product(
    image: np.ndarray | None = None,
    point: tuple[float, float] | None = None,
    outside: tuple[float, float] | None = None,
    masks: tuple[int, ...] = (1, 2),
    sam: Sam | None = None,
    source: str = "",
) -> widgets.VBox:
    """Add the terms one by one, for each of ``masks`` (0 … 3). image (H, W, 3) uint8; ``point`` (x, y) is the click and
    one pixel whose logit is followed, ``outside`` another."""
    if not masks or not set(masks) <= {0, 1, 2, 3}:
        raise InputError(f"expected masks among 0, 1, 2, 3, got {masks}")
    predictor, image, points = look(image, point, sam)
    away = np.array([0.9 * image.shape[1], 0.12 * image.shape[0]] if outside is None else outside)
    steps = decode_steps(predictor, points, np.array([1]))
    count = len(steps.vectors[0])

    @style
    def draw(which: int, added: int) -> State:
        return draw_sum(predictor, image, points[0], away, steps, masks[which], added)

    question = (
        f"A logit is a sum of {count} terms, one for each feature map. Will one of them alone already show the object? "
        "And how many of them does the sign of a pixel need?"
    )
    axes = [Axis("Mask", [f"mask {m}" for m in masks]), Axis("Terms added", [str(n) for n in range(count + 1)], 1)]
    return states(axes, draw, question, source)


def draw_sum(
    predictor: SamPredictor,
    image: np.ndarray,
    point: np.ndarray,
    away: np.ndarray,
    steps: Steps,
    mask: int,
    added: int,
) -> State:
    """One state: the term just added, the sum so far (titles: where colours end), the pixels' running logits."""
    shares = terms(steps, mask)
    ranks = order(within_picture(shares, predictor)[0])
    sums = np.concatenate([np.zeros_like(shares[:1]), np.cumsum(shares[ranks], axis=0)])
    whole = limit(within_picture(sums[-1], predictor)[0])
    figure, axes = canvas(2, 2, (7, 5.0), (0.01, 0.99, 0.02, 0.93), (0.04, 0.22))
    newest = shares[ranks[added - 1]] if added else sums[0]
    weight = steps.vectors[mask][ranks[added - 1]]
    own = limit(within_picture(newest, predictor)[0])
    title = f"Feature {ranks[added - 1]} × {signed(weight)}, ±{own:.2f}" if added else "No term"
    evidence(axes[0, 0], predictor, image, newest, title, own, line=False)
    evidence(axes[0, 1], predictor, image, sums[added], f"Sum of {added}, ±{whole:.2f}", whole, line=False)
    edge(axes[0, 1], predictor, coarse(sums[added]), "black")
    for ax in axes[0]:
        mark(ax, point)
        mark(ax, away, "X")
    for ax in axes[1]:
        ax.remove()
    chart = figure.add_axes((0.13, 0.13, 0.84, 0.32))
    places = [("click ★", point, "-o", VERMILION), ("other ✕", away, "--s", BLUE)]
    runs = [[at_point(predictor, total, point) for total in sums] for _, point, _, _ in places]
    for (name, _, line, colour), run in zip(places, runs):
        chart.plot(run, line, color=colour, markersize=4, linewidth=1.2, alpha=0.45)
        chart.plot(run[: added + 1], line, color=colour, markersize=6, linewidth=2.4, label=name)
    chart.axhline(0, color="black", linewidth=1)
    chart.axvline(added, color="black", linewidth=0.8, linestyle=":")
    chart.set(xlabel="terms added", ylabel="logit", xlim=(-0.4, len(shares) + 0.4))
    chart.legend(frameon=False, ncols=2, loc="best", fontsize=12)
    signs = within_picture((sums[added] > 0) == (sums[-1] > 0), predictor)[0].mean()
    at, other = ([signed(run[added]), signed(run[-1])] for run in runs)
    words = (
        f"Mask {mask}, {added} of {len(shares)} terms: the logit at the click is {at[0]} (all terms {at[1]}), at the "
        f"other place {other[0]} ({other[1]}); {signs:.0%} of the pixels are on the side where they end."
    )
    return State(painted(figure), words)
