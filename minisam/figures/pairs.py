"""pairs: how many pairs of query and key the encoder's attention has, counted from a model's sizes.

A pair is one score of one head: one dot product of D numbers, one exponential, and D more multiplications with the
value. A global block of N tokens has N² of them; a windowed block has w⁴ per window, those of the padded last windows
included, as the released code computes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minisam.figures.shared.overlay import BLUE, GREEN, ORANGE
from minisam.figures.shared.states import Axis, State, states
from minisam.model.config import CONFIGS, SamConfig
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    import ipywidgets

QUESTION = (
    "The model has windows in most blocks and looks everywhere in four (tiny: two). How much would it cost to look "
    "everywhere in all blocks: twice as many pairs, five times, twenty times? And at twice the side?"
)


def window_pairs(side: int, window: int) -> int:
    """Pairs of one head in a windowed block of side × side tokens."""
    across = -(-side // window)
    return across**2 * window**4


def count_pairs(config: SamConfig, side: int | None = None) -> dict[str, int]:
    """Pairs of all heads and blocks, with ``side`` tokens along a side (the model's own if None): as it is built, with
    windows only, and with global attention only."""
    side = config.image_embedding_size if side is None else side
    if side < 1:
        raise InputError(f"expected at least 1 token along a side, got {side}")
    windowed, everywhere = window_pairs(side, config.window_size), side**4
    blocks, wide = config.encoder_depth, len(config.encoder_global_attn_indexes)
    heads = config.encoder_num_heads
    return {
        "windows only": heads * blocks * windowed,
        "as it is built": heads * ((blocks - wide) * windowed + wide * everywhere),
        "global only": heads * blocks * everywhere,
    }


def pairs(
    names: Sequence[str] = ("tiny", "vit_b", "vit_l", "vit_h"),
    sides: Sequence[int] = (16, 32, 40, 64, 80, 128),
    source: str = "",
) -> ipywidgets.VBox:
    """Buttons for the models ``names``, a slider over ``sides``, the tokens along a side. Raises ``InputError`` for a
    model that is not known or a side below 1."""
    unknown = [name for name in names if name not in CONFIGS]
    if unknown:
        raise InputError(f"expected models among {', '.join(CONFIGS)}, got {', '.join(unknown)}")
    largest = max(max(count_pairs(CONFIGS[name], side).values()) for name in names for side in sides)

    def draw(which: int, at: int) -> State:
        config, side = CONFIGS[names[which]], sides[at]
        counted = count_pairs(config, side)
        built, everywhere = counted["as it is built"], counted["global only"]
        wide = len(config.encoder_global_attn_indexes)
        share = config.encoder_num_heads * wide * side**4 / built
        words = (
            f"{config.name}, {side} × {side} tokens (an image of {side * config.patch_size} pixels): {built:,} pairs "
            f"as built, {share:.0%} of them in its {wide} global blocks; {everywhere / built:.1f} times as many if all "
            f"{config.encoder_depth} blocks looked everywhere."
        )
        return State(_bars(counted, config, side, largest), words)

    own = {name: CONFIGS[name].image_embedding_size for name in names}
    start = list(sides).index(own[names[0]]) if own[names[0]] in sides else 0
    axes = [Axis("Model", list(names)), Axis("Tokens along a side", [str(side) for side in sides], start)]
    return states(axes, draw, QUESTION, source)


def _bars(counted: dict[str, int], config: SamConfig, side: int, largest: int) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 2.8))
    bars = axes.barh(list(counted), list(counted.values()), color=[BLUE, GREEN, ORANGE], edgecolor="black")
    for bar, hatch, number in zip(bars, ("//", "", "xx"), counted.values()):
        bar.set_hatch(hatch)
        axes.text(number * 1.3, bar.get_y() + bar.get_height() / 2, f"{number:.3g}", va="center", fontsize=14)
    axes.set_xscale("log")
    axes.set_xlim(1e5, largest * 30)
    axes.tick_params(labelsize=14)
    axes.set_xlabel("pairs of query and key", fontsize=14)
    own = " (its own)" if side == config.image_embedding_size else ""
    axes.set_title(f"{config.name}, {side} × {side} tokens{own}", fontsize=14)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
