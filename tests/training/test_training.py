"""The simulated annotator, the rounds of prompts, and the loss of equation 1."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam.training import prompts, rounds
from minisam.training.data import Pictures
from minisam.training.rounds import Interaction
from minisam.training.settings import Settings
from strategies import seeds

SETTINGS = Settings(size=64, steps=4, batch=2, masks=2, rounds=3, warmup=2)


def blobs(seed: int, count: int = 4, size: int = 24) -> torch.Tensor:
    """Random rectangles (count, size, size) bool, none empty."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, size, size), bool)
    for mask in masks:
        (y0, x0), (h, w) = rng.integers(0, size - 1, 2), rng.integers(1, size, 2)
        mask[y0 : y0 + h, x0 : x0 + w] = True
    return torch.from_numpy(masks)


@given(seeds)
def test_points_lie_in_the_mask_and_boxes_near_it(seed):
    """Kills: (row, column) for (x, y), noise without a limit, labels of a box on a point."""
    masks = blobs(seed)
    coords, labels, is_box = prompts.initial_prompts(masks, prompts.draw(seed % 1000, 0, len(masks), 1))
    for mask, place, label, box in zip(masks, coords, labels, is_box, strict=True):
        rows, columns = np.nonzero(mask.numpy())
        if box:
            limit = 20 * masks.shape[-1] / 1024 + 1e-4
            truth = torch.tensor([[columns.min(), rows.min()], [columns.max(), rows.max()]])
            assert label.tolist() == [2, 3] and (place - truth).abs().max() <= limit
        else:
            x, y = place[0].long()
            assert label.tolist() == [1, -1] and mask[y, x]


@given(seeds)
def test_corrections_point_at_errors(seed):
    """A missed pixel gets a foreground point, a wrong one background. Kills: labels from the prediction."""
    truth, predicted = blobs(seed), blobs(seed + 1)
    predicted[0] = truth[0]  # nothing is wrong: the click confirms
    chance = torch.rand(len(truth), generator=torch.Generator().manual_seed(seed))
    coords, labels = prompts.correction(predicted, truth, chance)
    for i in range(len(truth)):
        x, y = coords[i, 0].long()
        assert labels[i, 0] == int(truth[i, y, x])
        if (truth[i] != predicted[i]).any():
            assert truth[i, y, x] != predicted[i, y, x]
        else:
            assert labels[i, 0] == 1


@given(seeds)
def test_pixels_are_drawn_by_their_number(seed):
    """Chances spread evenly over [0, 1) hit each of a region's n pixels equally often. Kills: a pixel that never comes,
    a column counted over the whole picture."""
    region = torch.from_numpy(np.random.default_rng(seed).random((1, 5, 7)) < 0.4)
    region[0, 2, 3] = True
    count = int(region.sum())
    chance = (torch.arange(3 * count) + 0.5) / (3 * count)
    drawn = prompts.sample_pixels(region.expand(3 * count, -1, -1), chance).long()
    assert Counter(map(tuple, drawn.tolist())) == {(x, y): 3 for y, x in region[0].nonzero().tolist()}


def test_an_empty_region_is_no_error():
    region = torch.zeros(2, 4, 6, dtype=torch.bool)
    x, y = prompts.sample_pixels(region, torch.tensor([0.0, 0.999])).long().unbind(1)
    assert ((x >= 0) & (x < 6) & (y >= 0) & (y < 4)).all()


def test_the_quiet_round_comes_anywhere():
    assert {prompts.draw(0, step, 1, 11).pause for step in range(200)} == set(range(8))


def test_a_share_of_the_chances_is_a_slice_of_all():
    """So that two processes play what one would have played."""
    whole = prompts.draw(3, 5, 6, 4)
    part = whole.part(2, 4)
    assert torch.equal(part.points, whole.points[2:4]) and part.pause == whole.pause and len(part.box) == 2


def batch_of(size: int = 64, masks: int = 2) -> dict[str, torch.Tensor]:
    items = [Pictures(size, masks, (), 1.0, 0, 2)[i] for i in range(2)]
    return {key: torch.from_numpy(np.stack([item[key] for item in items])) for key in items[0]}


def begin(**changes) -> Interaction:
    torch.manual_seed(0)
    return Interaction.begin(dataclasses.replace(SETTINGS, **changes))


