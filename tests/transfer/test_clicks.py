"""Clicks by SAM's and RITM's rules, whole interactions, and the counts that come of them."""

from __future__ import annotations

import argparse
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from masked_scene import scene
from minisam.annotator import centre_point, interact, next_click
from minisam.predictor import SamPredictor
from minisam.sam import Sam, random_state
from minisam.transfer import clicks
from minisam.transfer.clicks import (
    MOST,
    POINTS,
    SamClicks,
    evaluate,
    measure,
    measure_all,
    number_of_clicks,
    play,
    reduced,
    ritm_clicks,
    sam_clicks,
    table,
)
from minisam.transfer.held_out import Case
from minisam.transfer.report import markdown
from minisam_kernels import InputError
from small_models import TWO_BLOCKS

cv2 = pytest.importorskip("cv2")

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "RITM's tie goes to what is missing": (
        "minisam/transfer/clicks.py",
        "missing.max((1, 2)) > extra.max((1, 2))",
        "missing.max((1, 2)) >= extra.max((1, 2))",
    ),
    "a pixel clicked twice": (
        "minisam/transfer/clicks.py",
        "depths(truths & ~masks) * ~clicked",
        "depths(truths & ~masks)",
    ),
    "an oracle at every click": ("minisam/transfer/clicks.py", "number == 0 and (oracle", "True and (oracle"),
    "the last mask is not the chosen one": (
        "minisam/transfer/clicks.py",
        "states[rows, best], true[rows, best]",
        "states[rows, 0], true[rows, best]",
    ),
    "an oracle that cannot see": (
        "minisam/transfer/clicks.py",
        "best = (true if oracle else scores).argmax(1)",
        "best = scores.argmax(1)",
    ),
    "NoC one too few": ("minisam/transfer/clicks.py", "reached.argmax(1) + 1", "reached.argmax(1)"),
    "objects that change places": (
        "minisam/transfer/clicks.py",
        "points, labels, state = points[going], labels[going], state[going]",
        "points, labels, state = points[going][::-1], labels[going], state[going]",
    ),
}

# truth and mask in one picture: # both, - missing, + too much, · neither
MASKS = """
------  ++++++  ----++  #-----  +++++-  --##++  -·+·-·  ·-----  ######  ------
------  ++++++  ----++  #-----  +++++-  --##++  ·+·-·+  ·-----  ######  ######
------  ++++++  ----++  #-----  +++++-  --##++  -·+·-·  ·-----  #####-  ------
------  ++++++  ----++  ######  +++++-  --##++  ·-·+·-  ·······  ######  ######

·------  ---·+++  -·····  ··++··  --·--·  ++++··  -######-  ······  +-+-+-  ·--+++·
·------  ---·+++  -·····  ·++++·  --·--·  ++++··  #++++++#  ··-···  -+-+-+  ·--+++·
·------  ---·+++  -·····  ++++++  ······  ++··--  #++++++#  ··+···  +-+-+-  ·--+++·
·######  ---·+++  -·····  ·++++·  --·--·  ++··--  -######-  ······  -+-+-+  ·------
·######  ---·+++  -+++++  ··++··  --·--·  ++----  -######-  ······  +-+-+-  ·------
"""


def hand_made() -> list[tuple[np.ndarray, np.ndarray]]:
    """(truth, mask) of each picture above."""
    pairs = []
    for block in MASKS.strip().split("\n\n"):
        for drawn in zip(*(line.split() for line in block.splitlines())):
            width = min(map(len, drawn))
            cells = np.array([list(line[:width]) for line in drawn])
            pairs.append((np.isin(cells, list("#-")), np.isin(cells, list("#+"))))
    return pairs


