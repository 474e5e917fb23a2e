"""Chapter 1: exercises, the figures' numbers against the kernels, and what its prose states."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chapter import printed, solutions
from minisam.exercises import verdict
from minisam_kernels.losses.iou import iou
from minisam_kernels.masks import rle
from minisam_kernels.masks.rle import rle_numpy
from minisam_kernels.runtime.errors import InputError

pytest.importorskip("anywidget")
pytest.importorskip("skimage")
from minisam.figures import one_pixel, runs, score
from minisam.figures.shared.subjects import KNOWN, Subject, subjects

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "rows and columns swapped in the rim": (
        "minisam/figures/score.js",
        "height, width, width, 1);",
        "width, height, width, 1);",
    ),
    "a border that does not count": ("minisam/figures/score.js", "let run = 0; //", "let run = d; //"),
    "0/0 that becomes a number": (
        "minisam/figures/score.js",
        "both / (both + missed + spilled),",
        "both / (both + missed + spilled || 1),",
    ),
    "rows before columns": (
        "minisam/figures/score.js",
        "for (let x = 0; x < width; x++) for (let y = 0; y < height; y++) {",
        "for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {",
    ),
    "differences from the third number on": ("minisam/figures/score.js", "i > 2 ?", "i > 1 ?"),
    "a sign that is lost": ("minisam/figures/score.js", "if (group & 16) d |= -1 << shift;", ""),
}

SOLUTIONS = solutions(1)


# ---- exercises -------------------------------------------------------------------------------------------


def test_every_exercise_has_a_solution() -> None:
    assert sorted(SOLUTIONS) == ["1.1", "1.2", "1.3", "1.4"]


@pytest.mark.parametrize("number", sorted(SOLUTIONS))
def test_solution_stands_alone(number: str) -> None:
    out = printed(SOLUTIONS[number])
    assert f"✓ {number}" in out and "✗" not in out


def pooled(masks: Any, truths: Any) -> Any:
    return (masks & truths).sum() / (masks | truths).sum()


@pytest.mark.parametrize(
    ("number", "wrong", "hint"),
    [
        ("1.1", lambda mask: rle_numpy(mask.T).tolist(), "down the columns"),
        ("1.1", lambda mask: rle_numpy(mask)[int(mask[0, 0]) :].tolist(), "first number is missing"),
        ("1.1", lambda mask: rle_numpy(mask)[:-1].tolist(), "last run is missing"),
        ("1.1", lambda mask: [*rle_numpy(mask), 0], "no number but the first may be 0"),
        ("1.1", lambda mask: [mask.sum()], "expected|sum to"),
        ("1.1", lambda mask: None, "return"),
        ("1.2", lambda dice: 2 * dice / (1 + dice), "other direction"),
        ("1.2", lambda dice: dice / 2, "only near 0"),
        ("1.2", lambda dice: dice**2, "D = 0 and D = 1"),
        ("1.3", pooled, "outvotes"),
        ("1.3", lambda m, t: iou(m, t).mean(), "NaN"),
        ("1.3", lambda m, t: np.nan_to_num(iou(m, t)).mean(), "not count it as 0"),
        ("1.3", lambda m, t: np.nan_to_num(iou(m, t), nan=1).mean(), "not count it as 1"),
        ("1.3", lambda m, t: (m == t).mean(), "every pair"),
        ("1.4", lambda a, b, n: (0, min(a, b) / max(a, b)), "do not fit side by side"),
        ("1.4", lambda a, b, n: (max(0, a + b - n) / n, 1), "wholly inside"),
        ("1.4", lambda a, b, n: (min(a, b) / max(a, b), max(0, a + b - n) / min(a + b, n)), "lowest comes first"),
        ("1.4", lambda a, b, n: min(a, b) / max(a, b), "two numbers"),
    ],
)
def test_a_wrong_answer_gets_its_hint(number: str, wrong: Any, hint: str) -> None:
    assert re.search(hint, verdict(number, wrong))


# ---- paint and shift: the page counts what the kernels count ------------------------------------------------


def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Masks of one shape: noise, shapes that touch the border, nothing, everything."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:33, :47]
    disc = (x - 20) ** 2 + (y - 14) ** 2 < 120
    corner = (x < 15) & (y < 9)
    noise = rng.random((33, 47)) < 0.4
    empty, full = np.zeros_like(disc), np.ones_like(disc)
    return [(disc, corner), (noise, disc), (empty, disc), (empty, empty), (full, corner), (~disc, full), (disc, disc)]


def page(expression: str, data: Any) -> Any:
    """What score.js answers: ``expression`` in JavaScript, with its functions as ``s`` and ``data``."""
    if shutil.which("node") is None:
        pytest.skip("no node on this machine: the page's side is only tested in the browser")
    address = json.dumps(Path(score.__file__).with_suffix(".js").as_uri())
    script = (
        f"import * as s from {address}; const data = {json.dumps(data)}; console.log(JSON.stringify({expression}));"
    )
    done = subprocess.run(["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def flat(mask: np.ndarray) -> list[int]:
    return mask.astype(int).ravel().tolist()


def test_page_counts_what_the_kernels_count() -> None:
    """Kills: rows and columns swapped in the rim, a border that does not count, 0/0 that becomes a number."""
    both = [(flat(m), flat(g)) for m, g in pairs()]
    found = page(
        """data.map((pair) => { const [m, g] = pair.map((mask) => Uint8Array.from(mask)), c = s.countPixels(m, g);
        return [c, { ...s.scores(c), boundary: s.boundaryIou(m, g, 47, 33, 3) }]; })""",
        both,
    )
    for (mask, truth), (counted, measured) in zip(pairs(), found, strict=True):
        assert counted == score.counts(mask, truth)
        want = score.measures(mask, truth, band=3)
        got = {key: np.nan if value is None else value for key, value in measured.items()}  # JSON has no NaN
        assert got.keys() == want.keys()
        np.testing.assert_allclose(list(got.values()), list(want.values()), rtol=1e-6, equal_nan=True)


def test_page_reads_and_writes_coco_runs() -> None:
    """Kills: rows before columns, differences from the third number on, a sign that is lost."""
    masks = [m for pair in pairs() for m in pair]
    texts = [rle.to_string(rle.encode(m[None])[0]).decode() for m in masks]
    read = page("data.map((t) => [...s.decodeRuns(s.fromText(t), 47, 33)])", texts)
    written = page("data.map((m) => s.toText(s.encodeRuns(m, 47, 33)))", [flat(m) for m in masks])
    assert read == [flat(m) for m in masks] and written == texts


def test_page_moves_paints_grows_and_shrinks() -> None:
    from scipy.ndimage import binary_dilation, binary_erosion

    disc, square = pairs()[0][0], np.ones((5, 5), bool)
    m = "Uint8Array.from(data)"
    got = page(
        f"[s.moved({m}, 47, 33, 30, -8), s.dabbed({m}, 47, 33, 2, 31, 4, 1), s.dabbed({m}, 47, 33, 20, 14, 5, 0),"
        f" s.dilate({m}, 47, 33, 2), s.erode({m}, 47, 33, 2)].map((mask) => [...mask])",
        flat(disc),
    )
    moved = np.zeros_like(disc)
    moved[:-8, 30:] = disc[8:, :-30]
    y, x = np.mgrid[:33, :47]
    dab, rub = (x - 2) ** 2 + (y - 31) ** 2 <= 16, (x - 20) ** 2 + (y - 14) ** 2 <= 25
    want = [moved, disc | dab, disc & ~rub, binary_dilation(disc, square), binary_erosion(disc, square)]
    for one, other in zip(got, want, strict=True):
        assert one == flat(other)


def test_figure_carries_the_models_answers() -> None:
    (cup,) = subjects(["a cup"])
    (packed,) = score.score(cup).subjects
    decode = lambda text: rle.decode(rle.from_string(text, cup.truth.shape), cup.truth.shape)  # noqa: E731
    assert np.array_equal(decode(packed["truth"]), cup.truth)
    for k in range(3):
        assert np.array_equal(decode(packed["starts"][k]["text"]), cup.masks[k])
    assert cup.ious[packed["start"]] == cup.ious.max()
    assert len(score.score().subjects) == len(KNOWN)


def test_subjects_are_what_the_model_says() -> None:
    import minisam
    from minisam.annotator import centre_point

    (car,) = subjects(["a car"])
    predictor = minisam.SamPredictor(minisam.load("tiny"))
    predictor.set_image(car.image)
    masks, scores, _ = predictor.predict(np.array([centre_point(car.truth)]), np.array([1]))
    assert np.array_equal(masks, car.masks) and np.array_equal(scores, car.scores)
    assert car.truth[car.point[1], car.point[0]]
    with pytest.raises(InputError, match="expected titles out of a pullover"):
        subjects(["a submarine"])


def test_boundary_iou_can_be_fooled_as_the_chapter_asks() -> None:
    """A row of pinholes: IoU above 0.9, boundary IoU below 0.6."""
    (cup,) = subjects(["a cup"])
    holed = cup.truth.copy()
    holed[::8, ::8] = False
    found = score.measures(holed, cup.truth)
    assert found["iou"] > 0.9 and found["boundary"] < 0.6


def test_score_says_what_it_cannot_show() -> None:
    (cup,) = subjects(["a cup"])
    empty = Subject("nothing", "", cup.image, np.zeros_like(cup.truth), (0, 0), cup.logits, cup.scores)
    for objects in ([], empty):
        with pytest.raises(InputError, match="expected"):
            score.score(objects)


# ---- run lengths, one pixel ------------------------------------------------------------------------------------


def test_runs_are_the_kernels() -> None:
    mask = runs.small_mask()
    known = runs.pieces(mask)
    counts = rle.encode(mask[None])[0]
    assert [n for _, n, _ in known] == counts.tolist() and len(known) > 10
    assert "".join(letters for _, _, letters in known).encode() == rle.to_string(counts)
    down = mask.T.ravel()
    for k, (start, length, _) in enumerate(known):
        assert (down[start : start + length] == k % 2).all()
    words = runs.state(mask, known, 4).words
    assert f"Run 5 of {len(known)}: {known[4][1]} zero" in words and f"− {known[2][1]} = " in words


def test_runs_in_colour_are_the_pixels_of_the_run() -> None:
    mask = np.array([[1, 0, 0], [1, 1, 0]], bool)
    start, length, _ = runs.pieces(mask)[1]
    assert (start, length) == (0, 2)
    centres = runs.cells(mask, start, length, side=24)[13::24, 12::24].astype(int)  # not on the hatching
    coloured = (centres[..., 0] - centres[..., 2]) > 50  # orange; everything else is grey, white or blue
    assert coloured.T.ravel().tolist() == [True, True, False, False, False, False]


def test_runs_widget_and_bad_masks() -> None:
    runs.runs(np.array([[1, 0], [0, 1]], bool))
    for bad in (np.ones((2, 2)), np.ones(3, bool), np.indices((9, 9)).sum(axis=0) % 2 == 0):
        with pytest.raises(InputError, match="expected a mask of"):
            runs.runs(bad)


def test_one_pixel_measures_the_whole_picture() -> None:
    """The figure computes on a cut-out; the numbers are those of the whole image."""
    masks = one_pixel.objects(2)
    assert len(masks) > 5
    for mask in masks[:: len(masks) // 5]:
        for pixels in (1, 8):
            whole = score.measures(one_pixel.grown(mask, pixels), mask)
            part = one_pixel.measured(mask, pixels)
            np.testing.assert_allclose(list(part.values()), list(whole.values()), rtol=1e-6)


def test_no_shape_does_better_than_the_disc() -> None:
    """What the chapter says, apart from rounding to pixels; and small objects lose more."""
    masks = one_pixel.objects(4)
    areas = np.array([mask.sum() for mask in masks])
    for pixels in (1, 4):
        values = np.array([one_pixel.measured(mask, pixels)["iou"] for mask in masks])
        assert (values <= one_pixel.disc(areas, pixels) + 0.06).all()
        assert np.median(values[areas < np.median(areas)]) < np.median(values[areas > np.median(areas)])
    state = one_pixel.state(np.array([100.0, 3000.0]), np.array([0.5, 0.9]), "iou", 1)
    assert "0.50 below 20 px across (1), 0.90 of 40 px and more (1)" in state.words


def test_one_pixel_builds_and_refuses() -> None:
    with pytest.raises(InputError, match="at least one scene"):
        one_pixel.one_pixel(0)


# ---- what the prose says ---------------------------------------------------------------------------------------


def test_dice_and_iou_agree_on_one_object_and_not_on_means() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random((20, 20)) < 0.4
    masks = [truth ^ (rng.random((20, 20)) < p) for p in np.linspace(0.01, 0.6, 30)]
    found = [score.measures(mask, truth) for mask in masks]
    ious, dices = (np.array([f[key] for f in found]) for key in ("iou", "dice"))
    np.testing.assert_allclose(dices, 2 * ious / (1 + ious), rtol=1e-6)
    assert np.array_equal(np.argsort(ious, kind="stable"), np.argsort(dices, kind="stable"))


def test_a_mask_that_is_all_rim_has_its_iou_as_boundary_iou() -> None:
    a, b = np.zeros((2, 30, 30), bool)
    a[10:13, 5:20] = b[11:14, 5:20] = True
    found = score.measures(a, b, band=2)
    assert found["boundary"] == found["iou"] == 0.5
