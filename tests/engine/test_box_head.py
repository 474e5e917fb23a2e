"""The box head: what it should answer, what is made of its answers, NumPy beside torch, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minisam.engine.box_head import EMPTY, BoxHead, boxes_of, cut_off, stack, targets
from minisam.engine.views import View, tiles
from minisam_kernels import InputError

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a middle that is half a cell off": ("minisam/engine/box_head.py", "x - column - 0.5", "x - column"),
    "objects of another zoom are wrong": ("minisam/engine/box_head.py", "weights[row, column] = 0\n", "pass\n"),
    "boxes that are cut off": ("minisam/engine/box_head.py", "if cut_off(box, view, size) or", "if"),
    "sides instead of half of them": ("minisam/engine/box_head.py", "-6, 0.5)) / 2", "-6, 0.5))"),
    "the larger object of two": ("minisam/engine/box_head.py", "np.argsort(-(boxes", "np.argsort((boxes"),
    "a head that learns empty cells alone": ("minisam/training/box_head.py", "(wrong + moved)", "(0 * wrong + moved)"),
}
SIZE, CELLS = (256, 256), 8


class Perfect(BoxHead):
    """A head that answers with its targets."""

    def __init__(self, scores: np.ndarray, boxes: np.ndarray) -> None:
        # its second layer is the identity on what the "embedding" holds
        object.__setattr__(self, "answers", (scores, boxes))

    def __call__(self, embedding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.answers  # type: ignore[attr-defined]


def decoded(answers: np.ndarray) -> np.ndarray:
    """Boxes (h, w, 4) in views of a head's last four answers, through the head itself: GELU(30 · x) = 30 · x."""
    cells = answers.shape[0]
    head = BoxHead(np.eye(4, dtype=np.float32), np.full(4, 30, np.float32), np.eye(4, 5, 1, np.float32), np.zeros(5))
    head.b2[1:] = -30
    boxes = head(answers.astype(np.float32))[1]
    assert boxes.shape == (cells, cells, 4)
    return boxes


def test_targets_by_hand_and_back() -> None:
    """Kills: a middle that is half a cell off; objects of another zoom are wrong; sides instead of half of them; the
    larger object of two."""
    whole, half = View(0, 0, 256), View(64, 0, 128)
    large, small = np.array([10, 20, 150, 100]), np.array([100, 30, 140, 70])  # of the whole picture, of a half
    wanted = targets(whole, np.stack([large, small]), SIZE, CELLS)
    middle = (1, 2)  # (20 + 100) / 2 / 32, (10 + 150) / 2 / 32
    assert wanted.scores.sum() == 1 and wanted.scores[middle] == 1 and wanted.weights[middle] == 1
    assert wanted.weights[1, 3] == 0 and (wanted.weights == EMPTY).sum() == CELLS**2 - 2
    assert decoded(wanted.boxes)[middle] * 256 == pytest.approx(large, abs=0.01)

    wanted = targets(half, np.stack([large, small]), SIZE, CELLS)
    middle = (3, 3)  # 50 / 16, (120 - 64) / 16
    assert wanted.scores.sum() == 1 and wanted.scores[middle] == 1
    assert decoded(wanted.boxes)[middle] * 128 + (64, 0, 64, 0) == pytest.approx(small, abs=0.01)
    assert wanted.weights[3, 1] == 0  # the large one's middle
    inside = small + (4, 4, -4, -4)
    both = targets(half, np.stack([inside, small]), SIZE, CELLS)
    assert decoded(both.boxes)[middle] * 128 + (64, 0, 64, 0) == pytest.approx(inside, abs=0.01)
    none = targets(half, np.zeros((0, 4)), SIZE, CELLS)
    assert not none.scores.any() and (none.weights == EMPTY).all()
    assert stack([wanted, none]).boxes.shape == (2, CELLS, CELLS, 4)


def test_each_object_is_whole_in_some_view() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        x, y = rng.integers(0, 180, 2)
        w, h = rng.integers(6, 60, 2)
        box = np.array([[x, y, min(x + w, 256), min(y + h, 256)]])
        seen = sum(targets(view, box, SIZE, CELLS).scores.sum() for view in tiles(SIZE))
        assert seen >= 1 or max(w, h) > 12  # only what is large for its zoom may lie across all edges


