"""Chapter 5: its solutions, its hints, its figures, and what its text says."""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np
import pytest

import chapter
import minisam
from minisam.exercises import verdict
from minisam.exercises.chapter_05 import EXERCISES
from minisam.figures import mask_prompt, position_similarity, same_click
from minisam.figures.shared.paint import at_point, look
from minisam.model.preprocess import binary_mask_to_logits
from minisam_kernels import InputError
from minisam_kernels.layers.position_encoding import position_encoding_numpy

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "x and y swapped": (
        "minisam/figures/position_similarity.py",
        "np.array(point), gaussian)",
        "np.array(point)[::-1], gaussian)",
    ),
    "corners for centres": (
        "minisam/figures/position_similarity.py",
        "position_grid((side, side), gaussian)",
        "position_encoding(np.stack(np.meshgrid(*[np.arange(side) / side] * 2), -1), gaussian)",
    ),
    "a sum for the mean": ("minisam/figures/position_similarity.py", " / gaussian.shape[1]", ""),
    "a factor 2 or 4": ("minisam/figures/position_similarity.py", "-8 * np.pi**2", "-4 * np.pi**2"),
    "σ forgotten": ("minisam/figures/position_similarity.py", " * deviation**2", ""),
}

LOW = minisam.CONFIGS["tiny"].low_res_size  # side of the decoder's masks


@pytest.fixture(scope="module")
def sam() -> minisam.Sam:
    return minisam.load("tiny")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    from minisam.world import render

    return render(11, 96).image


SOLUTIONS = chapter.solutions(5)


def test_every_exercise_has_a_solution() -> None:
    assert sorted(SOLUTIONS) == [f"5.{number}" for number in sorted(EXERCISES)]


@pytest.mark.parametrize("number", SOLUTIONS)
def test_solutions_are_accepted(number: str) -> None:
    out = chapter.printed(SOLUTIONS[number])
    assert f"✓ {number}" in out and "✗" not in out


def encode(points, size, gaussian, half=0.5, stretch=2, shift=-1, turn=2 * np.pi, order=(np.sin, np.cos)):
    turns = (stretch * (points + half) / size + shift) @ gaussian
    return np.concatenate([f(turn * turns) for f in order], axis=-1)


def as_logits(mask, side, strength, outside=-1.0, scale=2.0):
    k = mask.shape[1] // side
    logits = np.full((1, side, side), outside * strength)
    rows = mask.shape[0] // k
    logits[0, :rows] = strength * (scale * mask.reshape(rows, k, side, k).mean(axis=(1, 3)) - scale + 1)
    return logits


WRONG = [
    ("5.1", lambda p, s, g: encode(p, s, g, half=0), "half pixel"),
    ("5.1", lambda p, s, g: encode(p, s, g, stretch=1, shift=0), "−1…1"),
    ("5.1", lambda p, s, g: encode(p, s, g, turn=1), "turn is 2π"),
    ("5.1", lambda p, s, g: encode(p, s, g, order=(np.cos, np.sin)), "Sines come first"),
    ("5.1", lambda p, s, g: encode(p[..., ::-1], s, g), "first row"),
    ("5.1", lambda p, s, g: None, "expected"),
    ("5.2", lambda d, g: np.cos(2 * np.pi * d @ g).mean(axis=1), "doubles"),
    ("5.2", lambda d, g: np.cos(4 * np.pi * d @ g).sum(axis=1), "C/2"),
    ("5.2", lambda d, g: np.sin(4 * np.pi * d @ g).mean(axis=1), "largest difference"),
    ("5.3", lambda s: np.sqrt(np.log(2) / 2) / (np.pi * s), "doubles"),
    ("5.3", lambda s: np.sqrt(np.log(2) / 4) / (np.pi * s), "variance"),
    ("5.3", lambda s: np.sqrt(np.log(2) / 8) / np.pi, "depend on"),
    ("5.4", lambda m, n, s: as_logits(m, n, s, outside=0.0, scale=1.0), "below zero"),
    ("5.4", lambda m, n, s: as_logits(m, n, s, outside=0.0), "padding"),
    ("5.4", lambda m, n, s: as_logits(m, n, s) > 0, "yes and no"),
    ("5.4", lambda m, n, s: as_logits(m, n, s)[0], "expected shape"),
]


