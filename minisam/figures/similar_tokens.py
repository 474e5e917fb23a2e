"""similar_tokens: how alike all tokens of an image are to one of them, as the encoder goes on.

The similarity of tokens x and y is the cosine of the angle between them after the mean μ over the tokens of the image
(not of what it was padded with) is taken from both: cos(x − μ, y − μ). Without that, a vector that all tokens share
makes them all look alike. Stages are the patch embedding, with positions, after every other block, and after the neck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from minisam.figures.patch_filters import responses
from minisam.figures.shared.states import Axis, State, states
from minisam.figures.shared.tokens import Seen, centre, mark, named_points, over, see, token_under
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

    from minisam.figures.click import Photo
    from minisam.sam import Sam

QUESTION = (
    "Take the token under one place of the photograph. Which other tokens will be like it: right after the patch "
    "embedding, and at the end of the encoder? What will adding positions change?"
)


def stages(seen: Seen) -> dict[str, np.ndarray]:
    """Name of a stage → the tokens (h, w, channels) there; of the blocks every other one, the last among them."""
    encoder = seen.sam.image_encoder
    tokens_of_stage = {"patches": responses(seen)}
    x = encoder.embed_patches(seen.x)
    tokens_of_stage["with positions"] = x[0].copy()
    depth = seen.sam.config.encoder_depth
    for i in range(depth):
        x = encoder.block(i, x)
        if (depth - 1 - i) % 2 == 0:
            tokens_of_stage[f"after block {i}"] = x[0]
    tokens_of_stage["after the neck"] = encoder.neck(x)[0]
    return tokens_of_stage


def similarity(tokens: np.ndarray, token: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """tokens (h, w, C) → the cosine of each with the one at ``token`` (row, column): (h, w). The mean over the first
    ``size`` rows and columns, the image, is taken away first."""
    centred = tokens - tokens[: size[0], : size[1]].mean(axis=(0, 1))
    unit = centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), np.finfo(np.float32).tiny)
    return unit @ unit[token]


def similar_tokens(
    sam: Sam | None = None,
    image: Photo | np.ndarray | str = "coffee",
    points: Mapping[str, Sequence[float]] | None = None,
    source: str = "",
) -> ipywidgets.VBox:
    """A slider over the stages and buttons for ``points``: name → (x, y) in pixels of the image. Raises
    ``InputError`` for points outside of it, or none."""
    seen = see(sam, image)
    points = dict(named_points(image) if points is None else points)
    if not points:
        raise InputError("expected at least one point, got none")
    tokens = {name: token_under(seen, point) for name, point in points.items()}
    tokens_of_stage = stages(seen)
    h, w = (-(-side // seen.sam.config.patch_size) for side in seen.size)

    def draw(which: int, i: int) -> State:
        import matplotlib.pyplot as plt

        (name, token), (stage, values) = list(tokens.items())[which], list(tokens_of_stage.items())[i]
        alike = similarity(values, token, (h, w))
        figure, (left, right) = plt.subplots(1, 2, figsize=(6.6, 3.2))
        figure.subplots_adjust(0.01, 0.02, 0.92, 0.9, wspace=0.04)
        left.imshow(seen.pixels)
        left.set_title(f"the token: {name}", fontsize=14)
        left.set_xticks([])
        left.set_yticks([])
        shown = over(right, seen, alike, stage, cmap="PuOr", vmin=-1, vmax=1, alpha=0.85)
        for axes in (left, right):
            mark(axes, centre(seen, token))
        figure.colorbar(shown, ax=[left, right], fraction=0.03, pad=0.02, label="cosine").ax.tick_params(labelsize=13)
        near = int((alike[:h, :w] > 0.5).sum())
        pad = f" The {alike.size - h * w} padded are at {alike[h:].mean():.2f} on average." if h < len(alike) else ""
        words = (
            f"{stage}, {name} (token row {token[0]}, column {token[1]}): {near} of the image's {h * w} tokens have a "
            f"cosine above 0.5 with it.{pad}"
        )
        return State(figure, words)

    axes = [Axis("Token", list(points)), Axis("Stage", list(tokens_of_stage))]
    return states(axes, draw, QUESTION, source)
