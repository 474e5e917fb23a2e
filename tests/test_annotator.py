"""The simulated annotator: each click and box by its definition, torch's version draw for draw, and whole interactions.

Tests that need torch are skipped without it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import minisam
from minisam.annotator import (
    centre_point,
    correction,
    draw,
    new_points,
    next_click,
    noisy_box,
    play,
    sample_pixel,
    tight_box,
)
from minisam.world import HELD_OUT, render
from minisam_kernels import InputError
from strategies import seeds

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "a pixel counted by columns": (
        "minisam/annotator.py",
        "rows, columns = np.nonzero(region)",
        "columns, rows = np.nonzero(region.T)",
    ),
    "a click at (row, column)": (
        "minisam/annotator.py",
        "return int(columns[number]), int(rows[number])",
        "return int(rows[number]), int(columns[number])",
    ),
    "the last pixel is never clicked": (
        "minisam/annotator.py",
        "int(chance * len(rows))",
        "int(chance * (len(rows) - 1))",
    ),
    "a limit that does not scale": ("minisam/annotator.py", "limit = 20 * size / 1024", "limit = 20"),
    "a box that leaves the image": ("minisam/annotator.py", "limit)).clip(0, size - 1)", "limit))"),
    "x moves by the height": (
        "minisam/annotator.py",
        "np.tile(box[2:] - box[:2], 2)",
        "np.tile((box[2:] - box[:2])[::-1], 2)",
    ),
    "a box around nothing": ("minisam/annotator.py", "if not mask.any():", "if False:"),
    "a click only on what is missing": (
        "minisam/annotator.py",
        "wrong = predicted ^ truth",
        "wrong = truth & ~predicted",
    ),
    "a label from the prediction": (
        "minisam/annotator.py",
        "return (x, y), int(truth[y, x])",
        "return (x, y), int(predicted[y, x])",
    ),
    "nothing to click where nothing is wrong": ("minisam/annotator.py", "wrong if wrong.any() else truth", "wrong"),
    "a border that is no boundary": ("minisam/annotator.py", "np.pad(mask, 1))", 'np.pad(mask, 1, mode="edge"))'),
    "a centre at (row, column)": (
        "minisam/annotator.py",
        "return int(column), int(row)",
        "return int(row), int(column)",
    ),
    "a distance over both kinds of error at once": (
        "minisam/annotator.py",
        "_depth(truth & ~predicted), _depth(predicted & ~truth)",
        "_depth(truth ^ predicted) * truth, _depth(truth ^ predicted) * predicted",
    ),
    "the smaller error first": ("minisam/annotator.py", "missing.max() >= extra.max()", "missing.max() < extra.max()"),
    "a box that ends one pixel early": ("minisam/annotator.py", " + (0, 0, 1, 1)", ""),
    "a quiet round one point late": ("minisam/annotator.py", "new.insert(min(pause, ", "new.insert(min(pause + 1, "),
    "an interaction that ends with a point": (
        "minisam/annotator.py",
        "return new + [False] * (pauses > 0)",
        "return [False] * (pauses > 0) + new",
    ),
    "a quiet round never comes first": (
        "minisam/annotator.py",
        "rng.integers(max(1, ",
        "1 + rng.integers(max(1, -1 + ",
    ),
    "the first mask goes on": ("minisam/annotator.py", "best = int(predicted.argmax())", "best = 0"),
    "the oracle's mask goes on": (
        "minisam/annotator.py",
        "best = int(predicted.argmax())",
        "best = int(iou_numpy(masks, np.repeat(truth[None], len(masks), axis=0)).argmax())",
    ),
    "three masks in later rounds": ("minisam/annotator.py", "multimask_output=number == 0", "multimask_output=True"),
    "nothing fed back": ("minisam/annotator.py", "mask_input=logits,", "mask_input=None,"),
    "another mask's logits fed back": ("minisam/annotator.py", "low_res[best : best + 1]", "low_res[:1]"),
    "yes and no fed back for logits": (
        "minisam/annotator.py",
        "low_res[best : best + 1]",
        "np.sign(low_res[best : best + 1])",
    ),
    "a forgotten prompt": ("minisam/annotator.py", "[*points, point], [*labels, label]", "[point], [label]"),
    "a click in the first mask's error": (
        "minisam/annotator.py",
        "correction(mask, truth, ",
        "correction(mask & False, truth, ",
    ),
    "a box and a point at once": ("minisam/annotator.py", "if box is None else None", "if True else None"),
    "a click at (row, column) in torch": (
        "minisam/training/prompts.py",
        "torch.cat([column, row], dim=1)",
        "torch.cat([row, column], dim=1)",
    ),
    "the row after the pixel's in torch": (
        "minisam/training/prompts.py",
        "searchsorted(up_to, number, right=True)",
        "searchsorted(up_to, number, right=True).add(1)",
    ),
    "a pixel that never comes in torch": (
        "minisam/training/prompts.py",
        "chance.double() * up_to[:, -1]",
        "chance.double() * (up_to[:, -1] - 1)",
    ),
    "a column counted over the whole image in torch": (
        "minisam/training/prompts.py",
        "within = number - (up_to - counts).gather(1, row)",
        "within = number",
    ),
    "chances in float32 in torch": ("minisam/training/prompts.py", "chance.double()", "chance.float()"),
    "the chance of another round in torch": (
        "minisam/training/rounds.py",
        "draws.points[:, number + 1]",
        "draws.points[:, number]",
    ),
    "a limit that does not scale in torch": ("minisam/training/prompts.py", "limit = 20 * size / 1024", "limit = 20"),
    "a limit on the deviation in torch": (
        "minisam/training/prompts.py",
        "(noise * 0.1 * sides).clamp(-limit, limit)",
        "noise * (0.1 * sides).clamp(max=limit)",
    ),
    "a label from the prediction in torch": (
        "minisam/training/prompts.py",
        "labels = truth.flatten(1)",
        "labels = predicted.flatten(1)",
    ),
    "a click only on what is missing in torch": (
        "minisam/training/prompts.py",
        "wrong = predicted ^ truth",
        "wrong = truth & ~predicted",
    ),
}


@st.composite
def regions(drawn: st.DrawFn, count: int = 1) -> list[np.ndarray]:
    """``count`` masks of one square shape, each with a pixel: sparse or dense, one pixel, one line at a border, all."""
    size = drawn(st.integers(1, 40))
    masks = []
    for _ in range(count):
        rng = np.random.default_rng(drawn(seeds))
        mask = np.zeros((size, size), bool)
        kind = drawn(st.sampled_from(["sparse", "dense", "pixel", "top", "right", "corner", "all"]))
        if kind in ("sparse", "dense"):
            (y0, y1), (x0, x1) = np.sort(rng.integers(0, size, (2, 2)), axis=1)
            mask[y0 : y1 + 1, x0 : x1 + 1] = rng.random((y1 - y0 + 1, x1 - x0 + 1)) < (0.1 if kind == "sparse" else 0.9)
            mask[y0, x1] = True
        else:
            where = {"pixel": tuple(rng.integers(0, size, 2)), "top": np.s_[0, :], "right": np.s_[:, -1]}
            mask[{**where, "corner": (-1, -1), "all": ...}[kind]] = True
        masks.append(mask)
    return masks


chances = st.floats(0, 1, exclude_max=True, width=32)


# ---- training's annotator --------------------------------------------------------------------------------


@given(regions())
def test_every_pixel_is_clicked_equally_often(masks):
    """Kills: a click at (row, column), the last pixel is never clicked."""
    (region,) = masks
    count = int(region.sum())
    seen = Counter(sample_pixel(region, chance) for chance in (np.arange(3 * count) + 0.5) / (3 * count))
    assert seen == {(int(x), int(y)): 3 for y, x in np.argwhere(region)}


@given(regions(), st.lists(st.floats(-5, 5), min_size=4, max_size=4))
def test_a_noisy_box_stays_near_and_inside(masks, noise):
    """Kills: a limit that does not scale, a box that leaves the image, x moves by the height."""
    (mask,) = masks
    (rows, columns), size = np.nonzero(mask), len(mask)
    exact = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
    box = noisy_box(mask, np.array(noise))
    assert (box >= 0).all() and (box <= size - 1).all()
    sides = (exact[2:] - exact[:2])[[0, 1, 0, 1]]
    most = np.minimum(0.1 * np.abs(noise) * sides, 20 * size / 1024)
    assert (np.abs(box - exact) <= most + 1e-5).all()


@given(regions(2), chances)
def test_corrections_click_on_errors(masks, chance):
    """Kills: a label from the prediction, nothing to click where nothing is wrong."""
    predicted, truth = masks
    (x, y), label = correction(predicted, truth, chance)
    assert label == truth[y, x]
    assert predicted[y, x] != truth[y, x] or ((predicted == truth).all() and label == 1)
    (x, y), label = correction(truth, truth, chance)
    assert truth[y, x] and label == 1


def test_both_kinds_of_error_are_clicked():
    """Kills: a click only on what is missing."""
    predicted, truth = np.zeros((2, 4, 6), bool)
    predicted[1:3, 0:4], truth[1:3, 2:5] = True, True
    labels = Counter(correction(predicted, truth, chance)[1] for chance in np.arange(60) / 60)
    assert labels == {0: 40, 1: 20}


def test_nothing_cannot_be_clicked_or_boxed():
    """Kills: a box around nothing."""
    empty = np.zeros((3, 3), bool)
    for ask in (lambda: sample_pixel(empty, 0.5), lambda: noisy_box(empty, np.zeros(4))):
        with pytest.raises(InputError, match="of at least 1 pixel, got none"):
            ask()
    with pytest.raises(InputError, match="expected a truth of at least 1 pixel, got none"):
        next(play(None, empty, draw(0)))  # type: ignore[arg-type]


def test_eleven_rounds_are_those_of_the_paper():
    """One first prompt, eight points, two rounds without one: the last, and one anywhere before a point.

    Kills: a quiet round one point late, an interaction that ends with a point, a quiet round never comes first.
    """
    for pause in range(8):
        new = new_points(11, pause)
        assert len(new) == 10 and sum(new) == 8 and not new[-1] and new.index(False) == pause
    assert {draw(seed).pause for seed in range(200)} == set(range(8))
    assert [sum(new_points(n, 0)) for n in range(1, 12)] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8]
    assert new_points(3, 0) == [True, True] and new_points(1, 0) == []


# ---- the same in torch -----------------------------------------------------------------------------------


@given(regions(3), st.lists(chances, min_size=3, max_size=3), st.integers(0, 2))
@example([np.ones((1, 1), bool)] * 3, [0.0, 0.5, np.nextafter(np.float32(1), np.float32(0))], 2)
def test_torch_clicks_the_same(masks, chance, right):
    """The first ``right`` masks have no error left: pixel and label, chance by chance.

    Kills: a pixel counted by columns, a click at (row, column) in torch, the row after the pixel's in torch, a pixel
    that never comes in torch, a column counted over the whole image in torch,
    a label from the prediction in torch, a click only on what is missing in torch.
    """
    torch = pytest.importorskip("torch")
    from minisam.training import prompts

    truth = np.stack(masks)
    predicted = np.roll(truth, 1, axis=0)
    predicted[:right] = truth[:right]
    numbers = torch.tensor(chance, dtype=torch.float32)
    first = prompts.sample_pixels(torch.from_numpy(truth), numbers).int().tolist()
    coords, labels = prompts.correction(torch.from_numpy(predicted), torch.from_numpy(truth), numbers)
    for m, one in enumerate(numbers.tolist()):
        assert tuple(first[m]) == sample_pixel(truth[m], one)
        assert (tuple(coords[m, 0].int().tolist()), int(labels[m, 0])) == correction(predicted[m], truth[m], one)


def test_torch_clicks_the_same_just_below_a_pixel():
    """Chances whose float32 product with the count rounds up to the next pixel. Kills: chances in float32 in torch."""
    torch = pytest.importorskip("torch")
    from minisam.training import prompts

    region, numbers = np.ones((3, 4), bool), np.nextafter(np.arange(1, 13, dtype=np.float32) / 12, np.float32(0))
    drawn = prompts.sample_pixels(torch.from_numpy(region).expand(12, -1, -1), torch.from_numpy(numbers)).int().tolist()
    assert [tuple(pixel) for pixel in drawn] == [sample_pixel(region, float(one)) for one in numbers]


@given(regions(2), seeds, st.sampled_from([0.0, 1.0, 4.0]))
def test_torch_draws_the_same_boxes(masks, seed, scale):
    """To the bit, for the same float32 noise.

    Kills: a limit that does not scale in torch, a limit on the deviation in torch, x moves by the height.
    """
    torch = pytest.importorskip("torch")
    from minisam.training import prompts

    noise = (scale * np.random.default_rng(seed).normal(size=(2, 4))).astype(np.float32)
    boxes = prompts.noisy_boxes(torch.from_numpy(np.stack(masks)), torch.from_numpy(noise)).numpy()
    np.testing.assert_array_equal(boxes, [noisy_box(mask, one) for mask, one in zip(masks, noise)])


@pytest.mark.parametrize("starts_with_box", [0.0, 1.0])
def test_the_trainer_plays_the_same_rounds(starts_with_box):
    """The same weights and chances in ``training.rounds.play``: the same IoU in every one of eleven rounds.

    Kills: the chance of another round in torch.
    """
    torch = pytest.importorskip("torch")
    from minisam.checkpoints.checkpoint import read_checkpoint
    from minisam.reference.model import Sam
    from minisam.training import rounds
    from minisam.training.prompts import Draws
    from minisam.training.settings import Settings

    sam, (image, truth) = minisam.load("tiny"), scene_object()
    given_chances = replace(draw(3), box=starts_with_box)
    predictor = minisam.SamPredictor(sam)
    predictor.set_image(image)
    ours = list(play(predictor, truth, given_chances))

    model = Sam(sam.config).eval()
    file = minisam.__path__[0] + "/weights/tiny.safetensors"
    model.load_state_dict({k: torch.from_numpy(np.array(v, np.float32)) for k, v in read_checkpoint(file).items()})
    draws = Draws(
        torch.tensor([given_chances.box]), torch.from_numpy(given_chances.noise[None]).float(),
        torch.from_numpy(given_chances.points[None]), given_chances.pause,
    )  # fmt: skip
    settings = Settings(size=sam.config.image_size, rounds=11)
    with torch.no_grad():
        batch = torch.from_numpy(image)[None], torch.tensor([image.shape[:2]])
        embedding = model.image_encoder(rounds.normalise(*batch))
        theirs = rounds.play(model, embedding, torch.from_numpy(truth)[None, None], draws, settings)
        values = [float(next(v for k, v in figures.items() if k.startswith("iou"))) for _, figures, _ in theirs]
    assert len(ours) == len(values) == 11
    assert np.allclose([r.iou for r in ours], values, atol=0.01)


# ---- the annotator of an evaluation ----------------------------------------------------------------------


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(np.any))
def test_centre_and_box_by_their_definitions(mask):
    """Kills: a border that is no boundary, a centre at (row, column), a box that ends one pixel early."""
    padded = np.pad(mask, 1)
    outside, inside = np.argwhere(~padded), np.argwhere(padded)
    squares = ((inside[:, None] - outside[None]) ** 2).sum(-1).min(axis=1)
    x, y = centre_point(mask)
    assert mask[y, x]
    assert squares[(inside == (y + 1, x + 1)).all(axis=1)] == squares.max()
    x0, y0, x1, y1 = tight_box(mask)
    assert mask[y0:y1, x0:x1].sum() == mask.sum() and all(
        edge.any() for edge in (mask[y0], mask[y1 - 1], mask[:, x0], mask[:, x1 - 1])
    )


BAND = np.arange(63).reshape(7, 9) // 9 < 3  # three rows


@given(arrays(bool, (7, 9)), arrays(bool, (7, 9)).filter(np.any))
@example(BAND, ~BAND)
@example(BAND, BAND)
def test_the_next_click_is_the_centre_of_the_larger_error(predicted, truth):
    """Kills: a distance over both kinds of error at once, the smaller error first."""
    (x, y), label = next_click(predicted, truth)
    if (predicted != truth).any():
        assert predicted[y, x] != truth[y, x]
    assert label == truth[y, x]

    def depth(mask, at):
        return min((at[0] - y) ** 2 + (at[1] - x) ** 2 for y, x in np.argwhere(~np.pad(mask, 1)) - 1)

    wrong = [mask for mask in (truth & ~predicted, predicted & ~truth) if mask.any()]
    if wrong:
        deepest = max(depth(mask, at) for mask in wrong for at in np.argwhere(mask))
        assert depth(wrong[0] if wrong[0][y, x] else wrong[-1], (y, x)) == deepest


# ---- whole interactions ----------------------------------------------------------------------------------


def scene_object() -> tuple[np.ndarray, np.ndarray]:
    scene = render(HELD_OUT + 8)
    return scene.image, scene.masks[12].segmentation


class Guessing:
    """A predictor whose answers are numbered: its second of three masks is the surest, and wrong in one corner."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth, self.calls = truth, []

    def predict(self, **prompts):
        self.calls.append(prompts)
        count = 3 if prompts["multimask_output"] else 1
        masks = np.repeat(self.truth[None], count, axis=0)
        masks[count // 2, len(self.calls) - 1] ^= True
        masks[0, -1] ^= count == 3
        low_res = np.stack([np.full((4, 4), 10.0 * len(self.calls) + k, np.float32) for k in range(count)])
        return masks, np.array([0.1, 0.9, 0.3][:count], np.float32), low_res


@pytest.mark.parametrize("box", [0.0, 1.0])
def test_rounds_hold_what_was_given_and_answered(box):
    """New points lie in the error of the round before; quiet rounds keep the prompts; all later ones feed back.

    Kills: the first mask goes on, the oracle's mask goes on, three masks in later rounds, nothing fed back, another
    mask's logits fed back, yes and no fed back for logits, a forgotten prompt, a click in the first mask's error, a
    box and a point at once.
    """
    truth = np.zeros((16, 16), bool)
    truth[2:14, 3:9] = True
    predictor = Guessing(truth)
    rounds = list(play(predictor, truth, replace(draw(2), box=box)))
    assert len(rounds) == 11 and [r.fed for r in rounds] == [False] + [True] * 10
    assert sum(r.new for r in rounds) == 9 and not rounds[-1].new
    assert len(rounds[0].points) == box and (rounds[0].box is None) == bool(box)
    for number, (call, now) in enumerate(zip(predictor.calls, rounds, strict=True)):
        assert call["multimask_output"] == (number == 0) and call["box"] is now.box is rounds[0].box
        assert (call["point_coords"] is None) == (len(now.points) == 0)
        if number == 0:
            assert call["mask_input"] is None
            continue
        before = rounds[number - 1]
        fed = 11 if number == 1 else 10 * number
        assert call["mask_input"].shape == (1, 4, 4) and (call["mask_input"] == fed).all()
        assert len(now.points) == len(before.points) + now.new
        assert (now.points[: len(before.points)] == before.points).all()
        if now.new:
            x, y = now.points[-1].astype(int)
            assert before.mask[y, x] != truth[y, x] and now.labels[-1] == truth[y, x]
    for now in rounds:
        assert now.iou == (now.mask & truth).sum() / (now.mask | truth).sum()
