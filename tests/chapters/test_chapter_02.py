"""Chapter 2: its solutions, its exercises' hints, its figures, and what its text says in numbers."""

from __future__ import annotations

import re

import ipywidgets as widgets
import numpy as np
import pytest

import minisam
from chapter import path, printed, solutions
from minisam.exercises import verdict
from minisam.exercises.mistakes import hint_for
from minisam.figures import patch_filters, patch_rebuild, similar_tokens
from minisam.figures.shared import tokens
from minisam.figures.shared.measure import EPS, milliseconds, worst
from minisam.model.preprocess import PIXEL_MEAN, PIXEL_STD, input_size, normalise_and_pad, resize_image
from minisam_kernels import InputError
from minisam_kernels.layers.conv2d import conv2d
from minisam_kernels.layers.gelu import gelu, gelu_numpy
from minisam_kernels.layers.layer_norm import layer_norm, layer_norm_numpy
from minisam_kernels.layers.linear import linear
from minisam_kernels.layers.mlp import mlp, mlp_numpy
from minisam_kernels.layers.patch_embed import patch_embed, patch_embed_numpy


@pytest.fixture(scope="module")
def seen() -> tokens.Seen:
    return tokens.see(minisam.load("tiny"), "chelsea")


def captions(widget: widgets.Widget) -> list[str]:
    """The words under every image of a figure."""
    if isinstance(widget, widgets.HTML):
        return re.findall(r'role="status">(.*?)</div>', widget.value)
    return [words for child in getattr(widget, "children", ()) for words in captions(child)]


# ------------------------------------------------------------------------------------------------------- exercises


@pytest.mark.parametrize("number", ["2.1", "2.2", "2.3", "2.4"])
def test_solutions_stand_alone(number: str) -> None:
    said = printed(solutions(2)[number])
    assert f"✓ {number}" in said and "✗" not in said


