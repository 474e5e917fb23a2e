"""Chapter 7: its solutions, its hints, its figures, and what its text says."""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np
import pytest

import chapter
import minisam
from minisam.exercises import verdict
from minisam.exercises.chapter_07 import EXERCISES
from minisam.figures import dot_product, thresholds, upscaling
from minisam.figures.shared.decoder_steps import Steps, decode_steps
from minisam.figures.shared.paint import at_point, coarse, look
from minisam.predictor import SamPredictor
from minisam_kernels import InputError

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "another mask's vector": ("minisam/figures/dot_product.py", "steps.vectors[mask]", "steps.vectors[mask - 1]"),
    "a bias": (
        "minisam/figures/dot_product.py",
        "(steps.features * steps.vectors[mask])",
        "(steps.features * steps.vectors[mask] + 0.01)",
    ),
    "a term counted twice": (
        "minisam/figures/dot_product.py",
        "(steps.features * steps.vectors[mask])",
        "(steps.features * steps.vectors[mask] * (1 + (np.arange(16) == 3)))",
    ),
}

ONE = np.array([1])
LOW = minisam.CONFIGS["tiny"].low_res_size  # side of the decoder's masks
ROWS = LOW * 3 // 4  # of them that show the image
Seen = tuple[SamPredictor, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def sam() -> minisam.Sam:
    return minisam.load("tiny")


@pytest.fixture(scope="module")
def seen(sam: minisam.Sam) -> Seen:
    """An image that is not square, so that part of the input is padding: three quarters of the logits show it."""
    from minisam.world import render

    return look(render(11, LOW).image[:ROWS], (70, 60), sam)


@pytest.fixture(scope="module")
def steps(seen: Seen) -> Steps:
    return decode_steps(seen[0], seen[2], ONE)


SOLUTIONS = chapter.solutions(7)


def test_every_exercise_has_a_solution() -> None:
    assert sorted(SOLUTIONS) == [f"7.{number}" for number in sorted(EXERCISES)]


@pytest.mark.parametrize("number", SOLUTIONS)
def test_solutions_are_accepted(number: str) -> None:
    out = chapter.printed(SOLUTIONS[number])
    assert f"✓ {number}" in out and "✗" not in out


def double(x, weight, bias, axes="iujvo", factor=1):
    blocks = np.einsum(f"ijc,couv->{axes}", x, weight)
    return blocks.reshape(2 * x.shape[0], 2 * x.shape[1], -1) + factor * bias


def logits(vectors, features):
    return np.einsum("mc,hwc->mhw", vectors, features)


def fit(features, inside, outside=-1.0):
    return np.linalg.lstsq(features, np.where(inside, 1.0, outside), rcond=None)[0]


WRONG = [
    ("7.1", lambda x, w, b: double(x, w, b, "ijuvo"), "wrong places"),
    ("7.1", lambda x, w, b: double(x, w, b, "ivjuo"), "swapped"),
    ("7.1", lambda x, w, b: double(x, w[..., ::-1, ::-1], b), "turned round"),
    ("7.1", lambda x, w, b: double(x, w, b, factor=0), "bias is missing"),
    ("7.1", lambda x, w, b: double(x, w, b)[None], "expected shape"),
    ("7.2", lambda v, f: 1 / (1 + np.exp(-logits(v, f))), "probabilities"),
    ("7.2", lambda v, f: np.einsum("mc,hwc->hwm", v, f), "expected shape"),
    ("7.2", lambda v, f: logits(v, f) / np.linalg.norm(v, axis=1)[:, None, None], "Sum over the channels"),
    (
        "7.2",
        lambda v, f: logits(v / np.linalg.norm(v, axis=1)[:, None], f / np.linalg.norm(f, axis=2)[..., None]),
        "cosine",
    ),
    ("7.3", lambda r, n: np.interp(np.linspace(0, len(r) - 1, n), np.arange(len(r)), r), "aligned"),
    ("7.3", lambda r, n: np.interp(np.arange(n) * len(r) / n, np.arange(len(r)), r), "half pixels"),
    ("7.3", lambda r, n: r[(np.arange(n) * len(r)) // n], "From 4 to 16"),
    ("7.4", lambda f, y: fit(f, y, 0.0), "+1 and −1"),
    ("7.4", lambda f, y: fit(np.concatenate([f, np.ones((len(f), 1))], axis=1), y)[:-1], "no bias"),
    ("7.4", lambda f, y: f[y].mean(axis=0) - f[~y].mean(axis=0), "correlated"),
    ("7.4", lambda f, y: 2 * fit(f, y), "Least squares"),
]


@pytest.mark.parametrize(("number", "answer", "hint"), WRONG)
def test_wrong_answers_get_a_hint(number: str, answer, hint: str) -> None:
    assert hint in verdict(number, answer)


# ---- figures ---------------------------------------------------------------------------------------------


def test_terms_add_up_to_the_logits(steps: Steps) -> None:
    """Kills: another mask's vector, a bias, a term counted twice."""
    for mask in (0, 1, 3):
        shares = dot_product.terms(steps, mask)
        assert shares.shape == (16, LOW, LOW)
        np.testing.assert_allclose(shares.sum(axis=0), steps.logits[mask], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(shares[5], steps.features[..., 5] * steps.vectors[mask, 5])
    ranks = dot_product.order(shares)
    assert sorted(ranks) == list(range(16)) and (np.diff(shares[ranks].std(axis=(1, 2))) <= 0).all()


def test_state_of_the_sum_says_its_numbers(seen: Seen, steps: Steps) -> None:
    away = np.array([115.0, 10.0])
    state = dot_product.draw_sum(*seen[:2], seen[2][0], away, steps, 1, 16)
    at, there = (at_point(seen[0], steps.logits[1], place) for place in (seen[2][0], away))
    assert at == pytest.approx(steps.logits[1, 60, 70]) and there == pytest.approx(steps.logits[1, 10, 115])
    number = f"{at:+.2f}".replace("-", "−")
    assert f"at the click is {number} (all terms {number})" in state.words and "100% of the pixels" in state.words
    some = dot_product.draw_sum(*seen[:2], seen[2][0], away, steps, 1, 3)
    shares = dot_product.terms(steps, 1)
    total = shares[dot_product.order(shares[:, :ROWS])[:3]].sum(axis=0)
    number = f"{total[60, 70]:+.2f}".replace("-", "−")
    assert f"3 of 16 terms: the logit at the click is {number} " in some.words


def test_pattern_of_tokens() -> None:
    rng = np.random.default_rng(0)
    pattern = np.tile(rng.standard_normal((4, 4, 3)), (5, 6, 1))
    rest, share = upscaling.without_pattern(pattern, 4)
    assert np.allclose(rest, 0) and share == pytest.approx(1)
    smooth = np.repeat(np.repeat(rng.standard_normal((5, 6, 3)), 4, axis=0), 4, axis=1)
    rest, share = upscaling.without_pattern(smooth, 4)
    assert np.allclose(rest, smooth - smooth.mean(axis=(0, 1))) and share == pytest.approx(0)
    rest, share = upscaling.without_pattern(pattern[:, ::-1] + smooth, 4)
    assert 0 < share < 1 and np.allclose(rest.reshape(5, 4, 6, 4, 3).mean(axis=(0, 2)), 0)


def test_three_colours_keep_what_differs_most() -> None:
    rng = np.random.default_rng(0)
    main = rng.random((8, 9))
    features = main[..., None] * np.array([0, 3.0, 0, -1]) + 1e-3 * rng.standard_normal((8, 9, 4))
    first = upscaling.three_colours(features)[..., 0]
    assert abs(np.corrcoef(first.ravel(), main.ravel())[0, 1]) > 0.99 and first.min() == 0 and first.max() == 1


def test_cuts(seen: Seen, steps: Steps) -> None:
    numbers = np.array([[-2.0, -0.5], [0.5, 2.0]])
    mask, area, overlap = thresholds.cut(numbers, -1)
    assert np.array_equal(mask, [[False, True], [True, True]]) and area == 0.75 and overlap == pytest.approx(2 / 3)
    assert thresholds.cut(numbers, 3)[1:] == (0, 0) and thresholds.cut(-np.ones((2, 2)), 0)[2] == 1
    predictor, image, point = seen
    whole = predictor.predict(point, ONE, return_logits=True)[0][0]
    state = thresholds.draw_cut(image, point[0], whole, 0.0, 1)
    masks = predictor.predict(point, ONE)[0]
    assert f"mask 1 covers {masks[0].mean():.1%}" in state.words and "probability 0.500" in state.words


def test_widgets_build_and_refuse(seen: Seen, sam: minisam.Sam) -> None:
    _, image, _ = seen
    assert isinstance(upscaling.upscaling(image, (70, 60), sam), widgets.VBox)
    assert isinstance(thresholds.thresholds(image, (70, 60), (-1, 0, 1), sam), widgets.VBox)
    with pytest.raises(InputError, match="at least one height"):
        thresholds.thresholds(image, (70, 60), (), sam)
    with pytest.raises(InputError, match="masks among"):
        dot_product.dot_product(image, (70, 60), masks=(4,), sam=sam)


def test_coarse_is_the_mean_of_a_tokens_logits() -> None:
    grid = np.arange(64.0).reshape(8, 8)
    assert coarse(grid)[1, 0] == grid[4:, :4].mean()


# ---- what the text says ----------------------------------------------------------------------------------


def test_lengths_of_vectors() -> None:
    for name, length in (("tiny", 16), ("vit_b", 32), ("vit_l", 32), ("vit_h", 32)):
        shapes = minisam.CONFIGS[name].shapes()
        assert shapes["mask_decoder.output_hypernetworks_mlps.3.layers.2.weight"][0] == length
        assert shapes["mask_decoder.output_upscaling.3.weight"][1] == length


def test_a_token_reaches_its_own_block_only(sam: minisam.Sam, steps: Steps) -> None:
    source = steps.images[-1].reshape(1, LOW // 4, LOW // 4, -1).copy()
    source[0, 3, 30] += 1
    changed = np.argwhere((sam.mask_decoder.upscale(source)[0] != steps.features).any(axis=2))
    assert changed.min(axis=0).tolist() == [12, 120] and changed.max(axis=0).tolist() == [15, 123]


def test_the_score_is_of_the_iou_token_alone(sam: minisam.Sam, steps: Steps) -> None:
    again = sam.mask_decoder.mlp("iou_prediction_head", steps.tokens[-1][:1])[0]
    np.testing.assert_allclose(again, steps.iou_predictions, rtol=1e-5, atol=1e-5)


def test_least_squares_is_the_first_newton_step() -> None:
    rng = np.random.default_rng(0)
    features, inside = rng.standard_normal((50, 4)), rng.random(50) < 0.4
    step = np.linalg.solve(features.T @ features / 4, features.T @ (inside - 0.5))
    np.testing.assert_allclose(step, 2 * fit(features, inside), rtol=1e-9)
