"""The sizes of two towers, and every weight's name and shape: OpenAI's names, for our small towers as for theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from minisam_kernels import InputError

ACTIVATIONS = ("quick_gelu", "gelu")


@dataclass(frozen=True)
class ClipConfig:
    """Sizes of one model.

    Parameters
    ----------
    image_size, patch_size : int
        Pixels along a side of a crop, and of the square that becomes one image token.
    vision_width, vision_layers, vision_heads : int
        Width, number of blocks and of attention heads of the image tower.
    text_width, text_layers, text_heads : int
        The same of the text tower.
    vocabulary, context : int
        Number of tokens that there are, and that a text has at most, start and end included. The end is the last.
    embed_dim : int
        Width of the space that both towers map into.
    activation : str
        "quick_gelu" (OpenAI's), or "gelu" (most later ones).
    """

    image_size: int
    patch_size: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    text_width: int
    text_layers: int
    text_heads: int
    vocabulary: int
    context: int
    embed_dim: int
    activation: str = "quick_gelu"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every weight's name → its shape, in the order in which the model uses them."""
        width, text = self.vision_width, self.text_width
        tokens = (self.image_size // self.patch_size) ** 2
        return {
            "visual.conv1.weight": (width, 3, self.patch_size, self.patch_size),
            "visual.class_embedding": (width,),
            "visual.positional_embedding": (1 + tokens, width),
            **_norm("visual.ln_pre", width),
            **_transformer("visual.transformer", width, self.vision_layers),
            **_norm("visual.ln_post", width),
            "visual.proj": (width, self.embed_dim),
            "token_embedding.weight": (self.vocabulary, text),
            "positional_embedding": (self.context, text),
            **_transformer("transformer", text, self.text_layers),
            **_norm("ln_final", text),
            "text_projection": (text, self.embed_dim),
            "logit_scale": (),
        }


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _transformer(name: str, width: int, layers: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        block = f"{name}.resblocks.{layer}"
        shapes |= _norm(f"{block}.ln_1", width)
        shapes |= {f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,)}
        shapes |= {f"{block}.attn.out_proj.weight": (width, width), f"{block}.attn.out_proj.bias": (width,)}
        shapes |= _norm(f"{block}.ln_2", width)
        shapes |= {f"{block}.mlp.c_fc.weight": (4 * width, width), f"{block}.mlp.c_fc.bias": (4 * width,)}
        shapes |= {f"{block}.mlp.c_proj.weight": (width, 4 * width), f"{block}.mlp.c_proj.bias": (width,)}
    return shapes


def infer_config(
    state: Mapping[str, np.ndarray],
    vision_heads: int | None = None,
    text_heads: int | None = None,
    activation: str = "quick_gelu",
) -> ClipConfig:
    """The sizes of the towers with these weights. Shapes say all but the heads (OpenAI's are 64 wide) and the bend.

    Raises
    ------
    InputError
        If a weight is missing, superfluous or of a wrong shape.
    """
    needed = ("visual.conv1.weight", "visual.positional_embedding", "token_embedding.weight", "positional_embedding")
    for name, axes in zip((*needed, "text_projection"), (4, 2, 2, 2, 2)):
        if name not in state or state[name].ndim != axes:
            raise InputError(f"expected CLIP's two towers with {name} of {axes} axes, got {_described(state, name)}")
    width, _, patch, _ = state["visual.conv1.weight"].shape
    tokens = state["visual.positional_embedding"].shape[0] - 1
    vocabulary, text = state["token_embedding.weight"].shape
    config = ClipConfig(
        image_size=math.isqrt(max(tokens, 0)) * patch,
        patch_size=patch,
        vision_width=width,
        vision_layers=_layers(state, "visual.transformer"),
        vision_heads=vision_heads or max(1, width // 64),
        text_width=text,
        text_layers=_layers(state, "transformer"),
        text_heads=text_heads or max(1, text // 64),
        vocabulary=vocabulary,
        context=state["positional_embedding"].shape[0],
        embed_dim=state["text_projection"].shape[1],
        activation=activation,
    )
    check(config, state)
    return config


def check(config: ClipConfig, state: Mapping[str, np.ndarray]) -> None:
    """Raise ``InputError`` unless ``state`` holds the weights of ``config`` and no others."""
    shapes = config.shapes()
    for name in sorted(shapes.keys() | state.keys()):
        if name not in shapes:
            raise InputError(f"expected the weights of CLIP's two towers, got also {name:.80}")
        if name not in state or state[name].shape != shapes[name]:
            raise InputError(f"expected {name} of shape {shapes[name]}, got {_described(state, name)}")
    for width, heads in ((config.vision_width, config.vision_heads), (config.text_width, config.text_heads)):
        if type(heads) is not int or heads < 1 or width % heads:
            raise InputError(f"expected a width that is a multiple of the heads, got {width} and {heads!r:.40}")
    if config.activation not in ACTIVATIONS:
        raise InputError(f"expected an activation among {', '.join(ACTIVATIONS)}, got {config.activation!r:.40}")


def _described(state: Mapping[str, np.ndarray], name: str) -> str:
    return f"{state[name].shape}" if name in state else "none"


def _layers(state: Mapping[str, np.ndarray], prefix: str) -> int:
    layer = 0
    while f"{prefix}.resblocks.{layer}.ln_1.weight" in state:
        layer += 1
    return layer
