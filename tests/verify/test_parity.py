"""The whole model against ``minisam.reference`` in float64 and Hugging Face's ``SamModel``; SAM's quirks by name.

``minisam verify --model vit_b`` runs the same comparison at the paper's full size.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minisam.model.config import CONFIGS
from minisam.model.state import State
from minisam.reference import build as build_reference
from minisam.sam import Sam, build
from minisam.verify import stages as verify
from minisam.verify.device import tensor
from minisam.verify.kernels import mask_cases
from minisam_kernels.attn.attention import attention
from minisam_kernels.layers.gelu import gelu
from small_models import small
from strategies import seeds

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "an image embedding of the wrong prompt": (
        "minisam/model/mask_decoder.py",
        "source.reshape(-1, h, w, channels)",
        "source.reshape(-1, h, w, channels)[::-1]",
    ),
}

CPU = torch.device("cpu")


def reference_of(sam: Sam) -> torch.nn.Module:
    reference = build_reference(sam.config)
    reference.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in sam.state_dict().items()})
    return reference.double().eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "vit_b", "vit_l", "vit_h"])
@torch.no_grad()
def test_every_stage_is_the_references(name):
    """Encoder block by block and seven kinds of prompt, square and rectangular, for each configuration's widths."""
    config = CONFIGS["tiny"] if name == "tiny" else small(name)
    lines = list(verify.verify_model(build(config, seed=3), CPU))
    embedded = 2 * len(verify.PROMPTS) - 2  # sparse and dense; a mask alone and no prompt have nothing sparse
    answers = (1 + 3 * 2) * len(verify.PROMPTS)  # tokens; logits and IoU: plain, fused twice
    assert len(lines) == 2 * (config.encoder_depth + 3 + embedded + answers)
    assert [str(line) for line in lines if not line.passed] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "vit_b"])
def test_hugging_face_agrees(name):
    """An implementation that nobody here wrote gives the same masks and scores from the same weights."""
    pytest.importorskip("transformers")
    lines = list(verify.verify_hugging_face(build(small(name), seed=4), CPU))
    assert [str(line) for line in lines if not line.passed] == []


def test_masks_boxes_and_runs_are_equal():
    """The kernels that answer with whole numbers, on verify's own cases, of several seeds: no tolerance."""
    for seed in range(3):
        for case in mask_cases(np.random.default_rng(seed)):
            expected = case.oracle(*(tensor(a, CPU) for a in case.arguments))
            np.testing.assert_array_equal(case.kernel(*case.arguments), expected.numpy(), case.name)


def test_verify_notices_a_wrong_weight():
    """The report is no rubber stamp: one block's weights changed by a percent fail every line from there on."""
    sam = build(small("tiny"), seed=5)
    reference = reference_of(sam)
    with torch.no_grad():
        reference.image_encoder.blocks[1].mlp.lin1.weight *= 1.01
        image = verify.random_picture(sam, np.random.default_rng(0), False)
        lines = [x for x in verify.verify_encoder(sam, reference, image, CPU) if isinstance(x, verify.Line)]
    assert [line.passed for line in lines] == [True, True, False, False, False]


@given(seeds, st.integers(1, 4), st.integers(0, 3))
def test_decoding_together_is_decoding_alone(seed, batch, points):
    """Law: B prompts at once give what each gives alone. Kills: an image embedding of the wrong prompt."""
    sam = build(small("tiny", image_size=64, window_size=8), seed=6)
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((1, 8, 8, sam.config.prompt_embed_dim)).astype(np.float32)
    pe = sam.prompt_encoder.get_dense_pe()
    coords, labels = rng.uniform(0, 64, (batch, points, 2)), rng.integers(0, 2, (batch, points))
    boxes = rng.uniform(0, 64, (batch, 4))

    def decode(rows):
        given_points = (coords[rows], labels[rows]) if points else None
        return sam.mask_decoder.predict_masks(features, pe, *sam.prompt_encoder(given_points, boxes[rows]))

    together = decode(slice(None))
    for i in range(batch):
        for whole, alone in zip(together, decode(slice(i, i + 1)), strict=True):
            np.testing.assert_allclose(whole[i], alone[0], rtol=1e-4, atol=1e-4 * np.abs(whole).max())


