"""The simulated person: gives no truth away, stops at a quality or a budget, finds out that a model does not help."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.engine.annotator import Habits, Person, Truth, overlaps
from minisam.engine.clock import Clock, add
from minisam.engine.hand import core, fill, iou_of, painted
from minisam.engine.views import View, around, sides, tiles
from minisam_kernels import InputError

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a person who hands over the truth": (
        "minisam/engine/annotator.py",
        "return fill(lines, truth.shape), corners",
        "return truth, corners",
    ),
    "a brush that hands over the truth": (
        "minisam/engine/annotator.py",
        "        return result\n",
        "        return work.truth.copy()\n",
    ),
    "a budget that nobody keeps": ("minisam/engine/annotator.py", "or self.spent >= self.budget", ""),
    "clicks without an end": (
        "minisam/engine/annotator.py",
        "way = self._cheapest(mask, by)",
        'way = self._cheapest(mask, by) if work.clicks > 9 else "click"',
    ),
    "chance from the order of pictures": (
        "minisam/engine/annotator.py",
        "default_rng([self.seed, number])",
        "default_rng([self.seed, 0])",
    ),
    "what is shown is drawn again": ("minisam/engine/annotator.py", "if not seen[i]]", "]"),
    "the least prominent first": ("minisam/engine/annotator.py", "np.argsort(-areas[fit]", "np.argsort(areas[fit]"),
    "every proposal stays": ("minisam/engine/annotator.py", ">= self.habits.keep and not seen[best]", ">= -9"),
    "pixels on a polygon's edge": ("minisam/engine/hand.py", "np.ceil(x - 0.5)", "np.ceil(x + 0.5)"),
    "views without room": ("minisam/engine/views.py", "side >= ROOM * longer", "side >= longer"),
}
SIZE = 128


def scene(seed: int = 0, count: int = 4) -> np.ndarray:
    """Ellipses (M, 128, 128), each in its own quarter."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    masks = []
    for i in range(count):
        cy, cx = 32 + 64 * (i // 2) + rng.integers(-4, 5), 32 + 64 * (i % 2) + rng.integers(-4, 5)
        a, b = rng.integers(8, 26, 2)
        masks.append(((y - cy) / a) ** 2 + ((x - cx) / b) ** 2 < 1)
    return np.array(masks)


def person(masks: np.ndarray | None = None, **habits: float) -> Person:
    truth = scene() if masks is None else masks
    return Person(Truth(lambda number: truth), Clock(), Habits(**habits))  # type: ignore[arg-type]


def work_through(someone: Person, model, budget: float = 1e9, number: int = 0) -> list:
    """All objects of a picture: (wish, finished answer, actions); ``model(truth, answers so far)`` gives a mask."""
    someone.begin(number, [], budget)
    done = []
    while (wish := someone.next()) is not None:
        mask, actions, clicks = None, {"look": 1}, []
        while True:
            answer = someone.react(mask)
            actions = add(actions, answer.actions)
            if answer.mask is not None:
                break
            clicks.append(answer.click)
            mask = model(someone.work.truth, clicks)
        done.append((wish, answer, actions, clicks))
    return done


def nothing(truth: np.ndarray, clicks: list) -> np.ndarray:
    return np.zeros_like(truth)


def exact(truth: np.ndarray, clicks: list) -> np.ndarray:
    return truth.copy()


def test_good_answers_are_accepted_after_a_click() -> None:
    """Kills: the least prominent first."""
    someone = person(miss=0)
    done = work_through(someone, exact)
    areas = [answer.mask.sum() for _, answer, _, _ in done]
    assert areas == sorted(scene().sum((1, 2)), reverse=True)
    for wish, answer, actions, clicks in done:
        assert answer.by == "clicks" and actions == {"look": 1, "click": 1, "wait": 1, "check": 1, "accept": 1}
        (x, y), label = clicks[0]
        assert label == 1 and answer.mask[y, x]
        assert Clock().seconds(actions) < Clock().seconds(wish.by_hand)
    assert someone.spent == pytest.approx(sum(Clock().seconds(actions) for _, _, actions, _ in done))


def test_a_model_that_is_no_help_costs_more_than_none() -> None:
    """Kills: a person who hands over the truth; clicks without an end."""
    someone = person(clicks=50)
    for wish, answer, actions, clicks in work_through(someone, nothing):
        assert answer.by == "polygon" and len(clicks) <= 3
        assert Clock().seconds(actions) > Clock().seconds(wish.by_hand)
        truth = next(mask for mask in map(wish.view.crop, scene()) if iou_of(mask, answer.mask) > 0.5)
        assert 0.7 < iou_of(answer.mask, truth) < 0.99
        assert wish.by_hand["vertex"] <= 40


def test_nearly_right_masks_are_brushed() -> None:
    """Kills: a brush that hands over the truth."""

    def bitten(truth: np.ndarray, clicks: list) -> np.ndarray:
        mask = truth.copy()
        _, columns = np.nonzero(truth)
        mask[:, : int(np.quantile(columns, 0.35))] = False  # more clicks change nothing
        return mask

    order = np.argsort(-scene().sum((1, 2)))
    for (wish, answer, actions, clicks), number in zip(work_through(person(hand=0, doubt=0, miss=0), bitten), order):
        assert answer.by == "brush" and actions["stroke"] >= 1 and len(clicks) <= 3
        assert 0.8 <= iou_of(answer.mask, wish.view.crop(scene()[number])) < 1


def test_a_picture_ends_with_its_time() -> None:
    """Kills: a budget that nobody keeps."""
    all_of_it = work_through(person(), nothing)
    seconds = [Clock().seconds(actions) for _, _, actions, _ in all_of_it]
    some = work_through(person(), nothing, budget=seconds[0] + 1)
    assert len(all_of_it) == 4 and len(some) == 2  # who has begun an object ends it
    assert work_through(person(), nothing, budget=0) == []


def test_chance_belongs_to_the_picture() -> None:
    """Kills: chance from the order of pictures."""
    someone = person()
    first = [work_through(someone, nothing, number=number) for number in (3, 4)]
    again = [work_through(someone, nothing, number=number) for number in (4, 3)][::-1]
    for one, other in zip(first, again):
        assert [clicks for *_, clicks in one] == [clicks for *_, clicks in other]
    assert [clicks for *_, clicks in first[0]] != [clicks for *_, clicks in first[1]]


def test_proposals_are_checked_and_what_is_missing_is_added() -> None:
    """Kills: what is shown is drawn again; every proposal stays."""
    masks = scene()
    someone = person(doubt=0.0)
    shown = [masks[0], np.roll(masks[1], 20, axis=1), masks[0].copy(), masks[2]]
    answers = someone.begin(0, shown, 1e9)
    assert [answer is not None for answer in answers] == [True, False, False, True]
    assert answers[0] is not None and answers[0]["vertex"] >= 4
    assert someone.spent == pytest.approx(Clock().seconds({"check": 4, "reject": 2}))
    assert sorted(someone.left) == [1, 3]
    assert person().begin(0, [], 9) == []
    empty = Person(Truth(lambda number: np.zeros((0, 8, 8), bool)), Clock())
    assert empty.begin(0, [np.ones((8, 8), bool)], 9) == [None] and empty.next() is None


def test_truth_is_asked_for_quality() -> None:
    masks = scene()
    truth = Truth(lambda number: masks)
    assert truth.quality(0, [masks[1], ~masks[1]])[0] == 1.0
    assert truth.quality(0, []) == []
    some = overlaps(masks, masks)
    assert np.allclose(np.diag(some), 1) and some[0, 1] == 0
    with pytest.raises(InputError, match=r"expected masks \(M, H, W\) of bool, got float64 \(2, 2\)"):
        Truth(lambda number: np.zeros((2, 2))).masks(0)


@given(seed=st.integers(0, 1000), corners=st.integers(3, 9))
def test_polygons_are_filled_as_the_winding_says(seed: int, corners: int) -> None:
    """Kills: pixels on a polygon's edge. The oracle looks at each pixel's centre alone."""
    rng = np.random.default_rng(seed)
    line = rng.uniform(-3, 15, (corners, 2))
    filled = fill([line], (12, 13))
    for row in range(12):
        for column in range(13):
            x, y, inside = column + 0.5, row + 0.5, False
            for (ax, ay), (bx, by) in zip(line, np.roll(line, -1, 0)):
                if (ay > y) != (by > y) and x > ax + (y - ay) * (bx - ax) / (by - ay):
                    inside = not inside
            assert filled[row, column] == inside


def test_the_hand_stays_in_the_region() -> None:
    region = scene()[0]
    assert not (painted(region) & ~region).any() and painted(region).sum() > 0.7 * region.sum()
    assert not (core(region) & ~region).any() and core(region).any()
    line = np.zeros((9, 9), bool)
    line[4] = True
    assert core(line).any() and not (painted(line) & ~line).any()


@given(x0=st.integers(0, 90), y0=st.integers(0, 60), width=st.integers(1, 40), height=st.integers(1, 30))
def test_views_hold_their_object(x0: int, y0: int, width: int, height: int) -> None:
    """Kills: views without room."""
    size = (100, 140)
    box = np.array([x0, y0, min(x0 + width, 140), min(y0 + height, 100)])
    view = around(box, size)
    assert view.side in sides(size) and view.x >= 0 and view.y >= 0
    assert view.x <= box[0] and view.y <= box[1] and view.x + view.side >= box[2] and view.y + view.side >= box[3]
    assert view.side == 140 or view.side >= 2 * max(box[2] - box[0], box[3] - box[1])
    picture = np.arange(size[0] * size[1]).reshape(size)
    mask = view.crop(picture) % 7 == 0
    assert (view.crop(view.paste(mask, size)) == mask).all() and view.paste(mask, size).sum() == mask.sum()


def test_tiles_cover_the_picture() -> None:
    for size in ((512, 512), (100, 140), (33, 9), (5, 5)):
        for side in sides(size):
            seen = np.zeros(size, int)
            for view in tiles(size):
                if view.side == side:
                    View(view.x, view.y, view.side).crop(seen)[...] += 1
            assert seen.min() >= 1
    assert len(tiles((512, 512))) == 35
