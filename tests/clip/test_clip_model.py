"""The two towers against transformers' CLIPModel and against torch, on random weights."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from clip_towers import SMALL, TOKENS, random_state
from minisam.clip import Clip, ClipConfig
from minisam.clip.config import infer_config
from minisam.clip.loading import openai_names
from minisam.clip.model import MEAN, STD, patches_inside
from minisam_kernels import InputError

LARGE = ClipConfig(224, 14, 1024, 24, 16, 768, 12, 12, 49408, 77, 768)  # ViT-L/14
MUTANTS = {
    "a sigmoid without its factor": ("minisam/clip/model.py", "expit(np.float32(1.702) * y)", "expit(y)"),
    "texts that see what comes": ("minisam/clip/model.py", "-np.inf, np.float32), 1)", "0, np.float32), 1)"),
    "the last end": ("minisam/clip/model.py", "(tokens == c.vocabulary - 1).argmax(1)", "(tokens > 0).sum(1) - 1"),
    "attention outside": ("minisam/clip/model.py", "[~inside] = -np.inf", "[inside] = -np.inf"),
    "a class token that does not see itself": (
        "minisam/clip/model.py",
        "mask[:, 0, 0, 1:][~inside]",
        "mask[:, 0, 0, 0] = -np.inf; mask[:, 0, 0, 1:][~inside]",
    ),
    "patches that a pixel covers": ("minisam/clip/model.py", "np.minimum(0.5,", "np.minimum(0.01,"),
}


def hugging_face(config: ClipConfig) -> Any:
    """transformers' model of these sizes, without weights."""
    torch = pytest.importorskip("torch")
    from transformers import CLIPConfig, CLIPModel

    vision = {"hidden_size": config.vision_width, "intermediate_size": 4 * config.vision_width}
    vision |= {"num_hidden_layers": config.vision_layers, "num_attention_heads": config.vision_heads}
    vision |= {"image_size": config.image_size, "patch_size": config.patch_size}
    text = {"hidden_size": config.text_width, "intermediate_size": 4 * config.text_width}
    text |= {"num_hidden_layers": config.text_layers, "num_attention_heads": config.text_heads}
    text |= {"vocab_size": config.vocabulary, "max_position_embeddings": config.context}
    text |= {"bos_token_id": config.vocabulary - 2, "eos_token_id": config.vocabulary - 1, "pad_token_id": 0}
    both = {"projection_dim": config.embed_dim, "hidden_act": config.activation}
    with torch.device("meta"):
        return CLIPModel(CLIPConfig(text_config=text | both, vision_config=vision | both, **both)).eval()


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_towers_are_those_of_transformers(activation: str) -> None:
    """Both towers and the scale, with either activation."""
    torch = pytest.importorskip("torch")
    config = replace(SMALL, activation=activation)
    model = hugging_face(config).to_empty(device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = "norm" in name or "layrnorm" in name
            parameter.normal_(1.0 if norm and name.endswith("weight") else 0.0, 0.3)
        for name, buffer in model.named_buffers():
            assert name.endswith("position_ids")
            buffer.copy_(torch.arange(buffer.shape[-1])[None])
    state = {name: value.detach().numpy() for name, value in model.named_parameters()}
    clip = Clip(config, openai_names(state))
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    pixels = torch.from_numpy(((crops / np.float32(255) - MEAN) / STD).transpose(0, 3, 1, 2))
    with torch.no_grad():
        expected = model(input_ids=torch.from_numpy(TOKENS), pixel_values=pixels)
    np.testing.assert_allclose(clip.embed_image(crops), expected.image_embeds, atol=2e-6)
    np.testing.assert_allclose(clip.embed_tokens(TOKENS), expected.text_embeds, atol=2e-6)
    assert clip.logit_scale == pytest.approx(model.logit_scale.exp().item())


@pytest.mark.parametrize("size", [224, 336])
def test_names_and_shapes_of_the_large_model(size: int) -> None:
    """ViT-L/14 and ViT-L/14@336: what transformers calls its weights is, renamed, exactly what the towers need."""
    config = replace(LARGE, image_size=size)
    state = {name: np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), tuple(value.shape), (0,) * value.ndim)
             for name, value in hugging_face(config).named_parameters()}  # fmt: skip
    renamed = openai_names(state)
    assert {name: array.shape for name, array in renamed.items()} == config.shapes()
    assert infer_config(renamed) == config


