"""``minisam.clip.load``: our towers, or the real CLIP from safetensors, in OpenAI's names or in transformers'."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minisam.checkpoints.loading import shipped_weights
from minisam.checkpoints.safetensors_file import read_safetensors
from minisam.clip.config import infer_config
from minisam.clip.model import Clip
from minisam.clip.tokenisers import Pieces, Tokeniser, Words
from minisam_kernels import InputError

FILES = ("model.safetensors", "clip.safetensors")  # looked for in a folder
# transformers' ``CLIPModel`` → OpenAI. N stands for a whole number, which is kept.
NAMES = {
    "vision_model.embeddings.patch_embedding.": "visual.conv1.",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.": "visual.ln_pre.",  # spelt so
    "vision_model.encoder.layers.N.": "visual.transformer.resblocks.N.",
    "vision_model.post_layernorm.": "visual.ln_post.",
    "visual_projection.weight": "visual.proj",
    "text_model.embeddings.token_embedding.": "token_embedding.",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.encoder.layers.N.": "transformer.resblocks.N.",
    "text_model.final_layer_norm.": "ln_final.",
    "text_projection.weight": "text_projection",
}
IN_BLOCK = {"layer_norm1.": "ln_1.", "layer_norm2.": "ln_2.", "mlp.fc1.": "mlp.c_fc.", "mlp.fc2.": "mlp.c_proj."}
IN_BLOCK |= {"self_attn.": "attn."}
PARTS = re.compile(r"(.*\.attn\.)([qkv])_proj\.(weight|bias)")
NO_WEIGHTS = re.compile(r".*\.position_ids|input_resolution|context_length|vocab_size")


def load(path: str | Path | None = None) -> Clip:
    """Two towers with their tokeniser.

    Parameters
    ----------
    path : str or Path, optional
        A safetensors file, or a folder with ``model.safetensors``, as transformers' ``CLIPModel`` is published:
        ``config.json`` (heads, activation), ``vocab.json`` and ``merges.txt`` beside it are read if they are there.
        None: the small towers that come with minisam, trained on its procedural world.

    Returns
    -------
    Clip

    Raises
    ------
    InputError
        If there is no such file, or it holds something else.

    Examples
    --------
    >>> clip = minisam.clip.load()  # doctest: +SKIP
    >>> clip.embed_text(["a red car"]) @ clip.embed_image(crops).T  # doctest: +SKIP
    """
    file = shipped_weights("clip") if path is None else _file(Path(path))
    arrays, metadata = read_safetensors(file)
    try:
        state = openai_names({name: array for name, array in arrays.items() if not NO_WEIGHTS.fullmatch(name)})
        config = infer_config(state, **_settings(file, metadata))
        return Clip(config, state, _tokeniser(file, metadata))
    except InputError as error:
        raise InputError(f"{error}, in {file}") from error


def openai_names(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights under OpenAI's names, from those or from transformers'.

    transformers keeps queries, keys and values apart, and turns the two projections.
    """
    if not any(name.startswith("vision_model.") for name in state):
        return dict(state)
    renamed: dict[str, np.ndarray] = {}
    apart: dict[str, dict[str, np.ndarray]] = {}
    for name, array in state.items():
        new = _rename(name)
        part = PARTS.fullmatch(new)
        if part:
            apart.setdefault(f"{part[1]}in_proj_{part[3]}", {})[part[2]] = array
        else:
            renamed[new] = array.T if name in ("visual_projection.weight", "text_projection.weight") else array
    for name, parts in apart.items():
        if len(parts) != 3 or len({array.shape for array in parts.values()}) != 1:
            raise InputError(f"expected queries, keys and values of one size for {name}, got others")
        renamed[name] = np.concatenate([parts[letter] for letter in "qkv"])
    return renamed


def _rename(name: str) -> str:
    for old, new in NAMES.items():
        match = re.match(re.escape(old).replace("N", r"(\d+)"), name)
        if match:
            rest = name[match.end() :]
            inside = next((key for key in IN_BLOCK if match.groups() and rest.startswith(key)), "")
            rest = IN_BLOCK.get(inside, "") + rest[len(inside) :]
            return (new.replace("N", match[1]) if match.groups() else new) + rest
    return name


def _file(path: Path) -> Path:
    """The file of weights that ``path`` is, or that lies in it."""
    if path.is_dir():
        path = next((path / name for name in FILES if (path / name).is_file()), path / FILES[0])
    if not path.is_file():
        raise InputError(f"expected CLIP's weights as a safetensors file or a folder with {FILES[0]}, got {path}")
    return path


def _settings(file: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What shapes do not say, from the file's metadata or from ``config.json`` beside it."""
    beside = file.with_name("config.json")
    try:
        if "config" in metadata:
            table = json.loads(metadata["config"])
            return {key: table[key] for key in ("vision_heads", "text_heads", "activation")}
        if not beside.is_file():
            return {}
        table = json.loads(beside.read_text(encoding="utf-8"))
        vision, text = table.get("vision_config") or {}, table.get("text_config") or {}
        settings = {"vision_heads": vision.get("num_attention_heads"), "text_heads": text.get("num_attention_heads")}
        return settings | {"activation": vision.get("hidden_act", "quick_gelu")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"expected heads and activation of CLIP's towers, got: {error!r:.80}") from error


def _tokeniser(file: Path, metadata: Mapping[str, str]) -> Tokeniser | None:
    if "words" in metadata:
        return Words(metadata["words"].split())
    return Pieces(file.parent) if file.with_name("vocab.json").is_file() else None