def test_boxes_of_a_view() -> None:
    """Kills: boxes that are cut off."""
    view = View(64, 0, 128)
    scores, boxes = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS, 4))
    scores[0, :5] = 0.9, 0.8, 0.7, 0.6, 0.05
    boxes[0, 0] = 0.2, 0.0, 0.6, 0.3  # touches the picture's edge: not cut off
    boxes[0, 1] = 0.0, 0.2, 0.4, 0.6  # touches the view's left edge, which is inside the picture
    boxes[0, 2] = 0.1, 0.1, 0.9, 0.9  # belongs to a larger view
    boxes[0, 3] = 0.5, 0.5, 0.505, 0.9  # nothing
    boxes[0, 4] = 0.2, 0.2, 0.6, 0.6  # unlikely
    found, values = boxes_of(Perfect(scores, boxes), view, np.zeros((CELLS, CELLS, 3)), SIZE, 0.1)
    assert values == pytest.approx([0.9]) and found[0] == pytest.approx([64 + 25.6, 0, 64 + 76.8, 38.4])
    assert cut_off(boxes[0, 1], view, SIZE) and not cut_off(boxes[0, 1], View(0, 0, 128), SIZE)
    scores[:] = 0
    found, values = boxes_of(Perfect(scores, boxes), view, np.zeros((CELLS, CELLS, 3)), SIZE, 0.1)
    assert found.shape == (0, 4) and values.shape == (0,)


def test_numpy_is_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in ((6, 5), (5,), (5, 5), (5,))]
    embedding = rng.normal(size=(4, 4, 6)).astype(np.float32)
    scores, boxes = BoxHead(*arrays)(embedding)
    w1, b1, w2, b2 = map(torch.from_numpy, arrays)
    wanted = torch.nn.functional.gelu(torch.from_numpy(embedding) @ w1 + b1) @ w2 + b2
    assert scores == pytest.approx(wanted[..., 0].sigmoid().numpy(), rel=1e-5)
    assert (boxes[..., 2] - boxes[..., 0]) == pytest.approx(wanted[..., 3].clamp(-6, 0.5).exp().numpy(), rel=1e-4)


def test_it_learns_where_objects_are() -> None:
    """Kills: a head that learns empty cells alone."""
    pytest.importorskip("torch")
    from minisam.training.box_head import train_head

    rng = np.random.default_rng(2)
    features = rng.normal(size=(24, CELLS, CELLS, 6)).astype(np.float32) * 0.1
    wanted = []
    for one in features:
        x, y = rng.integers(40, 180, 2)
        wanted.append(targets(View(0, 0, 256), np.array([[x - 40, y - 40, x + 40, y + 40]]), SIZE, CELLS))
        one[..., 0] += 2 * wanted[-1].scores
    arrays = train_head(features, *stack(wanted), steps=150, seed=0)
    again = train_head(features, *stack(wanted), steps=150, seed=0)
    assert all((arrays[name] == again[name]).all() for name in arrays)
    head = BoxHead(**arrays)
    for one, truth in zip(features, wanted):
        scores, _ = head(one)
        assert scores.argmax() == truth.scores.argmax() and scores.max() > 0.5
        assert scores[truth.scores == 0].max() < 0.5
    with pytest.raises(InputError, match="expected at least one object to train the box head with, got none"):
        train_head(features, *stack([targets(View(0, 0, 256), np.zeros((0, 4)), SIZE, CELLS)] * 24), steps=2, seed=0)


def test_it_is_kept_in_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    head = BoxHead(*(rng.normal(size=shape).astype(np.float32) for shape in ((6, 4), (4,), (4, 5), (5,))))
    head.save(tmp_path / "head.safetensors")
    again = BoxHead.load(tmp_path / "head.safetensors")
    assert all((getattr(head, name) == getattr(again, name)).all() for name in ("w1", "b1", "w2", "b2"))
    with pytest.raises(InputError, match=r"expected an embedding \(h, w, 6\), got \(2, 2, 5\)"):
        head(np.zeros((2, 2, 5)))
    other = BoxHead(head.w1, head.b1, head.w2[:, :4].copy(), head.b2)
    other.save(tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="expected the four arrays of a box head"):
        BoxHead.load(tmp_path / "other.safetensors")
