"""A figure with sliders over images that were computed beforehand: it works with a kernel and on a page without one.

``states(axes, draw)`` calls ``draw`` once for every combination of the axes' positions and keeps each image with a
sentence that says what it shows. Sliders and images are linked in the browser, so moving a slider asks Python for
nothing; what the page shows is what ``draw`` gave, and a test can call ``draw`` again and compare.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np
from PIL import Image

from minisam_kernels.runtime.errors import InputError

WIDTH = "min(100%, 60rem)"
FEW = 5  # positions that are shown as buttons; more become a slider


@dataclass(frozen=True)
class Axis:
    """One thing that a reader may change: its name, what each position is called, and where it begins."""

    name: str
    positions: Sequence[str]
    start: int = 0


@dataclass(frozen=True)
class State:
    """What one combination shows: a matplotlib figure or an array (H, W, 3) uint8, and the same in words.

    ``words`` stand under the image. ``alt`` is read in place of the image; without it, ``words`` are.
    """

    picture: Any
    words: str
    alt: str = ""


def states(axes: Sequence[Axis], draw: Callable[..., State], question: str = "", source: str = "") -> widgets.VBox:
    """A control for each axis above the image that it chooses; ``draw(i, j, …)`` gives the state at the positions.

    ``question``: shown first, alone; the image comes after a guess. ``source``: the address of the code behind it.
    """
    if not axes or any(len(axis.positions) == 0 for axis in axes):
        raise InputError(f"expected at least one axis, each with a position, got {[len(a.positions) for a in axes]}")
    controls = [_control(axis) for axis in axes]
    picture = _nest(axes, controls, draw, ())
    parts: list[widgets.Widget] = [*controls, picture]
    if source:
        parts.append(
            widgets.HTML(f'<small>Computed by <a href="{html.escape(source)}">the code of this figure</a>.</small>')
        )
    content = widgets.VBox(parts, layout={"width": WIDTH})
    content.add_class("ms-content")
    if not question:
        return _marked([content])
    asked = widgets.HTML(f"<p><strong>Guess first.</strong> {html.escape(question)}</p>")
    shown = widgets.ToggleButtons(options=["Still guessing", "Show me"], index=0)
    curtain = widgets.Stack([widgets.HTML(""), content], selected_index=0)
    widgets.jslink((shown, "index"), (curtain, "selected_index"))
    return _marked([asked, shown, curtain])


def _marked(parts: Sequence[widgets.Widget]) -> widgets.VBox:
    """The whole figure, with a class by which the page's style and the browser tests find it."""
    whole = widgets.VBox(parts, layout={"width": WIDTH})
    whole.add_class("ms-states")
    return whole


def _control(axis: Axis) -> widgets.Widget:
    """Buttons for a few positions, a slider for many; both have an ``index``."""
    options = [(str(name), i) for i, name in enumerate(axis.positions)]
    common: dict[str, Any] = {"options": options, "index": axis.start, "description": axis.name}
    common["style"] = {"description_width": "initial"}
    if len(options) <= FEW:
        return widgets.ToggleButtons(**common)
    return widgets.SelectionSlider(**common, continuous_update=True, layout={"width": "100%"})


def _nest(
    axes: Sequence[Axis], controls: Sequence[widgets.Widget], draw: Callable[..., State], at: tuple[int, ...]
) -> widgets.Widget:
    """A stack over the next axis's positions, each a stack over the axis after it, down to the images."""
    if len(at) == len(axes):
        return picture_of(draw(*at))
    axis, control = axes[len(at)], controls[len(at)]
    children = [_nest(axes, controls, draw, (*at, i)) for i in range(len(axis.positions))]
    stack = widgets.Stack(children, selected_index=axis.start)
    widgets.jslink((control, "index"), (stack, "selected_index"))
    return stack


def picture_of(state: State) -> widgets.HTML:
    """An image with its words, readable without seeing it."""
    code = base64.b64encode(encode(state.picture)).decode()
    words, alt = html.escape(state.words), html.escape(state.alt or state.words)
    image = f'<img alt="{alt}" style="max-width:100%;height:auto" src="data:image/webp;base64,{code}">'
    caption = f'<figcaption><div role="status">{words}</div></figcaption>'
    return widgets.HTML(f'<figure style="margin:0">{image}{caption}</figure>')


def encode(picture: Any, quality: int = 82) -> bytes:
    """A matplotlib figure (which is closed) or an array (H, W, 3) uint8 → the bytes of a WebP image."""
    buffer = io.BytesIO()
    if isinstance(picture, np.ndarray):
        Image.fromarray(picture).save(buffer, "WEBP", quality=quality, method=4)
    else:
        import matplotlib.pyplot as plt

        picture.savefig(buffer, format="webp", dpi=110, bbox_inches="tight", pil_kwargs={"quality": quality})
        plt.close(picture)
    return buffer.getvalue()
