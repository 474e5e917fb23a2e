"""Chapter 6: its solutions, its hints, its figures, and what its text says."""

from __future__ import annotations

from collections.abc import Iterator

import ipywidgets as widgets
import numpy as np
import pytest

import chapter
import minisam
from minisam.exercises import chapter_06 as exercises
from minisam.exercises import verdict
from minisam.figures import attention_maps, left_out, pixel_attention
from minisam.figures.shared.decoder_steps import PARTS, Steps, attention_weights, decode_steps, within_picture
from minisam.figures.shared.paint import look
from minisam.model.transformer import EPS, TwoWayTransformer
from minisam.predictor import SamPredictor
from minisam_kernels import InputError
from minisam_kernels.attn.cross_attention import cross_attention_numpy
from minisam_kernels.runtime.threads import blas_at_one_thread

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "another head layout": (
        "minisam/figures/shared/decoder_steps.py",
        "x.reshape(len(x), num_heads, -1).swapaxes(0, 1)",
        "x.reshape(len(x), -1, num_heads).transpose(2, 0, 1)",
    ),
    "√C for √D": ("minisam/figures/shared/decoder_steps.py", "np.sqrt(q.shape[2])", "np.sqrt(q.shape[2] * num_heads)"),
    "softmax over queries": (
        "minisam/figures/shared/decoder_steps.py",
        "weights / weights.sum(axis=2",
        "weights / weights.sum(axis=1",
    ),
    "positions left out of the keys": (
        "minisam/figures/shared/decoder_steps.py",
        '(state / "k_proj").linear(k)[0]',
        '(state / "k_proj").linear(v)[0]',
    ),
}

