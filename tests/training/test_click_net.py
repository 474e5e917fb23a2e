"""A network in RITM's manner: loss and clicks as they published them, the steps of a training, NumPy's answers."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from scipy.ndimage import binary_dilation, distance_transform_edt

from minisam.checkpoints.safetensors_file import read_safetensors, write_safetensors
from minisam.training import click_net
from minisam.training.click_net import RADIUS, ClickSettings, draw_disk, first_clicks, next_click, normalised_focal_loss
from minisam.training.loop import Trainer, write_weights
from minisam.transfer import click_net as in_numpy
from minisam.transfer.clicks import play, sam_clicks
from minisam_kernels import InputError
from small_models import picture
from small_trainings import blobs
from strategies import seeds

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "a focal loss that is not normalised": (
        "minisam/training/click_net.py",
        "weight = weight / (weight.detach()",
        "weight = weight / (1 + 0 * weight.detach()",
    ),
    "a gradient through the mean": (
        "minisam/training/click_net.py",
        "(weight.detach().mean((2, 3)",
        "(weight.mean((2, 3)",
    ),
    "background clicks in the object": (
        "minisam/training/click_net.py",
        "(~truth, others & ~truth, border)",
        "(truth, others, border)",
    ),
    "a click at the error's edge": ("minisam/training/click_net.py", "depth > depth.max() / 2", "depth > 0"),
    "three answers that all learn": ("minisam/training/click_net.py", "losses[:, 1:].amin(1)", "losses[:, 1:].mean(1)"),
    "no round before the one that learns": (
        "minisam/training/click_net.py",
        "for _ in range(rng.integers(self.settings.rounds + 1)):",
        "for _ in range(0):",
    ),
    "a deviation in place of the variance": (
        "minisam/transfer/click_net.py",
        "gain / np.sqrt(variance",
        "gain / (variance",
    ),
    "a shift without the mean": ("minisam/transfer/click_net.py", "shift - mean * scale", "shift"),
    "clicks in the other map": ("minisam/transfer/click_net.py", "1 - label]", "label]"),
    "a last mask that is not shown": ("minisam/transfer/click_net.py", "if state is not None:", "if False:"),
}
SETTINGS = ClickSettings(size=64, steps=3, batch=2, masks=2, rounds=2, warmup=1)


def published_loss(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The normalised focal loss in the published order of operations, in float64: α = ½, γ = 2."""
    pred = 1 / (1 + np.exp(-logits.astype(float)))
    pt = 1 - np.abs(truth[:, None] - pred)
    beta = (1 - pt) ** 2
    mult = truth[0].size / (beta.sum((2, 3), keepdims=True) + 1e-12)
    return (-0.5 * beta * mult * np.log(np.minimum(pt + 1e-12, 1))).sum((2, 3)) / truth[0].size


@given(seeds)
def test_the_loss_as_published(seed):
    """Kills: a focal loss that is not normalised, a gradient through the mean."""
    truth = blobs(seed, 2, 16)
    logits = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 3
    logits.requires_grad_()
    loss = normalised_focal_loss(logits, truth)
    np.testing.assert_allclose(loss.detach().numpy(), published_loss(logits.detach().numpy(), truth.numpy()), rtol=1e-4)
    # its gradient by hand, the mean held: −½ · d[w · log p] / mean(w) / pixels
    with torch.no_grad():
        sign = torch.where(truth[:, None], 1.0, -1.0)
        p = torch.sigmoid(sign * logits)
        weight = (1 - p) ** 2
        slope = -2 * p * weight * p.log() + weight * (1 - p)  # d p / d logit = p (1 − p) · sign
        expected = -0.5 * sign * slope / weight.mean((2, 3), keepdim=True) / truth[0].numel()
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-7)


@given(seeds)
def test_first_clicks_lie_where_they_say(seed):
    """Kills: background clicks in the object."""
    truth, other = blobs(seed, 2).numpy()
    clicks = list(first_clicks(truth, truth | other, np.random.default_rng(seed)))
    assert clicks and clicks[0][2] == 1
    assert all(truth[row, column] == bool(label) for row, column, label in clicks)
    assert sum(label for _, _, label in clicks) <= 24 and len(clicks) <= 48


