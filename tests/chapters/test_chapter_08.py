"""Chapter 8: exercises, the figures' numbers against the kernels, and what its prose states."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from chapter import printed, solutions
from minisam.exercises import verdict
from minisam_kernels.losses.dice_loss import dice_loss, dice_loss_backward, dice_loss_numpy
from minisam_kernels.losses.focal_loss import focal_loss, focal_loss_backward, focal_loss_numpy
from minisam_kernels.losses.iou import iou_numpy
from minisam_kernels.runtime.errors import InputError

pytest.importorskip("ipywidgets")
from minisam.figures import background, focal_curves, iou_regression, loss_maps
from minisam.figures.shared.subjects import Subject
from minisam.world.scene import SIZE

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "the probability of the foreground for that of the right answer": (
        "minisam/figures/focal_curves.py",
        " * (1 if target else -1)",
        "",
    ),
    "α for 1 − α": (
        "minisam/figures/focal_curves.py",
        "return focal_loss(logits, targets, alpha, gamma)",
        "return focal_loss(logits, targets, 1 - alpha, gamma)",
    ),
    "a slope along p": (
        "minisam/figures/focal_curves.py",
        "np.abs(slope[:, 0, 0])",
        "np.abs(slope[:, 0, 0]) / (P * (1 - P))",
    ),
    "another mask's logits": (
        "minisam/figures/loss_maps.py",
        """z, g = logits_of(subject), subject.truth
    each""",
        """z, g = np.float32(subject.logits[1]), subject.truth
    each""",
    ),
    "a mean that is a sum": ("minisam/figures/loss_maps.py", "alpha, gamma)[0] * z.size", "alpha, gamma)[0]"),
    "a background that is drawn with the wrong sign": (
        "minisam/figures/background.py",
        "np.full((side, side), added",
        "np.full((side, side), -added",
    ),
    "the object lost from the larger image": (
        "minisam/figures/background.py",
        "z[corner], g[corner] = logits_of(subject), subject.truth",
        "z[corner] = logits_of(subject)",
    ),
}

SOLUTIONS = solutions(8)
ONE = np.ones(1, np.float32)


@pytest.fixture(scope="module")
def disc() -> Subject:
    """A disc, and logits that are right far away, undecided at the rim and miss a corner."""
    y, x = np.mgrid[:64, :64]
    far = np.hypot(x - 30, y - 34)
    rng = np.random.default_rng(0)
    logits = np.stack([(12 - far) / 2 - 4 * ((x > 34) & (y < 30)), -far, 0 * far - 3]) + 0.2 * rng.normal(
        size=(3, 64, 64)
    )
    picture = np.full((64, 64, 3), 128, np.uint8)
    return Subject("a disc", "", picture, far <= 12, (30, 34), logits.astype(np.float32), np.zeros(3, np.float32))


# ---- exercises -------------------------------------------------------------------------------------------


def test_every_exercise_has_a_solution() -> None:
    assert sorted(SOLUTIONS) == ["8.1", "8.2", "8.3", "8.4"]


@pytest.mark.parametrize("number", sorted(SOLUTIONS))
def test_solution_stands_alone(number: str) -> None:
    out = printed(SOLUTIONS[number])
    assert f"✓ {number}" in out and "✗" not in out


def sigma(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def plain(z: Any, g: Any, alpha: float, gamma: float) -> Any:
    p = np.where(g, sigma(z), 1 - sigma(z))
    return (-np.where(g, alpha, 1 - alpha) * (1 - p) ** gamma * np.log(p)).mean()


def right_power(z: Any, g: Any, alpha: float, gamma: float) -> Any:
    p = np.where(g, sigma(z), 1 - sigma(z))
    return (-np.where(g, alpha, 1 - alpha) * p**gamma * np.log(p)).mean()


def dice_parts(z: Any, g: Any) -> tuple[Any, Any, Any]:
    p = sigma(z)
    return p, 2 * (p * g).sum() + 1, p.sum() + g.sum() + 1


def without_sigmoid(z: Any, g: Any) -> Any:
    _, n, d = dice_parts(z, g)
    return (n - 2 * g * d) / d**2


def without_area(z: Any, g: Any) -> Any:
    p, _, d = dice_parts(z, g)
    return -p * (1 - p) * 2 * g / d


def full(z: Any, g: Any) -> Any:
    p, n, d = dice_parts(z, g)
    return p * (1 - p) * (n - 2 * g * d) / d**2


def unsmoothed(z: Any, g: Any) -> Any:
    p, n, d = dice_parts(z, g)
    return p * (1 - p) * (n - 1 - 2 * g * (d - 1)) / (d - 1) ** 2


@pytest.mark.parametrize(
    ("number", "wrong", "hint"),
    [
        ("8.1", plain, "logaddexp"),
        ("8.1", right_power, "wrong answer"),
        ("8.1", lambda z, g, a, c: plain(z, g, a, c) * z.size, "that is the sum"),
        ("8.1", lambda z, g, a, c: plain(z, g, 1 - a, c), "other way round"),
        ("8.1", lambda z, g, a, c: 2 * plain(z, g, 0.5, c), "balance is missing"),
        ("8.1", lambda z, g, a, c: 2 * a * plain(z, g, 0.5, c), "you multiply all by α"),
        ("8.1", lambda z, g, a, c: -plain(z, g, a, c), "sign"),
        ("8.1", lambda z, g, a, c: plain(z, g, a, 0), "see the equation"),
        ("8.2", without_sigmoid, "with respect to p"),
        ("8.2", without_area, "D does too"),
        ("8.2", lambda z, g: -full(z, g), "sign"),
        ("8.2", lambda z, g: full(z, g) * dice_parts(z, g)[2], "D is squared"),
        ("8.2", unsmoothed, "finite differences"),
        ("8.2", lambda z, g: full(z, g).sum(), "expected shape"),
        ("8.3", lambda a, n, alpha: a / n, "right for α = ½"),
        ("8.3", lambda a, n, alpha: float(2 * a > n), "neither 0 nor 1"),
        ("8.3", lambda a, n, alpha: alpha * a / n, "Set the derivative"),
        ("8.3", lambda a, n, alpha: (1 - alpha) * (n - a) / (alpha * a + (1 - alpha) * (n - a)), "background"),
        ("8.4", lambda p, factor: np.log(factor) / np.log(1 - p), "negative"),
        ("8.4", lambda p, factor: -np.log(factor) / np.log(p), "not p"),
        ("8.4", lambda p, factor: 2.0, "times less"),
    ],
)
def test_a_wrong_answer_gets_its_hint(number: str, wrong: Any, hint: str) -> None:
    with np.errstate(all="ignore"):
        assert re.search(hint, verdict(number, wrong)), verdict(number, wrong)


# ---- figures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.75, 0.0), (0.5, 5.0)])
def test_curves_are_the_equation_and_its_slope(target: int, alpha: float, gamma: float) -> None:
    """Kills: the probability of the foreground for that of the right answer, α for 1 − α, a slope along p."""
    loss, slope = focal_curves.pixels(target, alpha, gamma)
    p, balance = focal_curves.P, alpha if target else 1 - alpha
    np.testing.assert_allclose(loss, -balance * (1 - p) ** gamma * np.log(p), rtol=1e-4, atol=1e-9)
    along = np.abs(np.gradient(loss.astype(float), p)) * p * (1 - p)
    np.testing.assert_allclose(slope[5:-5], along[5:-5], rtol=0.05, atol=1e-4)


def test_curves_words_and_bad_arguments() -> None:
    assert "0.01 at 0.9" in focal_curves.state(2.0, 0.25).words, "the question's answer: a hundredth"
    focal_curves.focal_curves((1.0,), (0.5,))
    for gammas, alphas in (((-1.0,), (0.5,)), ((1.0,), (1.5,))):
        for figure in (focal_curves.focal_curves, lambda g, a: loss_maps.focal_maps(None, g, a)):
            with pytest.raises(InputError, match="expected gammas"):
                figure(gammas, alphas)


def test_focal_map_sums_to_the_loss(disc: Subject) -> None:
    """The maps are the loss and its gradient, pixel by pixel. Kills: another mask's logits, a mean that is a sum."""
    z, g = loss_maps.logits_of(disc)[None], disc.truth[None]
    each, slope = loss_maps.focal_map(disc, 0.25, 2.0)
    assert np.isclose(each.mean(dtype=float), focal_loss(z, g)[0], rtol=1e-5)
    np.testing.assert_allclose(slope, focal_loss_backward(ONE, z, g)[0] * z.size, rtol=1e-6)
    assert loss_maps.graded(disc) == 0
    easy = loss_maps.right(disc) >= loss_maps.EASY
    shares = [loss_maps.share(easy, loss_maps.focal_map(disc, 0.5, gamma)[1]) for gamma in (0.0, 1.0, 2.0, 5.0)]
    assert shares == sorted(shares, reverse=True), "as γ rises the gradient leaves the easy pixels"
    words = loss_maps.focal_state(disc, 0.5, 0.0).words
    assert f"{shares[0]:.1%} of the gradient" in words and f"{easy.mean():.1%} of the pixels are easy" in words


