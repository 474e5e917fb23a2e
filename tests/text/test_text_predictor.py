"""Words as a prompt: the token, fused and plain decoder, one embedding of the image for clicks and words, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.checkpoints.safetensors_file import write_safetensors
from minisam.predictor import SamPredictor
from minisam.sam import Sam, random_state
from minisam.text import TextPredictor, with_text
from refusals import refusal
from small_models import SMALL, picture

E = 6
MUTANTS = {
    "a token without its kind": (
        "minisam/model/prompt_encoder.py",
        'projection.linear(np.asarray(embeddings * width**0.5, np.float32, "C"))[:, None]',
        "(np.asarray(embeddings * width**0.5, np.float32) @ weight.T)[:, None]",
    ),
    "words after points": (
        "minisam/sam.py",
        "np.concatenate([encoder.embed_texts(texts), sparse], axis=1)",
        "np.concatenate([sparse[:, :1], encoder.embed_texts(texts)], axis=1)",
    ),
    "texts where they lie": (
        "minisam/text/predictor.py",
        "self._prior.linear(self.clip.embed_text(texts))",
        "self.clip.embed_text(texts)",
    ),
    "weights of any model": (
        "minisam/text/predictor.py",
        'notes.get("tuned_from") != sam.weights_hash',
        '"tuned_from" not in notes',
    ),
}


class Towers:
    """CLIP's texts: a vector of length 1 for each length of text."""

    def embed_text(self, texts):
        vectors = np.array([np.random.default_rng(len(text)).standard_normal(E) for text in texts], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def heads(seed: int = 1) -> dict[str, np.ndarray]:
    """Tuned prompt encoder, decoder, projection and prior."""
    state = {name: value for name, value in random_state(SMALL, seed).items() if "image_encoder" not in name}
    rng = np.random.default_rng(seed)
    projection = "prompt_encoder.text_projection"
    state[f"{projection}.weight"] = rng.standard_normal((SMALL.prompt_embed_dim, E), dtype=np.float32)
    state[f"{projection}.bias"] = rng.standard_normal(SMALL.prompt_embed_dim, dtype=np.float32)
    state["text_prior.weight"] = rng.standard_normal((E, E), dtype=np.float32)
    return state | {"text_prior.bias": rng.standard_normal(E, dtype=np.float32)}


@pytest.fixture(scope="module")
def sam() -> Sam:
    return Sam(SMALL, random_state(SMALL))


@pytest.fixture(scope="module")
def tuned(sam: Sam) -> Sam:
    return Sam(SMALL, sam.state_dict() | heads())


@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_the_fused_decoder_answers_words_as_the_plain_one(tuned, seed, point, box, mask, several) -> None:
    rng = np.random.default_rng(seed)
    texts = rng.standard_normal((2, E)).astype(np.float32)
    prompts = {}
    if point:
        prompts |= {"point_coords": rng.uniform(0, 40, (2, 1, 2)), "point_labels": np.ones((2, 1))}
    if box:
        prompts["boxes"] = np.array([[3, 4, 20, 30], [10, 10, 39, 39]])
    if mask:
        prompts["mask_input"] = rng.standard_normal((2, 1, 32, 32)) * 5
    answers = []
    for plain in (False, True):
        predictor = TextPredictor(tuned, Towers(), plain)
        predictor.set_image(picture(40, 48))
        answers.append(predictor.predict_embeddings(texts, **prompts, multimask_output=several, return_logits=True))
    for fused, plain in zip(*answers):
        assert fused.shape == plain.shape and np.abs(fused - plain).max() < 2e-4 * max(1, np.abs(plain).max())


def test_a_text_is_one_token_before_the_points(tuned: Sam) -> None:
    """Kills: a token without its kind; words after points."""
    torch = pytest.importorskip("torch")
    from minisam.reference import build

    reference = build(SMALL).double()
    names = reference.state_dict()
    reference.load_state_dict({n: torch.tensor(v).double() for n, v in tuned.state_dict().items() if n in names})
    text = np.random.default_rng(3).standard_normal((1, E)).astype(np.float32)
    predictor = TextPredictor(tuned, Towers(), plain=True)
    predictor.set_image(picture(64, 64))
    answer = predictor.predict_embeddings(text, [[[10.0, 20.0]]], [[1]], return_logits=True)
    weight, bias = (heads()[f"prompt_encoder.text_projection.{part}"].astype(float) for part in ("weight", "bias"))
    with torch.no_grad():
        token = torch.tensor(text.astype(float) * E**0.5 @ weight.T + bias)[:, None]
        coords, labels = torch.tensor([[[10.0, 20.0]]]).double(), torch.tensor([[1]])
        points, dense = reference.prompt_encoder((coords, labels))
        image = torch.tensor(np.moveaxis(predictor.features, 1, -1)).double()
        positions = reference.prompt_encoder.get_dense_pe()
        low_res, iou = reference.mask_decoder(image, positions, torch.cat([token, points], 1), dense, True)
    assert np.abs(answer[2] - low_res.numpy()).max() < 1e-3 * np.abs(low_res.numpy()).max()
    assert np.abs(answer[1] - iou.numpy()).max() < 1e-4 * max(1, np.abs(iou.numpy()).max())


def test_a_click_and_words_share_an_embedding(sam: Sam, tuned: Sam) -> None:
    clicks, words = SamPredictor(sam), TextPredictor(tuned, Towers())
    clicks.set_image(picture(40, 64))
    words.features, words.original_size = clicks.features, clicks.original_size
    shared = words.predict_text("a red car")
    words.set_image(picture(40, 64))
    for a, b in zip(shared, words.predict_text("a red car")):
        assert np.array_equal(a, b)


def test_without_words_it_is_a_predictor_of_the_tuned_heads(tuned: Sam) -> None:
    words, plain = TextPredictor(tuned, Towers()), SamPredictor(tuned)
    for predictor in (words, plain):
        predictor.set_image(picture(64, 64))
    for a, b in zip(words.predict([[5, 5]], [1]), plain.predict([[5, 5]], [1])):
        assert np.array_equal(a, b)


def test_words_alone_have_three_masks_and_words_at_a_point_one(tuned: Sam) -> None:
    predictor = TextPredictor(tuned, Towers())
    predictor.set_image(picture(64, 64))
    assert len(predictor.predict_text("a car")[0]) == 3
    assert len(predictor.predict_text("a car", [[5, 5]], [1])[0]) == 1
    assert len(predictor.predict_text("a car", [[5, 5]], [1], multimask_output=True)[0]) == 3


def test_texts_are_moved_to_the_images(tuned: Sam) -> None:
    """Kills: texts where they lie."""
    vectors = TextPredictor(tuned, Towers()).embed_texts(["a car", "a wheel of a car"])
    texts = Towers().embed_text(["a car", "a wheel of a car"]).astype(float)
    moved = texts @ heads()["text_prior.weight"].T + heads()["text_prior.bias"]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.allclose(vectors, moved / np.linalg.norm(moved, axis=1)[:, None], atol=1e-6)


def test_weights_belong_to_the_model_they_were_tuned_from(sam: Sam, tuned: Sam, tmp_path) -> None:
    """Kills: weights of any model."""
    path = tmp_path / "text.safetensors"
    arrays = {name: value.astype(np.float16) for name, value in heads().items()}
    write_safetensors(path, arrays, {"tuned_from": sam.weights_hash})
    loaded = with_text(sam, path)
    encoder = [name for name in sam.state_dict() if "image_encoder" in name]
    assert all(loaded.state_dict()[name] is sam.state_dict()[name] for name in encoder)
    assert all(np.allclose(loaded.state_dict()[name], value, rtol=1e-3, atol=1e-4) for name, value in heads().items())
    assert "tuned from" in refusal(with_text, tuned, path)


def test_refusals(sam: Sam, tuned: Sam) -> None:
    assert "with_text" in refusal(TextPredictor, sam)
    predictor = TextPredictor(tuned, Towers())
    assert "set_image" in refusal(predictor.predict_text, "a car")
    predictor.set_image(picture(64, 64))
    assert f"(B, {E})" in refusal(predictor.predict_embeddings, np.ones((1, E + 1)))
    assert f"(B, {E})" in refusal(predictor.predict_embeddings, np.ones(E))
    assert "finite" in refusal(predictor.predict_embeddings, np.full((1, E), np.nan))
    assert "as many prompts" in refusal(predictor.predict_embeddings, np.ones((2, E)), [[[1, 1]]], [[1]])
    plain = SamPredictor(sam)
    plain.set_image(picture(64, 64))
    sizes = (np.zeros((1, 8, 8, 16), np.float32), (64, 64))
    message = refusal(sam.decode, *sizes, None, None, None, None, True, False, np.ones((1, E), np.float32))
    assert "tuned for text" in message


def test_the_shipped_weights_belong_together_and_know_the_sky() -> None:
    """Towers, tiny and tuned heads fit; in a held-out scene words find what they denote."""
    pytest.importorskip("torch")
    from minisam.checkpoints.loading import load
    from minisam.checkpoints.safetensors_file import read_safetensors
    from minisam.text.predictor import TEXT_WEIGHTS
    from minisam.training.text_data import weights_of
    from minisam.world import HELD_OUT, render

    predictor = TextPredictor(with_text(load("tiny")))
    assert read_safetensors(TEXT_WEIGHTS)[1]["towers"] == weights_of(predictor.clip)
    scene = render(HELD_OUT + 19)
    predictor.set_image(scene.image)
    masks, confidence, _ = predictor.predict_text("a blue sky")
    (sky,) = (mask.segmentation for mask in scene.masks if mask.name == "sky")
    mask = masks[confidence.argmax()]
    assert (mask & sky).sum() > 0.8 * (mask | sky).sum()