@pytest.mark.parametrize("masked", [False, True])
def test_towers_are_those_that_are_trained(masked: bool) -> None:
    """Kills: a sigmoid without its factor, texts that see what comes, the last end, attention outside, a class token
    that does not see itself."""
    torch = pytest.importorskip("torch")
    from minisam.training.towers import Towers

    rng = np.random.default_rng(1)
    towers = Towers(SMALL).eval()
    state = random_state(SMALL)
    towers.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    crops = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    inside = rng.random((4, 32, 32)) < np.array([0.1, 0.4, 0.6, 0.9])[:, None, None]
    seen = torch.from_numpy(patches_inside(inside, 8)) if masked else None
    with torch.no_grad():
        image, text = towers.visual(torch.from_numpy(crops), seen), towers.embed_tokens(torch.from_numpy(TOKENS))
    clip = Clip(SMALL, state)
    np.testing.assert_allclose(clip.embed_image(crops, inside if masked else None), image.numpy(), atol=2e-6)
    np.testing.assert_allclose(clip.embed_tokens(TOKENS), text.numpy(), atol=2e-6)


def test_in_one_block_what_is_outside_changes_nothing() -> None:
    """Kills: attention outside."""
    config = replace(SMALL, vision_layers=1)
    clip, rng = Clip(config, random_state(config)), np.random.default_rng(2)
    crops = rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    inside = np.zeros((1, 32, 32), bool)
    inside[:, 8:16, 8:24] = True  # two whole patches
    other = np.where(inside[..., None], crops, rng.integers(0, 256, crops.shape, dtype=np.uint8))
    np.testing.assert_array_equal(clip.embed_image(crops, inside), clip.embed_image(other, inside))
    assert not np.allclose(clip.embed_image(crops), clip.embed_image(other))


def test_patches_inside() -> None:
    """By half, or as much as any. Kills: patches that a pixel covers."""
    inside = np.zeros((2, 4, 4), bool)
    inside[0, :2, :3] = True  # the first patch, and half of the second
    inside[0, 3, 3] = True
    inside[1, 2, 0] = True  # a quarter of one patch
    expected = [[True, True, False, False], [False, False, True, False]]
    np.testing.assert_array_equal(patches_inside(inside, 2), expected)


def test_vectors_have_length_one_and_do_not_depend_on_the_batch() -> None:
    clip = Clip(SMALL, random_state(SMALL))
    crops = np.random.default_rng(3).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)
    vectors = clip.embed_image(crops)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[66:68], clip.embed_image(crops[66:68]))
    # what stands behind the end does not count
    other = TOKENS.copy()
    other[0, 4:] = 50
    np.testing.assert_array_equal(clip.embed_tokens(TOKENS[:1]), clip.embed_tokens(other[:1]))
    assert clip.embed_image(crops[:0]).shape == clip.embed_tokens(TOKENS[:0]).shape == (0, 24)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"visual.conv1.weight": None}, "visual.conv1.weight of 4 axes, got none"),
        ({"text_projection": None}, "text_projection of 2 axes, got none"),
        ({"visual.proj": np.zeros((40, 25), np.float32)}, r"visual.proj of shape \(40, 24\), got \(40, 25\)"),
        ({"extra": np.zeros(1, np.float32)}, "got also extra"),
        ({"transformer.resblocks.0.ln_1.weight": None}, "got also transformer.resblocks"),
    ],
)
def test_weights_that_are_no_towers_are_refused(change: dict[str, Any], message: str) -> None:
    state = {name: array for name, array in (random_state(SMALL) | change).items() if array is not None}
    with pytest.raises(InputError, match=message):
        infer_config(state, 5, 3)


def test_bad_input_is_refused_in_one_line() -> None:
    clip = Clip(SMALL, random_state(SMALL))
    crops = np.zeros((2, 32, 32, 3), np.uint8)
    for bad in (crops[0], crops[:, :31], crops.astype(np.float32)):
        with pytest.raises(InputError, match=r"expected crops of shape \(N, 32, 32, 3\), uint8"):
            clip.embed_image(bad)
    with pytest.raises(InputError, match="expected inside of shape"):
        clip.embed_image(crops, np.ones((2, 32, 32)))
    with pytest.raises(InputError, match="expected a pixel inside of each crop"):
        clip.embed_image(crops, np.zeros((2, 32, 32), bool))
    with pytest.raises(InputError, match="expected a tokeniser"):
        clip.embed_text(["car"])
    for tokens in (TOKENS[:, :5], TOKENS * 1.0):
        with pytest.raises(InputError, match=r"expected tokens of shape \(N, 12\)"):
            clip.embed_tokens(tokens)
    for tokens in (np.full((1, 12), 99), np.zeros((1, 12), int), np.full((1, 12), -1)):
        with pytest.raises(InputError, match="expected tokens of 0 to 98"):
            clip.embed_tokens(tokens)
    with pytest.raises(InputError, match="multiple of the heads, got 40 and 7"):
        Clip(replace(SMALL, vision_heads=7), random_state(SMALL))
    with pytest.raises(InputError, match="expected an activation among"):
        Clip(replace(SMALL, activation="relu"), random_state(SMALL))


def test_a_config_is_told_by_its_weights() -> None:
    state = random_state(SMALL)
    assert infer_config(state, 5, 3) == SMALL
    assert asdict(infer_config(state)) == asdict(SMALL) | {"vision_heads": 1, "text_heads": 1}