def test_loss_maps_are_the_gradients(disc: Subject) -> None:
    """Against finite differences of the readable losses, for all four."""
    z, g = loss_maps.logits_of(disc)[None].astype(float), disc.truth[None]
    focal = lambda x: focal_loss_numpy(x, g)[0]  # noqa: E731
    dice = lambda x: dice_loss_numpy(x, g)[0]  # noqa: E731
    readable = {
        "cross-entropy": lambda x: 2 * focal_loss_numpy(x, g, 0.5, 0.0)[0],
        "20 · focal": lambda x: 20 * focal(x),
        "dice": dice,
        "20 · focal + dice": lambda x: 20 * focal(x) + dice(x),
    }
    assert readable.keys() == loss_maps.LOSSES.keys() == loss_maps.VALUES.keys()
    for name, loss in readable.items():
        slope = loss_maps.gradient(disc, name)
        value = loss_maps.VALUES[name](z.astype(np.float32), g)[0]
        assert np.isclose(value, loss(z), rtol=1e-5)
        for pixel in ((0, 34, 30), (0, 25, 38), (0, 34, 43), (0, 20, 20)):
            up, down = z.copy(), z.copy()
            up[pixel] += 1e-4
            down[pixel] -= 1e-4
            assert np.isclose(slope[pixel[1:]], (loss(up) - loss(down)) / 2e-4, rtol=1e-3, atol=1e-9)
    words = loss_maps.loss_state(disc, "dice").words
    assert f"loss {dice(z):.4f}" in words