class Published:
    """RITM's rule, written anew after the code that its authors published: distances by OpenCV, one click at a time."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth, self.not_clicked_map = truth, np.ones_like(truth)

    def click(self, mask: np.ndarray) -> tuple[tuple[int, int], int]:
        depth = []
        for wrong in (self.truth & ~mask, ~self.truth & mask):
            padded = np.pad(wrong, ((1, 1), (1, 1)), "constant").astype(np.uint8)
            depth.append(cv2.distanceTransform(padded, cv2.DIST_L2, 0)[1:-1, 1:-1] * self.not_clicked_map)
        is_positive = np.max(depth[0]) > np.max(depth[1])
        chosen = depth[0] if is_positive else depth[1]
        rows, columns = np.where(chosen == np.max(chosen))
        self.not_clicked_map[rows[0], columns[0]] = False
        return (int(columns[0]), int(rows[0])), int(is_positive)


@pytest.mark.parametrize("number", range(20))
def test_ritm_clicks_as_published(number):
    """Five clicks in a row on 20 hand-made masks. Kills: RITM's tie goes to what is missing, a pixel clicked twice."""
    truth, mask = hand_made()[number]
    published, clicked = Published(truth), np.zeros((1, *truth.shape), bool)
    for _ in range(5):
        point, label = ritm_clicks(mask[None], truth[None], clicked)
        assert (tuple(point[0].tolist()), int(label[0])) == published.click(mask)
        clicked[0, point[0, 1], point[0, 0]] = True


def test_there_are_twenty_masks():
    assert len(hand_made()) == 20 and len({truth.tobytes() + mask.tobytes() for truth, mask in hand_made()}) == 20


@given(arrays(bool, (3, 6, 8)), arrays(bool, (3, 6, 8)))
def test_sam_clicks_as_the_annotator(truths, masks):
    truths[:, 2, 3] = True
    points, labels = sam_clicks(masks, truths, np.zeros_like(masks))
    for truth, mask, point, label in zip(truths, masks, points.tolist(), labels.tolist()):
        assert (tuple(point), label) == next_click(mask, truth)
    first, labels = sam_clicks(np.zeros_like(masks), truths, np.zeros_like(masks))
    assert labels.all() and [tuple(p) for p in first.tolist()] == [centre_point(truth) for truth in truths]


class Stamps:
    """Draws a square of 3 pixels at each click; of several masks the first is empty and ranked highest, the last one
    is twice as wide. Its state counts the clicks and knows which mask was chosen."""

    name, ranked = "stamps", True

    def __init__(self) -> None:
        self.log: list[tuple[int, int, bool, list[float]]] = []

    def set_image(self, image):
        self.shape = image.shape[:2]

    def answer(self, points, labels, state, several):
        seen = [] if state is None else state.ravel().tolist()
        self.log.append((*points.shape[:2], several, seen))
        rows, columns = np.mgrid[: self.shape[0], : self.shape[1]]
        masks = np.zeros((len(points), 3 if several else 1, *self.shape), bool)
        for b, (coords, kinds) in enumerate(zip(points, labels)):
            for reach, mask in zip((-1, 1, 3) if several else (1,), masks[b]):
                for (x, y), label in zip(coords, kinds):
                    mask[(abs(columns - x) <= reach) & (abs(rows - y) <= reach)] = label
        states = np.arange(masks.shape[1], dtype=float) + np.zeros(masks.shape[:2])
        return masks, -states, states[..., None]


def squares(*sides: int) -> np.ndarray:
    truths = np.zeros((len(sides), 20, 20), bool)
    for truth, side in zip(truths, sides):
        truth[2 : 2 + side, 2 : 2 + side] = True
    return truths


def test_confident_follows_scores_and_oracle_the_truth():
    """Kills: an oracle that cannot see, an oracle at every click, the last mask is not the chosen one."""
    model, truths = Stamps(), squares(3, 7)
    model.set_image(np.zeros((20, 20, 3), np.uint8))
    confident = play(model, truths, 2, sam_clicks)
    assert [entry[:3] for entry in model.log] == [(2, 1, True), (2, 2, False)] and model.log[1][3] == [0, 0]
    np.testing.assert_allclose(confident[:, 0], 0)  # the empty mask is ranked highest
    np.testing.assert_allclose(confident[:, 1], [1, 9 / 49])  # the same pixel again: nothing was there
    model.log.clear()
    oracle = play(model, truths, 2, sam_clicks, oracle=True)
    assert [entry[2] for entry in model.log] == [True, False] and model.log[1][3] == [1, 2]
    np.testing.assert_allclose(oracle[:, 0], 1)
    model.ranked = False
    np.testing.assert_allclose(play(model, truths, 1, sam_clicks)[:, 0], [1, 9 / 49])