def test_how_many_first_clicks():
    """n + 1 of a kind are .8 times as probable as n; half of those on the background are near the border."""
    truth = np.zeros((40, 40), bool)
    truth[15:25, 15:25] = True
    rng, near = np.random.default_rng(0), binary_dilation(truth, np.ones((3, 3)))
    each = [list(first_clicks(truth, ~truth, rng)) for _ in range(4000)]
    counts = np.bincount([sum(label for *_, label in clicks) for clicks in each], minlength=4)
    np.testing.assert_allclose(counts[2:4] / counts[1:3], 0.8, atol=0.1)
    empty = np.mean([all(label for *_, label in clicks) for clicks in each])
    assert abs(empty - 0.2 / (1 - 0.8**25)) < 0.03
    background = [near[row, column] for clicks in each for row, column, label in clicks if not label]
    assert abs(np.mean(background) - (0.5 + 0.5 * 44 / 1500)) < 0.04  # 44 of the 1500 pixels outside are near


@given(seeds)
def test_next_clicks_lie_deep_in_the_larger_error(seed):
    """Kills: a click at the error's edge."""
    truth, predicted = blobs(seed, 2).numpy()
    click = next_click(predicted, truth, np.random.default_rng(seed))
    depth = [distance_transform_edt(np.pad(e, 1))[1:-1, 1:-1] for e in (predicted & ~truth, truth & ~predicted)]
    if click is None:
        assert not (predicted ^ truth).any()
        return
    row, column, label = click
    assert depth[label][row, column] > max(depth[0].max(), depth[1].max()) / 2
    assert label == (depth[1].max() > depth[0].max())


@given(seeds)
def test_disks_are_the_same_in_both(seed):
    """Kills: clicks in the other map."""
    rng = np.random.default_rng(seed)
    size, label = int(rng.integers(40, 130)), int(rng.integers(2))
    row, column = (int(v) for v in rng.integers(0, size, 2))
    maps, again = np.zeros((2, size, size), np.float32), np.zeros((size, size, 2), np.float32)
    draw_disk(maps, (row, column, label))
    in_numpy.draw_disk(again, row, column, label, RADIUS * size)
    np.testing.assert_array_equal(maps, again.transpose(2, 0, 1))
    assert maps[1 - label, row, column] and not maps[label].any()


def trained_like(path, size: int = 64) -> click_net.ClickNet:
    """A network whose norms have something to say, and its file."""
    torch.manual_seed(0)
    task = dataclasses.replace(SETTINGS, size=size).begin()
    with torch.no_grad():
        for name, value in task.model.state_dict().items():
            if name.endswith(("gain", "variance")):
                value.uniform_(0.5, 1.5)
            elif name.endswith(("shift", "mean")):
                value.normal_(0, 0.2)
    write_weights(path, *task.export({name: value.numpy() for name, value in task.model.state_dict().items()}))
    return task.model.eval()


def test_numpy_answers_as_torch(tmp_path):
    """Kills: a deviation in place of the variance, a shift without the mean."""
    model, x = trained_like(tmp_path / "net.safetensors"), torch.rand(3, 6, 64, 64)
    with torch.no_grad():
        expected = model(x).numpy()
    net = in_numpy.ClickNet(tmp_path / "net.safetensors")
    low = net.forward(x.numpy().transpose(0, 2, 3, 1).copy())
    found = in_numpy.resize(low, (64, 64)).transpose(0, 3, 1, 2)
    assert low.shape == (3, 32, 32, 4) and sum(p.numel() for p in model.parameters()) < 600_000
    np.testing.assert_allclose(found, expected, atol=2e-4 * abs(expected).max())


def test_a_predictor_shows_clicks_and_the_last_mask(tmp_path):
    """An image half as large as the input, two rounds, against torch. Kills: a last mask that is not shown, clicks in
    the other map."""
    model = trained_like(tmp_path / "net.safetensors")
    predictor = in_numpy.ClickPredictor(in_numpy.ClickNet(tmp_path / "net.safetensors"))
    with pytest.raises(InputError, match="set_image"):
        predictor.answer(np.zeros((1, 1, 2)), np.ones((1, 1)), None, False)
    predictor.set_image(picture(24, 32))
    points, labels = np.array([[[5, 6], [20.0, 20]]]), np.array([[1, 0]])
    three, _, states = predictor.answer(points, labels, None, True)
    masks, scores, last = predictor.answer(points, labels, states[:, 1], False)
    assert three.shape == (1, 3, 24, 32) and masks.shape == (1, 1, 24, 32) and scores.shape == (1, 1)
    maps = np.zeros((2, 64, 64), np.float32)
    draw_disk(maps, (12, 10, 1))
    draw_disk(maps, (40, 40, 0))
    x = torch.from_numpy(np.concatenate([predictor.image[0].transpose(2, 0, 1), maps, np.zeros((1, 64, 64))])[None])
    with torch.no_grad():
        first = model(x.float())
        x[:, 5] = torch.sigmoid(first[:, 2])
        second = model(x.float())
    np.testing.assert_allclose(states[:, 1], first[:, 2], atol=1e-3)
    np.testing.assert_allclose(last[:, 0], second[:, 0], atol=1e-3)
    at = torch.nn.functional.interpolate(second[:, :1, :48], (24, 32), mode="bilinear", align_corners=False)[0, 0]
    certain = abs(at - np.log(0.49 / 0.51)) > 1e-3
    assert (masks[0, 0] == (at > np.log(0.49 / 0.51)).numpy())[certain].all() and certain.any()
    truth = np.zeros((1, 24, 32), bool)
    truth[0, 4:9, 3:8] = True
    assert play(predictor, truth, 2, sam_clicks).shape == (1, 2)


