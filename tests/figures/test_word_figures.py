"""Figures of chapter 14 about words: the masks are the model's, phrases are picked by rule, the gap is measured."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import minisam
from minisam.sam import Sam
from minisam_kernels import InputError
from minisam_kernels.losses.iou import iou
from minisam_kernels.masks import rle
from small_models import SMALL

pytest.importorskip("anywidget")
pytest.importorskip("matplotlib")
from minisam.clip import Clip
from minisam.clip.crops import crop, large_enough
from minisam.figures import modality_gap, words
from minisam.figures.modality_gap import Cloud
from minisam.text.predictor import TextPredictor
from minisam.world import HELD_OUT, render

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "the mask of the lowest score": ("minisam/figures/words.py", "scores[0].argmax()", "scores[0].argmin()"),
    "a random word that is in the scene": ("minisam/figures/words.py", "if noun not in shown", "if noun in shown"),
    "the best phrase as the worst": ("minisam/figures/words.py", "worst = min(some", "worst = max(some"),
    "the image of another object": (
        "minisam/figures/words.py",
        "crop(scene.image, truth[0]",
        "crop(scene.image, masks[0]",
    ),
    "a gap without its length": (
        "minisam/figures/modality_gap.py",
        "across = gap / np.linalg.norm(gap)",
        "across = gap",
    ),
    "a component along the gap": (
        "minisam/figures/modality_gap.py",
        "left = both - np.outer(both @ across, across)",
        "left = both",
    ),
    "means that stay": ("minisam/figures/modality_gap.py", "_unit(x - x.mean(axis=0))", "_unit(x - 0)"),
}

SEED = HELD_OUT + 8


@pytest.fixture(scope="module")
def clip() -> Clip:
    from minisam.clip import load

    return load()


@pytest.fixture(scope="module")
def predictor(clip: Clip) -> TextPredictor:
    """A small random model with a projection of texts."""
    state = minisam.build(SMALL, seed=1).state_dict()
    rng, size = np.random.default_rng(0), SMALL.prompt_embed_dim
    state["prompt_encoder.text_projection.weight"] = rng.normal(size=(size, clip.config.embed_dim)).astype(np.float32)
    state["prompt_encoder.text_projection.bias"] = rng.normal(size=size).astype(np.float32)
    state["text_prior.weight"] = np.eye(clip.config.embed_dim, dtype=np.float32)
    state["text_prior.bias"] = (0.1 * rng.normal(size=clip.config.embed_dim)).astype(np.float32)
    return TextPredictor(Sam(SMALL, state), clip)


def test_answers_are_those_of_the_model(predictor: TextPredictor) -> None:
    """Live again. Kills: the mask of the lowest score, a random word that is in the scene, the best phrase as the
    worst, the image of another object."""
    asked = words.ask(predictor, SEED)
    scene = render(SEED, SMALL.image_size)
    live = TextPredictor(predictor.model, predictor.clip)
    live.set_image(scene.image)
    for phrase, truths, answers in zip(asked.said.values(), asked.truths, asked.answers, strict=True):
        assert np.array_equal(truths, np.array([scene.masks[i].segmentation for i in phrase.masks]))
        other = answers[1].prompt.split("“")[1].split("”")[0]
        assert other not in {mask.name for mask in scene.masks} and other in words.NOUNS
        size = live.clip.config.image_size
        image = live.clip.embed_image(crop(scene.image, truths[0], size).pixels[None])
        embeddings = [live.embed_texts([phrase.text]), live.embed_texts([other]), image]
        for answer, embedding in zip(answers, embeddings, strict=True):
            masks, scores, _ = live.predict_embeddings(embedding)
            assert np.array_equal(answer.mask, masks[0, scores[0].argmax()])
            assert answer.predicted == pytest.approx(float(scores.max()))
            each = [float(np.nan_to_num(iou(answer.mask[None], truth[None])[0])) for truth in truths]
            assert answer.iou == pytest.approx(max(each))
    every = words.phrases_to_ask(scene)
    assert every and all(scene.masks[i].area <= 0.4 * 64**2 for phrase in every for i in phrase.masks)
    assert asked.tried == min(len(every), words.MOST)
    assert all(large_enough(scene.masks[i].segmentation) for phrase in every for i in phrase.masks)
    lowest = asked.answers[-1][0].iou
    for phrase in every[: words.MOST]:
        masks, scores, _ = live.predict_text(phrase.text)
        chosen = masks[scores.argmax()]
        assert (
            max(np.nan_to_num(iou(chosen[None], scene.masks[i].segmentation[None])[0]) for i in phrase.masks)
            >= lowest - 1e-6
        )


def test_figure_of_words(predictor: TextPredictor) -> None:
    (scene,) = words.words(predictor, [SEED]).scenes
    asked, shape = words.ask(predictor, SEED), (SMALL.image_size, SMALL.image_size)
    with Image.open(io.BytesIO(scene["jpeg"])) as image:
        assert image.size == shape and scene["size"] == shape[0]
    for n, question in enumerate(scene["questions"]):
        assert (question["kind"], question["phrase"]) == [(k, p.text) for k, p in asked.said.items()][n]
        sent = [rle.decode(rle.from_string(text.encode()), shape) for text in question["truths"]]
        assert np.array_equal(sent, asked.truths[n])
        for answer, want in zip(question["answers"], asked.answers[n], strict=True):
            assert np.array_equal(rle.decode(rle.from_string(answer["mask"].encode()), shape), want.mask)
            assert f"{want.iou:.2f}." in answer["words"] and f"predicted IoU {want.predicted:.2f}" in answer["words"]
    assert "which is not there, gives a mask of" in question["answers"][1]["words"]
    assert "none has a lower IoU" in question["answers"][0]["words"]
    with pytest.raises(InputError, match="at least one scene"):
        words.words(predictor, [])


def some_cloud(seed: int = 0) -> Cloud:
    """Images around one direction, texts around another, and nouns that can be told apart."""
    rng = np.random.default_rng(seed)
    kinds = rng.normal(size=(5, 12))
    noun = np.repeat(np.arange(5), 8)
    image = modality_gap._unit(3 * rng.normal(size=12) + kinds[noun] + 0.1 * rng.normal(size=(40, 12)))
    text = modality_gap._unit(3 * rng.normal(size=12) + kinds)
    return Cloud(image.astype(np.float32), text.astype(np.float32), noun, tuple("abcde"))


def test_the_gap_is_the_axis() -> None:
    """Along it the two means are the gap apart, across it nothing of it is left. Kills: a gap without its length, a
    component along the gap."""
    c = some_cloud()
    images, texts = modality_gap.project(c, c.gap)
    between = texts.mean(axis=0) - images.mean(axis=0)
    assert between[0] == pytest.approx(float(np.linalg.norm(c.gap)), rel=1e-4)
    assert abs(between[1]) < 1e-5
    both = np.concatenate([images, texts])
    left = np.concatenate([c.images, c.texts])
    across = c.gap / np.linalg.norm(c.gap)
    left = left - np.outer(left @ across, across)
    largest = np.linalg.eigvalsh(np.cov(left.T))[-1]
    assert np.var(both[:, 1], ddof=1) == pytest.approx(largest, rel=1e-3)


def test_without_means_there_is_no_gap() -> None:
    """Kills: means that stay."""
    c = some_cloud()
    closed = c.centred()
    assert np.linalg.norm(closed.gap) < 0.4 * np.linalg.norm(c.gap)
    assert closed.recall() >= c.recall() and closed.recall() > 0.9
    np.testing.assert_allclose(np.linalg.norm(closed.images, axis=1), 1, rtol=1e-5)
    cosines = c.cosines()
    pairs = [[float(a @ b) for b in c.texts] for a in c.images]
    assert cosines["own"] == pytest.approx(np.mean([row[n] for row, n in zip(pairs, c.noun)]), abs=1e-5)
    text = modality_gap.words(c, modality_gap.VIEWS[0], 2)
    assert "40 crops and 5 words" in text and "Marked: “c”, 8 crops" in text and f"{c.recall():.0%}" in text


def test_figure_of_the_gap(clip: Clip) -> None:
    c = modality_gap.cloud(clip, scenes=3, nouns=3)
    assert len(c.names) == 3 and len(c.images) == len(c.noun) and c.texts.shape == (3, clip.config.embed_dim)
    counts = np.bincount(c.noun)
    assert (np.diff(counts) <= 0).all(), "the commonest first"
    np.testing.assert_allclose(c.texts, clip.embed_text(list(c.names)), rtol=1e-6)
    figure = modality_gap.modality_gap(clip, scenes=3, nouns=3)
    assert len(figure.children) == 3
    with pytest.raises(InputError, match="at least 2 nouns"):
        modality_gap.cloud(clip, scenes=1, nouns=1)