@pytest.mark.parametrize(("number", "answer", "hint"), WRONG)
def test_wrong_answers_get_a_hint(number: str, answer, hint: str) -> None:
    assert hint in verdict(number, answer)


def test_exercise_4_is_the_projects_function(sam: minisam.Sam) -> None:
    """So the exercise teaches what ``predict`` wants; the project's averages in bytes, hence 1/255."""
    side = sam.config.low_res_size
    mask = np.random.default_rng(0).random((2 * side - 60, 2 * side)) < 0.5
    want = binary_mask_to_logits(mask, sam.config, 8.0)
    assert np.allclose(as_logits(mask, side, 8.0), want, atol=16 / 255)


# ---- figures ---------------------------------------------------------------------------------------------


def test_similarity_is_the_inner_product(sam: minisam.Sam) -> None:
    """Kills: x and y swapped, corners for centres, a sum for the mean."""
    gaussian, place = sam.prompt_encoder.gaussian, (0.3, 0.7)
    found = position_similarity.similarity(gaussian, place, 8)
    for row, column in ((0, 0), (2, 6), (7, 1)):
        other = np.array([(column + 0.5) / 8, (row + 0.5) / 8])
        want = np.cos(4 * np.pi * (np.array(place) - other) @ gaussian.astype(float)).mean()
        assert found[row, column] == pytest.approx(want, abs=1e-5)


def test_expectation_is_what_many_columns_give() -> None:
    """The derivation: the mean of many random columns is the bump. Kills: a factor 2 or 4, σ forgotten."""
    gaussian = np.random.default_rng(0).standard_normal((2, 200_000)) * 0.7
    for distance in (0.05, 0.1, 0.2):
        points = np.array([[0.5, 0.5], [0.5 + distance * 0.6, 0.5 + distance * 0.8]])
        a, b = position_encoding_numpy(points, gaussian)
        assert a @ b / 200_000 == pytest.approx(position_similarity.expected(distance, 0.7), abs=0.01)


def test_state_of_similarity_says_its_numbers(sam: minisam.Sam) -> None:
    gaussian, place = sam.prompt_encoder.gaussian, (0.5625, 0.3125)
    state = position_similarity.draw_similarity(gaussian, place, 8)
    found = position_similarity.similarity(gaussian, place, 8)
    assert f"to the cell beside it {found[2, 5]:.2f}" in state.words and "itself 1.00" in state.words
    assert isinstance(position_similarity.position_similarity(sam, side=4, columns=2), widgets.VBox)
    with pytest.raises(InputError, match="side >= 2"):
        position_similarity.position_similarity(sam, side=1)


def test_ways_to_ask_are_the_predictors(sam: minisam.Sam, image: np.ndarray) -> None:
    """Labels 1 and 0, a box, a box with a point and a fed-back mask are what ``predict`` answers."""
    predictor, _, point = look(image, (40, 50), sam)
    box = np.array([10.0, 20.0, 70.0, 80.0])
    first = predictor.predict(point, np.array([1]))[2][:1]
    for way, prompt in {
        0: {"point_coords": point, "point_labels": np.array([1])},
        1: {"point_coords": point, "point_labels": np.array([0])},
        5: {"box": box},
        6: {"point_coords": point, "point_labels": np.array([1]), "box": box},
        7: {"point_coords": point, "point_labels": np.array([1]), "mask_input": first},
    }.items():
        logits = same_click.ask(predictor, point, box, way, first).logits
        np.testing.assert_allclose(logits[1:], predictor.predict(**prompt)[2], rtol=1e-5, atol=1e-5)
    by_corner = same_click.ask(predictor, point, box, 2)
    assert by_corner.names[5:] == ("top left corner", "no point")
    assert not np.allclose(by_corner.logits, same_click.ask(predictor, point, box, 3).logits)