ONE = np.array([1])
GRID = minisam.CONFIGS["tiny"].image_embedding_size  # tokens along a side
WIDE, HIGH = 4 * GRID, 4 * GRID * 2 // 3 + 1  # an image that is as wide as the decoder's masks, so a pixel is a logit
ROWS = -(-HIGH // 4)  # of tokens that show some of it


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Steps are computed with one thread of BLAS; with two, a product may be split elsewhere and round differently."""
    with blas_at_one_thread():
        yield


@pytest.fixture(scope="module")
def sam() -> minisam.Sam:
    return minisam.load("tiny")


@pytest.fixture(scope="module")
def seen(sam: minisam.Sam) -> tuple[SamPredictor, np.ndarray, np.ndarray]:
    """An image that is not square, so that part of the input is padding."""
    from minisam.world import render

    return look(render(11, WIDE).image[:HIGH], (70, 60), sam)


@pytest.fixture(scope="module")
def steps(seen: tuple[SamPredictor, np.ndarray, np.ndarray]) -> Steps:
    return decode_steps(seen[0], seen[2], ONE)


SOLUTIONS = chapter.solutions(6)


def test_every_exercise_has_a_solution() -> None:
    assert sorted(SOLUTIONS) == [f"6.{number}" for number in sorted(exercises.EXERCISES)]


@pytest.mark.parametrize("number", SOLUTIONS)
def test_solutions_are_accepted(number: str) -> None:
    out = chapter.printed(SOLUTIONS[number])
    assert f"✓ {number}" in out and "✗" not in out


def slipped(slip: str):
    return lambda *arguments: exercises._both_ways(*arguments, slip)


def in_place(tokens, image, token_pe, image_pe, read, write):
    new = exercises._both_ways(tokens, image, token_pe, image_pe, read, write)
    tokens += 1
    return new


def q_of(tokens, token_pe):
    return tokens + token_pe


def joined(a, b, largest=np.maximum, left=True, factor=True):
    m = largest(a[0], b[0])
    f, g = (np.exp(x[0] - m) if factor else np.ones_like(m) for x in (a, b))
    if not left:
        f, g = g, f
    return m, f * a[1] + g * b[1], f[:, None] * a[2] + g[:, None] * b[2]


def overflowing(a, b):
    total = np.exp(a[0]) * a[1] + np.exp(b[0]) * b[1]
    m = np.maximum(a[0], b[0])
    mixed = np.exp(a[0] - m)[:, None] * a[2] + np.exp(b[0] - m)[:, None] * b[2]
    return m, total / np.exp(m), mixed


WRONG = [
    *(("6.1", slipped(slip), hint[:25]) for slip, hint in exercises.SLIPS.items()),
    ("6.1", in_place, "in place"),
    ("6.1", lambda *a: exercises._both_ways(*a)[0], "two arrays"),
    ("6.2", lambda i, t, p, f: t + f(q_of(t, p), q_of(t, p), q_of(t, p)), "block 0"),
    ("6.2", lambda i, t, p, f: t + f(t, t, t) if i == 0 else t + f(q_of(t, p), q_of(t, p), t), "replaces"),
    ("6.2", lambda i, t, p, f: f(q_of(t, p), q_of(t, p), t), "adds no positions"),
    ("6.2", lambda i, t, p, f: f(t, t, t) if i == 0 else f(q_of(t, p), q_of(t, p), t), "is added to the tokens"),
    ("6.2", lambda i, t, p, f: f(t, t, t) if i == 0 else t + f(*[q_of(t, p)] * 3), "not into values"),
    ("6.3", lambda a, b: joined(a, b, largest=np.minimum), "larger of the two"),
    ("6.3", lambda a, b: joined(a, b, factor=False), "different maxima"),
    ("6.3", lambda a, b: joined(a, b, left=False), "total"),
    ("6.3", overflowing, "overflow"),
    ("6.3", lambda a, b: joined(a, b)[:2], "three arrays"),
    ("6.4", lambda t, n, c, w: 2 * t * n * w, "three projections"),
    ("6.4", lambda t, n, c, w: t * c * w + n * c * w + t * n * w, "Half"),
    ("6.4", lambda t, n, c, w: 3 * (t + n) * c * w + 2 * t * n * w, "six products"),
]


@pytest.mark.parametrize(("number", "answer", "hint"), WRONG)
def test_wrong_answers_get_a_hint(number: str, answer, hint: str) -> None:
    assert hint in verdict(number, answer)


# ---- the steps are the model's ---------------------------------------------------------------------------


def prompts(seen: tuple[SamPredictor, np.ndarray, np.ndarray]) -> list[dict[str, np.ndarray]]:
    box, logits = np.array([20.0, 10.0, 120.0, 100.0]), np.zeros((1, WIDE, WIDE), np.float32)
    point = {"point_coords": seen[2], "point_labels": ONE}
    return [point, {"box": box}, {**point, "box": box, "mask_input": logits}, {"mask_input": logits}]


@pytest.mark.parametrize("kind", range(4))
def test_steps_are_the_predictors(seen: tuple[SamPredictor, np.ndarray, np.ndarray], kind: int) -> None:
    """Bit for bit the plain decoder's four masks; three of four are another product, which may round differently."""
    predictor, prompt = seen[0], prompts(seen)[kind]
    got = decode_steps(predictor, **prompt)
    _, iou, low_res = predictor.predict(**prompt)
    np.testing.assert_allclose(got.logits[1:], low_res, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(got.iou_predictions[1:], iou)
    single = predictor.predict(**prompt, multimask_output=False)[2]
    np.testing.assert_allclose(got.logits[:1], single, rtol=1e-5, atol=1e-5)


def test_steps_are_predict_masks_bit_for_bit(seen: tuple[SamPredictor, np.ndarray, np.ndarray], steps: Steps) -> None:
    predictor, _, _ = seen
    sparse = steps.tokens[0][None, 5:]
    dense = predictor.model.prompt_encoder.no_mask()
    decoder = predictor.model.mask_decoder
    embedding = np.moveaxis(predictor.get_image_embedding(), 1, -1)
    logits, iou = decoder.predict_masks(embedding, predictor.image_pe, sparse, dense)
    assert np.array_equal(logits[0], steps.logits) and np.array_equal(iou[0], steps.iou_predictions)
    assert np.array_equal(decoder.upscale(steps.images[-1].reshape(1, GRID, GRID, -1))[0], steps.features)
    assert np.allclose(steps.features @ steps.vectors.T, steps.logits.transpose(1, 2, 0), atol=1e-4)


def test_weights_are_those_that_the_model_used(sam: minisam.Sam, steps: Steps) -> None:
    """Weights times values, out of the attention, is what it gave. Kills: another head layout, √C for √D, softmax over
    queries, positions left out of the keys."""
    transformer = sam.mask_decoder.state / "transformer"
    assert len(steps.weights) == 7
    for name, weights in steps.weights.items():
        np.testing.assert_allclose(weights.sum(axis=2), 1, rtol=1e-5)
        state = transformer
        for part in name.split("."):
            state = state / part
        values = steps.values[name].reshape(weights.shape[2], len(weights), -1)
        mixed = np.einsum("hqk,khd->qhd", weights, values).reshape(weights.shape[1], -1)
        np.testing.assert_allclose((state / "out_proj").linear(mixed), steps.attended[name], rtol=1e-3, atol=1e-4)


def test_attention_weights_are_the_kernels() -> None:
    q, k, v = (np.random.default_rng(0).standard_normal((n, 12)) for n in (3, 5, 5))
    weights = attention_weights(q, k, 3)
    mixed = np.einsum("hqk,khd->qhd", weights, v.reshape(5, 3, 4)).reshape(3, 12)
    np.testing.assert_allclose(mixed, cross_attention_numpy(q[None], k[None], v[None], 3)[0], rtol=1e-10)


def test_parts_that_are_left_out(seen: tuple[SamPredictor, np.ndarray, np.ndarray], steps: Steps) -> None:
    predictor, _, point = seen
    less = {part: decode_steps(predictor, point, ONE, without=[part]) for part in PARTS}
    assert all(not np.allclose(less[part].logits, steps.logits) for part in PARTS)

    # without the image's answer, features are the same for every click
    there = decode_steps(predictor, point + 30, np.array([0]), without=["image to token"])
    assert np.array_equal(there.features, less["image to token"].features)
    assert not np.array_equal(decode_steps(predictor, point + 30, ONE).features, steps.features)

    # without the last look, the last tokens are the norm of those before
    state = predictor.model.mask_decoder.state / "transformer"
    last = less["last token to image"]
    assert np.array_equal(last.tokens[-1], (state / "norm_final_attn").layer_norm(last.tokens[-2], EPS))

    # without the image's positions: predict_masks with zeros for them
    sparse, dense = steps.tokens[0][None, 5:], predictor.model.prompt_encoder.no_mask()
    embedding, nowhere = np.moveaxis(predictor.get_image_embedding(), 1, -1), np.zeros_like(predictor.image_pe)
    logits, _ = predictor.model.mask_decoder.predict_masks(embedding, nowhere, sparse, dense)
    assert np.array_equal(logits[0], less["positions of the image"].logits)

    # without adding the prompt again: the plain blocks with zeros for it
    plain = TwoWayTransformer(predictor.model.config, state)
    places = predictor.image_pe.reshape(GRID**2, -1)
    tokens, source = steps.tokens[0][None], steps.images[0][None]
    zero = np.zeros_like(tokens)
    for i in (0, 1):
        tokens, source = plain.block(i, tokens, source, zero, places)
    attended = plain.attend(state / "final_attn_token_to_image", tokens, source + places, source)
    tokens = (state / "norm_final_attn").layer_norm(tokens + attended, EPS)
    np.testing.assert_allclose(less["prompt added again"].tokens[-1], tokens[0], rtol=1e-3, atol=1e-3)

    # without self-attention: block 0 passes its tokens on
    name = "layers.0.self_attn"
    assert name in less["self-attention"].weights and name not in less["self-attention"].attended
    with pytest.raises(InputError, match="expected parts among"):
        decode_steps(predictor, point, ONE, without=["the roof"])


def test_within_picture(seen: tuple[SamPredictor, np.ndarray, np.ndarray]) -> None:
    """160 × 107 pixels become 320 × 214: 40 columns and 27 rows of tokens, the last row partly padding."""
    grid, extent = within_picture(np.zeros((3, GRID, GRID)), seen[0])
    assert (WIDE, HIGH, GRID, ROWS) == (160, 107, 40, 27) and grid.shape == (3, 27, 40)
    assert extent == pytest.approx((-0.5, 159.5, 107.5, -0.5))


# ---- figures ---------------------------------------------------------------------------------------------


def test_maps_of_tokens(seen: tuple[SamPredictor, np.ndarray, np.ndarray], steps: Steps) -> None:
    assert attention_maps.readers(steps) == [
        "layers.0.cross_attn_token_to_image",
        "layers.1.cross_attn_token_to_image",
        "final_attn_token_to_image",
    ]
    maps = attention_maps.reading(steps, 2, 3)
    assert maps.shape == (4, GRID, GRID)
    assert np.array_equal(maps.reshape(4, -1), steps.weights["final_attn_token_to_image"][:, 3])
    assert attention_maps.spread(np.full(40, 1 / 40)) == pytest.approx(40)
    assert attention_maps.spread(np.eye(1, 40)[0]) == pytest.approx(1)
    state = attention_maps.draw_reading(*seen[:2], seen[2][0], steps, 2, 3, "the last")
    assert "Token “mask 2” in the last" in state.words
    assert f"head 1 {attention_maps.spread(maps[1]):.0f}" in state.words
    inside = maps[:, :ROWS].sum(axis=(1, 2)).mean()
    assert f"{inside:.0%} of it" in state.words


def test_pixel_attention(seen: tuple[SamPredictor, np.ndarray, np.ndarray], steps: Steps) -> None:
    mean, one = pixel_attention.weights_of_pixels(steps, 1, None), pixel_attention.weights_of_pixels(steps, 1, 2)
    np.testing.assert_allclose(mean.sum(axis=0), 1, rtol=1e-5)
    weights = steps.weights["layers.1.cross_attn_image_to_token"]
    assert one[4, 3, 7] == weights[2, 3 * GRID + 7, 4] and mean.shape == (7, GRID, GRID)
    state = pixel_attention.draw_block(*seen[:2], seen[2][0], steps, 1, 2, 1)
    answer = steps.logits[1].reshape(GRID, 4, GRID, 4).mean(axis=(1, 3))[:ROWS] > 0
    outside = one[:, :ROWS][:, ~answer].mean(axis=1)
    assert f"outside on “{steps.names[outside.argmax()]}” ({outside.max():.2f})" in state.words


def test_left_out(seen: tuple[SamPredictor, np.ndarray, np.ndarray], steps: Steps) -> None:
    less = decode_steps(seen[0], seen[2], ONE, without=["last token to image"])
    state = left_out.draw_left_out(*seen[:2], seen[2][0], "last token to image", less, steps, 1)
    a, b = (s.logits[1, :HIGH] for s in (less, steps))
    overlap = ((a > 0) & (b > 0)).sum() / max(((a > 0) | (b > 0)).sum(), 1)
    assert f"mask is {overlap:.2f}" in state.words and f"up to {np.abs(a - b).max():.2f}" in state.words


def test_widgets_build(seen: tuple[SamPredictor, np.ndarray, np.ndarray], sam: minisam.Sam) -> None:
    assert isinstance(left_out.left_out(seen[1], (70, 60), sam), widgets.VBox)
    with pytest.raises(InputError, match="a point as"):
        attention_maps.attention_maps(seen[1], (1, 2, 3), sam)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="image of uint8"):
        pixel_attention.pixel_attention(seen[1] / 255, sam=sam)


# ---- what the text says ----------------------------------------------------------------------------------


def test_tokens_of_a_click(steps: Steps) -> None:
    names = ("IoU", "mask 0", "mask 1", "mask 2", "mask 3", "foreground point", "no point")
    assert steps.names == names, "the chapter says seven"


def test_the_first_block_adds_no_positions(seen: tuple[SamPredictor, np.ndarray, np.ndarray], steps: Steps) -> None:
    """Its tokens after self-attention are the attention's alone, of the tokens alone."""
    state = seen[0].model.mask_decoder.state / "transformer" / "layers" / 0 / "self_attn"
    plain = TwoWayTransformer(seen[0].model.config, state)
    alone = plain.attend(state, *[steps.tokens[0][None]] * 3)[0]
    assert np.array_equal(alone, steps.attended["layers.0.self_attn"])


def test_sizes_in_the_box() -> None:
    tiny, official = minisam.CONFIGS["tiny"], minisam.CONFIGS["vit_h"]
    for c, sizes in ((tiny, (128, 4, 64, 512)), (official, (256, 8, 128, 2048))):
        width = c.shapes()["mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight"][0]
        assert (c.prompt_embed_dim, c.decoder_num_heads, width, c.decoder_mlp_dim) == sizes
    assert EPS == 1e-5