def test_map_widgets_build_and_refuse(disc: Subject) -> None:
    loss_maps.focal_maps(disc, (2.0,), (0.25,))
    loss_maps.loss_maps([disc])
    background.background(disc, (64, 80))
    with pytest.raises(InputError, match="at least one object"):
        loss_maps.loss_maps([])
    with pytest.raises(InputError, match="sides of at least 64"):
        background.background(disc, (32,))
    with pytest.raises(InputError, match="at least one scene"):
        iou_regression.iou_regression(0)


def test_background_doubles_and_focal_is_quartered(disc: Subject) -> None:
    """Claim: with settled background focal loss and its pull shrink by 4 as the side doubles, dice stays.
    Kills: a background that is drawn with the wrong sign, the object lost from the larger image."""
    small, large = (background.measured(disc, side, -12.0) for side in (SIZE, 2 * SIZE))
    assert np.isclose(small["focal"] / large["focal"], 4, rtol=1e-3)
    assert np.isclose(small["focal pull"] / large["focal pull"], 4, rtol=1e-3)
    assert np.isclose(small["dice"], large["dice"], atol=5e-3)
    assert np.isclose(small["dice pull"], large["dice pull"], rtol=0.02)
    unsettled = background.measured(disc, 2 * SIZE, -3.0)
    assert unsettled["dice"] > large["dice"] + 0.2, "claim: logit −3 is right and drowns the object all the same"
    words = background.state(disc, (SIZE, 2 * SIZE), -12.0).words
    assert f"dice loss {small['dice']:.3f} → {large['dice']:.3f}" in words


def test_regression_measures_what_the_model_says() -> None:
    import minisam
    from minisam.annotator import centre_point
    from minisam.transfer.held_out import world_cases

    predicted, true = iou_regression.predictions(2)
    case = next(iter(world_cases(1, iou_regression.SIZE)))
    predictor = minisam.SamPredictor(minisam.load("tiny"))
    predictor.set_image(case.image)
    masks, scores, _ = predictor.predict(np.array([centre_point(case.masks[1])]), np.array([1]))
    np.testing.assert_allclose(predicted[1], scores, atol=1e-4)
    np.testing.assert_allclose(true[1], iou_numpy(masks, case.masks[1][None]), atol=5e-3)
    errors = iou_regression.errors(predicted, true)
    assert np.isclose(errors["mse"], np.mean((predicted - true) ** 2))
    rivals = [np.mean((c - true) ** 2) for c in np.linspace(0, 1, 101)]
    assert min(rivals) >= errors["constant"] - 1e-12, "no constant is better than the mean"
    assert f"{errors['mse']:.4f}" in iou_regression.state(predicted, true, "all three", -1).words
    assert f"mask 2, {len(predicted)} predictions" in iou_regression.state(predicted, true, "mask 2", 1).words


# ---- what the prose says ---------------------------------------------------------------------------------------


def test_claim_dice_has_two_numbers_and_p_times_q(disc: Subject) -> None:
    z, g = loss_maps.logits_of(disc)[None], disc.truth[None]
    p = sigma(z.astype(float))
    factors = dice_loss_backward(ONE, z, g) / (p * (1 - p))
    for side in (g, ~g):
        assert np.ptp(factors[side]) < 1e-4 * np.abs(factors[side]).max()
    assert factors[g].max() < 0 < factors[~g].min(), "raise the object's logits, lower the others"


def test_claim_a_sure_and_wrong_pixel_is_woken_by_focal_only(disc: Subject) -> None:
    z, g = loss_maps.logits_of(disc)[None].copy(), disc.truth[None]
    pixel = tuple(np.argwhere(g)[g.sum() // 2])
    pulls = {}
    for logit in (-8.0, 0.0):
        z[pixel] = logit
        pulls[logit] = [abs(back(ONE, z, g)[pixel]) for back in (focal_loss_backward, dice_loss_backward)]
    assert pulls[-8.0][1] < pulls[0.0][1] / 500, "dice: p (1 − p)"
    assert pulls[-8.0][0] > pulls[0.0][0], "focal: the wronger, the stronger"


def test_claim_slope_of_the_hopeless_is_alpha() -> None:
    slope = focal_loss_backward(ONE, np.full((1, 1, 1), -30, np.float32), np.ones((1, 1, 1), bool), 0.25, 2.0)
    assert np.isclose(slope[0, 0, 0], -0.25, rtol=1e-5)


def test_claim_nothing_where_nothing_is_costs_nothing() -> None:
    assert abs(dice_loss(np.full((1, 8, 8), -40, np.float32), np.zeros((1, 8, 8), bool))[0]) < 1e-6