def test_quirk_padding_of_windows_is_not_masked():
    """Zeros that fill a window are keys and values like others; through them the bias of qkv reaches real tokens."""
    sam = build(small("tiny", window_size=14), seed=7)
    x = np.random.default_rng(0).standard_normal((1, 20, 20, sam.config.encoder_embed_dim)).astype(np.float32)
    state = sam.state_dict()
    name = "image_encoder.blocks.0.attn.qkv.bias"
    bias = state[name].copy()
    bias[sam.config.encoder_embed_dim : 2 * sam.config.encoder_embed_dim] *= 20  # the key of every padding token
    sam = Sam(sam.config, {**state, name: bias})
    inside = sam.image_encoder.block(0, x[:, :14, :14])  # a whole window: no padding
    padded = sam.image_encoder.block(0, x[:, 6:, 6:][:, :13, :14])  # 13 rows: a row of padding in the window
    masked = attend_without_padding(sam, x[:, 6:, 6:][:, :13, :14])
    truth = reference_of(sam).image_encoder.blocks[0]
    for ours, tokens in ((inside, x[:, :14, :14]), (padded, x[:, 6:, 6:][:, :13, :14])):
        expected = truth(torch.from_numpy(np.ascontiguousarray(tokens)).double()).detach().numpy()
        np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert np.abs(masked - padded).max() > 0.01, "a version that masks the padding must differ"


def attend_without_padding(sam: Sam, x: np.ndarray) -> np.ndarray:
    """The wrong version of block 0: padding tokens are no keys."""
    state = State(sam.state_dict(), "image_encoder.blocks.0.")
    y = (state / "norm1").layer_norm(x, 1e-6)
    attn = state / "attn"
    y = attention((attn / "qkv").linear(y), sam.config.encoder_num_heads, attn["rel_pos_h"], attn["rel_pos_w"])
    y = x + (attn / "proj").linear(y)
    z = (state / "norm2").layer_norm(y, 1e-6)
    return y + (state / "mlp" / "lin2").linear(gelu((state / "mlp" / "lin1").linear(z)))


def test_quirk_bias_sees_the_unscaled_query():
    """Doubling the head width's scale must not change the position bias: kills a bias from the scaled query."""
    rng = np.random.default_rng(1)
    qkv = rng.standard_normal((1, 4, 4, 3 * 16)).astype(np.float32)
    qkv[..., 16:32] = 0  # keys are nothing: the scores are the position bias alone
    table = rng.standard_normal((7, 16)).astype(np.float32)
    q, v = qkv[0, ..., :16].reshape(16, 16), qkv[0, ..., 32:].reshape(16, 16)
    rows, columns = np.divmod(np.arange(16), 4)
    bias = np.einsum("id,ijd->ij", q, table[rows[:, None] - rows + 3] + table[columns[:, None] - columns + 3])
    weights = np.exp(bias - bias.max(1, keepdims=True))
    expected = (weights / weights.sum(1, keepdims=True)) @ v
    np.testing.assert_allclose(attention(qkv, 1, table, table)[0].reshape(16, 16), expected, atol=1e-5)


def test_quirk_first_block_of_the_decoder_adds_no_position():
    """The first self-attention takes tokens as they are and replaces them; later ones add position and result."""
    sam = build(small("tiny"), seed=8)
    transformer = sam.mask_decoder.transformer
    seen = []
    attend = transformer.attend
    transformer.attend = lambda state, q, k, v: (seen.append((q, v)), attend(state, q, k, v))[1]
    rng = np.random.default_rng(2)
    tokens = rng.standard_normal((1, 7, 128)).astype(np.float32)
    image, pe = rng.standard_normal((2, 1, 16, 128)).astype(np.float32)
    transformer(image, pe[0], tokens)
    assert len(seen) == 7  # self, token→image, image→token, twice, and the last token→image
    assert seen[0][0] is tokens and seen[0][1] is tokens
    np.testing.assert_array_equal(seen[3][0], seen[3][1] + tokens)


def test_quirk_points_alone_get_a_point_that_is_none():
    """A lone set of points is followed by one padding token; with a box there is none."""
    sam = build("tiny")
    points = (np.array([[[10.0, 20.0]]]), np.array([[1]]))
    box = np.array([[1.0, 2.0, 30.0, 40.0]])
    assert sam.prompt_encoder(points)[0].shape[1] == 2
    np.testing.assert_array_equal(
        sam.prompt_encoder(points)[0][0, 1], sam.state_dict()["prompt_encoder.not_a_point_embed.weight"][0]
    )
    assert sam.prompt_encoder(points, box)[0].shape[1] == 3
    assert sam.prompt_encoder(None, box)[0].shape[1] == 2
    assert sam.prompt_encoder()[0].shape == (1, 0, 128)


def test_any_number_of_threads_gives_the_same_bits(tmp_path):
    """Determinism: pieces are cut by the data's size, so one thread and three give equal masks."""
    program = (
        "import sys, numpy as np, minisam; sam = minisam.build('tiny', seed=1); p = minisam.SamPredictor(sam);"
        "p.set_image(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8));"
        "np.save(sys.argv[1], p.predict([[50, 40]], [1], return_logits=True)[0])"
    )
    results = []
    for threads in ("1", "3"):
        path = tmp_path / f"{threads}.npy"
        environment = {**os.environ, "MINISAM_THREADS": threads}
        subprocess.run([sys.executable, "-c", program, str(path)], check=True, env=environment)
        results.append(np.load(path))
    np.testing.assert_array_equal(*results)
