"""Words measured: what is asked, right answers and matches by brute force, intervals beside scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from minisam.automatic.generator import SamAutomaticMaskGenerator
from minisam.clip.crops import LEAST
from minisam.predictor import SamPredictor
from minisam.sam import Sam, build
from minisam.text.predictor import TextPredictor
from minisam.transfer import text, text_instances
from minisam.transfer.report import markdown
from minisam.transfer.text import ASKED, ROWS, best_iou, cases, interval
from minisam.transfer.text_instances import MATCH
from minisam.world import HELD_OUT, render
from minisam.world.phrases import phrases
from small_models import SMALL

MUTANTS = {
    "scenes of the training": ("minisam/transfer/text.py", "render(HELD_OUT + first + number", "render(first + number"),
    "a random word that is true": (
        "minisam/transfer/text.py",
        "wrong = [text for text in pool if text not in true]",
        "wrong = [text for text in pool if text in true] or pool",
    ),
    "one right answer": (
        "minisam/transfer/text.py",
        "denoted = np.array([masks[i] for i in phrase.masks])",
        "denoted = np.array([masks[i] for i in phrase.masks[:1]])",
    ),
    "questions drawn again": ("minisam/transfer/text.py", "_, number = ", "number = np.arange(len(groups)); _ = "),
    "a truth found twice": ("minisam/transfer/text_instances.py", "                free[best] = False\n", ""),
    "small truths count": ("minisam/transfer/text_instances.py", "right += int(large[best])", "right += 1"),
}


def test_what_is_asked() -> None:
    """Every mask that the words denote, in a scene that no training saw; the random word is true of none of them.

    Kills: scenes of the training; a random word that is true; one right answer.
    """
    for number, (scene, questions) in enumerate(cases(4, 96)):
        again = render(HELD_OUT + number, 96)
        assert np.array_equal(scene.image, again.image) and 1 <= len(questions) <= ASKED
        about = {phrase.text: phrase for phrase in phrases(again)}
        assert len({question.text for question in questions}) == len(questions)
        for question in questions:
            phrase = about[question.text]
            assert np.array_equal(question.masks, [again.masks[i].segmentation for i in phrase.masks])
            assert (question.level, question.colour, question.scene) == (phrase.level, phrase.colour, number)
            assert question.masks.sum((1, 2)).max() >= (LEAST * 96) ** 2 and question.masks.mean((1, 2)).max() <= 0.9
            random = about.get(question.random)
            assert random is None or not set(random.masks) & set(phrase.masks)


def pairs(seed: int):
    """Masks, some of them nearly right answers, answers, and which of these are large."""
    rng = np.random.default_rng(seed)
    truths = rng.random((4, 6, 6)) < 0.5
    truths[:, 0, 0] = True
    masks = rng.random((5, 6, 6)) < 0.5
    masks[:3] = truths[rng.integers(4, size=3)] ^ (rng.random((3, 6, 6)) < 0.1)
    return list(masks), truths, rng.random(4) < 0.7


def iou(a, b) -> float:
    return (a & b).sum() / max(1, (a | b).sum())


@given(st.integers(0, 2**32 - 1))
def test_matches(seed: int) -> None:
    """One truth a mask, one mask a truth; what matches a small truth counts for nothing.

    Kills: a truth found twice; small truths count.
    """
    masks, truths, large = pairs(seed)
    free, right, ignored = set(range(4)), 0, 0
    for mask in masks:
        best = max(free, key=lambda i: (iou(mask, truths[i]), -i), default=None)
        if best is not None and iou(mask, truths[best]) >= MATCH:
            free.remove(best)
            right, ignored = right + large[best], ignored + (not large[best])
    assert text_instances.matches(masks, truths, large) == (len(masks) - ignored, right)
    assert text_instances.matches([], truths, large) == (0, 0)
    assert np.allclose(best_iou(np.array(masks), truths), [max(iou(mask, truth) for truth in truths) for mask in masks])


def test_intervals_are_those_of_whole_scenes() -> None:
    """As scipy's bootstrap of scenes with equal numbers of questions; one scene's questions are not apart.

    Kills: questions drawn again.
    """
    rng = np.random.default_rng(0)
    means = rng.standard_normal(30)
    groups, values = np.repeat(np.arange(30), 4), np.repeat(means, 4)
    other = bootstrap((means,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    assert interval(groups, values) == pytest.approx([means.mean(), other.low, other.high], abs=0.03)


class Towers:
    """CLIP without weights: vectors by chance."""

    class config:
        image_size, embed_dim = 16, 8

    def embed_text(self, texts):
        vectors = np.array([np.random.default_rng(len(t)).standard_normal(8) for t in texts], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_image(self, crops, inside=None):
        vectors = np.random.default_rng(0).standard_normal((len(crops), 8)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_an_evaluation_has_every_row() -> None:
    sam = build(SMALL)
    rng = np.random.default_rng(0)
    projection = {
        "prompt_encoder.text_projection.weight": rng.standard_normal((SMALL.prompt_embed_dim, 8), dtype=np.float32),
        "prompt_encoder.text_projection.bias": np.zeros(SMALL.prompt_embed_dim, np.float32),
        "text_prior.weight": np.eye(8, dtype=np.float32),
        "text_prior.bias": np.zeros(8, np.float32),
    }
    predictor = TextPredictor(Sam(sam.config, sam.state_dict() | projection), Towers())
    report = text.evaluate(predictor, SamPredictor(sam), 1)
    assert report["questions"] == len(report["each"]) > 0 and set(report["mean"]) == set(ROWS)
    assert all(0 <= entry[name] <= 1 for entry in report["each"] for name in ROWS)
    assert report["mean"]["word"] == report["mean"]["word_unmoved"]  # the prior changes nothing
    assert report["mean"]["point"] == report["mean"]["point_tiny"]  # the heads are tiny's
    assert report["mean"]["word_best"] >= report["mean"]["word"]
    generator = SamAutomaticMaskGenerator(sam, points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0)
    every = text_instances.evaluate_every(generator, predictor.clip, 1)
    for table in [*text.tables(report), *text_instances.tables(every)]:
        assert all(len(row) == len(table.columns) for row in table.rows) and table.title in markdown(table)
    recalls = [values["recall"] for values in every["curve"].values()]
    assert recalls == sorted(recalls, reverse=True) and recalls[0] <= every["reached"] <= 1
