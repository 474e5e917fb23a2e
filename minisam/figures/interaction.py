"""Figure of chapter 10: eleven rounds between the predictor and the simulated annotator (``minisam.annotator``).

from minisam.figures.interaction import interaction
interaction()                        # objects of the world's scenes, whose masks are exact
interaction(image, truth)            # an image and a mask of yours
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.annotator import ROUNDS, Round, draw, play
from minisam.figures.shared.overlay import BLUE, SKY, VERMILION, layout, outline, show, tint
from minisam.figures.shared.overlay import point as mark
from minisam.figures.shared.states import Axis, State, states
from minisam.world import HELD_OUT, render
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.sam import Sam

OBJECTS = ((HELD_OUT + 9, 4), (HELD_OUT + 35, 3), (HELD_OUT + 8, 12))  # scene, number of a mask


@lru_cache(maxsize=16)
def scene_object(seed: int, number: int) -> tuple[np.ndarray, np.ndarray, str]:
    """The image of a scene, its mask ``number`` and that mask's name."""
    scene = render(seed)
    if not 0 <= number < len(scene.masks):
        raise InputError(f"expected the number of one of {len(scene.masks)} masks, got {number}")
    return scene.image, scene.masks[number].segmentation, scene.masks[number].name


def cup() -> tuple[np.ndarray, np.ndarray, str]:
    """A photograph with an outline that we drew by hand: the saucer with the cup of ``skimage.data.coffee``.

    Two ellipses, judged by eye to a few pixels; nobody's ground truth, but good enough to see an annotator at work.
    """
    from minisam.figures.click import photos

    image = photos(["coffee"])[0].image
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    inside = [((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1 for cx, cy, rx, ry in CUP]
    return image, np.logical_or.reduce(inside), "cup and saucer, outlined by hand"


CUP = ((277, 222, 202, 166), (290, 113, 117, 96))  # ellipses (x, y, half width, half height)


def interaction(
    image: np.ndarray | None = None, truth: np.ndarray | None = None, sam: Sam | None = None,
    objects: Sequence[tuple[int, int]] = OBJECTS, photo: bool = True, seed: int = 0, rounds: int = ROUNDS,
    question: str = "", source: str = "",
) -> Any:  # fmt: skip
    """A slider over the rounds of an interaction, and buttons for what it is about.

    image (H, W, 3) uint8 with truth (H, W) bool: an image of yours. Without them ``objects``, each the seed of a
    scene and the number of a mask, and with ``photo`` a photograph. sam: ``minisam.load("tiny")`` if not given.
    seed: of all chances; odd numbers in the list begin with a box.
    """
    import minisam

    sam = sam or minisam.load("tiny")
    if (image is None) != (truth is None):
        raise InputError("expected an image and its truth, got one of them")
    if image is not None and truth is not None:
        about = [(image, np.asarray(truth, bool), "your object")]
    else:
        about = [scene_object(*each) for each in objects] + ([cup()] if photo else [])
    if not about:
        raise InputError("expected at least one object, got none")
    games = []
    for number, (picture, mask, _) in enumerate(about):
        predictor = minisam.SamPredictor(sam)
        predictor.set_image(picture)
        chances = replace(draw(seed + number, rounds), box=0.0 if number % 2 else 1.0)
        games.append(list(play(predictor, mask, chances, rounds)))
    axes = [Axis("object", [name for _, _, name in about]), Axis("round", [str(n + 1) for n in range(rounds)])]
    return states(axes, lambda i, n: draw_round(*about[i], games[i], n), question, source)


def words(game: Sequence[Round], n: int) -> str:
    """What a round brought."""
    now = game[n]
    if n == 0:
        given = "a noisy box" if now.box is not None else "one point in the mask"
        begun = f"Round 1 of {len(game)}: {given}, three masks asked for, the most confident kept."
    elif not now.new:
        begun = f"Round {n + 1} of {len(game)}: no new point, only the last logits fed back."
    else:
        kind = "foreground: it was missing" if now.labels[-1] else "background: it was too much"
        x, y = now.points[-1].astype(int)
        begun = f"Round {n + 1} of {len(game)}: a point at ({x}, {y}), {kind}; the last logits fed back."
    change = f", {now.iou - game[n - 1].iou:+.2f}" if n else ""
    return f"{begun} True IoU {now.iou:.2f}{change}; predicted IoU {now.predicted:.2f}."


def draw_round(image: np.ndarray, truth: np.ndarray, name: str, game: Sequence[Round], n: int) -> State:
    """The mask of a round with its prompts; where it is wrong; the IoU so far."""
    now = game[n]
    figure, (left, middle, right) = layout(0.8)
    show(left, tint(image, now.mask, SKY, 0.5, dim=0.75), f"round {n + 1}: the mask")
    outline(left, truth, "#FFFFFF", "dashed", 1.2)
    for (x, y), label in zip(now.points, now.labels):
        mark(left, x, y, label, 8)
    if now.new and len(now.points):
        left.plot(
            *now.points[-1], "o", markersize=20, markerfacecolor="none", markeredgecolor=VERMILION, markeredgewidth=2
        )
    if now.box is not None:
        x0, y0, x1, y1 = now.box
        left.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=VERMILION, linewidth=1.5)
    missing, extra = truth & ~now.mask, now.mask & ~truth
    errors = tint(tint((image * 0.35).astype(np.uint8), missing, VERMILION, 0.9), extra, SKY, 0.9)
    show(middle, errors, "errors: missing (edged), too much")
    outline(middle, missing, VERMILION, "solid", 0.8)
    at = np.arange(1, len(game) + 1)
    right.plot(at, [r.iou for r in game], color=BLUE, marker="o", markersize=4, label="true IoU")
    right.plot(
        at,
        [r.predicted for r in game],
        color=VERMILION,
        marker="s",
        markersize=4,
        linestyle="dashed",
        label="predicted",
    )
    right.axvline(n + 1, color="0.6", linewidth=8, alpha=0.35, zorder=0)
    quiet = [m for m, r in enumerate(game) if not r.new]
    for values, shape, colour in (([r.iou for r in game], "o", BLUE), ([r.predicted for r in game], "s", VERMILION)):
        right.plot(at[quiet], [values[m] for m in quiet], shape, markersize=6, color="white", markeredgecolor=colour)
    right.set(xlabel="round", ylim=(0, 1.05), xticks=at[::2], title="IoU by round (hollow: no new point)")
    right.legend(fontsize=10, frameon=False, loc="upper left")
    right.grid(alpha=0.3)
    return State(figure, words(game, n), f"{name}. {words(game, n)}")