def test_a_training_stops_and_goes_on(tmp_path):
    """Two steps and one more are three; the file of weights begins another training, and float16 will do."""
    Trainer(SETTINGS, tmp_path / "whole").run(workers=0)
    trainer = Trainer(SETTINGS, tmp_path / "parts")
    batches = trainer.batches(0)
    for _ in range(2):
        trainer.train_step(next(batches))
    trainer.save()
    again = Trainer(SETTINGS, tmp_path / "parts")
    assert again.step == 2 and again.run(workers=0) == ""
    whole, notes = read_safetensors(tmp_path / "whole" / "weights.safetensors")
    parts, _ = read_safetensors(tmp_path / "parts" / "weights.safetensors")
    assert json.loads(notes["click_net"])["size"] == 64
    for name in whole:
        np.testing.assert_array_equal(parts[name], whole[name], err_msg=name)
    half = tmp_path / "half.safetensors"
    write_safetensors(half, {name: array.astype(np.float16) for name, array in whole.items()}, notes)
    begun = dataclasses.replace(SETTINGS, init=str(half)).begin()
    for name, value in begun.model.state_dict().items():
        np.testing.assert_array_equal(value, whole[name].astype(np.float16).astype(np.float32))
    in_numpy.ClickNet(half)


def test_what_a_step_learns_from(monkeypatch):
    """Rounds without a gradient come first, and only the closest of three learns. Kills: no round before the one that
    learns, three answers that all learn."""
    task = SETTINGS.begin()
    batch = {
        key: torch.from_numpy(np.stack([task.pictures()[i][key] for i in range(2)]))
        for key in ("image", "size", "masks")
    }
    calls, losses = [], []

    def watched(x):
        calls.append((torch.is_grad_enabled(), task.model.training, bool(x[:, 5].any())))
        return type(task.model).forward(task.model, x)

    def graded(logits, truth):
        losses.append(normalised_focal_loss(logits, truth))
        return losses[-1]

    monkeypatch.setattr(task.model, "forward", watched)
    monkeypatch.setattr(click_net, "normalised_focal_loss", graded)
    rounds = set()
    for step in range(12):
        calls.clear()
        loss, figures = task(batch, torch.tensor([0, step, 0]))
        rounds.add(len(calls) - 1)
        assert calls[-1] == (True, True, len(calls) > 1) and all(
            not grad and not training for grad, training, _ in calls[:-1]
        )
        expected = losses[-1][:, 0].mean() + losses[-1][:, 1:].min(1).values.mean()
        torch.testing.assert_close(loss, expected)
        assert 0 <= figures["iou"] <= 1 and 0 <= figures["oracle"] <= 1
    assert rounds == {0, 1, 2}


@pytest.mark.parametrize(
    "changes", [{"masks": 0}, {"rounds": -1}, {"leave_out": ("nowhere",)}, {"init": "none.safetensors"}]
)
def test_settings_that_no_training_can_have(changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    with pytest.raises(InputError, match="expected"):
        settings.check()
        settings.begin()


def test_files_that_are_no_click_network(tmp_path):
    path = tmp_path / "other.safetensors"
    write_safetensors(path, {"a": np.zeros(3, np.float32)}, {})
    with pytest.raises(InputError, match="weights of a click network"):
        in_numpy.ClickNet(path)
    with pytest.raises(InputError, match="weights of a click network"):
        dataclasses.replace(SETTINGS, init=str(path)).begin()
    trained_like(path)
    arrays, notes = read_safetensors(path)
    for change in ({"merge.0.weight": np.zeros((32, 5), np.float32)}, {"head.bias": np.zeros(3, np.float32)}):
        write_safetensors(tmp_path / "bad.safetensors", {**arrays, **change}, notes)
        with pytest.raises(InputError, match="weights of a click network"):
            in_numpy.ClickNet(tmp_path / "bad.safetensors")