def test_state_of_same_click_says_its_area(sam: minisam.Sam) -> None:
    from minisam.world import render

    predictor, image, point = look(render(3, 256).image, (128, 128), sam)  # square, so there is no padding to leave out
    box = np.array([10.0, 20.0, 200.0, 200.0])
    steps, first = same_click.ask(predictor, point, box, 5), same_click.ask(predictor, point, box, 0)
    state = same_click.draw_way(predictor, image, point[0], box, 5, steps, first, 2)
    assert f"Mask 2 covers {(steps.logits[2] > 0).mean():.1%}" in state.words
    assert f"predicted IoU {steps.iou_predictions[2]:.2f}" in state.words and "2 prompt tokens" in state.words


def test_mask_forms(sam: minisam.Sam, image: np.ndarray) -> None:
    predictor, _, point = look(image, (40, 50), sam)
    mask = mask_prompt.ellipse(image.shape, (48, 48), (20, 30))
    assert mask[48, 48] and mask[20, 48] and not mask[48, 20], "radii are (x, y)"
    signed = binary_mask_to_logits(mask, sam.config, 8.0)
    assert mask_prompt.as_prompt(mask, "no mask", predictor) is None
    assert np.array_equal(mask_prompt.as_prompt(mask, "−8 and +8", predictor), signed)
    binary = mask_prompt.as_prompt(mask, "0 and 1", predictor)
    assert binary.min() == 0 and binary.max() == 1 and np.array_equal(binary > 0, signed > 0)
    assert not mask_prompt.as_prompt(mask, "all zeros", predictor).any()
    state = mask_prompt.draw_prompt(predictor, image, point, mask, "−8 and +8")
    answer = predictor.predict(point, np.array([1]), mask_input=signed, multimask_output=False)[2][0]
    both, either = ((answer > 0) & (signed[0] > 0)).sum(), ((answer > 0) | (signed[0] > 0)).sum()
    assert f"its IoU with the rough mask is {both / max(either, 1):.2f}" in state.words


def test_at_point_is_the_pixels_own_logit(sam: minisam.Sam) -> None:
    from minisam.world import render

    predictor, _, _ = look(render(3, LOW).image[: LOW // 2], None, sam)  # as wide as a mask: a cell is a pixel
    grid = np.arange(float(LOW * LOW)).reshape(LOW, LOW)
    assert at_point(predictor, grid, np.array([5, 9])) == grid[9, 5]
    assert at_point(predictor, grid, np.array([LOW - 1, 79])) == grid[79, LOW - 1]


def test_widgets_build_and_refuse(sam: minisam.Sam, image: np.ndarray) -> None:
    mask = {"one": np.ones(image.shape[:2], bool)}
    assert isinstance(mask_prompt.mask_prompt(image, (40, 50), mask, sam), widgets.VBox)
    assert isinstance(same_click.same_click(image, (40, 50), sam=sam, source="#here"), widgets.VBox)
    with pytest.raises(InputError, match="masks of shape"):
        mask_prompt.mask_prompt(image, (40, 50), {"small": mask["one"][1:]}, sam)
    with pytest.raises(InputError, match="a box as"):
        same_click.same_click(image, (40, 50), (1, 2, 3), sam)
    with pytest.raises(InputError, match="a point as"):
        look(image, (1, 2, 3), sam)


# ---- what the text says ----------------------------------------------------------------------------------


def test_a_large_logit_is_only_its_sign(sam: minisam.Sam) -> None:
    """eq-saturates, in the model: a hundred times the logits changes the dense embedding less than the sign does."""
    size = sam.config.low_res_size
    plus = np.full((1, 1, size, size), 1e3, np.float32)
    dense = [sam.prompt_encoder.embed_masks(x * plus)[0, 5, 5] for x in (1, 100, -1)]
    assert np.abs(dense[0] - dense[1]).max() < 0.05 * np.abs(dense[0] - dense[2]).max()


def test_the_matrix_is_in_the_checkpoint_and_fixed_by_name(sam: minisam.Sam) -> None:
    name = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    assert np.array_equal(sam.state_dict()[name], sam.prompt_encoder.gaussian)
    assert sam.prompt_encoder.gaussian.shape == (2, sam.config.prompt_embed_dim // 2)
    assert sam.config.mask_in_chans == 16, "the chapter says 4 and 16 channels"
