"""Masked autoencoding: what is hidden, what is learned, what training gets from it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from PIL import Image

from minisam.training import loop
from minisam.training.autoencoder import Autoencoder, figure, patches, unpatch
from minisam_kernels import InputError
from small_trainings import PRETRAIN, SETTINGS, batch_of
from strategies import seeds

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "one quarter hidden": ("minisam/training/autoencoder.py", "chance <= limit", "chance > limit"),
    "single tokens hidden": (
        "minisam/training/autoencoder.py",
        "repeat_interleave(unit, 1).repeat_interleave(unit, 2)",
        "repeat(1, unit, unit)",
    ),
    "a loss over all patches": (
        "minisam/training/autoencoder.py",
        "(error * hidden).sum() / hidden.sum(), ",
        "error.mean(), ",
    ),
    "a prefix that does not match": (
        "minisam/training/autoencoder.py",
        "kept = {k: v for",
        'kept = {k.removeprefix("image_encoder."): v for',
    ),
    "an encoder left out": (
        "minisam/training/initialisation.py",
        "model.load_state_dict(stretch(state, shapes), strict=False)",
        "pass",
    ),
}


@given(seeds)
def test_patches_come_back(seed):
    images = torch.rand(2, 24, 32, 3, generator=torch.Generator().manual_seed(seed))
    cut = patches(images, 8)
    assert cut.shape == (2, 3, 4, 192) and torch.equal(unpatch(cut, 8), images)
    torch.testing.assert_close(cut[1, 2, 3].view(8, 8, 3), images[1, 16:, 24:])


def test_three_quarters_are_hidden_in_squares():
    """Kills: one quarter hidden, single tokens hidden."""
    task = Autoencoder.begin(PRETRAIN)
    hidden = task.hidden(torch.rand(5, 4, 4, generator=torch.Generator().manual_seed(0)))
    assert hidden.shape == (5, 8, 8) and (hidden.sum(dim=(1, 2)) == 48).all()
    squares = hidden.unflatten(1, (4, 2)).unflatten(3, (4, 2)).float().mean(dim=(2, 4))
    assert set(squares.unique().tolist()) == {0.0, 1.0} and not torch.equal(hidden[0], hidden[1])


def test_the_loss_is_of_hidden_patches_alone():
    """What the model draws where it saw the image changes nothing. Kills: a loss over all patches."""
    torch.manual_seed(0)
    task, batch = Autoencoder.begin(PRETRAIN), batch_of()
    chance = torch.rand(2, 4, 4)
    hidden = task.hidden(chance)
    plain = task.model.forward
    before, _ = task(batch, chance)
    task.model.forward = lambda *a: plain(*a) + 100 * ~hidden[..., None]
    assert torch.equal(task(batch, chance)[0], before)
    task.model.forward = lambda *a: plain(*a) + 100 * hidden[..., None]
    assert task(batch, chance)[0] > before + 1000


@pytest.mark.slow
def test_it_learns_resumes_and_draws(tmp_path):
    trainer = loop.Trainer(dataclasses.replace(PRETRAIN, steps=100, lr=2e-3), tmp_path / "a")
    batch = batch_of()
    losses = [float(trainer.train_step(batch)["loss"]) for _ in range(20)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.05
    whole = loop.Trainer(PRETRAIN, tmp_path / "whole")
    whole.run(workers=0)
    half = loop.Trainer(PRETRAIN, tmp_path / "half")
    half.run(workers=0, minutes=1e-6)
    half = loop.Trainer(PRETRAIN, tmp_path / "half")
    assert half.step == 1 and half.run(workers=0) == ""
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, half.model.state_dict()[key]), key
    figure(half, tmp_path / "r.png", 2)
    assert Image.open(tmp_path / "r.png").size == (192, 128)
    assert torch.equal(half.model.hidden_embed, whole.model.hidden_embed), "the figure leaves the weights alone"


def test_training_begins_with_a_pretrained_encoder(tmp_path):
    """At another size, too; neck and decoder begin anew. Kills: a prefix that does not match, an encoder left out."""
    trainer = loop.Trainer(PRETRAIN, tmp_path / "a")
    trainer.run(workers=0)
    weights = str(tmp_path / "a" / "weights.safetensors")
    for size in (64, 128):
        model = loop.Trainer(dataclasses.replace(SETTINGS, size=size, init=weights), tmp_path / str(size)).model
        for name in ("blocks.7.mlp.lin2.weight", "patch_embed.proj.weight", "blocks.0.attn.rel_pos_h"):
            begun = model.image_encoder.get_parameter(name)
            torch.testing.assert_close(begun, trainer.average[f"image_encoder.{name}"])
    with pytest.raises(InputError, match="expected --unit to divide the grid of 8 tokens, got 3"):
        dataclasses.replace(PRETRAIN, unit=3).check()