def gradients(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("count", [1, 3, 7])
def test_gradients_round_by_round_are_the_joint_ones(count):
    """The chain rule at the embedding. Kills: an embedding's gradient of one round alone, a forgotten 1 / rounds."""
    task, batch, draws = begin(rounds=count), batch_of(), prompts.draw(0, 0, 4, count)
    loss, _ = task(batch, draws)
    loss.backward()
    apart = gradients(task)
    task.zero_grad()
    joint = task.joint(batch, draws)
    joint.backward()
    assert float(loss.detach()) == pytest.approx(float(joint.detach()), rel=1e-6)
    together = gradients(task)
    for name, value in apart.items():  # what no round used has a gradient of zeros here and none there
        other = together.get(name, torch.zeros_like(value))
        assert (value - other).abs().max() <= 1e-5 * other.abs().max() + 1e-9, name


class Counted:
    """A tensor that autograd keeps: adds its bytes to ``now`` while it lives, and remembers the most there were."""

    now = most = 0

    def __init__(self, tensor):
        self.tensor, self.bytes = tensor, tensor.numel() * tensor.element_size()
        Counted.now += self.bytes
        Counted.most = max(Counted.most, Counted.now)

    def __del__(self):
        Counted.now -= self.bytes


def test_memory_does_not_grow_with_the_rounds():
    """What the graph keeps at most: the encoder's and one round's. Kills: a graph that the next round holds on to."""
    most, batch = {}, batch_of()
    for count in (2, 8):
        task = begin(rounds=count)
        Counted.now = Counted.most = 0
        with torch.autograd.graph.saved_tensors_hooks(Counted, lambda kept: kept.tensor):
            task(batch, prompts.draw(0, 0, 4, count))
        most[count] = Counted.most
    assert most[8] < 1.05 * most[2]


def test_only_the_best_mask_learns_from_a_point():
    """Equation 1: the hypernetworks of the masks that lost get no gradient. Kills: mean instead of min."""
    task, batch = begin(rounds=1), batch_of(masks=1)
    point = dataclasses.replace(prompts.draw(0, 0, 2, 1), box=torch.ones(2))
    for changes, most in (({}, 2), ({"multimask": "mean"}, 3), ({"multimask": "single"}, 1)):
        task.settings = dataclasses.replace(SETTINGS, rounds=1, **changes)
        task.zero_grad()
        task(batch, point)[0].backward()
        networks = task.model.mask_decoder.output_hypernetworks_mlps
        learned = [i for i in range(4) if networks[i].layers[2].weight.grad.abs().sum() > 0]
        assert learned == [0] if most == 1 else 0 not in learned and 1 <= len(learned) <= most
        assert most != 3 or len(learned) == 3


def test_a_box_teaches_the_single_mask_too():
    task, batch = begin(rounds=1), batch_of(masks=1)
    task(batch, dataclasses.replace(prompts.draw(0, 0, 2, 1), box=torch.zeros(2)))[0].backward()
    assert task.model.mask_decoder.output_hypernetworks_mlps[0].layers[2].weight.grad.abs().sum() > 0


def test_what_is_fed_back_is_the_most_confident_mask_and_not_thresholded():
    """The second round's mask prompt. Kills: the oracle's choice, a binary mask, feedback that cannot be turned off."""
    task, batch, draws = begin(rounds=2), batch_of(), prompts.draw(1, 0, 4, 2)
    seen, encoder = [], task.model.prompt_encoder
    hook = encoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["masks"]), with_kwargs=True
    )
    confidence, decoder = [], task.model.mask_decoder
    plain = decoder.predict_masks

    def predict_masks(*arguments):
        confidence.append(plain(*arguments))
        return confidence[-1]

    decoder.predict_masks = predict_masks
    task(batch, draws)
    low_res, iou = confidence[0]
    best = 1 + iou[:, 1:].argmax(1)
    assert seen[0] is None and torch.equal(seen[1][:, 0], low_res[torch.arange(4), best])
    assert not seen[1].requires_grad
    seen.clear()
    task.settings = dataclasses.replace(task.settings, mask_feedback=False)
    task(batch, draws)
    assert seen == [None, None]
    hook.remove()


@given(seeds)
def test_the_loss_is_twenty_focal_plus_dice(seed):
    truth = blobs(seed)
    logits = torch.randn(4, 2, 24, 24, generator=torch.Generator().manual_seed(seed))
    found = rounds.grade(logits, truth, SETTINGS)
    for k in range(2):
        wanted = 20 * ops.focal_loss(logits[:, k], truth) + ops.dice_loss(logits[:, k], truth)
        torch.testing.assert_close(found[:, k], wanted)
    torch.testing.assert_close(rounds.true_iou(logits, truth)[:, 1], ops.iou(logits[:, 1] > 0, truth).float())
    alone = rounds.grade(logits, truth, dataclasses.replace(SETTINGS, focal=0.0))
    torch.testing.assert_close(alone[:, 0], ops.dice_loss(logits[:, 0], truth))


def test_bfloat16_products_stay_near_float32():
    """Autocast: the loss of untrained weights moves by a few hundredths, weights and their gradients stay float32."""
    batch, draws = batch_of(), prompts.draw(0, 0, 4, 3)
    losses = []
    for precision in ("float32", "bf16"):
        task = begin(precision=precision)
        loss, _ = task(batch, draws)
        loss.backward()
        losses.append(float(loss.detach()))
        assert all(p.grad.dtype == p.dtype == torch.float32 for p in task.parameters())
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.06)


@given(st.integers(0, 399), st.sampled_from(["linear", "cosine", "steps"]))
def test_learning_rate(step, decay):
    drops = (200, 350) if decay == "steps" else ()
    settings = Settings(steps=400, warmup=100, lr=1.0, final_lr=0.2, decay=decay, drops=drops)
    rate = settings.learning_rate(step)
    assert 0 < rate <= 1 and (step >= 100 or rate == (step + 1) / 100)
    if decay == "steps" and step >= 100:
        assert rate == pytest.approx(0.1 ** ((step >= 200) + (step >= 350)))
    elif step >= 100:
        assert rate >= 0.2 - 1e-9 and rate >= settings.learning_rate(step + 1)
