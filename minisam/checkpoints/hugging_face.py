"""The weights' names in Hugging Face transformers (``SamModel``), and the way from them to the official ones and back.

The two layouts hold the same arrays. Names differ, and in one place the meaning of a name: the official small MLPs
count ``layers.0, layers.1, layers.2``; transformers calls the first ``proj_in``, the last ``proj_out``, and counts only
those between as ``layers.0, …``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")

# official → Hugging Face. A pattern is a piece of a name between dots; N stands for a whole number, which is kept.
NAMES = {
    "image_encoder.patch_embed.proj.": "vision_encoder.patch_embed.projection.",
    "image_encoder.blocks.N.norm1.": "vision_encoder.layers.N.layer_norm1.",
    "image_encoder.blocks.N.norm2.": "vision_encoder.layers.N.layer_norm2.",
    "image_encoder.blocks.N.": "vision_encoder.layers.N.",
    "image_encoder.neck.0.": "vision_encoder.neck.conv1.",
    "image_encoder.neck.1.": "vision_encoder.neck.layer_norm1.",
    "image_encoder.neck.2.": "vision_encoder.neck.conv2.",
    "image_encoder.neck.3.": "vision_encoder.neck.layer_norm2.",
    "image_encoder.": "vision_encoder.",
    "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": "shared_image_embedding.positional_embedding",
    "prompt_encoder.point_embeddings.": "prompt_encoder.point_embed.",
    "prompt_encoder.mask_downscaling.0.": "prompt_encoder.mask_embed.conv1.",
    "prompt_encoder.mask_downscaling.1.": "prompt_encoder.mask_embed.layer_norm1.",
    "prompt_encoder.mask_downscaling.3.": "prompt_encoder.mask_embed.conv2.",
    "prompt_encoder.mask_downscaling.4.": "prompt_encoder.mask_embed.layer_norm2.",
    "prompt_encoder.mask_downscaling.6.": "prompt_encoder.mask_embed.conv3.",
    "mask_decoder.transformer.layers.N.norm": "mask_decoder.transformer.layers.N.layer_norm",
    "mask_decoder.transformer.norm_final_attn.": "mask_decoder.transformer.layer_norm_final_attn.",
    "mask_decoder.output_upscaling.0.": "mask_decoder.upscale_conv1.",
    "mask_decoder.output_upscaling.1.": "mask_decoder.upscale_layer_norm.",
    "mask_decoder.output_upscaling.3.": "mask_decoder.upscale_conv2.",
}
TIED = "prompt_encoder.shared_embedding.positional_embedding"  # a second name of shared_image_embedding's array
MLP = re.compile(
    r"(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))"  # 1: which
    r"\.(layers\.(\d+)|proj_in|proj_out)\.(.+)"  # 2: the layer, 3: its number, 4: weight or bias
)


def _table(pairs: list[tuple[str, str]]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(re.escape(a).replace("N", r"(\d+)", 1)), b.replace("N", r"\g<1>", 1)) for a, b in pairs]


_TO_HUGGING_FACE = _table(list(NAMES.items()))
_TO_OFFICIAL = _table([(b, a) for a, b in NAMES.items()])


def _rename(name: str, table: list[tuple[re.Pattern[str], str]]) -> str:
    for pattern, replacement in table:
        match = pattern.match(name)
        if match:
            return match.expand(replacement) + name[match.end() :]
    return name


def _between(names: Mapping[str, object], first: int) -> dict[str, int]:
    """For each small MLP, the number after its highest ``layers.<number>`` (``first`` when there is none)."""
    highest: dict[str, int] = {}
    for layer in filter(None, map(MLP.fullmatch, names)):
        number = int(layer[3]) + 1 if layer[3] else first
        highest[layer[1]] = max(highest.get(layer[1], first), number)
    return highest


def is_hugging_face(names: Mapping[str, object]) -> bool:
    """Whether these are names of transformers' ``SamModel``."""
    return any(name.startswith("vision_encoder.") for name in names)


def to_official(state: Mapping[str, Value]) -> dict[str, Value]:
    """The same arrays under the official names. Names that are official already, or that nobody knows, stay."""
    if not is_hugging_face(state):
        return dict(state)
    counts, official = _between(state, 0), {}
    for name, value in state.items():
        mlp = MLP.fullmatch(name)
        if name == TIED:
            if "shared_image_embedding.positional_embedding" not in state:
                official["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = value
        elif mlp:
            number = 0 if mlp[2] == "proj_in" else counts[mlp[1]] + 1 if mlp[2] == "proj_out" else int(mlp[3]) + 1
            official[f"{mlp[1]}.layers.{number}.{mlp[4]}"] = value
        else:
            official[_rename(name, _TO_OFFICIAL)] = value
    return official


def to_hugging_face(state: Mapping[str, Value]) -> dict[str, Value]:
    """Official names → those of transformers' ``SamModel``, both names of the tied array included."""
    counts, renamed = _between(state, 1), {}
    for name, value in state.items():
        mlp = MLP.fullmatch(name)
        if mlp:
            number, last = int(mlp[3]), counts[mlp[1]] - 1
            layer = "proj_in" if number == 0 else "proj_out" if number == last else f"layers.{number - 1}"
            renamed[f"{mlp[1]}.{layer}.{mlp[4]}"] = value
        else:
            renamed[_rename(name, _TO_HUGGING_FACE)] = value
            if name.startswith("prompt_encoder.pe_layer."):
                renamed[TIED] = value
    return renamed
