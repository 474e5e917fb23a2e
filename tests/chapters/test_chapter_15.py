"""Chapter 15: its solutions, hints, measurements and corrections."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from scipy.ndimage import label

import chapter
from minisam.exercises import verdict

pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")

import minisam
from minisam.figures import failures, one_thing, photo_failures
from minisam.figures.shared.states import encode
from minisam.figures.three_masks import overlaps
from minisam.model.config import get_config
from minisam_kernels.masks.nms import nms
from minisam_kernels.runtime.errors import InputError

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "the radius for the diameter": ("minisam/figures/failures.py", "2 * float(distance", "float(distance"),
    "pieces by sides only": ("minisam/figures/failures.py", "label(mask, np.ones((3, 3)))", "label(mask)"),
}

SOLUTIONS = chapter.solutions(15)


def test_every_exercise_has_a_solution() -> None:
    assert set(SOLUTIONS) == {"15.1", "15.2", "15.3", "15.4"}


@pytest.mark.parametrize("number", sorted(SOLUTIONS))
def test_solutions_solve(number: str) -> None:
    said = chapter.printed(SOLUTIONS[number])
    assert f"✓ {number}" in said and "✗" not in said


def pieces(mask, least, corners=1, strict=False):
    found, _ = label(mask, np.ones((3, 3)) if corners else None)
    areas = np.bincount(found.ravel(), minlength=1)
    areas[0] = 0
    return ((areas > least) if strict else (areas >= least))[found]


def in_place(mask, least):
    mask &= pieces(mask, least)
    return mask


def ece(predicted, true, bins, weigh=True, clip=True):
    place = (predicted * bins).astype(int)
    place = np.clip(place, 0, bins - 1) if clip else place
    numbers = np.unique(place)
    gaps = np.array([abs(predicted[place == b].mean() - true[place == b].mean()) for b in numbers])
    return (gaps * [(place == b).mean() for b in numbers]).sum() if weigh else gaps.mean()


WRONG = [
    ("15.1", lambda m, n: pieces(m, n, corners=0), "corner"),
    ("15.1", lambda m, n: pieces(m, n, strict=True), "exactly|corner"),
    ("15.1", in_place, "changed"),
    ("15.1", lambda m, n: m, "fewer than"),
    ("15.2", lambda p, t, b: ece(p, t, b, weigh=False), "weigh each bin"),
    ("15.2", lambda p, t, b: ece(p, t, b, clip=False), "first bin"),
    ("15.2", lambda p, t, b: abs(p - t).mean(), "single masks"),
    ("15.2", lambda p, t, b: abs(p.mean() - t.mean()), "do not cancel"),
    ("15.3", lambda w, s: max(w - s, 0) / w, "union grows"),
    ("15.3", lambda w, s: (w - s) / (w + s), "never below 0"),
    ("15.3", lambda w, s: 1 - s / 80, "what do both cover"),
    ("15.4", lambda m, s: np.where(m.any(0), m.argmax(0), -1), "highest score"),
    ("15.4", lambda m, s: np.where(m, s[:, None, None], -9e9).argmax(0), "−1"),
    ("15.4", lambda m, s: np.where(m.any(0), (m * s[:, None, None]).argmax(0), -1), "negative"),
]


@pytest.mark.parametrize("number, wrong, hint", WRONG)
def test_wrong_answers_get_a_hint(number, wrong, hint) -> None:
    import re

    assert re.search(hint, verdict(number, wrong)), verdict(number, wrong)


# ---- what is measured ------------------------------------------------------------------------------------


def bar(width: int, length: int, side: int = 64) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[20 : 20 + width, 5 : 5 + length] = True
    return mask


def test_measure_of_known_shapes() -> None:
    """Kills: the radius for the diameter, pieces by sides only, an outside that includes the object."""
    assert failures.thickness(bar(1, 30)) == 2  # the border's middle is half a pixel out; distances count whole ones
    assert failures.thickness(bar(9, 40)) == 10
    assert failures.thickness(bar(9, 9) | bar(3, 50)) == 10
    two = bar(4, 10)
    two[40:42, 40:45] = True
    assert failures.scattered(two) == pytest.approx(100 * 10 / 50)
    diagonal = np.eye(9, dtype=bool)
    assert failures.scattered(diagonal) == 0 and failures.scattered(np.zeros((4, 4), bool)) == 0
    assert photo_failures.islands(two) == (1, pytest.approx(0.2)) and photo_failures.islands(diagonal) == (0, 0.0)


def test_measure_of_contrast() -> None:
    rng = np.random.default_rng(0)
    mask = bar(12, 40)
    same = np.repeat(rng.normal(100, 10, (64, 64, 1)), 3, axis=2)
    assert failures.contrast(same, mask) < 0.3
    for step in (10, 30):
        brighter = same + step * mask[..., None]
        expected = np.sqrt(3) * step / np.sqrt(3 * 100)
        assert failures.contrast(brighter, mask) == pytest.approx(expected, rel=0.2)
    assert failures.contrast(same, np.ones((64, 64), bool)) == 0


def test_measure_of_rank_correlation() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=40), rng.integers(0, 4, 40)
    assert failures.rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert failures.rank_correlation(a, a**3) == pytest.approx(1)


def test_groups_keep_zeros_together() -> None:
    low, middle, high = failures.thirds(np.array([0, 5.0, 0, 3, 0, 4, 6]))
    assert sorted(low) == [0, 2, 4] and sorted(middle) == [3, 5] and sorted(high) == [1, 6]
    assert [len(part) for part in failures.thirds(np.arange(1.0, 8))] == [3, 2, 2]


@pytest.mark.parametrize("changed", one_thing.STEPS)
def test_picture_changes_one_thing(changed: str) -> None:
    """The measured property follows the one that was set; the click is on the object."""
    for value in one_thing.STEPS[changed]:
        image, truth, (x, y) = one_thing.picture(changed, value)
        assert image.shape == (one_thing.SIDE, one_thing.SIDE, 3) and truth[y, x]
        if changed.startswith("thickness"):
            assert abs(failures.thickness(truth) - value) <= 2
        if changed.startswith("contrast"):
            assert failures.contrast(image, truth) == pytest.approx(value, abs=0.15)
        if changed.startswith("gap"):
            assert failures.scattered(truth) == pytest.approx(50 if value else 0, abs=0.1)
    with pytest.raises(InputError, match="expected one of"):
        one_thing.picture("colour", 1)


def test_picture_without_contrast_holds_nothing() -> None:
    """The same noise, the same bytes, whatever the disc's place: no model can find it."""
    paint = one_thing.picture("contrast (spreads)", 0)[0]
    noise = 110 + 12 * np.random.default_rng(0).normal(size=(one_thing.SIDE, one_thing.SIDE))
    assert np.array_equal(paint[..., 0], noise.clip(0, 255).round().astype(np.uint8))