def test_an_object_is_clicked_until_it_is_enough():
    """Kills: objects that change places."""
    model, truths = Stamps(), squares(9, 3, 5)
    model.set_image(np.zeros((20, 20, 3), np.uint8))
    model.ranked = False
    values = play(model, truths, 4, ritm_clicks, enough=0.9)
    alone = np.concatenate([play(model, truth[None], 4, ritm_clicks, enough=0.9) for truth in truths])
    np.testing.assert_array_equal(values, alone)
    assert values[1, 0] == 1 and np.isnan(values[1, 1:]).all() and not np.isnan(values[0]).any()
    assert (np.diff(values[0]) > 0).all()


def test_number_of_clicks():
    """Kills: NoC one too few."""
    values = np.array([[0.9, np.nan, np.nan], [0.2, 0.84, 0.85], [0.1, 0.2, 0.3]])
    assert number_of_clicks(values, 0.85).tolist() == [1, 3, 3]


@pytest.fixture(scope="module")
def sam() -> SamPredictor:
    return SamPredictor(Sam(TWO_BLOCKS, random_state(TWO_BLOCKS)))


def test_sam_is_clicked_as_one_object_at_a_time(sam):
    """A batch of objects against ``annotator.interact``."""
    image, masks = scene()
    sam.set_image(image)
    values = play(SamClicks(sam), np.stack(masks), 4, sam_clicks)
    for truth, row in zip(masks, values):
        rounds = interact(
            sam, truth, centre_point(truth), None, [True] * 3, lambda _, mask, t=truth: next_click(mask, t)
        )
        np.testing.assert_allclose(row, [r.iou for r in rounds], atol=1e-6)


def test_a_case_measured(sam):
    image, masks = scene()
    found = measure(SamClicks(sam), Case("a", image, masks))
    assert (found["oracle"][:, 0] >= found["confident"][:, 0]).all()
    assert {key: array.shape for key, array in found.items()} == {
        "confident": (2, len(POINTS)), "oracle": (2, len(POINTS)), "noc_85": (2,), "noc_90": (2,), "failed": (2, 2),
    }  # fmt: skip
    assert (found["noc_85"] <= found["noc_90"]).all() and (found["noc_90"][found["failed"][:, 1]] == MOST).all()


def test_a_case_reduced():
    image, masks = scene()
    small = reduced(Case("a", image, masks), 40)
    assert small.image.shape == (30, 40, 3) and [m.shape for m in small.masks] == [(30, 40)] * 2
    assert abs(small.masks[0].sum() - masks[0].sum() / 4) <= 11
    assert len(reduced(Case("a", image, masks), 40, 1).masks) == 1 and not reduced(Case("a", image, masks), 12).masks
    assert reduced(Case("a", image, masks), None).image is image
    with pytest.raises(InputError, match="at least one object"):
        measure_all(Stamps(), [Case("a", image, [])])


def test_a_folder_measured_and_written(folder, sam, tmp_path, monkeypatch, capsys):
    report = evaluate([SamClicks(sam)], str(folder), side=40)
    entry = report["models"][TWO_BLOCKS.name]
    assert (entry["pictures"], entry["objects"], len(entry["each"]["picture"])) == (2, 3, 3)
    assert math.isclose(entry["oracle"]["mean"][0], np.mean(entry["each"]["oracle"], 0)[0])
    assert "NoC@85" in (page := markdown(table(report))) and "2 images, 3 objects" in page
    monkeypatch.setattr("minisam.console.load_model", lambda options: sam.model)
    parser = argparse.ArgumentParser()
    clicks.add(parser.add_subparsers())
    path = tmp_path / "out.json"
    options = parser.parse_args(["clicks", "--world", "2", "--side", "64", "--objects", "2", "--json", str(path)])
    assert options.run(options) == 0 and "held out, 2 scenes" in capsys.readouterr().out
    assert json.loads(path.read_text())["models"][TWO_BLOCKS.name]["objects"] <= 4
    for wrong in ([], [str(folder), "--world", "2"]):
        with pytest.raises(InputError, match="either a folder"):
            options = parser.parse_args(["clicks", *wrong])
            options.run(options)