def wrong_patches(image, weight, bias, order=(0, 2, 3, 1), cut=True, add=True):
    B, H, W, _ = image.shape
    p = weight.shape[-1]
    rows = image.reshape(B, H // p, p, W // p, p, 3)
    rows = rows.transpose(0, 1, 3, 2, 4, 5) if cut else rows
    rows = rows.reshape(B, H // p, W // p, -1)
    return rows @ weight.transpose(order).reshape(len(weight), -1).T + add * bias


def to_token(x, y, height, width, image_size, patch, turn=False, scaled=True, one=False, stretch=False, near=False):
    h, w = input_size(height, width, image_size)
    h, w = (image_size, image_size) if stretch else (h, w)
    scale_y, scale_x = (h / height, w / width) if scaled else (1, 1)
    if one:
        scale_x = scale_y = image_size / max(height, width)
    down = round if near else int
    found = down(y * scale_y / patch), down(x * scale_x / patch)
    return found[::-1] if turn else found


def undo(tokens, weight, bias, minus=True, inverse=np.linalg.pinv, lay=True):
    B, h, w, C = tokens.shape
    p = weight.shape[-1]
    rows = (tokens - minus * bias) @ inverse(weight.transpose(0, 2, 3, 1).reshape(C, -1)).T
    rows = rows.reshape(B, h, w, p, p, 3).transpose(0, 1, 3, 2, 4, 5) if lay else rows
    return rows.reshape(B, h * p, w * p, 3)


def norm_2d(x, weight, bias, eps, axes=(1,), scale=True, inside=True, ddof=0):
    spread = x.var(axes, keepdims=True, ddof=ddof)
    root = np.sqrt(spread + eps) if inside else np.sqrt(spread) + eps
    y = (x - x.mean(axes, keepdims=True)) / root
    return y * weight[:, None, None] + bias[:, None, None] if scale else y


@pytest.mark.parametrize(
    ("number", "answer", "says"),
    [
        ("2.1", lambda *a: wrong_patches(*a, order=(0, 1, 2, 3)), "stored as"),
        ("2.1", lambda *a: wrong_patches(*a, order=(0, 3, 2, 1)), "swapped"),
        ("2.1", lambda *a: wrong_patches(*a, add=False), "bias"),
        ("2.1", lambda *a: wrong_patches(*a, cut=False), "cut an image into squares"),
        ("2.1", lambda *a: None, "return"),
        ("2.1", lambda *a: a[0][..., 0], "shape"),
        ("2.2", lambda *a: to_token(*a, turn=True), "Row comes first"),
        ("2.2", lambda *a: to_token(*a, scaled=False), "scale it"),
        ("2.2", lambda *a: to_token(*a, one=True), "not scaled alike"),
        ("2.2", lambda *a: to_token(*a, stretch=True), "not stretched"),
        ("2.2", lambda *a: to_token(*a, near=True), "round down"),
        ("2.3", lambda *a: undo(*a, minus=False), "taken away first"),
        ("2.3", lambda *a: undo(*a, inverse=np.transpose), "orthonormal"),
        ("2.3", lambda *a: undo(*a, lay=False), "wrong order"),
        ("2.3", lambda *a: undo(*a, inverse=np.linalg.inv), "LinAlgError"),
        ("2.4", lambda *a: norm_2d(*a, axes=(2, 3)), "InstanceNorm"),
        ("2.4", lambda *a: norm_2d(*a, axes=(1, 2, 3)), "must not know of each other"),
        ("2.4", lambda *a: norm_2d(*a, axes=(0, 2, 3)), "never from the batch"),
        ("2.4", lambda *a: norm_2d(*a, scale=False), "Scale and shift"),
        ("2.4", lambda *a: norm_2d(*a, inside=False), "under the root"),
        ("2.4", lambda *a: norm_2d(*a, ddof=1), "biased"),
    ],
)
def test_wrong_answers_are_told_why(number: str, answer, says: str) -> None:
    assert says in verdict(number, answer)


def test_helpers_above_are_right_when_nothing_is_broken() -> None:
    """Otherwise a hint could be about something else."""
    for number, answer in {"2.1": wrong_patches, "2.2": to_token, "2.3": undo, "2.4": norm_2d}.items():
        assert verdict(number, answer) == ""


def test_a_hint_is_given_only_for_the_mistake_that_explains_it() -> None:
    wrongs = {"doubled": np.array([2.0]), "says nothing here": np.array([1.0])}
    assert hint_for(np.array([1.0]), np.array([1.0]), wrongs, "otherwise") == ""
    assert hint_for(np.array([2.0]), np.array([1.0]), wrongs, "otherwise") == "doubled"
    assert "otherwise" in hint_for(np.array([3.0]), np.array([1.0]), wrongs, "otherwise")
    assert "None" in hint_for(None, np.array([1.0]), wrongs, "otherwise")


# --------------------------------------------------------------------------------------------------------- figures


def test_what_is_seen_is_the_models_input(seen: tokens.Seen) -> None:
    image = resize_image(tokens.photos(["chelsea"])[0].image, 320)
    np.testing.assert_array_equal(seen.x, normalise_and_pad(image, 320))
    np.testing.assert_array_equal(seen.pixels[: seen.size[0]], image)
    assert (np.abs(seen.pixels[seen.size[0] :] - np.array(PIXEL_MEAN)) < 1).all()


def test_token_under_a_point_answers_to_a_change_there(seen: tokens.Seen) -> None:
    """Paint the pixel's place in the photograph and see which token of the patch embedding changes most."""
    photo = tokens.photos(["chelsea"])[0].image
    before = patch_filters.responses(seen)
    for x, y in [(0, 0), (238, 164), (450, 299), (300, 40)]:
        painted = photo.copy()
        painted[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = 255 - photo[y, x]
        after = patch_filters.responses(tokens.see(seen.sam, painted))
        moved = np.linalg.norm(after - before, axis=-1)
        token = tokens.token_under(seen, (x, y))
        r, c = np.unravel_index(moved.argmax(), moved.shape)
        assert abs(r - token[0]) <= 1 and abs(c - token[1]) <= 1 and moved[token] > 0


def test_filters_answer_as_the_model_does(seen: tokens.Seen) -> None:
    answers = patch_filters.responses(seen)
    position = seen.sam.state_dict()["image_encoder.pos_embed"]
    np.testing.assert_allclose(seen.sam.image_encoder.embed_patches(seen.x), answers[None] + position, rtol=1e-6)
    weight = seen.sam.state_dict()["image_encoder.patch_embed.proj.weight"]
    patch = seen.x[0, 24:32, 80:88].transpose(2, 0, 1)
    bias = seen.sam.state_dict()["image_encoder.patch_embed.proj.bias"]
    np.testing.assert_allclose(answers[3, 10], (weight * patch).sum((1, 2, 3)) + bias, atol=1e-4)


def test_filters_are_sorted_and_measured(seen: tokens.Seen) -> None:
    weight = seen.sam.state_dict()["image_encoder.patch_embed.proj.weight"]
    norms = np.linalg.norm(weight.reshape(len(weight), -1), axis=1)
    order = patch_filters.by_strength(weight)
    assert (np.diff(norms[order]) <= 0).all() and sorted(order) == list(range(len(weight)))
    grey = np.broadcast_to(np.arange(16.0).reshape(1, 1, 4, 4) - 3, (1, 3, 4, 4))
    colour = np.stack([np.ones((4, 4)), -np.ones((4, 4)), np.zeros((4, 4))])[None]
    np.testing.assert_allclose(patch_filters.grey_share(np.concatenate([grey, colour])), [1, 0], atol=1e-12)
    picture = patch_filters.as_picture(np.array([[[-2.0]], [[0.0]], [[2.0]]]), 2.0)
    np.testing.assert_array_equal(picture, [[[0, 0.5, 1]]])


def test_figure_of_filters(seen: tokens.Seen) -> None:
    said = captions(patch_filters.patch_filters(seen.sam, count=2))
    weight = seen.sam.state_dict()["image_encoder.patch_embed.proj.weight"]
    strongest = int(np.linalg.norm(weight.reshape(len(weight), -1), axis=1).argmax())
    answers = patch_filters.responses(seen)[..., strongest]
    assert said[0].startswith(f"Filter {strongest}, number 1 of {len(weight)}")
    assert f"from {answers.min():.2f} to {answers.max():.2f}" in said[0]
    for count in (0, len(weight) + 1):
        with pytest.raises(InputError, match=f"expected a count from 1 to {len(weight)}, got {count}"):
            patch_filters.patch_filters(seen.sam, count=count)


def test_rebuilding_is_the_pseudo_inverse(seen: tokens.Seen) -> None:
    """All that the kept filters say of the image made again is what they said of the image; and it is the smallest
    such image: it lies in the span of the filters."""
    matrix = patch_rebuild.filter_rows(seen)
    rows = patch_rebuild.as_rows(seen.x[0].astype(float), 8)
    np.testing.assert_array_equal(patch_rebuild.as_image(rows, 8), seen.x[0])
    embedded = patch_filters.responses(seen).reshape(len(rows), -1)
    bias = seen.sam.state_dict()["image_encoder.patch_embed.proj.bias"]
    np.testing.assert_allclose(rows @ matrix.T + bias, embedded, atol=1e-3)
    kept = patch_rebuild.most_different(matrix)[:20]
    again = patch_rebuild.rebuild(matrix, rows, kept)
    np.testing.assert_allclose(again @ matrix[kept].T, rows @ matrix[kept].T, atol=1e-5)
    q = np.linalg.qr(matrix[kept].T)[0]
    np.testing.assert_allclose(again @ q @ q.T, again, atol=1e-9)


def test_best_possible_is_best(seen: tokens.Seen) -> None:
    matrix, rows = patch_rebuild.filter_rows(seen), patch_rebuild.as_rows(seen.x[0].astype(float), 8)
    basis, order = patch_rebuild.directions(rows), patch_rebuild.most_different(matrix)
    for k in (1, 12, 96):
        best = ((patch_rebuild.best_possible(rows, basis, k) - rows) ** 2).sum()
        singular = np.linalg.svd(rows, compute_uv=False)
        assert best == pytest.approx((singular[k:] ** 2).sum(), rel=1e-6)
        for kept in (np.arange(k), order[:k]):
            assert best < ((patch_rebuild.rebuild(matrix, rows, kept) - rows) ** 2).sum()


def test_figure_of_rebuilding(seen: tokens.Seen) -> None:
    said = captions(patch_rebuild.patch_rebuild(seen.sam, "chelsea", kept=[5, len(patch_rebuild.filter_rows(seen))]))
    matrix, truth = patch_rebuild.filter_rows(seen), seen.x[0].astype(float)
    made = patch_rebuild.as_image(patch_rebuild.rebuild(matrix, patch_rebuild.as_rows(truth, 8), np.arange(5)), 8)
    h, w = seen.size
    assert f"5 of {len(matrix)} numbers" in said[0]
    assert f"{patch_rebuild.psnr(made[:h, :w], truth[:h, :w]):.1f} dB" in said[0]
    assert patch_rebuild.psnr(truth + 1 / np.array(PIXEL_STD), truth) == pytest.approx(20 * np.log10(255), abs=1e-4)
    with pytest.raises(InputError, match="expected numbers of filters from 1 to"):
        patch_rebuild.patch_rebuild(seen.sam, kept=[0])


def test_stages_are_the_encoders(seen: tokens.Seen) -> None:
    found = similar_tokens.stages(seen)
    names = list(found)
    assert names[:2] == ["patches", "with positions"]
    assert names[-2:] == [f"after block {seen.sam.config.encoder_depth - 1}", "after the neck"]
    np.testing.assert_array_equal(found["after the neck"], seen.sam.image_encoder(seen.x)[0])
    # the tokens are copies: what came before a block is not changed by it
    np.testing.assert_array_equal(found["with positions"], seen.sam.image_encoder.embed_patches(seen.x)[0])


def test_similarity_is_a_cosine_about_the_pictures_mean() -> None:
    values = np.random.default_rng(0).standard_normal((5, 4, 6)) + 9
    alike = similar_tokens.similarity(values, (1, 2), (3, 4))
    mean = values[:3, :4].mean((0, 1))
    a, b = values[1, 2] - mean, values[4, 0] - mean
    assert alike[1, 2] == pytest.approx(1)
    assert alike[4, 0] == pytest.approx(a @ b / np.sqrt(a @ a * (b @ b)))


def test_figure_of_similar_tokens(seen: tokens.Seen) -> None:
    said = captions(similar_tokens.similar_tokens(seen.sam, "chelsea", {"nose": (238, 164)}))
    alike = similar_tokens.similarity(patch_filters.responses(seen), (14, 21), (27, 40))
    assert f"token row 14, column 21): {(alike[:27] > 0.5).sum()} of the image&#x27;s 1080 tokens" in said[0]
    with pytest.raises(InputError, match="expected at least one point"):
        similar_tokens.similar_tokens(seen.sam, "chelsea", {})
    with pytest.raises(InputError, match=r"expected a point \(x, y\) inside the image of 451 × 300 pixels"):
        similar_tokens.similar_tokens(seen.sam, "chelsea", {"out": (451, 3)})
    with pytest.raises(InputError, match="expected an image of uint8"):
        tokens.see(seen.sam, np.zeros((4, 4)))


# ------------------------------------------------------------------------------------------- what the chapter says


def test_numbers_of_the_input_in_the_text() -> None:
    text = path(2).read_text()
    for number in (*PIXEL_MEAN, *PIXEL_STD):
        assert f"{number:g}" in text
    assert input_size(300, 451, 320) == (213, 320)


def test_sizes_in_the_text() -> None:
    tiny, large = minisam.CONFIGS["tiny"], [minisam.CONFIGS[name] for name in ("vit_b", "vit_l", "vit_h")]
    assert (tiny.image_size, tiny.encoder_depth, tiny.prompt_embed_dim, tiny.window_size) == (320, 8, 128, 8)
    assert [c.encoder_depth for c in large] == [12, 24, 32]
    assert {(c.image_size, c.prompt_embed_dim, c.image_embedding_size) for c in large} == {(1024, 256, 64)}


def test_shrinking_as_the_text_shows_it() -> None:
    stripes = np.zeros((8, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize_image(stripes, 256)
    assert small.shape == (4, 256, 3) and (np.abs(small[:, 1:-1].astype(int) - 128) <= 1).all()


def test_every_models_token_has_room_for_its_patch() -> None:
    for config in minisam.CONFIGS.values():
        assert config.encoder_embed_dim >= 3 * config.patch_size**2


def test_layer_norm_does_not_see_length_or_mean() -> None:
    x = np.random.default_rng(0).standard_normal((4, 32)).astype(np.float32)
    weight, bias = np.ones(32), np.zeros(32)
    plain = layer_norm(x, weight, bias, 1e-6)
    np.testing.assert_allclose(layer_norm(1000 * x, weight, bias, 1e-6), plain, atol=1e-5)
    np.testing.assert_allclose(layer_norm(x + 1000, weight, bias, 1e-6), plain, atol=1e-3)


def test_kernels_of_the_chapter_agree() -> None:
    """Compiled = NumPy in float64, within what each kernel states; the unit is the chapter's."""
    rng = np.random.default_rng(2)
    x, image = rng.standard_normal((2, 5, 24)), rng.standard_normal((1, 8, 12, 3))
    weights = [rng.standard_normal(s) for s in ((24,), (24,), (96, 24), (96,), (24, 96), (24,))]
    filters, bias = rng.standard_normal((7, 3, 4, 4)), rng.standard_normal(7)
    np.testing.assert_allclose(patch_embed(image, filters, bias), patch_embed_numpy(image, filters, bias), atol=1e-4)
    np.testing.assert_allclose(mlp(x, *weights, 1e-6), mlp_numpy(x, *weights, 1e-6), atol=1e-3)
    y = layer_norm_numpy(x, *weights[:2], 1e-6)
    np.testing.assert_allclose(layer_norm(x, *weights[:2], 1e-6), y, atol=1e-5)
    np.testing.assert_allclose(gelu(y), gelu_numpy(y), atol=1e-5)
    kernel = rng.standard_normal((5, 24, 1, 1))
    np.testing.assert_allclose(conv2d(x[None], kernel), linear(x[None], kernel[..., 0, 0]), atol=1e-4)
    assert worst(np.array([1 + 3 * EPS]), np.array([1.0]), 1.0) == pytest.approx(3)
    assert milliseconds(lambda: None) >= 0