def test_the_score_notices_that_nothing_is_there() -> None:
    """Claims of the text: the score falls with the contrast, and is low at 1, where the mask is better than at 0."""
    sam, found = minisam.load("tiny"), {}
    for contrast in (0, 1, 4):
        tries = [one_thing.attempt(sam, "contrast (spreads)", contrast, seed) for seed in range(3)]
        found[contrast] = np.mean([[t.iou, t.predicted] for t in tries], axis=0)
    assert found[4][1] > 0.7 and found[1][1] < 0.4 and found[0][1] < 0.4
    assert found[1][0] > found[0][0] + 0.05


# ---- the figures -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cases() -> list[failures.Case]:
    return failures.collect(minisam.load("tiny"), failures.SEEDS[:2])


def test_cases_are_the_model_s_and_sorted(cases) -> None:
    assert [c.iou for c in cases] == sorted(c.iou for c in cases)
    case = cases[0]
    predictor = minisam.SamPredictor(minisam.load("tiny"))
    predictor.set_image(case.image)
    masks, scores, _ = predictor.predict(np.array([case.point]), np.array([1]))
    true = overlaps(masks, case.truth[None])[:, 0]
    assert case.iou == pytest.approx(true.max()) and case.predicted == pytest.approx(
        float(scores[true.argmax()]), abs=1e-4
    )
    assert case.measured == failures.measure(case.image, case.truth)


