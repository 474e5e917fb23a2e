"""Towers from files: ours, OpenAI's names, transformers' folders."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from clip_towers import MERGES, SMALL, TOKENS, random_state, vocabulary
from minisam.checkpoints.safetensors_file import write_safetensors
from minisam.clip import load
from minisam.clip.loading import shipped_weights
from minisam.clip.tokenisers import Pieces, Words
from minisam.training.contrastive import vocabulary as trained_words
from minisam_kernels import InputError

MUTANTS = {
    "queries behind keys": ("minisam/clip/loading.py", 'for letter in "qkv"', 'for letter in "kqv"'),
    "a projection that is not turned": ("minisam/clip/loading.py", "array.T if name in", "array if name in"),
    "heads by rule alone": ("minisam/clip/loading.py", "if not beside.is_file():", "if True:"),
}


def transformers_names(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """OpenAI's names to transformers', written down a second time and the other way round."""
    names = {"visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
             "visual.class_embedding": "vision_model.embeddings.class_embedding",
             "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
             "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
             "positional_embedding": "text_model.embeddings.position_embedding.weight",
             "logit_scale": "logit_scale"}  # fmt: skip
    norms = {"visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm"}
    norms |= {"ln_final": "text_model.final_layer_norm"}
    result = {}
    for name, array in state.items():
        stem, _, kind = name.rpartition(".")
        if name in ("visual.proj", "text_projection"):
            result["visual_projection.weight" if "visual" in name else "text_projection.weight"] = array.T
        elif stem in norms:
            result[f"{norms[stem]}.{kind}"] = array
        elif name in names:
            result[names[name]] = array
        else:
            tower, _, rest = name.partition("transformer.resblocks.")
            layer, _, rest = rest.partition(".")
            block = f"{'vision' if tower else 'text'}_model.encoder.layers.{layer}."
            if rest.startswith("attn.in_proj_"):
                for letter, part in zip("qkv", np.split(array, 3)):
                    result[f"{block}self_attn.{letter}_proj.{rest.removeprefix('attn.in_proj_')}"] = part
            else:
                for old, new in (("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"),
                                 ("mlp.c_proj", "mlp.fc2"), ("attn.", "self_attn.")):  # fmt: skip
                    rest = rest.replace(old, new)
                result[block + rest] = array
    return result


def test_a_folder_of_transformers_is_the_same_model(tmp_path: Path) -> None:
    """Kills: queries behind keys, a projection that is not turned, heads by rule alone."""
    pieces = vocabulary()
    config = replace(SMALL, vocabulary=len(pieces), activation="gelu")
    state = random_state(config)
    extra = {"vision_model.embeddings.position_ids": np.arange(17)}
    write_safetensors(tmp_path / "model.safetensors", transformers_names(state) | extra)
    both = {
        "vision_config": {"num_attention_heads": 5, "hidden_act": "gelu"},
        "text_config": {"num_attention_heads": 3},
    }
    (tmp_path / "config.json").write_text(json.dumps(both))
    (tmp_path / "vocab.json").write_text(json.dumps(pieces), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES), encoding="utf-8")
    clip = load(tmp_path)
    assert clip.config == config and isinstance(clip.tokeniser, Pieces)
    assert clip.state.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(clip.state[name], array, err_msg=name)
    assert clip.embed_text(["a red car", "cars"]).shape == (2, 24)
    assert clip.embed_text("a red car").shape == (1, 24)


def test_openai_names_in_one_file(tmp_path: Path) -> None:
    """Float16, without anything beside: heads 64 wide, no tokeniser."""
    config = replace(SMALL, vision_heads=1, text_heads=1)
    state = random_state(config)
    buffers = {"input_resolution": np.array(32), "context_length": np.array(12), "vocab_size": np.array(99)}
    write_safetensors(tmp_path / "vit.safetensors", {k: v.astype(np.float16) for k, v in state.items()} | buffers)
    clip = load(tmp_path / "vit.safetensors")
    assert clip.config == config and clip.tokeniser is None
    assert all(array.dtype == np.float32 for array in clip.state.values())
    assert clip.embed_tokens(TOKENS).shape == (3, 24)


def test_files_that_are_no_towers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected CLIP's weights as a safetensors file or a folder"):
        load(tmp_path)
    write_safetensors(tmp_path / "model.safetensors", {"a": np.zeros(3, np.float32)})
    with pytest.raises(InputError, match=r"expected CLIP's two towers .*, got none, in .*model.safetensors"):
        load(tmp_path)
    state = transformers_names(random_state(SMALL))
    del state["text_model.encoder.layers.1.self_attn.k_proj.bias"]
    write_safetensors(tmp_path / "model.safetensors", state)
    with pytest.raises(InputError, match="expected queries, keys and values of one size"):
        load(tmp_path)
    write_safetensors(tmp_path / "model.safetensors", random_state(SMALL))
    for text in ("[", "[]", '{"vision_config": 3}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match="expected heads and activation"):
            load(tmp_path)
    (tmp_path / "config.json").write_text('{"vision_config": {"num_attention_heads": "x"}}')
    with pytest.raises(InputError):
        load(tmp_path)
    write_safetensors(tmp_path / "words.safetensors", random_state(SMALL), {"words": "red car"})
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match="expected a tokeniser of 99 tokens, got one of 5"):
        load(tmp_path / "words.safetensors")


def test_the_shipped_towers() -> None:
    """Small, of the words of the world, and trained: a black and a white square find their own colours."""
    clip = load()
    assert shipped_weights("clip").stat().st_size <= 3_000_000
    assert sum(array.size for array in clip.state.values()) <= 1_450_000
    assert isinstance(clip.tokeniser, Words) and list(clip.tokeniser.words) == trained_words()
    assert asdict(clip.config)["embed_dim"] == 128
    texts = clip.embed_text(["a red car", "the red car", "red car"])
    np.testing.assert_array_equal(texts[0], texts[1])
    np.testing.assert_array_equal(texts[0], texts[2])
    with pytest.raises(InputError, match="expected words that the model knows, got 'couch'"):
        clip.embed_text(["couch"])
