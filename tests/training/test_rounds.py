"""The rounds of prompts, and the loss of equation 1."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given

from minisam.reference import ops
from minisam.training import prompts, rounds
from small_trainings import SETTINGS, batch_of, begin, blobs
from strategies import seeds

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "gradients of one round alone": (
        "minisam/training/rounds.py",
        "torch._foreach_add_([x for x, _ in used]",
        "torch._foreach_copy_([x for x, _ in used]",
    ),
    "a sum over rounds": ("minisam/training/rounds.py", "yield loss / s.rounds, ", "yield loss, "),
    "a graph that the next round holds on to": (
        "minisam/training/rounds.py",
        "torch.autograd.grad(loss, inputs, allow_unused=True)",
        "torch.autograd.grad(loss, inputs, allow_unused=True, retain_graph=True)\n            total = total + 0 * loss",
    ),
    "mean instead of min": ("minisam/training/rounds.py", 'if s.multimask == "mean":', 'if s.multimask != "single":'),
    "a first box's single mask not learnt": (
        "minisam/training/rounds.py",
        "(is_box * (single + errors[:, 0]))",
        "(is_box * errors[:, 0])",
    ),
    "a first box's single-token IoU not learnt": (
        "minisam/training/rounds.py",
        "(is_box * (single + errors[:, 0]))",
        "(is_box * single)",
    ),
    "a point that teaches the single mask": (
        "minisam/training/rounds.py",
        "(is_box * (single + errors[:, 0]))",
        "(single + errors[:, 0])",
    ),
    "the IoU of the closest mask alone": (
        "minisam/training/rounds.py",
        "several.mean() + errors[:, 1:].mean()",
        "several.mean() + errors[:, 1:].amin(1).mean()",
    ),
    "the oracle's choice": (
        "minisam/training/rounds.py",
        "best = 1 + confidence[:, 1:].argmax(dim=1)",
        "best = 1 + iou[:, 1:].argmax(dim=1)",
    ),
    "a binary mask": (
        "minisam/training/rounds.py",
        "feedback = chosen[:, None]",
        "feedback = (chosen[:, None] > 0).float()",
    ),
    "feedback that cannot be turned off": (
        "minisam/training/rounds.py",
        "masks=feedback if s.mask_feedback else None",
        "masks=feedback",
    ),
    "weights exchanged": (
        "minisam/training/rounds.py",
        "s.focal * ops.focal_loss(flat, target) + s.dice * ",
        "s.dice * ops.focal_loss(flat, target) + s.focal * ",
    ),
    "an IoU of logits above 1": (
        "minisam/training/rounds.py",
        "masks, truth = logits > 0, ",
        "masks, truth = logits > 1, ",
    ),
}


def gradients(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("count", [1, 3, 7])
def test_gradients_round_by_round_are_the_joint_ones(count):
    """The chain rule at the embedding. Kills: gradients of one round alone."""
    task, batch, draws = begin(rounds=count), batch_of(), prompts.draw(0, 0, 4, count)
    loss, _ = task(batch, draws)
    loss.backward()
    apart = gradients(task)
    task.zero_grad()
    joint = task.joint(batch, draws)
    joint.backward()
    assert float(loss.detach()) == pytest.approx(float(joint.detach()), rel=1e-6)
    together = gradients(task)
    for name, value in apart.items():  # what no round used has a gradient of zeros in one and none in the other
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


@pytest.mark.parametrize("first", ["point", "box"])
def test_a_box_teaches_the_single_mask_and_its_iou_too(first):
    """After a point neither the mask of token 0 nor its predicted IoU has a gradient; after a box both have.

    Kills: a first box's single mask not learnt, a first box's single-token IoU not learnt, a point that teaches the
    single mask.
    """
    task, batch = begin(rounds=1), batch_of(masks=1)
    box = torch.zeros(2) if first == "box" else torch.ones(2)
    task(batch, dataclasses.replace(prompts.draw(0, 0, 2, 1), box=box))[0].backward()
    decoder = task.model.mask_decoder
    mask = decoder.output_hypernetworks_mlps[0].layers[2].weight.grad.abs().sum()
    iou = decoder.iou_prediction_head.layers[-1].bias.grad.abs()  # one for each token
    assert (mask > 0) == (iou[0] > 0) == (first == "box")
    assert (iou[1:] > 0).all()


@pytest.mark.parametrize("is_box", [False, True])
def test_the_loss_of_a_first_round_term_by_term(is_box):
    """Of the three masks the closest, all three IoU; after a box also the single mask and its IoU, in each object.

    Kills: a first box's single-token IoU not learnt, a point that teaches the single mask, mean instead of min, the
    IoU of the closest mask alone.
    """
    rng = torch.Generator().manual_seed(0)
    low_res, confidence = torch.randn(2, 4, 12, 12, generator=rng), torch.rand(2, 4, generator=rng)
    truth = blobs(0, 2)
    boxes = torch.tensor([is_box, False])
    loss, *_ = rounds.first_loss(low_res, confidence, truth, boxes, SETTINGS)
    logits = rounds.upsample(low_res, truth)
    graded, errors = rounds.grade(logits, truth, SETTINGS), (confidence - rounds.true_iou(logits, truth)) ** 2
    each = graded[:, 1:].amin(1) + errors[:, 1:].mean(1) + boxes * (graded[:, 0] + errors[:, 0])
    torch.testing.assert_close(loss, each.mean())


def test_the_loss_is_the_mean_over_rounds(monkeypatch):
    """Kills: a sum over rounds."""
    for name in ("first_loss", "later_loss"):
        whole = getattr(rounds, name)
        monkeypatch.setattr(rounds, name, lambda *given, whole=whole: (6 + 0 * whole(*given)[0], *whole(*given)[1:]))
    loss, _ = begin()(batch_of(), prompts.draw(0, 0, 4, 3))
    assert float(loss.detach()) == pytest.approx(6)


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
    """Kills: weights exchanged, an IoU of logits above 1."""
    truth = blobs(seed)
    logits = torch.randn(4, 2, 24, 24, generator=torch.Generator().manual_seed(seed))
    graded = rounds.grade(logits, truth, SETTINGS)
    for k in range(2):
        wanted = 20 * ops.focal_loss(logits[:, k], truth) + ops.dice_loss(logits[:, k], truth)
        torch.testing.assert_close(graded[:, k], wanted)
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
