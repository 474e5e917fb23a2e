"""AdamW and Muon: which weights each moves, how fast, and what a checkpoint keeps."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from minisam.training import initialisation, loop
from small_trainings import SETTINGS, batch_of

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "tables of tokens among the matrices": (
        "minisam/training/initialisation.py",
        "UNDECAYED + OUTPUT_TOKENS",
        "UNDECAYED",
    ),
    "a matrix left to AdamW": (
        "minisam/training/initialisation.py",
        "matrix = parameter.ndim == 2 and not free",
        'matrix = parameter.ndim == 2 and not free and "qkv" not in name',
    ),
    "a rate of all": (
        "minisam/training/optimiser.py",
        "for group in others if matrices else ():",
        "for group in groups:",
    ),
    "a rate that is lost when a training goes on": (
        "minisam/training/optimiser.py",
        "            part.load_state_dict(state)\n",
        "            part.load_state_dict(state)\n            part.param_groups[0].update(scale=1.0)\n",
    ),
    "an order from the input up": (
        "minisam/training/initialisation.py",
        "s.layer_decay ** (depth + 1 - depth_of(name, depth))",
        "s.layer_decay ** depth_of(name, depth)",
    ),
    "decayed positions": ("minisam/training/initialisation.py", "UNDECAYED + OUTPUT_TOKENS", "OUTPUT_TOKENS"),
    "moments in use as bfloat16": (
        "minisam/training/optimiser.py",
        "{key: value.bfloat16() if key in MOMENTS else value for key, value in values.items()}",
        "values.update({k: v.bfloat16() for k, v in values.items() if k in MOMENTS}) or values",
    ),
}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_compact_checkpoints_go_on(tmp_path, optimizer):
    """Kills: moments in use as bfloat16."""
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer)
    one = loop.Trainer(settings, tmp_path, compact=True)
    one.run(workers=0, minutes=1e-6)
    states = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["optimiser"]
    assert len(states) == len(one.optimiser.parts) == 1 + (optimizer == "muon")
    for state in states:
        moments = [value for values in state["state"].values() for key, value in values.items() if key != "step"]
        assert moments and all(value.dtype == torch.bfloat16 for value in moments)
    one.run(workers=0, save_every=0)  # a save after every step: the moments in use stay float32
    assert one.step == 4
    one.step = 1
    one.save()
    two = loop.Trainer(settings, tmp_path, compact=True)
    for part in two.optimiser.parts:
        moments = [value for values in part.state.values() for key, value in values.items() if key != "step"]
        assert moments and all(value.dtype == torch.float32 for value in moments)
    assert two.run(workers=0) == ""


def test_muon_turns_matrices_and_nothing_else(tmp_path):
    """Weights of linear layers move in far more directions than their gradient has; the rest is AdamW's. Kills: the
    tables of tokens among the matrices; a matrix left to AdamW."""
    settings = dataclasses.replace(SETTINGS, optimizer="muon", weight_decay=0.0)
    trainer = loop.Trainer(settings, tmp_path)
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    parts = [[p for group in part.param_groups for p in group["params"]] for part in trainer.optimiser.parts]
    adam, muon = ({names[id(parameter)] for parameter in part} for part in parts)
    assert muon | adam == set(names.values()) and not muon & adam
    assert {"image_encoder.blocks.0.attn.qkv.weight", "mask_decoder.iou_prediction_head.layers.0.weight"} <= muon
    for name in ("mask_decoder.mask_tokens.weight", "image_encoder.pos_embed", "image_encoder.blocks.0.attn.rel_pos_h"):
        assert name in adam
    weight = trainer.model.image_encoder.blocks[0].mlp.lin1.weight
    before = weight.detach().clone()
    trainer.train_step(batch_of())
    assert weight.grad is not None
    gradient, step = torch.linalg.svdvals(weight.grad), torch.linalg.svdvals(weight.detach() - before)
    assert step.sum() / step.max() > 3 * gradient.sum() / gradient.max()


def test_beside_muon_others_take_smaller_steps(tmp_path):
    """``others`` scales the rate of AdamW's part, matrices keep theirs, and alone AdamW knows nothing of it. Kills: a
    rate of all; a rate that is lost when a training goes on."""
    for optimizer, scales in (("muon", [{0.25}, {1.0}]), ("adamw", [{1.0}])):
        settings = dataclasses.replace(SETTINGS, optimizer=optimizer, others=0.25, weight_decay=0.0)
        for _ in range(2):  # begun, and gone on with
            trainer = loop.Trainer(settings, tmp_path / optimizer)
            parts = trainer.optimiser.parts
            assert [{group["scale"] for group in part.param_groups} for part in parts] == scales
            trainer.save()
            trainer.optimiser.step(0.01)
            assert [{group["lr"] for group in part.param_groups} for part in parts] == [
                {0.01 * scale for scale in some} for some in scales
            ]


def test_layers_learn_at_their_own_rates():
    """Layer-wise decay: 0.8 to the power of blocks above. Kills: an order from the input up; decayed positions."""
    settings = dataclasses.replace(SETTINGS, layer_decay=0.8)
    task = loop.begin(settings)
    names = {id(parameter): name for name, parameter in task.model.named_parameters()}
    seen = {}
    for group in initialisation.parameter_groups(task.model, settings, 8):
        seen |= {names[id(p)]: (group["scale"], group["weight_decay"]) for p in group["params"]}
    assert len(seen) == len(names)
    assert seen["image_encoder.blocks.7.mlp.lin1.weight"] == (pytest.approx(0.8), 0.1)
    assert seen["image_encoder.blocks.0.mlp.lin1.bias"] == (pytest.approx(0.8**8), 0.0)
    assert seen["image_encoder.pos_embed"] == (pytest.approx(0.8**9), 0.0)
    assert seen["image_encoder.patch_embed.proj.weight"] == (pytest.approx(0.8**9), 0.1)
    assert seen["image_encoder.neck.0.weight"] == (1.0, 0.1)
    decoder = "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight"
    assert seen[decoder] == (1.0, 0.1) and seen["mask_decoder.mask_tokens.weight"] == (1.0, 0.0)
