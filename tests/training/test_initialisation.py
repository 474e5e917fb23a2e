"""What a training begins with: fresh or given weights, other sizes, stochastic depth."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import minisam
from minisam import reference
from minisam.model.config import CONFIGS
from minisam.training import initialisation, loop
from minisam_kernels import InputError
from small_trainings import SETTINGS

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "tables that are cut off": (
        "minisam/training/initialisation.py",
        'F.interpolate(value.movedim(-1, 1), shape[1:3], mode="bilinear", align_corners=False)',
        "value.movedim(-1, 1).repeat(1, 1, 2, 2)",
    ),
    "a chequerboard": (
        "minisam/training/initialisation.py",
        "            module.weight.copy_(module.weight[:, :, :1, :1].expand_as(module.weight))\n",
        "            pass\n",
    ),
    "queries that do not find their keys": (
        "minisam/training/initialisation.py",
        "            module.k_proj.weight.copy_(module.q_proj.weight)\n",
        "            pass\n",
    ),
    'a loud "no mask"': ("minisam/training/initialisation.py", "parameter.mul_(0.1)", "pass"),
    "a branch that is not scaled": ("minisam/training/initialisation.py", "x * (keep / (1 - self.rate))", "x * keep"),
    "one chance for all images": ("minisam/training/initialisation.py", "torch.rand(len(x), ", "torch.rand(1, "),
    "branches left out in evaluation": (
        "minisam/training/initialisation.py",
        "if not self.training or not self.drops:",
        "if not self.drops:",
    ),
    "the same rate in all blocks": (
        "minisam/training/initialisation.py",
        "rate * number / max(1, len(blocks) - 1)",
        "rate",
    ),
    "blocks left as they were, without a word": (
        "minisam/training/initialisation.py",
        "missing = [name for name in missing if name.startswith((",
        "missing = [name for name in missing if name.endswith((",
    ),
}


def test_weights_can_be_used_and_trained_on(tmp_path):
    """What is written is a model that minisam.load reads, and a start at another size, average or raw."""
    trainer = loop.Trainer(SETTINGS, tmp_path / "one")
    trainer.run(workers=0)
    assert minisam.load(tmp_path / "one" / "weights.safetensors").config.image_size == 64
    average, raw = (initialisation.find_weights(tmp_path / "one", raw) for raw in (False, True))
    assert average.name == "weights.safetensors" and raw.name == "raw.safetensors"
    for path, state in ((average, trainer.average), (raw, trainer.model.state_dict())):
        again = loop.Trainer(dataclasses.replace(SETTINGS, init=str(path)), tmp_path / "two")
        assert torch.equal(again.model.mask_decoder.iou_token.weight, state["mask_decoder.iou_token.weight"])
    larger = loop.Trainer(dataclasses.replace(SETTINGS, size=128, init=str(average)), tmp_path / "three")
    assert larger.model.image_encoder.pos_embed.shape[1] == 16
    with pytest.raises(InputError, match="expected weights to begin with"):
        initialisation.find_weights(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"expected the \d+ weights of vit_b|of shape .*, as the model has it"):
        loop.Trainer(dataclasses.replace(SETTINGS, model="vit_b", init=str(average)), tmp_path / "four")


def test_other_encoders(tmp_path):
    """Another depth and width: trained, saved with its sizes, loaded."""
    settings = dataclasses.replace(SETTINGS, depth=2, width=64, steps=1)
    loop.Trainer(settings, tmp_path).run(workers=0)
    config = minisam.load(tmp_path / "weights.safetensors").config
    sizes = (config.encoder_depth, config.encoder_embed_dim, config.encoder_num_heads)
    assert sizes == (2, 64, 1) and config.encoder_global_attn_indexes == (0, 1)
    with pytest.raises(InputError, match="multiple of 64, got 100"):
        dataclasses.replace(SETTINGS, width=100).check()


def test_stretching_keeps_what_fits_and_interpolates_positions():
    """A model at twice the size starts from the same function of position. Kills: tables that are cut off."""
    small, large = (dataclasses.replace(CONFIGS["tiny"], image_size=s) for s in (64, 128))
    state = reference.build(small).state_dict()
    state["image_encoder.pos_embed"] = torch.linspace(0, 1, 8)[None, None, :, None].expand(1, 8, 8, 192)
    stretched = initialisation.stretch(state, large.shapes())
    reference.build(large).load_state_dict(stretched)
    row = stretched["image_encoder.pos_embed"][0, 3, :, 0]
    assert len(row) == 16 and (row[1:] >= row[:-1]).all() and row[0] == 0 and row[-1] == 1


def test_first_masks_have_no_chequerboard():
    """A transposed convolution begins with one weight for its 2 × 2 outputs, so that logits begin smooth.

    Kills: a chequerboard, queries that do not find their keys, a loud "no mask".
    """
    model = loop.begin(SETTINGS).model
    for number in (0, 3):
        weight = model.mask_decoder.output_upscaling[number].weight
        assert (weight == weight[:, :, :1, :1]).all() and weight.std() > 0.01
    assert 0.05 < model.prompt_encoder.no_mask_embed.weight.std() < 0.2
    first, transformer = model.mask_decoder.transformer.layers[0], model.mask_decoder.transformer
    for attention in (first.cross_attn_image_to_token, transformer.final_attn_token_to_image):
        assert torch.equal(attention.q_proj.weight, attention.k_proj.weight)
    assert not torch.equal(first.self_attn.q_proj.weight, first.self_attn.k_proj.weight)


def test_drop_path_is_for_training_alone():
    """A branch is left out or scaled, image by image, with the expected mean; evaluation leaves it alone.

    Kills: a branch that is not scaled, one chance for all images, branches left out in evaluation, the same rate in
    all blocks.
    """
    path = initialisation.DropPath(0.25)
    x = torch.ones(4000, 2, 3)
    torch.manual_seed(0)
    y = path(x)
    assert y.unique().tolist() == pytest.approx([0.0, 1 / 0.75]) and (y == y[:, :1, :1]).all()
    assert float(y.mean()) == pytest.approx(1, abs=0.03)
    assert torch.equal(path.eval()(x), x)
    model = reference.build(dataclasses.replace(CONFIGS["tiny"], image_size=64))
    initialisation.add_drop_path(model, 0.4)
    rates = [block.drop_path.rate for block in model.image_encoder.blocks]
    assert rates[0] == 0 and rates[-1] == 0.4 and rates == sorted(rates)
    assert model.state_dict().keys() == reference.build("tiny").state_dict().keys()


def test_an_autoencoder_of_another_depth_is_no_beginning(tmp_path):
    """Of the same depth it fits, decoder or not. Kills: blocks left as they were, without a word."""
    from minisam.training.settings import PretrainSettings

    small = {"model": "tiny", "width": 64, "size": 64, "batch": 2, "steps": 1, "warmup": 0}
    loop.Trainer(PretrainSettings(**small, depth=2), tmp_path).run(workers=0)
    for depth in (2, 4):
        settings = dataclasses.replace(SETTINGS, **small, depth=depth, init=str(tmp_path / "weights.safetensors"))
        if depth == 2:
            loop.begin(settings)
            continue
        with pytest.raises(InputError, match=r"got missing: image_encoder\.blocks\.2\."):
            loop.begin(settings)