def test_gallery_names_the_most_unusual(cases) -> None:
    odd = failures.oddness(cases)
    thin = min(range(len(cases)), key=lambda n: cases[n].measured["thickness"])
    assert odd[thin, 0] == odd[:, 0].max() and odd.min() >= 0 and odd.max() < 1
    state = failures.draw(cases, odd, 0)
    most = list(failures.PROPERTIES.values())[int(odd[0].argmax())][0]
    assert f"true IoU of {cases[0].iou:.2f}" in state.words and (most in state.words or odd[0].max() <= 0.5)
    assert len(encode(state.picture)) > 3000
    values = np.array([c.measured["size"] for c in cases])
    correlation = failures.rank_correlation(values, np.array([c.iou for c in cases]))
    assert f"{correlation:+.2f}" in failures.draw_suspect(cases, "size").words
    assert failures.draw_suspect(cases, "scattered").words.startswith(f"{len(cases)} objects")


def test_figures_build_and_check() -> None:
    sam = minisam.load("tiny")
    assert failures.gallery(sam, 2, failures.SEEDS[:1], question="?").children
    for wrong in (lambda: failures.gallery(sam, 0, failures.SEEDS[:1]), lambda: failures.suspects(sam, ())):
        with pytest.raises(InputError, match="at least one"):
            wrong()
    with pytest.raises(InputError, match="at least one image"):
        photo_failures.photo_failures([], sam)


def test_one_thing_says_what_was_answered() -> None:
    now = one_thing.attempt(minisam.load("tiny"), "diameter (px)", 40)
    assert now.iou == pytest.approx(overlaps(now.mask[None], now.truth[None])[0, 0])
    state = one_thing.draw([now] * 8, "diameter (px)", 5)
    assert f"diameter (px) 40: true IoU {now.iou:.2f}, predicted {now.predicted:.2f}" in state.words


def test_photo_failures_ask_again_inside_the_mask() -> None:
    image = one_thing.picture("diameter (px)", 80)[0][::2, ::2].copy()
    sam = minisam.load("tiny")
    (found,) = photo_failures.collect(sam, [image], grid=2)
    assert [d.agreement for d in found] == sorted(d.agreement for d in found)
    worst = found[0]
    assert worst.mask[int(worst.other[1]), int(worst.other[0])] or not worst.mask.any()
    words = photo_failures.draw(image, found, "noise", 0).words
    assert f"mean IoU of {worst.agreement:.2f}" in words and f"{worst.islands} islands" in words
    assert photo_failures.photo_failures([image], sam, shown=1, grid=1).children


# ---- the corrections -------------------------------------------------------------------------------------


def test_correction_mask_vectors_are_32_long() -> None:
    shapes = get_config("vit_h").shapes()
    for k in range(4):
        assert shapes[f"mask_decoder.output_hypernetworks_mlps.{k}.layers.2.weight"] == (32, 256)


def test_correction_stability_and_attention() -> None:
    assert 1 / (1 + np.exp(1)) == pytest.approx(0.269, abs=5e-4) and np.log(0.55 / 0.45) == pytest.approx(0.2, abs=1e-3)
    shapes = get_config("vit_h").shapes()
    assert all(
        any(name in key for key in shapes) for name in ("cross_attn_image_to_token", "final_attn_token_to_image")
    )
    from minisam_kernels.losses.stability_score import stability_score

    logits = np.full((1, 4, 4), -5, np.float32)
    logits[0, :2], logits[0, 2] = 5, 0.5  # one row lies between −1 and 1
    assert stability_score(logits)[0] == pytest.approx(8 / 12)


def test_correction_the_flag_chooses_and_boxes_are_compared() -> None:
    predictor = minisam.SamPredictor(minisam.load("tiny"))
    predictor.set_image(one_thing.picture("diameter (px)", 80)[0])
    points, labels = np.array([[128, 128], [10, 10]]), np.array([1, 0])
    assert len(predictor.predict(points, labels, multimask_output=True)[0]) == 3
    assert len(predictor.predict(points, labels, multimask_output=False)[0]) == 1
    assert next(iter(inspect.signature(nms).parameters)) == "boxes"
